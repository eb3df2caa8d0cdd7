/* SPDX-License-Identifier: Apache-2.0 */
/* Rows about blobs and digests that came from or went to registries. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

void image_remote_names_free(struct image_remote *r)
{
	free(r->registry);
	free(r->path);
	free(r->repo);
	free(r->tag);
	free(r->digest);
	*r = (struct image_remote){ 0 };
}

void image_remote_name(const char *normalized, struct image_remote *ret)
{
	const char *slash = strchr(normalized, '/'), *at = strchr(normalized, '@');
	size_t n = at ? (size_t)(at - normalized) : strlen(normalized);
	const char *colon = memrchr(normalized, ':', n);

	if (colon && colon < slash)
		colon = NULL; /* a port */
	ret->repo = mem_strn(normalized, colon ? (size_t)(colon - normalized) : n);
	ret->registry = mem_strn(normalized, (size_t)(slash - normalized));
	ret->path = mem_str(ret->repo + (slash - normalized) + 1);
	ret->digest = at ? mem_str(at + 1) : NULL;
	if (!at)
		ret->tag = mem_strn(colon + 1, n - (size_t)(colon + 1 - normalized));
}

int image_layer_blob_put(struct runtime *rt, const char *diff_id, const struct image_layer_blob *b,
			 struct err *err)
{
	return db_run(rt->db,
		      "INSERT INTO layer_blobs(digest,diff_id,size,media_type,codec,level,boot)"
		      " VALUES(?1,?2,?3,?4,?5,?6,?7) ON CONFLICT(digest) DO NOTHING",
		      DB_ARGS(DB_T(digest_str(&b->digest)), DB_T(diff_id), DB_I((int64_t)b->size),
			      DB_T(b->media_type), DB_T(b->codec), DB_I(b->level),
			      DB_T(proc_boot_id())),
		      err);
}

int image_layer_blob_get(struct runtime *rt, const char *diff_id, const char *codec, int level,
			 struct image_layer_blob *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(
		rt->db,
		"SELECT digest,size,media_type,codec,level FROM layer_blobs WHERE diff_id=?1"
		" AND (?2 IS NULL OR (codec=?2 AND level=?3)) ORDER BY codec,digest LIMIT 1",
		DB_ARGS(DB_T(diff_id), DB_T(codec), DB_I(level)), &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	rc = digest_parse(db_col_str(st, 0), &ret->digest, err);
	ret->size = (uint64_t)db_col_int(st, 1);
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", db_col_str(st, 2));
	snprintf(ret->codec, sizeof(ret->codec), "%s", db_col_str(st, 3));
	ret->level = (int)db_col_int(st, 4);
	if (rc >= 0 && !store_blob_exists(rt->store, &ret->digest))
		return 0;
	return rc < 0 ? rc : 1;
}

int image_layer_blob_find(struct runtime *rt, const struct digest *blob, const char *diff_id,
			  struct err *err)
{
	int64_t one;
	int rc = db_get_int(rt->db, "SELECT 1 FROM layer_blobs WHERE digest=?1 AND diff_id=?2",
			    DB_ARGS(DB_T(digest_str(blob)), DB_T(diff_id)), &one, err);

	return rc <= 0 ? rc : store_blob_exists(rt->store, blob);
}

int image_layer_blobs_drop(struct runtime *rt, const char *diff_id, uint64_t *ret_bytes,
			   struct err *err)
{
	static const char used[] = "SELECT 1 FROM layers WHERE diff_id=?1";
	auto_db_tx struct db *tx = NULL;
	auto_db_stmt struct db_stmt *st = NULL;
	auto_strv struct strv gone = { 0 };
	int64_t one;
	int rc;

	if (!*diff_id)
		return 0;
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = db_get_int(rt->db, used, DB_ARGS(DB_T(diff_id)), &one, err);
	if (rc != 0)
		return rc < 0 ? rc : db_tx_commit(&tx, err);
	rc = db_query(rt->db, "SELECT digest FROM layer_blobs WHERE diff_id=?1",
		      DB_ARGS(DB_T(diff_id)), &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&gone, db_col_str(st, 0));
	db_stmt_cleanup(&st);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM layer_blobs WHERE diff_id=?1",
			    DB_ARGS(DB_T(diff_id)), err);
	for (size_t i = 0; rc >= 0 && i < gone.n; i++) {
		struct digest d;

		rc = db_run(rt->db, "DELETE FROM remote_blobs WHERE digest=?1",
			    DB_ARGS(DB_T(gone.v[i])), err);
		if (rc >= 0)
			rc = digest_parse(gone.v[i], &d, err);
		if (rc >= 0)
			rc = image_blob_remove(rt, &d, ret_bytes, err);
	}
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* Where blobs are that are not here is of use as long as a manifest names them. */
static int drop_notes(struct runtime *rt, const struct digest *manifest, struct err *err)
{
	auto_json json_t *doc = NULL;
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	auto_fd int fd = -1;
	const json_t *layer;
	size_t len, i;
	int rc = 0;

	if (store_blob_open(rt->store, manifest, &fd, &ignored) < 0 ||
	    fd_read_all(fd, REGISTRY_MANIFEST_MAX, &text, &len, &ignored) < 0 ||
	    json_parse(text, len, &doc, &ignored) < 0)
		return 0;
	json_array_foreach(json_object_get(doc, "layers"), i, layer)
	{
		const char *digest = json_get_str(layer, "digest");

		if (rc >= 0 && digest)
			rc = db_run(rt->db,
				    "DELETE FROM remote_blobs WHERE digest=?1 AND digest NOT IN"
				    " (SELECT digest FROM layer_blobs)",
				    DB_ARGS(DB_T(digest)), err);
	}
	return rc;
}

/* Inside the transaction in which the image went for good. */
int image_manifests_drop(struct runtime *rt, const char *image, uint64_t *ret_bytes,
			 struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_strv struct strv gone = { 0 };
	int rc = db_query(rt->db, "SELECT digest FROM manifests WHERE image=?1",
			  DB_ARGS(DB_T(image)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&gone, db_col_str(st, 0));
	db_stmt_cleanup(&st);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM manifests WHERE image=?1", DB_ARGS(DB_T(image)),
			    err);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM repo_digests WHERE image=?1", DB_ARGS(DB_T(image)),
			    err);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM tag_docs WHERE image=?1", DB_ARGS(DB_T(image)),
			    err);
	if (rc >= 0)
		rc = image_indexes_drop(rt, ret_bytes, err);
	for (size_t i = 0; rc >= 0 && i < gone.n; i++) {
		struct digest d;

		rc = digest_parse(gone.v[i], &d, err);
		if (rc >= 0)
			rc = drop_notes(rt, &d, err);
		if (rc >= 0)
			rc = image_blob_remove(rt, &d, ret_bytes, err);
	}
	return rc < 0 ? rc : 0;
}

int image_repo_digest_put(struct runtime *rt, const char *repo, const char *digest,
			  const char *image, struct err *err)
{
	return db_run(rt->db,
		      "INSERT OR IGNORE INTO repo_digests(repo,digest,image) VALUES(?1,?2,?3)",
		      DB_ARGS(DB_T(repo), DB_T(digest), DB_T(image)), err);
}

int image_repo_digests(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(
		rt->db, "SELECT repo,digest FROM repo_digests WHERE image=?1 ORDER BY repo,digest",
		DB_ARGS(DB_T(id)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_addf(ret, "%s@%s", db_col_str(st, 0), db_col_str(st, 1));
	return rc;
}

int image_repo_digest_drop(struct runtime *rt, const char *normalized, const char *id,
			   struct err *err)
{
	struct image_remote r = { 0 };
	int rc;

	image_remote_name(normalized, &r);
	rc = db_run(rt->db, "DELETE FROM repo_digests WHERE repo=?1 AND digest=?2 AND image=?3",
		    DB_ARGS(DB_T(r.repo), DB_T(r.digest), DB_T(id)), err);
	image_remote_names_free(&r);
	return rc < 0 ? rc : 0;
}

int image_repo_digest_get(struct runtime *rt, const char *normalized, char **ret_id,
			  struct err *err)
{
	struct image_remote r = { 0 };
	int rc = 0;

	image_remote_name(normalized, &r);
	if (r.digest)
		rc = db_get_str(rt->db,
				"SELECT image FROM repo_digests WHERE repo=?1 AND digest=?2"
				" AND image IN (SELECT id FROM images) LIMIT 1",
				DB_ARGS(DB_T(r.repo), DB_T(r.digest)), ret_id, err);
	image_remote_names_free(&r);
	return rc;
}

int image_manifest_put(struct runtime *rt, const char *image, const char *media_type,
		       const struct digest *d, struct err *err)
{
	return db_run(
		rt->db,
		"INSERT INTO manifests(digest,image,media_type,boot) VALUES(?1,?2,?3,?4)"
		" ON CONFLICT(digest) DO NOTHING",
		DB_ARGS(DB_T(digest_str(d)), DB_T(image), DB_T(media_type), DB_T(proc_boot_id())),
		err);
}

int image_remote_blob_note(struct runtime *rt, const char *repo, const char *digest,
			   struct err *err)
{
	return db_run(rt->db, "INSERT OR IGNORE INTO remote_blobs(repo,digest) VALUES(?1,?2)",
		      DB_ARGS(DB_T(repo), DB_T(digest)), err);
}

int image_remote_blob_repos(struct runtime *rt, const struct digest *blob, const char *but,
			    struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db,
			  "SELECT repo FROM remote_blobs WHERE digest=?1 AND repo<>?2 LIMIT 8",
			  DB_ARGS(DB_T(digest_str(blob)), DB_T(but)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(ret, db_col_str(st, 0));
	return rc;
}

int image_pull_policy(const char *text, bool *ret_always, bool *ret_never, struct err *err)
{
	*ret_always = str_eq(text, "always") || str_eq(text, "true");
	*ret_never = str_eq(text, "never");
	if (!text || *ret_always || *ret_never || str_eq(text, "missing") ||
	    str_eq(text, "false") || str_eq(text, "newer"))
		return 0;
	return err_set(err, EINVAL, "--pull %.60s: want always, missing or never", text);
}
