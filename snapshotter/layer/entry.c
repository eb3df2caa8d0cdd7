/* SPDX-License-Identifier: Apache-2.0 */
/* One thing in a directory: what it is, whether two of them are the same, and overlayfs's marks on
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

bool layer_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

char layer_kind(mode_t mode)
{
	static const struct {
		mode_t type;
		char kind;
	} kinds[] = { { S_IFREG, LAYER_FILE }, { S_IFDIR, LAYER_DIR },  { S_IFLNK, LAYER_SYMLINK },
		      { S_IFIFO, LAYER_FIFO }, { S_IFCHR, LAYER_CHAR }, { S_IFBLK, LAYER_BLOCK } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].type == (mode & S_IFMT))
			return kinds[i].kind;
	return 0;
}

int layer_open(int dir_fd, const char *name, int flags)
{
	/* O_NONBLOCK: should a fifo have taken the file's place, the open must not hang. */
	return openat(dir_fd, name,
		      O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC | flags);
}

int layer_readlink(int dir_fd, const char *name, char *buf, struct err *err)
{
	ssize_t n = readlinkat(dir_fd, name, buf, PATH_MAX - 1);

	if (n < 0)
		return err_sys(err, "read link %s", name);
	buf[n] = 0;
	return 0;
}

bool layer_same_stat(const struct stat *a, const struct stat *b)
{
	if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		return false;
	/* What a step makes and removes again in a directory changes its size and mtime: no change
	 * of the directory. */
	return S_ISDIR(a->st_mode) ||
	       (a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		a->st_rdev == b->st_rdev);
}

bool layer_same_attrs(const struct layer_attrs *a, const struct layer_attrs *b)
{
	return a->kept.len == b->kept.len &&
	       (!a->kept.len || memcmp(a->kept.s, b->kept.s, a->kept.len) == 0);
}

int layer_whiteout(int dir_fd, const char *name, struct err *err)
{
	if (mknodat(dir_fd, name, S_IFCHR, makedev(0, 0)) < 0)
		return err_sys(err, "whiteout %s", name);
	return 0;
}

int layer_set_opaque(int dir_fd, struct err *err)
{
	return fs_xattr_set(dir_fd, "trusted.overlay.opaque", "y", 1, err);
}
