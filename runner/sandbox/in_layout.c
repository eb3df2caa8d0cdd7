/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, root and mounts of a layout, in the child. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { PROC_MAGIC = 0x9fa0, OPTIONS_MAX = 64 };

/* Tells the parent and waits for its word. */
static int ask(struct sandbox_ctx *ctx, enum sandbox_msg_kind kind)
{
	struct sandbox_msg m = { .kind = kind };
	char go;
	ssize_t n;

	if (send(ctx->sock, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		return -errno;
	do {
		n = read(ctx->sock, &go, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -ECANCELED;
}

/* Root of the user namespace: until then we are nobody in it. The change of ids makes us
 * dumpable or not by a setting of the host's. */
int sandbox_in_mapped(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int rc = s->a ? ask(ctx, SANDBOX_MSG_MAP) : 0;

	if (rc < 0)
		return rc;
	if (sys_setresgid(0) < 0 || sys_setresuid(0) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

int sandbox_in_ns(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_ns *ns = s->of;

	(void)ctx;
	return setns(ns->fd, ns->type) < 0 ? -errno : 0;
}

int sandbox_in_stage(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return ask(ctx, SANDBOX_MSG_STAGE);
}

int sandbox_in_root_at(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	umask(0);
	return sys_move_mount(ctx->root_fd, "", AT_FDCWD, s->name, MOVE_MOUNT_F_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

int sandbox_in_pivot(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	if (fchdir(ctx->root_fd) < 0 || sys_pivot_root(".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int sandbox_in_root_attr(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	struct mount_attr attr = { .propagation = l->root_propagation };
	unsigned flags = AT_EMPTY_PATH | (l->root_propagation_below ? AT_RECURSIVE : 0);

	(void)s;
	if (l->root_propagation &&
	    sys_mount_setattr(ctx->root_fd, "", flags, &attr, sizeof(attr)) < 0)
		return -errno;
	return l->root_read_only ? sandbox_set_attr(ctx->root_fd, MOUNT_ATTR_RDONLY) : 0;
}

int sandbox_new_fs(struct sandbox_ctx *ctx, const struct sandbox_part *part)
{
	const char *options[2 * OPTIONS_MAX + 1];
	size_t n = 0;

	if (part->n_options > OPTIONS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < part->n_options; i++) {
		options[n++] = part->options[i].key;
		options[n++] = part->options[i].value;
	}
	options[n] = NULL;
	return sandbox_new_mount(ctx, part->fs, options, (unsigned)part->set);
}

/* The container's own groups: cgroup2 seen from its namespace, or each v1 group bound. */
static int own_groups(struct sandbox_ctx *ctx, const struct sandbox_part *part)
{
	static const char *const options[] = { "mode", "755", "size", "64k", NULL };
	auto_fd int fd = -1;
	int rc = 0;

	if (ctx->cgroup_v2)
		return sandbox_new_mount(ctx, "cgroup2", NULL, (unsigned)part->set);
	fd = sandbox_new_mount(ctx, "tmpfs", options, (unsigned)part->set & ~MOUNT_ATTR_RDONLY);
	return fd < 0 ? fd : rc < 0 ? rc : fd_take(&fd);
}

/* After the tmpfs has been attached: only then are there places for them. */
static int fill_groups(struct sandbox_ctx *ctx, const struct sandbox_part *part, int fd)
{
	int rc = 0;

	if (ctx->cgroup_v2)
		return 0;
	for (size_t i = 0; i < ctx->n_views && rc == 0; i++) {
		rc = mkdirat(fd, ctx->views[i].name, 0755) < 0 ? -errno : 0;
		if (rc == 0 && part->set & MOUNT_ATTR_RDONLY)
			rc = sandbox_set_attr(ctx->views[i].fd, MOUNT_ATTR_RDONLY);
		if (rc == 0)
			rc = sandbox_attach_at(ctx->views[i].fd, fd, ctx->views[i].name);
	}
	return rc == 0 && part->set & MOUNT_ATTR_RDONLY ? sandbox_set_attr(fd, MOUNT_ATTR_RDONLY)
							: rc;
}

/*
 * proc and sysfs go to a directory that is no symlink: an image could lead us elsewhere
 * (CVE-2023-27561, TRAPS T5). Everything else goes where a process of the container would find it,
 * but not into a proc, save for the files that lxcfs replaces.
 */
static int open_target(struct sandbox_ctx *ctx, const struct sandbox_part *part, bool is_dir)
{
	bool top = part->fs && (!strcmp(part->fs, "proc") || !strcmp(part->fs, "sysfs"));
	auto_fd int fd = -1, again = -1;
	struct statfs fs;
	struct stat a, b;

	fd = sandbox_make_path(ctx->root_fd, part->target, is_dir);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &a) < 0)
		return -errno;
	if (fs.f_type == PROC_MAGIC && !top && part->kind != SANDBOX_PART_REMOUNT &&
	    !sandbox_is_proc_allowed(part->target))
		return -EPERM;
	if (!top)
		return fd_take(&fd);
	again = path_try_in(ctx->root_fd, part->target, O_PATH | O_NOFOLLOW, 0);
	if (again < 0 || fstat(again, &b) < 0)
		return -errno;
	return a.st_ino == b.st_ino && a.st_dev == b.st_dev ? fd_take(&fd) : -ENOTDIR;
}

static int set_attrs(int fd, const struct sandbox_part *part)
{
	struct mount_attr one = { .attr_set = part->set, .attr_clr = part->clear };
	struct mount_attr below = { .attr_set = part->set_below, .attr_clr = part->clear_below };
	struct mount_attr spread = { .propagation = part->propagation };
	unsigned deep = AT_EMPTY_PATH | (part->propagation_below ? AT_RECURSIVE : 0);

	if ((one.attr_set || one.attr_clr) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH, &one, sizeof(one)) < 0)
		return -errno;
	if ((below.attr_set || below.attr_clr) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &below, sizeof(below)) < 0)
		return -errno;
	if (spread.propagation && sys_mount_setattr(fd, "", deep, &spread, sizeof(spread)) < 0)
		return -errno;
	return 0;
}

/* What to attach: the parent's clone, or a new file system. Its fd, or -1 for none (remount). */
static int make_part(struct sandbox_ctx *ctx, const struct sandbox_part *part)
{
	if (part->kind == SANDBOX_PART_CGROUP)
		return own_groups(ctx, part);
	return sandbox_new_fs(ctx, part);
}

static int remount(struct sandbox_ctx *ctx, const struct sandbox_part *part)
{
	auto_fd int fd = path_try_in(ctx->root_fd, part->target, O_PATH, 0);

	return fd < 0 ? -errno : set_attrs(fd, part);
}

static void remember(struct sandbox_ctx *ctx, const struct sandbox_part *part, int *fd)
{
	if (part->fs && !strcmp(part->fs, "devpts") && ctx->pts_fd < 0)
		ctx->pts_fd = fd_take(fd);
}

int sandbox_in_part(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_part *part = s->of;
	auto_fd int made = -1, target = -1;
	struct stat st;
	int fd = ctx->part_fds[s->a], rc;

	if (part->kind == SANDBOX_PART_REMOUNT)
		return remount(ctx, part);
	if (fd < 0) {
		made = make_part(ctx, part);
		fd = made;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	target = open_target(ctx, part, S_ISDIR(st.st_mode));
	if (target < 0)
		return target;
	rc = sandbox_attach(fd, target);
	if (rc == 0 && part->kind == SANDBOX_PART_CGROUP)
		rc = fill_groups(ctx, part, fd);
	if (rc == 0 && made >= 0 && part->propagation)
		rc = set_attrs(fd, &(struct sandbox_part){ .propagation = part->propagation,
							   .propagation_below = true });
	if (rc == 0 && made >= 0)
		remember(ctx, part, &made);
	return rc;
}

/* Never the container's /proc: that may be a directory of the image, or mounted over. */
int sandbox_in_proc_view(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	struct statfs fs;

	(void)s;
	ctx->proc_fd = sandbox_new_mount(ctx, "proc", NULL, 0);
	if (ctx->proc_fd != -EPERM)
		return ctx->proc_fd < 0 ? ctx->proc_fd : 0;
	/* A user namespace mounts one only where it sees a whole one; the one at /proc is ours
	 * then. */
	ctx->text[0] = 0;
	ctx->proc_fd = path_try_in(ctx->root_fd, "proc", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (ctx->proc_fd < 0 || fstatfs(ctx->proc_fd, &fs) < 0)
		return -errno;
	return fs.f_type == PROC_MAGIC ? 0 : -EPERM;
}

static int write_beneath(int dir_fd, const char *path, const char *value)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC,
				.resolve =
					RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	auto_fd int fd = sys_openat2(dir_fd, path, &how, sizeof(how));
	size_t n = strlen(value);

	if (fd < 0)
		return -errno;
	return write(fd, value, n) == (ssize_t)n ? 0 : -errno;
}

int sandbox_in_sysctl(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int dir = openat(ctx->proc_fd, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : write_beneath(dir, s->name, s->value);
}

/* What the next exec is labelled with. AppArmor's file of its own is of 5.8; before, it is shared.
 */
int sandbox_in_label(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int self = openat(ctx->proc_fd, "thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return self < 0 ? -errno : write_beneath(self, s->value, s->name);
}
