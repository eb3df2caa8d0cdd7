/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping a container from its start to its end, in the foreground; the monitor does the same in
 * the background. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { SETTLE_MS = 20 };

void container_keep_close(struct container_keep *k)
{
	sandbox_mounts_leave(k->mounts);
	/* A port is to be free when the prompt is back. */
	k->box.net_later = k->is_foreground && k->c && !k->c->spec.publish.n;
	/* The program ends (if it has not) before its ends of the pipes go. */
	container_box_close(&k->box);
	if (k->is_foreground && k->c)
		container_group_leave(k->c);
	container_stdio_close(&k->io);
	container_doors_close(&k->doors);
	container_log_close(&k->log);
	fd_close(&k->exit_fd);
}

void container_keep_cleanup(struct container_keep *k)
{
	container_keep_close(k);
	sandbox_beside_end(take(k->mounts));
}

static int open_exit(struct container_keep *k, int dir_fd, struct err *err)
{
	k->exit_fd =
		openat(dir_fd, "exit", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return k->exit_fd < 0 ? err_sys(err, "make the exit file") : 0;
}

int container_keep_open(struct container_keep *k, struct err *err)
{
	auto_fd int dir = -1;
	int rc;

	/* Nobody can read the log of one that is removed at its end, and few will wait for it. */
	if (k->is_brief)
		return 0;
	rc = container_dir_need(k->c, &dir, err);
	if (rc >= 0)
		rc = open_exit(k, dir, err);
	return rc < 0 ? rc : container_log_open(dir, &k->c->spec, &k->log, err);
}

int container_keep_doors(struct container_keep *k, struct err *err)
{
	auto_fd int dir = -1;
	int rc = container_dir_need(k->c, &dir, err);

	return rc < 0 ? rc : container_doors_open(&k->doors, dir, err);
}

int container_keep_spawn(struct container_keep *k, bool want_cgroup, int *ret_exit, struct err *err)
{
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	fault_point("container.start.spawn");
	rc = container_box_spawn(k->c, k->io.child, want_cgroup, &k->box, err);
	fault_point("container.start.spawned");
	if (rc >= 0 && !k->is_foreground)
		rc = container_record_pid(k->c, err);
	if (rc >= 0)
		rc = container_stdio_spawned(&k->io, err);
	fault_point("container.start.recorded");
	if (rc >= 0 && !k->is_foreground)
		container_doors_prepare(&k->doors, k->box.sb);
	/* While it sets itself up. Its mounts will end beside its row and its layer. */
	if (rc >= 0 && k->is_brief) {
		k->mounts = sandbox_mounts_hold(k->box.sb);
		container_delete_ready(k->c);
	}
	return rc < 0 ? rc : container_box_release(&k->box, ret_exit, err);
}

static int settled(void *arg, struct err *err)
{
	struct container_keep *k = arg;
	auto_fd int dir = -1;
	int rc = container_record_pid(k->c, err);

	if (rc < 0 || k->exit_fd >= 0)
		return rc;
	rc = container_dir_need(k->c, &dir, err);
	return rc < 0 ? rc : open_exit(k, dir, err);
}

int container_keep_relay(struct container_keep *k, int *ret_exit, struct err *err)
{
	struct container_relay r = {
		.sb = k->box.sb,
		.io = &k->io,
		.doors = k->doors.listen_fd < 0 ? NULL : &k->doors,
		.health = k->health,
		.log = k->log.fd >= 0 ? &k->log : NULL,
		.settle_ms = k->is_foreground ? SETTLE_MS : 0,
		.settled = settled,
		.arg = k,
	};
	struct err ignored = { 0 };
	int rc;

	fault_point("container.start.released");
	rc = container_relay_run(&r, ret_exit, err);
	fault_point("container.run.ended");

	if (rc >= 0 && r.log)
		container_log_end(r.log, &ignored);
	if (rc >= 0 && k->exit_fd >= 0)
		rc = container_exit_write(k->exit_fd, *ret_exit, err);
	return rc;
}

int container_finish(struct container *c, int exit_code, struct err *err)
{
	int rc;

	fault_point("container.finish");
	/* One so brief that nobody was told its process has hardly been renamed. */
	rc = c->start_time ? container_name_again(c, err) : 0;
	if (rc < 0)
		return rc;
	container_event_number(c, c->auto_remove ? "die destroy" : "die", "exitCode", exit_code);
	if (c->auto_remove)
		return container_delete(c, err);
	rc = container_record_exit(c, exit_code, NULL, err);
	return rc < 0 ? rc : 0;
}

/* It did not come to run. What becomes of the container is not the story to tell: err stays as it
 * is. */
void container_finish_failed(struct container *c, enum container_state before, int exit_code,
			     const struct err *err)
{
	struct err ignored = { 0 };

	if (c->auto_remove)
		container_delete(c, &ignored);
	else
		container_record_failure(c, before, exit_code, err->msg, &ignored);
}

/* c is claimed by us. */
static int keep_foreground(struct container *c, enum container_state before, bool is_new,
			   bool with_stdin, int *ret_exit, struct err *err)
{
	auto_container_keep struct container_keep k = CONTAINER_KEEP_INIT;
	int rc;

	container_doors_init(&k.doors);
	k.c = c;
	k.is_foreground = true;
	k.is_brief = c->auto_remove;
	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = container_keep_open(&k, err);
	/* What is removed at its end has our own input and output. */
	if (rc >= 0 && !k.is_brief)
		rc = container_keep_doors(&k, err);
	if (rc >= 0)
		rc = container_stdio_foreground(c->spec.tty, with_stdin, !k.is_brief, &k.io, err);
	if (rc >= 0)
		rc = container_keep_spawn(&k, false, ret_exit, err);
	if (rc < 0) {
		container_keep_close(&k);
		container_finish_failed(c, before, *ret_exit, err);
		return rc;
	}
	container_event(c, is_new ? "create start" : "start", NULL, NULL);
	rc = container_keep_relay(&k, ret_exit, err);
	container_keep_close(&k);
	if (rc < 0) {
		*ret_exit = CONTAINER_EXIT_SHALE;
		container_finish_failed(c, CONTAINER_EXITED, *ret_exit, err);
		return rc;
	}
	return container_finish(c, *ret_exit, err);
}

int container_start_here(struct container *c, bool with_stdin, int *ret_exit, struct err *err)
{
	enum container_state before = c->state;
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = container_claim(c, err);
	return rc < 0 ? rc
		      : keep_foreground(c, before, false, with_stdin || c->spec.interactive,
					ret_exit, err);
}

int container_run(struct runtime *rt, const struct container_spec *s, int *ret_exit,
		  struct err *err)
{
	auto_sandbox_beside struct sandbox_beside *net = container_net_begin(rt, s);
	auto_container struct container *c = NULL;
	int rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	rc = container_create_as(rt, s, true, &c, err);
	if (rc >= 0)
		c->net = take(net);
	return rc < 0 ? rc
		      : keep_foreground(c, CONTAINER_CREATED, true, s->interactive, ret_exit, err);
}

/* What the monitor says: one struct, or nothing when it was killed. */
static int read_started(int fd, struct container *c, int *ret_exit, struct err *err)
{
	struct container_started st = { 0 };
	ssize_t n = fd_read_full(fd, &st, sizeof(st), err);

	if (n < 0)
		return (int)n;
	if (n != sizeof(st))
		return err_set(err, ESRCH, "the monitor of container %s was lost before it started",
			       c->name);
	if (ret_exit)
		*ret_exit = st.exit_code;
	if (st.err.code) {
		*err = st.err;
		return -err->code;
	}
	return 0;
}

int container_start_at(struct container *c, int guest_fd, int *ret_exit, struct err *err)
{
	char name[] = "shale", command[] = "monitor";
	char *argv[] = { name, command, c->id, NULL };
	auto_fd int from = -1, to = -1, group = -1;
	int fds[2], rc;

	if (ret_exit)
		*ret_exit = CONTAINER_EXIT_SHALE;
	if (c->state == CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is running already", c->name);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	from = fds[0];
	to = fds[1];
	setenv("SHALE_ROOT", c->rt->root, 1);
	group = container_monitor_group();
	rc = proc_spawn_detached("/proc/self/exe", argv, (int[3]){ guest_fd, to, -1 }, group, err);
	if (rc < 0)
		return err_ctx(err, "start the monitor");
	fd_close(&to);
	rc = read_started(from, c, ret_exit, err);
	return rc < 0 ? rc : container_reload(c, err);
}

int container_start(struct container *c, int *ret_exit, struct err *err)
{
	return container_start_at(c, -1, ret_exit, err);
}
