/* SPDX-License-Identifier: Apache-2.0 */
/* Another process in a running container. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { CAPTURE_BYTES = 4096 };

struct joined {
	struct strv argv, env;
	struct sandbox_user user;
	struct ids_range ids;
	char *cwd, *cache_dir;
	char cgroup[CONTAINER_GROUP_MAX];
};

#define JOINED_INIT                                                                                \
	{                                                                                          \
		.ids = IDS_INIT                                                                    \
	}

static void joined_free(struct joined *j)
{
	strv_free(&j->argv);
	strv_free(&j->env);
	sandbox_user_free(&j->user);
	ids_close(&j->ids);
	free(j->cwd);
	free(j->cache_dir);
}
#define auto_joined cleanup(joined_free)

int container_root(const struct container *c, struct err *err)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)c->pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* The pid was this container's after the open, so what was opened is its. */
	if (fd >= 0 && proc_is_alive(c->pid, c->start_time))
		return fd;
	fd_close(&fd);
	return err_set(err, EBUSY, "container %s is not running", c->name);
}

static int make_plan(struct container *c, const struct container_exec *x, const int stdio[3],
		     struct joined *j, struct sandbox_plan **ret, struct err *err)
{
	const char *user = x->user ? x->user : c->spec.user;
	struct sandbox_spec s = { .net_fd = -1, .terminal = x->tty };
	auto_fd int root = container_root(c, err);
	int rc = root;

	if (rc >= 0)
		rc = container_users_of(c, &j->ids, err);
	if (rc >= 0)
		rc = sandbox_user_find(root, user ? user : "", &j->user, err);
	if (rc >= 0)
		rc = container_security_apply(&c->spec, &s, err);
	if (rc < 0)
		return rc;
	strv_copy(&j->argv, &x->command);
	strv_copy(&j->env, &c->spec.env);
	if (x->tty)
		strv_env_set(&j->env, "TERM", "xterm");
	container_env_apply(&j->env, &x->env);
	container_env_home(&j->env, &j->user);
	j->cwd = path_join(c->spec.workdir ? c->spec.workdir : "/", x->workdir ? x->workdir : ".");
	j->cache_dir = container_cache_dir(c->rt);
	s.ids = j->ids.count ? &j->ids : NULL;
	if (x->privileged) {
		s.privileged = s.ids == NULL;
		s.seccomp_unconfined = true;
		s.caps = SANDBOX_CAPS_ALL;
	}
	container_umask(&c->spec, &s);
	s.root_fd = root;
	s.argv = strv_args(&j->argv);
	s.envp = strv_args(&j->env);
	s.cwd = j->cwd;
	s.uid = j->user.uid;
	s.gid = j->user.gid;
	s.groups = j->user.groups;
	s.n_groups = j->user.n_groups;
	s.net = str_eq(c->spec.network, "none") ? SANDBOX_NET_NONE : SANDBOX_NET_HOST;
	s.cache_dir = j->cache_dir;
	/* Its limits, and what stops it, hold for those who come later, too. */
	container_cgroup_name(c, j->cgroup);
	s.cgroup.name = j->cgroup;
	for (int i = 0; i < 3; i++)
		s.stdio[i] = stdio[i];
	return sandbox_plan(&s, ret, err);
}

static int run(struct container *c, const struct container_exec *x, struct container_stdio *io,
	       int *ret_exit, struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_container_box struct container_box box = CONTAINER_BOX_INIT;
	auto_joined struct joined j = JOINED_INIT;
	struct container_relay r = { .io = io };
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = make_plan(c, x, io->child, &j, &plan, err);
	if (rc >= 0)
		rc = sandbox_join(plan, c->pid, &box.sb, err);
	fault_point("container.exec.joined");
	if (rc >= 0)
		rc = container_stdio_spawned(io, err);
	if (rc >= 0)
		rc = container_box_release(&box, ret_exit, err);
	fault_point("container.exec.released");
	if (rc < 0)
		return rc;
	r.sb = box.sb;
	return container_relay_run(&r, ret_exit, err);
}

/* What comes until the end or the time is over; more than enough of it is read and dropped. */
static void capture(int from, int64_t until_ns, struct str *ret)
{
	char buf[CAPTURE_BYTES];

	for (;;) {
		int64_t left_ms = (until_ns - proc_mono_ns()) / 1000000;
		struct pollfd p = { from, POLLIN, 0 };
		ssize_t n;

		if (left_ms <= 0 || poll(&p, 1, (int)left_ms) == 0)
			return;
		n = read(from, buf, sizeof(buf));
		if (n <= 0 && errno != EINTR)
			return;
		if (n > 0 && ret->len < CAPTURE_BYTES)
			str_addn(ret, buf,
				 (size_t)n > CAPTURE_BYTES - ret->len ? CAPTURE_BYTES - ret->len
								      : (size_t)n);
	}
}

int container_exec_captured(struct container *c, const struct container_exec *x, int64_t timeout_ns,
			    struct str *ret_output, int *ret_exit, struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_container_box struct container_box box = CONTAINER_BOX_INIT;
	int64_t until_ns = proc_mono_ns() + timeout_ns;
	auto_joined struct joined j = JOINED_INIT;
	auto_fd int from = -1, to = -1;
	int fds[2], rc, status = 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	from = fds[0];
	to = fds[1];
	rc = make_plan(c, x, (int[3]){ -1, to, to }, &j, &plan, err);
	if (rc >= 0)
		rc = sandbox_join(plan, c->pid, &box.sb, err);
	if (rc >= 0)
		rc = container_box_release(&box, ret_exit, err);
	fd_close(&to);
	if (rc < 0)
		return rc;
	capture(from, until_ns, ret_output);
	rc = sandbox_wait(box.sb,
			  until_ns > proc_mono_ns() ? (int)((until_ns - proc_mono_ns()) / 1000000)
						    : 0,
			  &status, err);
	*ret_exit = rc > 0 ? proc_exit_code(status) : -1;
	return rc < 0 ? rc : 0;
}

/* The locks and the database that came with the fork: they are the other one's. */
static void close_others(const struct container_box *box, int sock, int status_fd)
{
	for (int fd = 3; fd < 256; fd++)
		if (fd != sandbox_pidfd(box->sb) && fd != sandbox_terminal_fd(box->sb) &&
		    fd != sock && fd != status_fd)
			close(fd);
}

static int start_kept(struct container *c, const struct container_exec *x, struct joined *j,
		      struct container_doors *doors, struct container_box *box,
		      struct container_started *st)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	int rc = make_plan(c, x, (int[3]){ -1, -1, -1 }, j, &plan, &st->err);

	if (rc >= 0)
		rc = sandbox_join(plan, c->pid, &box->sb, &st->err);
	fault_point("container.exec.kept");
	if (rc >= 0)
		container_doors_prepare(doors, box->sb);
	return rc < 0 ? rc : container_box_release(box, &st->exit_code, &st->err);
}

/*
 * A keeper that is a process of its own: for one that nobody waits for, and for a terminal (sock,
 * else -1) that may be left. It tells how the start went and then lives for pdeathsig's sake, and
 * to hand on what goes through the terminal; at last it tells the status.
 */
static void keep_apart(struct container *c, const struct container_exec *x, int sock, int status_fd)
{
	auto_container_box struct container_box box = CONTAINER_BOX_INIT;
	struct container_stdio io = CONTAINER_STDIO_INIT;
	struct container_doors doors;
	auto_joined struct joined j = JOINED_INIT;
	struct container_started st = { .exit_code = CONTAINER_EXIT_SHALE };
	struct container_relay r = { .io = &io, .doors = &doors };
	struct err ignored = { 0 };
	int rc, code = CONTAINER_EXIT_SHALE, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	container_doors_init(&doors);
	doors.is_private = true;
	if (sock >= 0)
		container_doors_add(&doors, sock);
	setsid();
	container_signals_default();
	if (chdir("/") < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	rc = start_kept(c, x, &j, &doors, &box, &st);
	fault_point("container.exec.started");
	fd_write_all(status_fd, &st, sizeof(st), &ignored);
	if (rc < 0)
		_exit(0);
	close_others(&box, sock, sock < 0 ? -1 : status_fd);
	r.sb = box.sb;
	signal(SIGPIPE, SIG_IGN);
	if (container_relay_run(&r, &code, &ignored) >= 0 && sock >= 0)
		fd_write_all(status_fd, &code, sizeof(code), &ignored);
	_exit(0);
}

static int read_start(int from, int *ret_exit, struct err *err)
{
	struct container_started st = { 0 };
	ssize_t n = fd_read_full(from, &st, sizeof(st), err);

	if (n < 0)
		return (int)n;
	if (n != sizeof(st))
		return err_set(err, ESRCH, "the process was lost before it started");
	*ret_exit = st.exit_code;
	if (st.err.code) {
		*err = st.err;
		return -err->code;
	}
	*ret_exit = 0;
	return 0;
}

/* theirs: of a socket pair, or -1. *ret_from: where the keeper tells. */
static int fork_keeper(struct container *c, const struct container_exec *x, int theirs,
		       int *ret_from, struct err *err)
{
	int fds[2], code;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	pid = fork();
	if (pid == 0) {
		if (fork() == 0)
			keep_apart(c, x, theirs, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	*ret_from = fds[0];
	return pid < 0 ? err_sys(err, "fork") : proc_wait(pid, &code, err);
}

static int exec_detached(struct container *c, const struct container_exec *x, int *ret_exit,
			 struct err *err)
{
	auto_fd int from = -1;
	int rc = fork_keeper(c, x, -1, &from, err);

	return rc < 0 ? rc : read_start(from, ret_exit, err);
}

/* At a terminal, which may be left by its keys. */
static int exec_attached(struct container *c, const struct container_exec *x, int *ret_exit,
			 struct err *err)
{
	struct container_attach a = { .with_stdin = true,
				      .sig_proxy = true,
				      .detach_keys = x->detach_keys };
	auto_fd int from = -1, ours = -1, theirs = -1;
	int rc, pair[2], code = CONTAINER_EXIT_LOST;

	if (!isatty(STDIN_FILENO))
		return err_set(err, ENOTTY, "the input device is not a terminal");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	container_client_tell_size(ours);
	rc = fork_keeper(c, x, theirs, &from, err);
	fd_close(&theirs);
	if (rc >= 0)
		rc = read_start(from, ret_exit, err);
	if (rc >= 0)
		rc = container_client_run(ours, &a, true, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (fd_read_full(from, &code, sizeof(code), err) < 0)
		return -err->code;
	*ret_exit = code;
	return 0;
}

int container_exec(struct container *c, const struct container_exec *x, int *ret_exit,
		   struct err *err)
{
	auto_container_stdio struct container_stdio io = CONTAINER_STDIO_INIT;
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = container_pid_wait(c, err);
	if (rc < 0)
		return rc;
	if (c->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is not running", c->name);
	if (x->command.n == 0)
		return err_set(err, EINVAL, "no command specified");
	container_event(c, "exec_start", "command", x->command.v[0]);
	if (x->detach)
		return exec_detached(c, x, ret_exit, err);
	if (x->tty && x->interactive) {
		rc = exec_attached(c, x, ret_exit, err);
	} else {
		rc = container_stdio_foreground(x->tty, x->interactive, false, &io, err);
		if (rc >= 0)
			rc = run(c, x, &io, ret_exit, err);
	}
	if (rc >= 0)
		container_event_number(c, "exec_die", "exitCode", *ret_exit);
	return rc;
}
