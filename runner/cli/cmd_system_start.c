/* SPDX-License-Identifier: Apache-2.0 */
/* system start, and the process that a monitor starts to check a container's health */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_system_start, cmd_health;

struct started {
	struct cli *c;
	int code;
};

static void tell(const struct container *ct, const struct err *failed, void *arg)
{
	struct started *s = arg;

	if (failed)
		s->code = cli_fail(s->c, failed);
	else
		puts(ct->name);
}

static int start_main(struct cli *c, void *args, int argc, char **argv)
{
	struct started s = { .c = c };
	struct err err = { 0 };

	(void)args, (void)argc, (void)argv;
	if (cli_open(c, &err) < 0 || container_start_all(&c->rt, tell, &s, &err) < 0)
		return cli_fail(c, &err);
	return s.code ? s.code : cli_done(c);
}

static int health_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };

	(void)args, (void)argc;
	if (cli_open(c, &err) < 0 || container_health_check(&c->rt, argv[0], &err) < 0)
		return cli_fail(c, &err);
	return 0;
}

const struct command cmd_system_start = {
	.name = "system-start",
	.args = "",
	.summary = "Start the containers whose restart policy says so, after a boot",
	.main = start_main,
	.flags = CMD_HIDDEN,
};

const struct command cmd_health = {
	.name = "health",
	.args = "ID",
	.summary = "Check the health of a container once",
	.main = health_main,
	.min_args = 1,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};
