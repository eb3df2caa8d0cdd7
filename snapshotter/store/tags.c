/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/store.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shale/base/str.h>

#include "priv.h"

enum { TAG_NAME_MAX = 512 };

int store_tag_set(struct store *st, const char *name, const char *image, struct err *err)
{
	/* After a machine crash a tag falls back to an image that is surely whole. */
	static const char upsert[] =
		"INSERT INTO tags(name,image,updated) VALUES(?1,?2,?3)"
		" ON CONFLICT(name) DO UPDATE SET previous=CASE WHEN image<>excluded.image AND"
		" (SELECT durable FROM images WHERE id=tags.image) THEN image ELSE previous END,"
		" image=excluded.image,updated=excluded.updated";
	auto_db_tx struct db *tx = NULL;
	int64_t one;
	bool found;
	int rc;

	if (!*name || strlen(name) > TAG_NAME_MAX)
		return err_set(err, EINVAL, "tag of %zu bytes", strlen(name));
	rc = db_tx_begin(st->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_get_int(st->db, "SELECT 1 FROM images WHERE id=?1", DB_ARGS(DB_T(image)),
				&one, err);
	if (rc < 0)
		return rc;
	found = rc > 0;
	if (found)
		rc = db_run(st->db, upsert, DB_ARGS(DB_T(name), DB_T(image), DB_I(time(NULL))),
			    err);
	if (rc >= 0 && found)
		store_note_name(st, name, image);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	return rc < 0 || found ? rc : err_set(err, ENOENT, "tag %s: no image %s", name, image);
}

int store_tag_get(struct store *st, const char *name, char **ret_image, struct err *err)
{
	int rc = db_get_str(st->db, "SELECT image FROM tags WHERE name=?1", DB_ARGS(DB_T(name)),
			    ret_image, err);

	if (rc == 0)
		return err_set(err, ENOENT, "no tag %s", name);
	return rc < 0 ? rc : 0;
}

int store_tag_remove(struct store *st, const char *name, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	bool found;
	int rc;

	rc = db_tx_begin(st->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_run(st->db, "DELETE FROM tags WHERE name=?1", DB_ARGS(DB_T(name)), err);
	if (rc < 0)
		return rc;
	/* Also when there was none: that need not end a transaction of the caller's. */
	found = rc > 0;
	if (found)
		store_note_name(st, name, NULL);
	rc = db_tx_commit(&tx, err);
	return rc < 0 || found ? rc : err_set(err, ENOENT, "no tag %s", name);
}

/* All rows first, then the calls: fn may change the table. */
int store_tag_walk(struct store *st, const char *image, store_tag_fn *fn, void *arg,
		   struct err *err)
{
	auto_db_stmt struct db_stmt *rows = NULL;
	auto_strv struct strv texts = { 0 }; /* name, image, name, image … */
	auto_free int64_t *updated = NULL;
	size_t n = 0, cap = 0;
	int rc;

	rc = db_query(
		st->db,
		"SELECT name,image,updated FROM tags WHERE ?1 IS NULL OR image=?1 ORDER BY name",
		DB_ARGS(DB_T(image)), &rows, err);
	if (rc < 0)
		return rc;
	while ((rc = db_step(rows, err)) > 0) {
		mem_room(updated, n, cap);
		updated[n++] = db_col_int(rows, 2);
		strv_add(&texts, db_col_str(rows, 0));
		strv_add(&texts, db_col_str(rows, 1));
	}
	db_stmt_cleanup(&rows);
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct tag_info info = { texts.v[2 * i], texts.v[2 * i + 1], updated[i] };

		rc = fn(&info, arg, err);
	}
	return rc < 0 ? rc : 0;
}
