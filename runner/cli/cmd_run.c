/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "run_spec.h"

extern const struct command cmd_run;

static const struct opt run_opts[] = {
	{ 'd', "detach", OPT_BOOL, RUN_AT(detach), NULL, "Run in the background and print the ID" },
	RUN_SPEC_OPTS,
	{ 0 },
};

static int run_detached(struct cli *c, const struct run_args *a, const struct container_spec *s,
			int *ret_exit, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_create(&c->rt, s, &ct, err);

	if (rc >= 0)
		rc = run_cidfile_write(a, ct->id, err);
	if (rc >= 0)
		rc = container_start(ct, ret_exit, err);
	if (rc < 0)
		return rc;
	puts(ct->id);
	*ret_exit = cli_done(c);
	return 0;
}

/* With --cidfile the id is wanted before the program runs, else the shorter way does. */
static int run_foreground(struct cli *c, const struct run_args *a, const struct container_spec *s,
			  int *ret_exit, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc;

	if (!a->cidfile)
		return container_run(&c->rt, s, ret_exit, err);
	rc = container_create(&c->rt, s, &ct, err);
	if (rc >= 0)
		rc = run_cidfile_write(a, ct->id, err);
	return rc < 0 ? rc : container_attach(ct, false, ret_exit, err);
}

static int run_as_asked(struct cli *c, const struct run_args *a, const struct container_spec *s,
			int *ret_exit, struct err *err)
{
	return a->detach ? run_detached(c, a, s, ret_exit, err)
			 : run_foreground(c, a, s, ret_exit, err);
}

static int run_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container_spec struct container_spec s = { 0 };
	struct err err = { 0 };
	const struct run_args *a = args;
	int rc, code = CONTAINER_EXIT_SHALE;

	rc = run_spec_make(a, argc, argv, &s, &err);
	if (rc >= 0)
		rc = run_cidfile_check(a, &err);
	if (rc >= 0)
		rc = cli_open(c, &err);
	if (rc >= 0)
		rc = run_pull_first(c, a, argv[0], &err);
	if (rc >= 0)
		rc = run_as_asked(c, a, &s, &code, &err);
	if (rc == -ENOENT && run_pull_missing(c, a, argv[0], &err) > 0)
		rc = run_as_asked(c, a, &s, &code, &err);
	if (rc < 0)
		cli_fail(c, &err);
	return code;
}

const struct command cmd_run = {
	.name = "run",
	.args = "IMAGE [COMMAND [ARG...]]",
	.summary = "Create and run a container",
	.opts = run_opts,
	.args_size = sizeof(struct run_args),
	.main = run_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG | CMD_EXIT_125,
	.complete = complete_images,
};
