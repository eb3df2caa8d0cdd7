/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_rename;

static int rename_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args, (void)argc;
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc >= 0)
		rc = container_rename(ct, argv[1], &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_rename = {
	.name = "rename",
	.args = "CONTAINER NAME",
	.summary = "Give a container another name",
	.main = rename_main,
	.min_args = 2,
	.max_args = 2,
	.complete = complete_containers,
};
