/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to a running container, and waiting for its end. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

/* A container is running from its claim on; its pid is noted up to some milliseconds later. */
enum { PID_WAIT_MS = 2000, KILL_WAIT_MS = 30000 };

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

int container_pid_wait(struct container *c, struct err *err)
{
	for (int waited = 0; c->state == CONTAINER_RUNNING && c->pid == 0; waited += 5) {
		int rc;

		if (container_is_restarting(c))
			return err_set(err, EBUSY, "container %s is restarting: wait until it runs",
				       c->name);
		if (waited >= PID_WAIT_MS)
			return err_set(err, EBUSY, "container %s has not started yet", c->name);
		sleep_ms(5);
		rc = container_reload(c, err);
		if (rc >= 0)
			rc = container_reconcile(c, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The start time is looked at when the pidfd is held: from then on it cannot name another process.
 */
int container_process_open(pid_t pid, uint64_t start_time, int *ret_fd, struct err *err)
{
	auto_fd int fd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;

	if (fd < 0 || !proc_is_alive(pid, start_time))
		return err_set(err, ESRCH, "process %d is gone", (int)pid);
	*ret_fd = fd_take(&fd);
	return 0;
}

static int send_signal(struct container *c, int sig, struct err *err)
{
	auto_fd int fd = -1;
	int rc;

	rc = container_process_open(c->pid, c->start_time, &fd, err);
	if (rc < 0)
		return rc;
	if (sys_pidfd_send_signal(fd, sig) < 0)
		return err_sys(err, "signal %d to container %s", sig, c->name);
	return 0;
}

/* A frozen process gets no signal before it goes on, as Docker lets it. */
static int send_and_wake(struct container *c, int sig, struct err *err)
{
	int rc = send_signal(c, sig, err);

	fault_point("container.stop.signalled");
	if (rc >= 0)
		container_event_number(c, "kill", "signal", sig);
	if (rc >= 0 && container_is_paused(c))
		rc = container_thaw(c, err);
	return rc;
}

int container_kill(struct container *c, int sig, struct err *err)
{
	int rc = container_pid_wait(c, err);

	if (rc < 0)
		return rc;
	if (c->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is not running", c->name);
	/* As Docker: who sends these means its end. */
	if (sig == SIGKILL || sig == SIGTERM)
		container_mark_stopped(c, true);
	rc = send_and_wake(c, sig, err);
	return rc == -ESRCH ? err_set(err, EBUSY, "container %s is not running", c->name) : rc;
}

static int open_exit(const struct container *c)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) < 0)
		return -1;
	return openat(dir, "exit", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* 1 when the keeper has gone, 0 on time-out. */
static int wait_keeper(const struct container *c, int timeout_ms, struct err *err)
{
	auto_fd int fd = -1;
	int rc = container_process_open(c->keeper, c->keeper_start, &fd, err);

	if (rc == -ESRCH) {
		err_clear(err);
		return 1;
	}
	if (rc < 0)
		return rc;
	rc = poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, timeout_ms);
	if (rc < 0)
		return errno == EINTR ? 0 : err_sys(err, "wait for container %s", c->name);
	return rc > 0;
}

/*
 * Until the keeper has noted the end, which is the last thing it does. A keeper that is a command
 * of another user may go on living (it prints); so the row is looked at from time to time. exit_fd
 * was opened while it ran. 1 when it ended.
 */
static int wait_end(struct container *c, int exit_fd, int timeout_ms, struct err *err)
{
	int64_t end_ns = proc_mono_ns() + (int64_t)timeout_ms * 1000000;
	int rc = 0, code;

	while (c->state == CONTAINER_RUNNING) {
		int64_t left = timeout_ms < 0 ? 500 : (end_ns - proc_mono_ns()) / 1000000;

		rc = wait_keeper(c, left < 0 ? 0 : left > 500 ? 500 : (int)left, err);
		if (rc >= 0)
			rc = container_reload(c, err);
		if (rc >= 0)
			rc = container_reconcile(c, err);
		if (rc == -ENOENT) { /* removed at its end */
			err_clear(err);
			c->state = CONTAINER_REMOVING;
			if (exit_fd >= 0 && container_exit_read(exit_fd, &code) > 0)
				c->exit_code = code;
			return 1;
		}
		if (rc < 0)
			return rc;
		if (timeout_ms >= 0 && c->state == CONTAINER_RUNNING && proc_mono_ns() >= end_ns)
			return 0;
	}
	return 1;
}

int container_wait(struct container *c, int *ret_exit, struct err *err)
{
	auto_fd int exit_fd = -1;
	/* Between two lives it has no process; it has ended when there is no next one. */
	int rc = container_is_restarting(c) ? 0 : container_pid_wait(c, err);

	if (rc < 0)
		return rc;
	exit_fd = open_exit(c);
	rc = wait_end(c, exit_fd, -1, err);
	if (rc < 0)
		return rc;
	*ret_exit = c->exit_code;
	return 0;
}

/* SIGKILL, to pid 1 and so to its whole namespace. */
int container_kill_wait(struct container *c, struct err *err)
{
	int rc;

	container_mark_stopped(c, true);
	rc = send_and_wake(c, SIGKILL, err);

	if (rc < 0 && rc != -ESRCH)
		return rc;
	err_clear(err);
	rc = wait_end(c, -1, KILL_WAIT_MS, err);
	if (rc == 0)
		return err_set(err, EBUSY, "container %s does not end after SIGKILL", c->name);
	return rc < 0 ? rc : 0;
}

int container_stop(struct container *c, const char *signal, int timeout_ms, struct err *err)
{
	const struct container_spec *s = &c->spec;
	const char *name = signal ? signal : s->stop_signal;
	int sig = name ? proc_signal_find(name) : SIGTERM;
	int rc;

	container_mark_stopped(c, true);
	if (container_is_restarting(c)) {
		rc = wait_end(c, -1, KILL_WAIT_MS, err);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	rc = container_pid_wait(c, err);
	if (rc < 0)
		return rc;
	if (c->state != CONTAINER_RUNNING)
		return 0;
	if (timeout_ms < 0)
		timeout_ms = (int)(s->stop_timeout_s ? s->stop_timeout_s : CONTAINER_STOP_S) * 1000;
	rc = send_and_wake(c, sig > 0 ? sig : SIGTERM, err);
	if (rc == -ESRCH) { /* it is ending by itself */
		err_clear(err);
		rc = 0;
	}
	if (rc >= 0)
		rc = wait_end(c, -1, timeout_ms, err);
	if (rc == 0)
		rc = container_kill_wait(c, err);
	if (rc >= 0)
		container_event(c, "stop", NULL, NULL);
	return rc < 0 ? rc : 0;
}
