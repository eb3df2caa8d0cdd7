/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_port;

/* Without a network of its own no port of a container is another one outside. */
static int port_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args;
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc >= 0 && argc > 1)
		rc = err_set(&err, ENOENT, "no public port '%s' published for %s", argv[1],
			     ct->name);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_port = {
	.name = "port",
	.args = "CONTAINER [PORT[/PROTOCOL]]",
	.summary = "Show the published ports of a container",
	.main = port_main,
	.min_args = 1,
	.max_args = 2,
	.complete = complete_containers,
};
