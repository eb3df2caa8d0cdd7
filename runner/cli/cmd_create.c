/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "run_spec.h"

extern const struct command cmd_create;

static const struct opt create_opts[] = {
	{ 'a', "attach", OPT_STR, 0, "STREAM", NULL, NULL,
	  "say it to shale run, or all of them: shale start -a" },
	RUN_SPEC_OPTS,
	{ 0 },
};

static int create_one(struct cli *c, const struct run_args *a, const struct container_spec *s,
		      struct container **ret, struct err *err)
{
	int rc = run_replace(c, a, s, err);

	return rc < 0 ? rc : container_create(&c->rt, s, ret, err);
}

static int create_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container_spec struct container_spec s = { 0 };
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc;

	rc = run_spec_make(args, argc, argv, &s, &err);
	if (rc >= 0)
		rc = run_cidfile_check(args, &err);
	if (rc >= 0)
		rc = cli_open(c, &err);
	if (rc >= 0)
		rc = run_users_find(c, args, &err);
	if (rc >= 0)
		rc = run_pull_first(c, args, argv[0], &err);
	if (rc >= 0)
		rc = create_one(c, args, &s, &ct, &err);
	if (rc == -ENOENT && run_pull_missing(c, args, argv[0], &err) > 0)
		rc = create_one(c, args, &s, &ct, &err);
	if (rc >= 0)
		rc = run_cidfile_write(args, ct->id, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	puts(ct->id);
	return cli_done(c);
}

const struct command cmd_create = {
	.name = "create",
	.args = "IMAGE [COMMAND [ARG...]]",
	.summary = "Create a container without starting it",
	.opts = create_opts,
	.args_size = sizeof(struct run_args),
	.main = create_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG | CMD_EXIT_125,
	.complete = complete_images,
};
