/* SPDX-License-Identifier: Apache-2.0 */
/* What a lost keeper or a reboot left behind is put in order by whoever looks next. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { EXIT_KILLED = 137, GRACE_MS = 5000 };

/* Usually pdeathsig has done it; not when the program changed its credentials. */
static void kill_rest(const struct container *c)
{
	char group[CONTAINER_GROUP_MAX];
	struct err ignored = { 0 };
	auto_fd int fd = -1;

	if (container_process_open(c->pid, c->start_time, &fd, &ignored) >= 0) {
		sys_pidfd_send_signal(fd, SIGKILL);
		poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, GRACE_MS);
	}
	container_cgroup_name(c, group);
	sandbox_cgroup_kill(group, &ignored);
	sandbox_cgroup_remove(group, &ignored);
	container_net_lost(c);
}

/* The status that the keeper has left, if it came that far. */
static int left_status(const struct container *c, int *ret_code)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1, fd = -1;

	if (container_dir(c, &dir, &ignored) < 0)
		return 0;
	fd = openat(dir, "exit", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? 0 : container_exit_read(fd, ret_code);
}

static int take_over(struct container *c, int code, const char *error, struct err *err)
{
	bool same_boot = str_eq(c->boot, proc_boot_id());
	struct err ignored = { 0 };
	int rc;

	if (container_goes_with_end(c) || c->state == CONTAINER_REMOVING) {
		rc = container_delete(c, err);
		return rc < 0 ? rc : err_set(err, ENOENT, "no such container: %s", c->name);
	}
	rc = container_record_exit(c, code, error, err);
	if (rc < 0)
		return rc;
	/* Its policy holds for a monitor that was lost, too; what a reboot ended is for "system
	 * start". A failure is in the row. */
	if (rc > 0 && same_boot && !container_was_stopped(c) && container_wants_restart(c, code, 0))
		container_start(c, NULL, &ignored);
	/* Else another one was faster. */
	return container_reload(c, err);
}

int container_reconcile(struct container *c, struct err *err)
{
	bool same_boot = str_eq(c->boot, proc_boot_id());
	int code = EXIT_KILLED;

	if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_REMOVING)
		return 0;
	if (same_boot && proc_is_alive(c->keeper, c->keeper_start))
		return 0;
	if (!same_boot)
		return take_over(c, CONTAINER_EXIT_LOST, "the machine went down", err);
	kill_rest(c);
	if (left_status(c, &code))
		return take_over(c, code, NULL, err);
	return take_over(c, code, "monitor lost", err);
}
