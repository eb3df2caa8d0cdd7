/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_container_inspect;

struct inspect_args {
	const char *format;
	bool size;
};

static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct inspect_args, format), "FORMAT",
	  "json or a Go template" },
	{ 's', "size", OPT_BOOL, offsetof(struct inspect_args, size), NULL,
	  "what its layer takes up, and all of it" },
	{ 0 },
};

static int inspect(struct cli *c, const char *name, bool size, json_t **ret, struct err *err)
{
	auto_container struct container *ct = NULL;
	auto_json json_t *o = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc < 0)
		return rc;
	o = container_inspect(ct);
	rc = size ? container_inspect_sizes(ct, o, err) : 0;
	if (rc >= 0)
		*ret = take(o);
	return rc;
}

int inspect_container(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	return inspect(c, name, false, ret, err);
}

int inspect_container_sized(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	return inspect(c, name, true, ret, err);
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	return inspect_show(c, a->size ? inspect_container_sized : inspect_container, a->format,
			    argv);
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
