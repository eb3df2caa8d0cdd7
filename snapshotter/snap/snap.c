/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/snap.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "driver.h"

#define COLUMNS "id,coalesce(parent,0),kind,flags,created,durable,key"

/* What the host's directory lets inherit is no attribute of a layer. */
static int drop_default_acl(int store_fd, struct err *err)
{
	auto_fd int fd = openat(store_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open snap");
	if (fremovexattr(fd, "system.posix_acl_default") < 0 && errno != ENODATA &&
	    errno != EOPNOTSUPP)
		return err_sys(err, "default ACL of snap");
	return 0;
}

/* "snap" last: as long as it is missing, the next one to open makes all of them. */
static int make_store_dirs(int store_fd, struct err *err)
{
	int rc = fs_mkdir(store_fd, "trash", 0700, err);

	if (rc >= 0)
		rc = fs_mkdir(store_fd, "empty", 0755, err);
	if (rc >= 0)
		rc = fs_mkdir(store_fd, "snap", 0700, err);
	return rc < 0 ? rc : drop_default_acl(store_fd, err);
}

int snap_open(struct db *db, int store_fd, struct snap **ret, struct err *err)
{
	int fd = openat(store_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct snap *s;

	if (fd < 0 && errno == ENOENT) {
		rc = make_store_dirs(store_fd, err);
		if (rc < 0)
			return rc;
		fd = openat(store_fd, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(err, "open snap");
	s = mem_alloc(sizeof(*s));
	s->db = db;
	s->store_fd = store_fd;
	s->snap_fd = fd;
	s->busy_wait_ms = SNAP_BUSY_WAIT_MS;
	*ret = s;
	return 0;
}

void snap_close(struct snap *s)
{
	if (!s)
		return;
	fd_close(&s->snap_fd);
	free(s);
}

const char *snap_name(char buf[SNAP_NAME_MAX], int64_t id, const char *sub)
{
	snprintf(buf, SNAP_NAME_MAX, "%" PRId64 "%s%s", id, sub ? "/" : "", sub ? sub : "");
	return buf;
}

static void read_row(struct db_stmt *st, struct snap_info *ret)
{
	const char *key = db_col_str(st, 6);

	*ret = (struct snap_info){
		.id = db_col_int(st, 0),
		.parent = db_col_int(st, 1),
		.kind = (enum snap_kind)db_col_int(st, 2),
		.flags = (unsigned)db_col_int(st, 3),
		.created_s = db_col_int(st, 4),
		.durable = db_col_int(st, 5) != 0,
	};
	snprintf(ret->key, sizeof(ret->key), "%s", key ? key : "");
}

int snap_stat(struct snap *s, int64_t id, struct snap_info *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(s->db, "SELECT " COLUMNS " FROM snapshots WHERE id=?1", DB_ARGS(DB_I(id)),
		      &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no snapshot %" PRId64, id);
	read_row(st, ret);
	return 0;
}

int snap_find(struct snap *s, const char *key, struct snap_info *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(s->db, "SELECT " COLUMNS " FROM snapshots WHERE key=?1", DB_ARGS(DB_T(key)),
		      &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no snapshot '%s'", key);
	read_row(st, ret);
	return 0;
}

/* All rows first, then the calls: fn may change the table. */
int snap_walk(struct snap *s, snap_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_free struct snap_info *v = NULL;
	size_t n = 0, cap = 0;
	int rc;

	rc = db_query(s->db, "SELECT " COLUMNS " FROM snapshots ORDER BY id", NULL, &st, err);
	if (rc < 0)
		return rc;
	while ((rc = db_step(st, err)) > 0) {
		mem_room(v, n, cap);
		read_row(st, &v[n++]);
	}
	db_stmt_cleanup(&st);
	st = NULL;
	for (size_t i = 0; rc >= 0 && i < n; i++)
		rc = fn(&v[i], arg, err);
	return rc < 0 ? rc : 0;
}

void snap_chain_free(struct snap_chain *c)
{
	free(c->ids);
	free(c->layer_flags);
	*c = (struct snap_chain){ 0 };
}

/* The rows come in order of depth: the queue of a recursive query is first in, first out. */
int snap_chain_load(struct snap *s, int64_t id, struct snap_chain *ret, struct err *err)
{
	static const char sql[] =
		"WITH RECURSIVE c(id,parent,kind,flags,boot) AS ("
		" SELECT id,parent,kind,flags,boot FROM snapshots WHERE id=?1"
		" UNION ALL SELECT s.id,s.parent,s.kind,s.flags,s.boot FROM snapshots s JOIN c ON s.id=c.parent"
		" LIMIT ?2) SELECT id,kind,flags,boot FROM c";
	auto_snap_chain struct snap_chain c = { 0 };
	auto_db_stmt struct db_stmt *st = NULL;
	size_t cap = 0, flags_cap = 0;
	int rc;

	/* One more, so that too many are seen. */
	rc = db_query(s->db, sql, DB_ARGS(DB_I(id), DB_I(SNAP_CHAIN_MAX + 1)), &st, err);
	if (rc < 0)
		return rc;
	while ((rc = db_step(st, err)) > 0) {
		mem_room(c.ids, c.n, cap);
		mem_room(c.layer_flags, c.n, flags_cap);
		if (c.n == 0) {
			c.kind = (enum snap_kind)db_col_int(st, 1);
			c.this_boot = str_eq(db_col_str(st, 3), proc_boot_id());
		}
		c.layer_flags[c.n] = (unsigned)db_col_int(st, 2);
		c.flags |= c.layer_flags[c.n];
		c.ids[c.n++] = db_col_int(st, 0);
	}
	if (rc < 0)
		return rc;
	if (c.n == 0)
		return err_set(err, ENOENT, "no snapshot %" PRId64, id);
	if (c.n > SNAP_CHAIN_MAX)
		return err_set(err, ELOOP, "snapshot %" PRId64 " has more than %d layers", id,
			       SNAP_CHAIN_MAX);
	*ret = c;
	ret->ids = take(c.ids);
	ret->layer_flags = take(c.layer_flags);
	return 0;
}

int snap_chain(struct snap *s, int64_t id, int64_t **ret_ids, size_t *ret_n, struct err *err)
{
	auto_snap_chain struct snap_chain c = { 0 };
	int rc = snap_chain_load(s, id, &c, err);

	if (rc < 0)
		return rc;
	*ret_ids = take(c.ids);
	*ret_n = c.n;
	return 0;
}

int snap_usage(struct snap *s, int64_t id, uint64_t *ret_disk_bytes, uint64_t *ret_inodes,
	       struct err *err)
{
	int rc = snap_settle(s, id, err);

	if (rc >= 0)
		rc = fs_usage(s->snap_fd, SNAP_NAME(id, "fs"), ret_disk_bytes, ret_inodes, err);
	return rc < 0 ? err_ctx(err, "snapshot %" PRId64, id) : 0;
}

static int open_path(struct snap *s, int64_t id, const char *sub, int *ret, struct err *err)
{
	int fd = openat(s->snap_fd, SNAP_NAME(id, sub),
			O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open snap/%s", SNAP_NAME(id, sub));
	*ret = fd;
	return 0;
}

int snap_dir_fd(struct snap *s, int64_t id, int *ret_dir_fd, struct err *err)
{
	return open_path(s, id, NULL, ret_dir_fd, err);
}

int snap_fs_fd(struct snap *s, int64_t id, int *ret_fs_fd, struct err *err)
{
	int rc = snap_settle(s, id, err);

	return rc < 0 ? rc : open_path(s, id, "fs", ret_fs_fd, err);
}

char *snap_root(struct snap *s)
{
	char link[FD_PATH_MAX], root[PATH_MAX];
	ssize_t n = readlink(fd_path(s->snap_fd, link), root, sizeof(root) - 1);

	root[n < 0 ? 0 : n] = 0;
	return mem_str(root);
}

char *snap_path(struct snap *s, int64_t id)
{
	auto_free char *root = snap_root(s);

	return mem_fmt("%s/%s", root, SNAP_NAME(id, "fs"));
}
