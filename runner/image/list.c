/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include <stdlib.h>

#include "priv.h"

struct rows {
	struct image **v;
	size_t n, cap;
};

static void rows_free(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		image_free(r->v[i]);
	free(r->v);
}

static int load(struct runtime *rt, struct rows *r, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, IMAGE_SELECT " ORDER BY created DESC, stored DESC, rowid DESC", NULL,
		      &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		if (r->n == r->cap) {
			r->cap = r->cap ? r->cap * 2 : 16;
			r->v = mem_grow(r->v, r->cap, sizeof(struct image *));
		}
		r->v[r->n++] = image_from_row(st);
	}
	return rc;
}

/* All rows are read first, so that fn may remove images. */
int image_walk(struct runtime *rt, image_fn *fn, void *arg, struct err *err)
{
	cleanup(rows_free) struct rows r = { 0 };
	int rc = load(rt, &r, err);

	for (size_t i = 0; rc >= 0 && i < r.n; i++)
		rc = fn(r.v[i], arg, err);
	return rc < 0 ? rc : 0;
}
