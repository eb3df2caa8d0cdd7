/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts, in the child. All by fd: a path of the image is only ever resolved beneath the root's fd.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { PROC_MAGIC = 0x9fa0, ATTR_QUIET = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

/* The kernel's own words about a file system it would not make. */
static int fs_failed(struct sandbox_ctx *ctx, int fs_fd)
{
	int saved = errno;
	ssize_t n = read(fs_fd, ctx->text, sizeof(ctx->text) - 1);

	ctx->text[n > 0 ? n : 0] = 0;
	return -saved;
}

/* A new file system, detached: the mount's fd. options is a list of key, value, …, NULL. */
int sandbox_new_mount(struct sandbox_ctx *ctx, const char *fs, const char *const *options,
		      unsigned attr)
{
	auto_fd int fs_fd = sys_fsopen(fs, FSOPEN_CLOEXEC);
	int fd;

	if (fs_fd < 0)
		return -errno;
	for (; options && options[0]; options += 2)
		if (sys_fsconfig(fs_fd, options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
				 options[0], options[1], 0) < 0)
			return fs_failed(ctx, fs_fd);
	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_failed(ctx, fs_fd);
	fd = sys_fsmount(fs_fd, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? fs_failed(ctx, fs_fd) : fd;
}

int sandbox_attach(int mount_fd, int target_fd)
{
	return sys_move_mount(mount_fd, "", target_fd, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

int sandbox_set_attr(int fd, uint64_t set)
{
	struct mount_attr attr = { .attr_set = set };

	return sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/*
 * A directory straight beneath the root, where proc, sys or dev go. A symlink or a file there is
 * refused: an image could lead us elsewhere or have its own "proc" read by us (CVE-2019-16884,
 * CVE-2026-41579, TRAPS T5, T6).
 */
static int open_top(struct sandbox_ctx *ctx, const char *name)
{
	int fd = openat(ctx->root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && mkdirat(ctx->root_fd, name, 0755) == 0)
		fd = openat(ctx->root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attach_top(struct sandbox_ctx *ctx, int mount_fd, const char *name)
{
	auto_fd int top = open_top(ctx, name);

	return top < 0 ? top : sandbox_attach(mount_fd, top);
}

int sandbox_attach_at(int mount_fd, int dir_fd, const char *name)
{
	return sys_move_mount(mount_fd, "", dir_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/*
 * pivot_root replaces the root that this process has. In a chroot that is not the namespace's own,
 * which would stay beneath: a program with CAP_SYS_CHROOT climbs up to it, and who joins the
 * namespace stands in it. So it is climbed to here, the way every chroot is left: with a working
 * directory outside of a new one.
 */
int sandbox_leave_chroot(void)
{
	auto_fd int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat at, before;

	if (fd < 0 || chroot("/proc") < 0 || fchdir(fd) < 0 || fstat(fd, &at) < 0)
		return -errno;
	do {
		before = at;
		if (chdir("..") < 0 || stat(".", &at) < 0)
			return -errno;
	} while (at.st_ino != before.st_ino || at.st_dev != before.st_dev);
	return chroot(".") < 0 ? -errno : 0;
}

int sandbox_in_private(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int rc = sandbox_leave_chroot();

	(void)ctx, (void)s;
	if (rc < 0)
		return rc;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

int sandbox_in_root(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int rc;

	/* Over "/" there is always a place; pivot_root then takes the old one away from beneath. */
	if (sys_move_mount(ctx->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(ctx->root_fd) < 0 || sys_pivot_root(".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	/* nodev: a device node that the image brought opens nothing. */
	rc = s->a ? sandbox_set_attr(ctx->root_fd, MOUNT_ATTR_NODEV) : 0;
	umask(0);
	return rc;
}

int sandbox_in_proc(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	ctx->proc_fd = sandbox_new_mount(ctx, "proc", NULL, ATTR_QUIET);
	return ctx->proc_fd < 0 ? ctx->proc_fd : attach_top(ctx, ctx->proc_fd, "proc");
}

int sandbox_in_sys(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	ctx->sys_fd =
		sandbox_new_mount(ctx, "sysfs", NULL, ATTR_QUIET | (s->a ? MOUNT_ATTR_RDONLY : 0));
	return ctx->sys_fd < 0 ? ctx->sys_fd : attach_top(ctx, ctx->sys_fd, "sys");
}

/*
 * cgroup2 as the container's cgroup namespace shows it. On v1 and hybrid hosts: the container's own
 * groups, bound read-only; without a group of its own there is nothing to show, and nothing of the
 * host's is shown (CVE-2023-25809, TRAPS T13).
 */
int sandbox_in_cgroup_fs(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	static const char *const options[] = { "mode", "755", "size", "64k", NULL };
	unsigned attr = ATTR_QUIET | (s->a ? MOUNT_ATTR_RDONLY : 0);
	auto_fd int fd = -1;
	int rc;

	if (!ctx->cgroup_v2 && !ctx->n_views)
		return 0;
	fd = ctx->cgroup_v2 ? sandbox_new_mount(ctx, "cgroup2", NULL, attr)
			    : sandbox_new_mount(ctx, "tmpfs", options, ATTR_QUIET);
	if (fd < 0)
		return fd;
	rc = sandbox_attach_at(fd, ctx->sys_fd, "fs/cgroup");
	for (size_t i = 0; i < ctx->n_views && rc == 0 && !ctx->cgroup_v2; i++) {
		rc = mkdirat(fd, ctx->views[i].name, 0755) < 0 ? -errno : 0;
		if (rc == 0)
			rc = sandbox_attach_at(ctx->views[i].fd, fd, ctx->views[i].name);
	}
	return rc == 0 && !ctx->cgroup_v2 ? sandbox_set_attr(fd, MOUNT_ATTR_RDONLY) : rc;
}

int sandbox_in_dev(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	static const char *const options[] = { "mode", "755", "size", "65536k", NULL };

	(void)s;
	ctx->dev_fd = sandbox_new_mount(ctx, "tmpfs", options,
					MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
	return ctx->dev_fd < 0 ? ctx->dev_fd : attach_top(ctx, ctx->dev_fd, "dev");
}

int sandbox_in_node(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	return mknodat(ctx->dev_fd, s->name, (mode_t)s->a, (dev_t)s->b) < 0 ? -errno : 0;
}

/* Bound over itself, so that it stays a device when the rest of /dev becomes nodev. */
int sandbox_in_node_bind(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int fd = sys_open_tree(ctx->dev_fd, s->name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return fd < 0 ? -errno : sandbox_attach_at(fd, ctx->dev_fd, s->name);
}

int sandbox_in_link(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	return symlinkat(s->value, ctx->dev_fd, s->name) < 0 ? -errno : 0;
}

int sandbox_in_dir(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	return mkdirat(ctx->dev_fd, s->name, 0755) < 0 ? -errno : 0;
}

static int dev_mount(struct sandbox_ctx *ctx, const char *fs, const char *const *options,
		     unsigned attr, const char *name)
{
	auto_fd int fd = sandbox_new_mount(ctx, fs, options, attr);
	int rc;

	if (fd < 0)
		return fd;
	if (mkdirat(ctx->dev_fd, name, 0755) < 0)
		return -errno;
	rc = sandbox_attach_at(fd, ctx->dev_fd, name);
	return rc < 0 ? rc : fd_take(&fd);
}

/* Linux 6.1 reads the group as a signed number, and those of a user namespace may be beyond. Then a
 * terminal has the group of whoever opens it, which may not write to it. */
int sandbox_in_devpts(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const char *const options[] = { "ptmxmode", "0666", "mode", "0620", "gid", s->value, NULL };
	const char *const without[] = { "ptmxmode", "0666", "mode", "0600", NULL };
	unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

	ctx->pts_fd = dev_mount(ctx, "devpts", options, attr, "pts");
	if (ctx->pts_fd == -EINVAL)
		ctx->pts_fd = dev_mount(ctx, "devpts", without, attr, "pts");
	return ctx->pts_fd < 0 ? ctx->pts_fd : 0;
}

static int close_after(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int sandbox_in_shm(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const char *const options[] = { "source", "shm", "mode", "1777", "size", s->value, NULL };

	if (!s->value) {
		if (mkdirat(ctx->dev_fd, "shm", 0755) < 0)
			return -errno;
		return sandbox_attach_at(ctx->plan->spec.shm_fd, ctx->dev_fd, "shm");
	}
	return close_after(dev_mount(ctx, "tmpfs", options, ATTR_QUIET, "shm"));
}

int sandbox_in_mqueue(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int rc = close_after(dev_mount(ctx, "mqueue", NULL, ATTR_QUIET, "mqueue"));

	(void)s;
	return rc == -ENODEV ? 0 : rc; /* a kernel without POSIX queues */
}

int sandbox_in_dev_seal(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return sandbox_set_attr(ctx->dev_fd, MOUNT_ATTR_NODEV);
}

int sandbox_in_mount(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int made = -1, target = -1;
	struct stat st;
	struct statfs fs;
	int fd = ctx->mount_fds[s->a], rc;

	if (fd < 0) {
		made = sandbox_source_make(ctx, s->mount);
		fd = made;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	target = sandbox_make_path(ctx->root_fd, s->name, S_ISDIR(st.st_mode));
	if (target < 0)
		return target;
	/* By a symlink of the image the target may lie in our /proc after all. */
	if (fstatfs(target, &fs) < 0)
		return -errno;
	if (fs.f_type == PROC_MAGIC && strncmp(s->name, "/proc/", 6) != 0)
		return -EPERM;
	rc = sandbox_attach(fd, target);
	return rc < 0 ? rc : sandbox_source_attached(ctx, s->mount);
}

/* The part of a listed path that lies in our own proc or sysfs, and the fd of that mount. */
static int beneath_ours(const struct sandbox_ctx *ctx, const char *path, const char **ret_rest)
{
	bool proc = !strncmp(path, "/proc/", 6);

	*ret_rest = path + (proc ? 6 : 5);
	return proc ? ctx->proc_fd : ctx->sys_fd;
}

int sandbox_in_read_only(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const char *rest;
	int base = beneath_ours(ctx, s->name, &rest), rc;
	auto_fd int fd = sys_open_tree(base, rest,
				       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = sandbox_set_attr(fd, MOUNT_ATTR_RDONLY);
	return rc < 0 ? rc : sandbox_attach_at(fd, base, rest);
}

/*
 * A file gets /dev/null of our own /dev, by fd. A directory gets an empty one: a directory of
 * /dev's tmpfs that was removed, so nothing can be made in it, bound read-only; that saves a file
 * system a directory (CVE-2025-31133, TRAPS T7).
 */
int sandbox_in_mask(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const char *rest, *from = "null";
	int base = beneath_ours(ctx, s->name, &rest), rc = 0;
	auto_fd int target = openat(base, rest, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int fd = -1;
	struct stat st;
	bool is_dir;

	if (target < 0 || fstat(target, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	is_dir = S_ISDIR(st.st_mode);
	if (is_dir) {
		from = ".masked";
		if (mkdirat(ctx->dev_fd, from, 0555) < 0)
			return -errno;
	}
	fd = sys_open_tree(ctx->dev_fd, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		rc = -errno;
	if (rc == 0 && is_dir)
		rc = sandbox_set_attr(fd, MOUNT_ATTR_RDONLY | ATTR_QUIET);
	if (rc == 0)
		rc = sandbox_attach(fd, target);
	if (is_dir && unlinkat(ctx->dev_fd, from, AT_REMOVEDIR) < 0)
		return -errno;
	return rc;
}

int sandbox_in_root_read_only(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return sandbox_set_attr(ctx->root_fd, MOUNT_ATTR_RDONLY);
}
