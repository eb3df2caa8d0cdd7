/* SPDX-License-Identifier: Apache-2.0 */
/* pause, unpause */
#include <shale/container.h>

#include "which.h"

extern const struct command cmd_pause, cmd_unpause;

struct pause_args {
	struct which which;
};
static const struct opt pause_opts[] = { WHICH_OPTS(0, "all that run"), { 0 } };
static const struct opt unpause_opts[] = { WHICH_OPTS(0, "all that are paused"), { 0 } };

static int each(struct cli *c, int (*change)(struct container *ct, struct err *err),
		const struct pause_args *a, enum which_of of, char **names)
{
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	int code = which_open(c, &a->which, of, names, &ids);

	if (code)
		return code;
	for (size_t i = 0; i < ids.n; i++) {
		auto_container struct container *ct = NULL;
		int rc = container_find(&c->rt, ids.v[i], &ct, &err);

		if (rc >= 0)
			rc = change(ct, &err);
		if (rc >= 0)
			puts(ids.v[i]);
		else
			code = cli_fail(c, &err);
	}
	return code ? code : cli_done(c);
}

static int pause_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_pause, args, WHICH_RUNNING, argv);
}

static int unpause_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_unpause, args, WHICH_PAUSED, argv);
}

const struct command cmd_pause = {
	.name = "pause",
	.args = "[CONTAINER...]",
	.summary = "Stop all processes of containers where they are",
	.opts = pause_opts,
	.args_size = sizeof(struct pause_args),
	.main = pause_main,
	.max_args = -1,
	.complete = complete_containers,
};

const struct command cmd_unpause = {
	.name = "unpause",
	.args = "[CONTAINER...]",
	.summary = "Let paused containers go on",
	.opts = unpause_opts,
	.args_size = sizeof(struct pause_args),
	.main = unpause_main,
	.max_args = -1,
	.complete = complete_containers,
};
