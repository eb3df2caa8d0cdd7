/* SPDX-License-Identifier: Apache-2.0 */
/* images: the list, and the same with what each name stands for, which is shale-build's. */
#ifndef SHALE_CLI_IMAGES_H
#define SHALE_CLI_IMAGES_H

#include <shale/image.h>

#include "priv.h"

struct images_args {
	bool all, quiet, no_trunc, digests, tree, no_heads;
	const char *format, *sort;
	struct strv filters;
};
extern const struct opt images_opts[];
/* Rows beneath that of an image and one of its names (NULL: it has none). */
typedef int images_tree_fn(struct cli *c, const struct images_args *a, const struct image *img,
			   const char *name, json_t *rows, struct err *err);
/* tree: NULL for the plain list. The command's exit code. */
int images_show(struct cli *c, const struct images_args *a, const char *name, images_tree_fn *tree);

#endif
