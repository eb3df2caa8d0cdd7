/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/db.h>
#include <shale/container.h>
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_gc;

struct gc_args {
	bool quiet;
};

static const struct opt gc_opts[] = {
	{ 'q', "quiet", OPT_BOOL, offsetof(struct gc_args, quiet), NULL, "print nothing" },
	{ 0 },
};

/* What commands that were killed have left: files without a row. */
static int sweep(struct cli *c, struct err *err)
{
	int64_t one;
	/* A timer calls this: where no row is left of anything, the database was lost and the files
	 * are all there is to go by. */
	int rc = db_get_int(c->rt.db, "SELECT 1 FROM snapshots LIMIT 1", NULL, &one, err);

	if (rc <= 0)
		return rc;
	rc = image_sweep(&c->rt, err);
	return rc < 0 ? rc : container_tidy(&c->rt, err);
}

static int gc_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_image_removal struct image_removal r = { 0 };
	const struct gc_args *a = args;
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (gc_run(c, &r, &err) < 0 || sweep(c, &err) < 0)
		return cli_fail(c, &err);
	auto_free char *size = out_size(r.freed_bytes);
	if (!a->quiet)
		printf("Total reclaimed space: %s\n", size);
	return cli_done(c);
}

const struct command cmd_gc = {
	.name = "gc",
	.args = "",
	.summary = "Bring the build cache and the trash within their limits (shale.conf)",
	.opts = gc_opts,
	.args_size = sizeof(struct gc_args),
	.main = gc_main,
	.flags = CMD_FREES,
};
