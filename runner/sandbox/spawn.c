/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side: opens what the child needs, clones it, lets it exec, waits and kills. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { CGROUP2_MAGIC = 0x63677270, PROPAGATION_PRIVATE = 1 << 18 /* MS_PRIVATE */ };
enum { REAP_TRIES = 500, REAP_WAIT_NS = 1000 * 1000 };

void sandbox_ctx_init(struct sandbox_ctx *ctx, const struct sandbox_plan *p)
{
	*ctx = (struct sandbox_ctx){ .plan = p };
	ctx->sock = ctx->parent_sock = ctx->stub_fd = ctx->join_pidfd = ctx->root_fd =
		ctx->null_fd = -1;
	ctx->proc_fd = ctx->sys_fd = ctx->dev_fd = ctx->pts_fd = -1;
	ctx->user_fd = ctx->pid_fd = ctx->mask_null_fd = ctx->mask_dir_fd = ctx->exec_fd = -1;
}

void sandbox_ctx_close(struct sandbox_ctx *ctx)
{
	if (ctx->plan->layout)
		sandbox_layout_close(ctx);
	fd_close(&ctx->sock);
	fd_close(&ctx->parent_sock);
	fd_close(&ctx->stub_fd);
	fd_close(&ctx->join_pidfd);
	fd_close(&ctx->null_fd);
	if (ctx->root_fd != ctx->plan->spec.root_fd)
		fd_close(&ctx->root_fd);
	for (size_t i = 0; ctx->mount_fds && i < ctx->plan->spec.n_mounts; i++)
		fd_close(&ctx->mount_fds[i]);
	free(ctx->mount_fds);
	for (size_t i = 0; i < ctx->n_cgroup_tasks; i++)
		fd_close(&ctx->cgroup_tasks[i]);
	for (size_t i = 0; i < ctx->n_views; i++)
		fd_close(&ctx->views[i].fd);
}

/* A directory becomes a bind of itself. A detached mount is used as it is where the kernel does not
 * clone those (before 6.15). */
static int open_root(struct sandbox_ctx *ctx, struct err *err)
{
	struct mount_attr attr = { .propagation = PROPAGATION_PRIVATE };
	const struct sandbox_spec *spec = &ctx->plan->spec;
	int fd = spec->root_is_spent
			 ? -1
			 : sys_open_tree(spec->root_fd, "",
					 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0 && !spec->root_is_spent && errno != EINVAL)
		return err_sys(err, "root file system");
	ctx->root_fd = fd < 0 ? spec->root_fd : fd;
	if (fd >= 0 && sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "root file system: private");
	return 0;
}

/* A bind's source is cloned here, where its mount lives; the child attaches the clone. */
static int open_bind(const struct sandbox_plan *p, const struct sandbox_mount *m, int *ret_fd,
		     struct err *err)
{
	struct mount_attr attr = {
		.attr_set = (m->read_only ? MOUNT_ATTR_RDONLY : 0) |
			    (m->nosuid ? MOUNT_ATTR_NOSUID : 0) |
			    (m->nodev ? MOUNT_ATTR_NODEV : 0) | (m->noexec ? MOUNT_ATTR_NOEXEC : 0),
		.propagation = m->propagation ? m->propagation : PROPAGATION_PRIVATE,
	};
	unsigned flags = AT_EMPTY_PATH | (m->recursive ? AT_RECURSIVE : 0);
	struct stat st;

	if (fstat(m->source_fd, &st) < 0)
		return err_sys(err, "source of %s", m->target);
	/* Without a device cgroup a volume must not bring devices; a device that was asked for by
	 * name may. */
	if (!p->spec.privileged && !p->spec.cgroup.opens_devices && !S_ISCHR(st.st_mode) &&
	    !S_ISBLK(st.st_mode))
		attr.attr_set |= MOUNT_ATTR_NODEV;
	*ret_fd = sys_open_tree(m->source_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
	/* A mount that is detached already (fsmount, open_tree): the caller's may be moved. */
	if (*ret_fd < 0 && errno == EINVAL)
		*ret_fd = fd_dup(m->source_fd);
	if (*ret_fd < 0)
		return err_sys(err, "bind to %s", m->target);
	if (sys_mount_setattr(*ret_fd, "", flags, &attr, sizeof(attr)) < 0)
		return err_sys(err, "bind to %s: flags", m->target);
	if (m->is_mapped && p->spec.ids && ids_map(p->spec.ids, *ret_fd) < 0)
		return err_sys(err, "bind to %s: owners by a user namespace", m->target);
	return 0;
}

static int open_mounts(struct sandbox_ctx *ctx, struct err *err)
{
	const struct sandbox_plan *p = ctx->plan;
	int rc = 0;

	ctx->mount_fds = mem_array(p->spec.n_mounts + 1, sizeof(int));
	for (size_t i = 0; i < p->spec.n_mounts; i++)
		ctx->mount_fds[i] = -1;
	for (size_t i = 0; i < p->spec.n_mounts && rc == 0; i++)
		if (p->mounts[i].kind == SANDBOX_BIND && !p->mounts[i].in_tree)
			rc = open_bind(p, &p->mounts[i], &ctx->mount_fds[i], err);
	return rc;
}

/* The child puts stdio on 0 to 2, so what it needs lies above. */
int sandbox_above_stdio(int *fd)
{
	int up;

	if (*fd > 2 || *fd < 0)
		return *fd;
	up = fd_dup(*fd);
	close(*fd);
	*fd = up;
	return up;
}

static int open_common(struct sandbox_ctx *ctx, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	ctx->parent_sock = pair[0];
	ctx->sock = pair[1];
	ctx->stub_fd = sandbox_stub_open(err);
	if (ctx->stub_fd < 0)
		return ctx->stub_fd;
	ctx->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (sandbox_above_stdio(&ctx->sock) < 0 || sandbox_above_stdio(&ctx->parent_sock) < 0 ||
	    sandbox_above_stdio(&ctx->stub_fd) < 0 || sandbox_above_stdio(&ctx->null_fd) < 0)
		return err_sys(err, "/dev/null");
	return 0;
}

static int set_oom_score(pid_t pid, const struct sandbox_plan *p, struct err *err)
{
	const int score = p->spec.oom_score_adj;
	const bool wanted = score || (p->layout && p->layout->oom_set);
	auto_free char *path = mem_fmt("/proc/%d/oom_score_adj", (int)pid);
	auto_free char *text = mem_fmt("%d", score);
	auto_fd int fd = wanted ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (!wanted)
		return 0;
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(err, "oom_score_adj %d", score);
	return 0;
}

static struct sandbox *new_sandbox(const struct sandbox_plan *p, const struct sandbox_step *steps,
				   size_t n)
{
	struct sandbox *sb = mem_alloc(sizeof(*sb));

	sb->pid = sb->pidfd = sb->sock = sb->terminal_fd = -1;
	sb->program = mem_str(p->argv.v[0]);
	for (size_t i = 0; i < n; i++) {
		struct str text = { 0 };

		if (steps[i].op != OP_NODE && steps[i].op != OP_LINK)
			sandbox_step_text(p, &steps[i], &text);
		else
			str_addf(&text, "/dev/%s", steps[i].name);
		strv_add_take(&sb->step_texts, str_take(&text));
	}
	return sb;
}

int sandbox_msg_error(const struct sandbox *sb, const struct sandbox_msg *m, struct err *err)
{
	if (m->kind == SANDBOX_MSG_READY || m->kind == SANDBOX_MSG_HELD)
		return 0;
	if (m->kind == SANDBOX_MSG_NO_EXEC)
		return err_errno(err, m->error, "exec %s", sb->program);
	if (m->kind == SANDBOX_MSG_FAILED && m->step < sb->step_texts.n && m->text[0])
		return err_errno(err, m->error, "sandbox: %s: %.*s", sb->step_texts.v[m->step],
				 (int)strnlen(m->text, sizeof(m->text)), m->text);
	if (m->kind == SANDBOX_MSG_FAILED && m->step < sb->step_texts.n)
		return err_errno(err, m->error, "sandbox: %s", sb->step_texts.v[m->step]);
	return err_set(err, EPROTO, "sandbox: odd message from the child");
}

int sandbox_receive(struct sandbox *sb, struct sandbox_msg *ret, int *ret_fd, struct err *err)
{
	ssize_t n;

	/* ECONNRESET: the child went without reading our go. It is told once, before the messages
	 * that are there. */
	do {
		n = fd_receive(sb->sock, ret, sizeof(*ret), ret_fd);
	} while (n < 0 && errno == ECONNRESET);
	if (n < 0)
		return err_sys(err, "sandbox: message from the child");
	if (n == 0)
		return 0;
	return n == sizeof(*ret) ? 1 : err_set(err, EPROTO, "sandbox: message of %zd bytes", n);
}

int sandbox_died_early(struct sandbox *sb, struct err *err)
{
	int status = 0;

	if (sandbox_wait(sb, -1, &status, err) < 0)
		return -err->code;
	return err_set(err, ECHILD, "sandbox: the process ended before it was set up (status %d)",
		       proc_exit_code(status));
}

/* With a terminal the caller needs the master at once; the rest of the setup goes on meanwhile in
 * any case. */
static int wait_terminal(struct sandbox *sb, struct err *err)
{
	struct sandbox_msg m;
	int rc = sandbox_receive(sb, &m, &sb->terminal_fd, err);

	if (rc == 0)
		return sandbox_died_early(sb, err);
	return rc < 0 ? rc : sandbox_msg_error(sb, &m, err);
}

int sandbox_start(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t clone_flags,
		  int cgroup_fd, struct sandbox **ret, struct err *err)
{
	bool joins = ctx->join_pidfd >= 0;
	const struct sandbox_step *steps = joins ? p->join_steps : p->steps;
	size_t n = joins ? p->n_join_steps : p->n_steps;
	auto_sandbox struct sandbox *sb = new_sandbox(p, steps, n);
	int pidfd = -1, rc = open_common(ctx, err);
	struct clone_args args = {
		.flags = clone_flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
			 (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	pid_t pid;

	if (rc < 0)
		return rc;
	sb->joined = joins;
	pid = ctx->user_fd >= 0 ? sandbox_clone_in_user(ctx->user_fd, &args, &pidfd)
				: sys_clone3(&args, sizeof(args));
	if (pid < 0)
		return err_sys(err, "clone");
	if (pid == 0)
		sandbox_child(ctx, steps, n);
	sb->pid = pid;
	sb->pidfd = pidfd;
	fd_close(&ctx->sock);
	sb->sock = fd_take(&ctx->parent_sock);
	rc = set_oom_score(pid, p, err);
	if (rc == 0 && p->spec.terminal && !p->layout)
		rc = wait_terminal(sb, err);
	if (rc < 0)
		return rc;
	*ret = take(sb);
	return 0;
}

#define auto_ctx cleanup(sandbox_ctx_close)

/* Docker's box: with a new namespace of each kind that the spec says nothing of. */
static int start_docker(const struct sandbox_plan *p, struct sandbox_ctx *ctx, int cgroup_fd,
			struct sandbox **ret, struct err *err)
{
	static const int kinds[] = { CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWIPC };
	const struct sandbox_ns *pid = sandbox_plan_ns(p, CLONE_NEWPID);
	uint64_t flags = CLONE_NEWNS;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!sandbox_plan_ns(p, kinds[i]))
			flags |= (uint64_t)kinds[i];
	if (p->spec.net == SANDBOX_NET_NONE && !sandbox_plan_ns(p, CLONE_NEWNET))
		flags |= CLONE_NEWNET;
	ctx->pid_fd = pid ? pid->fd : -1;
	rc = ctx->pid_fd >= 0 ? sandbox_start_inside(p, ctx, flags, cgroup_fd, ret, err)
			      : sandbox_start(p, ctx, flags, cgroup_fd, ret, err);
	if (rc == 0)
		(*ret)->shares_pids = pid != NULL;
	return rc;
}

int sandbox_spawn(const struct sandbox_plan *p, struct sandbox **ret, struct err *err)
{
	auto_ctx struct sandbox_ctx ctx;
	auto_fd int cgroup_fd = -1;
	struct statfs fs;
	struct err ignored;
	int rc;

	sandbox_ctx_init(&ctx, p);
	ctx.cgroup_v2 = statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
	if (p->layout) {
		rc = sandbox_layout_open(&ctx, err);
	} else {
		rc = open_root(&ctx, err);
		if (rc == 0)
			rc = open_mounts(&ctx, err);
	}
	if (rc == 0 && p->cgroup_name && p->layout)
		rc = sandbox_cgroup_make_all(p, &ctx, &cgroup_fd, err);
	else if (rc == 0 && p->cgroup_name)
		rc = sandbox_cgroup_make(&p->spec.cgroup, &ctx, &cgroup_fd, err);
	if (rc == 0)
		rc = p->layout ? sandbox_layout_start(p, &ctx, sandbox_layout_flags(p->layout),
						      cgroup_fd, ret, err)
			       : start_docker(p, &ctx, cgroup_fd, ret, err);
	if (rc == 0)
		(*ret)->cgroup_name = mem_str(p->cgroup_name);
	else if (p->cgroup_name && p->layout)
		sandbox_cgroup_delete(p->cgroup_name, &ignored);
	else if (p->cgroup_name)
		sandbox_cgroup_remove(p->cgroup_name, &ignored);
	return rc;
}

int sandbox_release(struct sandbox *sb, struct err *err)
{
	auto_fd int fd = -1;
	struct sandbox_msg m;
	int rc, status;

	if (sb->released)
		return 0;
	/* When the child has failed already its message is there to be read. */
	if (send(sb->sock, "g", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		return err_sys(err, "sandbox: release");
	rc = sandbox_receive(sb, &m, &fd, err);
	if (rc > 0 && m.kind == SANDBOX_MSG_LISTENER) {
		rc = sandbox_listener_new(fd_take(&fd), &sb->listener, err);
		if (rc >= 0)
			rc = sandbox_receive(sb, &m, &fd, err);
	}
	if (rc == 0) {
		/* The exec closed it. A child that was killed in its setup looks the same; its
		 * status tells. */
		sb->released = true;
		fd_close(&sb->sock);
		return 0;
	}
	if (rc < 0)
		return rc;
	rc = sandbox_msg_error(sb, &m, err);
	if (rc == 0)
		return err_set(err, EPROTO, "sandbox: odd message from the child");
	/* It leaves by itself; nothing of it stays. */
	sandbox_wait(sb, -1, &status, &(struct err){ 0 });
	return rc;
}

pid_t sandbox_pid(const struct sandbox *sb)
{
	return sb->pid;
}

int sandbox_pidfd(const struct sandbox *sb)
{
	return sb->pidfd;
}

int sandbox_terminal_fd(const struct sandbox *sb)
{
	return sb->terminal_fd;
}

/* 1 when the process has ended within the time, else 0. */
static int poll_end(const struct sandbox *sb, int timeout_ms, struct err *err)
{
	int64_t until = proc_mono_ns() / 1000000 + timeout_ms;
	struct pollfd p = { sb->pidfd, POLLIN, 0 };
	int rc;

	while ((rc = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR) {
		int64_t left = until - proc_mono_ns() / 1000000;

		timeout_ms = left > 0 ? (int)left : 0;
	}
	return rc < 0 ? err_sys(err, "wait for process %d", (int)sb->pid) : rc;
}

/* What it has left in others' pid namespace, and would hold its pipes. A subreaper, as the monitor
 * is, has to reap them. */
static void kill_left(const char *cgroup)
{
	auto_free pid_t *pids = NULL;
	struct err ignored;
	size_t n = 0;

	if (sandbox_cgroup_pids(cgroup, &pids, &n, &ignored) < 0)
		n = 0;
	sandbox_cgroup_kill(cgroup, &ignored);
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < REAP_TRIES && waitpid(pids[i], NULL, __WALL | WNOHANG) == 0;
		     k++)
			nanosleep(&(struct timespec){ .tv_nsec = REAP_WAIT_NS }, NULL);
}

int sandbox_wait(struct sandbox *sb, int timeout_ms, int *ret_status, struct err *err)
{
	int rc = 1;

	if (!sb->ended && timeout_ms >= 0)
		rc = poll_end(sb, timeout_ms, err);
	if (rc <= 0)
		return rc;
	while (!sb->ended) {
		if (waitpid(sb->pid, &sb->status, __WALL) == sb->pid)
			sb->ended = true;
		else if (errno != EINTR)
			return err_sys(err, "wait for process %d", (int)sb->pid);
	}
	if (sb->shares_pids && sb->cgroup_name) {
		sb->shares_pids = false;
		kill_left(sb->cgroup_name);
	}
	*ret_status = sb->status;
	return 1;
}

int sandbox_signal(struct sandbox *sb, int sig, struct err *err)
{
	if (sb->ended)
		return err_set(err, ESRCH, "process %d has ended", (int)sb->pid);
	return sys_pidfd_send_signal(sb->pidfd, sig) < 0 ? err_sys(err, "signal %d", sig) : 0;
}

int sandbox_kill(struct sandbox *sb, struct err *err)
{
	struct err ignored;
	int status;

	if (sb->ended)
		return 0;
	/* The end of pid 1 takes its pid namespace along; the cgroup is for what left that. */
	if (sys_pidfd_send_signal(sb->pidfd, SIGKILL) < 0 && errno != ESRCH)
		return err_sys(err, "kill process %d", (int)sb->pid);
	if (sb->cgroup_name && !sb->joined)
		sandbox_cgroup_kill(sb->cgroup_name, &ignored);
	return sandbox_wait(sb, -1, &status, err) < 0 ? -err->code : 0;
}

void sandbox_denied(struct sandbox *sb, struct strv *ret)
{
	if (sb->listener)
		sandbox_listener_names(sb->listener, ret);
}

void sandbox_free(struct sandbox *sb)
{
	struct err ignored;

	if (!sb)
		return;
	if (sb->pid > 0 && !sb->let_go)
		sandbox_kill(sb, &ignored);
	if (sb->cgroup_name && !sb->joined && !sb->let_go)
		sandbox_cgroup_remove(sb->cgroup_name, &ignored);
	fd_close(&sb->sock);
	fd_close(&sb->pidfd);
	fd_close(&sb->terminal_fd);
	sandbox_listener_free(sb->listener);
	strv_free(&sb->step_texts);
	free(sb->cgroup_name);
	free(sb->program);
	free(sb);
}

void sandbox_cleanup(struct sandbox **sb)
{
	int saved = errno;

	sandbox_free(*sb);
	errno = saved;
}
