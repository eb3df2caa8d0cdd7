/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows about indexes that are kept whole, with the images for other platforms, and about what a
 * name was pulled as: a manifest or an index. That holds as long as the name means the same image.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/proc.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

int image_tag_doc_put(struct runtime *rt, const char *name, const char *image, const char *digest,
		      struct err *err)
{
	return db_run(rt->db,
		      "INSERT INTO tag_docs(name,image,digest) VALUES(?1,?2,?3) ON CONFLICT(name)"
		      " DO UPDATE SET image=excluded.image,digest=excluded.digest",
		      DB_ARGS(DB_T(name), DB_T(image), DB_T(digest)), err);
}

int image_tag_doc_get(struct runtime *rt, const char *name, const char *image, char **ret,
		      struct err *err)
{
	return db_get_str(rt->db, "SELECT digest FROM tag_docs WHERE name=?1 AND image=?2",
			  DB_ARGS(DB_T(name), DB_T(image)), ret, err);
}

int image_index_has(struct runtime *rt, const char *digest, struct err *err)
{
	int64_t one;

	return db_get_int(rt->db, "SELECT 1 FROM indexes WHERE digest=?1", DB_ARGS(DB_T(digest)),
			  &one, err);
}

int image_index_put(struct runtime *rt, const struct image_document *d, const struct strv *blobs,
		    struct err *err)
{
	const char *index = digest_str(&d->digest);
	int rc = db_run(rt->db,
			"INSERT OR IGNORE INTO indexes(digest,media_type,boot) VALUES(?1,?2,?3)",
			DB_ARGS(DB_T(index), DB_T(d->media_type), DB_T(proc_boot_id())), err);

	for (size_t i = 0; rc >= 0 && i < blobs->n; i++) {
		struct digest blob;

		rc = digest_parse(blobs->v[i], &blob, err);
		/* A removal may have taken it meanwhile: under this lock it stays. */
		if (rc >= 0 && !store_blob_exists(rt->store, &blob))
			return err_set(err, ENOENT, "blob %.19s was removed", blobs->v[i]);
		if (rc >= 0)
			rc = db_run(rt->db,
				    "INSERT OR IGNORE INTO index_blobs(idx,digest) VALUES(?1,?2)",
				    DB_ARGS(DB_T(index), DB_T(blobs->v[i])), err);
	}
	return rc < 0 ? rc : 0;
}

static int list(struct runtime *rt, const char *sql, const char *arg, struct strv *ret,
		struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, sql, DB_ARGS(DB_T(arg)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(ret, db_col_str(st, 0));
	return rc;
}

int image_index_blobs(struct runtime *rt, const char *index, struct strv *ret, struct err *err)
{
	return list(rt, "SELECT digest FROM index_blobs WHERE idx=?1", index, ret, err);
}

static int drop_one(struct runtime *rt, const char *index, uint64_t *ret_bytes, struct err *err)
{
	auto_strv struct strv blobs = { 0 };
	int rc = image_index_blobs(rt, index, &blobs, err);

	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM index_blobs WHERE idx=?1", DB_ARGS(DB_T(index)),
			    err);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM indexes WHERE digest=?1", DB_ARGS(DB_T(index)),
			    err);
	return rc < 0 ? rc : image_blobs_drop(rt, &blobs, ret_bytes, err);
}

int image_indexes_drop(struct runtime *rt, uint64_t *ret_bytes, struct err *err)
{
	static const char unused[] =
		"SELECT digest FROM indexes WHERE digest NOT IN (SELECT digest FROM tag_docs)"
		" AND ?1 IS NULL";
	auto_strv struct strv gone = { 0 };
	int rc = list(rt, unused, NULL, &gone, err);

	for (size_t i = 0; rc >= 0 && i < gone.n; i++)
		rc = drop_one(rt, gone.v[i], ret_bytes, err);
	return rc < 0 ? rc : 0;
}
