/* SPDX-License-Identifier: Apache-2.0 */
/* complete_containers: names of containers, for completion. Apart from the images', since
 * shale-build has no containers. */
#include "priv.h"

#include <shale/container.h>

static int offer_container(struct container *ct, void *arg, struct err *err)
{
	const char *const *prefix = arg;

	(void)err;
	if (str_starts(ct->name, *prefix))
		puts(ct->name);
	return 0;
}

void complete_containers(struct cli *c, const char *prefix)
{
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		container_walk(&c->rt, offer_container, &prefix, &ignored);
}

void complete_objects(struct cli *c, const char *prefix)
{
	complete_containers(c, prefix);
	complete_images(c, prefix);
}
