/* SPDX-License-Identifier: Apache-2.0 */
/* complete_names: the names in the store, for completion. Failures say nothing: the user is in the
 * middle of a line. */
#include "priv.h"

#include <shale/container.h>
#include <shale/image.h>
#include <shale/store.h>

struct wanted {
	const char *prefix;
};

static int offer_tag(const struct tag_info *tag, void *arg, struct err *err)
{
	const struct wanted *w = arg;
	auto_free char *name = image_ref_familiar(tag->name);

	(void)err;
	if (str_starts(name, w->prefix))
		puts(name);
	return 0;
}

static int offer_container(struct container *ct, void *arg, struct err *err)
{
	const struct wanted *w = arg;

	(void)err;
	if (str_starts(ct->name, w->prefix))
		puts(ct->name);
	return 0;
}

void complete_images(struct cli *c, const char *prefix)
{
	struct wanted w = { prefix };
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		store_tag_walk(c->rt.store, NULL, offer_tag, &w, &ignored);
}

void complete_containers(struct cli *c, const char *prefix)
{
	struct wanted w = { prefix };
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		container_walk(&c->rt, offer_container, &w, &ignored);
}

void complete_objects(struct cli *c, const char *prefix)
{
	complete_containers(c, prefix);
	complete_images(c, prefix);
}
