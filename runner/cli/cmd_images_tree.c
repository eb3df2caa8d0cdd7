/* SPDX-License-Identifier: Apache-2.0 */
/* images --tree: the platforms that each name stands for. cmd_images.c sends it here. */
#include <string.h>

#include "images.h"

extern const struct command cmd_images_tree;

struct branch {
	const struct images_args *a;
	json_t *rows, *last;
};

static void add(struct branch *b, const char *platform, const char *id, uint64_t size,
		uint64_t content)
{
	json_t *row = out_row_new();

	out_row_take(row, "Image", mem_fmt("├─ %s", platform));
	out_row_take(row, "ID", b->a->no_trunc || !*id ? mem_str(id) : out_short_id(id));
	out_row_take(row, "Size", size ? out_size(size) : mem_str("-"));
	out_row_take(row, "ContentSize", content ? out_size(content) : mem_str(""));
	json_array_append_new(b->rows, row);
	b->last = row;
}

static int add_variant(const struct image_variant *v, void *arg, struct err *err)
{
	(void)err;
	add(arg, v->platform, v->id, v->img ? v->img->size_bytes : 0, v->blob_bytes);
	return 0;
}

static int add_own(struct cli *c, const struct image *img, struct branch *b, struct err *err)
{
	auto_image_config struct image_config *config = NULL;
	auto_image struct image *full = NULL;
	auto_free char *platform = NULL;
	int rc = image_get(&c->rt, img->id, &full, err);

	if (rc >= 0)
		rc = image_config_parse(full->config, strlen(full->config), &config, err);
	if (rc < 0)
		return rc;
	platform = mem_fmt("%s/%s%s%s", config->os, config->architecture,
			   config->variant ? "/" : "", config->variant ? config->variant : "");
	add(b, platform, img->id, img->size_bytes, 0);
	return 0;
}

static int add_platforms(struct cli *c, const struct images_args *a, const struct image *img,
			 const char *name, json_t *rows, struct err *err)
{
	struct branch b = { .a = a, .rows = rows };
	int rc = name ? image_variants(&c->rt, name, img->id, add_variant, &b, err) : 0;

	if (rc >= 0 && !b.last)
		rc = add_own(c, img, &b, err);
	if (rc >= 0)
		out_row_take(b.last, "Image",
			     mem_fmt("└─ %s", json_get_str(b.last, "Image") + strlen("├─ ")));
	return rc;
}

static int images_tree_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return images_show(c, args, argv[0], add_platforms);
}

const struct command cmd_images_tree = {
	.name = "images-tree",
	.args = "[REPOSITORY[:TAG]]",
	.summary = "List images and their platforms",
	.opts = images_opts,
	.args_size = sizeof(struct images_args),
	.main = images_tree_main,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};
