/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor: a process of its own for each container in the background. A fresh exec, nothing
 * inherited; the database is open only to note the start and the end, so that what it holds for
 * days is small.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/store.h>

#include "priv.h"

/*
 * A service manager kills what is left in the group of a service: the CI agent's end must not take
 * the containers along. Only the hierarchies that managers use matter, the unified one and v1's
 * name=systemd.
 */
#define GROUP "shale/monitors"
static const char *const hierarchies[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					   "/sys/fs/cgroup/systemd" };

static int open_hierarchy(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* On hybrid hosts the first is a tmpfs. */
	if (fd >= 0 && faccessat(fd, "cgroup.procs", F_OK, 0) < 0)
		fd_close(&fd);
	return fd;
}

/* v1 has tasks: a thread that moves itself there does not wait for an RCU grace period. */
static void enter_group(int hierarchy_fd, const char *name)
{
	struct err ignored = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "%s%stasks", name, *name ? "/" : "");
	if (faccessat(hierarchy_fd, path, F_OK, 0) < 0)
		snprintf(path, sizeof(path), "%s%scgroup.procs", name, *name ? "/" : "");
	fd_write_file(hierarchy_fd, path, "0", 1, 0, &ignored);
}

static bool make_group(int hierarchy_fd)
{
	struct err ignored = { 0 };

	return fs_mkdir(hierarchy_fd, "shale", 0755, &ignored) >= 0 &&
	       fs_mkdir(hierarchy_fd, GROUP, 0755, &ignored) >= 0;
}

int container_monitor_group(void)
{
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		auto_fd int fd = open_hierarchy(hierarchies[i]);

		if (fd >= 0 && faccessat(fd, "tasks", F_OK, 0) < 0 && make_group(fd))
			return openat(fd, GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return -1;
}

/* In cgroup v2's, where whoever started us could do it. */
static bool is_born_in_group(void)
{
	auto_fd int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_free char *text = NULL;
	struct err ignored = { 0 };

	return proc >= 0 && fd_read_file(proc, "cgroup", 1 << 16, &text, NULL, &ignored) >= 0 &&
	       strstr(text, "0::/" GROUP "\n");
}

/* A wish: without it the container lives as long as the group we are in. */
static void enter_own_groups(void)
{
	bool is_there = is_born_in_group();

	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		auto_fd int fd = open_hierarchy(hierarchies[i]);

		if (fd < 0 || (is_there && faccessat(fd, "tasks", F_OK, 0) < 0))
			continue;
		if (make_group(fd))
			enter_group(fd, GROUP);
	}
}

/* The last one puts out the light. */
static void remove_groups(void)
{
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		auto_fd int fd = open_hierarchy(hierarchies[i]);

		if (fd < 0)
			continue;
		enter_group(fd, "");
		unlinkat(fd, GROUP, AT_REMOVEDIR);
		unlinkat(fd, "shale", AT_REMOVEDIR);
	}
}

/*
 * To move a process out of a group takes an RCU grace period (10 ms), and a group with a process is
 * not removed. Who waits for this monitor's end (stop, restart) need not wait for that: a child
 * does it afterwards.
 */
static void leave_own_groups(void)
{
	auto_fd int self = sys_pidfd_open(getpid(), 0);
	struct pollfd ended = { .fd = self, .events = POLLIN };
	pid_t child = self < 0 ? -1 : sys_fork();

	if (child > 0)
		return;
	if (child == 0) {
		/* No copy of a lock or pipe of ours is to outlive us. */
		sys_close_range(3, (unsigned)self - 1, 0);
		sys_close_range((unsigned)self + 1, ~0U, 0);
		poll(&ended, 1, -1);
	}
	remove_groups();
	if (child == 0)
		_exit(0);
}

static void close_store(struct runtime *rt)
{
	snap_close(take(rt->snap));
	store_close(take(rt->store));
	db_close(take(rt->db));
	malloc_trim(0);
}

static int reopen_store(struct runtime *rt, struct err *err)
{
	int rc = db_open(rt->root_fd, &rt->db, err);

	if (rc >= 0)
		rc = snap_open(rt->db, rt->root_fd, &rt->snap, err);
	if (rc >= 0)
		snap_use(rt->snap, (enum snap_driver)rt->driver);
	return rc;
}

/* The socket that whoever started us waits at, in place of stdin. */
static void let_in_first(struct container_doors *d)
{
	struct stat st;
	int fd = fstat(STDIN_FILENO, &st) == 0 && S_ISSOCK(st.st_mode) ? fd_dup(STDIN_FILENO) : -1;
	auto_fd int null = fd < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	container_doors_add(d, fd);
}

enum { BACK_OFF_MS = 100, BACK_OFF_MAX_MS = 60000, BACK_OFF_STEP_MS = 50 };
#define BACK_OFF_RESET_NS (INT64_C(10) * 1000000000)

static int start(struct container_keep *k, enum container_state before, int *ret_exit,
		 struct err *err)
{
	const struct container_spec *s = &k->c->spec;
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = container_keep_open(k, err);
	if (rc >= 0)
		rc = container_keep_doors(k, err);
	if (rc >= 0)
		rc = container_stdio_monitor(s->tty, s->interactive, &k->io, err);
	if (rc >= 0)
		rc = container_keep_spawn(k, true, ret_exit, err);
	if (rc >= 0)
		container_event(k->c, "start", NULL, NULL);
	if (rc < 0) {
		container_keep_close(k);
		container_finish_failed(k->c, before, *ret_exit, err);
	}
	return rc;
}

static int claim_and_start(struct container_keep *k, int *ret_exit, struct err *err)
{
	enum container_state before = k->c->state;
	int rc = container_claim(k->c, err);

	if (rc >= 0) {
		container_mark_stopped(k->c, false);
		container_restart_count_write(k->c, 0);
	}
	return rc < 0 ? rc : start(k, before, ret_exit, err);
}

/* What may have been changed while it ran: its name; a restart keeps one that is removed at its
 * end. */
static int read_wishes(struct container *c, struct err *err)
{
	auto_container_spec struct container_spec spec = { 0 };
	auto_free char *text = NULL;
	int64_t removes = 0;
	int rc = db_get_int(c->rt->db, "SELECT auto_remove FROM containers WHERE id=?1",
			    DB_ARGS(DB_T(c->id)), &removes, err);

	if (rc > 0)
		rc = db_get_str(c->rt->db, "SELECT spec FROM containers WHERE id=?1",
				DB_ARGS(DB_T(c->id)), &text, err);
	if (rc > 0)
		rc = container_spec_parse(text, &spec, err);
	if (rc >= 0 && text)
		rc = container_name_again(c, err);
	if (rc < 0 || !text)
		return rc;
	c->auto_remove = removes != 0;
	c->auto_remove = container_goes_with_end(c);
	free(c->spec.restart);
	c->spec.restart = take(spec.restart);
	strv_copy(&c->spec.networks, &spec.networks);
	return 0;
}

/* Waits longer each time, unless it ran for a while: false when a user has stopped it meanwhile. */
static bool back_off(const struct container *c, int64_t *wait_ms, int64_t ran_ns)
{
	if (ran_ns >= BACK_OFF_RESET_NS)
		*wait_ms = BACK_OFF_MS;
	for (int64_t waited = 0; waited < *wait_ms; waited += BACK_OFF_STEP_MS) {
		if (container_was_stopped(c))
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = BACK_OFF_STEP_MS * 1000000L }, NULL);
	}
	*wait_ms = *wait_ms * 2 > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : *wait_ms * 2;
	return !container_was_stopped(c);
}

/* Until it has ended; the store is open then. */
static int keep(struct container_keep *k, struct runtime *rt, int *ret_code, struct err *err)
{
	struct container_health health;
	int rc;

	if (container_has_health(k->c)) {
		container_health_begin(&health, k->c);
		k->health = &health;
	}
	close_store(rt);
	rc = container_keep_relay(k, ret_code, err);
	if (k->health)
		container_health_end(k->health);
	k->health = NULL;
	/* The cgroup is removed, the pipes and the layer's lock go, before anyone sees it as ended.
	 */
	container_keep_close(k);
	if (rc < 0)
		return rc;
	rc = reopen_store(rt, err);
	return rc < 0 ? rc : read_wishes(k->c, err);
}

static int start_again(struct container_keep *k, struct err *err)
{
	int ignored, rc = container_claim_again(k->c, err);

	return rc < 0 ? rc : start(k, CONTAINER_EXITED, &ignored, err);
}

/* As often as its policy says. */
static int keep_on(struct container_keep *k, struct runtime *rt, struct err *err)
{
	int64_t n = 0, wait_ms = BACK_OFF_MS;

	for (;;) {
		int64_t begin_ns = proc_mono_ns();
		int code = CONTAINER_EXIT_SHALE, rc = keep(k, rt, &code, err);

		if (rc < 0)
			return rc;
		if (container_was_stopped(k->c) || !container_wants_restart(k->c, code, n))
			return container_finish(k->c, code, err);
		container_event_number(k->c, "die", "exitCode", code);
		rc = container_record_restarting(k->c, code, err);
		if (rc < 0)
			return rc;
		fault_point("container.restart.recorded");
		if (!back_off(k->c, &wait_ms, proc_mono_ns() - begin_ns))
			return container_finish(k->c, code, err);
		container_restart_count_write(k->c, ++n);
		rc = start_again(k, err);
		if (rc < 0)
			return rc;
	}
}

void container_monitor_failed(int status_fd, const struct err *err)
{
	struct container_started started = { .err = *err, .exit_code = CONTAINER_EXIT_SHALE };

	fd_write_all(status_fd, &started, sizeof(started), &(struct err){ 0 });
}

int container_monitor(struct runtime *rt, const char *id, int status_fd, struct err *err)
{
	struct container_started started = { .exit_code = CONTAINER_EXIT_SHALE };
	auto_container struct container *c = NULL;
	auto_container_keep struct container_keep k = CONTAINER_KEEP_INIT;
	int rc;

	container_doors_init(&k.doors);
	let_in_first(&k.doors);
	umask(022);
	container_signals_default();
	if (chdir("/") < 0)
		return err_sys(err, "chdir /");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	enter_own_groups();
	rc = container_load(rt, id, &c, &started.err);
	k.c = c;
	if (rc >= 0)
		rc = claim_and_start(&k, &started.exit_code, &started.err);
	if (rc < 0)
		*err = started.err;
	/* One write, smaller than PIPE_BUF: all or nothing. Who started us may be gone. */
	fd_write_all(status_fd, &started, sizeof(started), &(struct err){ 0 });
	fd_close(&status_fd);
	if (rc >= 0)
		rc = keep_on(&k, rt, err);
	leave_own_groups();
	return rc;
}
