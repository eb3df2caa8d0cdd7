/* SPDX-License-Identifier: Apache-2.0 */
/* builder prune: build steps that no image rests on, and snapshots that nothing needs. */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/snap.h>

#include "priv.h"

/*
 * A step is kept when its result is a layer of an image or of a container, or when an image's
 * history names it (a step without a layer has no other trace).
 */
#define UNUSED_STEPS                                                                               \
	"WITH RECURSIVE r(id) AS (SELECT snapshot FROM images WHERE snapshot NOTNULL UNION"        \
	" SELECT snapshot FROM containers WHERE snapshot NOTNULL UNION"                            \
	" SELECT s.parent FROM snapshots s JOIN r ON s.id=r.id WHERE s.parent NOTNULL)"            \
	" SELECT id FROM steps WHERE (snapshot IS NULL OR snapshot NOT IN (SELECT id FROM r))"     \
	" AND id NOT IN (SELECT j.value FROM images i, json_each(i.history) j WHERE i.history NOTNULL)"

static int forget_steps(struct runtime *rt, struct strv *ret, struct err *err)
{
	auto_strv struct strv ids = { 0 };
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, UNUSED_STEPS " ORDER BY created,id", NULL, &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&ids, db_col_str(st, 0));
	for (size_t i = 0; rc >= 0 && i < ids.n; i++)
		rc = db_run(rt->db, "DELETE FROM steps WHERE id=?1", DB_ARGS(DB_T(ids.v[i])), err);
	for (size_t i = 0; rc >= 0 && i < ids.n; i++)
		strv_add(ret, ids.v[i]);
	return rc;
}

struct id_list {
	int64_t *v;
	size_t n, cap;
};

static void id_list_free(struct id_list *l)
{
	free(l->v);
}

/*
 * The topmost of every chain that nothing needs. One with a name of its own belongs to whoever gave
 * it (containerd, by the proxy; a container); those of builds and images are called by their id,
 * and whoever makes one holds the lease until something needs it: what is found here was left by a
 * kill.
 */
static int find_tops(struct runtime *rt, struct id_list *ret, struct err *err)
{
	static const char sql[] =
		"SELECT id FROM snapshots s WHERE key=CAST(id AS TEXT)"
		" AND NOT EXISTS(SELECT 1 FROM snapshots c WHERE c.parent=s.id)"
		" AND NOT EXISTS(SELECT 1 FROM images WHERE snapshot=s.id)"
		" AND NOT EXISTS(SELECT 1 FROM containers WHERE snapshot=s.id)"
		" AND NOT EXISTS(SELECT 1 FROM steps WHERE snapshot=s.id) ORDER BY id DESC";
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, sql, NULL, &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		mem_room(ret->v, ret->n, ret->cap);
		ret->v[ret->n++] = db_col_int(st, 0);
	}
	return rc;
}

/* Whoever has an active snapshot mounted holds the flock of its directory. */
static bool is_mounted(struct runtime *rt, int64_t snapshot)
{
	auto_fd int path_fd = -1, fd = -1;
	struct err ignored = { 0 };

	if (snap_dir_fd(rt->snap, snapshot, &path_fd, &ignored) < 0)
		return false;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static int forget_snapshots(struct runtime *rt, struct image_gone *g, struct err *err)
{
	cleanup(id_list_free) struct id_list tops = { 0 };
	int rc = find_tops(rt, &tops, err);

	for (size_t i = 0; rc >= 0 && i < tops.n; i++)
		if (!is_mounted(rt, tops.v[i]))
			rc = image_forget_chain(rt, tops.v[i], g, err);
	return rc;
}

int image_prune_cache(struct runtime *rt, struct image_removal *ret, struct err *err)
{
	cleanup(image_gone_free) struct image_gone g = { 0 };
	auto_fd int lease = -1;
	auto_db_tx struct db *tx = NULL;
	int rc;

	lease = image_lease_exclusive(rt, err);
	if (lease < 0)
		return lease;
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = forget_steps(rt, &ret->deleted, err);
	if (rc >= 0)
		rc = forget_snapshots(rt, &g, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	fd_close(&lease);
	rc = image_discard(rt, &g, ret, err);
	if (rc >= 0 && g.n)
		rc = snap_sweep(rt->snap, err);
	return rc < 0 ? rc : 0;
}
