/* SPDX-License-Identifier: Apache-2.0 */
/* A user gets its place in networks, and leaves it. */
#include <shale/network.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/ids.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { JOINS_MAX = 32 };

/* --- addresses
 * ---------------------------------------------------------------------------------------------- */

static bool place_has(const json_t *place, const char *ip)
{
	json_t *all = json_object_get(place, "static_ips"), *one;
	size_t i;

	json_array_foreach(all, i, one) if (str_eq(json_string_value(one), ip)) return true;
	return false;
}

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

			if (str_eq(json_get_str(info, "id"), network_id) && place_has(place, ip))
				return true;
		}
	}
	return false;
}

struct pool {
	const struct network *n;
	const char *subnet, *gateway;
};

static int take_address(const struct network_live *l, const struct pool *p, const char *want,
			char ret[NETWORK_ADDRESS_MAX], struct err *err)
{
	struct network_range r = { 0 };
	struct network_address a;

	if (network_range_parse(p->subnet, &r) < 0 || network_address_parse(want, &a) < 0 ||
	    !network_range_gives(&r, &a))
		return err_set(err, EINVAL, "address %s is none of network %s (%s)", want,
			       p->n->name, p->subnet);
	network_address_text(&a, ret);
	if (str_eq(ret, p->gateway))
		return err_set(err, EINVAL, "address %s of network %s is the gateway's", want,
			       p->n->name);
	return address_used(l, p->n->id, ret)
		       ? err_set(err, EADDRINUSE, "address %s of network %s is in use", ret,
				 p->n->name)
		       : 0;
}

static int choose_address(const struct network_live *l, const struct pool *p, const char *want,
			  char ret[NETWORK_ADDRESS_MAX], struct err *err)
{
	struct network_range r = { 0 };
	struct network_address a;

	if (want)
		return take_address(l, p, want, ret, err);
	if (network_range_parse(p->subnet, &r) < 0)
		return err_set(err, EBADMSG, "network %s has no addresses", p->n->name);
	for (a = r.base, a.n++; network_range_gives(&r, &a); a.n++) {
		network_address_text(&a, ret);
		if (!str_eq(ret, p->gateway) && !address_used(l, p->n->id, ret))
			return 0;
	}
	return err_set(err, EADDRINUSE, "network %s has no address left", p->n->name);
}

/* One of each IP that the network has. */
static int choose_places(const struct network_live *l, const struct network *n,
			 const struct network_join *j, json_t **ret, struct err *err)
{
	struct pool v4 = { n, n->subnet, n->gateway }, v6 = { n, n->subnet6, n->gateway6 };
	char ip[NETWORK_ADDRESS_MAX], ip6[NETWORK_ADDRESS_MAX];
	int rc = choose_address(l, &v4, j->ip, ip, err);

	if (rc >= 0 && j->ip6 && !*n->subnet6)
		rc = err_set(err, EINVAL, "network %s has no IPv6", n->name);
	if (rc >= 0 && *n->subnet6)
		rc = choose_address(l, &v6, j->ip6, ip6, err);
	if (rc >= 0)
		*ret = *n->subnet6 ? json_pack("[ss]", ip, ip6) : json_pack("[s]", ip);
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

	return (network_range_parse(n->subnet, &r) == 0 && network_live_uses(l, n->id, &r)) ||
	       (network_range_parse(n->subnet6, &r) == 0 && network_live_uses(l, n->id, &r));
}

/* One more network of config: interface is "eth0" and so on. Others ask for it by its name, the
 * beginning of its id and its aliases. */
static int add_join(const struct runtime *rt, const struct network_live *l, json_t *config,
		    const char *text, const char *interface, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_network struct network *n = NULL;
	auto_json json_t *place = json_object();
	json_t *aliases, *ips = NULL;
	int rc = network_join_parse(text, &j, err);

	if (rc >= 0)
		rc = network_find(rt, j.network, &n, err);
	if (rc >= 0 && json_object_get(json_object_get(config, "networks"), n->name))
		rc = err_set(err, EEXIST, "network %s is named twice", n->name);
	if (rc >= 0 && range_is_foreign(l, n))
		rc = err_set(
			err, EADDRINUSE,
			"the addresses of network %s (%s) are in use in another store's network",
			n->name, n->subnet);
	if (rc >= 0)
		rc = choose_places(l, n, &j, &ips, err);
	if (rc < 0)
		return rc;
	aliases = json_pack("[s%]", json_get_str(config, "container_id"), (size_t)12);
	for (size_t i = 0; i < j.aliases.n; i++)
		json_array_append_new(aliases, json_from_str(j.aliases.v[i]));
	json_object_set_new(place, "aliases", aliases);
	json_object_set_new(place, "interface_name", json_from_str(interface));
	json_object_set_new(place, "static_ips", ips);
	json_set_str(place, "static_mac", j.mac);
	json_object_set(json_object_get(config, "networks"), n->name, place);
	json_object_set_new(json_object_get(config, "network_info"), n->name, network_info_json(n));
	return 0;
}

/* The default one is made at its first use, which takes the lock: before we have it. */
static int find_first(const struct runtime *rt, const char *join, char **ret_name, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_network struct network *n = NULL;
	int rc = network_join_parse(join, &j, err);

	if (rc >= 0)
		rc = network_find(rt, j.network, &n, err);
	if (rc >= 0 && ret_name)
		*ret_name = mem_str(n->name);
	return rc;
}

/* For who has a way out: aardvark-dns would ask them for the others as well. */
static void add_servers(json_t *config, json_t *servers)
{
	json_t *all = json_object_get(config, "network_info"), *info;
	const char *name;
	bool leads_out = false;

	json_object_foreach(all, name, info) leads_out |= !json_get_bool(info, "internal");
	if (leads_out && json_array_size(servers))
		json_object_set(config, "dns_servers", servers);
}

static int make_config(const struct runtime *rt, const struct network_live *l,
		       const struct network_use *u, json_t *config, struct network_held *held,
		       struct err *err)
{
	int rc = 0;

	if (u->joins->n > JOINS_MAX)
		return err_set(err, EINVAL, "more than %d networks", JOINS_MAX);
	for (size_t i = 0; i < u->joins->n && rc >= 0; i++) {
		auto_free char *interface = mem_fmt("eth%zu", i);

		rc = add_join(rt, l, config, u->joins->v[i], interface, err);
	}
	if (rc >= 0)
		rc = network_ports_add(l, config, u, held, err);
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

static void leave_v6(const json_t *config, int ns_fd)
{
	json_t *all = json_object_get(config, "network_info"), *info;
	const char *name;

	json_object_foreach(all, name, info)
	{
		const json_t *place = json_object_get(json_object_get(config, "networks"), name);

		if (!json_get_bool(info, "ipv6_enabled"))
			network_v6_off(ns_fd, json_get_str(place, "interface_name"));
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
		rc = network_ports_route(json_object_get(user, "setup"), err);
	if (rc < 0)
		return rc;
	leave_v6(json_object_get(user, "setup"), ns_fd);
	wait_for_names(json_object_get(user, "setup"), ns_fd);
	return rc;
}

int network_setup(const struct runtime *rt, const struct network_use *u,
		  struct network_held *ret_held, int *ret_ns_fd, struct err *err)
{
	auto_network_held struct network_held held = { 0 };
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_json json_t *user = json_object();
	json_t *config = config_new(u->id, u->name), *status = NULL;
	auto_fd int ns = -1;
	struct err ignored = { 0 };
	int rc = 0;

	for (size_t i = 0; i < u->joins->n && rc >= 0; i++)
		rc = find_first(rt, u->joins->v[i], NULL, err);
	if (rc >= 0)
		rc = network_live_open(&l, err);
	json_object_set_new(user, "keeper", json_integer(getpid()));
	json_object_set_new(user, "keeper_start", json_integer((int64_t)proc_start_time(getpid())));
	json_object_set_new(user, "setup", config);
	if (rc >= 0)
		rc = make_config(rt, &l, u, config, &held, err);
	if (u->dns)
		json_set_strv(user, "servers", u->dns);
	add_servers(config, json_object_get(user, "servers"));
	if (rc >= 0)
		rc = ns =
			u->ids && u->ids->count ? ids_open_net(u->ids, err) : network_ns_make(err);
	if (rc < 0)
		return rc;
	rc = begin(&l, u->id, user, ns, &status, err);
	if (status)
		json_object_set_new(user, "status", status);
	if (rc >= 0)
		rc = network_live_put(&l, u->id, user, err);
	if (rc < 0) {
		network_undo(&l, u->id, ns, &ignored);
		network_live_drop(&l, u->id);
		return rc;
	}
	if (ret_held) {
		*ret_held = held;
		held = (struct network_held){ 0 };
	}
	*ret_ns_fd = fd_take(&ns);
	return 0;
}

static int take_back(struct network_live *l, const char *id, int ns_fd, struct err *err)
{
	int rc;

	if (!json_object_get(l->users, id))
		return 0;
	rc = network_undo(l, id, ns_fd, err);
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

/* Of a user's setup, which is changed: who was killed here may have done it already. */
static int leave(json_t *setup, const char *network, const char *id, int ns_fd, struct err *err)
{
	auto_json json_t *one = config_new(id, json_get_str(setup, "container_name"));
	auto_strv struct strv names = { 0 };
	bool was_gone;
	int rc;

	json_object_set(one, "port_mappings", json_object_get(setup, "port_mappings"));
	move_network(setup, one, network);
	strv_add(&names, json_get_str(json_object_get(json_object_get(one, "networks"), network),
				      "interface_name"));
	was_gone = network_links_make(ns_fd, &names, &(struct err){ 0 }) >= 0;
	rc = network_netavark("teardown", one, ns_fd, NULL, err);
	if (rc < 0 && was_gone && rc != -EINTR) { /* and the bridge with it, if it was the last */
		network_links_drop(ns_fd, &names);
		err_clear(err);
		rc = 0;
	}
	return rc;
}

int network_connect(const struct runtime *rt, const char *id, const char *join, int ns_fd,
		    struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_json json_t *one = NULL, *user = NULL, *status = NULL, *before = NULL;
	auto_free char *interface = NULL;
	json_t *old = NULL, *setup;
	struct err ignored = { 0 };
	auto_free char *name = NULL;
	int rc = find_first(rt, join, &name, err);

	if (rc >= 0)
		rc = find_user(&l, id, &old, err);
	if (rc < 0)
		return rc;
	before = json_incref(old); /* the first put lets go of it */
	user = json_deep_copy(old);
	setup = json_object_get(user, "setup");
	/* Of somebody who was killed here: the container knows nothing of it. */
	if (json_object_get(json_object_get(setup, "networks"), name))
		leave(setup, name, id, ns_fd, &ignored);
	interface = free_interface(json_object_get(setup, "networks"));
	rc = add_join(rt, &l, setup, join, interface, err);
	if (rc < 0)
		return rc;
	one = config_new(id, json_get_str(setup, "container_name"));
	rc = add_join(rt, &l, one, join, interface, err);
	add_servers(one, json_object_get(user, "servers"));
	if (rc >= 0)
		rc = network_live_put(&l, id, user, err);
	if (rc >= 0)
		rc = network_netavark("setup", one, ns_fd, &status, err);
	fault_point("network.connect.done");
	if (rc < 0) {
		network_netavark("teardown", one, ns_fd, NULL, &ignored);
		network_live_put(&l, id, before, &ignored);
		return rc;
	}
	if (!json_object_get(user, "status"))
		json_object_set_new(user, "status", json_object());
	json_object_update(json_object_get(user, "status"), status);
	leave_v6(one, ns_fd);
	wait_for_names(one, ns_fd);
	return network_live_put(&l, id, user, err);
}

int network_disconnect(const struct runtime *rt, const char *id, const char *network, int ns_fd,
		       struct err *err)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_network struct network *n = NULL;
	json_t *user = NULL, *setup;
	int rc = network_find(rt, network, &n, err);

	if (rc >= 0)
		rc = find_user(&l, id, &user, err);
	if (rc < 0)
		return rc;
	setup = json_object_get(user, "setup");
	if (!json_object_get(json_object_get(setup, "networks"), n->name))
		return err_set(err, ENOENT, "it is not in network %s", n->name);
	rc = leave(setup, n->name, id, ns_fd, err);
	fault_point("network.disconnect.left");
	if (rc < 0)
		return rc;
	json_object_del(json_object_get(user, "status"), n->name);
	return network_live_put(&l, id, user, err);
}
