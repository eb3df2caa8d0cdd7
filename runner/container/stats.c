/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container uses, by the counters of its group. What nothing counts (a v1 group costs
 * milliseconds to join, so there is none without a limit) is summed over its processes.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { FILE_MAX = 1 << 20, STAT_FIELDS = 24, UTIME = 14, CSTIME = 17, THREADS = 20, RSS = 24 };

static char *read_proc(pid_t pid, const char *name)
{
	auto_free char *path = mem_fmt("/proc/%d/%s", (int)pid, name);
	struct err ignored;
	char *text = NULL;

	return fd_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL, &ignored) >= 0 ? text : NULL;
}

/* Its own time and that of children that it has waited for. */
static void add_stat(pid_t pid, struct container_stats *s)
{
	auto_free char *text = read_proc(pid, "stat");
	char *at = text ? strrchr(text, ')') : NULL, *save = NULL;
	uint64_t ticks = 0;
	int n = 3;

	if (!at)
		return;
	for (char *w = strtok_r(at + 1, " ", &save); w && n <= STAT_FIELDS;
	     w = strtok_r(NULL, " ", &save), n++) {
		if (n >= UTIME && n <= CSTIME)
			ticks += strtoull(w, NULL, 10);
		else if (n == THREADS)
			s->pids += strtoull(w, NULL, 10);
		else if (n == RSS)
			s->memory_bytes += strtoull(w, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
	}
	s->cpu_ns += ticks * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t number_after(const char *text, const char *word)
{
	const char *at = text ? strstr(text, word) : NULL;

	return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

static void add_io(pid_t pid, struct container_stats *s)
{
	auto_free char *text = read_proc(pid, "io");

	s->read_bytes += number_after(text, "\nread_bytes: ");
	s->written_bytes += number_after(text, "\nwrite_bytes: ");
}

/* "eth0: BYTES packets errs drop fifo frame compressed multicast BYTES …" */
static void add_interface(const char *counters, struct container_stats *s)
{
	enum { OUT_FIELD = 8 };
	char *at = NULL;

	s->net_in_bytes += strtoull(counters, &at, 10);
	for (int i = 1; i < OUT_FIELD; i++)
		strtoull(at, &at, 10);
	s->net_out_bytes += strtoull(at, &at, 10);
}

/* Every interface but the loopback, of a network of its own. */
static void read_net(const struct container *c, struct container_stats *s)
{
	auto_free char *text =
		str_eq(c->spec.network, "host") ? NULL : read_proc(c->pid, "net/dev");
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *colon = strchr(line, ':');

		if (colon && !strstr(line, "lo:"))
			add_interface(colon + 1, s);
	}
}

static uint64_t host_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int sum_up(struct container *c, struct container_stats *s, struct err *err)
{
	auto_free pid_t *pids = NULL;
	size_t n = 0;
	int rc = container_pids(c, &pids, &n, err);

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		add_stat(pids[i], s);
		add_io(pids[i], s);
	}
	return rc < 0 ? rc : 0;
}

static void take_counters(const struct sandbox_usage *u, struct container_stats *s)
{
	if (u->has_cpu)
		s->cpu_ns = u->cpu_ns;
	if (u->has_memory)
		s->memory_bytes = u->memory_bytes;
	if (u->has_pids)
		s->pids = u->pids;
	if (!u->has_io)
		return;
	s->read_bytes = u->read_bytes;
	s->written_bytes = u->written_bytes;
}

int container_stats(struct container *c, struct container_stats *ret, struct err *err)
{
	struct container_stats s = { .limit_bytes = c->spec.memory_bytes ? c->spec.memory_bytes
									 : host_memory() };
	char group[CONTAINER_GROUP_MAX];
	struct sandbox_usage u = { 0 };
	struct err none = { 0 };
	int rc = container_pid_wait(c, err);

	if (rc >= 0 && c->state != CONTAINER_RUNNING)
		rc = err_set(err, EBUSY, "container %s is not running", c->name);
	if (rc < 0)
		return rc;
	container_cgroup_name(c, group);
	s.has_no_group = sandbox_cgroup_usage(group, &u, &none) < 0;
	if (!u.has_cpu || !u.has_memory || !u.has_pids || !u.has_io)
		rc = sum_up(c, &s, err);
	if (rc < 0)
		return rc;
	take_counters(&u, &s);
	read_net(c, &s);
	*ret = s;
	return 0;
}
