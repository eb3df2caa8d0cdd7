/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden: what is done after the prompt when many short commands have made the database's log long.
 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_tidy;

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
