/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of comparing images share. */
#ifndef SHALE_IMAGE_COMPARE_H
#define SHALE_IMAGE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include <shale/image.h>

void image_change_free(struct image_change *ch);
char image_change_kind(bool has_a, bool has_b); /* 'A', 'D', 'C' */
/* What the configs say, field by field. *ret_n: how many differ. */
int image_compare_configs(const struct image *a, const struct image *b, image_change_fn *fn,
			  void *arg, size_t *ret_n, struct err *err);

#endif
