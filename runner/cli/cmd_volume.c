/* SPDX-License-Identifier: Apache-2.0 */
/* volume create, inspect, ls, prune, rm */
#include <errno.h>
#include <string.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_volume_create, cmd_volume_inspect, cmd_volume_ls, cmd_volume_prune,
	cmd_volume_rm;

/* --- create --- */

struct create_args {
	struct strv labels, options;
	const char *driver, *name;
};

#define OFF(field) offsetof(struct create_args, field)
static const struct opt create_opts[] = {
	{ 'd', "driver", OPT_STR, OFF(driver), "DRIVER", "local (default); there is no other" },
	{ 0, "label", OPT_STRV, OFF(labels), "KEY=VALUE", "set a label" },
	{ 0, "name", OPT_STR, OFF(name), "NAME", NULL },
	{ 'o', "opt", OPT_STRV, OFF(options), "KEY=VALUE", NULL },
	{ 0 },
};
#undef OFF

static int create_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct create_args *a = args;
	auto_free char *name = NULL;
	struct err err = { 0 };
	int rc = 0;

	if (a->driver && !str_eq(a->driver, "local"))
		rc = err_set(&err, ENOTSUP, "volume driver %s: there is only local", a->driver);
	else if (a->options.n)
		rc = err_set(&err, ENOTSUP, "--opt %s: the driver local has no options",
			     a->options.v[0]);
	if (rc >= 0)
		rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_volume_create(&c->rt, argc ? argv[0] : a->name, &a->labels, &name,
					     &err);
	if (rc < 0)
		return cli_fail(c, &err);
	puts(name);
	return cli_done(c);
}

/* --- ls --- */

struct ls_args {
	bool quiet;
	const char *format;
	struct strv filters;
};

static const struct opt ls_opts[] = {
	{ 'f', "filter", OPT_STRV, offsetof(struct ls_args, filters), "KEY=VALUE",
	  "only those with this dangling, driver, label or name" },
	{ 0, "format", OPT_STR, offsetof(struct ls_args, format), "FORMAT",
	  "table, json or a Go template" },
	{ 'q', "quiet", OPT_BOOL, offsetof(struct ls_args, quiet), NULL, "only names" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "DRIVER", "Driver", false },        { "VOLUME NAME", "Name", false },
	{ "MOUNTPOINT", "Mountpoint", true }, { "LABELS", "Labels", true },
	{ "SCOPE", "Scope", true },           { NULL, NULL, false },
};

static bool has_label(const struct container_volume_info *v, const char *want)
{
	return strchr(want, '=') ? strv_has(&v->labels, want)
				 : strv_env_get(&v->labels, want) || strv_has(&v->labels, want);
}

static int passes_one(const struct container_volume_info *v, const char *filter, struct err *err)
{
	const char *value = strchr(filter, '=');
	bool wanted = false;

	value = value ? value + 1 : "";
	if (str_starts(filter, "dangling="))
		return filter_bool("dangling", value, &wanted, err) < 0 ? -err->code
									: v->is_used != wanted;
	if (str_starts(filter, "name="))
		return strstr(v->name, value) != NULL;
	if (str_starts(filter, "label="))
		return has_label(v, value);
	if (str_starts(filter, "driver="))
		return str_eq(value, "local");
	return err_set(err, EINVAL, "invalid filter '%s'", filter);
}

static int passes(const struct container_volume_info *v, const struct strv *filters,
		  struct err *err)
{
	int rc = 1;

	for (size_t i = 0; rc > 0 && i < filters->n; i++)
		rc = passes_one(v, filters->v[i], err);
	return rc;
}

struct listing {
	struct cli *c;
	const struct ls_args *a;
	json_t *rows;
};

static int add_row(const struct container_volume_info *v, void *arg, struct err *err)
{
	struct listing *l = arg;
	auto_str struct str labels = { 0 };
	json_t *row;
	int rc = passes(v, &l->a->filters, err);

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < v->labels.n; i++)
		str_addf(&labels, "%s%s", i ? "," : "", v->labels.v[i]);
	row = out_row_new();
	out_row_set(row, "Driver", "local");
	out_row_set(row, "Name", v->name);
	out_row_take(row, "Mountpoint", container_volume_path(&l->c->rt, v->name));
	out_row_set(row, "Labels", str_get(&labels));
	out_row_set(row, "Scope", "local");
	json_array_append_new(l->rows, row);
	return 0;
}

static int ls_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct ls_args *a = args;
	auto_json json_t *rows = json_array();
	struct listing l = { c, a, rows };
	struct out_list out = { columns, a->format, a->quiet ? "Name" : NULL };
	struct err err = { 0 };
	int rc = passes(&(struct container_volume_info){ .name = (char[]){ "" } }, &a->filters,
			&err);

	(void)argc, (void)argv;
	if (rc < 0)
		return cli_usage(c, &err);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_volume_walk(&c->rt, add_row, &l, &err);
	if (rc >= 0)
		rc = out_list(&out, rows, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

/* --- inspect --- */

struct inspect_args {
	const char *format;
};

static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct inspect_args, format), "FORMAT",
	  "json or a Go template" },
	{ 0 },
};

static int inspect_volume(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	auto_volume_info struct container_volume_info v = { 0 };
	auto_free char *path = container_volume_path(&c->rt, name);
	int rc = container_volume_find(&c->rt, name, &v, err);
	json_t *labels;

	if (rc < 0)
		return rc;
	*ret = json_object();
	labels = json_object();
	for (size_t i = 0; i < v.labels.n; i++) {
		const char *eq = strchr(v.labels.v[i], '=');
		auto_free char *key = mem_strn(v.labels.v[i], strcspn(v.labels.v[i], "="));

		json_object_set_new(labels, key, json_from_str(eq ? eq + 1 : ""));
	}
	auto_free char *created = out_time(v.created_ns / 1000000000);
	json_set_str(*ret, "CreatedAt", created);
	json_set_str(*ret, "Driver", "local");
	json_object_set_new(*ret, "Labels", labels);
	json_set_str(*ret, "Mountpoint", path);
	json_set_str(*ret, "Name", v.name);
	json_object_set_new(*ret, "Options", json_null());
	json_set_str(*ret, "Scope", "local");
	return 0;
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	return inspect_show(c, inspect_volume, a->format, argv);
}

/* --- rm, prune --- */

struct rm_args {
	bool force;
};

static const struct opt rm_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct rm_args, force), NULL,
	  "also when it is not there" },
	{ 0 },
};

static int rm_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct rm_args *a = args;
	struct err err = { 0 };
	int code = 0;

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (; *argv; argv++) {
		int rc = container_volume_remove(&c->rt, *argv, &err);

		if (rc >= 0 || (rc == -ENOENT && a->force))
			puts(*argv);
		else
			code = cli_fail(c, &err);
	}
	container_tidy_later(&c->rt);
	return code ? code : cli_done(c);
}

struct prune_args {
	bool all, force;
	struct strv filters;
};

static const struct opt prune_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct prune_args, all), NULL,
	  "also those that have a name" },
	{ 0, "filter", OPT_STRV, offsetof(struct prune_args, filters), "KEY=VALUE",
	  "only those with this label" },
	{ 'f', "force", OPT_BOOL, offsetof(struct prune_args, force), NULL, "do not ask" },
	{ 0 },
};

struct pruning {
	struct cli *c;
	const struct prune_args *a;
	struct strv gone;
	uint64_t bytes;
};

static int prune_one(const struct container_volume_info *v, void *arg, struct err *err)
{
	struct pruning *p = arg;
	uint64_t bytes = 0;
	int rc = passes(v, &p->a->filters, err);

	if (rc <= 0 || v->is_used || (!v->anonymous && !p->a->all))
		return rc < 0 ? rc : 0;
	rc = container_volume_usage(&p->c->rt, v->name, &bytes, err);
	if (rc >= 0)
		rc = container_volume_remove(&p->c->rt, v->name, err);
	if (rc == -EBUSY || rc == -ENOENT) { /* used or removed since */
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	strv_add(&p->gone, v->name);
	p->bytes += bytes;
	return 0;
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	struct pruning p = { .c = c, .a = args };
	auto_free char *size = NULL;
	struct err err = { 0 };
	int rc;

	(void)argc, (void)argv;
	if (!p.a->force &&
	    !cli_confirm(p.a->all ? "Remove all volumes that no container uses?"
				  : "Remove all volumes without a name that no container uses?"))
		return 0;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_volume_walk(&c->rt, prune_one, &p, &err);
	if (rc >= 0 && p.gone.n)
		puts("Deleted Volumes:");
	for (size_t i = 0; i < p.gone.n; i++)
		puts(p.gone.v[i]);
	strv_free(&p.gone);
	if (rc < 0)
		return cli_fail(c, &err);
	container_prune_event(&c->rt, "volume", p.bytes);
	container_tidy_later(&c->rt);
	size = out_size(p.bytes);
	printf("\nTotal reclaimed space: %s\n", size);
	return cli_done(c);
}

const struct command cmd_volume_create = {
	.name = "volume-create",
	.args = "[NAME]",
	.summary = "Make a volume",
	.opts = create_opts,
	.args_size = sizeof(struct create_args),
	.main = create_main,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};

const struct command cmd_volume_inspect = {
	.name = "volume-inspect",
	.args = "VOLUME...",
	.summary = "Show all about volumes",
	.opts = inspect_opts,
	.args_size = sizeof(struct inspect_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_volumes,
};

const struct command cmd_volume_ls = {
	.name = "volume-ls",
	.args = "",
	.summary = "List volumes",
	.opts = ls_opts,
	.args_size = sizeof(struct ls_args),
	.main = ls_main,
	.flags = CMD_HIDDEN,
};

const struct command cmd_volume_prune = {
	.name = "volume-prune",
	.args = "",
	.summary = "Remove volumes that no container uses",
	.opts = prune_opts,
	.args_size = sizeof(struct prune_args),
	.main = prune_main,
	.flags = CMD_HIDDEN | CMD_FREES,
};

const struct command cmd_volume_rm = {
	.name = "volume-rm",
	.args = "VOLUME...",
	.summary = "Remove volumes",
	.opts = rm_opts,
	.args_size = sizeof(struct rm_args),
	.main = rm_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN | CMD_FREES,
	.complete = complete_volumes,
};
