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
	const char *s = out_plural(r->kept_layers), *verb = *s ? "" : "s";

	if (r->kept_layers)
		printf("%zu layer%s (%s) stay%s as build cache: %sshale builder prune frees %s\n",
		       r->kept_layers, s, size, verb,
		       trashed ? "once the trash is empty (shale trash --empty), " : "",
		       *s ? "them" : "it");
}

void removal_trash(const struct image_removal *r)
{
	auto_free char *size = out_size(r->trash_bytes);

	if (r->trash_bytes)
		printf("%s stay in the trash: shale undo brings them back, shale trash --empty "
		       "frees them\n",
		       size);
}

enum { NAME_SHOWN = 40 };

void plan_add(json_t *rows, const char *id, const char *name, uint64_t bytes, const char *reason)
{
	json_t *row = out_row_new();

	out_row_take(row, "ID", out_short_id(id));
	out_row_take(row, "Name", out_shortened(name ? name : "<none>", NAME_SHOWN));
	out_row_take(row, "Size", out_size(bytes));
	out_row_set(row, "Reason", reason);
	json_array_append_new(rows, row);
}

int plan_print(const json_t *rows, const char *what, uint64_t bytes, struct err *err)
{
	static const struct out_column columns[] = {
		{ "WOULD REMOVE", "ID", false },
		{ "NAME", "Name", false },
		{ "SIZE", "Size", false },
		{ "REASON", "Reason", false },
		{ 0 },
	};
	struct out_list list = { columns, NULL, NULL };
	auto_free char *size = out_size(bytes);
	size_t n = json_array_size(rows);
	int rc = n ? out_list(&list, rows, err) : 0;

	if (rc >= 0)
		printf("Would remove %zu %s%s, %s\n", n, what, out_plural(n), size);
	return rc;
}

int removal_plan(const struct image_victims *l, const char *what, struct err *err)
{
	auto_json json_t *rows = json_array();

	for (size_t i = 0; i < l->n; i++)
		plan_add(rows, l->v[i].id, l->v[i].name, l->v[i].bytes, l->v[i].reason);
	return plan_print(rows, what, l->bytes, err);
}
