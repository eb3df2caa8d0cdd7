/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/proc.h>
#include <shale/build.h>

#include "priv.h"

extern const struct command cmd_builds_ls;

struct builds_ls_args {
	bool quiet;
	const char *format;
};

static const struct opt builds_ls_opts[] = {
	{ 'q', "quiet", OPT_BOOL, offsetof(struct builds_ls_args, quiet), NULL, "only names" },
	{ 0, "format", OPT_STR, offsetof(struct builds_ls_args, format), "FORMAT",
	  "table, json or a Go template" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "BUILD", "ID", false },          { "STATUS", "Status", false },
	{ "IMAGE", "Name", false },        { "STARTED", "Started", false },
	{ "DURATION", "Duration", false }, { "CACHED", "Cached", false },
	{ "IMAGE ID", "Image", true },     { "CONTEXT", "Context", true },
	{ "DOCKERFILE", "File", true },    { "CREATED AT", "CreatedAt", true },
	{ "ERROR", "Error", true },        { NULL, NULL, false },
};

static char *names(const json_t *info)
{
	auto_strv struct strv tags = { 0 };
	auto_str struct str b = { 0 };

	json_get_strv(info, "tags", &tags);
	for (size_t i = 0; i < tags.n; i++)
		str_addf(&b, "%s%s", i ? "," : "", tags.v[i]);
	return str_take(&b);
}

static int add_row(const struct build_record *r, void *arg, struct err *err)
{
	int64_t end = r->finished_ns ? r->finished_ns : proc_now_ns();
	json_t *row = out_row_new();

	(void)err;
	out_row_set(row, "ID", r->id);
	out_row_set(row, "Status", build_status_name(r->status));
	out_row_take(row, "Name", names(r->info));
	out_row_take(row, "Started", out_ago(r->started_ns / 1000000000));
	out_row_take(row, "CreatedAt", out_time(r->started_ns / 1000000000));
	out_row_take(row, "Duration",
		     r->status == BUILD_LOST
			     ? mem_str("")
			     : mem_fmt("%.2fs", (double)(end - r->started_ns) / 1e9));
	out_row_take(row, "Cached",
		     mem_fmt("%lld of %lld", (long long)json_get_int(r->info, "cached", 0),
			     (long long)json_get_int(r->info, "total", 0)));
	out_row_set(row, "Image", json_get_str(r->info, "image"));
	out_row_set(row, "Context", json_get_str(r->info, "context"));
	out_row_set(row, "File", json_get_str(r->info, "file"));
	out_row_set(row, "Error", json_get_str(r->info, "error"));
	json_array_append_new(arg, row);
	return 0;
}

static int builds_ls_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct builds_ls_args *a = args;
	auto_json json_t *rows = json_array();
	struct out_list out = { .cols = columns,
				.format = a->format,
				.quiet_key = a->quiet ? "ID" : NULL };
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)argc;
	(void)argv;
	if (rc >= 0)
		rc = build_record_walk(&c->rt, add_row, rows, &err);
	if (rc >= 0)
		rc = out_list(&out, rows, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_builds_ls = {
	.name = "builds-ls",
	.args = "",
	.summary = "List builds, the newest first",
	.opts = builds_ls_opts,
	.args_size = sizeof(struct builds_ls_args),
	.main = builds_ls_main,
	.flags = CMD_HIDDEN,
};
