/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_diff;

static int print_change(char what, const char *path, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	printf("%c %s\n", what, path);
	return 0;
}

static int diff_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };
	int rc;

	(void)args;
	(void)argc;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_diff(&c->rt, argv[0], print_change, NULL, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_diff = {
	.name = "diff",
	.args = "CONTAINER|IMAGE|STEP",
	.summary = "Show what a container, or an image's last layer, changed",
	.main = diff_main,
	.min_args = 1,
	.max_args = 1,
	.complete = complete_containers,
};
