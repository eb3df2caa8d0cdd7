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
enum { POOL_BITS = 24, BITS_MIN = 8, BITS_MAX = 29, ROUTES_MAX = 1 << 20 };

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
	json_t *j = json_object(), *subnet = json_object(), *options = json_object();

	json_set_str(subnet, "subnet", n->subnet);
	json_set_str(subnet, "gateway", n->gateway);
	if (n->mtu)
		json_object_set_new(options, "mtu", json_sprintf("%u", n->mtu));
	json_set_str(options, "isolate", "true");
	json_set_str(j, "name", n->name);
	json_set_str(j, "id", n->id);
	json_set_str(j, "driver", "bridge");
	json_set_str(j, "network_interface", n->bridge);
	json_object_set_new(j, "subnets", json_pack("[o]", subnet));
	json_object_set_new(j, "ipv6_enabled", json_false());
	json_object_set_new(j, "internal", json_boolean(n->is_internal));
	json_object_set_new(j, "dns_enabled", json_boolean(n->has_dns));
	json_object_set_new(j, "ipam_options", json_pack("{ss}", "driver", "host-local"));
	json_object_set_new(j, "options", options);
	return j;
}

/* --- which addresses
 * ---------------------------------------------------------------------------------------- */

/* Lines of /proc/net/route have destination and mask in columns 2 and 8, in hex as they lie in
 * memory. The default route and the bridge's own are nobody's addresses. */
static bool route_hits(const char *line, const struct network_range *r)
{
	auto_strv struct strv words = { 0 };
	unsigned long destination, mask;

	strv_split(&words, line, '\t');
	if (words.n < 8)
		return false;
	destination = strtoul(words.v[1], NULL, 16);
	mask = strtoul(words.v[7], NULL, 16);
	return mask && network_range_overlaps(
			       r, &(struct network_range){ ntohl((uint32_t)destination),
							   (unsigned)__builtin_popcountl(mask) });
}

struct taken {
	struct network_live *live;
	char *routes;
	struct network_range *ranges;
	size_t n, cap;
};

static int add_range(const struct network *n, void *arg, struct err *err)
{
	struct taken *t = arg;
	struct network_range r;

	(void)err;
	if (network_range_parse(n->subnet, &r) < 0)
		return 0;
	mem_room(t->ranges, t->n, t->cap);
	t->ranges[t->n++] = r;
	return 0;
}

static bool is_taken(struct taken *t, const struct network_range *r)
{
	auto_strv struct strv lines = { 0 };

	for (size_t i = 0; i < t->n; i++)
		if (network_range_overlaps(&t->ranges[i], r))
			return true;
	strv_split(&lines, t->routes, '\n');
	for (size_t i = 1; i < lines.n; i++)
		if (route_hits(lines.v[i], r))
			return true;
	return network_live_uses(t->live, NULL, r);
}

static int choose_range(struct taken *t, const char *want, struct network_range *ret,
			struct err *err)
{
	if (want &&
	    (network_range_parse(want, ret) < 0 || ret->bits < BITS_MIN || ret->bits > BITS_MAX))
		return err_set(err, EINVAL,
			       "subnet '%.40s' is not an IPv4 ADDRESS/BITS with %d to %d bits",
			       want, BITS_MIN, BITS_MAX);
	if (want)
		return is_taken(t, ret) ? err_set(err, EADDRINUSE,
						  "subnet %s overlaps with another network or a "
						  "route of the host",
						  want)
					: 0;
	ret->bits = POOL_BITS;
	for (ret->base = POOL_FIRST; ret->base < POOL_END; ret->base += POOL_STEP)
		if (!is_taken(t, ret))
			return 0;
	return err_set(err, EADDRINUSE, "no subnet is free in 10.90.0.0 to 10.99.255.0");
}

static int choose_addresses(struct db *db, const struct network_new *new, struct network *n,
			    struct network_live *live, struct err *err)
{
	struct taken t = { .live = live };
	struct network_range r = { 0 };
	char base[NETWORK_ADDRESS_MAX];
	struct err ignored = { 0 };
	uint32_t gateway;
	size_t len;
	int rc;

	if (fd_read_file(AT_FDCWD, "/proc/net/route", ROUTES_MAX, &t.routes, &len, &ignored) < 0)
		t.routes = mem_str("");
	rc = network_walk(db, add_range, &t, err);
	if (rc >= 0)
		rc = choose_range(&t, new->subnet, &r, err);
	free(t.routes);
	free(t.ranges);
	if (rc < 0)
		return rc;
	gateway = r.base + 1;
	if (new->gateway &&
	    (network_address_parse(new->gateway, &gateway) < 0 || !network_range_has(&r, gateway) ||
	     gateway == r.base || gateway == network_range_last(&r)))
		return err_set(err, EINVAL, "gateway '%.40s' is no address of the subnet",
			       new->gateway);
	network_address_text(r.base, base);
	snprintf(n->subnet, sizeof(n->subnet), "%s/%u", base, r.bits);
	network_address_text(gateway, n->gateway);
	return 0;
}

/* --- rows
 * -----------------------------------------------------------------------------------------------
 */

/* The lock before the database's, as everywhere. */
static int insert(struct db *db, const struct network_new *new, struct network *n, struct err *err)
{
	auto_network_live struct network_live live = NETWORK_LIVE_INIT;
	auto_db_tx struct db *tx = NULL;
	auto_free char *doc = NULL;
	int64_t one;
	int rc = network_live_peek(&live, err);

	if (rc >= 0)
		rc = db_tx_begin(db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_get_int(db, "SELECT 1 FROM networks WHERE name=?1", DB_ARGS(DB_T(n->name)),
				&one, err);
	if (rc > 0)
		return err_set(err, EEXIST, "network %s is there already", n->name);
	if (rc >= 0)
		rc = choose_addresses(db, new, n, &live, err);
	if (rc < 0)
		return rc;
	doc = doc_text(n);
	rc = db_run(db, "INSERT INTO networks(name,id,doc) VALUES(?1,?2,?3)",
		    DB_ARGS(DB_T(n->name), DB_T(n->id), DB_T(doc)), err);
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

int network_create(struct db *db, const struct network_new *new, struct network **ret,
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
	rc = insert(db, new, n, err);
	if (rc < 0)
		return rc;
	*ret = take(n);
	return 0;
}

/* As Docker's, it has no names: they are for networks that somebody made. */
static int make_default(struct db *db, struct network **ret, struct err *err)
{
	int rc = network_create(
		db, &(struct network_new){ .name = NETWORK_DEFAULT, .no_dns = true }, ret, err);

	if (rc != -EEXIST)
		return rc;
	err_clear(err);
	return network_find(db, NETWORK_DEFAULT, ret, err);
}

static bool is_hex(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= NETWORK_ID_LEN && strspn(s, "0123456789abcdef") == n;
}

#define COLUMNS "SELECT name,id,doc FROM networks"

int network_find(struct db *db, const char *name, struct network **ret, struct err *err)
{
	auto_network struct network *n = NULL;
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db,
			  is_hex(name) ? COLUMNS
				  " WHERE name=?1 OR (id>=?1 AND id<?1||'g') ORDER BY name<>?1"
				       : COLUMNS " WHERE name=?1",
			  DB_ARGS(DB_T(name)), &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc == 0 && str_eq(name, NETWORK_DEFAULT)) {
		db_stmt_cleanup(&st);
		st = NULL;
		return make_default(db, ret, err);
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

int network_walk(struct db *db, network_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db, COLUMNS " ORDER BY name", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		auto_network struct network *n = NULL;

		rc = read_row(st, &n, err);
		if (rc >= 0)
			rc = fn(n, arg, err);
	}
	return rc < 0 ? rc : 0;
}

static void add_user(json_t *user, const char *id, const char *network_id, struct strv *ret)
{
	json_t *all = json_object_get(json_object_get(user, "setup"), "network_info"), *info;
	const char *name;

	json_object_foreach(all, name, info) if (str_eq(json_get_str(info, "id"), network_id))
		strv_add(ret, id);
}

int network_users(const struct network *n, struct strv *ret, struct err *err)
{
	auto_network_live struct network_live live = NETWORK_LIVE_INIT;
	int rc = network_live_peek(&live, err);
	const char *id;
	json_t *user;

	if (rc <= 0)
		return rc;
	json_object_foreach(live.users, id, user) add_user(user, id, n->id, ret);
	return 0;
}

/* Whoever sets up reads the row under the same lock. */
int network_remove(struct db *db, const struct network *n, struct err *err)
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
	rc = db_run(db, "DELETE FROM networks WHERE name=?1 AND id=?2",
		    DB_ARGS(DB_T(n->name), DB_T(n->id)), err);
	fault_point("network.remove.row");
	return rc < 0 ? rc : 0;
}
