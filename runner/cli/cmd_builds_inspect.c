/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/build.h>

#include "priv.h"

extern const struct command cmd_builds_inspect;

struct builds_inspect_args {
	const char *format;
};

static const struct opt builds_inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct builds_inspect_args, format), "FORMAT",
	  "json or a Go template" },
	{ 0 },
};

/* Numbers and objects as they are stored: this is for programs, ls is for people. */
static json_t *as_json(const struct build_record *r)
{
	static const char *const taken[][2] = { { "Context", "context" }, { "File", "file" },
						{ "Target", "target" },   { "Tags", "tags" },
						{ "Image", "image" },     { "Error", "error" },
						{ "Total", "total" },     { "Cached", "cached" },
						{ "Steps", "steps" } };
	json_t *o = json_object();

	json_set_str(o, "ID", r->id);
	json_set_str(o, "Status", build_status_name(r->status));
	json_object_set_new(o, "StartedNs", json_integer(r->started_ns));
	json_object_set_new(o, "FinishedNs", json_integer(r->finished_ns));
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		json_t *v = json_object_get(r->info, taken[i][1]);

		json_object_set(o, taken[i][0], v ? v : json_null());
	}
	return o;
}

static int find(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	auto_build_record struct build_record r = { 0 };
	int rc = build_record_find(&c->rt, name, &r, err);

	if (rc >= 0)
		*ret = as_json(&r);
	return rc;
}

static int builds_inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct builds_inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	return inspect_show(c, find, a->format, argv);
}

const struct command cmd_builds_inspect = {
	.name = "builds-inspect",
	.args = "BUILD...",
	.summary = "Show all about builds and their steps",
	.opts = builds_inspect_opts,
	.args_size = sizeof(struct builds_inspect_args),
	.main = builds_inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_builds,
};
