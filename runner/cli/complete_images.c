/* SPDX-License-Identifier: Apache-2.0 */
/* complete_images: names of images, for completion. Failures say nothing: the user is in the middle
 * of a line. */
#include "priv.h"

#include <shale/image.h>
#include <shale/store.h>

static int offer_tag(const struct tag_info *tag, void *arg, struct err *err)
{
	const char *const *prefix = arg;
	auto_free char *name = image_ref_familiar(tag->name);

	(void)err;
	if (str_starts(name, *prefix))
		puts(name);
	return 0;
}

void complete_images(struct cli *c, const char *prefix)
{
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		store_tag_walk(c->rt.store, NULL, offer_tag, &prefix, &ignored);
}
