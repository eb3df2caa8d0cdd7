/* SPDX-License-Identifier: Apache-2.0 */
/* save: what is gathered before an archive is written. */
#ifndef SHALE_IMAGE_SAVE_H
#define SHALE_IMAGE_SAVE_H

#include <shale/image.h>

#include "priv.h"

struct saved {
	struct image *img;
	struct image_config *config;
	struct image_layer *layers;
	size_t n;
	struct strv tags; /* normalised */
	bool is_passing;  /* unpacked for this archive alone */
};

struct save {
	struct runtime *rt;
	const struct image_save_opts *o;
	struct image_archive *out;
	struct saved *v;
	size_t n, cap;
};

void image_save_free(struct save *s);
/* All that a name means: an image, or a repository's. */
int image_save_add(struct save *s, const char *name, struct err *err);
/* What was unpacked for the archive goes again. */
void image_save_drop(struct save *s);

#endif
