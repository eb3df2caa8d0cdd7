/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "remote.h"

enum { OUT_BYTES_MAX = 256 << 10, SAID_BYTES_MAX = 4 << 10, POLL_MS = 100 };
enum { NOBODY = 65534, SHOWN = 600, NOT_THERE = 127, NO_PLACE = 126 };

static const char *const places[] = { "/usr/local/bin/", "/usr/bin/", "/bin/" };

void tool_cleanup(struct tool *t)
{
	for (size_t i = 0; i < t->env.n; i++)
		explicit_bzero(t->env.v[i], strlen(t->env.v[i]));
	strv_free(&t->env);
	str_free(&t->out);
	str_free(&t->said);
}

int tool_check(const char *name, const char *package, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		auto_free char *path = mem_fmt("%s%s", places[i], name);

		if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
			return 0;
	}
	return err_set(err, ENOENT, "the program %s is not installed: it is in the package %s",
		       name, package);
}

static void open_ids(struct build *b)
{
	struct ids_range *i = &b->tool_ids;
	struct err ignored;
	char map[64];

	if (i->count)
		return;
	snprintf(map, sizeof(map), "%d %d 1\n", NOBODY, IDS_TOOL);
	*i = (struct ids_range){ ids_open_maps(&(struct ids_maps){ map, map }, &ignored), IDS_TOOL,
				 1 };
	if (i->fd < 0)
		*i = (struct ids_range){ -1, NOBODY, 1 };
}

uint32_t tool_uid(const struct build *b)
{
	return b->tool_ids.root;
}

int tool_dir(struct build *b, struct scratch *s, struct err *err)
{
	int rc = s->fd >= 0 ? 0 : scratch_open(b->rt->root_fd, s, err);

	open_ids(b);
	if (rc >= 0 && fchown(s->fd, tool_uid(b), tool_uid(b)) < 0)
		return err_sys(err, "a directory for a program of the host");
	return rc;
}

void tool_env(struct tool *t)
{
	static const char *const fixed[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp",
					     "LC_ALL=C", "SSH_ASKPASS=/bin/false" };

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		strv_add(&t->env, fixed[i]);
}

/* Whatever the host has in /tmp is out of sight, and our directory is where nobody can reach it. */
static int enter_own_tmp(int dir_fd)
{
	/* Before the namespace changes: an fd of the old one cannot be cloned in the new one. */
	int tree = sys_open_tree(dir_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (tree < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	if (sys_move_mount(tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -1;
	return chdir("/tmp");
}

/*
 * It starts others, which would go on when we are killed: in a pid namespace they end with its
 * first process. The one in between waits for that and ends with us. *ret_fd, in the program's
 * process: at its end when the one in between is gone.
 */
static void enter_own_pids(pid_t parent, int *ret_fd)
{
	int alive[2], code = NO_PLACE;
	struct err ignored;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent || pipe2(alive, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0)
		_exit(NO_PLACE);
	pid = fork();
	if (pid < 0)
		_exit(NO_PLACE);
	if (pid == 0) {
		close(alive[1]);
		*ret_fd = alive[0];
		return;
	}
	/* The program's output ends when it does. */
	dup2(alive[1], 0);
	sys_close_range(1, ~0u, 0);
	proc_wait(pid, &code, &ignored);
	_exit(code);
}

static bool is_closed(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) != 0;
}

struct become {
	int dir_fd, user_fd, fds[3];
	char *const *argv, *const *env;
	char *const *paths;
	pid_t parent;
};

static void become(const struct become *w)
{
	struct rlimit no_core = { 0, 0 }; /* it may hold keys and tokens */
	sigset_t none;
	int alive = -1;

	setsid();
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		_exit(NO_PLACE);
	enter_own_pids(w->parent, &alive);
	if (enter_own_tmp(w->dir_fd) < 0)
		_exit(NO_PLACE);
	for (int i = 0; i < 3; i++)
		if (dup2(w->fds[i], i) < 0)
			_exit(NO_PLACE);
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	umask(022);
	if (w->user_fd >= 0 && setns(w->user_fd, CLONE_NEWUSER) < 0)
		_exit(NO_PLACE);
	if (proc_become(NOBODY) < 0)
		_exit(NO_PLACE);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (is_closed(alive))
		_exit(NO_PLACE);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		execve(w->paths[i], w->argv, w->env);
	_exit(NOT_THERE);
}

/* fds: 0, 1 and 2 of it; -1: /dev/null. */
static int spawn(struct tool *t, struct strv *args, const int fds[3], pid_t *ret, struct err *err)
{
	auto_strv struct strv paths = { 0 };
	auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct become w = { .dir_fd = t->dir_fd,
			    .user_fd = t->b->tool_ids.fd,
			    .argv = strv_args(args),
			    .env = strv_args(&t->env),
			    .parent = getpid() };
	pid_t pid;

	if (null < 0)
		return err_sys(err, "open /dev/null");
	for (int i = 0; i < 3; i++)
		w.fds[i] = fds[i] < 0 ? null : fds[i];
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		strv_addf(&paths, "%s%s", places[i], args->v[0]);
	w.paths = strv_args(&paths);
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork for %s", args->v[0]);
	if (pid == 0)
		become(&w);
	*ret = pid;
	return 0;
}

/* All that is there, without waiting; what is beyond the limit is dropped. 0: the end. */
static int drain(int fd, struct str *to, size_t limit)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (to->len < limit)
			str_addn(to, buf,
				 (size_t)n < limit - to->len ? (size_t)n : limit - to->len);
	return n == 0 ? 0 : 1;
}

static int listen_to(struct tool *t, int out, int said, struct err *err)
{
	int open_out = 1, open_said = 1;

	fcntl(out, F_SETFL, O_NONBLOCK);
	fcntl(said, F_SETFL, O_NONBLOCK);
	while (open_out || open_said) {
		if (build_is_interrupted(t->b))
			return err_set(err, EINTR, "interrupted");
		build_wait(t->b, open_out ? out : said, POLL_MS);
		open_out = open_out && drain(out, &t->out, OUT_BYTES_MAX);
		open_said = open_said && drain(said, &t->said, SAID_BYTES_MAX);
	}
	return 0;
}

static int pipe_new(int *ret_r, int *ret_w, struct err *err)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	*ret_r = p[0];
	*ret_w = p[1];
	return 0;
}

int tool_run(struct tool *t, struct strv *args, int in_fd, struct err *err)
{
	auto_fd int out_r = -1, out_w = -1, said_r = -1, said_w = -1;
	pid_t pid = 0;
	int code = 0, rc;

	str_reset(&t->out);
	str_reset(&t->said);
	rc = pipe_new(&out_r, &out_w, err);
	if (rc >= 0)
		rc = pipe_new(&said_r, &said_w, err);
	if (rc >= 0)
		rc = spawn(t, args, (int[]){ in_fd, out_w, said_w }, &pid, err);
	if (rc < 0)
		return rc;
	fd_close(&out_w);
	fd_close(&said_w);
	rc = listen_to(t, out_r, said_r, err);
	/* Its whole session: nothing of it writes any more when the tree is read. */
	if (rc < 0)
		kill(-pid, SIGKILL);
	if (proc_wait(pid, &code, err) < 0 && rc >= 0)
		rc = -err->code;
	kill(-pid, SIGKILL);
	return rc < 0 ? rc : code;
}

int tool_start(struct tool *t, struct strv *args, pid_t *ret, struct err *err)
{
	return spawn(t, args, (int[]){ -1, -1, -1 }, ret, err);
}

void tool_stop(pid_t pid)
{
	struct err ignored;
	int code;

	kill(pid, SIGKILL);
	proc_wait(pid, &code, &ignored);
	kill(-pid, SIGKILL);
}

int tool_failed(struct tool *t, const char *what, int code, struct err *err)
{
	auto_free char *text = NULL;

	if (code == NOT_THERE)
		return err_set(err, ENOENT, "the program %s is not installed", what);
	if (code == NO_PLACE)
		return err_set(err, EPROTO, "%s has no place of its own to run in", what);
	text = source_url_scrub(str_get(&t->said));
	if (strlen(text) > SHOWN)
		text[SHOWN] = 0;
	text_safe(text);
	return err_set(err, EPROTO, "%s: %s", what, *text ? text : "ended with a failure");
}
