/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_tag;

static int tag_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_image struct image *img = NULL;
	auto_free char *name = NULL;
	struct err err = { 0 };
	int rc;

	(void)args;
	(void)argc;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = image_ref_normalize(argv[1], &name, &err);
	if (rc >= 0)
		rc = image_find(&c->rt, argv[0], &img, &err);
	/* A build step has to become an image first, which hashes. */
	if (rc >= 0)
		rc = *img->id ? image_tag_again(&c->rt, argv[0], img->id, name, &err)
			      : cli_exec_heavy(c, "tag-step", &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_tag = {
	.name = "tag",
	.args = "IMAGE|STEP NAME[:TAG]",
	.summary = "Give an image, or a build step, a name",
	.main = tag_main,
	.min_args = 2,
	.max_args = 2,
	.complete = complete_images,
};
