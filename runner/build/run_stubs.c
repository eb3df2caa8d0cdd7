/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "run.h"

/* What is made now is known by the inode that it has where it will be looked for. */
static void remember(struct run_stubs *s, int work_fd, const char *path, const struct stat *parent)
{
	struct err ignored;
	auto_fd int fd = path_open_beneath(work_fd, path, O_PATH | O_NOFOLLOW, 0, &ignored);
	struct run_stub *st;
	struct stat sb;
	char *cut;

	if (fd < 0 || fstat(fd, &sb) < 0)
		return;
	mem_room(s->v, s->n, s->cap);
	st = &s->v[s->n++];
	*st = (struct run_stub){ .path = mem_str(path),
				 .parent = mem_str(path),
				 .parent_mtime = parent->st_mtim,
				 .dev = sb.st_dev,
				 .ino = sb.st_ino };
	cut = strrchr(st->parent, '/');
	*(cut ? cut : st->parent) = 0;
}

/* 1: it was missing and is there now. Nothing else is in this tree yet, so there is no race. */
static int make_one(int root_fd, const char *path, bool is_dir, struct stat *ret_parent)
{
	auto_free char *parent = mem_str(path);
	char *cut = strrchr(parent, '/');
	auto_fd int dir = -1, fd = path_try_in(root_fd, path, O_PATH | O_NOFOLLOW, 0);

	if (fd >= 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	*(cut ? cut : parent) = 0;
	dir = path_try_in(root_fd, parent, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0 || fstat(dir, ret_parent) < 0)
		return -errno;
	if (is_dir)
		return mkdirat(dir, path_base(path), 0755) < 0 ? -errno : 1;
	fd = openat(dir, path_base(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0644);
	return fd < 0 ? -errno : 1;
}

/* Places that are ours in every box. */
static bool is_ours(const char *path)
{
	return str_starts(path, "dev/") || str_starts(path, "proc/") || str_starts(path, "sys/");
}

/* What fails here fails again in the box, which says why. */
static void make_all(struct run_stubs *s, int root_fd, int work_fd, const char *target, bool is_dir)
{
	auto_free char *path = NULL;
	struct err ignored;

	if (copy_canonical(root_fd, target, &path, &ignored) < 0 || is_ours(path))
		return;
	for (char *at = path; at && *at;) {
		char *slash = strchr(at, '/');
		struct stat parent;
		int rc;

		if (slash)
			*slash = 0;
		rc = make_one(root_fd, path, slash || is_dir, &parent);
		if (rc < 0)
			return;
		if (rc > 0)
			remember(s, work_fd, path, &parent);
		if (slash)
			*slash = '/';
		at = slash ? slash + 1 : NULL;
	}
}

static bool is_dir(const struct sandbox_mount *m)
{
	struct stat st;

	if (m->kind != SANDBOX_BIND)
		return m->kind == SANDBOX_TMPFS;
	return fstat(m->source_fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int run_stubs_make(struct run_stubs *s, const struct run *r, int64_t snapshot, int root_fd,
		   struct err *err)
{
	static const char *const always[] = { "/proc", "/sys", "/dev" };
	auto_fd int work_fd = -1;
	int rc = snap_work_fd(r->b->rt->snap, snapshot, root_fd, &work_fd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		make_all(s, root_fd, work_fd, always[i], true);
	for (size_t i = 0; i < r->n_mounts; i++)
		make_all(s, root_fd, work_fd, r->mounts[i].target, is_dir(&r->mounts[i]));
	return 0;
}

static bool is_empty_dir(int fd)
{
	auto_strv struct strv names = { 0 };
	struct err ignored;

	return fs_list(fd, ".", &names, &ignored) >= 0 && names.n == 0;
}

static void remove_one(int fs_fd, const struct run_stub *st)
{
	const char *name = path_base(st->path);
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, st->parent_mtime };
	struct err ignored;
	auto_fd int dir = path_open_beneath(fs_fd, st->parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
					    0, &ignored);
	struct stat sb;

	if (dir < 0 || fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0 || sb.st_dev != st->dev ||
	    sb.st_ino != st->ino)
		return; /* something else by now: the step's own */
	if (S_ISDIR(sb.st_mode))
		unlinkat(dir, name, AT_REMOVEDIR); /* what the step put there stays, and so does the
						      directory */
	else if (S_ISREG(sb.st_mode) && sb.st_size == 0 && sb.st_nlink == 1)
		unlinkat(dir, name, 0);
	/* A parent that was copied up for the stub alone shall look as it did. */
	if (t[1].tv_nsec != UTIME_OMIT && is_empty_dir(dir))
		futimens(dir, t);
}

int run_stubs_remove(struct run_stubs *s, struct snap *snap, int64_t snapshot, int root_fd,
		     struct err *err)
{
	auto_fd int fd = -1;
	int rc;

	if (!s->n)
		return 0;
	rc = snap_work_fd(snap, snapshot, root_fd, &fd, err);
	for (size_t i = s->n; rc >= 0 && i-- > 0;)
		remove_one(fd, &s->v[i]);
	return rc < 0 ? rc : 0;
}

void run_stubs_free(struct run_stubs *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].path);
		free(s->v[i].parent);
	}
	free(s->v);
	*s = (struct run_stubs){ 0 };
}
