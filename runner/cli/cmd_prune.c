/* SPDX-License-Identifier: Apache-2.0 */
/* image prune and builder prune */
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_prune, cmd_builder_prune;

struct prune_args {
	bool all, force;
};

#define OFF(field) offsetof(struct prune_args, field)
static const struct opt image_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "also images with a name that no container uses" },
	{ 'f', "force", OPT_BOOL, OFF(force), NULL, "do not ask" },
	{ 0 },
};
static const struct opt builder_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "the same: all that no image needs goes" },
	{ 'f', "force", OPT_BOOL, OFF(force), NULL, "do not ask" },
	{ 0 },
};

static int print_removal(struct cli *c, const struct image_removal *r)
{
	auto_free char *size = out_size(r->freed_bytes);

	if (r->untagged.n || r->deleted.n)
		puts("Deleted Images:");
	removal_lines(r, "untagged", "deleted");
	if (r->untagged.n || r->deleted.n)
		putchar('\n');
	removal_kept(r);
	printf("Total reclaimed space: %s\n", size);
	return cli_done(c);
}

static int image_prune_main(struct cli *c, void *args, int argc, char **argv)
{
	static const char *const questions[] = {
		"WARNING! This will remove all dangling images.",
		"WARNING! This will remove all images without at least one container associated to them.",
	};
	auto_image_removal struct image_removal r = { 0 };
	const struct prune_args *a = args;
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (!a->force && !cli_confirm(questions[a->all]))
		return 0;
	if (cli_open(c, &err) < 0 || image_prune(&c->rt, a->all, &r, &err) < 0)
		return cli_fail(c, &err);
	return print_removal(c, &r);
}

static int builder_prune_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_image_removal struct image_removal r = { 0 };
	const struct prune_args *a = args;
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (!a->force &&
	    !cli_confirm("WARNING! This will remove the build cache that no image needs."))
		return 0;
	if (cli_open(c, &err) < 0 || image_prune_cache(&c->rt, &r, &err) < 0)
		return cli_fail(c, &err);
	auto_free char *size = out_size(r.freed_bytes);
	printf("Total reclaimed space: %s\n", size);
	return cli_done(c);
}

const struct command cmd_image_prune = {
	.name = "image-prune",
	.args = "",
	.summary = "Remove images without a name",
	.opts = image_opts,
	.args_size = sizeof(struct prune_args),
	.main = image_prune_main,
	.flags = CMD_HIDDEN,
};

const struct command cmd_builder_prune = {
	.name = "builder-prune",
	.args = "",
	.summary = "Remove the build cache that no image needs",
	.opts = builder_opts,
	.args_size = sizeof(struct prune_args),
	.main = builder_prune_main,
	.flags = CMD_HIDDEN,
};
