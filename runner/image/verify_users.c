/* SPDX-License-Identifier: Apache-2.0 */
/* Who suffers from damage: images by name, containers, build steps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { SHOWN = 12 };

#define ABOVE                                                                                      \
	"WITH RECURSIVE d(id) AS (VALUES(?1) UNION"                                                \
	" SELECT s.id FROM snapshots s JOIN d ON s.parent=d.id) "

static int add_image(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	int rc = image_tags(rt, id, &tags, err);

	for (size_t i = 0; i < tags.n; i++) {
		auto_free char *name = image_ref_familiar(tags.v[i]);

		strv_addf(ret, "image %s", name);
	}
	if (rc >= 0 && !tags.n)
		strv_addf(ret, "image %.*s", SHOWN, id + strlen("sha256:"));
	return rc;
}

static int add_images(struct runtime *rt, const char *sql, const struct db_arg *args,
		      struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_strv struct strv ids = { 0 };
	int rc = db_query(rt->db, sql, args, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&ids, db_col_str(st, 0));
	for (size_t i = 0; rc >= 0 && i < ids.n; i++)
		rc = add_image(rt, ids.v[i], ret, err);
	return rc;
}

static int add_rows(struct runtime *rt, const char *sql, const struct db_arg *args,
		    struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, sql, args, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(ret, db_col_str(st, 0));
	return rc;
}

static int of_layer(struct runtime *rt, int64_t snapshot, struct strv *ret, struct err *err)
{
	static const char images[] =
		ABOVE "SELECT id FROM images WHERE snapshot IN (SELECT id FROM d) ORDER BY id";
	static const char others[] = ABOVE
		"SELECT 'container '||name FROM containers WHERE snapshot IN (SELECT id FROM d)"
		" UNION ALL SELECT 'step '||substr(id,1,12) FROM steps"
		" WHERE snapshot IN (SELECT id FROM d)"
		" UNION ALL SELECT 'trash '||substr(id,8,12) FROM trash"
		" WHERE snapshot IN (SELECT id FROM d)";
	int rc = add_images(rt, images, DB_ARGS(DB_I(snapshot)), ret, err);

	return rc < 0 ? rc : add_rows(rt, others, DB_ARGS(DB_I(snapshot)), ret, err);
}

static int of_config(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	int rc = add_images(rt, "SELECT id FROM images WHERE id=?1", DB_ARGS(DB_T(id)), ret, err);

	return rc < 0 ? rc
		      : add_rows(
				rt,
				"SELECT 'container '||name FROM containers WHERE image=?1"
				" UNION ALL SELECT 'trash '||substr(id,8,12) FROM trash WHERE id=?1",
				DB_ARGS(DB_T(id)), ret, err);
}

struct ids {
	int64_t *v;
	size_t n, cap;
};

static void ids_free(struct ids *l)
{
	free(l->v);
}

/* A blob is named by the layers that came as it. */
static int layers_of(struct runtime *rt, const char *blob, struct ids *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, "SELECT snapshot FROM layers", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		struct err ignored = { 0 };
		struct digest d;

		if (image_origin_get(rt, db_col_int(st, 0), &d, &ignored) <= 0 ||
		    strcmp(digest_str(&d), blob) != 0)
			continue;
		mem_room(ret->v, ret->n, ret->cap);
		ret->v[ret->n++] = db_col_int(st, 0);
	}
	return rc;
}

static int of_blob(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	cleanup(ids_free) struct ids layers = { 0 };
	int rc = layers_of(rt, id, &layers, err);

	for (size_t i = 0; rc >= 0 && i < layers.n; i++)
		rc = of_layer(rt, layers.v[i], ret, err);
	return rc;
}

int image_users(struct runtime *rt, struct image_damaged *d, struct err *err)
{
	int rc;

	if (d->kind == IMAGE_DAMAGED_LAYER)
		rc = of_layer(rt, d->snapshot, &d->used_by, err);
	else if (d->kind == IMAGE_DAMAGED_CONFIG)
		rc = of_config(rt, d->id, &d->used_by, err);
	else
		rc = of_blob(rt, d->id, &d->used_by, err);
	return rc < 0 ? rc : 0;
}
