/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer refers to by path in those beneath it: renamed directories (redirect) and files that
 * were only chowned, chmodded or renamed (metacopy). All paths are of the tree as it was before the
 * layer, so everything is found and put aside first: files by a link, then directories, the deepest
 * first, so that one inside another is out before that one goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/str.h>

#include "tree.h"

struct moved_dir {
	ino_t ino;
	char *from; /* where the layers beneath have it */
};

struct dir {
	char *path, *below; /* in the layer; in the tree beneath, NULL: nothing of it shows */
};

struct hold {
	const struct snap_merge *m;
	struct dir *todo;
	size_t n_todo, cap_todo;
	struct moved_dir *dirs;
	size_t n_dirs, cap_dirs;
};

static void hold_free(struct hold *h)
{
	for (size_t i = 0; i < h->n_todo; i++) {
		free(h->todo[i].path);
		free(h->todo[i].below);
	}
	for (size_t i = 0; i < h->n_dirs; i++)
		free(h->dirs[i].from);
	free(h->todo);
	free(h->dirs);
}

/* The redirect of fd as a path of the tree: "/a/b" from the root, "b" beside. Else own place. */
static char *place_below(int fd, const char *parent, const char *name, bool *ret_moved)
{
	char to[PATH_MAX];
	ssize_t n = fgetxattr(fd, "trusted.overlay.redirect", to, sizeof(to) - 1);

	*ret_moved = n > 0;
	if (n > 0) {
		to[n] = 0;
		return *to == '/' ? mem_str(to + 1) : snap_join(parent, to);
	}
	return snap_join(parent, name);
}

static void push(struct hold *h, char *path, char *below)
{
	mem_room(h->todo, h->n_todo, h->cap_todo);
	h->todo[h->n_todo++] = (struct dir){ path, below };
}

static void see_dir(struct hold *h, const struct dir *d, int fd, const char *name, ino_t ino)
{
	char opaque[2];
	auto_free char *below = NULL;
	bool moved = false;

	if (d->below &&
	    !(fgetxattr(fd, "trusted.overlay.opaque", opaque, 2) == 1 && opaque[0] == 'y'))
		below = place_below(fd, d->below, name, &moved);
	if (moved) {
		mem_room(h->dirs, h->n_dirs, h->cap_dirs);
		h->dirs[h->n_dirs++] = (struct moved_dir){ ino, mem_str(below) };
	}
	push(h, snap_join(d->path, name), take(below));
}

static int see_file(struct hold *h, const struct dir *d, int fd, const char *name, ino_t ino,
		    struct err *err)
{
	auto_fd int data = -1;
	auto_free char *below = NULL;
	char to[32], path[FD_PATH_MAX];
	bool moved;

	if (fgetxattr(fd, "trusted.overlay.metacopy", NULL, 0) < 0)
		return 0;
	below = place_below(fd, d->below ? d->below : "", name, &moved);
	data = path_open_beneath(h->m->tree_fd, below, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, err);
	if (data < 0)
		return err_ctx(err, "data of %s/%s", d->path, name);
	snprintf(to, sizeof(to), "f%" PRIu64, (uint64_t)ino);
	if (linkat(AT_FDCWD, fd_path(data, path), h->m->scratch_fd, to, AT_SYMLINK_FOLLOW) < 0 &&
	    errno != EEXIST) /* another name of it */
		return err_sys(err, "keep %s", below);
	return 0;
}

static int see(struct hold *h, const struct dir *d, int dir_fd, const char *name, struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open %s", name);
	if (S_ISREG(st.st_mode))
		return see_file(h, d, fd, name, st.st_ino, err);
	see_dir(h, d, fd, name, st.st_ino);
	return 0;
}

static int see_all(struct hold *h, const struct dir *d, struct err *err)
{
	auto_fd int fd = snap_open_sub(h->m->layer_fd, d->path, err);
	auto_strv struct strv names = { 0 };
	int rc = fd < 0 ? fd : fs_list(fd, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		rc = see(h, d, fd, names.v[i], err);
	return rc;
}

/* One path inside another is the longer one. */
static int longest_first(const void *a, const void *b)
{
	size_t x = strlen(((const struct moved_dir *)a)->from);
	size_t y = strlen(((const struct moved_dir *)b)->from);

	return (x < y) - (x > y);
}

/* A place that is not there has nothing to show, as for the kernel. */
static int move_dir(struct hold *h, const struct moved_dir *d, struct err *err)
{
	auto_free char *parent = mem_str(d->from);
	char *slash = strrchr(parent, '/');
	struct err missing = { 0 };
	auto_fd int fd = -1;
	char to[32];

	if (slash)
		*slash = 0;
	fd = snap_open_sub(h->m->tree_fd, slash ? parent : "", &missing);
	snprintf(to, sizeof(to), "d%" PRIu64, (uint64_t)d->ino);
	if (fd < 0 ? missing.code == ENOENT || missing.code == ENOTDIR
		   : renameat(fd, path_base(d->from), h->m->scratch_fd, to) == 0 || errno == ENOENT)
		return 0;
	return err_sys(err, "keep %s", d->from);
}

int snap_merge_hold(const struct snap_merge *m, struct err *err)
{
	cleanup(hold_free) struct hold h = { .m = m };
	int rc = 0;

	push(&h, mem_str(""), mem_str(""));
	while (rc >= 0 && h.n_todo) {
		struct dir d = h.todo[--h.n_todo];

		rc = see_all(&h, &d, err);
		free(d.path);
		free(d.below);
	}
	if (rc < 0)
		return rc;
	if (h.n_dirs > 1)
		qsort(h.dirs, h.n_dirs, sizeof(*h.dirs), longest_first);
	for (size_t i = 0; rc >= 0 && i < h.n_dirs; i++)
		rc = move_dir(&h, &h.dirs[i], err);
	return rc;
}
