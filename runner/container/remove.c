/* SPDX-License-Identifier: Apache-2.0 */
/* How a container goes: rows in one transaction, files into trash/, and the disk is freed after the
 * prompt. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13, NAME_BYTES = 128 };

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

/*
 * A child of its own session that holds nothing of ours but the store's root: no terminal, no pipe
 * that a $(…) waits for, no lock, no database. It frees what is in trash/; if it is killed, the
 * sweeper does.
 */
static void free_disk_detached(int root_fd, const struct removed *r)
{
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return; /* without a child the sweeper frees it */
	setsid();
	signal(SIGHUP, SIG_IGN);
	sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	/* The two fds it needs go to 3 and 4, and all the others are closed. */
	{
		struct removed mine = *r;
		int root = fcntl(root_fd, F_DUPFD_CLOEXEC, 100);
		int snap = r->snap_fd < 0 ? -1 : fcntl(r->snap_fd, F_DUPFD_CLOEXEC, 100);

		dup3(root, 3, O_CLOEXEC);
		mine.snap_fd = snap < 0 ? -1 : dup3(snap, 4, O_CLOEXEC);
		sys_close_range(5, ~0u, 0);
		free_disk(3, &mine);
	}
	_exit(0);
}

/* The directory of a container with nothing in it but what every start makes is not worth a
 * process. */
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
		free_disk_detached(c->rt->root_fd, &r);
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
