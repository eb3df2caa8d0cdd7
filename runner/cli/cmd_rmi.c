/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_rmi;

struct rmi_args {
	bool all, force, ignore, now, no_prune;
};

static const struct opt rmi_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct rmi_args, all), NULL,
	  "all images, but those that containers use" },
	{ 'f', "force", OPT_BOOL, offsetof(struct rmi_args, force), NULL,
	  "also with several names, or only the name of one in use; a missing image is fine" },
	{ 'i', "ignore", OPT_BOOL, offsetof(struct rmi_args, ignore), NULL,
	  "a missing image is fine" },
	{ 0, "now", OPT_BOOL, offsetof(struct rmi_args, now), NULL,
	  "delete at once instead of by way of the trash: df shows the space when it returns" },
	{ 0, "no-prune", OPT_BOOL, offsetof(struct rmi_args, no_prune), NULL, NULL },
	{ 0 },
};

static void print_removal(const struct image_removal *r, bool now)
{
	auto_free char *size = out_size(r->freed_bytes);

	removal_lines(r, "Untagged", "Deleted");
	if (r->freed_bytes)
		printf("Freed %s\n", size);
	removal_kept(r, !now);
	removal_trash(r);
}

static int remove_one(struct cli *c, const char *name, const struct rmi_args *a)
{
	auto_image_removal struct image_removal r = { 0 };
	struct err err = { 0 };
	unsigned flags = (a->force ? IMAGE_FORCE : 0) | (a->now ? IMAGE_NOW : 0);
	int rc = image_remove(&c->rt, name, flags, &r, &err);

	if (rc >= 0) {
		print_removal(&r, a->now);
		return 0;
	}
	if (a->ignore && rc == -ENOENT)
		return 0;
	cli_fail(c, &err);
	return a->force && rc == -ENOENT ? 0 : 1;
}

static int add_id(const struct image *img, void *arg, struct err *err)
{
	(void)err;
	strv_add(arg, img->id);
	return 0;
}

/* Name by name, so that one that is in use keeps what it is called. */
static int remove_all(struct cli *c, const struct rmi_args *a)
{
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	int code = 0;

	if (image_walk(&c->rt, add_id, &ids, &err) < 0)
		return cli_fail(c, &err);
	for (size_t i = 0; i < ids.n; i++) {
		auto_strv struct strv tags = { 0 };

		if (image_tags(&c->rt, ids.v[i], &tags, &err) < 0)
			return cli_fail(c, &err);
		for (size_t k = 0; k < tags.n; k++)
			code |= remove_one(c, tags.v[k], a);
		if (!tags.n)
			code |= remove_one(c, ids.v[i], a);
	}
	return code;
}

static int rmi_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct rmi_args *a = args;
	struct err err = { 0 };
	int code = 0;

	if (a->all ? argc > 0 : argc == 0)
		err_set(&err, EINVAL, "rmi needs IMAGE..., or --all");
	if (err.code)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	if (a->all)
		code = remove_all(c, a);
	for (int i = 0; i < argc; i++)
		code |= remove_one(c, argv[i], a);
	gc_later(c);
	return code ? code : cli_done(c);
}

const struct command cmd_rmi = {
	.name = "rmi",
	.args = "IMAGE...|--all",
	.summary = "Remove images",
	.opts = rmi_opts,
	.args_size = sizeof(struct rmi_args),
	.main = rmi_main,
	.max_args = -1,
	.complete = complete_images,
	.flags = CMD_FREES,
};
