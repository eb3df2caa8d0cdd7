/* SPDX-License-Identifier: Apache-2.0 */
/* pin and unpin */
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_pin, cmd_unpin;

static int pin_all(struct cli *c, int argc, char **argv, bool pinned)
{
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	for (int i = 0; rc >= 0 && i < argc; i++)
		rc = image_pin(&c->rt, argv[i], pinned, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int pin_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)args;
	return pin_all(c, argc, argv, true);
}

static int unpin_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)args;
	return pin_all(c, argc, argv, false);
}

const struct command cmd_pin = {
	.name = "pin",
	.args = "IMAGE|STEP...",
	.summary = "Keep images and build steps from every prune",
	.main = pin_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_images,
};

const struct command cmd_unpin = {
	.name = "unpin",
	.args = "IMAGE|STEP...",
	.summary = "Let images and build steps be pruned again",
	.main = unpin_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_images,
};
