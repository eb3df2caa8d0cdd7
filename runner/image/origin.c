/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a layer that was made elsewhere has its bytes: snap/<id>/origin names the blob with the
 * archive's own layer. Our stream of the same tree may differ from it, so save gives these back.
 * Layers that our stream reproduces have none.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

static const char origin_name[] = "origin";

int image_origin_get(struct runtime *rt, int64_t snapshot, struct digest *ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_fd int dir = -1;
	size_t len;
	int rc;

	rc = snap_dir_fd(rt->snap, snapshot, &dir, err);
	if (rc < 0)
		return rc;
	rc = fd_read_file(dir, origin_name, DIGEST_STR_MAX, &text, &len, err);
	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = digest_parse(text, ret, err);
	return rc < 0 ? err_ctx(err, "origin of layer %lld", (long long)snapshot) : 1;
}

int image_origin_set(struct runtime *rt, int64_t snapshot, const struct digest *blob,
		     struct err *err)
{
	auto_fd int dir = -1;
	char text[DIGEST_STR_MAX];
	int rc;

	rc = snap_dir_fd(rt->snap, snapshot, &dir, err);
	if (rc < 0)
		return rc;
	digest_format(blob, text);
	return fs_write_atomic(dir, origin_name, text, strlen(text), false, err);
}

/* Does another layer of the same DiffID give this blob as its origin? A layer whose load was killed
 * has no DiffID: it may be any. */
static int is_shared(struct runtime *rt, const struct digest *blob, const char *diff_id,
		     struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc, has;

	rc = db_query(rt->db, "SELECT snapshot FROM layers WHERE diff_id=?1 OR ?1=''",
		      DB_ARGS(DB_T(diff_id)), &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		struct digest other;

		has = image_origin_get(rt, db_col_int(st, 0), &other, err);
		if (has < 0)
			return has;
		if (has && digest_eq(&other, blob))
			return 1;
	}
	return rc;
}

int image_blob_remove(struct runtime *rt, const struct digest *d, uint64_t *ret_bytes,
		      struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;
	int64_t one;
	int rc = db_get_int(rt->db, "SELECT 1 FROM index_blobs WHERE digest=?1 LIMIT 1",
			    DB_ARGS(DB_T(digest_str(d))), &one, err);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = store_blob_open(rt->store, d, &fd, err);
	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "blob");
	rc = store_blob_remove(rt->store, d, err);
	if (rc >= 0)
		*ret_bytes += (uint64_t)st.st_blocks * 512;
	return rc;
}

int image_origin_drop(struct runtime *rt, int64_t snapshot, const char *diff_id,
		      uint64_t *ret_bytes, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	struct digest blob;
	int rc;

	rc = image_origin_get(rt, snapshot, &blob, err);
	if (rc <= 0)
		return rc;
	/* A load that reuses the blob writes its row under the same lock, and looks whether the
	 * blob is there. */
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = is_shared(rt, &blob, diff_id, err);
	if (rc == 0)
		rc = image_blob_remove(rt, &blob, ret_bytes, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}
