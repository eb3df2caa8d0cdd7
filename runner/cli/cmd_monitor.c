/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden: the process that container_start leaves behind. stdout is the pipe that takes how the
 * start went. */
#include <fcntl.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_monitor;

static int monitor_main(struct cli *c, void *args, int argc, char **argv)
{
	int status_fd = fd_dup(STDOUT_FILENO), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err err = { 0 };
	int rc;

	(void)args;
	(void)argc;
	dup2(null, STDOUT_FILENO);
	close(null);
	rc = cli_open(c, &err);
	if (rc < 0)
		container_monitor_failed(status_fd, &err);
	else
		rc = container_monitor(&c->rt, argv[0], status_fd, &err);
	return rc < 0 ? 1 : 0;
}

const struct command cmd_monitor = {
	.name = "monitor",
	.args = "ID",
	.summary = "Keep a container",
	.main = monitor_main,
	.min_args = 1,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};
