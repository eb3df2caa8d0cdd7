/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a step, on the critical path: mtimes to whole seconds and none after the epoch, and what
 * kind of layer it is. Files are not opened: a stat each, and more only where it can matter.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

/* An attribute block of its own (1 to 4 KiB) counts as a block of the file: only above this do
 * blocks tell a file without data. */
enum { ATTR_BLOCKS = 8, FDS_HELD = 128 };

struct level {
	int fd; /* -1 while a deep walk is beneath it */
	struct layer_names names;
	size_t next;
	bool is_late; /* its own mtime must be cut: when its entries are done */
	int64_t mtime_s;
};

struct freeze {
	const int64_t *epoch;
	bool is_exact; /* every mtime becomes the epoch */
	struct level *v;
	size_t n, cap;
	struct layer_inodes inodes;
	struct layer_info info;
};

static void freeze_free(struct freeze *z)
{
	for (size_t i = 0; i < z->n; i++) {
		fd_close(&z->v[i].fd);
		layer_names_free(&z->v[i].names);
	}
	free(z->v);
	layer_inodes_free(&z->inodes);
}
#define auto_freeze cleanup(freeze_free)

/* Must it be changed, and to what? */
static bool is_cut(const struct freeze *z, const struct stat *st, int64_t *ret_s)
{
	bool is_after = z->epoch && (z->is_exact || st->st_mtim.tv_sec >= *z->epoch);

	*ret_s = is_after ? *z->epoch : st->st_mtim.tv_sec;
	return st->st_mtim.tv_nsec || *ret_s != st->st_mtim.tv_sec;
}

static int cut(int dir_fd, const char *name, int64_t mtime_s, struct err *err)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = mtime_s } };

	if (utimensat(dir_fd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "set time of %s", name);
	return 0;
}

static bool may_be_metacopy(const struct stat *st)
{
	/* Also an empty one: the kernel looks for its data all the same. */
	return st->st_blocks * 512 < st->st_size || st->st_blocks <= ATTR_BLOCKS;
}

static int look_for_metacopy(struct freeze *z, int dir_fd, const char *name, struct err *err)
{
	char path[FD_PATH_MAX + NAME_MAX + 2];

	if (z->info.flags & LAYER_NEEDS_METACOPY)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	if (lgetxattr(path, "trusted.overlay.metacopy", NULL, 0) >= 0)
		z->info.flags |= LAYER_NEEDS_METACOPY;
	else if (errno != ENODATA && errno != EOPNOTSUPP)
		return err_sys(err, "xattr of %s", name);
	return 0;
}

static int one_file(struct freeze *z, int dir_fd, const char *name, struct err *err)
{
	struct stat st;
	int64_t mtime_s;
	int rc = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (layer_is_whiteout(&st))
		return 0;
	z->info.entries++;
	if (is_cut(z, &st, &mtime_s))
		rc = cut(dir_fd, name, mtime_s, err);
	if (rc < 0 || !S_ISREG(st.st_mode))
		return rc;
	/* A file counts once, whatever its names. */
	if (st.st_nlink < 2 || !layer_inodes_first(&z->inodes, &st, ""))
		z->info.size_bytes += (uint64_t)st.st_size;
	return may_be_metacopy(&st) ? look_for_metacopy(z, dir_fd, name, err) : 0;
}

static int enter(struct freeze *z, int dir_fd, const char *name, struct err *err)
{
	struct level l = { .fd = layer_open(dir_fd, name, O_DIRECTORY) };
	struct stat st;
	int rc = 0;

	if (l.fd < 0)
		return err_sys(err, "open %s", name);
	if (fstat(l.fd, &st) < 0)
		rc = err_sys(err, "stat %s", name);
	if (rc >= 0)
		rc = layer_names_read(l.fd, false, &l.names, err);
	if (rc < 0) {
		fd_close(&l.fd);
		return rc;
	}
	z->info.entries++;
	l.is_late = is_cut(z, &st, &l.mtime_s);
	if (!(z->info.flags & LAYER_NEEDS_REDIRECT) &&
	    fgetxattr(l.fd, "trusted.overlay.redirect", NULL, 0) >= 0)
		z->info.flags |= LAYER_NEEDS_REDIRECT;
	/* However deep the tree, no more than so many fds: higher ones are found again by "..". */
	if (z->n >= FDS_HELD)
		fd_close(&z->v[z->n - 1].fd);
	mem_room(z->v, z->n, z->cap);
	z->v[z->n++] = l;
	return 0;
}

static int leave(struct freeze *z, struct err *err)
{
	struct level *l = &z->v[z->n - 1];
	int rc = 0;

	if (l->is_late) {
		struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = l->mtime_s } };

		if (futimens(l->fd, ts) < 0)
			rc = err_sys(err, "set time of a directory");
	}
	if (rc >= 0 && z->n > 1 && z->v[z->n - 2].fd < 0) {
		z->v[z->n - 2].fd = layer_open(l->fd, "..", O_DIRECTORY);
		if (z->v[z->n - 2].fd < 0)
			rc = err_sys(err, "open ..");
	}
	fd_close(&l->fd);
	layer_names_free(&l->names);
	z->n--;
	return rc;
}

static int freeze(int upper_fd, const int64_t *epoch, bool is_exact, struct layer_info *ret,
		  struct err *err)
{
	auto_freeze struct freeze z = { .epoch = epoch, .is_exact = is_exact };
	int rc = enter(&z, upper_fd, ".", err);

	while (rc >= 0 && z.n) {
		struct level *l = &z.v[z.n - 1];
		const struct layer_name *e = l->next < l->names.n ? &l->names.v[l->next++] : NULL;

		if (!e)
			rc = leave(&z, err);
		else if (e->type == DT_DIR)
			rc = enter(&z, l->fd, e->s, err);
		else
			rc = one_file(&z, l->fd, e->s, err);
	}
	if (rc < 0)
		return err_ctx(err, "freeze layer");
	*ret = z.info;
	return 0;
}

int layer_freeze(int upper_fd, const int64_t *epoch, struct layer_info *ret, struct err *err)
{
	return freeze(upper_fd, epoch, false, ret, err);
}

int layer_freeze_at(int upper_fd, int64_t mtime_s, struct layer_info *ret, struct err *err)
{
	return freeze(upper_fd, &mtime_s, true, ret, err);
}
