/* SPDX-License-Identifier: Apache-2.0 */
/* What history and image inspect say of the image for one platform. Theirs send it here. */
#include <shale/image.h>

#include "member.h"

extern const struct command cmd_history_platform, cmd_image_inspect_platform;

static int show_history(struct cli *c, const struct history_args *a, const char *name,
			struct err *err)
{
	cleanup(image_member_free) struct image_member m = { 0 };
	int rc = cli_open(c, err);

	if (rc >= 0)
		rc = image_look_platform(&c->rt, name, a->platform, &m, err);
	return rc < 0 ? rc : history_show(c, a, name, &m, err);
}

static int history_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };

	(void)argc;
	return show_history(c, args, argv[0], &err) < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int inspect_one(struct cli *c, const struct image_inspect_args *a, const char *name,
		       json_t *all, struct err *err)
{
	cleanup(image_member_free) struct image_member m = { 0 };
	json_t *one = NULL;
	int rc = image_look_platform(&c->rt, name, a->platform, &m, err);

	if (rc >= 0)
		rc = inspect_member(c, &m, &one, err);
	if (rc >= 0)
		json_array_append_new(all, one);
	return rc;
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct image_inspect_args *a = args;
	auto_json json_t *all = json_array();
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++)
		if (inspect_one(c, a, argv[i], all, &err) < 0)
			code = cli_fail(c, &err);
	return inspect_print(c, all, a->format, code);
}

const struct command cmd_history_platform = {
	.name = "history-platform",
	.args = "IMAGE",
	.summary = "Show the steps that made an image",
	.opts = history_opts,
	.args_size = sizeof(struct history_args),
	.main = history_main,
	.min_args = 1,
	.max_args = 1,
	.defaults = &history_defaults,
	.flags = CMD_HIDDEN,
};

const struct command cmd_image_inspect_platform = {
	.name = "image-inspect-platform",
	.args = "IMAGE...",
	.summary = "Show all about images",
	.opts = image_inspect_opts,
	.args_size = sizeof(struct image_inspect_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
};
