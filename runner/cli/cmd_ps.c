/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <shale/base/proc.h>
#include <shale/container.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_ps;

struct ps_args {
	bool all, quiet, no_trunc, size, latest;
	int last;
	const char *format;
	struct strv filters;
};

static const struct opt ps_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct ps_args, all), NULL, "also those that do not run" },
	{ 'f', "filter", OPT_STRV, offsetof(struct ps_args, filters), "KEY=VALUE",
	  "status, name, label, ancestor, volume, network, since and others" },
	{ 0, "format", OPT_STR, offsetof(struct ps_args, format), "FORMAT",
	  "table, json or a Go template" },
	{ 'n', "last", OPT_INT, offsetof(struct ps_args, last), "N",
	  "the N created last, also those that do not run" },
	{ 'l', "latest", OPT_BOOL, offsetof(struct ps_args, latest), NULL, "the one created last" },
	{ 0, "no-trunc", OPT_BOOL, offsetof(struct ps_args, no_trunc), NULL,
	  "whole IDs and commands" },
	{ 'q', "quiet", OPT_BOOL, offsetof(struct ps_args, quiet), NULL, "only IDs" },
	{ 's', "size", OPT_BOOL, offsetof(struct ps_args, size), NULL,
	  "disk use of the writable layers" },
	{ 0 },
};
static const struct ps_args ps_defaults = { .last = -1 };

/* --- filters: several values of one key are alternatives, different keys must all hold
 * ----------------------------- */

static bool has_label(const struct container *ct, const char *want)
{
	const char *eq = strchr(want, '=');

	if (eq)
		return strv_has(&ct->spec.labels, want);
	return strv_env_get(&ct->spec.labels, want) != NULL;
}

static bool match_status(const struct container *ct, const char *v)
{
	return str_eq(container_state_text(ct), v);
}

static bool match_name(const struct container *ct, const char *v)
{
	return strstr(ct->name, *v == '/' || *v == '^' ? v + 1 : v) != NULL;
}

static bool match_id(const struct container *ct, const char *v)
{
	return str_starts(ct->id, v);
}

static bool match_ancestor(const struct container *ct, const char *v)
{
	return str_eq(ct->image_name, v) || (ct->image_id && str_starts(ct->image_id, v));
}

static bool match_exited(const struct container *ct, const char *v)
{
	uint64_t code;

	return ct->state == CONTAINER_EXITED && str_to_u64(v, 10, 255, &code) == 0 &&
	       (int)code == ct->exit_code;
}

static bool match_health(const struct container *ct, const char *v)
{
	auto_free char *health = container_health_status(ct);

	return str_eq(health ? health : "none", v);
}

/* A volume's name, a path of the host, or where it is inside. */
static bool match_volume(const struct container *ct, const char *v)
{
	auto_strv struct strv words = { 0 };

	container_spec_mounted(&ct->spec, &words);
	return strv_has(&words, v);
}

static bool match_network(const struct container *ct, const char *v)
{
	bool found =
		!ct->spec.networks.n && str_eq(ct->spec.network ? ct->spec.network : "host", v);

	for (size_t i = 0; i < ct->spec.networks.n && !found; i++) {
		auto_network_join struct network_join j = { 0 };
		struct err ignored = { 0 };

		found = network_join_parse(ct->spec.networks.v[i], &j, &ignored) >= 0 &&
			str_eq(j.network, v);
	}
	return found;
}

/* match NULL: by the time of another one. */
static const struct {
	const char *key;
	bool (*match)(const struct container *ct, const char *v);
	bool needs_spec;
} filters[] = {
	{ "status", match_status, false },
	{ "name", match_name, false },
	{ "id", match_id, false },
	{ "label", has_label, true },
	{ "ancestor", match_ancestor, false },
	{ "exited", match_exited, false },
	{ "health", match_health, false },
	{ "volume", match_volume, true },
	{ "network", match_network, true },
	{ "before", NULL, false },
	{ "since", NULL, false },
};

static int unknown_filter(const char *filter, struct err *err)
{
	auto_str struct str keys = { 0 };

	for (size_t k = 0; k < ARRAY_LEN(filters); k++)
		str_addf(&keys, "%s%s=", k ? ", " : "", filters[k].key);
	return err_set(err, EINVAL, "filter %s: not one of %s", filter, str_get(&keys));
}

static int check_filters(const struct strv *l, bool *ret_all, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *eq = strchr(l->v[i], '=');
		bool known = false;

		for (size_t k = 0; eq && k < ARRAY_LEN(filters); k++)
			known |= strncmp(l->v[i], filters[k].key, (size_t)(eq - l->v[i])) == 0 &&
				 !filters[k].key[eq - l->v[i]];
		if (!known)
			return unknown_filter(l->v[i], err);
		if (str_starts(l->v[i], "status=") && container_state_find(eq + 1) < 0)
			return err_set(err, EINVAL, "invalid status '%s'", eq + 1);
		/* Who asks for a status means also those that do not run. */
		*ret_all |= str_starts(l->v[i], "status=") || str_starts(l->v[i], "exited=");
	}
	return 0;
}

static bool passes(const struct container *ct, const struct strv *l)
{
	for (size_t k = 0; k < ARRAY_LEN(filters); k++) {
		size_t n = strlen(filters[k].key);
		/* Labels must all be there. */
		bool any = false, hit = false, all = true;

		for (size_t i = 0; i < l->n; i++) {
			if (strncmp(l->v[i], filters[k].key, n) != 0 || l->v[i][n] != '=')
				continue;
			if (!filters[k].match)
				continue;
			any = true;
			if (filters[k].match(ct, l->v[i] + n + 1))
				hit = true;
			else
				all = false;
		}
		if (any && !(filters[k].match == has_label ? all : hit))
			return false;
	}
	return true;
}

/* --- rows
 * -----------------------------------------------------------------------------------------------------------
 */

struct ps {
	const struct ps_args *a;
	json_t *rows;
	struct strv lines; /* of the table, which needs no rows */
	int64_t now_ns;
	bool all;
	int left; /* -1: no limit */
	int64_t before_ns, since_ns;
};

static char *quoted_command(const struct container *ct, bool whole)
{
	enum { SHOWN = 20 };
	const char *s = ct->command ? ct->command : "";
	size_t n = strlen(s);
	auto_free char *cut = NULL;
	auto_str struct str b = { 0 };

	if (whole || n + 2 <= SHOWN)
		return mem_fmt("\"%s\"", s);
	cut = mem_strn(s, SHOWN - 2);
	str_addf(&b, "\"%s…\"", cut);
	return str_take(&b);
}

static char *joined(const struct strv *l)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < l->n; i++)
		str_addf(&b, "%s%s", b.len ? "," : "", l->v[i]);
	return str_take(&b);
}

static char *networks_text(const struct container *ct)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < ct->spec.networks.n; i++) {
		auto_network_join struct network_join j = { 0 };
		struct err ignored = { 0 };

		if (network_join_parse(ct->spec.networks.v[i], &j, &ignored) >= 0)
			str_addf(&b, "%s%s", b.len ? "," : "", j.network);
	}
	return b.len ? str_take(&b) : mem_str(ct->spec.network ? ct->spec.network : "host");
}

/* "0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9001->9000-9001/udp" */
static char *ports_text(const struct container *ct)
{
	bool has = ct->state == CONTAINER_RUNNING && ct->spec.publish.n;
	auto_json json_t *state = has ? network_state(ct->id) : NULL;
	auto_str struct str b = { 0 };
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(state, "ports"), i, m)
	{
		auto_free char *first = network_port_text(m, 0);
		int outer = (int)json_get_int(m, "host_port", 0);
		int inner = (int)json_get_int(m, "container_port", 0);
		int n = (int)json_get_int(m, "range", 1);

		str_addf(&b, "%s%s", b.len ? ", " : "", first);
		if (n > 1)
			str_addf(&b, "-%d", outer + n - 1);
		str_addf(&b, "->%d", inner);
		if (n > 1)
			str_addf(&b, "-%d", inner + n - 1);
		str_addf(&b, "/%s", json_get_str(m, "protocol"));
	}
	return str_take(&b);
}

typedef char *text_fn(struct container *ct, const struct ps *ps, struct err *err);

static char *id_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)err;
	return mem_strn(ct->id, ps->a->no_trunc ? CONTAINER_ID_LEN : CONTAINER_SHORT_LEN);
}

static char *image_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return mem_str(ct->image_name ? ct->image_name : "");
}

static char *command_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)err;
	return quoted_command(ct, ps->a->no_trunc);
}

static char *age_of(struct container *ct, const struct ps *ps, struct err *err)
{
	auto_free char *age = container_age_text(ps->now_ns - ct->created_ns);

	(void)err;
	return mem_fmt("%s ago", age);
}

static char *status_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)err;
	return container_status_text(ct, ps->now_ns);
}

static char *ports_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return ports_text(ct);
}

static char *name_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return mem_str(ct->name);
}

static char *state_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return mem_str(container_state_text(ct));
}

static char *date_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return out_time(ct->created_ns / 1000000000);
}

static char *labels_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return joined(&ct->spec.labels);
}

static char *mounts_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return joined(&ct->spec.volumes);
}

static char *networks_of(struct container *ct, const struct ps *ps, struct err *err)
{
	(void)ps, (void)err;
	return networks_text(ct);
}

static char *size_of(struct container *ct, const struct ps *ps, struct err *err)
{
	uint64_t bytes;

	(void)ps;
	return container_usage(ct, &bytes, err) < 0 ? NULL : out_size(bytes);
}

static const struct {
	const char *header, *key;
	enum { SHOWN, HIDDEN, ASKED } when; /* ASKED: by --size alone */
	text_fn *text;
} columns[] = {
	{ "CONTAINER ID", "ID", SHOWN, id_of },
	{ "IMAGE", "Image", SHOWN, image_of },
	{ "COMMAND", "Command", SHOWN, command_of },
	{ "CREATED", "RunningFor", SHOWN, age_of },
	{ "STATUS", "Status", SHOWN, status_of },
	{ "PORTS", "Ports", SHOWN, ports_of },
	{ "NAMES", "Names", SHOWN, name_of },
	{ "SIZE", "Size", ASKED, size_of },
	{ "STATE", "State", HIDDEN, state_of },
	{ "CREATED AT", "CreatedAt", HIDDEN, date_of },
	{ "LABELS", "Labels", HIDDEN, labels_of },
	{ "MOUNTS", "Mounts", HIDDEN, mounts_of },
	{ "NETWORKS", "Networks", HIDDEN, networks_of },
};
enum { N_COLUMNS = ARRAY_LEN(columns) };

static bool is_shown(const struct ps *ps, size_t i)
{
	return columns[i].when == SHOWN || (columns[i].when == ASKED && ps->a->size);
}

static int add_line(struct container *ct, struct ps *ps, struct err *err)
{
	auto_str struct str line = { 0 };

	for (size_t i = 0; i < N_COLUMNS; i++) {
		auto_free char *text = is_shown(ps, i) ? columns[i].text(ct, ps, err) : NULL;

		if (!text && is_shown(ps, i))
			return -err->code;
		if (text && i)
			str_addc(&line, '\t');
		if (text)
			out_cell(&line, text);
	}
	strv_add_take(&ps->lines, str_take(&line));
	return 0;
}

static int add_row(struct container *ct, void *arg, struct err *err)
{
	struct ps *ps = arg;
	json_t *row;

	if (ps->left == 0 || (!ps->all && ct->state != CONTAINER_RUNNING) ||
	    ct->created_ns >= ps->before_ns || ct->created_ns <= ps->since_ns ||
	    !passes(ct, &ps->a->filters))
		return 0;
	if (ps->left > 0)
		ps->left--;
	if (!ps->rows)
		return add_line(ct, ps, err);
	row = out_row_new();
	json_array_append_new(ps->rows, row);
	for (size_t i = 0; i < N_COLUMNS; i++) {
		char *text;

		if (columns[i].when == ASKED && !ps->a->size)
			continue;
		text = columns[i].text(ct, ps, err);
		if (!text)
			return -err->code;
		out_row_take(row, columns[i].key, text);
	}
	return 0;
}

static void set_columns(const struct ps *ps, struct out_column to[N_COLUMNS + 1])
{
	for (size_t i = 0; i < N_COLUMNS; i++)
		to[i] = (struct out_column){ columns[i].header, columns[i].key, !is_shown(ps, i) };
	to[N_COLUMNS] = (struct out_column){ 0 };
}

/* Labels, mounts and networks are in the spec: who does not ask for them does not wait for it. */
static unsigned list_flags(const struct ps *ps)
{
	bool brief = !ps->a->format;

	for (size_t i = 0; i < ps->a->filters.n; i++)
		for (size_t k = 0; k < ARRAY_LEN(filters); k++)
			brief = brief && !(filters[k].needs_spec &&
					   str_starts(ps->a->filters.v[i], filters[k].key));
	return (ps->all ? 0 : CONTAINER_LIST_RUNNING) | (brief ? CONTAINER_LIST_BRIEF : 0);
}

/* "before=NAME" and "since=NAME": of several, what all ask for. */
static int find_times(struct cli *c, struct ps *ps, struct err *err)
{
	for (size_t i = 0; i < ps->a->filters.n; i++) {
		const char *f = ps->a->filters.v[i];
		bool before = str_starts(f, "before="), since = str_starts(f, "since=");
		auto_container struct container *ct = NULL;

		if (!before && !since)
			continue;
		if (container_find(&c->rt, strchr(f, '=') + 1, &ct, err) < 0)
			return err_ctx(err, "filter %s", f);
		if (before && ct->created_ns < ps->before_ns)
			ps->before_ns = ct->created_ns;
		if (since && ct->created_ns > ps->since_ns)
			ps->since_ns = ct->created_ns;
	}
	return 0;
}

static int ps_main(struct cli *c, void *args, int argc, char **argv)
{
	struct ps_args *a = args;
	bool is_plain = !a->quiet && (!a->format || !*a->format || str_eq(a->format, "table"));
	auto_json json_t *rows = is_plain ? NULL : json_array();
	struct ps ps = { .a = a,
			 .rows = rows,
			 .left = a->latest ? 1 : a->last,
			 .now_ns = proc_now_ns(),
			 .before_ns = INT64_MAX };
	struct out_column cols[N_COLUMNS + 1];
	struct out_list out = { .cols = cols, .format = a->format };
	struct err err = { 0 };
	int rc;

	(void)argc;
	(void)argv;
	ps.all = a->all || ps.left >= 0;
	/* As docker: who prints it need not ask for it as well. */
	a->size = a->size || (a->format && strstr(a->format, ".Size"));
	if (check_filters(&a->filters, &ps.all, &err) < 0)
		return cli_usage(c, &err);
	set_columns(&ps, cols);
	if (a->quiet)
		out.quiet_key = "ID";
	if (is_plain)
		out_heads(out.cols, &ps.lines);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = find_times(c, &ps, &err);
	if (rc >= 0)
		rc = container_list(&c->rt, list_flags(&ps), add_row, &ps, &err);
	if (rc >= 0 && is_plain)
		out_aligned(&ps.lines);
	else if (rc >= 0)
		rc = out_list(&out, rows, &err);
	strv_free(&ps.lines);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_ps = {
	.name = "ps",
	.args = "",
	.summary = "List containers",
	.opts = ps_opts,
	.args_size = sizeof(struct ps_args),
	.main = ps_main,
	.defaults = &ps_defaults,
};
