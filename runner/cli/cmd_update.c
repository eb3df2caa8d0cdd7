/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "run_spec.h"

extern const struct command cmd_update;

static const struct opt update_opts[] = { LIMIT_OPTS(0), { 0 } };

static int update_one(struct cli *c, const struct container_spec *s, const char *name,
		      struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0)
		rc = container_update(ct, s, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int update_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container_spec struct container_spec s = { 0 };
	struct err err = { 0 };
	int code = 0;

	if (run_limits_make(args, &s, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++)
		if (update_one(c, &s, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_update = {
	.name = "update",
	.args = "CONTAINER...",
	.summary = "Change limits and restart policy of containers",
	.opts = update_opts,
	.args_size = sizeof(struct limit_args),
	.main = update_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
};
