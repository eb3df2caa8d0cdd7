/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build cache: which steps nobody rests on, which of them a policy takes, and taking them.
 * What is dropped is dropped for good: a step can be run again.
 */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/snap.h>

#include "priv.h"

/*
 * A step is kept when its result is a layer of an image, of a container, of what is in the trash or
 * of a pinned step, or when an image's history names it (a step without a layer has no other
 * trace). In the order in which they may go: a step was used at least as late as what rests on it.
 */
static const char unused_steps[] =
	"WITH RECURSIVE r(id) AS (SELECT snapshot FROM images WHERE snapshot NOTNULL UNION"
	" SELECT snapshot FROM containers WHERE snapshot NOTNULL UNION"
	" SELECT snapshot FROM trash WHERE snapshot NOTNULL UNION"
	" SELECT snapshot FROM steps WHERE pinned AND snapshot NOTNULL UNION"
	" SELECT s.parent FROM snapshots s JOIN r ON s.id=r.id WHERE s.parent NOTNULL)"
	" SELECT steps.id,coalesce(snapshot,0),used,instruction,coalesce(p.parent,0) FROM steps"
	" LEFT JOIN snapshots p ON p.id=steps.snapshot"
	" WHERE (snapshot IS NULL OR snapshot NOT IN (SELECT id FROM r)) AND NOT pinned"
	" AND steps.id NOT IN (SELECT j.value FROM images i, json_each(i.history) j WHERE i.history NOTNULL)"
	" ORDER BY coalesce(snapshot,0) DESC,steps.created DESC,steps.id";

struct step_row {
	char *id, *instruction;
	int64_t snapshot, parent, used_s;
	uint64_t bytes; /* what going frees: 0 as long as another step has the same result */
};

struct step_rows {
	struct step_row *v;
	size_t n, cap;
};

static void step_rows_free(struct step_rows *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].id);
		free(l->v[i].instruction);
	}
	free(l->v);
}

static int load_steps(struct runtime *rt, struct step_rows *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, unused_steps, NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		mem_room(ret->v, ret->n, ret->cap);
		ret->v[ret->n++] = (struct step_row){ .id = mem_str(db_col_str(st, 0)),
						      .snapshot = db_col_int(st, 1),
						      .used_s = db_col_int(st, 2),
						      .instruction = mem_str(db_col_str(st, 3)),
						      .parent = db_col_int(st, 4) };
	}
	return rc;
}

/* The first of those with this snapshot, in the order in which they were loaded. */
static size_t first_of(const struct step_rows *l, int64_t snapshot)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->v[mid].snapshot > snapshot)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* A record is not touched at every hit, but what rests on it was found by way of it. */
static void inherit_use(struct step_rows *l)
{
	for (size_t i = 0; i < l->n; i++) {
		int64_t parent = l->v[i].parent;

		for (size_t k = first_of(l, parent); parent && k < l->n; k++) {
			if (l->v[k].snapshot != parent)
				break;
			if (l->v[k].used_s < l->v[i].used_s)
				l->v[k].used_s = l->v[i].used_s;
		}
	}
}

static int by_use(const void *a, const void *b)
{
	const struct step_row *x = a, *y = b;

	if (x->used_s != y->used_s)
		return x->used_s < y->used_s ? -1 : 1;
	return (x->snapshot < y->snapshot) - (x->snapshot > y->snapshot);
}

static int by_snapshot(const void *a, const void *b)
{
	const struct step_row *const *x = a, *const *y = b;

	if ((*x)->snapshot != (*y)->snapshot)
		return (*x)->snapshot < (*y)->snapshot ? -1 : 1;
	return (*x < *y) - (*x > *y); /* the one that goes last is first */
}

/* The last step that has a snapshot is who frees it. A plan is made without the lease: what another
 * prune takes meanwhile weighs nothing. */
static int weigh(struct runtime *rt, struct step_rows *l, struct err *err)
{
	auto_free struct step_row **order = mem_array(l->n + 1, sizeof(void *));
	int rc = 0;

	for (size_t i = 0; i < l->n; i++)
		order[i] = &l->v[i];
	qsort(order, l->n, sizeof(void *), by_snapshot);
	for (size_t i = 0; rc >= 0 && i < l->n; i++) {
		if (!order[i]->snapshot || (i && order[i]->snapshot == order[i - 1]->snapshot))
			continue;
		rc = image_layer_disk(rt, order[i]->snapshot, &order[i]->bytes, err);
		if (rc == -ENOENT) {
			err_clear(err);
			rc = 0;
		}
	}
	return rc;
}

/* What is left to be decided while the list is gone through. */
struct balance {
	uint64_t cache_bytes, free_bytes;
	int64_t now_s;
};

static char *why(const struct image_cache_policy *p, const struct balance *b,
		 const struct step_row *s)
{
	bool spare = b->cache_bytes >= p->reserved_bytes + s->bytes;
	int64_t idle_s = b->now_s - s->used_s;

	if (p->before_s && s->used_s >= p->before_s)
		return NULL;
	if (!p->keep_s && !p->max_used_bytes && !p->min_free_bytes)
		return spare ? mem_str("no image rests on it") : NULL;
	if (!spare)
		return NULL;
	if (p->keep_s && idle_s > p->keep_s)
		return mem_fmt("not used for %lld hours", (long long)(idle_s / 3600));
	if (p->max_used_bytes && b->cache_bytes > p->max_used_bytes)
		return mem_str("the cache is larger than max-used-space");
	if (p->min_free_bytes && b->free_bytes < p->min_free_bytes)
		return mem_str("the file system has less than min-free-space");
	return NULL;
}

int image_cache_plan(struct runtime *rt, const struct image_cache_policy *p,
		     struct image_victims *ret, struct err *err)
{
	cleanup(step_rows_free) struct step_rows l = { 0 };
	struct balance b = { .now_s = time(NULL) };
	struct statvfs vfs;
	int rc = load_steps(rt, &l, err);

	inherit_use(&l);
	if (l.n)
		qsort(l.v, l.n, sizeof(l.v[0]), by_use);
	if (rc >= 0)
		rc = weigh(rt, &l, err);
	if (rc >= 0 && fstatvfs(rt->root_fd, &vfs) < 0)
		rc = err_sys(err, "file system of the store");
	if (rc < 0)
		return rc;
	b.free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	for (size_t i = 0; i < l.n; i++)
		b.cache_bytes += l.v[i].bytes;
	for (size_t i = 0; i < l.n; i++) {
		auto_free char *reason = why(p, &b, &l.v[i]);
		struct image_victim *victim;

		if (!reason) {
			ret->steps_left++;
			ret->bytes_left += l.v[i].bytes;
			continue;
		}
		victim = image_victims_add(ret, l.v[i].id, l.v[i].instruction, l.v[i].bytes);
		victim->reason = take(reason);
		victim->snapshot = l.v[i].snapshot;
		b.cache_bytes -= l.v[i].bytes;
		b.free_bytes += l.v[i].bytes;
	}
	return 0;
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
		" AND NOT EXISTS(SELECT 1 FROM trash WHERE snapshot=s.id)"
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

static int drop_steps(struct runtime *rt, const struct image_victims *l, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < l->n; i++)
		rc = db_run(rt->db, "DELETE FROM steps WHERE id=?1", DB_ARGS(DB_T(l->v[i].id)),
			    err);
	return rc;
}

/* Under the exclusive lease nobody builds, so what the plan found still holds. */
static int apply_all(struct runtime *rt, const struct image_victims *l, struct image_gone *g,
		     struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err); /* the files go next */

	if (rc >= 0)
		rc = drop_steps(rt, l, err);
	if (rc >= 0)
		rc = forget_snapshots(rt, g, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* No more than the results of these very steps: the build itself has snapshots that no row needs.
 */
static int apply_steps(struct runtime *rt, const struct image_victims *l, struct image_gone *g,
		       struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err); /* the files go next */

	if (rc >= 0)
		rc = drop_steps(rt, l, err);
	for (size_t i = 0; rc >= 0 && i < l->n; i++) {
		int64_t one;

		rc = db_get_int(rt->db, "SELECT 1 FROM snapshots WHERE id=?1",
				DB_ARGS(DB_I(l->v[i].snapshot)), &one, err);
		if (rc > 0)
			rc = image_forget_chain(rt, l->v[i].snapshot, g, err);
	}
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static int carry_out(struct runtime *rt, const struct image_victims *l, struct image_gone *g,
		     struct image_removal *ret, struct err *err)
{
	int rc;

	for (size_t i = 0; i < l->n; i++)
		strv_add(&ret->deleted, l->v[i].id);
	fault_point("image.cache.rows");
	rc = image_discard(rt, g, ret, err);
	if (rc >= 0 && g->n)
		rc = snap_sweep(rt->snap, err);
	return rc < 0 ? rc : 0;
}

int image_cache_prune(struct runtime *rt, const struct image_cache_policy *p,
		      struct image_removal *ret, struct err *err)
{
	cleanup(image_gone_free) struct image_gone g = { 0 };
	auto_image_victims struct image_victims l = { 0 };
	auto_fd int lease = image_lease_exclusive(rt, err);
	int rc;

	if (lease < 0)
		return lease;
	rc = image_cache_plan(rt, p, &l, err);
	if (rc >= 0)
		rc = apply_all(rt, &l, &g, err);
	if (rc < 0)
		return rc;
	fd_close(&lease);
	return carry_out(rt, &l, &g, ret, err);
}

static int touch_in_use(struct runtime *rt, const struct image_room *o, struct err *err)
{
	static const char sql[] =
		"WITH RECURSIVE d(id) AS (SELECT ?1 UNION SELECT s.parent FROM snapshots s JOIN d ON s.id=d.id"
		" WHERE s.parent NOTNULL) UPDATE steps SET used=?2 WHERE snapshot IN d";
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < o->n_in_use; i++)
		rc = db_run(rt->db, sql, DB_ARGS(DB_I(o->in_use[i]), DB_I(o->now_s + 1)), err);
	return rc;
}

static int drop_cache(struct runtime *rt, const struct image_room *o, struct image_removal *ret,
		      struct err *err)
{
	cleanup(image_gone_free) struct image_gone g = { 0 };
	auto_image_victims struct image_victims l = { 0 };
	struct image_cache_policy p = { .before_s = o->now_s + 1 };
	int rc = touch_in_use(rt, o, err);

	if (rc >= 0)
		rc = image_cache_plan(rt, &p, &l, err);
	if (rc >= 0)
		rc = apply_steps(rt, &l, &g, err);
	return rc < 0 ? rc : carry_out(rt, &l, &g, ret, err);
}

int image_make_room(struct runtime *rt, const struct image_room *o, struct image_removal *ret,
		    struct err *err)
{
	int rc = snap_sweep(rt->snap, err);

	if (rc >= 0)
		rc = image_trash_empty(rt, 0, 0, ret, err);
	if (rc >= 0 && flock(o->lease_fd, LOCK_EX | LOCK_NB) == 0)
		rc = drop_cache(rt, o, ret, err);
	/* A conversion that fails has let the lock go (flock(2)). */
	while (flock(o->lease_fd, LOCK_SH) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock the store");
	return rc < 0 ? rc : 0;
}
