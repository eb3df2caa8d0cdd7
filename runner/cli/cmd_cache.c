/* SPDX-License-Identifier: Apache-2.0 */
/* cache ls, inspect and rm: the directories of RUN --mount=type=cache. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <shale/store.h>

#include "priv.h"

extern const struct command cmd_cache_ls, cmd_cache_inspect, cmd_cache_rm;

struct cache_args {
	bool quiet, all;
	const char *format;
};

#define OFF(field) offsetof(struct cache_args, field)

static const struct opt ls_opts[] = {
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "only names" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0 },
};
static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, OFF(format), "FORMAT", "json, or a Go template" },
	{ 0 },
};
static const struct opt rm_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "all that are not in use" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "NAME", "Name", false },      { "ID", "ID", false },
	{ "SEED", "Seed", false },      { "SIZE", "Size", false },
	{ "LAST USED", "Used", false }, { "IN USE", "InUse", false },
	{ "CREATED", "Created", true }, { "CREATED AT", "CreatedAt", true },
	{ "USED AT", "UsedAt", true },  { "BYTES", "Bytes", true },
	{ "PATH", "Path", true },       { NULL, NULL, false },
};

struct listing {
	struct cli *c;
	json_t *rows;
	const char *only; /* NULL: all */
	bool whole;       /* names in full */
};

static int add_row(const struct cache_info *info, void *arg, struct err *err)
{
	struct listing *l = arg;
	uint64_t bytes = 0;
	json_t *row;
	int rc;

	if (l->only && strcmp(l->only, info->name) != 0)
		return 0;
	rc = store_cache_usage(l->c->rt.store, info->name, &bytes, err);
	if (rc ==
	    -ENOENT) { /* removed meanwhile, or lost with the power: the next use makes it anew */
		err_clear(err);
		rc = 0;
	}
	if (rc < 0)
		return rc;
	row = out_row_new();
	out_row_take(row, "Name", mem_strn(info->name, l->whole ? CACHE_NAME_LEN : 12));
	out_row_set(row, "ID", info->id);
	out_row_set(row, "Seed", info->seed);
	out_row_take(row, "Size", out_size(bytes));
	out_row_take(row, "Bytes", mem_fmt("%llu", (unsigned long long)bytes));
	out_row_take(row, "Used", out_ago(info->used_s));
	out_row_take(row, "UsedAt", out_time(info->used_s));
	out_row_take(row, "Created", out_ago(info->created_s));
	out_row_take(row, "CreatedAt", out_time(info->created_s));
	out_row_set(row, "InUse", info->in_use ? "yes" : "no");
	out_row_take(row, "Path", mem_fmt("%s/cache/%s/data", l->c->rt.root, info->name));
	json_array_append_new(l->rows, row);
	return 0;
}

static int ls_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cache_args *a = args;
	auto_json json_t *rows = json_array();
	struct listing l = { .c = c, .rows = rows };
	struct out_list out = { columns, a->format, a->quiet ? "Name" : NULL };
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (cli_open(c, &err) < 0 || store_cache_walk(c->rt.store, add_row, &l, &err) < 0 ||
	    out_list(&out, rows, &err) < 0)
		return cli_fail(c, &err);
	return cli_done(c);
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cache_args *a = args;
	auto_json json_t *rows = json_array();
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	for (int i = 0; i < argc && rc >= 0; i++) {
		auto_strv struct strv names = { 0 };

		rc = store_cache_find(c->rt.store, argv[i], &names, &err);
		for (size_t k = 0; k < names.n && rc >= 0; k++) {
			struct listing l = { c, rows, names.v[k], true };

			rc = store_cache_walk(c->rt.store, add_row, &l, &err);
		}
	}
	for (size_t i = 0; rc >= 0 && a->format && i < json_array_size(rows); i++)
		rc = out_value(a->format, json_array_get(rows, i), &err);
	if (rc >= 0 && !a->format) {
		auto_free char *text = json_text_indent(rows);

		puts(text);
	}
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int add_name(const struct cache_info *info, void *arg, struct err *err)
{
	(void)err;
	if (!info->in_use)
		strv_add(arg, info->name);
	return 0;
}

static int remove_all(struct cli *c, const struct strv *names, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < names->n && rc >= 0; i++) {
		rc = store_cache_remove(c->rt.store, names->v[i], err);
		if (rc >= 0)
			puts(names->v[i]);
	}
	return rc;
}

static int rm_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cache_args *a = args;
	auto_strv struct strv all = { 0 };
	struct err err = { 0 };
	int code = 0;

	if (!argc && !a->all) {
		err_set(&err, EINVAL, "want an ID or --all");
		return cli_usage(c, &err);
	}
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++) {
		auto_strv struct strv names = { 0 };

		err_clear(&err);
		if (store_cache_find(c->rt.store, argv[i], &names, &err) < 0 ||
		    remove_all(c, &names, &err) < 0) {
			err_ctx(&err, "%s", argv[i]);
			code = cli_fail(c, &err);
		}
	}
	err_clear(&err);
	if (a->all && (store_cache_walk(c->rt.store, add_name, &all, &err) < 0 ||
		       remove_all(c, &all, &err) < 0))
		code = cli_fail(c, &err);
	err_clear(&err);
	if (snap_sweep(c->rt.snap, &err) < 0)
		code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_cache_ls = {
	.name = "cache-ls",
	.args = "",
	.summary = "List cache mounts",
	.opts = ls_opts,
	.args_size = sizeof(struct cache_args),
	.main = ls_main,
	.flags = CMD_HIDDEN,
};

const struct command cmd_cache_inspect = {
	.name = "cache-inspect",
	.args = "ID|NAME...",
	.summary = "Show all that is known of cache mounts",
	.opts = inspect_opts,
	.args_size = sizeof(struct cache_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_caches,
};

const struct command cmd_cache_rm = {
	.name = "cache-rm",
	.args = "[ID|NAME...]",
	.summary = "Remove cache mounts",
	.opts = rm_opts,
	.args_size = sizeof(struct cache_args),
	.main = rm_main,
	.max_args = -1,
	.flags = CMD_HIDDEN | CMD_FREES,
	.complete = complete_caches,
};
