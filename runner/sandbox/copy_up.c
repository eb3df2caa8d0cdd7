/* SPDX-License-Identifier: Apache-2.0 */
/* A tmpfs that begins with what the root has in its place: made and filled by the parent, by fds. A
 * symlink of the image is copied, never followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "priv.h"

enum { DEPTH_MAX = 128 };

static int copy_tree(int from_fd, int to_fd, int depth, struct err *err);

static int copy_file(int from, const char *name, int to, const struct stat *st, struct err *err)
{
	auto_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	auto_fd int out =
		openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (in < 0 || out < 0)
		return err_sys(err, "%s", name);
	if (fs_copy_data(in, out, err) < 0)
		return err_ctx(err, "%s", name);
	if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

static int copy_dir(int from, const char *name, int to, int depth, struct err *err)
{
	auto_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int out = -1;

	if (depth >= DEPTH_MAX)
		return err_set(err, ELOOP, "deeper than %d directories", DEPTH_MAX);
	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return err_sys(err, "%s", name);
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return out < 0 ? err_sys(err, "%s", name) : copy_tree(in, out, depth + 1, err);
}

static int copy_link(int from, const char *name, int to, const struct stat *st, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_sys(err, "%s", name);
	target[n] = 0;
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

/* Sockets and nodes are not copied. */
static int copy_one(int from, const char *name, int to, int depth, struct err *err)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "%s", name);
	if (S_ISDIR(st.st_mode))
		return copy_dir(from, name, to, depth, err);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, name, to, &st, err);
	return S_ISREG(st.st_mode) ? copy_file(from, name, to, &st, err) : 0;
}

static int copy_tree(int from_fd, int to_fd, int depth, struct err *err)
{
	int fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!dir) {
		fd_close(&fd);
		return err_sys(err, "directory");
	}
	while (rc == 0 && (e = readdir(dir)))
		if (!fs_is_dot(e->d_name))
			rc = copy_one(fd, e->d_name, to_fd, depth, err);
	if (rc == 0 && (fstat(fd, &st) < 0 || fchown(to_fd, st.st_uid, st.st_gid) < 0 ||
			fchmod(to_fd, st.st_mode & 07777) < 0))
		rc = err_sys(err, "directory");
	closedir(dir);
	return rc;
}

int sandbox_copy_up(struct sandbox_ctx *ctx, const struct sandbox_part *part, int *ret_fd,
		    struct err *err)
{
	auto_fd int from =
		path_try_in(ctx->plan->spec.root_fd, part->target, O_RDONLY | O_DIRECTORY, 0);
	auto_fd int to = -1;
	int fd = sandbox_new_fs(ctx, part);

	if (fd < 0)
		return err_errno(err, -fd, "mount %s: %s", part->target, ctx->text);
	*ret_fd = fd;
	if (sandbox_above_stdio(ret_fd) < 0)
		return err_sys(err, "mount %s", part->target);
	if (from < 0)
		return 0;
	to = openat(*ret_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0 || copy_tree(from, to, 0, err) < 0)
		return to < 0 ? err_sys(err, "mount %s", part->target)
			      : err_ctx(err, "mount %s: copy", part->target);
	return 0;
}
