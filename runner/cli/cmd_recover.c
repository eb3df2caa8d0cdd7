/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "priv.h"
#include "recover.h"

extern const struct command cmd_recover;

struct recover_args {
	bool force;
};

static const struct opt recover_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct recover_args, force), NULL,
	  "also when the database is whole, but older than the rest of the store" },
	{ 0 },
};

static void print_lost(const struct strv *lost)
{
	for (size_t i = 0; i < lost->n; i++)
		printf("Lost: %s\n", lost->v[i]);
}

static void print_result(const struct recovery *r)
{
	if (r->why.code)
		printf("The database was damaged: %s\n", r->why.msg);
	printf("Kept aside: %s\n", r->kept);
	printf("Brought back: %zu images, %zu names, %zu layers, %zu containers, %zu networks\n",
	       r->images.images, r->images.names, r->images.layers, r->containers, r->networks);
	print_lost(&r->images.lost);
	print_lost(&r->lost);
	if (r->images.nameless)
		printf("%zu images have no name: they had none, or were in the trash\n",
		       r->images.nameless);
	printf("Not brought back: build steps (the next build runs them anew), which step made "
	       "which layer, cache mounts,\nthe trash's list, pins, and by which digests registries "
	       "know images\nshale verify reads all of it again\n");
}

static int recover_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct recover_args *a = args;
	cleanup(recovery_free) struct recovery r = { 0 };
	struct err err = { 0 };
	int rc;

	(void)argc;
	(void)argv;
	rc = recovery_run(&r, c->root, a->force, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (rc == 0)
		printf("The database is whole: nothing was done (--force makes it anew)\n");
	else
		print_result(&r);
	return cli_done(c);
}

const struct command cmd_recover = {
	.name = "recover",
	.args = "",
	.summary = "Make a damaged or lost database anew from the rest of the store",
	.opts = recover_opts,
	.args_size = sizeof(struct recover_args),
	.main = recover_main,
};
