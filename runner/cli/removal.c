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

/* What is in the trash is held by it as well. */
void removal_kept(const struct image_removal *r, bool trashed)
{
	auto_free char *size = out_size(r->kept_bytes);
	const char *s = r->kept_layers == 1 ? "" : "s", *verb = r->kept_layers == 1 ? "s" : "";

	if (r->kept_layers)
		printf("%zu layer%s (%s) stay%s as build cache: %sshale builder prune frees %s\n",
		       r->kept_layers, s, size, verb,
		       trashed ? "once the trash is empty (shale trash --empty), " : "",
		       r->kept_layers == 1 ? "it" : "them");
}

void removal_trash(const struct image_removal *r)
{
	auto_free char *size = out_size(r->trash_bytes);

	if (r->trash_bytes)
		printf("%s stay in the trash: shale undo brings them back, shale trash --empty "
		       "frees them\n",
		       size);
}

int removal_plan(const struct image_victims *l, const char *what, struct err *err)
{
	static const struct out_column columns[] = {
		{ "WOULD REMOVE", "ID", false },
		{ "NAME", "Name", false },
		{ "SIZE", "Size", false },
		{ "REASON", "Reason", false },
		{ 0 },
	};
	struct out_list list = { columns, NULL, NULL };
	auto_json json_t *rows = json_array();
	auto_free char *size = out_size(l->bytes);
	int rc = 0;

	for (size_t i = 0; i < l->n; i++) {
		json_t *row = out_row_new();

		out_row_take(row, "ID", out_short_id(l->v[i].id));
		out_row_take(row, "Name",
			     l->v[i].name ? mem_fmt("%.40s", l->v[i].name) : mem_str("<none>"));
		out_row_take(row, "Size", out_size(l->v[i].bytes));
		out_row_set(row, "Reason", l->v[i].reason);
		json_array_append_new(rows, row);
	}
	if (l->n)
		rc = out_list(&list, rows, err);
	if (rc >= 0)
		printf("Would remove %zu %s, %s\n", l->n, what, size);
	return rc;
}
