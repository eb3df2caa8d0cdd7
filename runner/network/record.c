/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as rows: made, found, removed. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

/* Subnets that nobody asked for are taken from here: 2560 of 254 addresses. */
enum { POOL_FIRST = 10 << 24 | 90 << 16, POOL_END = 10 << 24 | 100 << 16, POOL_STEP = 256 };
enum { POOL_BITS = 24, BITS_MIN = 8, BITS_MAX = 29, BITS6_MAX = 126, ROUTES_MAX = 1 << 20 };

void network_free(struct network *n)
{
	if (!n)
		return;
	free(n->name);
	strv_free(&n->labels);
	free(n);
}

void network_cleanup(struct network **n)
{
	network_free(*n);
}

static char *doc_text(const struct network *n)
{
	auto_json json_t *j = json_object();

	json_set_str(j, "bridge", n->bridge);
	json_set_str(j, "subnet", n->subnet);
	json_set_str(j, "gateway", n->gateway);
	if (*n->subnet6) {
		json_set_str(j, "subnet6", n->subnet6);
		json_set_str(j, "gateway6", n->gateway6);
	}
	json_object_set_new(j, "internal", json_boolean(n->is_internal));
	json_object_set_new(j, "dns", json_boolean(n->has_dns));
	json_object_set_new(j, "mtu", json_integer(n->mtu));
	json_object_set_new(j, "created_ns", json_integer(n->created_ns));
	json_set_strv(j, "labels", &n->labels);
	return json_text(j);
}

static void copy_word(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static int read_row(struct db_stmt *st, struct network **ret, struct err *err)
{
	auto_network struct network *n = mem_alloc(sizeof(*n));
	const char *doc = db_col_str(st, 2);
	auto_json json_t *j = NULL;
	int rc = json_parse(doc ? doc : "", doc ? strlen(doc) : 0, &j, err);

	n->name = mem_str(db_col_str(st, 0));
	if (rc < 0)
		return err_ctx(err, "network %s", n->name);
	copy_word(n->id, sizeof(n->id), db_col_str(st, 1));
	copy_word(n->bridge, sizeof(n->bridge), json_get_str(j, "bridge"));
	copy_word(n->subnet, sizeof(n->subnet), json_get_str(j, "subnet"));
	copy_word(n->gateway, sizeof(n->gateway), json_get_str(j, "gateway"));
	copy_word(n->subnet6, sizeof(n->subnet6), json_get_str(j, "subnet6"));
	copy_word(n->gateway6, sizeof(n->gateway6), json_get_str(j, "gateway6"));
	n->is_internal = json_get_bool(j, "internal");
	n->has_dns = json_get_bool(j, "dns");
	n->mtu = (uint32_t)json_get_int(j, "mtu", 0);
	n->created_ns = json_get_int(j, "created_ns", 0);
	json_get_strv(j, "labels", &n->labels);
	*ret = take(n);
	return 0;
}

json_t *network_info_json(const struct network *n)
{
	json_t *j = json_object(), *options = json_object(), *subnets = json_array();

	json_array_append_new(subnets,
			      json_pack("{ss,ss}", "subnet", n->subnet, "gateway", n->gateway));
	if (*n->subnet6)
		json_array_append_new(subnets, json_pack("{ss,ss}", "subnet", n->subnet6, "gateway",
							 n->gateway6));
	if (n->mtu)
		json_object_set_new(options, "mtu", json_sprintf("%u", n->mtu));
	json_set_str(options, "isolate", "true");
	json_set_str(j, "name", n->name);
	json_set_str(j, "id", n->id);
	json_set_str(j, "driver", "bridge");
	json_set_str(j, "network_interface", n->bridge);
	json_object_set_new(j, "subnets", subnets);
	json_object_set_new(j, "ipv6_enabled", json_boolean(*n->subnet6));
	json_object_set_new(j, "internal", json_boolean(n->is_internal));
	json_object_set_new(j, "dns_enabled", json_boolean(n->has_dns));
	/* What has no way out must not ask outside either, as aardvark-dns would for it: nothing
	 * can be sent there, and nothing is (CVE-2024-29018; TRAPS T35). */
	if (n->is_internal)
		json_object_set_new(j, "network_dns_servers", json_pack("[s]", "255.255.255.255"));
	json_object_set_new(j, "ipam_options", json_pack("{ss}", "driver", "host-local"));
	json_object_set_new(j, "options", options);
	return j;
}

/* --- which addresses
 * ---------------------------------------------------------------------------------------- */

/* Lines of /proc/net/route have destination and mask in columns 2 and 8, in hex as they lie in
 * memory. The default route and the bridge's own are nobody's addresses. */
static bool route_parse(const char *line, struct network_range *ret)
{
	auto_strv struct strv words = { 0 };
	unsigned long mask;

	strv_split(&words, line, '\t');
	if (words.n < 8)
		return false;
	mask = strtoul(words.v[7], NULL, 16);
	ret->base.n = ntohl((uint32_t)strtoul(words.v[1], NULL, 16));
	ret->bits = (unsigned)__builtin_popcountl(mask);
	return mask != 0;
}

/* Those of /proc/net/ipv6_route begin with 32 digits and the bits, in hex. Link-local and multicast
 * ones are everywhere. */
static bool route6_parse(const char *line, struct network_range *ret)
{
	enum { DIGITS = 32, HALF = 16, FIRST_SHIFT = 120, LOCAL = 0xfe };
	auto_free char *high = NULL, *low = NULL;

	if (strlen(line) < DIGITS + 3)
		return false;
	high = mem_strn(line, HALF);
	low = mem_strn(line + HALF, HALF);
	ret->base.v6 = true;
	ret->base.n = (unsigned __int128)strtoull(high, NULL, 16) << (4 * HALF);
	ret->base.n |= strtoull(low, NULL, 16);
	ret->bits = (unsigned)strtoul(line + DIGITS + 1, NULL, 16);
	return ret->bits && ret->base.n >> FIRST_SHIFT < LOCAL;
}

struct taken {
	struct network_live *live;
	struct network_range *ranges;
	size_t n, cap;
};

static void add_range(struct taken *t, const struct network_range *r)
{
	mem_room(t->ranges, t->n, t->cap);
	t->ranges[t->n++] = *r;
}

static void add_routes(struct taken *t, const char *path,
		       bool (*parse)(const char *line, struct network_range *ret))
{
	auto_free char *text = NULL;
	auto_strv struct strv lines = { 0 };
	struct err ignored = { 0 };
	size_t len;

	if (fd_read_file(AT_FDCWD, path, ROUTES_MAX, &text, &len, &ignored) < 0)
		return;
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		struct network_range r = { 0 };

		if (parse(lines.v[i], &r))
			add_range(t, &r);
	}
}

static int add_network(const struct network *n, void *arg, struct err *err)
{
	struct network_range r;

	(void)err;
	if (network_range_parse(n->subnet, &r) >= 0)
		add_range(arg, &r);
	if (*n->subnet6 && network_range_parse(n->subnet6, &r) >= 0)
		add_range(arg, &r);
	return 0;
}

static bool is_taken(const struct taken *t, const struct network_range *r)
{
	for (size_t i = 0; i < t->n; i++)
		if (network_range_overlaps(&t->ranges[i], r))
			return true;
	return network_live_uses(t->live, NULL, r);
}

static int take_range(const struct taken *t, const char *want, struct network_range *ret,
		      struct err *err)
{
	if (network_range_parse(want, ret) < 0 || ret->bits < BITS_MIN ||
	    ret->bits > (ret->base.v6 ? BITS6_MAX : BITS_MAX))
		return err_set(err, EINVAL,
			       "subnet '%.60s' is not ADDRESS/BITS with %d to %d bits (IPv6: %d)",
			       want, BITS_MIN, BITS_MAX, BITS6_MAX);
	return is_taken(t, ret)
		       ? err_set(err, EADDRINUSE,
				 "subnet %s overlaps with another network or a route of the host",
				 want)
		       : 0;
}

static int free_range(const struct taken *t, struct network_range *ret, struct err *err)
{
	*ret = (struct network_range){ .bits = POOL_BITS };
	for (ret->base.n = POOL_FIRST; ret->base.n < POOL_END; ret->base.n += POOL_STEP)
		if (!is_taken(t, ret))
			return 0;
	return err_set(err, EADDRINUSE, "no subnet is free in 10.90.0.0 to 10.99.255.0");
}

/* RFC 4193: fd and 40 random bits, here the id's, and subnet 0 of it. */
static int local_range(const struct taken *t, const char *id, struct network_range *ret,
		       struct err *err)
{
	auto_free char *text = mem_fmt("fd%.2s:%.4s:%.4s::/64", id, id + 2, id + 6);

	return take_range(t, text, ret, err);
}

/* The one of that family; at most one of each. */
static int find_word(const struct strv *l, bool v6, const char **ret, struct err *err)
{
	*ret = NULL;
	for (size_t i = 0; l && i < l->n; i++) {
		if (network_is_v6(l->v[i]) != v6)
			continue;
		if (*ret)
			return err_set(err, EINVAL, "'%.60s' and '%.60s': one of each IP is enough",
				       *ret, l->v[i]);
		*ret = l->v[i];
	}
	return 0;
}

static int choose_gateway(const struct network_new *new, const struct network_range *r,
			  char ret[NETWORK_ADDRESS_MAX], struct err *err)
{
	struct network_address a = r->base;
	const char *want = NULL;
	int rc = find_word(new->gateways, r->base.v6, &want, err);

	a.n++;
	if (rc >= 0 && want && (network_address_parse(want, &a) < 0 || !network_range_gives(r, &a)))
		rc = err_set(err, EINVAL, "gateway '%.60s' is no address of the subnet", want);
	if (rc >= 0)
		network_address_text(&a, ret);
	return rc;
}

static int choose_addresses(const struct taken *t, const struct network_new *new, struct network *n,
			    struct err *err)
{
	struct network_range r = { 0 }, r6 = { 0 };
	const char *want = NULL, *want6 = NULL;
	int rc = find_word(new->subnets, false, &want, err);

	if (rc >= 0)
		rc = find_word(new->subnets, true, &want6, err);
	if (rc >= 0)
		rc = want ? take_range(t, want, &r, err) : free_range(t, &r, err);
	if (rc >= 0)
		rc = choose_gateway(new, &r, n->gateway, err);
	if (rc < 0)
		return rc;
	network_range_text(&r, n->subnet);
	if (!want6 && !new->has_v6)
		return 0;
	rc = want6 ? take_range(t, want6, &r6, err) : local_range(t, n->id, &r6, err);
	if (rc >= 0)
		rc = choose_gateway(new, &r6, n->gateway6, err);
	if (rc >= 0)
		network_range_text(&r6, n->subnet6);
	return rc;
}

static int choose(const struct runtime *rt, const struct network_new *new, struct network *n,
		  struct network_live *live, struct err *err)
{
	struct taken t = { .live = live };
	int rc;

	add_routes(&t, "/proc/net/route", route_parse);
	add_routes(&t, "/proc/net/ipv6_route", route6_parse);
	rc = network_walk(rt, add_network, &t, err);
	if (rc >= 0)
		rc = choose_addresses(&t, new, n, err);
	free(t.ranges);
	return rc;
}

/* --- rows
 * -----------------------------------------------------------------------------------------------
 */

/* The lock before the database's, as everywhere. */
static int insert(const struct runtime *rt, const struct network_new *new, struct network *n,
		  struct err *err)
{
	auto_network_live struct network_live live = NETWORK_LIVE_INIT;
	auto_db_tx struct db *tx = NULL;
	auto_free char *doc = NULL;
	int64_t one;
	int rc = network_live_peek(&live, err);

	if (rc >= 0)
		rc = db_tx_begin(rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_get_int(rt->db, "SELECT 1 FROM networks WHERE name=?1",
				DB_ARGS(DB_T(n->name)), &one, err);
	if (rc > 0)
		return err_set(err, EEXIST, "network %s is there already", n->name);
	if (rc >= 0)
		rc = choose(rt, new, n, &live, err);
	if (rc < 0)
		return rc;
	doc = doc_text(n);
	rc = db_run(rt->db, "INSERT INTO networks(name,id,doc) VALUES(?1,?2,?3)",
		    DB_ARGS(DB_T(n->name), DB_T(n->id), DB_T(doc)), err);
	if (rc >= 0)
		rc = network_note_all(rt, err);
	fault_point("network.create.row");
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static bool is_reserved(const char *name)
{
	static const char *const names[] = { "host", "none", "default", "container", "ns" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(names[i], name))
			return true;
	return false;
}

int network_create(const struct runtime *rt, const struct network_new *new, struct network **ret,
		   struct err *err)
{
	auto_network struct network *n = mem_alloc(sizeof(*n));
	int rc;

	if (!network_name_valid(new->name) || is_reserved(new->name))
		return err_set(
			err, EINVAL,
			"network '%.80s': a name has only [a-zA-Z0-9][a-zA-Z0-9_.-] and is not "
			"host, none, default, container or ns",
			new->name);
	proc_random_hex(n->id, NETWORK_ID_LEN);
	n->name = mem_str(new->name);
	/* Of the id, so that no two stores take the same. */
	snprintf(n->bridge, sizeof(n->bridge), "shale-%.8s", n->id);
	n->is_internal = new->is_internal;
	n->has_dns = !new->no_dns;
	n->mtu = new->mtu;
	n->created_ns = proc_now_ns();
	if (new->labels)
		strv_copy(&n->labels, new->labels);
	rc = insert(rt, new, n, err);
	if (rc < 0)
		return rc;
	*ret = take(n);
	return 0;
}

/* As Docker's, it has no names: they are for networks that somebody made. */
static int make_default(const struct runtime *rt, struct network **ret, struct err *err)
{
	int rc = network_create(
		rt, &(struct network_new){ .name = NETWORK_DEFAULT, .no_dns = true }, ret, err);

	if (rc != -EEXIST)
		return rc;
	err_clear(err);
	return network_find(rt, NETWORK_DEFAULT, ret, err);
}

static bool is_hex(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= NETWORK_ID_LEN && strspn(s, "0123456789abcdef") == n;
}

#define COLUMNS "SELECT name,id,doc FROM networks"

int network_find(const struct runtime *rt, const char *name, struct network **ret, struct err *err)
{
	auto_network struct network *n = NULL;
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db,
			  is_hex(name) ? COLUMNS
				  " WHERE name=?1 OR (id>=?1 AND id<?1||'g') ORDER BY name<>?1"
				       : COLUMNS " WHERE name=?1",
			  DB_ARGS(DB_T(name)), &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc == 0 && str_eq(name, NETWORK_DEFAULT)) {
		db_stmt_cleanup(&st);
		st = NULL;
		return make_default(rt, ret, err);
	}
	if (rc == 0)
		return err_set(err, ENOENT, "no such network: %.128s", name);
	if (rc >= 0)
		rc = read_row(st, &n, err);
	if (rc >= 0 && n && !str_eq(n->name, name))
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return err_set(err, EINVAL, "several networks have ids that begin with %s", name);
	*ret = take(n);
	return 0;
}

int network_walk(const struct runtime *rt, network_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, COLUMNS " ORDER BY name", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		auto_network struct network *n = NULL;

		rc = read_row(st, &n, err);
		if (rc >= 0)
			rc = fn(n, arg, err);
	}
	return rc < 0 ? rc : 0;
}

/* Whoever sets up reads the row under the same lock. */
int network_remove(const struct runtime *rt, const struct network *n, struct err *err)
{
	auto_network_live struct network_live live = NETWORK_LIVE_INIT;
	int rc;

	if (str_eq(n->name, NETWORK_DEFAULT))
		return err_set(err, EPERM, "network %s is always there", n->name);
	rc = network_live_open(&live, err);
	if (rc < 0)
		return rc;
	if (network_live_uses(&live, n->id, NULL))
		return err_set(err, EBUSY, "network %s has containers: disconnect or stop them",
			       n->name);
	rc = db_run(rt->db, "DELETE FROM networks WHERE name=?1 AND id=?2",
		    DB_ARGS(DB_T(n->name), DB_T(n->id)), err);
	fault_point("network.remove.row");
	return rc < 0 ? rc : network_note_all(rt, err);
}
