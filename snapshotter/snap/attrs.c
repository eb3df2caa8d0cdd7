/* SPDX-License-Identifier: Apache-2.0 */
/* Single entries from one tree to another. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/str.h>

#include "tree.h"

/* What the overlay keeps for itself, and the host's label, do not pass from one upper to the next.
 */
static bool is_kept_xattr(const char *name)
{
	return !str_starts(name, "trusted.overlay.") && !str_starts(name, "user.overlay.") &&
	       strcmp(name, "security.selinux") != 0;
}

static int drop_xattrs(int fd, struct err *err)
{
	auto_free char *names = NULL;
	char path[FD_PATH_MAX];
	size_t len = 0;
	int rc = fs_xattr_list(fd, &names, &len, err);

	for (size_t at = 0; rc >= 0 && at < len; at += strlen(names + at) + 1)
		if (is_kept_xattr(names + at) && removexattr(fd_path(fd, path), names + at) < 0 &&
		    errno != ENODATA)
			return err_sys(err, "remove xattr %s", names + at);
	return rc < 0 ? rc : 0;
}

static int copy_xattrs(int from_fd, int to_fd, struct err *err)
{
	auto_free char *names = NULL;
	size_t len = 0;
	int rc = fs_xattr_list(from_fd, &names, &len, err);

	for (size_t at = 0; rc >= 0 && at < len; at += strlen(names + at) + 1) {
		auto_free char *value = NULL;
		size_t n = 0;

		if (!is_kept_xattr(names + at))
			continue;
		rc = fs_xattr_get(from_fd, names + at, &value, &n, err);
		if (rc >= 0)
			rc = fs_xattr_set(to_fd, names + at, value, n, err);
	}
	return rc < 0 ? rc : 0;
}

static int xattr_text(int fd, struct str *ret, struct err *err)
{
	auto_free char *names = NULL;
	size_t len = 0;
	int rc = fs_xattr_list(fd, &names, &len, err);

	for (size_t at = 0; rc >= 0 && at < len; at += strlen(names + at) + 1) {
		auto_free char *value = NULL;
		size_t n = 0;

		if (!is_kept_xattr(names + at))
			continue;
		rc = fs_xattr_get(fd, names + at, &value, &n, err);
		if (rc < 0)
			break;
		str_addf(ret, "%s %zu ", names + at, n);
		str_addn(ret, value, n);
	}
	return rc;
}

int snap_same_xattrs(int a_fd, int b_fd, struct err *err)
{
	auto_str struct str a = { 0 }, b = { 0 };
	int rc = xattr_text(a_fd, &a, err);

	if (rc >= 0)
		rc = xattr_text(b_fd, &b, err);
	return rc < 0 ? rc : a.len == b.len && (!a.len || memcmp(a.s, b.s, a.len) == 0);
}

int snap_copy_attrs(int from_fd, int to_fd, const struct stat *from, struct err *err)
{
	struct stat to;
	int rc;

	if (fstat(to_fd, &to) < 0)
		return err_sys(err, "stat");
	rc = drop_xattrs(to_fd, err);
	if (rc < 0)
		return rc;
	if ((to.st_uid != from->st_uid || to.st_gid != from->st_gid) &&
	    fchown(to_fd, from->st_uid, from->st_gid) < 0)
		return err_sys(err, "owner");
	rc = copy_xattrs(from_fd, to_fd, err);
	if (rc < 0)
		return rc;
	/* chmod after chown, which may clear bits. It also makes up for the umask. */
	if (fchmod(to_fd, from->st_mode & 07777) < 0)
		return err_sys(err, "mode");
	if (futimens(to_fd, (struct timespec[]){ from->st_atim, from->st_mtim }) < 0)
		return err_sys(err, "times");
	return 0;
}

static int copy_file(int from_fd, const char *name, int to_fd, int data_fd, struct err *err)
{
	auto_fd int in = openat(from_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	auto_fd int out = -1;
	struct stat st;
	int rc;

	if (in < 0 || fstat(in, &st) < 0)
		return err_sys(err, "open %s", name);
	out = openat(to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_sys(err, "create %s", name);
	rc = fs_copy_data(data_fd < 0 ? in : data_fd, out, err);
	if (rc >= 0)
		rc = snap_copy_attrs(in, out, &st, err);
	return rc < 0 ? err_ctx(err, "%s", name) : 0;
}

static int copy_node_xattrs(int from_fd, int to_fd, const char *name, struct err *err)
{
	auto_fd int in = openat(from_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int out = openat(to_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (in < 0 || out < 0)
		return err_sys(err, "open %s", name);
	return copy_xattrs(in, out, err);
}

static int make_node(int from_fd, const char *name, int to_fd, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n;

	if (!S_ISLNK(st->st_mode))
		return mknodat(to_fd, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
	n = readlinkat(from_fd, name, target, sizeof(target) - 1);
	if (n < 0)
		return -1;
	target[n] = 0;
	return symlinkat(target, to_fd, name);
}

int snap_copy_entry(int from_fd, const char *name, int to_fd, int data_fd, struct err *err)
{
	struct stat st;
	int rc = 0;

	if (fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (S_ISREG(st.st_mode))
		return copy_file(from_fd, name, to_fd, data_fd, err);
	if (make_node(from_fd, name, to_fd, &st) < 0 ||
	    fchownat(to_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "make %s", name);
	if (!S_ISLNK(st.st_mode)) {
		rc = copy_node_xattrs(from_fd, to_fd, name, err);
		if (rc >= 0 && fchmodat(to_fd, name, st.st_mode & 07777, 0) < 0)
			rc = err_sys(err, "mode of %s", name);
	}
	if (rc >= 0 && utimensat(to_fd, name, (struct timespec[]){ st.st_atim, st.st_mtim },
				 AT_SYMLINK_NOFOLLOW) < 0)
		rc = err_sys(err, "times of %s", name);
	return rc;
}

bool snap_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int snap_open_sub(int root_fd, const char *path, struct err *err)
{
	return path_open_beneath(root_fd, *path ? path : ".",
				 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, err);
}

char *snap_join(const char *dir, const char *name)
{
	return *dir ? mem_fmt("%s/%s", dir, name) : mem_str(name);
}
