/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sink.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_export;

struct export_args {
	const char *output;
};

#define OFF(field) offsetof(struct export_args, field)
static const struct opt export_opts[] = {
	{ 'o', "output", OPT_STR, OFF(output), "FILE", "file (default standard output)" },
	{ 0 },
};

static int export_to(struct cli *c, const char *name, int fd, struct err *err)
{
	struct sink_fd to = SINK_FD(fd);

	return container_export(&c->rt, name, &to.sink, err);
}

static int export_file(struct cli *c, const char *name, const char *path, struct err *err)
{
	auto_output struct output o = { .path = path, .fd = -1 };
	int rc = output_open(&o, err);

	if (rc >= 0)
		rc = export_to(c, name, o.fd, err);
	return rc < 0 ? rc : output_commit(&o, err);
}

static int export(struct cli *c, const char *name, const char *output, struct err *err)
{
	if (output && !str_eq(output, "-"))
		return export_file(c, name, output, err);
	if (isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			       "an archive is not for a terminal: use -o FILE or a pipe");
	return export_to(c, name, STDOUT_FILENO, err);
}

static int export_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct export_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0 || export(c, argv[0], a->output, &err) < 0)
		return cli_fail(c, &err);
	return 0;
}

const struct command cmd_export = {
	.name = "export",
	.args = "CONTAINER",
	.summary = "Write a container's file system as a tar archive",
	.opts = export_opts,
	.args_size = sizeof(struct export_args),
	.main = export_main,
	.min_args = 1,
	.max_args = 1,
	.complete = complete_containers,
};
