/* SPDX-License-Identifier: Apache-2.0 */
/* What a control group has used, by the counters that it has: on v1 those of the hierarchies it is
 * in. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { FILE_MAX = 1 << 20, NS_PER_US = 1000 };

static bool read_number(int dir_fd, const char *file, uint64_t *ret)
{
	auto_free char *text = NULL;
	struct err ignored;

	if (fd_read_file(dir_fd, file, FILE_MAX, &text, NULL, &ignored) < 0)
		return false;
	*ret = strtoull(text, NULL, 10);
	return true;
}

/* "key N", a line each. */
static bool read_key(int dir_fd, const char *file, const char *key, uint64_t *ret)
{
	auto_free char *text = NULL;
	struct err ignored;
	size_t n = strlen(key);
	char *save = NULL;

	if (fd_read_file(dir_fd, file, FILE_MAX, &text, NULL, &ignored) < 0)
		return false;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		if (strncmp(l, key, n) == 0 && l[n] == ' ') {
			*ret = strtoull(l + n + 1, NULL, 10);
			return true;
		}
	return false;
}

/* What can be dropped at once is not counted, as Docker does. */
static void read_memory(int dir_fd, const char *file, const char *cached, struct sandbox_usage *u)
{
	uint64_t dropped = 0;

	if (!read_number(dir_fd, file, &u->memory_bytes))
		return;
	u->has_memory = true;
	if (read_key(dir_fd, "memory.stat", cached, &dropped) && dropped < u->memory_bytes)
		u->memory_bytes -= dropped;
}

/* Sums what follows a word: "8:0 rbytes=1 wbytes=2", or v1's "8:0 Read 1". */
static void add_after(const char *text, const char *word, uint64_t *to)
{
	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		*to += strtoull(at + strlen(word), NULL, 10);
}

static void read_io(int dir_fd, const char *file, const char *reads, const char *writes,
		    struct sandbox_usage *u)
{
	auto_free char *text = NULL;
	struct err ignored;

	if (fd_read_file(dir_fd, file, FILE_MAX, &text, NULL, &ignored) < 0)
		return;
	u->has_io = true;
	add_after(text, reads, &u->read_bytes);
	add_after(text, writes, &u->written_bytes);
}

static void read_v2(int fd, struct sandbox_usage *u)
{
	if (read_key(fd, "cpu.stat", "usage_usec", &u->cpu_ns)) {
		u->has_cpu = true;
		u->cpu_ns *= NS_PER_US;
	}
	read_memory(fd, "memory.current", "inactive_file", u);
	u->has_pids |= read_number(fd, "pids.current", &u->pids);
	read_io(fd, "io.stat", "rbytes=", "wbytes=", u);
}

static void read_v1(const struct sandbox_cgroup_dirs *d, size_t i, int fd, struct sandbox_usage *u)
{
	if (sandbox_group_has(d, i, "cpuacct"))
		u->has_cpu |= read_number(fd, "cpuacct.usage", &u->cpu_ns);
	if (sandbox_group_has(d, i, "memory"))
		read_memory(fd, "memory.usage_in_bytes", "total_inactive_file", u);
	if (sandbox_group_has(d, i, "pids"))
		u->has_pids |= read_number(fd, "pids.current", &u->pids);
	if (sandbox_group_has(d, i, "blkio"))
		read_io(fd, "blkio.throttle.io_service_bytes_recursive", " Read ", " Write ", u);
}

int sandbox_cgroup_usage(const char *name, struct sandbox_usage *ret, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	struct sandbox_usage u = { 0 };
	int rc = sandbox_cgroup_check_name(name, err), found = 0;

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < d.n; i++) {
		auto_fd int fd = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);

		if (fd < 0)
			continue;
		found++;
		if (d.v[i].v2)
			read_v2(fd, &u);
		else
			read_v1(&d, i, fd, &u);
	}
	if (!found)
		return err_set(err, ENOENT, "there is no cgroup %s", name);
	*ret = u;
	return 0;
}
