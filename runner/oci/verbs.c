/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs on a container that is there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { END_TRIES = 400, END_WAIT_NS = 5 * 1000 * 1000 };

int oci_state(const struct oci_runtime *r, const char *id, json_t **ret, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	int rc = oci_state_read(r, id, &s, err);

	if (rc == 0)
		*ret = oci_state_json(&s, oci_state_status(&s));
	return rc;
}

int oci_list(const struct oci_runtime *r, json_t **ret, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_json json_t *list = json_array();
	int rc = access(r->root, F_OK) < 0 ? 0 : fs_list(AT_FDCWD, r->root, &names, err);

	for (size_t i = 0; i < names.n; i++) {
		struct err ignored;
		json_t *one = NULL;

		if (names.v[i][0] != '.' && oci_state(r, names.v[i], &one, &ignored) == 0) {
			json_set_str(one, "owner", "root");
			json_array_append_new(list, one);
		}
	}
	if (rc == 0)
		*ret = take(list);
	return rc;
}

/* The very process, not one that has its pid now. */
static int open_process(const struct oci_state *s)
{
	int fd = s->other_boot || s->pid <= 0 ? -1 : sys_pidfd_open(s->pid, 0);

	if (fd >= 0 && !proc_is_alive(s->pid, s->start_time))
		fd_close(&fd);
	return fd;
}

static int signal_all(const struct oci_state *s, int sig, struct err *err)
{
	auto_free pid_t *pids = NULL;
	size_t n = 0;
	int rc;

	if (sig == SIGKILL)
		return sandbox_cgroup_kill(s->cgroup, err);
	rc = sandbox_cgroup_pids(s->cgroup, &pids, &n, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (pids[i] > 1)
			kill(pids[i], sig);
	return rc;
}

int oci_kill(const struct oci_runtime *r, const char *id, int sig, bool all, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	int rc = oci_state_read(r, id, &s, err);
	auto_fd int fd = -1;

	if (rc < 0)
		return rc;
	/* Also of one that has stopped: what it left in its group when it had no pid namespace. */
	if (all && s.cgroup)
		return signal_all(&s, sig, err);
	fd = open_process(&s);
	if (fd < 0)
		return err_set(err, ESRCH, "container not running: %s is %s", id,
			       oci_state_status(&s));
	if (sys_pidfd_send_signal(fd, sig) < 0)
		return err_sys(err, "signal %d to %s", sig, id);
	/* v1 keeps a frozen process from dying. */
	if (sig == SIGKILL && sandbox_cgroup_is_frozen(s.cgroup))
		return sandbox_cgroup_freeze(s.cgroup, false, err);
	return 0;
}

static void await_end(const struct oci_state *s)
{
	for (int i = 0; i < END_TRIES && proc_is_alive(s->pid, s->start_time); i++)
		nanosleep(&(struct timespec){ .tv_nsec = END_WAIT_NS }, NULL);
}

static void kill_whole(const struct oci_state *s)
{
	auto_fd int fd = open_process(s);
	struct err ignored;

	if (fd >= 0)
		sys_pidfd_send_signal(fd, SIGKILL);
	if (s->cgroup && sandbox_cgroup_is_frozen(s->cgroup))
		sandbox_cgroup_freeze(s->cgroup, false, &ignored);
	if (s->cgroup)
		sandbox_cgroup_kill(s->cgroup, &ignored);
	if (fd >= 0)
		await_end(s);
}

/* Without a pid namespace the end of the first process is not that of the others. */
static void kill_left(const struct oci_state *s)
{
	auto_free pid_t *pids = NULL;
	struct err ignored;
	size_t n = 0;

	if (s->cgroup && sandbox_cgroup_pids(s->cgroup, &pids, &n, &ignored) == 0 && n)
		sandbox_cgroup_kill(s->cgroup, &ignored);
}

int oci_delete(const struct oci_runtime *r, const char *id, bool force, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	auto_oci_config struct oci_config c = { 0 };
	auto_json json_t *state = NULL;
	struct err why = { 0 };
	int rc = oci_state_read(r, id, &s, err);

	if (rc == -ENOENT && force) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (!str_eq(oci_state_status(&s), "stopped")) {
		if (!force)
			return err_set(err, EBUSY,
				       "cannot delete container %s that is not stopped: %s", id,
				       oci_state_status(&s));
		kill_whole(&s);
	} else {
		kill_left(&s);
	}
	/* What is left of it is tidied up as without one, also when systemd cannot be asked.
	 * Who was killed before he knew its group may have a scope all the same: one that was given
	 * a process which was ending is empty, and does not go by itself. */
	if (s.unit && !s.other_boot && oci_scope_stop(s.unit, s.dir_fd, &why) < 0 && r->warn)
		r->warn(why.msg);
	if (s.cgroup)
		rc = sandbox_cgroup_delete(s.cgroup, err);
	if (rc < 0 && !force)
		return rc;
	state = oci_state_json(&s, "stopped");
	if (oci_state_config(&s, &(struct oci_runtime){ .root = r->root }, &c, &why) == 0)
		oci_hooks_poststop(&c, state, r);
	else if (r->warn && s.created)
		r->warn(why.msg);
	return oci_state_remove(r, id, err);
}

static int read_running(const struct oci_runtime *r, const char *id, struct oci_state *s,
			struct err *err)
{
	int rc = oci_state_read(r, id, s, err);
	const char *status = rc == 0 ? oci_state_status(s) : "";

	if (rc == 0 && (str_eq(status, "stopped") || str_eq(status, "creating") || !s->cgroup))
		return err_set(err, ESRCH, "container not running: %s is %s", id, status);
	return rc;
}

int oci_pids(const struct oci_runtime *r, const char *id, pid_t **ret, size_t *ret_n,
	     struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	int rc = read_running(r, id, &s, err);

	return rc == 0 ? sandbox_cgroup_pids(s.cgroup, ret, ret_n, err) : rc;
}

int oci_pause(const struct oci_runtime *r, const char *id, bool paused, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	int rc = read_running(r, id, &s, err);

	if (rc < 0)
		return rc;
	if (str_eq(oci_state_status(&s), "paused") == paused)
		return err_set(err, EINVAL, "container %s is %s", id,
			       paused ? "paused already" : "not paused");
	return sandbox_cgroup_freeze(s.cgroup, paused, err);
}

/* memory.checkBeforeUpdate: a limit below what is in use would kill. */
static int check_usage(const struct oci_state *s, const json_t *memory, struct err *err)
{
	int64_t limit = json_get_int(memory, "limit", 0);
	bool v2 = sandbox_cgroup_is_v2();
	auto_free char *text = NULL;
	int rc;

	if (!json_get_bool(memory, "checkBeforeUpdate") || limit <= 0)
		return 0;
	rc = sandbox_cgroup_read(s->cgroup, v2 ? NULL : "memory",
				 v2 ? "memory.current" : "memory.usage_in_bytes", &text, err);
	if (rc == 0 && strtoll(text, NULL, 10) > limit)
		return err_set(err, EBUSY,
			       "linux.resources.memory.limit %lld is below what is in use: %s",
			       (long long)limit, str_trim(text));
	return rc;
}

int oci_update(const struct oci_runtime *r, const char *id, const json_t *resources,
	       struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	auto_oci_config struct oci_config c = { .runtime = r };
	int rc = read_running(r, id, &s, err);

	if (rc < 0)
		return rc;
	c.json = json_pack("{s:{s:O}}", "linux", "resources", resources);
	rc = oci_check_fields(oci_resource_fields, oci_at(&c, "linux", "resources"),
			      "linux.resources", r, err);
	if (rc == 0)
		rc = oci_resources_make(&c, oci_at(&c, "linux", "resources"),
					sandbox_cgroup_is_v2(), err);
	if (rc == 0)
		rc = check_usage(&s, json_object_get(resources, "memory"), err);
	if (rc == 0 && s.unit)
		rc = oci_scope_update(s.unit, c.writes, c.layout.n_writes, err);
	if (rc == 0)
		rc = sandbox_cgroup_apply(s.cgroup, c.writes, c.layout.n_writes, err);
	if (rc == 0 && c.layout.n_device_rules)
		rc = sandbox_cgroup_devices(s.cgroup, c.layout.device_rules,
					    c.layout.n_device_rules, err);
	return rc;
}
