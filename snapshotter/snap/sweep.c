/* SPDX-License-Identifier: Apache-2.0 */
/* How snapshots go: the row first, then the directory into trash/, then what is in there. */
#include <shale/snap.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "priv.h"

int snap_to_trash(struct snap *s, int64_t id, struct err *err)
{
	char to[SNAP_NAME_MAX * 2], random[9];

	proc_random_hex(random, 8);
	snprintf(to, sizeof(to), "trash/snap-%" PRId64 ".%s", id, random);
	if (renameat(s->snap_fd, SNAP_NAME(id, NULL), s->store_fd, to) == 0) {
		fault_point("snap.trash.renamed");
		return 0;
	}
	/* A remover and a sweeper may want the same one; or is it trash/ that is missing? */
	if (errno != ENOENT || faccessat(s->snap_fd, SNAP_NAME(id, NULL), F_OK, 0) == 0)
		return err_sys(err, "rename snap/%" PRId64 " to %s", id, to);
	return 0;
}

static int explain_busy(struct snap *s, int64_t id, int rc, struct err *err)
{
	auto_free char *child = NULL;
	struct err ignored = { 0 };

	if (db_get_str(s->db, "SELECT key FROM snapshots WHERE parent=?1 LIMIT 1",
		       DB_ARGS(DB_I(id)), &child, &ignored) > 0)
		return err_set(err, EBUSY, "snapshot %" PRId64 " is in use: '%s' rests on it", id,
			       child);
	if (rc == -EBUSY)
		return err_ctx(err, "snapshot %" PRId64 " is in use", id);
	return rc;
}

static const char forget[] = "DELETE FROM snapshots WHERE id=?1";

void snap_forget_ready(struct snap *s)
{
	db_ready(s->db, forget);
}

int snap_forget(struct snap *s, int64_t id, struct err *err)
{
	int rc = db_run(s->db, forget, DB_ARGS(DB_I(id)), err);

	if (rc < 0)
		return explain_busy(s, id, rc, err);
	return rc ? 0 : err_set(err, ENOENT, "no snapshot %" PRId64, id);
}

int snap_discard(struct snap *s, int64_t id, struct err *err)
{
	int64_t one;
	int rc = db_get_int(s->db, "SELECT 1 FROM snapshots WHERE id=?1", DB_ARGS(DB_I(id)), &one,
			    err);

	if (rc < 0)
		return rc;
	if (rc > 0)
		return err_set(err, EBUSY, "snapshot %" PRId64 " still has its row", id);
	return snap_to_trash(s, id, err);
}

int snap_remove(struct snap *s, int64_t id, struct err *err)
{
	struct err ignored = { 0 };
	int rc = snap_forget(s, id, err);

	if (rc < 0)
		return rc;
	/* It is gone with its row; a directory that stays is the sweeper's. */
	snap_to_trash(s, id, &ignored);
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int load_ids(struct snap *s, int64_t **ret, size_t *ret_n, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_free int64_t *v = NULL;
	size_t n = 0, cap = 0;
	int rc;

	rc = db_query(s->db, "SELECT id FROM snapshots ORDER BY id", NULL, &st, err);
	if (rc < 0)
		return rc;
	while ((rc = db_step(st, err)) > 0) {
		mem_room(v, n, cap);
		v[n++] = db_col_int(st, 0);
	}
	if (rc < 0)
		return rc;
	*ret = take(v);
	*ret_n = n;
	return 0;
}

/* Only names that snap itself makes: an administrator's lost+found stays. */
static bool parse_id(const char *name, int64_t *ret)
{
	uint64_t v;

	if (str_to_u64(name, 10, INT64_MAX, &v) < 0 || v == 0 || name[0] == '0')
		return false;
	*ret = (int64_t)v;
	return true;
}

/* The directories in snap/ that no row names. */
static int find_garbage(struct snap *s, struct strv *ret, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_free int64_t *ids = NULL;
	size_t n = 0;
	int rc;

	rc = load_ids(s, &ids, &n, err);
	if (rc >= 0)
		rc = fs_list(s->store_fd, "snap", &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		int64_t id;

		if (parse_id(names.v[i], &id) && !bsearch(&id, ids, n, sizeof(id), compare_ids))
			strv_add(ret, names.v[i]);
	}
	return rc < 0 ? rc : 0;
}

/*
 * Inside a write transaction: prepare makes directory and row in one, so whatever has no row now
 * belongs to nobody. The renames are inside as well, else a later prepare could be given an id of
 * this list. Only what was garbage before the sync: of those the rows stay away after a power cut.
 */
static int move_garbage(struct snap *s, const struct strv *synced, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = find_garbage(s, &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		int64_t id;

		if (strv_has(synced, names.v[i]) && parse_id(names.v[i], &id))
			rc = snap_to_trash(s, id, err);
	}
	return rc;
}

/* A snapshot removed while it is mounted is deleted when that mount is gone. */
static bool is_mounted(int trash_fd, const char *name)
{
	auto_fd int fd = openat(trash_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static int empty_trash(struct snap *s, struct err *err)
{
	auto_fd int trash = openat(s->store_fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_strv struct strv names = { 0 };
	int rc, n = 0;

	if (trash < 0)
		return err_sys(err, "open trash");
	if (flock(trash, LOCK_EX | LOCK_NB) < 0)
		return 0; /* another sweeper is at it */
	rc = fs_list(s->store_fd, "trash", &names, err);
	for (size_t i = 0; i < names.n; i++) {
		struct err one = { 0 };

		if (is_mounted(trash, names.v[i]))
			continue;
		n++;
		fault_point("snap.sweep.tree");
		snap_unlimit_dir(s, trash, names.v[i]);
		if (fs_remove_tree(trash, names.v[i], &one) == 0)
			continue;
		/* One that resists does not keep the space of the others. */
		*err = one;
		rc = err_ctx(err, "trash/%s", names.v[i]);
	}
	return rc < 0 ? rc : n;
}

int snap_sweep(struct snap *s, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = find_garbage(s, &names, err);
	if (rc >= 0 && names.n)
		rc = db_sync(s->db, err);
	if (rc >= 0 && names.n)
		rc = db_tx_begin(s->db, DB_LAZY, &tx, err);
	if (rc >= 0 && names.n)
		rc = move_garbage(s, &names, err);
	if (rc >= 0 && names.n)
		rc = db_tx_commit(&tx, err);
	snap_limit_tidy(s);
	return rc < 0 ? rc : empty_trash(s, err);
}
