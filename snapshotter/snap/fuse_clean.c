/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuse-overlayfs leaves in an upper besides the overlay's own marks: the origin of a file in
 * user.fuseoverlayfs.*, and ".wh." files, also where it has made the mark. Names that begin so it
 * shows to nobody, so none of them is the user's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

#include "driver.h"
#include "tree.h"

#define WH        ".wh."
#define WH_OPAQUE ".wh..wh..opq"

static int clean_xattrs(int fd, struct err *err)
{
	auto_free char *names = NULL;
	char path[FD_PATH_MAX];
	size_t len = 0;
	int rc = fs_xattr_list(fd, &names, &len, err);

	for (size_t at = 0; rc >= 0 && at < len; at += strlen(names + at) + 1)
		if (str_starts(names + at, "user.fuseoverlayfs.") &&
		    removexattr(fd_path(fd, path), names + at) < 0)
			return err_sys(err, "remove xattr %s", names + at);
	return rc < 0 ? rc : 0;
}

static int clean_mark(int dir_fd, const char *name, struct err *err)
{
	const char *hidden = name + strlen(WH);

	if (unlinkat(dir_fd, name, 0) < 0)
		return err_sys(err, "remove %s", name);
	if (!strcmp(name, WH_OPAQUE))
		return fs_xattr_set(dir_fd, "trusted.overlay.opaque", "y", 1, err);
	if (*hidden && *hidden != '.' && mknodat(dir_fd, hidden, S_IFCHR, makedev(0, 0)) < 0 &&
	    errno != EEXIST)
		return err_sys(err, "hide %s", hidden);
	return 0;
}

static int clean_entry(int dir_fd, const char *dir, const char *name, struct strv *todo,
		       struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	if (S_ISDIR(st.st_mode)) {
		strv_add_take(todo, snap_join(dir, name));
		return 0;
	}
	if (str_starts(name, WH))
		return clean_mark(dir_fd, name, err);
	if (!S_ISREG(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open %s", name) : clean_xattrs(fd, err);
}

static int clean_dir(int fs_fd, const char *path, struct strv *todo, struct err *err)
{
	auto_fd int fd = snap_open_sub(fs_fd, path, err);
	auto_strv struct strv names = { 0 };
	struct stat st;
	int rc;

	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", path);
	rc = fs_list(fd, ".", &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		rc = clean_entry(fd, path, names.v[i], todo, err);
	if (rc >= 0)
		rc = clean_xattrs(fd, err);
	if (rc >= 0 && futimens(fd, (struct timespec[]){ st.st_atim, st.st_mtim }) < 0)
		rc = err_sys(err, "times of %s", path);
	return rc;
}

int snap_fuse_clean(int fs_fd, struct err *err)
{
	auto_strv struct strv todo = { 0 };
	int rc = 0;

	strv_add(&todo, "");
	while (rc >= 0 && todo.n) {
		auto_free char *path = todo.v[--todo.n];

		todo.v[todo.n] = NULL;
		rc = clean_dir(fs_fd, path, &todo, err);
	}
	return rc;
}
