/* SPDX-License-Identifier: Apache-2.0 */
/* How a container goes: rows in one transaction, files into trash/, and the disk is freed after the
 * prompt. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum {
	IOPRIO_WHO_PROCESS = 1,
	IOPRIO_IDLE = 3 << 13,
	NAME_BYTES = 128,
	LOG_LONG_BYTES = 512 << 10
};

/* What the child that frees the disk has its fds at. */
enum { ROOT_FD = 3, SNAP_FD, FIRST_OTHER_FD, APART_FD = 100 };

/* One removed directory: its fd stays right when the name changes. */
struct removed {
	int snap_fd;          /* -1: none */
	char dir[NAME_BYTES]; /* of containers/, now in trash/; "" */
};

static void remove_snap_dir(int root_fd, int fd)
{
	struct err ignored = { 0 };
	char link[FD_PATH_MAX], path[4096], name[NAME_BYTES];
	ssize_t n;

	fs_remove_tree(fd, "fs", &ignored);
	fs_remove_tree(fd, "work", &ignored);
	n = readlink(fd_path(fd, link), path, sizeof(path) - 1);
	if (n <= 0)
		return;
	path[n] = 0;
	if (!strrchr(path, '/') || !strstr(path, "/trash/"))
		return;
	snprintf(name, sizeof(name), "trash%s", strrchr(path, '/'));
	fs_remove_tree(root_fd, name, &ignored);
}

static void free_disk(int root_fd, const struct removed *r)
{
	struct err ignored = { 0 };

	if (r->snap_fd >= 0)
		remove_snap_dir(root_fd, r->snap_fd);
	if (r->dir[0])
		fs_remove_tree(root_fd, r->dir, &ignored);
}

/* Only the store's root and the layer stay open: no terminal, no pipe that a $(...) waits for, no
 * lock, no database. */
static void free_disk_alone(int root_fd, const struct removed *r)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int root = fcntl(root_fd, F_DUPFD_CLOEXEC, APART_FD);
	int snap = r->snap_fd < 0 ? -1 : fcntl(r->snap_fd, F_DUPFD_CLOEXEC, APART_FD);
	struct removed mine = *r;

	for (int i = 0; i < ROOT_FD; i++)
		dup2(null, i);
	dup3(root, ROOT_FD, O_CLOEXEC);
	mine.snap_fd = snap < 0 ? -1 : dup3(snap, SNAP_FD, O_CLOEXEC);
	sys_close_range(FIRST_OTHER_FD, ~0u, 0);
	free_disk(ROOT_FD, &mine);
}

/*
 * Every command that finds no other one at the database reads its whole write-ahead log first:
 * 2.4 ms for 4 MiB, which is as far as SQLite lets it grow. To shorten it costs two fsyncs, so that
 * is done here, by a fresh process: no database handle crosses a fork.
 */
static bool is_log_long(int root_fd)
{
	struct stat st;

	return fstatat(root_fd, "db.sqlite-wal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_size > LOG_LONG_BYTES;
}

int container_tidy(struct runtime *rt, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	if (!is_log_long(rt->root_fd))
		return 0;
	rc = db_query(rt->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, &st, err);
	return rc < 0 ? rc : db_step(st, err);
}

/* After the prompt, by a child in a session of its own. If it is not made or killed, the sweeper
 * does it. */
static void free_disk_detached(const struct runtime *rt, const struct removed *r)
{
	char name[] = "shale", command[] = "tidy";

	if (fork() != 0)
		return;
	setsid();
	signal(SIGHUP, SIG_IGN);
	sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	setenv("SHALE_ROOT", rt->root, 1);
	free_disk_alone(rt->root_fd, r);
	if (is_log_long(ROOT_FD))
		execv("/proc/self/exe", (char *[]){ name, command, NULL });
	_exit(0);
}

static void move_dir(struct container *c, struct removed *r)
{
	auto_free char *from = mem_fmt("containers/%s", c->id);

	snprintf(r->dir, sizeof(r->dir), "trash/container-%s", c->id);
	if (renameat(c->rt->root_fd, from, c->rt->root_fd, r->dir) < 0)
		r->dir[0] = 0;
}

static int delete_rows(struct container *c, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = db_tx_begin(c->rt->db, c->auto_remove ? DB_LAZY : DB_FULL, &tx, err);
	if (rc < 0)
		return rc;
	/* One that someone has started since is not ours to delete. */
	rc = db_run(
		c->rt->db,
		"DELETE FROM containers WHERE id=?1 AND (state<>2 OR (monitor=?2 AND monitor_start=?3))",
		DB_ARGS(DB_T(c->id), DB_I(c->keeper), DB_I(c->keeper_start)), err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, EBUSY, "container %s was started or removed meanwhile",
			       c->name);
	rc = c->snapshot ? snap_forget(c->rt->snap, c->snapshot, err) : 0;
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int container_delete(struct container *c, struct err *err)
{
	struct removed r = { .snap_fd = -1 };
	struct err ignored = { 0 };
	int rc;

	if (c->snapshot)
		snap_dir_fd(c->rt->snap, c->snapshot, &r.snap_fd, &ignored);
	rc = delete_rows(c, err);
	if (rc >= 0) {
		if (c->snapshot)
			snap_discard(c->rt->snap, c->snapshot, &ignored);
		move_dir(c, &r);
		free_disk_detached(c->rt, &r);
	}
	fd_close(&r.snap_fd);
	return rc;
}

int container_remove(struct container *c, bool force, struct err *err)
{
	int rc;

	if (c->state == CONTAINER_RUNNING) {
		if (!force)
			return err_set(
				err, EBUSY,
				"container %s is running: stop it before removal or use force (-f)",
				c->name);
		rc = container_pid_wait(c, err);
		if (rc >= 0)
			rc = container_kill_wait(c, err);
		if (rc < 0)
			return rc;
		if (c->state == CONTAINER_REMOVING) /* --rm: it is gone with its end */
			return 0;
	}
	return container_delete(c, err);
}

struct prune {
	struct strv *ids;
	uint64_t bytes;
};

static int prune_one(struct container *c, void *arg, struct err *err)
{
	struct prune *p = arg;
	uint64_t bytes = 0;
	int rc;

	if (c->state != CONTAINER_CREATED && c->state != CONTAINER_EXITED)
		return 0;
	rc = container_usage(c, &bytes, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	err_clear(err);
	rc = container_delete(c, err);
	if (rc == -EBUSY) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	strv_add(p->ids, c->id);
	p->bytes += bytes;
	return 0;
}

int container_prune(struct runtime *rt, struct strv *ret_ids, uint64_t *ret_bytes, struct err *err)
{
	struct prune p = { .ids = ret_ids };
	int rc = container_walk(rt, prune_one, &p, err);

	if (rc < 0)
		return rc;
	*ret_bytes = p.bytes;
	return 0;
}
