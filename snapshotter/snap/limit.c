/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot may hold: a project of its own, whose files the file system counts. The number is
 * in the directories alone, which come first and go last: a limit whose project has no file is
 * nobody's. As the files of an earlier use may still be counted, a free one has neither.
 */
#include <shale/snap.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

/* Others on the same file system count from below; other stores choose as we do. */
enum { PROJECT_FIRST = 0x53000000, PROJECT_N = 0x01000000, TRIES = 64, BLOCK = 512 };

#define PROJECT_CMD(cmd) ((unsigned)QCMD(cmd, PRJQUOTA))

static bool is_ours(uint32_t project)
{
	return project >= PROJECT_FIRST && project - PROJECT_FIRST < PROJECT_N;
}

/* --- the file system
 * ------------------------------------------------------------------------------------------------
 */

static bool is_enforced(int fd)
{
	struct fs_quota_statv st = { .qs_version = FS_QSTATV_VERSION1 };

	return sys_quotactl_fd(fd, PROJECT_CMD(Q_XGETQSTATV), 0, &st) == 0 &&
	       (st.qs_flags & FS_QUOTA_PDQ_ENFD);
}

static int refuse(const struct snap *s, struct err *err)
{
	enum { XFS = 0x58465342, EXT4 = 0xef53 };
	static const struct {
		unsigned magic;
		const char *name;
	} others[] = {
		{ 0x9123683e, "btrfs" }, { 0x01021994, "tmpfs" }, { 0xf2f52010, "f2fs" },
		{ 0x2fc12fc1, "zfs" },   { 0x6969, "nfs" },       { 0x794c7630, "overlay" }
	};
	const char *name = "a file system that cannot";
	struct statfs fs;

	if (fstatfs(s->store_fd, &fs) < 0)
		return err_sys(err, "file system of the store");
	if ((unsigned)fs.f_type == XFS)
		return err_set(err, ENOTSUP,
			       "the store's file system, xfs, is mounted without project quota: it "
			       "takes the mount option pquota (not by a remount; of the root file "
			       "system, the kernel's rootflags=pquota)");
	if ((unsigned)fs.f_type == EXT4)
		return err_set(
			err, ENOTSUP,
			"the store's file system, ext4, is mounted without project quota: it "
			"takes 'tune2fs -O project,quota' while it is not mounted, and the "
			"mount option prjquota");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (others[i].magic == (unsigned)fs.f_type)
			name = others[i].name;
	return err_set(err, ENOTSUP,
		       "the store is on %s: limits need xfs mounted with pquota, or ext4 with "
		       "prjquota",
		       name);
}

static int get_attr(int fd, struct fsxattr *ret)
{
	return ioctl(fd, FS_IOC_FSGETXATTR, ret);
}

int snap_limit_check(struct snap *s, struct err *err)
{
	struct fsxattr attr = { 0 };

	if (s->driver == SNAP_COPY)
		return err_set(err, ENOTSUP, "the driver copy has the image's files in the layer");
	if (!is_enforced(s->store_fd))
		return refuse(s, err);
	/* Then nothing could be moved between the store and a project of its own. */
	if (get_attr(s->snap_fd, &attr) == 0 && (attr.fsx_xflags & FS_XFLAG_PROJINHERIT))
		return err_set(
			err, ENOTSUP,
			"the store has a project of its own, %u, that what is in it inherits",
			attr.fsx_projid);
	return 0;
}

/* --- projects
 * ------------------------------------------------------------------------------------------------
 */

static int set_limit(int fd, uint32_t project, const struct snap_limit *l)
{
	struct fs_disk_quota q = {
		.d_version = FS_DQUOT_VERSION,
		.d_flags = FS_PROJ_QUOTA,
		.d_fieldmask = FS_DQ_BSOFT | FS_DQ_BHARD | FS_DQ_ISOFT | FS_DQ_IHARD,
		.d_id = project,
		.d_blk_hardlimit = (l->bytes + BLOCK - 1) / BLOCK,
		.d_ino_hardlimit = l->inodes,
	};

	return sys_quotactl_fd(fd, PROJECT_CMD(Q_XSETQLIM), project, &q);
}

static bool is_free(int fd, uint32_t project)
{
	struct fs_disk_quota q = { 0 };

	if (sys_quotactl_fd(fd, PROJECT_CMD(Q_XGETQUOTA), project, &q) < 0)
		return errno == ENOENT;
	return !q.d_bcount && !q.d_icount && !q.d_blk_hardlimit && !q.d_ino_hardlimit;
}

static int choose(const struct snap *s, uint32_t *ret, struct err *err)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t n = 0;

		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			return err_sys(err, "random bytes");
		*ret = PROJECT_FIRST + n % PROJECT_N;
		if (is_free(s->store_fd, *ret))
			return 0;
	}
	return err_set(err, ENOSPC, "no project is free");
}

static int give(struct snap *s, int64_t id, const char *sub, uint32_t project, struct err *err)
{
	auto_fd int fd = openat(s->snap_fd, SNAP_NAME(id, sub),
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct fsxattr attr = { 0 };

	if (fd < 0 || get_attr(fd, &attr) < 0)
		return err_sys(err, "project of snap/%s", SNAP_NAME(id, sub));
	attr.fsx_projid = project;
	attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0
		       ? err_sys(err, "project of snap/%s", SNAP_NAME(id, sub))
		       : 0;
}

/* 0: it has none of ours. */
static uint32_t project_of(int dir_fd, const char *name)
{
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct fsxattr attr = { 0 };

	return fd >= 0 && get_attr(fd, &attr) == 0 && is_ours(attr.fsx_projid) ? attr.fsx_projid
									       : 0;
}

int snap_limit(struct snap *s, int64_t id, const struct snap_limit *l, struct err *err)
{
	static const char *const dirs[] = { NULL, "fs", "work" };
	uint32_t project = project_of(s->snap_fd, SNAP_NAME(id, NULL));
	int rc = snap_limit_check(s, err);

	if (rc >= 0 && !project)
		rc = choose(s, &project, err);
	for (size_t i = 0; i < ARRAY_LEN(dirs) && rc >= 0; i++)
		rc = give(s, id, dirs[i], project, err);
	if (rc >= 0 && set_limit(s->store_fd, project, l) < 0)
		rc = err_sys(err, "limit of project %u", project);
	return rc;
}

void snap_unlimit_dir(struct snap *s, int dir_fd, const char *name)
{
	uint32_t project = project_of(dir_fd, name);

	if (project)
		set_limit(s->store_fd, project, &(struct snap_limit){ 0 });
}

void snap_unlimit(struct snap *s, int64_t id)
{
	snap_unlimit_dir(s, s->snap_fd, SNAP_NAME(id, NULL));
}

/* What a power cut has left: the limit reached the disk, its directory did not. */
void snap_limit_tidy(struct snap *s)
{
	struct fs_disk_quota q = { .d_id = PROJECT_FIRST };

	for (uint32_t at = PROJECT_FIRST;
	     sys_quotactl_fd(s->store_fd, PROJECT_CMD(Q_XGETNEXTQUOTA), at, &q) == 0 &&
	     q.d_id >= at && is_ours(q.d_id);
	     at = q.d_id + 1)
		if (!q.d_bcount && !q.d_icount && (q.d_blk_hardlimit || q.d_ino_hardlimit))
			set_limit(s->store_fd, q.d_id, &(struct snap_limit){ 0 });
}
