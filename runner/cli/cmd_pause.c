/* SPDX-License-Identifier: Apache-2.0 */
/* pause, unpause */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_pause, cmd_unpause;

static int each(struct cli *c, int (*change)(struct container *ct, struct err *err), char **names)
{
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (; *names; names++) {
		auto_container struct container *ct = NULL;
		int rc = container_find(&c->rt, *names, &ct, &err);

		if (rc >= 0)
			rc = change(ct, &err);
		if (rc >= 0)
			puts(*names);
		else
			code = cli_fail(c, &err);
	}
	return code ? code : cli_done(c);
}

static int pause_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)args, (void)argc;
	return each(c, container_pause, argv);
}

static int unpause_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)args, (void)argc;
	return each(c, container_unpause, argv);
}

const struct command cmd_pause = {
	.name = "pause",
	.args = "CONTAINER...",
	.summary = "Stop all processes of containers where they are",
	.main = pause_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
};

const struct command cmd_unpause = {
	.name = "unpause",
	.args = "CONTAINER...",
	.summary = "Let paused containers go on",
	.main = unpause_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
};
