/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For kernels before 6.7, which take layers only as one mount(2) option of at most a page. A child
 * in a mount namespace of its own stands in snap/, so that a layer is "12/fs" and some 450 fit,
 * mounts there, and hands back a detached clone. Its namespace goes with it. And for mounts by the
 * ids of a user namespace: layers of those are found beneath a clone of snap/ that shows files by
 * them, which kernels before 6.15 take only where it is mounted somewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { OPTION_PAGE = 4096 };

enum step { STEP_CHDIR, STEP_UNSHARE, STEP_PRIVATE, STEP_MAP, STEP_MOUNT, STEP_CLONE, STEP_SEND };
static const char *const step_names[] = {
	"chdir to snap", "unshare mounts", "make mounts private", "owners by a user namespace",
	"mount overlay", "open_tree",      "hand over",
};

/* What the child sends, with the fd when error is 0. */
struct answer {
	int step, error;
};

/* Into snap/ as the namespace's root owns it. The overlay's maker, who makes its whiteouts, has to
 * be somebody there. */
static int go_mapped(const struct ids_range *ids)
{
	int fd = sys_open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int rc = fd < 0 ? -errno : ids_map(ids, fd);

	if (rc == 0 && (sys_move_mount(fd, "", AT_FDCWD, "../empty", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
			fchdir(fd) < 0))
		rc = -errno;
	if (rc == 0)
		rc = ids_enter(ids);
	errno = -rc;
	return rc;
}

/* After fork, of a process that may have threads: system calls only. */
static int child_mount(const struct snap *s, unsigned long flags, const char *options,
		       int *ret_step)
{
	/* Before unshare, which carries the working directory over: overlayfs refuses directories
	 * of another namespace. */
	*ret_step = STEP_CHDIR;
	if (fchdir(s->snap_fd) < 0)
		return -1;
	*ret_step = STEP_UNSHARE;
	if (unshare(CLONE_NEWNS) < 0)
		return -1;
	/* Else the mount would appear in the host's table, whose peers these mounts are. */
	*ret_step = STEP_PRIVATE;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	*ret_step = STEP_MAP;
	if (s->ids && go_mapped(s->ids) < 0)
		return -1;
	*ret_step = STEP_MOUNT;
	if (mount("shale", "../empty", "overlay", flags, options) < 0)
		return -1;
	*ret_step = STEP_CLONE;
	return sys_open_tree(AT_FDCWD, "../empty", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

struct wish {
	const struct snap *s;
	unsigned long flags;
	const char *options;
};

static void child_main(int sock, const void *arg)
{
	const struct wish *w = arg;
	struct answer a = { 0, 0 };
	int fd = child_mount(w->s, w->flags, w->options, &a.step);

	if (fd < 0)
		a.error = errno ? errno : EIO;
	fd_send(sock, &a, sizeof(a), fd);
}

static int receive(int sock, int *ret_fd, struct err *err)
{
	struct answer a = { STEP_SEND, EPROTO };
	auto_fd int fd = -1;
	ssize_t n = fd_receive(sock, &a, sizeof(a), &fd);

	if (n < 0)
		return err_sys(err, "mount helper");
	if (n != (ssize_t)sizeof(a) || a.step < 0 || a.step > STEP_SEND)
		return err_set(err, EPROTO, "mount helper ended early");
	if (a.error)
		return err_errno(err, a.error, "mount helper: %s", step_names[a.step]);
	if (fd < 0)
		return err_set(err, EPROTO, "mount helper sent no mount");
	*ret_fd = fd_take(&fd);
	return 0;
}

static int make_options(const struct snap_plan *p, struct str *ret, struct err *err)
{
	for (const struct snap_option *o = snap_options; o->key; o++)
		str_addf(ret, "%s=%s,", o->key, o->value);
	if (p->is_volatile)
		str_add(ret, "volatile,");
	if (p->upper) {
		str_addf(ret, "upperdir=%s,", SNAP_NAME(p->upper, "fs"));
		str_addf(ret, "workdir=%s,", SNAP_NAME(p->upper, "work"));
	}
	str_add(ret, "lowerdir=");
	for (size_t i = 0; i < p->n_lower; i++)
		str_addf(ret, "%s%s", i ? ":" : "", SNAP_LOWER(p, i));
	if (ret->len >= OPTION_PAGE)
		return err_set(err, ENAMETOOLONG,
			       "%zu layers are more than mount(2) takes on a kernel before 6.7",
			       p->n_lower);
	return 0;
}

int snap_overlay_helper(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err)
{
	struct wish w = { .s = s, .flags = p->rdonly ? MS_RDONLY : 0 };
	auto_fd int ours = -1, fd = -1;
	auto_str struct str options = { 0 };
	struct err ignored = { 0 };
	int rc, code;
	pid_t pid;

	rc = make_options(p, &options, err);
	if (rc >= 0)
		rc = fs_mkdir(s->store_fd, "empty", 0755, err);
	if (rc < 0)
		return rc;
	w.options = str_get(&options);
	pid = proc_fork_helper(child_main, &w, &ours, err);
	if (pid < 0)
		return err_ctx(err, "mount helper");
	rc = receive(ours, &fd, err);
	proc_wait(pid, &code, &ignored);
	if (rc < 0)
		return rc;
	if (p->rdonly) {
		struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

		if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
			return err_sys(err, "mount helper: read-only");
	}
	*ret_fd = fd_take(&fd);
	return 0;
}
