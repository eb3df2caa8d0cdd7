/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden: what is done after the prompt when many short commands have made the database's log long.
 */
#include <unistd.h>

#include <shale/container.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_tidy, cmd_leave_network;

static int tidy_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };
	int rc;

	(void)args;
	(void)argc;
	(void)argv;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_tidy(&c->rt, &err);
	return rc < 0 ? cli_fail(c, &err) : 0;
}

const struct command cmd_tidy = {
	.name = "tidy",
	.args = "",
	.summary = "Shorten the database's log",
	.main = tidy_main,
	.flags = CMD_HIDDEN,
};

/* Without the store: stdin is the namespace, stdout the lock. */
static int leave_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };

	(void)args;
	(void)argc;
	return network_left(argv[0], STDIN_FILENO, STDOUT_FILENO, &err) < 0 ? cli_fail(c, &err) : 0;
}

const struct command cmd_leave_network = {
	.name = "leave-network",
	.args = "ID",
	.summary = "Take back what one had that has ended",
	.main = leave_main,
	.min_args = 1,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};
