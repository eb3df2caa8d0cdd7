/* SPDX-License-Identifier: Apache-2.0 */
/* How a container goes: its rows in one transaction, then its files; many of them after the prompt.
 */
#include <shale/container.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { INLINE_ENTRIES = 64, INLINE_DEPTH = 8, NAME_BYTES = 128 };

static bool remove_few(int dir_fd, const char *name, int depth, int *left);

static bool remove_entries(int dir_fd, const char *name, int depth, int *left)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool all = d != NULL;

	if (!d) {
		fd_close(&fd);
		return false;
	}
	while (all && (e = readdir(d)))
		all = fs_is_dot(e->d_name) || remove_few(fd, e->d_name, depth + 1, left);
	closedir(d);
	return all;
}

/*
 * A tree of few entries, here and now: for what a short command leaves, that is ten times cheaper
 * than a process that does it later. False when there are more of them.
 */
static bool remove_few(int dir_fd, const char *name, int depth, int *left)
{
	if (depth > INLINE_DEPTH || --*left < 0)
		return false;
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return false;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		return true;
	return errno == ENOTEMPTY && remove_entries(dir_fd, name, depth, left) &&
	       unlinkat(dir_fd, name, AT_REMOVEDIR) == 0;
}

/* That of one that has written nothing: what snap and the kernel made for a volatile mount, without
 * looking for it. */
static bool remove_untouched(int root_fd, const char *snap)
{
	static const struct {
		const char *path;
		int flags;
	} made[] = { { "fs", AT_REMOVEDIR },
		     { "work/work/incompat/volatile/dirty", 0 },
		     { "work/work/incompat/volatile", AT_REMOVEDIR },
		     { "work/work/incompat", AT_REMOVEDIR },
		     { "work/work", AT_REMOVEDIR },
		     { "work", AT_REMOVEDIR } };
	auto_fd int fd = openat(root_fd, snap, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(made); i++)
		if (unlinkat(fd, made[i].path, made[i].flags) < 0)
			return false;
	return fd >= 0 && unlinkat(root_fd, snap, AT_REMOVEDIR) == 0;
}

/* After the prompt, by a fresh process: no database handle crosses a fork. Should it not start, a
 * later one does its work. */
void container_tidy_later(const struct runtime *rt)
{
	char name[] = "shale", command[] = "tidy", *argv[] = { name, command, NULL };
	struct err ignored = { 0 };

	setenv("SHALE_ROOT", rt->root, 1);
	proc_spawn_detached("/proc/self/exe", argv, (int[3]){ -1, -1, -1 }, -1, &ignored);
}

/*
 * The rows are gone, though maybe not yet on disk: that, and with it the files of a container that
 * was made to stay, is container_tidy's. One of run --rm is nothing that anybody keeps: what its
 * row would come back to is dropped (reconcile.c). Until all is deleted it is garbage.
 */
static void free_disk(const struct container *c)
{
	int root_fd = c->rt->root_fd, left = INLINE_ENTRIES;
	char snap[NAME_BYTES], dir[NAME_BYTES];
	bool all;

	if (!c->auto_remove) {
		container_tidy_later(c->rt);
		return;
	}
	snprintf(snap, sizeof(snap), "snap/%" PRId64, c->snapshot);
	snprintf(dir, sizeof(dir), "containers/%s", c->id);
	fault_point("container.remove.files");
	if (c->spec.storage.n)
		snap_unlimit(c->rt->snap, c->snapshot);
	all = remove_few(root_fd, dir, 0, &left);
	fault_point("container.remove.directory");
	if (c->snapshot && !remove_untouched(root_fd, snap))
		all &= remove_few(root_fd, snap, 0, &left);
	if (!all || c->drop_volumes || db_is_log_long(c->rt->db))
		container_tidy_later(c->rt);
}

/* The directories in containers/ that no row names. */
static int find_garbage(struct runtime *rt, struct strv *ret, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(rt->root_fd, "containers", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		int64_t one;

		if (strlen(names.v[i]) != CONTAINER_ID_LEN)
			continue;
		rc = db_get_int(rt->db, "SELECT 1 FROM containers WHERE id=?1",
				DB_ARGS(DB_T(names.v[i])), &one, err);
		if (rc == 0)
			strv_add(ret, names.v[i]);
	}
	return rc < 0 && rc != -ENOENT ? rc : 0;
}

/* Inside a write transaction, as the one that makes directory and row. Only what was garbage before
 * the sync. */
static int move_garbage(struct runtime *rt, const struct strv *synced, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = find_garbage(rt, &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		char from[NAME_BYTES], to[NAME_BYTES];

		if (!strv_has(synced, names.v[i]))
			continue;
		snprintf(from, sizeof(from), "containers/%s", names.v[i]);
		snprintf(to, sizeof(to), "trash/container-%s", names.v[i]);
		renameat(rt->root_fd, from, rt->root_fd, to);
		fault_point("container.tidy.renamed");
	}
	return rc;
}

static int shorten_log(struct runtime *rt, struct err *err)
{
	return db_is_log_long(rt->db) ? db_checkpoint(rt->db, err) : 0;
}

int container_tidy(struct runtime *rt, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc;

	sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	rc = find_garbage(rt, &names, err);
	if (rc >= 0 && names.n)
		rc = db_sync(rt->db, err);
	if (rc >= 0 && names.n)
		rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0 && names.n)
		rc = move_garbage(rt, &names, err);
	if (rc >= 0 && names.n)
		rc = db_tx_commit(&tx, err);
	/* What came into trash/ meanwhile belongs to those who left because we are here. */
	while (rc >= 0 && (rc = snap_sweep(rt->snap, err)) > 0)
		;
	return rc < 0 ? rc : shorten_log(rt, err);
}

/* One that someone has started since is not ours to delete. */
static const char delete_row[] =
	"DELETE FROM containers WHERE id=?1 AND (state<>2 OR (monitor=?2 AND monitor_start=?3))";

void container_delete_ready(struct container *c)
{
	db_ready(c->rt->db, delete_row);
	snap_forget_ready(c->rt->snap);
}

static int delete_rows(struct container *c, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc;

	/* Losing a removal to a power cut loses nothing; its files go after a sync. */
	rc = db_tx_begin(c->rt->db, DB_LAZY, &tx, err);
	if (rc < 0)
		return rc;
	rc = db_run(c->rt->db, delete_row,
		    DB_ARGS(DB_T(c->id), DB_I(c->keeper), DB_I(c->keeper_start)), err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, EBUSY, "container %s was started or removed meanwhile",
			       c->name);
	rc = c->snapshot ? snap_forget(c->rt->snap, c->snapshot, err) : 0;
	if (rc >= 0)
		rc = container_kept_forget(c, err);
	if (rc >= 0 && c->spec.mounts.n && (c->auto_remove || c->drop_volumes))
		rc = container_volumes_drop(c, err);
	if (rc > 0)
		c->drop_volumes = true;
	/* Who would mount it where the host sees it finds no row any more. */
	if (rc >= 0)
		container_unmount_all(c);
	fault_point("container.remove.rows");
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int container_delete(struct container *c, struct err *err)
{
	int rc = delete_rows(c, err);

	if (rc >= 0)
		free_disk(c);
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
		container_mark_stopped(c, true);
		if (container_is_restarting(c))
			rc = container_stop(c, NULL, 0, err);
		else
			rc = container_pid_wait(c, err);
		if (rc >= 0 && c->state == CONTAINER_RUNNING)
			rc = container_kill_wait(c, err);
		if (rc < 0)
			return rc;
		if (c->state == CONTAINER_REMOVING) /* --rm: it is gone with its end */
			return 0;
	}
	rc = container_delete(c, err);
	if (rc >= 0)
		container_event(c, "destroy", NULL, NULL);
	return rc;
}

struct prune {
	const struct container_prune_opts *o;
	container_prune_fn *fn;
	void *arg;
};

static int prune_one(struct container *c, void *arg, struct err *err)
{
	struct prune *p = arg;
	uint64_t bytes = 0;
	int rc;

	if (c->state != CONTAINER_CREATED && c->state != CONTAINER_EXITED)
		return 0;
	if (p->o->before_s && c->created_ns / 1000000000 >= p->o->before_s)
		return 0;
	rc = container_usage(c, &bytes, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	err_clear(err);
	rc = p->o->dry_run ? 0 : container_delete(c, err);
	if (rc >= 0 && !p->o->dry_run)
		container_event(c, "destroy", NULL, NULL);
	if (rc == -EBUSY) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	p->fn(c, bytes, p->arg);
	return 0;
}

int container_prune(struct runtime *rt, const struct container_prune_opts *o,
		    container_prune_fn *fn, void *arg, struct err *err)
{
	struct prune p = { o, fn, arg };

	return container_walk(rt, prune_one, &p, err);
}
