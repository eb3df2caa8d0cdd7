/* SPDX-License-Identifier: Apache-2.0 */
/* Who is called what, for a container: /etc/hosts and /etc/resolv.conf as its network wants them,
 * and what inspect says of it. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>

#include "priv.h"

enum { SERVERS_MAX = 3 };

/* The other one can write what it likes in its files; here they are no more than bytes. */
static void other_file(const struct container *c, int which, struct str *to)
{
	auto_container struct container *other = NULL;
	auto_free char *path = NULL;
	struct err ignored = { 0 };

	if (container_find(c->rt, container_net_of(&c->spec), &other, &ignored) < 0)
		return;
	path = container_path(other, container_etc[which]);
	if (container_etc_is_brief(other))
		container_etc_text(other, which, to, &ignored);
	else
		network_host_file(path, to);
}

void container_own_names(const struct container *c, struct str *to)
{
	auto_json json_t *state = network_state(c->id);
	json_t *join;
	size_t i;

	json_array_foreach(json_object_get(state, "joins"), i, join)
	{
		const char *ips[] = { json_get_str(join, "ip"), json_get_str(join, "ip6") };

		/* As Docker: the whole name first. */
		for (size_t k = 0; k < ARRAY_LEN(ips); k++)
			if (ips[k] && c->spec.domainname)
				str_addf(to, "%s\t%s.%s %s %s\n", ips[k], c->spec.hostname,
					 c->spec.domainname, c->spec.hostname, c->name);
			else if (ips[k])
				str_addf(to, "%s\t%s %s\n", ips[k], c->spec.hostname, c->name);
	}
}

void container_hosts_text(const struct container *c, struct str *to)
{
	enum container_net kind = container_net_kind(&c->spec);

	if (kind == CONTAINER_NET_HOST)
		network_host_file("/etc/hosts", to);
	else if (kind == CONTAINER_NET_CONTAINER)
		other_file(c, CONTAINER_ETC_HOSTS, to);
	if (!to->len)
		network_hosts_text(to);
	if (str_get(to)[to->len - 1] != '\n')
		str_addc(to, '\n');
	if (kind == CONTAINER_NET_BRIDGE)
		container_own_names(c, to);
}

/* Where of is in a network that c is in, too; NULL: nowhere. Owned by *state. */
static const char *address_for(const struct container *c, const struct container *of,
			       json_t **state)
{
	auto_json json_t *own = network_state(c->id);
	json_t *join, *other;
	size_t i, k;

	*state = of->state == CONTAINER_RUNNING ? network_state(of->id) : NULL;
	json_array_foreach(json_object_get(own, "joins"), i, join)
	{
		json_array_foreach(json_object_get(*state, "joins"), k, other)
		{
			if (str_eq(json_get_str(join, "id"), json_get_str(other, "id")))
				return json_get_str(other, "ip");
		}
	}
	return NULL;
}

int container_link_names(const struct container *c, struct str *to, struct err *err)
{
	for (size_t i = 0; i < c->spec.links.n; i++) {
		auto_free char *id = mem_strn(c->spec.links.v[i], CONTAINER_ID_LEN);
		auto_container struct container *of = NULL;
		auto_json json_t *state = NULL;
		const char *ip, *alias = strchr(c->spec.links.v[i], ':');
		int rc = container_find(c->rt, id, &of, err);

		if (rc < 0)
			return err_ctx(err, "--link");
		ip = address_for(c, of, &state);
		if (!ip)
			return err_set(err, EINVAL,
				       "--link %s: it does not run in a network that %s is in",
				       of->name, c->name);
		str_addf(to, "%s\t%s %.12s%s%s\n", ip, alias ? alias + 1 : of->name, of->id,
			 alias && str_eq(alias + 1, of->name) ? "" : " ",
			 alias && str_eq(alias + 1, of->name) ? "" : of->name);
	}
	return 0;
}

char *container_gateway(const struct container *c)
{
	enum container_net kind = container_net_kind(&c->spec);
	auto_json json_t *state = NULL;
	const json_t *first;

	if (kind == CONTAINER_NET_HOST)
		return mem_str("127.0.0.1");
	if (kind == CONTAINER_NET_CONTAINER)
		state = network_state(container_net_of(&c->spec));
	else if (kind == CONTAINER_NET_BRIDGE)
		state = network_state(c->id);
	first = json_array_get(json_object_get(state, "joins"), 0);
	return mem_str(json_get_str(first, "gateway"));
}

/* --- who is asked for names
 * ----------------------------------------------------------------------------------------- */

static void network_servers(const struct container *c, struct strv *ret)
{
	auto_json json_t *state = network_state(c->id);
	json_t *join;
	size_t i;

	json_array_foreach(json_object_get(state, "joins"), i, join)
	{
		if (json_get_bool(join, "dns") && ret->n < SERVERS_MAX)
			strv_add(ret, json_get_str(join, "gateway"));
	}
}

/* aardvark-dns asks the servers of --dns itself, for names that no container has. */
static void make_resolv(const struct container *c, struct str *to)
{
	const struct container_spec *s = &c->spec;
	auto_strv struct strv own = { 0 };
	struct network_resolv r = { .is_host = container_net_kind(s) == CONTAINER_NET_HOST,
				    .own = &own,
				    .servers = &s->dns,
				    .search = &s->dns_search,
				    .options = &s->dns_options };

	if (container_net_kind(s) == CONTAINER_NET_BRIDGE)
		network_servers(c, &own);
	if (!s->dns.n && !r.is_host)
		r.servers = &c->rt->dns;
	network_resolv_text(&r, to);
}

bool container_resolv_text(const struct container *c, struct str *to)
{
	const struct container_spec *s = &c->spec;
	enum container_net kind = container_net_kind(s);

	if (kind == CONTAINER_NET_NONE)
		return false;
	if (kind == CONTAINER_NET_CONTAINER)
		other_file(c, CONTAINER_ETC_RESOLV, to);
	else if (kind == CONTAINER_NET_HOST && !s->dns.n && !s->dns_search.n && !s->dns_options.n)
		network_host_file("/etc/resolv.conf", to);
	else
		make_resolv(c, to);
	return true;
}

/* --- inspect
 * ------------------------------------------------------------------------------------------------
 */

static void set_str(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_from_str(value ? value : ""));
}

/* {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}, null for what is only exposed. */
static json_t *ports_json(const struct container *c, const json_t *state)
{
	json_t *o = json_object(), *m;
	size_t i;

	for (i = 0; state && i < c->spec.expose.n; i++)
		json_object_set_new(o, c->spec.expose.v[i], json_null());
	json_array_foreach(json_object_get(state, "ports"), i, m)
	{
		const char *ip = json_get_str(m, "host_ip");

		for (int64_t k = 0; k < json_get_int(m, "range", 1); k++) {
			auto_free char *key =
				mem_fmt("%d/%s", (int)(json_get_int(m, "container_port", 0) + k),
					json_get_str(m, "protocol"));
			auto_free char *host =
				mem_fmt("%d", (int)(json_get_int(m, "host_port", 0) + k));
			json_t *list = json_object_get(o, key), *one = json_object();

			if (!json_is_array(list)) {
				list = json_array();
				json_object_set_new(o, key, list);
			}
			set_str(one, "HostIp", ip && *ip ? ip : "0.0.0.0");
			set_str(one, "HostPort", host);
			json_array_append_new(list, one);
		}
	}
	return o;
}

static void set_v6(json_t *o, const json_t *join)
{
	set_str(o, "IPv6Gateway", json_get_str(join, "gateway6"));
	set_str(o, "GlobalIPv6Address", json_get_str(join, "ip6"));
	json_object_set_new(o, "GlobalIPv6PrefixLen",
			    json_integer(json_get_int(join, "prefix6", 0)));
}

static json_t *place_json(const json_t *join)
{
	json_t *o = json_object(), *aliases = json_object_get(join, "aliases");

	set_str(o, "NetworkID", json_get_str(join, "id"));
	set_str(o, "Gateway", json_get_str(join, "gateway"));
	set_str(o, "IPAddress", json_get_str(join, "ip"));
	json_object_set_new(o, "IPPrefixLen", json_integer(json_get_int(join, "prefix", 0)));
	set_v6(o, join);
	set_str(o, "MacAddress", json_get_str(join, "mac"));
	set_str(o, "Interface", json_get_str(join, "interface"));
	json_object_set(o, "Aliases", aliases ? aliases : json_null());
	return o;
}

static void add_idle(json_t *to, const struct container *c)
{
	for (size_t i = 0; i < c->spec.networks.n; i++) {
		auto_network_join struct network_join j = { 0 };
		struct err ignored = { 0 };

		if (network_join_parse(c->spec.networks.v[i], &j, &ignored) >= 0 &&
		    !json_object_get(to, j.network))
			json_object_set_new(to, j.network, place_json(NULL));
	}
}

json_t *container_net_json(const struct container *c)
{
	auto_json json_t *state = c->state == CONTAINER_RUNNING ? network_state(c->id) : NULL;
	json_t *o = json_object(), *networks = json_object(), *join;
	const json_t *first = json_array_get(json_object_get(state, "joins"), 0);
	size_t i;

	json_array_foreach(json_object_get(state, "joins"), i, join)
		json_object_set_new(networks, json_get_str(join, "network"), place_json(join));
	if (container_net_kind(&c->spec) == CONTAINER_NET_BRIDGE)
		add_idle(networks, c);
	set_str(o, "IPAddress", json_get_str(first, "ip"));
	json_object_set_new(o, "IPPrefixLen", json_integer(json_get_int(first, "prefix", 0)));
	set_str(o, "Gateway", json_get_str(first, "gateway"));
	set_v6(o, first);
	set_str(o, "MacAddress", json_get_str(first, "mac"));
	json_object_set_new(o, "Ports", ports_json(c, state));
	json_object_set_new(o, "Networks", networks);
	return o;
}
