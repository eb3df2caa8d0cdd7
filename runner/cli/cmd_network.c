/* SPDX-License-Identifier: Apache-2.0 */
/* network create, ls, inspect, rm and prune. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <shale/container.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_network_create, cmd_network_ls, cmd_network_inspect, cmd_network_rm,
	cmd_network_prune;

struct network_args {
	bool quiet, no_trunc, internal, disable_dns, force, ipv6;
	const char *format, *driver;
	struct strv labels, options, subnets, gateways;
};

#define OFF(field) offsetof(struct network_args, field)

static const struct opt create_opts[] = {
	{ 0, "disable-dns", OPT_BOOL, OFF(disable_dns), NULL,
	  "containers are not found by their names" },
	{ 'd', "driver", OPT_STR, OFF(driver), "DRIVER", "bridge (default); there is no other" },
	{ 0, "gateway", OPT_STRV, OFF(gateways), "ADDRESS", "the host's address in it" },
	{ 0, "internal", OPT_BOOL, OFF(internal), NULL, "no way out of it" },
	{ 0, "ipv6", OPT_BOOL, OFF(ipv6), NULL, "addresses of IPv6, too" },
	{ 0, "label", OPT_STRV, OFF(labels), "KEY=VALUE", "set a label" },
	{ 'o', "opt", OPT_STRV, OFF(options), "mtu=N", "the interfaces' MTU" },
	{ 0, "subnet", OPT_STRV, OFF(subnets), "ADDRESS/BITS",
	  "its addresses: one of IPv4, one of IPv6" },
	{ 0 },
};
static const struct opt ls_opts[] = {
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json or a Go template" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL, "whole IDs" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "only IDs" },
	{ 0 },
};
static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, OFF(format), "FORMAT", "json, or a Go template" },
	{ 0 },
};
static const struct opt prune_opts[] = {
	{ 'f', "force", OPT_BOOL, OFF(force), NULL, "taken for granted" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "NETWORK ID", "ID", false }, { "NAME", "Name", false },
	{ "DRIVER", "Driver", false }, { "SUBNET", "Subnet", false },
	{ "SCOPE", "Scope", true },    { "INTERNAL", "Internal", true },
	{ "LABELS", "Labels", true },  { "GATEWAY", "Gateway", true },
	{ "IPV6", "IPv6", true },      { "CREATED AT", "CreatedAt", true },
	{ NULL, NULL, false },
};

static int read_options(const struct strv *l, uint32_t *ret_mtu, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *eq = strchr(l->v[i], '=');
		uint64_t mtu;

		if ((!str_starts(l->v[i], "mtu=") &&
		     !str_starts(l->v[i], "com.docker.network.driver.mtu=")) ||
		    str_to_u64(eq + 1, 10, 65535, &mtu) < 0 || mtu < 68)
			return err_set(err, EINVAL, "--opt %.80s: want mtu=68 to mtu=65535",
				       l->v[i]);
		*ret_mtu = (uint32_t)mtu;
	}
	return 0;
}

static int create_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct network_args *a = args;
	auto_network struct network *n = NULL;
	struct network_new new = { .name = argv[0],
				   .subnets = &a->subnets,
				   .gateways = &a->gateways,
				   .has_v6 = a->ipv6,
				   .is_internal = a->internal,
				   .no_dns = a->disable_dns,
				   .labels = &a->labels };
	struct err err = { 0 };

	(void)argc;
	if (a->driver && !str_eq(a->driver, "bridge")) {
		err_set(&err, EINVAL, "--driver %.40s: only bridge is there", a->driver);
		return cli_usage(c, &err);
	}
	if (a->gateways.n > a->subnets.n) {
		err_set(&err, EINVAL, "--gateway needs --subnet");
		return cli_usage(c, &err);
	}
	if (read_options(&a->options, &new.mtu, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0 || network_create(&c->rt, &new, &n, &err) < 0)
		return cli_fail(c, &err);
	container_network_event(&c->rt, n, "create", NULL);
	puts(n->id);
	return cli_done(c);
}

/* --- ls
 * ----------------------------------------------------------------------------------------------------
 */

struct listing {
	json_t *rows;
	bool whole;
};

static void add_builtin(json_t *rows, const char *name)
{
	static const char *const unset[] = { "Subnet", "Gateway", "Labels", "CreatedAt" };
	json_t *row = out_row_new();

	out_row_set(row, "ID", name);
	out_row_set(row, "Name", name);
	out_row_set(row, "Driver", str_eq(name, "none") ? "null" : name);
	out_row_set(row, "Scope", "local");
	out_row_set(row, "Internal", "false");
	out_row_set(row, "IPv6", "false");
	for (size_t i = 0; i < ARRAY_LEN(unset); i++)
		out_row_set(row, unset[i], "");
	json_array_append_new(rows, row);
}

static char *both(const char *v4, const char *v6)
{
	return mem_fmt("%s%s%s", v4, *v6 ? "," : "", v6);
}

static int add_row(const struct network *n, void *arg, struct err *err)
{
	const struct listing *l = arg;
	auto_str struct str labels = { 0 };
	json_t *row = out_row_new();

	(void)err;
	for (size_t i = 0; i < n->labels.n; i++)
		str_addf(&labels, "%s%s", i ? "," : "", n->labels.v[i]);
	out_row_take(row, "ID", mem_strn(n->id, l->whole ? NETWORK_ID_LEN : 12));
	out_row_set(row, "Name", n->name);
	out_row_set(row, "Driver", "bridge");
	out_row_take(row, "Subnet", both(n->subnet, n->subnet6));
	out_row_take(row, "Gateway", both(n->gateway, n->gateway6));
	out_row_set(row, "IPv6", *n->subnet6 ? "true" : "false");
	out_row_set(row, "Scope", "local");
	out_row_set(row, "Internal", n->is_internal ? "true" : "false");
	out_row_take(row, "Labels", str_take(&labels));
	out_row_take(row, "CreatedAt", out_time(n->created_ns / 1000000000));
	json_array_append_new(l->rows, row);
	return 0;
}

static int ls_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct network_args *a = args;
	auto_json json_t *rows = json_array();
	struct listing l = { rows, a->no_trunc };
	struct out_list out = { columns, a->format, a->quiet ? "ID" : NULL };
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (cli_open(c, &err) < 0 || network_walk(&c->rt, add_row, &l, &err) < 0)
		return cli_fail(c, &err);
	add_builtin(rows, "host");
	add_builtin(rows, "none");
	if (out_list(&out, rows, &err) < 0)
		return cli_fail(c, &err);
	return cli_done(c);
}

/* --- inspect
 * -----------------------------------------------------------------------------------------------
 */

static void set_str(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, json_from_str(v ? v : ""));
}

struct membership {
	struct cli *c;
	const struct network *n;
	json_t *to;
};

static int add_member(struct container *ct, void *arg, struct err *err)
{
	struct membership *m = arg;
	auto_json json_t *state = ct->state == CONTAINER_RUNNING ? network_state(ct->id) : NULL;
	json_t *join;
	size_t i;

	(void)err;
	json_array_foreach(json_object_get(state, "joins"), i, join)
	{
		auto_free char *address = NULL, *address6 = NULL;
		json_t *o;

		if (!str_eq(json_get_str(join, "id"), m->n->id))
			continue;
		address = mem_fmt("%s/%d", json_get_str(join, "ip"),
				  (int)json_get_int(join, "prefix", 0));
		o = json_object();
		set_str(o, "Name", ct->name);
		set_str(o, "MacAddress", json_get_str(join, "mac"));
		set_str(o, "IPv4Address", address);
		address6 = json_get_str(join, "ip6")
				   ? mem_fmt("%s/%d", json_get_str(join, "ip6"),
					     (int)json_get_int(join, "prefix6", 0))
				   : mem_str("");
		set_str(o, "IPv6Address", address6);
		json_object_set_new(m->to, ct->id, o);
	}
	return 0;
}

static json_t *labels_json(const struct strv *l)
{
	json_t *o = json_object();

	for (size_t i = 0; i < l->n; i++) {
		auto_free char *key = mem_strn(l->v[i], strcspn(l->v[i], "="));
		const char *eq = strchr(l->v[i], '=');

		set_str(o, key, eq ? eq + 1 : "");
	}
	return o;
}

static int inspect_one(struct cli *c, const char *name, json_t *to, struct err *err)
{
	auto_network struct network *n = NULL;
	auto_free char *created = NULL;
	json_t *o = json_object(), *members = json_object(), *options = json_object();
	json_t *config;
	struct membership m = { c, NULL, members };
	int rc;

	json_array_append_new(to, o);
	json_object_set_new(o, "Containers", members);
	json_object_set_new(o, "Options", options);
	rc = network_find(&c->rt, name, &n, err);
	if (rc < 0)
		return rc;
	m.n = n;
	set_str(o, "Name", n->name);
	set_str(o, "Id", n->id);
	created = out_time(n->created_ns / 1000000000);
	set_str(o, "Created", created);
	json_object_set_new(o, "Scope", json_string("local"));
	set_str(o, "Driver", "bridge");
	set_str(o, "Interface", n->bridge);
	json_object_set_new(o, "EnableIPv6", json_boolean(*n->subnet6));
	json_object_set_new(o, "Internal", json_boolean(n->is_internal));
	json_object_set_new(o, "DNS", json_boolean(n->has_dns));
	config = json_pack("[{ss,ss}]", "Subnet", n->subnet, "Gateway", n->gateway);
	if (*n->subnet6)
		json_array_append_new(
			config, json_pack("{ss,ss}", "Subnet", n->subnet6, "Gateway", n->gateway6));
	json_object_set_new(o, "IPAM", json_pack("{ss,so}", "Driver", "default", "Config", config));
	json_object_set_new(o, "Labels", labels_json(&n->labels));
	if (n->mtu)
		json_object_set_new(options, "mtu", json_integer(n->mtu));
	return container_walk(&c->rt, add_member, &m, err);
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct network_args *a = args;
	auto_json json_t *rows = json_array();
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	for (int i = 0; i < argc && rc >= 0; i++)
		rc = inspect_one(c, argv[i], rows, &err);
	for (size_t i = 0; rc >= 0 && a->format && i < json_array_size(rows); i++)
		rc = out_value(a->format, json_array_get(rows, i), &err);
	if (rc >= 0 && !a->format) {
		auto_free char *text = json_text_indent(rows);

		puts(text);
	}
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

/* --- rm, prune
 * --------------------------------------------------------------------------------------------- */

static void removed(struct cli *c, const struct network *n)
{
	container_network_event(&c->rt, n, "destroy", NULL);
	puts(n->name);
}

static int rm_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };
	int code = 0;

	(void)args;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++) {
		auto_network struct network *n = NULL;

		err_clear(&err);
		if (network_find(&c->rt, argv[i], &n, &err) < 0 ||
		    network_remove(&c->rt, n, &err) < 0)
			code = cli_fail(c, &err);
		else
			removed(c, n);
	}
	return code ? code : cli_done(c);
}

static int add_name(const struct network *n, void *arg, struct err *err)
{
	(void)err;
	if (!str_eq(n->name, NETWORK_DEFAULT))
		strv_add(arg, n->id);
	return 0;
}

/* Those that a container is to have when it starts again stay. */
static int note_wanted(struct container *ct, void *arg, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < ct->spec.networks.n; i++) {
		auto_network_join struct network_join j = { 0 };
		struct err ignored = { 0 };

		if (network_join_parse(ct->spec.networks.v[i], &j, &ignored) >= 0)
			strv_add(arg, j.network);
	}
	return 0;
}

static bool is_wanted(const struct strv *wanted, const struct network *n)
{
	for (size_t i = 0; i < wanted->n; i++)
		if (str_eq(wanted->v[i], n->name) || str_starts(n->id, wanted->v[i]))
			return true;
	return false;
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_strv struct strv ids = { 0 }, wanted = { 0 };
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args;
	(void)argc;
	(void)argv;
	if (rc >= 0)
		rc = network_walk(&c->rt, add_name, &ids, &err);
	if (rc >= 0)
		rc = container_walk(&c->rt, note_wanted, &wanted, &err);
	for (size_t i = 0; rc >= 0 && i < ids.n; i++) {
		auto_network struct network *n = NULL;

		rc = network_find(&c->rt, ids.v[i], &n, &err);
		if (rc >= 0 && is_wanted(&wanted, n))
			continue;
		if (rc >= 0)
			rc = network_remove(&c->rt, n, &err);
		if (rc >= 0)
			removed(c, n);
		if (rc == -EBUSY || rc == -ENOENT) {
			err_clear(&err);
			rc = 0;
		}
	}
	if (rc < 0)
		return cli_fail(c, &err);
	container_prune_event(&c->rt, "network", 0);
	return cli_done(c);
}

#define NETWORK_COMMAND(variable, its_name, its_args, text, its_opts, its_main, least, most,       \
			completer)                                                                 \
	const struct command variable = {                                                          \
		.name = (its_name),                                                                \
		.args = (its_args),                                                                \
		.summary = (text),                                                                 \
		.opts = (its_opts),                                                                \
		.args_size = sizeof(struct network_args),                                          \
		.main = (its_main),                                                                \
		.min_args = (least),                                                               \
		.max_args = (most),                                                                \
		.flags = CMD_HIDDEN,                                                               \
		.complete = (completer),                                                           \
	}

NETWORK_COMMAND(cmd_network_create, "network-create", "NAME", "Make a bridge network", create_opts,
		create_main, 1, 1, NULL);
NETWORK_COMMAND(cmd_network_ls, "network-ls", "", "List networks", ls_opts, ls_main, 0, 0, NULL);
NETWORK_COMMAND(cmd_network_inspect, "network-inspect", "NETWORK...",
		"Show all that is known of networks", inspect_opts, inspect_main, 1, -1,
		complete_networks);
NETWORK_COMMAND(cmd_network_rm, "network-rm", "NETWORK...", "Remove networks", NULL, rm_main, 1, -1,
		complete_networks);
NETWORK_COMMAND(cmd_network_prune, "network-prune", "", "Remove the networks that no container has",
		prune_opts, prune_main, 0, 0, NULL);
