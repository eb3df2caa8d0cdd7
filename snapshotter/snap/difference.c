/* SPDX-License-Identifier: Apache-2.0 */
/* What one plain tree has that another has not, as a layer: files linked, names that are gone as
 * whiteouts. Too much does no harm, since the differ compares what it finds with the parent. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/str.h>

#include "tree.h"

struct todo {
	char *path;
	bool is_over;  /* the parent has a directory there */
	bool is_first; /* it and all above are the directories that the tree was made with */
};

struct unchanged {
	uint64_t ino;
	char *path;
};

struct difference {
	const struct snap_difference *d;
	struct todo *todo;
	size_t n_todo, cap_todo;
	struct strv made; /* directories of the layer: times come last */
	/* Another name of a new file is new too, else the link between the two would be lost. */
	struct snap_inodes linked;
	struct unchanged *same;
	size_t n_same, cap_same;
	struct todo at; /* the directory at hand */
	int tree_fd, parent_fd;
};

static void difference_free(struct difference *f)
{
	for (size_t i = 0; i < f->n_todo; i++)
		free(f->todo[i].path);
	for (size_t i = 0; i < f->n_same; i++)
		free(f->same[i].path);
	free(f->todo);
	free(f->same);
	strv_free(&f->made);
	snap_inodes_free(&f->linked);
}

/* The directory of the layer, made with all on the way; attributes as in the tree. */
static int enter(struct difference *f, const char *path, struct err *err)
{
	auto_fd int parent = -1, fd = -1, from = -1;
	auto_free char *up = mem_str(path);
	char *slash = strrchr(up, '/');
	struct err missing = { 0 };
	struct stat st;
	int rc;

	fd = snap_open_sub(f->d->to_fd, path, &missing);
	if (fd >= 0 || missing.code != ENOENT) {
		if (fd < 0)
			*err = missing;
		return fd_take(&fd);
	}
	if (slash)
		*slash = 0;
	parent = enter(f, slash ? up : "", err);
	if (parent < 0)
		return fd_take(&parent);
	if (mkdirat(parent, path_base(path), 0700) < 0)
		return err_sys(err, "make directory %s", path);
	fd = snap_open_sub(f->d->to_fd, path, err);
	if (fd < 0)
		return fd_take(&fd);
	from = snap_open_sub(f->d->tree_fd, path, err);
	if (from < 0 || fstat(from, &st) < 0)
		return from < 0 ? fd_take(&from) : err_sys(err, "stat %s", path);
	strv_add(&f->made, path);
	rc = snap_copy_attrs(from, fd, &st, err);
	return rc < 0 ? rc : fd_take(&fd);
}

static int put_whiteout(struct difference *f, const char *name, struct err *err)
{
	auto_fd int fd = enter(f, f->at.path, err);

	if (fd < 0)
		return fd_take(&fd);
	if (mknodat(fd, name, S_IFCHR, makedev(0, 0)) < 0)
		return err_sys(err, "hide %s", name);
	return 0;
}

static int link_file(struct difference *f, int from_fd, const char *name, int to_fd,
		     struct err *err)
{
	(void)f;
	if (linkat(from_fd, name, to_fd, name, 0) == 0 ||
	    errno == ENOENT) /* it may just have gone */
		return 0;
	return snap_copy_entry(from_fd, name, to_fd, -1, err);
}

static int put_file(struct difference *f, const char *name, const struct stat *st, struct err *err)
{
	auto_fd int fd = enter(f, f->at.path, err);

	if (fd < 0)
		return fd_take(&fd);
	if (st->st_nlink > 1)
		snap_inodes_add(&f->linked, st->st_ino, name);
	return link_file(f, f->tree_fd, name, fd, err);
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static bool is_same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
	       a->st_size == b->st_size && a->st_rdev == b->st_rdev &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool is_unchanged(const struct difference *f, const struct stat *st,
			 const struct stat *parent)
{
	if (st->st_ino == parent->st_ino && st->st_dev == parent->st_dev)
		return true;
	return f->d->dirs && f->at.is_first && is_before(&st->st_ctim, &f->d->made) &&
	       is_same_stat(st, parent);
}

static void push(struct difference *f, const struct todo *t)
{
	mem_room(f->todo, f->n_todo, f->cap_todo);
	f->todo[f->n_todo++] = *t;
}

/* A directory that both trees have: is it to be told? Its ctime says that something happened to it,
 * which may have been no more than a new name in it; telling that does no harm. */
static int is_dir_changed(const struct difference *f, const char *name, const struct stat *st,
			  const struct stat *parent, struct err *err)
{
	auto_fd int ours = -1, theirs = -1;
	int rc;

	if (st->st_mode != parent->st_mode || st->st_uid != parent->st_uid ||
	    st->st_gid != parent->st_gid)
		return 1;
	if (f->d->dirs)
		return !is_before(&st->st_ctim, &f->d->made);
	ours = snap_open_dir(f->tree_fd, name, err);
	if (ours < 0)
		return fd_take(&ours);
	theirs = snap_open_dir(f->parent_fd, name, err);
	if (theirs < 0)
		return fd_take(&theirs);
	rc = snap_same_xattrs(ours, theirs, err);
	return rc < 0 ? rc : !rc;
}

static int put_dir(struct difference *f, const char *name, const struct stat *st,
		   const struct stat *parent, struct err *err)
{
	struct todo t = { .path = snap_join(f->at.path, name),
			  .is_over = parent && S_ISDIR(parent->st_mode) };
	int told = t.is_over ? is_dir_changed(f, name, st, parent, err) : 1;
	auto_fd int fd = -1;

	t.is_first = f->at.is_first && f->d->dirs &&
		     str_eq(snap_inodes_find(f->d->dirs, st->st_ino), t.path);
	push(f, &t);
	if (told <= 0)
		return told;
	fd = enter(f, t.path, err);
	return fd < 0 ? fd_take(&fd) : 0;
}

static int put(struct difference *f, const char *name, struct err *err)
{
	struct stat st, below;
	bool has_below =
		f->parent_fd >= 0 && fstatat(f->parent_fd, name, &below, AT_SYMLINK_NOFOLLOW) == 0;

	if (fstatat(f->tree_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat %s", name);
	/* overlayfs lets nobody make one; in a plain directory it would hide what it is not. */
	if (snap_is_whiteout(&st))
		return has_below ? put_whiteout(f, name, err) : 0;
	if (S_ISDIR(st.st_mode))
		return put_dir(f, name, &st, has_below ? &below : NULL, err);
	if (!has_below || !is_unchanged(f, &st, &below))
		return put_file(f, name, &st, err);
	if (st.st_nlink > 1 && f->d->dirs) {
		mem_room(f->same, f->n_same, f->cap_same);
		f->same[f->n_same++] = (struct unchanged){ st.st_ino, snap_join(f->at.path, name) };
	}
	return 0;
}

/* Both lists are sorted. */
static int hide_gone(struct difference *f, const struct strv *ours, const struct strv *theirs,
		     struct err *err)
{
	int rc = 0;

	for (size_t i = 0, k = 0; rc >= 0 && k < theirs->n; k++) {
		while (i < ours->n && strcmp(ours->v[i], theirs->v[k]) < 0)
			i++;
		if (i == ours->n || strcmp(ours->v[i], theirs->v[k]) != 0)
			rc = put_whiteout(f, theirs->v[k], err);
	}
	return rc;
}

static int one_dir(struct difference *f, struct err *err)
{
	auto_fd int tree = snap_open_sub(f->d->tree_fd, f->at.path, err), parent = -1;
	auto_strv struct strv ours = { 0 }, theirs = { 0 };
	int rc;

	if (tree < 0) /* of a running container: it may just have gone */
		return *f->at.path && tree == -ENOENT ? 0 : fd_take(&tree);
	if (f->at.is_over)
		parent = snap_open_sub(f->d->parent_fd, f->at.path, err);
	if (f->at.is_over && parent < 0)
		return fd_take(&parent);
	f->tree_fd = tree;
	f->parent_fd = parent;
	rc = fs_list(tree, ".", &ours, err);
	if (rc >= 0 && parent >= 0)
		rc = fs_list(parent, ".", &theirs, err);
	if (rc >= 0)
		rc = hide_gone(f, &ours, &theirs, err);
	for (size_t i = 0; rc >= 0 && i < ours.n; i++)
		rc = put(f, ours.v[i], err);
	return rc;
}

static int add_other_names(struct difference *f, struct err *err)
{
	for (size_t i = 0; i < f->n_same; i++) {
		auto_free char *dir = mem_str(f->same[i].path);
		auto_fd int from = -1, to = -1;
		char *slash = strrchr(dir, '/');
		int rc;

		if (!snap_inodes_find(&f->linked, f->same[i].ino))
			continue;
		if (slash)
			*slash = 0;
		from = snap_open_sub(f->d->tree_fd, slash ? dir : "", err);
		if (from < 0)
			return fd_take(&from);
		to = enter(f, slash ? dir : "", err);
		if (to < 0)
			return fd_take(&to);
		rc = link_file(f, from, path_base(f->same[i].path), to, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_attrs(struct difference *f, const char *path, struct err *err)
{
	auto_fd int from = snap_open_sub(f->d->tree_fd, path, err), to = -1;
	struct stat st;

	if (from < 0)
		return fd_take(&from);
	to = snap_open_sub(f->d->to_fd, path, err);
	if (to < 0)
		return fd_take(&to);
	if (fstat(from, &st) < 0)
		return err_sys(err, "stat %s", path);
	return snap_copy_attrs(from, to, &st, err);
}

int snap_difference(const struct snap_difference *d, struct err *err)
{
	cleanup(difference_free) struct difference f = { .d = d };
	int rc = 0;

	push(&f, &(struct todo){ mem_str(""), d->parent_fd >= 0, true });
	while (rc >= 0 && f.n_todo) {
		f.at = f.todo[--f.n_todo];
		rc = one_dir(&f, err);
		free(f.at.path);
	}
	if (rc >= 0)
		rc = add_other_names(&f, err);
	/* Whatever was put into them has changed their times. */
	for (size_t i = 0; rc >= 0 && i < f.made.n; i++)
		rc = set_attrs(&f, f.made.v[i], err);
	return rc < 0 ? rc : set_attrs(&f, "", err);
}
