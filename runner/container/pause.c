/* SPDX-License-Identifier: Apache-2.0 */
/* Stopped where it is, and started again; what it is called; what runs in it. */
#include <shale/container.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "priv.h"

enum { LINK_MAX_BYTES = 64, PROCESSES_MAX = 1 << 22, ROUNDS_MAX = 1000 };

static int check_running(struct container *c, struct err *err)
{
	int rc = container_pid_wait(c, err);

	if (rc < 0)
		return rc;
	return c->state == CONTAINER_RUNNING
		       ? 0
		       : err_set(err, EBUSY, "container %s is not running", c->name);
}

/* The kernel is asked each time: what it says is right after any crash. */
bool container_is_paused(const struct container *c)
{
	char group[CONTAINER_GROUP_MAX];

	if (c->state != CONTAINER_RUNNING)
		return false;
	container_cgroup_name(c, group);
	return sandbox_cgroup_is_frozen(group);
}

int container_thaw(struct container *c, struct err *err)
{
	char group[CONTAINER_GROUP_MAX];
	int rc;

	container_cgroup_name(c, group);
	rc = sandbox_cgroup_freeze(group, false, err);
	fault_point("container.pause.thawed");
	if (rc == -ENOENT) { /* it has ended */
		err_clear(err);
		rc = 0;
	}
	return rc;
}

/* --- a group for one that runs without --- */

static const char group_made[] = "group"; /* in its directory */

void container_group_leave(const struct container *c)
{
	char group[CONTAINER_GROUP_MAX];
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) < 0 || unlinkat(dir, group_made, 0) < 0)
		return;
	container_cgroup_name(c, group);
	sandbox_cgroup_remove(group, &ignored);
}

/* Who was killed making it has left half a group: it is filled up. */
static bool is_group_late(const struct container *c)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	return container_dir(c, &dir, &ignored) >= 0 && faccessat(dir, group_made, F_OK, 0) == 0;
}

static int pids_of_namespace(const struct container *c, pid_t **ret, size_t *ret_n,
			     struct err *err);

/* Who has forked meanwhile is looked for again; from inside the group nobody gets out. */
static int make_group(const struct container *c, const char *group, struct err *err)
{
	auto_free char *path = mem_fmt("/proc/%d/ns/pid", (int)c->pid);
	auto_fd int dir = -1, ns = open(path, O_RDONLY | O_CLOEXEC);
	int rc = container_dir_need(c, &dir, err), moved = 1;

	/* Open, it is not given to others; and after that it was still the container's. */
	if (rc >= 0 && (ns < 0 || !proc_is_alive(c->pid, c->start_time)))
		rc = err_set(err, EBUSY, "container %s is not running", c->name);
	if (rc >= 0)
		rc = fd_write_file(dir, group_made, "", 0, 0600, err);
	fault_point("container.group.marked");
	for (int i = 0; rc >= 0 && moved > 0 && i < ROUNDS_MAX; i++) {
		auto_free pid_t *pids = NULL;
		size_t n = 0;

		rc = pids_of_namespace(c, &pids, &n, err);
		if (rc >= 0)
			rc = moved = sandbox_cgroup_adopt(group, ns, pids, n, err);
		fault_point("container.group.moved");
	}
	if (rc >= 0 && moved > 0)
		rc = err_set(err, EBUSY,
			     "container %s makes processes faster than its group takes them in",
			     c->name);
	return rc < 0 ? rc : 0;
}

int container_pause(struct container *c, struct err *err)
{
	char group[CONTAINER_GROUP_MAX];
	int rc = check_running(c, err);

	if (rc < 0)
		return rc;
	if (container_is_paused(c))
		return err_set(err, EBUSY, "container %s is already paused", c->name);
	container_cgroup_name(c, group);
	rc = is_group_late(c) ? -ENOENT : sandbox_cgroup_freeze(group, true, err);
	if (rc == -ENOENT) { /* in the foreground without limits */
		err_clear(err);
		rc = make_group(c, group, err);
		if (rc >= 0)
			rc = sandbox_cgroup_freeze(group, true, err);
	}
	fault_point("container.pause.frozen");
	/* Half a group must not stay behind. */
	if (rc < 0)
		sandbox_cgroup_freeze(group, false, &(struct err){ 0 });
	else
		container_event(c, "pause", NULL, NULL);
	return rc;
}

int container_unpause(struct container *c, struct err *err)
{
	int rc = check_running(c, err);

	if (rc < 0)
		return rc;
	if (!container_is_paused(c))
		return err_set(err, EBUSY, "container %s is not paused", c->name);
	rc = container_thaw(c, err);
	if (rc >= 0)
		container_event(c, "unpause", NULL, NULL);
	return rc;
}

/* One that is removed at its end is not, this once. */
static int stop_and_keep(struct container *c, const char *signal, int timeout_ms, struct err *err)
{
	auto_fd int held = -1;
	int rc = c->auto_remove ? container_restart_hold(c, &held, err) : 0;

	return rc < 0 ? rc : container_stop(c, signal, timeout_ms, err);
}

int container_restart(struct container *c, const char *signal, int timeout_ms, struct err *err)
{
	int rc = c->state == CONTAINER_RUNNING ? stop_and_keep(c, signal, timeout_ms, err) : 0;

	fault_point("container.restart.stopped");
	if (rc >= 0 && c->state == CONTAINER_REMOVING)
		return err_set(err, ENOENT, "container %s was removed at its end", c->name);
	if (rc >= 0)
		rc = container_start(c, NULL, err);
	if (rc >= 0)
		container_event(c, "restart", NULL, NULL);
	return rc;
}

int container_store_spec(struct container *c, struct err *err)
{
	auto_free char *text = container_spec_text(&c->spec);
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(c->rt->db, DB_FULL, &tx, err);

	if (rc >= 0)
		rc = db_run(c->rt->db, "UPDATE containers SET spec=?2 WHERE id=?1",
			    DB_ARGS(DB_T(c->id), DB_T(text)), err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	fault_point("container.spec.stored");
	if (rc >= 0 && !c->auto_remove)
		container_record(c);
	return rc;
}

static void take_text(char **to, const char *from)
{
	if (!from)
		return;
	free(*to);
	*to = mem_str(from);
}

static void take_number(void *to, const void *from)
{
	if (*(const int64_t *)from)
		memcpy(to, from, sizeof(int64_t));
}

static void merge_limits(struct container_spec *to, const struct container_spec *from)
{
	take_number(&to->memory_bytes, &from->memory_bytes);
	take_number(&to->swap_bytes, &from->swap_bytes);
	take_number(&to->reserved_bytes, &from->reserved_bytes);
	take_number(&to->pids, &from->pids);
	take_number(&to->cpu_quota_us, &from->cpu_quota_us);
	take_number(&to->cpu_shares, &from->cpu_shares);
	take_number(&to->io_weight, &from->io_weight);
	take_text(&to->cpus, from->cpus);
	take_text(&to->mems, from->mems);
	take_text(&to->swappiness, from->swappiness);
	take_text(&to->restart, from->restart);
}

/* The kernel first: what it refuses is not written down. */
int container_update(struct container *c, const struct container_spec *s, struct err *err)
{
	struct sandbox_cgroup limits = { 0 };
	auto_free struct sandbox_io *io = NULL;
	char group[CONTAINER_GROUP_MAX];
	int rc = container_io_merge(&c->spec, s, err);

	merge_limits(&c->spec, s);
	if (c->spec.pids < 0)
		c->spec.pids = 0;
	if (rc >= 0)
		rc = container_spec_check(&c->spec, err);
	if (rc >= 0)
		rc = container_io_open(s, &io, &limits.n_io, err);
	if (rc >= 0 && c->state == CONTAINER_RUNNING) {
		container_cgroup_name(c, group);
		container_limits(s, &limits);
		limits.name = group;
		limits.io = io;
		rc = sandbox_cgroup_update(&limits, err);
		fault_point("container.update.limits");
	}
	if (rc == -ENOENT)
		return err_set(err, ENOTSUP,
			       "container %s has no control group, as it runs in the foreground "
			       "without limits",
			       c->name);
	if (rc >= 0)
		rc = container_store_spec(c, err);
	if (rc >= 0)
		container_event(c, "update", NULL, NULL);
	return rc;
}

int container_rename(struct container *c, const char *name, struct err *err)
{
	auto_free char *owner = NULL, *old = NULL;
	auto_db_tx struct db *tx = NULL;
	int rc;

	if (!container_name_valid(name))
		return err_set(
			err, EINVAL,
			"invalid container name '%s': only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
			name);
	rc = db_tx_begin(c->rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_get_str(c->rt->db, "SELECT id FROM containers WHERE name=?1",
				DB_ARGS(DB_T(name)), &owner, err);
	if (rc > 0)
		return err_set(err, EEXIST,
			       "the container name '%s' is already in use by container %.12s", name,
			       owner);
	if (rc >= 0)
		rc = db_run(c->rt->db, "UPDATE containers SET name=?2 WHERE id=?1",
			    DB_ARGS(DB_T(c->id), DB_T(name)), err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	fault_point("container.rename.stored");
	if (rc < 0)
		return rc;
	old = c->name;
	c->name = mem_str(name);
	container_event(c, "rename", "oldName", old);
	if (!c->auto_remove)
		container_record(c);
	return 0;
}

/* --- processes --- */

static bool same_namespace(int proc_fd, const char *pid, const char *want)
{
	auto_free char *path = mem_fmt("%s/ns/pid", pid);
	char link[LINK_MAX_BYTES];
	ssize_t n = readlinkat(proc_fd, path, link, sizeof(link) - 1);

	if (n < 0)
		return false;
	link[n] = 0;
	return str_eq(link, want);
}

/* Without a group: those of its pid namespace, but for containers that have come into it, which
 * have one. */
static int pids_of_namespace(const struct container *c, pid_t **ret, size_t *ret_n, struct err *err)
{
	char group[CONTAINER_GROUP_MAX];
	auto_free char *path = mem_fmt("/proc/%d/ns/pid", (int)c->pid);
	char want[LINK_MAX_BYTES];
	ssize_t len = readlink(path, want, sizeof(want) - 1);
	DIR *d = opendir("/proc");
	size_t n = 0, cap = 0;
	pid_t *v = NULL;
	struct dirent *e;

	if (!d)
		return err_sys(err, "open /proc");
	container_cgroup_name(c, group);
	want[len > 0 ? len : 0] = 0;
	while (len > 0 && (e = readdir(d)) && n < PROCESSES_MAX) {
		uint64_t pid;

		if (str_to_u64(e->d_name, 10, PROCESSES_MAX, &pid) < 0 ||
		    !same_namespace(dirfd(d), e->d_name, want) ||
		    sandbox_cgroup_is_others(group, c->pid, (pid_t)pid))
			continue;
		mem_room(v, n, cap);
		v[n++] = (pid_t)pid;
	}
	closedir(d);
	*ret = v;
	*ret_n = n;
	return 0;
}

int container_pids(struct container *c, pid_t **ret, size_t *ret_n, struct err *err)
{
	char group[CONTAINER_GROUP_MAX];
	int rc = check_running(c, err);

	if (rc < 0)
		return rc;
	container_cgroup_name(c, group);
	rc = sandbox_cgroup_pids(group, ret, ret_n, err);
	if (rc != -ENOENT)
		return rc;
	err_clear(err);
	return pids_of_namespace(c, ret, ret_n, err);
}
