/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include <shale/build.h>

#include "failed.h"
#include "priv.h"

extern const struct command cmd_builds_rm;

struct builds_rm_args {
	bool all;
};

static const struct opt builds_rm_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct builds_rm_args, all), NULL, "all that do not run" },
	{ 0 },
};

static int remove_one(struct cli *c, const char *name, struct err *err)
{
	auto_build_record struct build_record r = { 0 };
	int rc = build_record_find(&c->rt, name, &r, err);

	if (rc >= 0)
		rc = failed_remove(c, &r, err);
	if (rc >= 0)
		rc = build_record_remove(&c->rt, &r, err);
	if (rc >= 0)
		printf("%s\n", r.id);
	return rc;
}

static int add_id(const struct build_record *r, void *arg, struct err *err)
{
	(void)err;
	if (r->status != BUILD_RUNNING)
		strv_add(arg, r->id);
	return 0;
}

static int builds_rm_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct builds_rm_args *a = args;
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	int code = 0;

	for (int i = 0; i < argc; i++)
		strv_add(&ids, argv[i]);
	if (!ids.n && !a->all) {
		err_set(&err, EINVAL, "want a BUILD or --all");
		return cli_usage(c, &err);
	}
	if (cli_open(c, &err) < 0 || (a->all && build_record_walk(&c->rt, add_id, &ids, &err) < 0))
		return cli_fail(c, &err);
	for (size_t i = 0; i < ids.n; i++)
		if (remove_one(c, ids.v[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_builds_rm = {
	.name = "builds-rm",
	.args = "[BUILD...]",
	.summary = "Remove records of builds and their logs",
	.opts = builds_rm_opts,
	.args_size = sizeof(struct builds_rm_args),
	.main = builds_rm_main,
	.max_args = -1,
	.flags = CMD_HIDDEN | CMD_FREES,
	.complete = complete_builds,
};
