/* SPDX-License-Identifier: Apache-2.0 */
/* place: whether a store can be where it is to be. */
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

enum { TABLE_BYTES_MAX = 16 << 20, NAME_MAX_ = 32 };

/*
 * Where overlayfs cannot have its upper, or where its marks get lost. Tried, not probed: the
 * kernel's own answer (EINVAL at the mount) comes late and says nothing.
 */
static const struct {
	unsigned magic;
	const char *name;
} unfit[] = {
	{ 0x794c7630, "overlay" }, { 0x6969, "nfs" },       { 0x65735546, "fuse" },
	{ 0x4d44, "vfat" },        { 0x2011bab0, "exfat" }, { 0xff534d42, "cifs" },
	{ 0xfe534d42, "smb2" },    { 0x01021997, "9p" },    { 0x6a656a63, "virtiofs" },
	{ 0x5346544e, "ntfs" },    { 0xf15f, "ecryptfs" },  { 0x73717368, "squashfs" },
	{ 0x9660, "iso9660" },     { 0xe0f5e1e2, "erofs" },
};

#define ELSEWHERE                                                                                  \
	"name a directory on ext4, xfs, btrfs or tmpfs with --root or SHALE_ROOT, or mount a "     \
	"volume there"

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
static bool is_mount(const char *line, const char *id, char ret[NAME_MAX_])
{
	const char *type = strstr(line, " - ");

	return type && str_starts(line, id) && sscanf(type, " - %31s", ret) == 1;
}

static const char *type_of(int fd, char ret[NAME_MAX_])
{
	auto_strv struct strv lines = { 0 };
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	struct statx st;
	char id[NAME_MAX_];
	size_t len;

	snprintf(ret, NAME_MAX_, "its file system");
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID) ||
	    fd_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_BYTES_MAX, &text, &len, &ignored) <
		    0)
		return ret;
	snprintf(id, sizeof(id), "%llu ", (unsigned long long)st.stx_mnt_id);
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++)
		if (is_mount(lines.v[i], id, ret))
			break;
	return ret;
}
#define TYPE_OF(fd) type_of((fd), (char[NAME_MAX_]){ 0 })

int place_check(int root_fd, const char *root, struct err *err)
{
	struct statfs sfs;

	if (fstatfs(root_fd, &sfs) < 0)
		return err_sys(err, "file system of %s", root);
	for (size_t i = 0; i < ARRAY_LEN(unfit); i++) {
		if ((unsigned)sfs.f_type != unfit[i].magic)
			continue;
		err_set(err, ENOTSUP, "%s is on %s, which cannot hold overlayfs layers", root,
			unfit[i].name);
		return err_hint(err, ELSEWHERE);
	}
	return 0;
}

/* Of a directory in it, whose type is known. */
static bool has_types(int root_fd)
{
	int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool all = true;

	if (!d) {
		fd_close(&fd);
		return true;
	}
	while ((e = readdir(d)))
		all = all && e->d_type != DT_UNKNOWN;
	closedir(d);
	return all;
}

int place_probe(int root_fd, const char *root, struct err *err)
{
	static const char name[] = "trusted.shale.probe";
	char path[FD_PATH_MAX];

	if (setxattr(fd_path(root_fd, path), name, "1", 1, 0) < 0) {
		if (errno != EOPNOTSUPP && errno != EPERM)
			return err_sys(err, "attribute of %s", root);
		err_set(err, ENOTSUP,
			"%s is on %s, which has no extended attributes: overlayfs layers need them",
			root, TYPE_OF(root_fd));
		return err_hint(err, ELSEWHERE);
	}
	removexattr(fd_path(root_fd, path), name);
	if (has_types(root_fd))
		return 0;
	err_set(err, ENOTSUP,
		"%s is on %s, made without types in its directories (d_type): overlayfs layers need them",
		root, TYPE_OF(root_fd));
	return err_hint(err,
			"make it anew (mkfs.xfs -n ftype=1, mkfs.ext4 -O filetype), or " ELSEWHERE);
}

/* Itself, or what is there of the way to it. */
static int open_nearest(const char *root)
{
	auto_free char *path = mem_str(root);
	int fd;

	while ((fd = open(*path ? path : "/", O_PATH | O_CLOEXEC)) < 0 && *path) {
		char *slash = strrchr(path, '/');

		*(slash ? slash : path) = 0;
	}
	return fd;
}

int place_explain(const char *root, struct err *err)
{
	auto_fd int fd = open_nearest(root);
	struct statvfs vfs;

	if (fd < 0 || fstatvfs(fd, &vfs) < 0)
		return -err->code;
	if (vfs.f_flag & ST_RDONLY)
		return err_hint(err, "%s is on %s mounted read-only: remount it, or " ELSEWHERE,
				root, TYPE_OF(fd));
	if (err->code == ENOSPC)
		return err_hint(err, "the %s of %s is full: make room there, or " ELSEWHERE,
				TYPE_OF(fd), root);
	return -err->code;
}
