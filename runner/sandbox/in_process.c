/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process becomes, in the child: session, terminal, ids, capabilities, filter.
 *
 * Ids are set by the bare system calls: libc's wrappers tell all threads of the process it
 * remembers, and after clone3 there are none, but their locks may be held.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/seccomp.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { DEVPTS_MAGIC = 0x1cd1, CAPS_MAX = 63 };

int sandbox_in_net_fd(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return setns(ctx->plan->spec.net_fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* As Docker's "none": nothing but a working loopback. */
int sandbox_in_loopback(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx, (void)s;
	return sandbox_loopback_up();
}

/* A pty's master: of our own devpts, or, joining, of what is devpts at /dev/pts of the container.
 */
int sandbox_open_master(struct sandbox_ctx *ctx)
{
	auto_fd int fd = -1;
	struct statfs fs;
	int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;

	if (ctx->pts_fd >= 0)
		fd = openat(ctx->pts_fd, "ptmx", flags);
	else
		fd = path_try_in(ctx->root_fd, "dev/pts/ptmx", flags | O_NOFOLLOW, 0);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	return fs.f_type == DEVPTS_MAGIC ? fd_take(&fd) : -ENOTTY;
}

/* /dev/console is the terminal, bound by the fd that the kernel gave us (CVE-2025-52565, TRAPS T8).
 */
static int bind_console(struct sandbox_ctx *ctx, int slave)
{
	auto_fd int tree =
		sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (tree < 0 || mknodat(ctx->dev_fd, "console", S_IFREG | 0600, 0) < 0 ||
	    sys_move_mount(tree, "", ctx->dev_fd, "console", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

int sandbox_send_fd(int sock, enum sandbox_msg_kind kind, int fd)
{
	struct sandbox_msg m = { .kind = kind };

	return fd_send(sock, &m, sizeof(m), fd) < 0 ? -errno : 0;
}

int sandbox_in_terminal(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int master = sandbox_open_master(ctx);
	auto_fd int slave = -1;
	int unlock = 0, rc;

	uint32_t base = ctx->plan->spec.ids ? ctx->plan->spec.ids->root : 0;

	(void)s;
	if (master < 0)
		return master;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || fchown(slave, ctx->plan->spec.uid + base, TTY_GROUP + base) < 0 ||
	    ioctl(slave, TIOCSCTTY, 0) < 0)
		return -errno;
	rc = ctx->pts_fd >= 0 ? bind_console(ctx, slave) : 0;
	if (rc < 0)
		return rc;
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return -errno;
	return sandbox_send_fd(ctx->sock, SANDBOX_MSG_READY, master);
}

/* A pipe belongs to who uses it, so that the program can open /dev/stdout anew. Files and terminals
 * stay as they are. */
static int give_pipe(int fd, const struct sandbox_spec *s)
{
	uid_t uid = s->uid + (s->ids ? s->ids->root : 0);
	struct stat st;

	if (!uid || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode) || st.st_uid == uid)
		return 0;
	return fchown(fd, uid, (gid_t)-1) < 0 && errno != EPERM ? -errno : 0;
}

int sandbox_in_stdio(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int fds[3], rc = 0;

	(void)s;
	if (ctx->plan->spec.terminal)
		return 0;
	/* First all above 2, so that no copy overwrites a source that is still needed. */
	for (int i = 0; i < 3; i++) {
		int from = ctx->plan->spec.stdio[i] < 0 ? ctx->null_fd : ctx->plan->spec.stdio[i];

		fds[i] = from > 2 ? from : fd_dup(from);
		if (fds[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 3 && rc == 0; i++)
		rc = dup2(fds[i], i) < 0 ? -errno : give_pipe(i, &ctx->plan->spec);
	return rc;
}

int sandbox_in_cwd(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	char cwd[PATH_MAX];
	auto_fd int fd = -1;

	umask(022);
	if (!strcmp(s->name, "/"))
		return chdir("/") < 0 ? -errno : 0;
	/* Magic links (/proc/self/fd/N) are ELOOP here; getcwd tells whether we are inside the root
	 * all the same. */
	fd = sandbox_make_path(ctx->root_fd, s->name, true);
	if (fd < 0)
		return fd;
	if (fchdir(fd) < 0)
		return -errno;
	/* Not libc's getcwd, which walks and allocates when the kernel says "(unreachable)". */
	if (sys_getcwd(cwd, sizeof(cwd)) < 0 || cwd[0] != '/')
		return -EXDEV;
	return 0;
}

int sandbox_in_bounding(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	for (int c = 0; c <= CAPS_MAX; c++) {
		if (s->a & (1ull << c))
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return errno == EINVAL && c > CAP_AUDIT_READ
				       ? 0
				       : -errno; /* past the kernel's last */
	}
	return 0;
}

int sandbox_in_groups(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return sys_setgroups(ctx->plan->n_groups, ctx->plan->groups) < 0 ? -errno : 0;
}

int sandbox_in_seccomp(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	struct sock_fprog prog = { (unsigned short)(l ? l->n_filter : ctx->plan->n_filter),
				   l ? (struct sock_filter *)(uintptr_t)l->filter
				     : ctx->plan->filter };
	unsigned flags = l                             ? l->filter_flags
			 : ctx->plan->spec.tell_denied ? SECCOMP_FILTER_FLAG_NEW_LISTENER
						       : 0;
	auto_fd int listener = -1;
	int rc = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);

	(void)s;
	if (rc < 0 && flags && (errno == EBUSY || (errno == EMFILE && !l))) {
		/* Who started shale listens already, and a process has one listener at most; or the
		 * limit of open files leaves no number for it. Then the kernel refuses, and nobody
		 * remembers what. */
		sandbox_filter_unlisten(ctx->plan->filter, ctx->plan->n_filter);
		flags = 0;
		rc = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
	}
	if (rc < 0)
		return -errno;
	if (!(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return 0;
	listener = rc;
	return sandbox_send_fd(ctx->sock, SANDBOX_MSG_LISTENER, listener);
}

int sandbox_in_user(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	uid_t uid = ctx->plan->spec.uid;
	gid_t gid = ctx->plan->spec.gid;

	(void)s;
	if (prctl(PR_SET_KEEPCAPS, uid != 0, 0, 0, 0) < 0 || sys_setresgid(gid) < 0 ||
	    sys_setresuid(uid) < 0)
		return -errno;
	return 0;
}

/* Permitted and effective as asked; inheritable and with it ambient empty (CVE-2022-24769, TRAPS
 * T11). */
int sandbox_in_caps(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)s->a, (uint32_t)s->a, 0 },
		{ (uint32_t)(s->a >> 32), (uint32_t)(s->a >> 32), 0 },
	};

	(void)ctx;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    sys_capset(&head, data) < 0)
		return -errno;
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? -errno : 0;
}
