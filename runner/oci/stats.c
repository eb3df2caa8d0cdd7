/* SPDX-License-Identifier: Apache-2.0 */
/* events --stats: what a group has used, in the shape that callers of runc read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

static uint64_t number(const struct oci_state *s, const char *controller, const char *file,
		       const char *key)
{
	auto_free char *text = NULL;
	struct err ignored;
	const char *at;

	if (sandbox_cgroup_read(s->cgroup, controller, file, &text, &ignored) < 0)
		return 0;
	at = text;
	if (key) {
		auto_free char *with = mem_fmt("%s ", key);

		while (at && strncmp(at, with, strlen(with)) != 0) {
			at = strchr(at, '\n');
			at = at ? at + 1 : NULL;
		}
		at = at ? at + strlen(with) : NULL;
	}
	return at ? strtoull(at, NULL, 10) : 0; /* "max": 0 */
}

static json_t *integer(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *cpu(const struct oci_state *s, bool v2)
{
	json_t *j = json_object(), *usage = json_object(), *throttling = json_object();
	const char *c = v2 ? NULL : "cpuacct";
	uint64_t total = v2 ? number(s, c, "cpu.stat", "usage_usec") * 1000
			    : number(s, c, "cpuacct.usage", NULL);
	uint64_t user = v2 ? number(s, c, "cpu.stat", "user_usec") * 1000
			   : number(s, c, "cpuacct.usage_user", NULL);
	uint64_t kernel = v2 ? number(s, c, "cpu.stat", "system_usec") * 1000
			     : number(s, c, "cpuacct.usage_sys", NULL);

	json_object_set_new(usage, "total", integer(total));
	json_object_set_new(usage, "kernel", integer(kernel));
	json_object_set_new(usage, "user", integer(user));
	c = v2 ? NULL : "cpu";
	json_object_set_new(throttling, "periods", integer(number(s, c, "cpu.stat", "nr_periods")));
	json_object_set_new(throttling, "throttledPeriods",
			    integer(number(s, c, "cpu.stat", "nr_throttled")));
	json_object_set_new(throttling, "throttledTime",
			    integer(v2 ? number(s, c, "cpu.stat", "throttled_usec") * 1000
				       : number(s, c, "cpu.stat", "throttled_time")));
	json_object_set_new(j, "usage", usage);
	json_object_set_new(j, "throttling", throttling);
	return j;
}

static json_t *memory(const struct oci_state *s, bool v2)
{
	const char *c = v2 ? NULL : "memory";
	json_t *j = json_object(), *usage = json_object();

	json_object_set_new(
		usage, "usage",
		integer(number(s, c, v2 ? "memory.current" : "memory.usage_in_bytes", NULL)));
	json_object_set_new(
		usage, "limit",
		integer(number(s, c, v2 ? "memory.max" : "memory.limit_in_bytes", NULL)));
	json_object_set_new(
		usage, "max",
		integer(number(s, c, v2 ? "memory.peak" : "memory.max_usage_in_bytes", NULL)));
	json_object_set_new(usage, "failcnt",
			    integer(v2 ? number(s, c, "memory.events", "max")
				       : number(s, c, "memory.failcnt", NULL)));
	json_object_set_new(j, "usage", usage);
	json_object_set_new(j, "cache",
			    integer(number(s, c, "memory.stat", v2 ? "file" : "cache")));
	return j;
}

int oci_stats(const struct oci_runtime *r, const char *id, json_t **ret, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	bool v2 = sandbox_cgroup_is_v2();
	json_t *data, *pids;
	int rc = oci_state_read(r, id, &s, err);

	if (rc < 0)
		return rc;
	if (!s.cgroup || str_eq(oci_state_status(&s), "stopped"))
		return err_set(err, ESRCH, "container not running: %s", id);
	data = json_object();
	pids = json_object();
	json_object_set_new(pids, "current",
			    integer(number(&s, v2 ? NULL : "pids", "pids.current", NULL)));
	json_object_set_new(pids, "limit",
			    integer(number(&s, v2 ? NULL : "pids", "pids.max", NULL)));
	json_object_set_new(data, "cpu", cpu(&s, v2));
	json_object_set_new(data, "memory", memory(&s, v2));
	json_object_set_new(data, "pids", pids);
	*ret = json_pack("{s:s,s:s,s:o}", "type", "stats", "id", id, "data", data);
	return 0;
}
