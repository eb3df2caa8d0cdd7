/* SPDX-License-Identifier: Apache-2.0 */
/* A user gets its place in networks, and leaves it. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/ids.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { JOINS_MAX = 32, PORTS_MAX = 1024, USER_BYTES_MAX = 1 << 20 };

/* --- addresses
 * ---------------------------------------------------------------------------------------------- */

static bool address_used(const struct network_live *l, const char *network_id, const char *ip)
{
	const char *id, *key;
	json_t *user, *place;

	json_object_foreach(l->users, id, user)
	{
		json_t *setup = json_object_get(user, "setup");

		json_object_foreach(json_object_get(setup, "networks"), key, place)
		{
			json_t *info = json_object_get(json_object_get(setup, "network_info"), key);
			json_t *a = json_array_get(json_object_get(place, "static_ips"), 0);

			if (str_eq(json_get_str(info, "id"), network_id) &&
			    str_eq(json_string_value(a), ip))
				return true;
		}
	}
	return false;
}

/* Not the network's own address, the gateway's and the one that all hear. */
static int choose_address(const struct network_live *l, const struct network *n, const char *want,
			  char ret[NETWORK_ADDRESS_MAX], struct err *err)
{
	struct network_range r = { 0 };
	uint32_t a, gateway = 0, last;

	if (network_range_parse(n->subnet, &r) < 0 ||
	    network_address_parse(n->gateway, &gateway) < 0)
		return err_set(err, EBADMSG, "network %s has no addresses", n->name);
	last = network_range_last(&r);
	if (want) {
		if (network_address_parse(want, &a) < 0 || !network_range_has(&r, a) ||
		    a == r.base || a == last || a == gateway)
			return err_set(err, EINVAL, "address %s is none of network %s (%s)", want,
				       n->name, n->subnet);
		network_address_text(a, ret);
		return address_used(l, n->id, ret)
			       ? err_set(err, EADDRINUSE, "address %s of network %s is in use", ret,
					 n->name)
			       : 0;
	}
	for (a = r.base + 1; a < last; a++) {
		network_address_text(a, ret);
		if (a != gateway && !address_used(l, n->id, ret))
			return 0;
	}
	return err_set(err, EADDRINUSE, "network %s has no address left", n->name);
}

/* --- ports
 * -----------------------------------------------------------------------------------------------
 */

static bool ports_meet(const json_t *m, const struct network_port *p, unsigned port)
{
	const char *address = json_get_str(m, "host_ip");
	int64_t first = json_get_int(m, "host_port", 0), n = json_get_int(m, "range", 1);

	return str_eq(json_get_str(m, "protocol"), p->protocol) && port >= first &&
	       port < first + n &&
	       (!address || !*address || !*p->address || str_eq(address, p->address));
}

static bool port_mapped(const struct network_live *l, const json_t *own,
			const struct network_port *p, unsigned port)
{
	const char *id;
	json_t *user, *m;
	size_t i;

	json_array_foreach(own, i, m) if (ports_meet(m, p, port)) return true;
	json_object_foreach(l->users, id, user)
	{
		json_t *all = json_object_get(json_object_get(user, "setup"), "port_mappings");

		json_array_foreach(all, i, m) if (ports_meet(m, p, port)) return true;
	}
	return false;
}

/* Somebody of the host listens there: he would hear no more. 0: the kernel chooses one. */
static int port_try(const struct network_port *p, unsigned port, unsigned *ret)
{
	bool udp = str_eq(p->protocol, "udp");
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t len = sizeof(a);
	auto_fd int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (*p->address)
		inet_pton(AF_INET, p->address, &a.sin_addr);
	if (!udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*ret = ntohs(a.sin_port);
	/* A listening one is in the way of another that listens, not of one that is only bound. */
	return udp || listen(fd, 1) == 0 ? 0 : -errno;
}

static int port_check(const struct network_live *l, const json_t *own, const struct network_port *p,
		      unsigned port, struct err *err)
{
	int rc = port_mapped(l, own, p, port) ? -EADDRINUSE : port_try(p, port, &port);

	if (rc >= 0)
		return 0;
	return err_set(err, -rc, "port %s%s%u/%s of the host: %s", p->address,
		       *p->address ? ":" : "", port, p->protocol,
		       rc == -EADDRINUSE ? "in use" : strerrordesc_np(-rc));
}

static json_t *mapping(const struct network_port *p, unsigned host, unsigned inner, unsigned n)
{
	return json_pack("{ss,si,si,si,ss}", "host_ip", p->address, "container_port", (int)inner,
			 "host_port", (int)host, "range", (int)n, "protocol", p->protocol);
}

static int add_port(const struct network_live *l, json_t *own, const struct network_port *p,
		    struct err *err)
{
	enum { TRIES = 64 };

	for (unsigned i = 0; i < p->n && p->host; i++)
		if (port_check(l, own, p, p->host + i, err) < 0)
			return -err->code;
	if (p->host)
		return json_array_append_new(own, mapping(p, p->host, p->port, p->n));
	for (unsigned i = 0; i < p->n; i++) {
		unsigned host = 0;
		int rc = port_try(p, 0, &host);

		for (int tries = 0; rc >= 0 && port_mapped(l, own, p, host); tries++)
			rc = tries < TRIES ? port_try(p, 0, &host) : -EADDRINUSE;
		if (rc < 0)
			return err_set(err, -rc, "no port of the host is free for %u/%s",
				       p->port + i, p->protocol);
		json_array_append_new(own, mapping(p, host, p->port + i, 1));
	}
	return 0;
}

static int add_ports(const struct network_live *l, json_t *config, const struct network_use *u,
		     struct err *err)
{
	json_t *own = json_array();
	int rc = 0;

	json_object_set_new(config, "port_mappings", own);
	if (u->n_ports > PORTS_MAX)
		return err_set(err, EINVAL, "more than %d ports", PORTS_MAX);
	for (size_t i = 0; i < u->n_ports && rc >= 0; i++)
		rc = add_port(l, own, &u->ports[i], err);
	return rc;
}

/* --- what netavark is told
 * ----------------------------------------------------------------------------------------- */

static json_t *config_new(const char *id, const char *name)
{
	json_t *j = json_object();

	json_set_str(j, "container_id", id);
	json_set_str(j, "container_name", name);
	json_object_set_new(j, "networks", json_object());
	json_object_set_new(j, "network_info", json_object());
	return j;
}

static bool range_is_foreign(const struct network_live *l, const struct network *n)
{
	struct network_range r;

	return network_range_parse(n->subnet, &r) == 0 && network_live_uses(l, n->id, &r);
}

/* One more network of config: interface is "eth0" and so on. Others ask for it by its name, the
 * beginning of its id and its aliases. */
static int add_join(struct db *db, const struct network_live *l, json_t *config, const char *text,
		    const char *interface, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_network struct network *n = NULL;
	auto_json json_t *place = json_object();
	char ip[NETWORK_ADDRESS_MAX];
	json_t *aliases;
	int rc = network_join_parse(text, &j, err);

	if (rc >= 0)
		rc = network_find(db, j.network, &n, err);
	if (rc >= 0 && json_object_get(json_object_get(config, "networks"), n->name))
		rc = err_set(err, EEXIST, "network %s is named twice", n->name);
	if (rc >= 0 && range_is_foreign(l, n))
		rc = err_set(
			err, EADDRINUSE,
			"the addresses of network %s (%s) are in use in another store's network",
			n->name, n->subnet);
	if (rc >= 0)
		rc = choose_address(l, n, j.ip, ip, err);
	if (rc < 0)
		return rc;
	aliases = json_pack("[s%]", json_get_str(config, "container_id"), (size_t)12);
	for (size_t i = 0; i < j.aliases.n; i++)
		json_array_append_new(aliases, json_from_str(j.aliases.v[i]));
	json_object_set_new(place, "aliases", aliases);
	json_object_set_new(place, "interface_name", json_from_str(interface));
	json_object_set_new(place, "static_ips", json_pack("[s]", ip));
	json_set_str(place, "static_mac", j.mac);
	json_object_set(json_object_get(config, "networks"), n->name, place);
	json_object_set_new(json_object_get(config, "network_info"), n->name, network_info_json(n));
	return 0;
}

/* The default one is made at its first use, which takes the lock: before we have it. */
static int find_first(struct db *db, const char *join, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_network struct network *n = NULL;
	int rc = network_join_parse(join, &j, err);

	return rc < 0 ? rc : network_find(db, j.network, &n, err);
}

static int make_config(struct db *db, const struct network_live *l, const struct network_use *u,
		       json_t *config, struct err *err)
{
	int rc = 0;

	if (u->joins->n > JOINS_MAX)
		return err_set(err, EINVAL, "more than %d networks", JOINS_MAX);
	for (size_t i = 0; i < u->joins->n && rc >= 0; i++) {
		auto_free char *interface = mem_fmt("eth%zu", i);

		rc = add_join(db, l, config, u->joins->v[i], interface, err);
	}
	if (rc >= 0)
		rc = add_ports(l, config, u, err);
	if (u->dns && u->dns->n)
		json_set_strv(config, "dns_servers", u->dns);
	return rc;
}

static void wait_for_names(const json_t *config, int ns_fd)
{
	auto_free char *label = mem_strn(json_get_str(config, "container_id"), 12);
	const char *name;
	json_t *info;

	json_object_foreach(json_object_get(config, "network_info"), name, info)
	{
		const json_t *subnet = json_array_get(json_object_get(info, "subnets"), 0);

		if (json_get_bool(info, "dns_enabled") && json_get_str(subnet, "gateway"))
			network_dns_wait(ns_fd, json_get_str(subnet, "gateway"), label);
	}
}

static int begin(struct network_live *l, const char *id, const json_t *user, int ns_fd,
		 json_t **ret_status, struct err *err)
{
	int rc = network_live_put(l, id, user, err);

	if (rc >= 0)
		rc = network_netavark("setup", json_object_get(user, "setup"), ns_fd, ret_status,
				      err);
	fault_point("network.setup.done");
	if (rc >= 0)
		wait_for_names(json_object_get(user, "setup"), ns_fd);
	return rc;
}

int network_setup(struct db *db, const struct network_use *u, int *ret_ns_fd, struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_json json_t *user = json_object();
	json_t *config = config_new(u->id, u->name), *status = NULL;
	auto_fd int ns = -1;
	struct err ignored = { 0 };
	int rc = 0;

	for (size_t i = 0; i < u->joins->n && rc >= 0; i++)
		rc = find_first(db, u->joins->v[i], err);
	if (rc >= 0)
		rc = network_live_open(&l, err);
	json_object_set_new(user, "keeper", json_integer(getpid()));
	json_object_set_new(user, "keeper_start", json_integer((int64_t)proc_start_time(getpid())));
	json_object_set_new(user, "setup", config);
	if (rc >= 0)
		rc = make_config(db, &l, u, config, err);
	if (rc >= 0)
		rc = ns = u->ids && u->ids->root ? ids_open_net(u->ids, err) : network_ns_make(err);
	if (rc < 0)
		return rc;
	rc = begin(&l, u->id, user, ns, &status, err);
	if (status)
		json_object_set_new(user, "status", status);
	if (rc >= 0)
		rc = network_live_put(&l, u->id, user, err);
	if (rc < 0) {
		network_undo(user, ns, &ignored);
		network_live_drop(&l, u->id);
		return rc;
	}
	*ret_ns_fd = fd_take(&ns);
	return 0;
}

static int take_back(struct network_live *l, const char *id, int ns_fd, struct err *err)
{
	const json_t *user = json_object_get(l->users, id);
	int rc;

	if (!user)
		return 0;
	rc = network_undo(user, ns_fd, err);
	/* Killed in the middle: whoever is next does it again. Else there is no more to be done. */
	if (rc != -EINTR)
		network_live_drop(l, id);
	return rc;
}

int network_teardown(const char *id, int ns_fd, struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	int rc = network_live_peek(&l, err);

	return rc <= 0 ? rc : take_back(&l, id, ns_fd, err);
}

int network_leave(const char *id, int ns_fd, struct err *err)
{
	char name[] = "shale", command[] = "leave-network";
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_free char *word = mem_str(id);
	char *argv[] = { name, command, word, NULL };
	int rc = network_live_peek(&l, err);

	if (rc <= 0 || !json_object_get(l.users, id))
		return rc;
	rc = proc_spawn_detached("/proc/self/exe", argv, (int[3]){ ns_fd, l.lock_fd, -1 }, -1, err);
	return rc < 0 ? take_back(&l, id, ns_fd, err) : 0;
}

int network_left(const char *id, int ns_fd, int lock_fd, struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	int rc = network_live_inherit(&l, lock_fd, err);

	return rc <= 0 ? rc : take_back(&l, id, ns_fd, err);
}

/* --- one more, one less
 * ---------------------------------------------------------------------------------------------- */

static int find_user(struct network_live *l, const char *id, json_t **ret, struct err *err)
{
	int rc = network_live_open(l, err);

	if (rc < 0)
		return rc;
	*ret = json_object_get(l->users, id);
	return *ret ? 0 : err_set(err, ENOENT, "it has no bridge network");
}

static char *free_interface(const json_t *places)
{
	for (unsigned i = 0;; i++) {
		auto_free char *name = mem_fmt("eth%u", i);
		bool used = false;
		const char *key;
		json_t *place;

		json_object_foreach((json_t *)(uintptr_t)places, key, place) used |=
			str_eq(json_get_str(place, "interface_name"), name);
		if (!used)
			return take(name);
	}
}

int network_connect(struct db *db, const char *id, const char *join, int ns_fd, struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_json json_t *one = NULL, *user = NULL, *status = NULL;
	auto_free char *interface = NULL;
	json_t *old = NULL, *setup;
	struct err ignored = { 0 };
	int rc = find_first(db, join, err);

	if (rc >= 0)
		rc = find_user(&l, id, &old, err);
	if (rc < 0)
		return rc;
	user = json_deep_copy(old);
	setup = json_object_get(user, "setup");
	interface = free_interface(json_object_get(setup, "networks"));
	rc = add_join(db, &l, setup, join, interface, err);
	if (rc < 0)
		return rc;
	one = config_new(id, json_get_str(setup, "container_name"));
	if (json_object_get(setup, "dns_servers"))
		json_object_set(one, "dns_servers", json_object_get(setup, "dns_servers"));
	rc = add_join(db, &l, one, join, interface, err);
	if (rc >= 0)
		rc = network_live_put(&l, id, user, err);
	if (rc >= 0)
		rc = network_netavark("setup", one, ns_fd, &status, err);
	fault_point("network.connect.done");
	if (rc < 0) {
		network_netavark("teardown", one, ns_fd, NULL, &ignored);
		network_live_put(&l, id, old, &ignored);
		return rc;
	}
	if (!json_object_get(user, "status"))
		json_object_set_new(user, "status", json_object());
	json_object_update(json_object_get(user, "status"), status);
	wait_for_names(one, ns_fd);
	return network_live_put(&l, id, user, err);
}

/* setup and one part: what is about that network goes from the first to the second. */
static void move_network(json_t *setup, json_t *one, const char *name)
{
	static const char *const keys[] = { "networks", "network_info" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *from = json_object_get(setup, keys[i]);

		json_object_set(json_object_get(one, keys[i]), name, json_object_get(from, name));
		json_object_del(from, name);
	}
}

int network_disconnect(struct db *db, const char *id, const char *network, int ns_fd,
		       struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_network struct network *n = NULL;
	auto_json json_t *one = NULL;
	json_t *user = NULL, *setup;
	int rc = network_find(db, network, &n, err);

	if (rc >= 0)
		rc = find_user(&l, id, &user, err);
	if (rc < 0)
		return rc;
	setup = json_object_get(user, "setup");
	if (!json_object_get(json_object_get(setup, "networks"), n->name))
		return err_set(err, ENOENT, "it is not in network %s", n->name);
	one = config_new(id, json_get_str(setup, "container_name"));
	json_object_set(one, "port_mappings", json_object_get(setup, "port_mappings"));
	move_network(setup, one, n->name);
	rc = network_netavark("teardown", one, ns_fd, NULL, err);
	if (rc < 0)
		return rc;
	json_object_del(json_object_get(user, "status"), n->name);
	return network_live_put(&l, id, user, err);
}

/* --- what there is
 * ------------------------------------------------------------------------------------------------
 */

static json_t *join_state(const json_t *user, const char *name, const json_t *place)
{
	const json_t *setup = json_object_get(user, "setup");
	const json_t *info = json_object_get(json_object_get(setup, "network_info"), name);
	const json_t *subnet = json_array_get(json_object_get(info, "subnets"), 0);
	const char *interface = json_get_str(place, "interface_name");
	const json_t *made = json_object_get(
		json_object_get(json_object_get(json_object_get(user, "status"), name),
				"interfaces"),
		interface);
	struct network_range r = { 0 };
	json_t *o = json_object();

	if (json_get_str(subnet, "subnet"))
		network_range_parse(json_get_str(subnet, "subnet"), &r);
	json_set_str(o, "network", name);
	json_set_str(o, "id", json_get_str(info, "id"));
	json_set_str(o, "ip",
		     json_string_value(json_array_get(json_object_get(place, "static_ips"), 0)));
	json_object_set_new(o, "prefix", json_integer(r.bits));
	json_set_str(o, "gateway", json_get_str(subnet, "gateway"));
	json_set_str(o, "mac", json_get_str(made, "mac_address"));
	json_set_str(o, "interface", interface);
	json_object_set_new(o, "dns", json_boolean(json_get_bool(info, "dns_enabled")));
	json_object_set_new(o, "internal", json_boolean(json_get_bool(info, "internal")));
	json_object_set(o, "aliases", json_object_get(place, "aliases"));
	return o;
}

json_t *network_state(const char *id)
{
	auto_free char *path = mem_fmt("/run/shale/networks/%s", id), *text = NULL;
	auto_json json_t *user = NULL;
	struct err ignored = { 0 };
	json_t *o, *joins = json_array(), *setup, *place;
	const char *name;
	size_t len;

	/* Written by a rename: whole at any time. */
	if (fd_read_file(AT_FDCWD, path, USER_BYTES_MAX, &text, &len, &ignored) < 0 ||
	    json_parse(text, len, &user, &ignored) < 0) {
		json_decref(joins);
		return NULL;
	}
	setup = json_object_get(user, "setup");
	json_object_foreach(json_object_get(setup, "networks"), name, place)
		json_array_append_new(joins, join_state(user, name, place));
	o = json_object();
	json_object_set_new(o, "joins", joins);
	json_object_set(o, "ports", json_object_get(setup, "port_mappings"));
	return o;
}
