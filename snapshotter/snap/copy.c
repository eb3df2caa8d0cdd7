/* SPDX-License-Identifier: Apache-2.0 */
/* The copy driver: an active snapshot as a full copy of its parent, a layer as what differs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "tree.h"

/* copy.dirs: "<inode> <path>\0" of each directory; its mtime is when the copy was made. copy.done:
 * fs/ says what the copy says. */
enum { DIRS_BYTES_MAX = 256 << 20 };

bool snap_has_copy(struct snap *s, int64_t id)
{
	return faccessat(s->snap_fd, SNAP_NAME(id, "copy"), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- what the copy was made of --- */

static int list_dirs(int tree_fd, struct str *ret, struct err *err)
{
	auto_strv struct strv todo = { 0 };
	int rc = 0;

	strv_add(&todo, "");
	while (rc >= 0 && todo.n) {
		auto_free char *path = todo.v[--todo.n];
		auto_strv struct strv names = { 0 };
		auto_fd int fd = -1;
		struct stat st;

		todo.v[todo.n] = NULL;
		fd = snap_open_sub(tree_fd, path, err);
		if (fd < 0)
			return fd_take(&fd);
		rc = fs_list(fd, ".", &names, err);
		if (fstat(fd, &st) < 0)
			return err_sys(err, "stat %s", path);
		str_addf(ret, "%" PRIu64 " %s", (uint64_t)st.st_ino, path);
		str_addc(ret, 0);
		for (size_t i = 0; i < names.n; i++)
			if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    S_ISDIR(st.st_mode))
				strv_add_take(&todo, snap_join(path, names.v[i]));
	}
	return rc;
}

/* A time after which every change gets a later ctime than anything has now: the clock of ctimes
 * ticks every few milliseconds. */
static int stamp(int fd, struct err *err)
{
	struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	struct stat first, st;

	if (fstat(fd, &first) < 0)
		return err_sys(err, "stat copy.dirs");
	do {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (futimens(fd, now) < 0 || fstat(fd, &st) < 0)
			return err_sys(err, "time of copy.dirs");
	} while (st.st_mtim.tv_sec == first.st_ctim.tv_sec &&
		 st.st_mtim.tv_nsec <= first.st_ctim.tv_nsec);
	return 0;
}

static int note_dirs(int dir_fd, int tree_fd, struct err *err)
{
	auto_str struct str text = { 0 };
	auto_fd int fd = -1;
	int rc = list_dirs(tree_fd, &text, err);

	if (rc < 0)
		return rc;
	fd = openat(dir_fd, "copy.dirs", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(err, "create copy.dirs");
	rc = fd_write_all(fd, text.s, text.len, err);
	return rc < 0 ? rc : stamp(fd, err);
}

static int read_dirs(int fd, struct snap_inodes *ret, struct timespec *ret_made, struct err *err)
{
	auto_free char *text = NULL;
	struct stat st;
	size_t len;
	int rc = fd_read_all(fd, DIRS_BYTES_MAX, &text, &len, err);

	if (rc < 0 || fstat(fd, &st) < 0)
		return rc < 0 ? rc : err_sys(err, "stat copy.dirs");
	for (const char *at = text; at < text + len; at += strlen(at) + 1) {
		char *path;
		uint64_t ino = strtoull(at, &path, 10);

		if (*path == ' ')
			snap_inodes_add(ret, ino, path + 1);
	}
	*ret_made = st.st_mtim;
	return 0;
}

/* --- making it --- */

static int merge_from(int from_dir, const char *name, struct snap_merge *m, struct err *err)
{
	auto_fd int layer = snap_open_dir(from_dir, name, err);
	int rc;

	if (layer < 0)
		return fd_take(&layer);
	m->layer_fd = layer;
	rc = snap_merge(m, err);
	return rc < 0 ? err_ctx(err, "copy %s", name) : 0;
}

/* The parent; then, for one that another driver has written to, its own changes, which are later
 * than the stamp. */
static int fill(struct snap *s, const char *parent, int dir_fd, int tree_fd, int hold_fd,
		struct err *err)
{
	struct snap_merge m = { .tree_fd = tree_fd, .scratch_fd = hold_fd, .copy = true };
	int rc = merge_from(s->snap_fd, parent, &m, err);

	if (rc >= 0)
		rc = note_dirs(dir_fd, tree_fd, err);
	if (rc < 0)
		return rc;
	m.flags = SNAP_NEEDS_METACOPY | SNAP_NEEDS_REDIRECT;
	return merge_from(dir_fd, "fs", &m, err);
}

static int make_copy(struct snap *s, const struct snap_chain *c, int dir_fd, bool is_volatile,
		     struct err *err)
{
	auto_fd int tree = -1, hold = -1;
	char parent[SNAP_NAME_MAX];
	int rc = snap_tree(s, c, 1, parent, err);

	if (rc < 0)
		return rc;
	tree = snap_make_new(dir_fd, "new.copy", err);
	if (tree < 0)
		return fd_take(&tree);
	hold = snap_make_new(dir_fd, "new.hold", err);
	if (hold < 0)
		return fd_take(&hold);
	rc = fill(s, parent, dir_fd, tree, hold, err);
	if (rc < 0)
		return rc;
	/* What the container syncs later is worth nothing if the rest is lost. */
	if (!is_volatile && syncfs(tree) < 0)
		return err_sys(err, "sync the copy");
	unlinkat(dir_fd, "new.hold", AT_REMOVEDIR);
	if (renameat(dir_fd, "new.copy", dir_fd, "copy") < 0)
		return err_sys(err, "publish the copy");
	return 0;
}

int snap_copy_open(struct snap *s, const struct snap_chain *c, int dir_fd, bool is_volatile,
		   struct err *err)
{
	int rc;

	if (unlinkat(dir_fd, "copy.done", 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove copy.done");
	if (snap_has_copy(s, c->ids[0]))
		return 0;
	rc = make_copy(s, c, dir_fd, is_volatile, err);
	return rc < 0 ? err_ctx(err, "copy the parent of snapshot %" PRId64, c->ids[0]) : 0;
}

/* --- back to a layer --- */

static int differ(struct snap *s, int64_t id, int dir_fd, int dirs_fd, struct err *err)
{
	cleanup(snap_inodes_free) struct snap_inodes dirs = { 0 };
	struct snap_difference d = { .dirs = &dirs };
	auto_snap_chain struct snap_chain c = { 0 };
	auto_fd int tree = -1, below = -1, to = -1;
	char parent[SNAP_NAME_MAX];
	int rc = read_dirs(dirs_fd, &dirs, &d.made, err);

	if (rc >= 0)
		rc = snap_chain_load(s, id, &c, err);
	if (rc >= 0)
		rc = snap_tree(s, &c, 1, parent, err);
	if (rc < 0)
		return rc;
	d.tree_fd = tree = snap_open_dir(dir_fd, "copy", err);
	if (tree < 0)
		return fd_take(&tree);
	d.parent_fd = below = snap_open_dir(s->snap_fd, parent, err);
	if (below < 0)
		return fd_take(&below);
	d.to_fd = to = snap_make_new(dir_fd, "new.fs", err);
	return to < 0 ? fd_take(&to) : snap_difference(&d, err);
}

/* The old one is taken away under another name: a harvest that is killed leaves one or the other.
 */
static int exchange(int dir_fd, bool is_quiet, struct err *err)
{
	int rc;

	if (renameat2(dir_fd, "new.fs", dir_fd, "fs", RENAME_EXCHANGE) < 0)
		return err_sys(err, "exchange fs");
	rc = fs_remove_tree(dir_fd, "new.fs", err);
	return rc < 0 || !is_quiet ? rc : fd_write_file(dir_fd, "copy.done", "", 0, 0600, err);
}

int snap_copy_harvest(struct snap *s, int64_t id, bool is_quiet, struct err *err)
{
	auto_fd int dir = snap_open_dir(s->snap_fd, SNAP_NAME(id, NULL), err), dirs = -1;
	int rc;

	if (dir < 0)
		return fd_take(&dir);
	if (faccessat(dir, "copy.done", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	dirs = openat(dir, "copy.dirs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (dirs < 0)
		return err_sys(err, "open copy.dirs");
	/* Two that look at one running container. */
	while (flock(dirs, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock copy.dirs");
	rc = differ(s, id, dir, dirs, err);
	if (rc >= 0)
		rc = exchange(dir, is_quiet, err);
	return rc < 0 ? err_ctx(err, "what changed in snapshot %" PRId64, id) : 0;
}

static int set_time(int fs_fd, int tree_fd, const char *path, struct strv *todo, struct err *err)
{
	auto_fd int from = snap_open_sub(fs_fd, path, err), to = -1;
	auto_strv struct strv names = { 0 };
	struct stat st, sub;
	int rc;

	if (from < 0)
		return fd_take(&from);
	to = snap_open_sub(tree_fd, path, err);
	if (to < 0)
		return fd_take(&to);
	if (fstat(from, &st) < 0 ||
	    futimens(to, (struct timespec[]){ { .tv_nsec = UTIME_OMIT }, st.st_mtim }) < 0)
		return err_sys(err, "time of %s", path);
	rc = fs_list(from, ".", &names, err);
	for (size_t i = 0; i < names.n; i++)
		if (fstatat(from, names.v[i], &sub, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(sub.st_mode))
			strv_add_take(todo, snap_join(path, names.v[i]));
	return rc;
}

/* Files are the layer's own; directories got their final times only there, when it was frozen. */
static int set_times(int dir_fd, struct err *err)
{
	auto_fd int fs = snap_open_dir(dir_fd, "fs", err), tree = -1;
	auto_strv struct strv todo = { 0 };
	int rc = 0;

	if (fs < 0)
		return fd_take(&fs);
	tree = snap_open_dir(dir_fd, "copy", err);
	if (tree < 0)
		return fd_take(&tree);
	strv_add(&todo, "");
	while (rc >= 0 && todo.n) {
		auto_free char *path = todo.v[--todo.n];

		todo.v[todo.n] = NULL;
		rc = set_time(fs, tree, path, &todo, err);
	}
	return rc;
}

int snap_copy_finish(struct snap *s, int64_t id, bool is_committed, struct err *err)
{
	auto_fd int dir = snap_open_dir(s->snap_fd, SNAP_NAME(id, NULL), err);
	char tree[SNAP_NAME_MAX];
	int rc;

	if (dir < 0)
		return fd_take(&dir);
	snprintf(tree, sizeof(tree), "tree.%.8s", proc_boot_id());
	rc = is_committed ? set_times(dir, err) : fs_remove_tree(dir, "copy", err);
	if (rc < 0)
		return rc;
	if (is_committed && renameat(dir, "copy", dir, tree) < 0)
		return err_sys(err, "rename the copy");
	unlinkat(dir, "copy.dirs", 0);
	unlinkat(dir, "copy.done", 0);
	return rc;
}
