/* SPDX-License-Identifier: Apache-2.0 */
/* One work, once, on one driver: a snapshot, its mount, a process in it, and all gone again. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { POLL_MS = 100, REAP_MS = 10000, CHILDREN_MAX = 64 };

bool bench_is_interrupted(const struct bench *b)
{
	return b->o->interrupted && *b->o->interrupted;
}

static int64_t ns_of(const struct timeval *t)
{
	return (int64_t)t->tv_sec * 1000000000 + (int64_t)t->tv_usec * 1000;
}

static int64_t usage_ns(const struct rusage *u)
{
	return ns_of(&u->ru_utime) + ns_of(&u->ru_stime);
}

static int64_t own_cpu_ns(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return usage_ns(&self) + usage_ns(&children);
}

static bool is_daemon(pid_t pid)
{
	auto_free char *comm = NULL;
	struct err ignored = { 0 };
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	return fd_read_file(AT_FDCWD, path, 64, &comm, NULL, &ignored) >= 0 &&
	       str_starts(comm, "fuse-overlayfs");
}

/* The mount's daemon: it is our child, since it lost its parent and we reap orphans. */
static pid_t find_daemon(void)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL, &ignored) < 0)
		return 0;
	for (char *p = text, *end; isdigit((unsigned char)*p); p = end + (*end == ' ')) {
		pid_t pid = (pid_t)strtol(p, &end, 10);

		if (is_daemon(pid))
			return pid;
	}
	return 0;
}

static int64_t cpu_of(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (!pid || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return 0;
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* All orphans of the sample have ended; what their daemons used. */
static int64_t reap(void)
{
	int64_t until = proc_mono_ns() + REAP_MS * 1000000LL, used = 0;

	while (proc_mono_ns() < until) {
		siginfo_t info = { 0 };
		struct rusage u;
		bool counts;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			break; /* none is left */
		if (!info.si_pid) {
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			continue;
		}
		counts = is_daemon(info.si_pid);
		if (wait4(info.si_pid, NULL, 0, &u) > 0 && counts)
			used += usage_ns(&u);
	}
	return used;
}

/* --- the process --- */

struct outcome {
	struct bench_sample sample;
	struct err err;
};

/* The mount becomes a directory of this process alone: programs want a path to stand in. */
static int enter(struct bench_job *j, struct err *err)
{
	/* By path: what was opened before is of the other namespace. */
	auto_free char *at = mem_fmt("%s/at", j->b->path);

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, "mount namespace");
	if (sys_move_mount(j->root_fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, "attach the mount");
	j->root_fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->root_fd < 0 || fchdir(j->root_fd) < 0)
		return err_sys(err, "enter the mount");
	return 0;
}

static int drop_caches(struct err *err)
{
	sync();
	return fd_write_file(AT_FDCWD, "/proc/sys/vm/drop_caches", "3", 1, 0200, err);
}

static int measure(const struct bench_work *w, struct bench_job *j, pid_t daemon,
		   struct bench_sample *ret, struct err *err)
{
	int64_t start, cpu, daemon_cpu;
	int rc = 0;

	if (!w->has_no_mount)
		rc = enter(j, err);
	if (rc >= 0 && w->setup)
		rc = w->setup(j, err);
	if (rc >= 0 && w->is_cold)
		rc = drop_caches(err);
	if (rc < 0)
		return rc;
	daemon_cpu = cpu_of(daemon);
	cpu = own_cpu_ns();
	start = proc_mono_ns();
	rc = w->run(j, err);
	ret->wall_ns = proc_mono_ns() - start;
	ret->cpu_ns = own_cpu_ns() - cpu;
	ret->daemon_ns = cpu_of(daemon) - daemon_cpu;
	return rc;
}

static void child_main(const struct bench_work *w, struct bench_job *j, pid_t daemon, pid_t parent,
		       int out)
{
	struct outcome o = { 0 };
	struct err ignored = { 0 };

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	measure(w, j, daemon, &o.sample, &o.err);
	fd_write_all(out, &o, sizeof(o), &ignored);
	_exit(0);
}

static int wait_outcome(struct bench *b, int in, pid_t pid, struct outcome *ret, struct err *err)
{
	ssize_t n;

	for (;;) {
		struct pollfd p = { .fd = in, .events = POLLIN };

		if (bench_is_interrupted(b)) {
			kill(pid, SIGKILL);
			return err_set(err, EINTR, "interrupted");
		}
		if (poll(&p, 1, POLL_MS) > 0)
			break;
	}
	n = fd_read_full(in, ret, sizeof(*ret), err);
	if (n < 0)
		return (int)n;
	if (n != sizeof(*ret))
		return bench_is_interrupted(b) ? err_set(err, EINTR, "interrupted")
					       : err_set(err, ECHILD, "it was killed");
	if (ret->err.code)
		*err = ret->err;
	return -ret->err.code;
}

static int run_child(struct bench *b, const struct bench_work *w, struct bench_job *j,
		     struct bench_sample *ret, struct err *err)
{
	auto_fd int from = -1, to = -1;
	pid_t daemon = find_daemon(), pid;
	struct err ignored = { 0 };
	struct outcome o = { 0 };
	int fds[2], rc, code;
	pid_t us = getpid();

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	from = fds[0];
	to = fds[1];
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0)
		child_main(w, j, daemon, us, to);
	fd_close(&to);
	rc = wait_outcome(b, from, pid, &o, err);
	proc_wait(pid, &code, &ignored);
	*ret = o.sample;
	return rc;
}

/* --- around it --- */

static int in_mount(struct bench *b, const struct bench_work *w, enum snap_driver d, int64_t id,
		    struct bench_sample *ret, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	struct bench_job j = { .b = b, .driver = d };
	/* Works that sync shall; a mount is measured as builds make it. */
	int rc = snap_mount(b->s, id, w->run ? 0 : SNAP_VOLATILE, &m, err);

	if (rc < 0 || !w->run)
		return rc;
	j.root_fd = m.root_fd;
	return run_child(b, w, &j, ret, err);
}

static int with_snapshot(struct bench *b, const struct bench_work *w, enum snap_driver d,
			 struct bench_sample *ret, struct err *err)
{
	struct snap_new n = { .parent = b->base[w->base], .kind = SNAP_ACTIVE };
	int64_t start = proc_mono_ns(), cpu = own_cpu_ns(), daemon_ns;
	struct err ignored = { 0 };
	struct snap_info info;
	int rc;

	snap_use(b->s, d);
	rc = snap_prepare(b->s, &n, &info, err);
	if (rc < 0)
		return rc;
	rc = in_mount(b, w, d, info.id, ret, err);
	if (!w->run)
		ret->wall_ns = proc_mono_ns() - start;
	daemon_ns = reap();
	if (!w->run) {
		ret->daemon_ns = daemon_ns;
		ret->cpu_ns = own_cpu_ns() - cpu - daemon_ns;
	}
	snap_remove(b->s, info.id, &ignored);
	snap_sweep(b->s, &ignored);
	return rc;
}

static int without(struct bench *b, const struct bench_work *w, enum snap_driver d, unsigned serial,
		   struct bench_sample *ret, struct err *err)
{
	struct bench_job j = { .b = b, .root_fd = -1, .driver = d, .serial = serial };
	struct err ignored = { 0 };
	char name[32];
	int rc = run_child(b, w, &j, ret, err);

	ret->daemon_ns = reap();
	snprintf(name, sizeof(name), "build%u", serial);
	fs_remove_tree(b->dir_fd, name, &ignored);
	return rc;
}

int bench_sample(struct bench *b, const struct bench_work *w, enum snap_driver d, unsigned serial,
		 struct bench_sample *ret, struct err *err)
{
	/* What others have left to write is not this one's. */
	if (syncfs(b->dir_fd) < 0)
		return err_sys(err, "sync");
	*ret = (struct bench_sample){ 0 };
	return w->has_no_mount ? without(b, w, d, serial, ret, err)
			       : with_snapshot(b, w, d, ret, err);
}
