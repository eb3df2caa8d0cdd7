/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer over a plain tree, as overlayfs would show the two. One directory at a time: all entries
 * of one are made before it gets its times, so nothing recurses and no fd is held for what is
 * above.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

#include "tree.h"

struct merge {
	const struct snap_merge *m;
	struct strv todo; /* directories of the layer, the last one is next */
	struct snap_inodes inodes;
	const char *path; /* of the directory at hand */
	int from_fd, to_fd;
};

static void merge_free(struct merge *g)
{
	strv_free(&g->todo);
	snap_inodes_free(&g->inodes);
}

static bool is_opaque(int fd)
{
	char v[2];

	return fgetxattr(fd, "trusted.overlay.opaque", v, sizeof(v)) == 1 && v[0] == 'y';
}

static bool is_metacopy(int fd)
{
	return fgetxattr(fd, "trusted.overlay.metacopy", NULL, 0) >= 0;
}

static const char *held(char buf[32], char kind, ino_t ino)
{
	snprintf(buf, 32, "%c%" PRIu64, kind, (uint64_t)ino);
	return buf;
}

/* What a renamed directory had in the layers beneath comes to its new place. 1 when there was
 * something. */
static int bring(struct merge *g, const char *name, ino_t ino, struct err *err)
{
	char from[32];
	int rc;

	held(from, 'd', ino);
	if (!(g->m->flags & SNAP_NEEDS_REDIRECT) ||
	    faccessat(g->m->scratch_fd, from, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	rc = fs_remove_tree(g->to_fd, name, err);
	if (rc < 0)
		return rc;
	if (renameat(g->m->scratch_fd, from, g->to_fd, name) < 0)
		return err_sys(err, "rename to %s", name);
	return 1;
}

static int put_dir(struct merge *g, const char *name, const struct stat *st, struct err *err)
{
	auto_fd int fd = openat(g->from_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat there;
	int rc;

	if (fd < 0)
		return err_sys(err, "open %s", name);
	rc = bring(g, name, st->st_ino, err);
	if (rc == 0 && fstatat(g->to_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (!S_ISDIR(there.st_mode) || is_opaque(fd)))
		rc = fs_remove_tree(g->to_fd, name, err);
	if (rc < 0)
		return rc;
	if (mkdirat(g->to_fd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make directory %s", name);
	strv_add_take(&g->todo, snap_join(g->path, name));
	return 0;
}

/* Names of one inode stay one inode. 1 when a link was made. */
static int relink(struct merge *g, const char *name, const struct stat *st)
{
	auto_free char *path = NULL;
	const char *first;

	if (st->st_nlink < 2)
		return 0;
	first = snap_inodes_find(&g->inodes, st->st_ino);
	if (first)
		return linkat(g->m->tree_fd, first, g->to_fd, name, 0) == 0;
	path = snap_join(g->path, name);
	snap_inodes_add(&g->inodes, st->st_ino, path);
	return 0;
}

/* A file that has its data in a layer beneath: 1 when it was made. */
static int put_metacopy(struct merge *g, const char *name, const struct stat *st, struct err *err)
{
	auto_fd int fd = -1, data = -1;
	char from[32];
	int rc;

	if (!(g->m->flags & SNAP_NEEDS_METACOPY) || !S_ISREG(st->st_mode))
		return 0;
	fd = openat(g->from_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open %s", name);
	if (!is_metacopy(fd))
		return 0;
	rc = relink(g, name, st);
	if (rc)
		return rc;
	data = openat(g->m->scratch_fd, held(from, 'f', st->st_ino),
		      O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (data < 0)
		return err_set(err, EBADMSG, "%s has its data in a layer that does not have it",
			       name);
	rc = snap_copy_entry(g->from_fd, name, g->to_fd, data, err);
	return rc < 0 ? rc : 1;
}

static int put_file(struct merge *g, const char *name, const struct stat *st, struct err *err)
{
	int rc = fs_remove_tree(g->to_fd, name, err);

	if (rc >= 0)
		rc = put_metacopy(g, name, st, err);
	if (rc)
		return rc < 0 ? rc : 0;
	/* Linking ends at the file system's limit, and at files that were made immutable. */
	if (!g->m->copy && linkat(g->from_fd, name, g->to_fd, name, 0) == 0)
		return 0;
	if (relink(g, name, st))
		return 0;
	return snap_copy_entry(g->from_fd, name, g->to_fd, -1, err);
}

static int put(struct merge *g, const char *name, struct err *err)
{
	struct stat st;
	int rc;

	if (fstatat(g->from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (snap_is_whiteout(&st))
		rc = fs_remove_tree(g->to_fd, name, err);
	else
		rc = S_ISDIR(st.st_mode) ? put_dir(g, name, &st, err) : put_file(g, name, &st, err);
	return rc < 0 ? err_ctx(err, "%s/%s", g->path, name) : 0;
}

static int merge_dir(struct merge *g, struct err *err)
{
	auto_fd int from = snap_open_sub(g->m->layer_fd, g->path, err), to = -1;
	auto_strv struct strv names = { 0 };
	struct stat st;
	int rc;

	if (from < 0)
		return fd_take(&from);
	to = snap_open_sub(g->m->tree_fd, g->path, err);
	if (to < 0)
		return fd_take(&to);
	g->from_fd = from;
	g->to_fd = to;
	rc = fs_list(from, ".", &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		rc = put(g, names.v[i], err);
	if (rc >= 0 && fstat(from, &st) < 0)
		rc = err_sys(err, "stat %s", g->path);
	return rc < 0 ? rc : snap_copy_attrs(from, to, &st, err);
}

static int clear_scratch(int fd, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(fd, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		rc = fs_remove_tree(fd, names.v[i], err);
	return rc;
}

int snap_merge(const struct snap_merge *m, struct err *err)
{
	cleanup(merge_free) struct merge g = { .m = m };
	bool holds = m->flags & (SNAP_NEEDS_METACOPY | SNAP_NEEDS_REDIRECT);
	int rc = holds ? snap_merge_hold(m, err) : 0;

	strv_add(&g.todo, "");
	while (rc >= 0 && g.todo.n) {
		auto_free char *path = g.todo.v[--g.todo.n];

		g.todo.v[g.todo.n] = NULL;
		g.path = path;
		rc = merge_dir(&g, err);
	}
	if (rc >= 0 && holds)
		rc = clear_scratch(m->scratch_fd, err);
	return rc < 0 ? rc : 0;
}
