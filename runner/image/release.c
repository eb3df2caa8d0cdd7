/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that nothing needs any more: rows first, all in the caller's transaction, then the
 * files. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/snap.h>

#include "priv.h"

enum { PATIENCE = 20 };

static const char lease_name[] = "lease.lock";

static int lease_open(struct runtime *rt, struct err *err)
{
	int fd = openat(rt->root_fd, lease_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? err_sys(err, "open %s", lease_name) : fd;
}

int image_lease(struct runtime *rt, struct err *err)
{
	auto_fd int fd = lease_open(rt, err);

	if (fd < 0)
		return fd;
	while (flock(fd, LOCK_SH) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock %s", lease_name);
	return fd_take(&fd);
}

int image_lease_exclusive(struct runtime *rt, struct err *err)
{
	auto_fd int fd = lease_open(rt, err);
	int rc = -1;

	if (fd < 0)
		return fd;
	/* Another prune is through in a moment; a build may take an hour. */
	for (int i = 0; i < PATIENCE && (rc = flock(fd, LOCK_EX | LOCK_NB)) < 0; i++)
		usleep(50000);
	if (rc < 0)
		return errno == EWOULDBLOCK
			       ? err_set(err, EBUSY,
					 "a build, import or load is running: try again when it has ended")
			       : err_sys(err, "lock %s", lease_name);
	return fd_take(&fd);
}

void image_gone_free(struct image_gone *g)
{
	free(g->v);
	*g = (struct image_gone){ 0 };
}

/* Apart from what rests on it and goes too (child), and from the image in the trash that is about
 * to (trashed). */
static int is_needed(struct runtime *rt, int64_t snapshot, int64_t child, const char *trashed,
		     struct err *err)
{
	static const char sql[] =
		"SELECT EXISTS(SELECT 1 FROM snapshots WHERE parent=?1 AND id<>?2)"
		" OR EXISTS(SELECT 1 FROM images WHERE snapshot=?1)"
		" OR EXISTS(SELECT 1 FROM containers WHERE snapshot=?1)"
		" OR EXISTS(SELECT 1 FROM steps WHERE snapshot=?1)"
		" OR EXISTS(SELECT 1 FROM trash WHERE snapshot=?1 AND id IS NOT ?3)";
	int64_t needed = 0;
	int rc = db_get_int(rt->db, sql, DB_ARGS(DB_I(snapshot), DB_I(child), DB_T(trashed)),
			    &needed, err);

	return rc < 0 ? rc : needed != 0;
}

static int note(struct runtime *rt, int64_t snapshot, struct image_gone *g, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	struct image_gone_layer *l;
	const char *diff = NULL;
	int rc;

	rc = db_query(rt->db, "SELECT diff_id,size FROM layers WHERE snapshot=?1",
		      DB_ARGS(DB_I(snapshot)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	mem_room(g->v, g->n, g->cap);
	l = &g->v[g->n++];
	*l = (struct image_gone_layer){ .snapshot = snapshot };
	if (rc) {
		diff = db_col_str(st, 0);
		l->size_bytes = (uint64_t)db_col_int(st, 1);
	}
	snprintf(l->diff_id, sizeof(l->diff_id), "%s", diff ? diff : "");
	return 0;
}

int image_unneeded_chain(struct runtime *rt, int64_t snapshot, const char *trashed,
			 struct image_gone *g, struct err *err)
{
	int64_t child = 0;

	while (snapshot) {
		struct snap_info info;
		int rc = is_needed(rt, snapshot, child, trashed, err);

		if (rc)
			return rc < 0 ? rc : 0;
		rc = snap_stat(rt->snap, snapshot, &info, err);
		if (rc >= 0)
			rc = note(rt, snapshot, g, err);
		if (rc < 0)
			return rc;
		child = snapshot;
		snapshot = info.parent;
	}
	return 0;
}

int image_forget_chain(struct runtime *rt, int64_t snapshot, struct image_gone *g, struct err *err)
{
	size_t from = g->n;
	int rc = image_unneeded_chain(rt, snapshot, NULL, g, err);

	for (size_t i = from; rc >= 0 && i < g->n; i++) {
		rc = db_run(rt->db, "DELETE FROM layers WHERE snapshot=?1",
			    DB_ARGS(DB_I(g->v[i].snapshot)), err);
		if (rc >= 0)
			rc = snap_forget(rt->snap, g->v[i].snapshot, err);
	}
	return rc < 0 ? rc : 0;
}

/* Blocks of fs/, work/, the file table and the directory itself; nothing if a sweeper was faster.
 */
static uint64_t disk_use(struct runtime *rt, int64_t snapshot)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	uint64_t bytes = 0;

	if (snap_dir_fd(rt->snap, snapshot, &dir, &ignored) >= 0)
		fs_usage(dir, ".", &bytes, NULL, &ignored);
	return bytes;
}

/* The rows are gone: what cannot be removed here is the sweeper's, so only the first failure is
 * told. */
int image_discard(struct runtime *rt, const struct image_gone *g, struct image_removal *r,
		  struct err *err)
{
	int first = 0;

	for (size_t i = 0; i < g->n; i++) {
		int64_t id = g->v[i].snapshot;
		uint64_t bytes = disk_use(rt, id);
		struct err e = { 0 };
		int rc;

		fault_point("image.discard.layer");
		rc = image_origin_drop(rt, id, g->v[i].diff_id, &bytes, &e);
		if (rc >= 0)
			rc = image_layer_blobs_drop(rt, g->v[i].diff_id, &bytes, &e);
		if (snap_discard(rt->snap, id, rc < 0 ? &(struct err){ 0 } : &e) < 0)
			rc = rc < 0 ? rc : -e.code;
		if (r) {
			r->freed_bytes += bytes;
			if (g->v[i].diff_id[0])
				strv_add(&r->deleted, g->v[i].diff_id);
		}
		if (rc < 0 && first == 0) {
			first = rc;
			*err = e;
		}
	}
	return first;
}

/* The same image may have been written anew since its row went: looked up under the lock that
 * image_put takes. */
static int drop_config(struct runtime *rt, const char *id, struct image_removal *r, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	struct digest d;
	int64_t one;
	int rc;

	rc = digest_parse(id, &d, err);
	if (rc >= 0)
		rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = db_get_int(
			rt->db,
			"SELECT 1 FROM images WHERE id=?1 UNION SELECT 1 FROM trash WHERE id=?1",
			DB_ARGS(DB_T(id)), &one, err);
	if (rc == 0)
		rc = image_blob_remove(rt, &d, &r->freed_bytes, err);
	if (rc == 0)
		rc = image_manifests_drop(rt, id, &r->freed_bytes, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_discard_image(struct runtime *rt, const char *id, const struct image_gone *g,
			struct image_removal *r, struct err *err)
{
	int rc = drop_config(rt, id, r, err);

	return rc < 0 ? rc : image_discard(rt, g, r, err);
}

int image_release(struct runtime *rt, int64_t snapshot, struct err *err)
{
	cleanup(image_gone_free) struct image_gone g = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = image_forget_chain(rt, snapshot, &g, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	return rc < 0 ? rc : image_discard(rt, &g, NULL, err);
}
