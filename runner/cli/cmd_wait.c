/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_wait;

static int wait_one(struct cli *c, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;
	int exit_code = 0, rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0)
		rc = container_wait(ct, &exit_code, err);
	if (rc >= 0)
		printf("%d\n", exit_code);
	return rc;
}

static int wait_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };
	int code = 0;

	(void)args;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++)
		if (wait_one(c, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_wait = {
	.name = "wait",
	.args = "CONTAINER...",
	.summary = "Wait until containers end and print their exit statuses",
	.main = wait_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
};
