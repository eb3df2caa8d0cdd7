/* SPDX-License-Identifier: Apache-2.0 */
/* prepare and commit. */
#include <shale/snap.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "driver.h"

/*
 * The id comes from the row, the directory must be there before the row is seen, and nobody else
 * can take the id as long as this transaction holds the write lock. So a directory of that name was
 * left by one that never committed.
 */
static int make_dirs(struct snap *s, int64_t id, bool work, struct err *err)
{
	int rc = mkdirat(s->snap_fd, SNAP_NAME(id, NULL), 0700);

	if (rc < 0 && errno == EEXIST) {
		rc = snap_to_trash(s, id, err);
		if (rc < 0)
			return rc;
		rc = mkdirat(s->snap_fd, SNAP_NAME(id, NULL), 0700);
	}
	if (rc < 0 || mkdirat(s->snap_fd, SNAP_NAME(id, "fs"), 0755) < 0 ||
	    (work && mkdirat(s->snap_fd, SNAP_NAME(id, "work"), 0711) < 0))
		return err_sys(err, "make snap/%" PRId64, id);
	return 0;
}

/* The merged root has the attributes of the upper's, so a new upper takes over those of its parent
 * (TRAPS a). */
static int copy_root_attrs(struct snap *s, int64_t parent, int64_t id, struct err *err)
{
	auto_fd int from = -1, to = -1;
	struct stat st;
	int rc;

	from = openat(s->snap_fd, SNAP_NAME(parent, "fs"),
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_sys(err, "root of snapshot %" PRId64, parent);
	to = openat(s->snap_fd, SNAP_NAME(id, "fs"),
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return err_sys(err, "root of snapshot %" PRId64, id);
	rc = snap_copy_attrs(from, to, &st, err);
	return rc < 0 ? err_ctx(err, "attributes of the root") : 0;
}

static int fill_dirs(struct snap *s, const struct snap_info *info, struct err *err)
{
	int rc = make_dirs(s, info->id, info->kind == SNAP_ACTIVE, err);

	if (rc >= 0 && info->parent)
		return copy_root_attrs(s, info->parent, info->id, err);
	if (rc >= 0 && fchmodat(s->snap_fd, SNAP_NAME(info->id, "fs"), 0755, 0) < 0)
		return err_sys(err, "mode of the root");
	return rc;
}

static int check_new(struct snap *s, const struct snap_new *n, struct err *err)
{
	int64_t kind = 0;
	int rc;

	if (n->kind != SNAP_ACTIVE && n->kind != SNAP_VIEW)
		return err_set(err, EINVAL, "a new snapshot is active or a view");
	if (n->key && (!*n->key || strlen(n->key) >= sizeof(((struct snap_info *)0)->key)))
		return err_set(err, EINVAL, "snapshot key of %zu bytes", strlen(n->key));
	if (!n->parent)
		return 0;
	rc = db_get_int(s->db, "SELECT kind FROM snapshots WHERE id=?1", DB_ARGS(DB_I(n->parent)),
			&kind, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no parent snapshot %" PRId64, n->parent);
	if (kind != SNAP_COMMITTED)
		return err_set(err, EINVAL, "parent snapshot %" PRId64 " is not committed",
			       n->parent);
	return 0;
}

/* After a statement on the key went wrong: say so if it was the key. */
static int explain_key(struct snap *s, const char *key, int rc, struct err *err)
{
	struct err ignored = { 0 };
	int64_t id;

	if (key && db_get_int(s->db, "SELECT id FROM snapshots WHERE key=?1", DB_ARGS(DB_T(key)),
			      &id, &ignored) > 0)
		return err_set(err, EEXIST, "snapshot '%s' exists already", key);
	return rc;
}

/* Nothing was written: a failure that callers may expect need not end a transaction of theirs. */
static int leave(struct db **tx, int rc)
{
	struct err ignored = { 0 };

	db_tx_commit(tx, &ignored);
	return rc;
}

int snap_prepare(struct snap *s, const struct snap_new *n, struct snap_info *ret, struct err *err)
{
	/* A made-up key is the id that AUTOINCREMENT is about to give. */
	static const char insert[] =
		"INSERT INTO snapshots(key,kind,parent,flags,created,boot) VALUES(coalesce(?1,"
		"(SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name='snapshots'),0)+1)),"
		"?2,nullif(?3,0),0,?4,?5)";
	struct snap_info info = { .parent = n->parent, .kind = n->kind, .created_s = time(NULL) };
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = db_tx_begin(s->db, DB_LAZY, &tx, err);
	if (rc < 0)
		return rc;
	rc = check_new(s, n, err);
	if (rc < 0)
		return leave(&tx, rc);
	rc = db_run(s->db, insert,
		    DB_ARGS(DB_T(n->key), DB_I(n->kind), DB_I(n->parent), DB_I(info.created_s),
			    DB_T(proc_boot_id())),
		    err);
	if (rc < 0)
		return leave(&tx, explain_key(s, n->key, rc, err));
	fault_point("snap.prepare.row");
	info.id = db_last_id(s->db);
	snprintf(info.key, sizeof(info.key), "%s", n->key ? n->key : SNAP_NAME(info.id, NULL));
	rc = fill_dirs(s, &info, err);
	snap_record(s, &info);
	fault_point("snap.prepare.directories");
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc; /* the directory is garbage: the next of that id, or the sweeper, takes
			      it away */
	*ret = info;
	return 0;
}

/* A flock that nobody holds, for as long as the returned fd is open. */
static int lock_quiet(struct snap *s, int64_t id, struct err *err)
{
	auto_fd int fd =
		openat(s->snap_fd, SNAP_NAME(id, NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open snap/%" PRId64, id);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? err_set(err, EBUSY, "snapshot %" PRId64 " is still mounted", id)
			       : err_sys(err, "lock snap/%" PRId64, id);
	return fd_take(&fd);
}

/* Before the row: one that is called committed too early is an unused layer. */
static int record_commit(struct snap *s, int64_t id, unsigned flags, struct err *err)
{
	struct snap_info info;
	int rc = snap_stat(s, id, &info, err);

	if (rc < 0 || info.kind != SNAP_ACTIVE)
		return rc < 0 ? rc : 0;
	info.kind = SNAP_COMMITTED;
	info.flags = flags;
	snap_record(s, &info);
	return 0;
}

int snap_commit(struct snap *s, int64_t id, const char *name, unsigned flags, struct err *err)
{
	/* The boot id says since when the content may be lost with the machine. */
	static const char update[] =
		"UPDATE snapshots SET kind=3,key=coalesce(?2,key),flags=?3,boot=?4,"
		"durable=0 WHERE id=?1 AND kind=2";
	auto_fd int lock = -1;
	struct snap_info info;
	int rc;

	if (name && (!*name || strlen(name) >= sizeof(info.key)))
		return err_set(err, EINVAL, "snapshot name of %zu bytes", strlen(name));
	lock = lock_quiet(s, id, err);
	if (lock == -ENOENT)
		return err_set(err, ENOENT, "no snapshot %" PRId64, id);
	if (lock < 0)
		return lock;
	rc = snap_settle_commit(s, id, err);
	if (rc < 0)
		return rc;
	rc = record_commit(s, id, flags, err);
	if (rc < 0)
		return rc;
	fault_point("snap.commit.settled");
	rc = db_run(s->db, update, DB_ARGS(DB_I(id), DB_T(name), DB_I(flags), DB_T(proc_boot_id())),
		    err);
	fault_point("snap.commit.row");
	if (rc < 0)
		return explain_key(s, name, rc, err);
	if (rc > 0)
		return 0;
	rc = snap_stat(s, id, &info, err);
	return rc < 0 ? rc : err_set(err, EINVAL, "snapshot '%s' is not active", info.key);
}

int snap_rebase(struct snap *s, int64_t id, int64_t parent, bool with_root, struct err *err)
{
	const struct snap_new n = { .kind = SNAP_ACTIVE, .parent = parent };
	auto_db_tx struct db *tx = NULL;
	struct snap_info info;
	int rc;

	rc = db_tx_begin(s->db, DB_LAZY, &tx, err);
	if (rc < 0)
		return rc;
	rc = check_new(s, &n, err);
	if (rc >= 0 && with_root)
		rc = copy_root_attrs(s, parent, id, err);
	if (rc >= 0)
		rc = db_run(
			s->db,
			"UPDATE snapshots SET parent=?2 WHERE id=?1 AND kind=2 AND parent IS NULL",
			DB_ARGS(DB_I(id), DB_I(parent)), err);
	if (rc == 0)
		rc = err_set(err, EINVAL, "snapshot %" PRId64 " is not active and without parent",
			     id);
	if (rc >= 0)
		rc = snap_stat(s, id, &info, err);
	if (rc < 0)
		return rc;
	snap_record(s, &info);
	return db_tx_commit(&tx, err);
}

int snap_rename(struct snap *s, int64_t id, const char *key, struct err *err)
{
	int rc;

	if (!*key || strlen(key) >= sizeof(((struct snap_info *)0)->key))
		return err_set(err, EINVAL, "snapshot key of %zu bytes", strlen(key));
	rc = db_run(s->db, "UPDATE snapshots SET key=?2 WHERE id=?1", DB_ARGS(DB_I(id), DB_T(key)),
		    err);
	if (rc < 0)
		return explain_key(s, key, rc, err);
	return rc ? 0 : err_set(err, ENOENT, "no snapshot %" PRId64, id);
}

int snap_exchange(struct snap *s, int64_t a, int64_t b, struct err *err)
{
	auto_fd int lock_a = lock_quiet(s, a, err), lock_b = -1;

	if (lock_a < 0)
		return fd_take(&lock_a);
	lock_b = lock_quiet(s, b, err);
	if (lock_b < 0)
		return fd_take(&lock_b);
	if (renameat2(lock_a, "fs", lock_b, "fs", RENAME_EXCHANGE) < 0)
		return err_sys(err, "exchange snapshots %" PRId64 " and %" PRId64, a, b);
	return 0;
}
