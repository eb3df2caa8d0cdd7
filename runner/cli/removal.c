/* SPDX-License-Identifier: Apache-2.0 */
/* removal: what rmi and the prunes say of what they did. */
#include "priv.h"

#include <shale/image.h>

void removal_lines(const struct image_removal *r, const char *untagged, const char *deleted)
{
	for (size_t i = 0; i < r->untagged.n; i++)
		printf("%s: %s\n", untagged, r->untagged.v[i]);
	for (size_t i = 0; i < r->deleted.n; i++)
		printf("%s: %s\n", deleted, r->deleted.v[i]);
}

void removal_kept(const struct image_removal *r)
{
	auto_free char *size = out_size(r->kept_bytes);

	if (r->kept_layers)
		printf("%zu layer%s (%s) stay%s as build cache: shale builder prune frees %s\n",
		       r->kept_layers, r->kept_layers == 1 ? "" : "s", size,
		       r->kept_layers == 1 ? "s" : "", r->kept_layers == 1 ? "it" : "them");
}
