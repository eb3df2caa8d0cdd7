/* SPDX-License-Identifier: Apache-2.0 */
/* The child: walks the steps, holds, executes the stub. It allocates nothing, takes no lock and
 * parses nothing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { FAILED = 125 };

static int in_dumpable(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx, (void)s;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* Signals too: what the parent blocked for its signalfd must reach the program. */
static int in_session(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	sigset_t none;

	(void)ctx, (void)s;
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return -errno;
	return setsid() < 0 ? -errno : 0;
}

/* "0" is the writer: so the child places itself and nobody waits for anybody. */
static int in_cgroup_enter(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	for (size_t i = 0; i < ctx->n_cgroup_tasks; i++)
		if (write(ctx->cgroup_tasks[i], "0", 1) != 1)
			return -errno;
	return 0;
}

static int in_cgroup_ns(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx, (void)s;
	return unshare(CLONE_NEWCGROUP) < 0 ? -errno : 0;
}

static int in_hostname(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	return sethostname(s->name, strlen(s->name)) < 0 ? -errno : 0;
}

static int in_domainname(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	return setdomainname(s->name, strlen(s->name)) < 0 ? -errno : 0;
}

static int in_umask(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	umask((mode_t)s->a);
	return 0;
}

/* The pid namespace came with the clone; the rest of the container by its pidfd. */
static int in_join(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	int types = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;

	(void)s;
	if (ctx->plan->layout)
		types |= ctx->join_types;
	if (setns(ctx->join_pidfd, types) < 0)
		return -errno;
	if (types & CLONE_NEWUSER && (sys_setresgid(0) < 0 || sys_setresuid(0) < 0 ||
				      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
		return -errno;
	ctx->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return ctx->root_fd < 0 ? -errno : 0;
}

static int in_fs_ids(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return ids_enter(ctx->plan->spec.ids);
}

static int in_user_ns(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)s;
	return setns(ctx->plan->spec.ids->fd, CLONE_NEWUSER) < 0 ? -errno : 0;
}

static int in_limit(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_limit *l = (const struct sandbox_limit *)s->value;
	struct rlimit r = { l->soft, l->hard };

	(void)ctx;
	return setrlimit((unsigned)l->resource, &r) < 0 ? -errno : 0;
}

static int in_keyring(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx, (void)s;
	return sys_keyctl_join(NULL) < 0 && errno != ENOSYS ? -errno : 0;
}

/* Whatever was open here and is not the program's, at exec. Before the filter: a profile older than
 * close_range refuses it. */
static int in_close(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	unsigned first = 3 + (l ? l->keep_fds : 0);

	(void)s;
	return sys_close_range(first, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

static int in_no_new_privs(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx, (void)s;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * pdeathsig is cleared by the changes of ids before; a parent that died earlier is an EOF here. Its
 * go may have been sent before that: it is the peer's end after the go that tells, and from the
 * prctl on the signal.
 */
static int in_hold(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	char go;
	ssize_t n;

	(void)s;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	/* Orphans are its own, as those of a process 1 are. */
	if (sandbox_plan_ns(ctx->plan, CLONE_NEWPID) && ctx->join_pidfd < 0 &&
	    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	do {
		n = read(ctx->sock, &go, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1 || recv(ctx->sock, &go, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(FAILED);
	return 0;
}

typedef int (*step_fn)(struct sandbox_ctx *ctx, const struct sandbox_step *s);

static const step_fn step_fns[OP_N] = {
	[OP_DUMPABLE] = in_dumpable,
	[OP_SESSION] = in_session,
	[OP_CGROUP_ENTER] = in_cgroup_enter,
	[OP_CGROUP_NS] = in_cgroup_ns,
	[OP_NET_FD] = sandbox_in_net_fd,
	[OP_LOOPBACK] = sandbox_in_loopback,
	[OP_HOSTNAME] = in_hostname,
	[OP_PRIVATE] = sandbox_in_private,
	[OP_FS_IDS] = in_fs_ids,
	[OP_ROOT] = sandbox_in_root,
	[OP_PROC] = sandbox_in_proc,
	[OP_SYS] = sandbox_in_sys,
	[OP_CGROUP_FS] = sandbox_in_cgroup_fs,
	[OP_DEV] = sandbox_in_dev,
	[OP_NODE] = sandbox_in_node,
	[OP_NODE_BIND] = sandbox_in_node_bind,
	[OP_LINK] = sandbox_in_link,
	[OP_DIR] = sandbox_in_dir,
	[OP_DEVPTS] = sandbox_in_devpts,
	[OP_SHM] = sandbox_in_shm,
	[OP_MQUEUE] = sandbox_in_mqueue,
	[OP_MOUNT] = sandbox_in_mount,
	[OP_DEV_SEAL] = sandbox_in_dev_seal,
	[OP_READ_ONLY] = sandbox_in_read_only,
	[OP_MASK] = sandbox_in_mask,
	[OP_ROOT_READ_ONLY] = sandbox_in_root_read_only,
	[OP_JOIN] = in_join,
	[OP_TERMINAL] = sandbox_in_terminal,
	[OP_STDIO] = sandbox_in_stdio,
	[OP_LIMIT] = in_limit,
	[OP_KEYRING] = in_keyring,
	[OP_CWD] = sandbox_in_cwd,
	[OP_USER_NS] = in_user_ns,
	[OP_CLOSE] = in_close,
	[OP_BOUNDING] = sandbox_in_bounding,
	[OP_GROUPS] = sandbox_in_groups,
	[OP_SECCOMP] = sandbox_in_seccomp,
	[OP_NO_NEW_PRIVS] = in_no_new_privs,
	[OP_USER] = sandbox_in_user,
	[OP_CAPS] = sandbox_in_caps,
	[OP_HOLD] = in_hold,
	[OP_MAPPED] = sandbox_in_mapped,
	[OP_NS] = sandbox_in_ns,
	[OP_DOMAINNAME] = in_domainname,
	[OP_ROOT_AT] = sandbox_in_root_at,
	[OP_PART] = sandbox_in_part,
	[OP_PROC_VIEW] = sandbox_in_proc_view,
	[OP_DEVICE] = sandbox_in_device,
	[OP_DEV_LINK] = sandbox_in_dev_link,
	[OP_CONSOLE] = sandbox_in_console,
	[OP_SYSCTL] = sandbox_in_sysctl,
	[OP_STAGE] = sandbox_in_stage,
	[OP_HOOKS] = sandbox_in_hooks,
	[OP_PIVOT] = sandbox_in_pivot,
	[OP_MASK_PATH] = sandbox_in_mask_path,
	[OP_READ_ONLY_PATH] = sandbox_in_read_only_path,
	[OP_ROOT_ATTR] = sandbox_in_root_attr,
	[OP_LABEL] = sandbox_in_label,
	[OP_UMASK] = in_umask,
	[OP_SCHEDULER] = sandbox_in_scheduler,
	[OP_IOPRIO] = sandbox_in_ioprio,
	[OP_PERSONALITY] = sandbox_in_personality,
	[OP_MEMPOLICY] = sandbox_in_mempolicy,
	[OP_AFFINITY] = sandbox_in_affinity,
	[OP_LAYOUT_CAPS] = sandbox_in_layout_caps,
	[OP_FIND] = sandbox_in_find,
	[OP_HELD] = sandbox_in_held,
};

static void failed(struct sandbox_ctx *ctx, enum sandbox_msg_kind kind, int error, size_t step)
{
	struct sandbox_msg m = { .kind = kind, .error = error, .step = (uint32_t)step };

	ssize_t ignored;

	memcpy(m.text, ctx->text, sizeof(m.text));
	if (ctx->sock >= 0)
		ignored = send(ctx->sock, &m, sizeof(m), MSG_NOSIGNAL);
	else
		ignored = write(ctx->exec_fd, &m, sizeof(m));
	(void)ignored;
	_exit(FAILED);
}

static void number_text(char buf[12], int n)
{
	char digits[12];
	int at = 0, out = 0;

	do {
		digits[at++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (at)
		buf[out++] = digits[--at];
	buf[out] = 0;
}

/* All fds close at exec but the sync fd, which the stub marks itself. Where a profile knows execve
 * alone the stub is found by the container's /proc. */
static void exec_stub(struct sandbox_ctx *ctx)
{
	const struct sandbox_plan *p = ctx->plan;
	char *const *envp = p->envp.v ? p->envp.v : (char *[]){ NULL };
	int fd = ctx->exec_fd >= 0 ? ctx->exec_fd : ctx->sock, first_error;
	char sync[12], path[32] = "/proc/self/fd/";

	number_text(sync, fd);
	p->stub_argv[1] = sync;
	if (fcntl(fd, F_SETFD, 0) < 0)
		return;
	sys_execveat(ctx->stub_fd, "", p->stub_argv, envp, AT_EMPTY_PATH);
	first_error = errno;
	number_text(path + strlen(path), ctx->stub_fd);
	execve(path, p->stub_argv, envp);
	errno = first_error;
}

void sandbox_child(struct sandbox_ctx *ctx, const struct sandbox_step *steps, size_t n)
{
	fd_close(&ctx->parent_sock);
	for (size_t i = 0; i < n; i++) {
		int rc = step_fns[steps[i].op](ctx, &steps[i]);

		if (rc < 0)
			failed(ctx,
			       steps[i].op == OP_FIND ? SANDBOX_MSG_NO_EXEC : SANDBOX_MSG_FAILED,
			       -rc, i);
	}
	exec_stub(ctx);
	failed(ctx, SANDBOX_MSG_NO_EXEC, errno, n);
	_exit(FAILED);
}
