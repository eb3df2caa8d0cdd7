/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_container_inspect;

struct inspect_args {
	const char *format;
};

static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct inspect_args, format), "FORMAT",
	  "json or a Go template" },
	{ 0 },
};

int inspect_container(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc < 0)
		return rc;
	*ret = container_inspect(ct);
	return 0;
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	return inspect_show(c, inspect_container, a->format, argv);
}

const struct command cmd_container_inspect = {
	.name = "container-inspect",
	.args = "CONTAINER...",
	.summary = "Show all about containers",
	.opts = inspect_opts,
	.args_size = sizeof(struct inspect_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_containers,
};
