/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "which.h"

extern const struct command cmd_rm;

struct rm_args {
	bool force, volumes;
	struct which which;
};

static const struct opt rm_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct rm_args, force), NULL,
	  "kill them when they run" },
	{ 'v', "volumes", OPT_BOOL, offsetof(struct rm_args, volumes), NULL,
	  "remove their volumes without a name, too" },
	WHICH_OPTS(offsetof(struct rm_args, which), "all; those that run need -f"),
	{ 'i', "ignore", OPT_BOOL, offsetof(struct rm_args, which.ignore), NULL,
	  "one that is not there is removed" },
	{ 0 },
};

/* With -f one that is not there is what was wanted. */
static int rm_one(struct cli *c, const struct rm_args *a, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc == -ENOENT && (a->force || which_may_miss(&a->which))) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0) {
		ct->drop_volumes = a->volumes;
		rc = container_remove(ct, a->force, err);
	}
	if (rc >= 0)
		puts(name);
	return rc;
}

static int rm_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct rm_args *a = args;
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	int code = which_open(c, &a->which, WHICH_ANY, argv, &ids);

	(void)argc;
	if (code)
		return code;
	for (size_t i = 0; i < ids.n; i++)
		if (rm_one(c, a, ids.v[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_rm = {
	.name = "rm",
	.args = "[CONTAINER...]",
	.summary = "Remove containers",
	.opts = rm_opts,
	.args_size = sizeof(struct rm_args),
	.main = rm_main,
	.max_args = -1,
	.complete = complete_containers,
	.flags = CMD_FREES,
};
