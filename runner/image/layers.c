/* SPDX-License-Identifier: Apache-2.0 */
/* Which snapshots are an image's layers, and what is known of them. */
#include <shale/image.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/snap.h>

#include "priv.h"

static int load_row(struct runtime *rt, struct image_layer *l, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	const char *diff, *chain;
	int rc;

	rc = db_query(
		rt->db,
		"SELECT diff_id,chain_id,size,coalesce(tar_size,0) FROM layers WHERE snapshot=?1",
		DB_ARGS(DB_I(l->snapshot)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	diff = db_col_str(st, 0);
	chain = db_col_str(st, 1);
	snprintf(l->diff_id, sizeof(l->diff_id), "%s", diff ? diff : "");
	snprintf(l->chain_id, sizeof(l->chain_id), "%s", chain ? chain : "");
	l->size_bytes = (uint64_t)db_col_int(st, 2);
	l->tar_bytes = (uint64_t)db_col_int(st, 3);
	return 0;
}

int image_layers(struct runtime *rt, int64_t snapshot, struct image_layer **ret, size_t *ret_n,
		 struct err *err)
{
	auto_free struct image_layer *v = NULL;
	auto_free int64_t *ids = NULL;
	size_t n = 0;
	int rc = 0;

	if (snapshot)
		rc = snap_chain(rt->snap, snapshot, &ids, &n, err);
	if (rc < 0)
		return rc;
	v = mem_array(n + 1, sizeof(*v));
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		v[i].snapshot = ids[n - 1 - i];
		rc = load_row(rt, &v[i], err);
	}
	if (rc < 0)
		return rc;
	*ret = take(v);
	*ret_n = n;
	return 0;
}

int64_t image_layer_find(struct runtime *rt, const struct digest *chain)
{
	static const char sql[] =
		"SELECT l.snapshot FROM layers l JOIN snapshots s ON s.id=l.snapshot"
		" WHERE l.chain_id=?1 AND s.kind=3 ORDER BY l.snapshot LIMIT 1";
	struct err ignored = { 0 };
	int64_t id = 0;

	db_get_int(rt->db, sql, DB_ARGS(DB_T(digest_str(chain))), &id, &ignored);
	return id;
}

int image_layer_disk(struct runtime *rt, int64_t snapshot, uint64_t *ret_bytes, struct err *err)
{
	auto_fd int dir = -1;
	uint64_t bytes = 0;
	int64_t known = 0;
	int rc;

	rc = db_get_int(rt->db, "SELECT disk FROM layers WHERE snapshot=?1 AND disk NOTNULL",
			DB_ARGS(DB_I(snapshot)), &known, err);
	if (rc == 0)
		rc = snap_dir_fd(rt->snap, snapshot, &dir, err);
	if (rc >= 0 && dir >= 0) {
		rc = fs_usage(dir, ".", &bytes, NULL, err);
		known = (int64_t)bytes;
		if (rc >= 0) /* a layer never changes */
			rc = db_run(rt->db, "UPDATE layers SET disk=?2 WHERE snapshot=?1",
				    DB_ARGS(DB_I(snapshot), DB_I(known)), err);
	}
	if (rc < 0)
		return rc;
	*ret_bytes = (uint64_t)known;
	return 0;
}
