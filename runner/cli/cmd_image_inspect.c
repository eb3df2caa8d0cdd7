/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include "member.h"

extern const struct command cmd_image_inspect;

const struct opt image_inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct image_inspect_args, format), "FORMAT",
	  "json, or a Go template" },
	{ 0, "platform", OPT_STR, offsetof(struct image_inspect_args, platform),
	  "OS/ARCH[/VARIANT]", "of the image for it, of all that pull --all-platforms kept" },
	{ 0 },
};

static int image_inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct image_inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	/* Its manifest is checked, which hashes. */
	if (a->platform && cli_exec_heavy(c, "image-inspect-platform", &err) < 0)
		return cli_fail(c, &err);
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	return inspect_show(c, inspect_image, a->format, argv);
}

const struct command cmd_image_inspect = {
	.name = "image-inspect",
	.args = "IMAGE...",
	.summary = "Show all about images",
	.opts = image_inspect_opts,
	.args_size = sizeof(struct image_inspect_args),
	.main = image_inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};
