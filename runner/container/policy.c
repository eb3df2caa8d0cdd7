/* SPDX-License-Identifier: Apache-2.0 */
/* Restart policies: what they say, and what a user has said since. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { RETRIES_MAX = 1 << 30, COUNT_BYTES = 24 };

static const char stopped_name[] = "stopped", count_name[] = "restarts",
		  restarted_name[] = "restarted";

int container_restart_parse(const char *text, int64_t *ret_max, struct err *err)
{
	uint64_t max = 0;
	bool counted = str_starts(text, "on-failure:");

	if (counted && str_to_u64(text + strlen("on-failure:"), 10, RETRIES_MAX, &max) < 0)
		return err_set(err, EINVAL, "--restart %s: want a number after on-failure:", text);
	if (!counted && !str_eq(text, "no") && !str_eq(text, "on-failure") &&
	    !str_eq(text, "always") && !str_eq(text, "unless-stopped"))
		return err_set(err, EINVAL,
			       "--restart %s: want no, on-failure[:N], always or unless-stopped",
			       text);
	if (ret_max)
		*ret_max = (int64_t)max;
	return 0;
}

bool container_wants_restart(const struct container *c, int exit_code, int64_t n)
{
	const char *policy = c->spec.restart ? c->spec.restart : "no";
	struct err ignored;
	int64_t max = 0;

	if (container_restart_parse(policy, &max, &ignored) < 0)
		return false;
	if (str_starts(policy, "on-failure"))
		return exit_code != 0 && (max == 0 || n < max);
	return str_eq(policy, "always") || str_eq(policy, "unless-stopped");
}

static void mark_directory(int dir, bool stopped)
{
	if (fchmodat(dir, ".", stopped ? 0700 | S_ISVTX : 0700, 0) < 0)
		return; /* there is nothing else to try */
}

/* A file, or where there is no room for one the sticky bit of its directory: a container that has
 * filled the disk can be stopped, whatever its policy. */
void container_mark_stopped(const struct container *c, bool stopped)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) < 0)
		return;
	if (!stopped) {
		unlinkat(dir, stopped_name, 0);
		mark_directory(dir, false);
	} else if (fd_write_file(dir, stopped_name, "", 0, 0600, &ignored) < 0) {
		mark_directory(dir, true);
	}
	fault_point("container.stop.marked");
}

bool container_was_stopped(const struct container *c)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	struct stat st;

	return container_dir(c, &dir, &ignored) >= 0 && fstat(dir, &st) == 0 &&
	       (st.st_mode & S_ISVTX ||
		faccessat(dir, stopped_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
}

int64_t container_restart_count(const struct container *c)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	uint64_t n = 0;

	if (container_dir(c, &dir, &ignored) >= 0 &&
	    fd_read_file(dir, count_name, COUNT_BYTES, &text, NULL, &ignored) >= 0)
		str_to_u64(text, 10, RETRIES_MAX, &n);
	return (int64_t)n;
}

void container_restart_count_write(const struct container *c, int64_t n)
{
	auto_free char *text = mem_fmt("%lld", (long long)n);
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) < 0)
		return;
	if (n)
		fd_write_file(dir, count_name, text, strlen(text), 0600, &ignored);
	else
		unlinkat(dir, count_name, 0);
	fault_point("container.restart.counted");
}

bool container_is_restarting(const struct container *c)
{
	return c->state == CONTAINER_RUNNING && !c->pid && c->finished_ns > c->started_ns &&
	       proc_is_alive(c->keeper, c->keeper_start);
}

/* --- one with --rm that is restarted --- */

/* Its row says all the time that it goes with its end, so who is killed here leaves nothing to put
 * right: the lock ends with us. */
int container_restart_hold(const struct container *c, int *ret_fd, struct err *err)
{
	auto_fd int dir = -1, fd = -1;
	int rc = container_dir_need(c, &dir, err);

	if (rc < 0)
		return rc;
	fd = openat(dir, restarted_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_sys(err, "hold container %s", c->name);
	fault_point("container.restart.held");
	*ret_fd = fd_take(&fd);
	return 0;
}

bool container_goes_with_end(const struct container *c)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1, fd = -1;

	if (!c->auto_remove || container_dir(c, &dir, &ignored) < 0)
		return c->auto_remove;
	fd = openat(dir, restarted_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	/* Shared, as more than one may ask at a time. */
	return fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0;
}

/* --- after a reboot --- */

struct starting {
	container_started_fn *fn;
	void *arg;
};

/* As Docker when its daemon starts: "always" also when a user had stopped it. */
static bool is_due(const struct container *c)
{
	const char *policy = c->spec.restart ? c->spec.restart : "no";

	if (c->state != CONTAINER_EXITED)
		return false;
	if (str_eq(policy, "always"))
		return true;
	return !container_was_stopped(c) && !str_eq(c->boot, proc_boot_id()) &&
	       container_wants_restart(c, c->exit_code, 0);
}

static int start_one(struct container *c, void *arg, struct err *err)
{
	const struct starting *s = arg;
	struct err failed = { 0 };
	int rc;

	(void)err;
	if (!is_due(c))
		return 0;
	rc = container_start(c, NULL, &failed);
	s->fn(c, rc < 0 ? &failed : NULL, s->arg);
	return 0;
}

int container_start_all(struct runtime *rt, container_started_fn *fn, void *arg, struct err *err)
{
	return container_walk(rt, start_one, &(struct starting){ fn, arg }, err);
}
