/* SPDX-License-Identifier: Apache-2.0 */
/* linux.resources as what is written to the files of a group, for v1 and for v2. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

void oci_write_add(struct oci_config *c, const char *controller, const char *file, char *owned,
		   bool v2)
{
	mem_room(c->writes, c->layout.n_writes, c->cap_writes);
	c->writes[c->layout.n_writes++] = (struct sandbox_cgroup_write){
		.controller = controller, .file = file, .value = oci_keep(c, owned), .v2 = v2
	};
}

static char *number(int64_t n, bool v2)
{
	return n < 0 ? mem_str(v2 ? "max" : "-1") : mem_fmt("%lld", (long long)n);
}

/* Swap of the specification is memory and swap together, as v1 counts; v2 counts it alone. */
static int memory_v2(struct oci_config *c, json_t *m, struct err *err)
{
	int64_t limit = json_get_int(m, "limit", 0), swap = json_get_int(m, "swap", 0);
	static const char *const v1_only[] = { "kernel", "kernelTCP", "swappiness",
					       "disableOOMKiller" };

	for (size_t i = 0; i < ARRAY_LEN(v1_only); i++) {
		json_t *v = json_object_get(m, v1_only[i]);

		if (v && !json_is_false(v) && !(i == 0 && json_integer_value(v) == 0))
			return err_set(err, ENOTSUP, "linux.resources.memory.%s is of cgroup v1",
				       v1_only[i]);
	}
	if (swap > 0 && limit > 0 && swap < limit)
		return err_set(err, EINVAL, "linux.resources.memory.swap is less than its limit");
	if (swap > 0 && limit <= 0)
		return err_set(err, EINVAL, "linux.resources.memory.swap needs a limit");
	if (swap)
		oci_write_add(c, "memory", "memory.swap.max",
			      number(swap < 0 ? -1 : swap - limit, true), true);
	if (limit)
		oci_write_add(c, "memory", "memory.max", number(limit, true), true);
	if (json_get_int(m, "reservation", 0))
		oci_write_add(c, "memory", "memory.low",
			      number(json_get_int(m, "reservation", 0), true), true);
	return 0;
}

static int memory_v1(struct oci_config *c, json_t *m, struct err *err)
{
	static const struct {
		const char *key, *file;
	} files[] = {
		{ "limit", "memory.limit_in_bytes" },
		{ "swap", "memory.memsw.limit_in_bytes" },
		{ "reservation", "memory.soft_limit_in_bytes" },
		{ "kernel", "memory.kmem.limit_in_bytes" },
		{ "kernelTCP", "memory.kmem.tcp.limit_in_bytes" },
	};
	json_t *swappiness = json_object_get(m, "swappiness");

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int64_t n = json_get_int(m, files[i].key, 0);

		if (n)
			oci_write_add(c, "memory", files[i].file, number(n, false), false);
	}
	if (swappiness && oci_u64(m, "swappiness", 0) <= 100)
		oci_write_add(c, "memory", "memory.swappiness",
			      number(json_integer_value(swappiness), false), false);
	else if (swappiness && json_integer_value(swappiness) != -1)
		return err_set(err, EINVAL, "linux.resources.memory.swappiness is more than 100");
	if (json_get_bool(m, "disableOOMKiller"))
		oci_write_add(c, "memory", "memory.oom_control", mem_str("1"), false);
	return 0;
}

static int make_memory(struct oci_config *c, json_t *m, bool v2, struct err *err)
{
	json_t *hierarchy = json_object_get(m, "useHierarchy");

	/* Since 5.11 there is no other way than a hierarchy. */
	if (json_is_false(hierarchy))
		return err_set(err, ENOTSUP,
			       "linux.resources.memory.useHierarchy: kernels know no flat groups");
	return v2 ? memory_v2(c, m, err) : memory_v1(c, m, err);
}

static int cpu_v2(struct oci_config *c, json_t *p, struct err *err)
{
	uint64_t shares = oci_u64(p, "shares", 0), period = oci_u64(p, "period", 0);
	int64_t quota = json_get_int(p, "quota", 0);

	if (oci_u64(p, "realtimePeriod", 0) || json_get_int(p, "realtimeRuntime", 0))
		return err_set(err, ENOTSUP,
			       "linux.resources.cpu.realtimeRuntime and -Period are of cgroup v1");
	/* 2 … 262144 to 1 … 10000, the kernel's own conversion. */
	if (shares) {
		unsigned long long capped = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;

		oci_write_add(c, "cpu", "cpu.weight",
			      mem_fmt("%llu", 1 + (capped - 2) * 9999 / 262142), true);
	}
	if (quota || period) {
		auto_free char *max = number(quota > 0 ? quota : -1, true);

		oci_write_add(
			c, "cpu", "cpu.max",
			mem_fmt("%s %llu", max, (unsigned long long)(period ? period : 100000)),
			true);
	}
	if (json_object_get(p, "burst"))
		oci_write_add(c, "cpu", "cpu.max.burst", number(json_get_int(p, "burst", 0), true),
			      true);
	if (json_object_get(p, "idle"))
		oci_write_add(c, "cpu", "cpu.idle", number(json_get_int(p, "idle", 0), true), true);
	return 0;
}

/* The period first: a quota is judged by it. */
static void cpu_v1(struct oci_config *c, json_t *p)
{
	static const struct {
		const char *key, *file;
	} files[] = {
		{ "shares", "cpu.shares" },
		{ "period", "cpu.cfs_period_us" },
		{ "quota", "cpu.cfs_quota_us" },
		{ "burst", "cpu.cfs_burst_us" },
		{ "realtimePeriod", "cpu.rt_period_us" },
		{ "realtimeRuntime", "cpu.rt_runtime_us" },
		{ "idle", "cpu.idle" },
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int64_t n = json_get_int(p, files[i].key, 0);

		if (n)
			oci_write_add(c, "cpu", files[i].file, number(n, false), false);
	}
}

static int make_cpu(struct oci_config *c, json_t *p, bool v2, struct err *err)
{
	const char *cpus = json_get_str(p, "cpus"), *mems = json_get_str(p, "mems");
	int rc = 0;

	if (v2)
		rc = cpu_v2(c, p, err);
	else
		cpu_v1(c, p);
	if (cpus && *cpus)
		oci_write_add(c, "cpuset", "cpuset.cpus", mem_str(cpus), v2);
	if (mems && *mems)
		oci_write_add(c, "cpuset", "cpuset.mems", mem_str(mems), v2);
	return rc;
}

static const struct {
	const char *key, *v1, *v2;
} throttles[] = {
	{ "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps" },
	{ "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps" },
	{ "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops" },
	{ "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops" },
};

static void make_throttles(struct oci_config *c, json_t *io, bool v2)
{
	for (size_t k = 0; k < ARRAY_LEN(throttles); k++) {
		json_t *one;
		size_t i;

		json_array_foreach(json_object_get(io, throttles[k].key), i, one)
		{
			int64_t major = json_get_int(one, "major", 0);
			int64_t minor = json_get_int(one, "minor", 0);
			unsigned long long rate = oci_u64(one, "rate", 0);

			oci_write_add(c, "blkio", v2 ? "io.max" : throttles[k].v1,
				      mem_fmt("%lld:%lld %s%s%llu", (long long)major,
					      (long long)minor, v2 ? throttles[k].v2 : "",
					      v2 ? "=" : "", rate),
				      v2);
		}
	}
}

/* Weights are of BFQ. v2 counts 1 to 10000, the specification 10 to 1000. */
static int make_block_io(struct oci_config *c, json_t *io, bool v2, struct err *err)
{
	uint64_t weight = oci_u64(io, "weight", 0);
	json_t *one;
	size_t i;

	if (oci_u64(io, "leafWeight", 0))
		return err_set(err, ENOTSUP,
			       "linux.resources.blockIO.leafWeight: kernels have none any more");
	if (weight && (weight < 10 || weight > 1000))
		return err_set(err, EINVAL, "linux.resources.blockIO.weight is not in 10 to 1000");
	if (weight)
		oci_write_add(c, "blkio", v2 ? "io.bfq.weight" : "blkio.bfq.weight",
			      mem_fmt("%llu", (unsigned long long)weight), v2);
	json_array_foreach(json_object_get(io, "weightDevice"), i, one)
	{
		if (oci_u64(one, "leafWeight", 0))
			return err_set(err, ENOTSUP,
				       "linux.resources.blockIO.weightDevice[%zu].leafWeight: "
				       "kernels have none any more",
				       i);
		oci_write_add(c, "blkio", v2 ? "io.bfq.weight" : "blkio.bfq.weight_device",
			      mem_fmt("%lld:%lld %llu", (long long)json_get_int(one, "major", 0),
				      (long long)json_get_int(one, "minor", 0),
				      (unsigned long long)oci_u64(one, "weight", 0)),
			      v2);
	}
	make_throttles(c, io, v2);
	return 0;
}

static int make_huge_pages(struct oci_config *c, json_t *list, bool v2, struct err *err)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *size = json_get_str(one, "pageSize");

		if (!size || !*size || strlen(size) > 16 || size[strspn(size, "0123456789KMGTB")])
			return err_set(err, EINVAL,
				       "linux.resources.hugepageLimits[%zu]: bad pageSize", i);
		/* When it is reserved (since 5.7), and when it is touched without. */
		for (int k = 0; k < 2; k++) {
			char *file = mem_fmt("hugetlb.%s.%s%s", size, k ? "rsvd." : "",
					     v2 ? "max" : "limit_in_bytes");

			oci_write_add(c, "hugetlb", oci_keep(c, file),
				      number(json_get_int(one, "limit", 0), v2), v2);
			c->writes[c->layout.n_writes - 1].may_miss = k;
		}
	}
	return 0;
}

static int make_network(struct oci_config *c, json_t *net, bool v2, struct err *err)
{
	json_t *list = json_object_get(net, "priorities"), *one;
	size_t i;

	if (v2 && (oci_u64(net, "classID", 0) || json_array_size(list)))
		return err_set(err, ENOTSUP, "linux.resources.network is of cgroup v1");
	if (json_object_get(net, "classID"))
		oci_write_add(c, "net_cls", "net_cls.classid",
			      number(json_get_int(net, "classID", 0), false), false);
	json_array_foreach(list, i, one) oci_write_add(
		c, "net_prio", "net_prio.ifpriomap",
		mem_fmt("%s %lld", json_get_str(one, "name") ? json_get_str(one, "name") : "",
			(long long)json_get_int(one, "priority", 0)),
		false);
	return 0;
}

static void make_rdma(struct oci_config *c, json_t *map, bool v2)
{
	const char *name;
	json_t *one;

	json_object_foreach(map, name, one)
	{
		auto_free char *handles = number(json_get_int(one, "hcaHandles", -1), true);
		auto_free char *objects = number(json_get_int(one, "hcaObjects", -1), true);

		oci_write_add(c, "rdma", "rdma.max",
			      mem_fmt("%s hca_handle=%s hca_object=%s", name, handles, objects),
			      v2);
	}
}

static int make_unified(struct oci_config *c, json_t *map, bool v2, struct err *err)
{
	const char *key;
	json_t *one;

	if (json_object_size(map) && !v2)
		return err_set(err, ENOTSUP, "linux.resources.unified is of cgroup v2");
	json_object_foreach(map, key, one)
	{
		if (strchr(key, '/') || !strcmp(key, ".") || !strcmp(key, "..") || !*key)
			return err_set(err, EINVAL, "linux.resources.unified: bad file %.64s", key);
		oci_write_add(c, "", oci_keep(c, mem_str(key)), mem_str(json_string_value(one)),
			      true);
	}
	return 0;
}

/* "c 1:3 rwm", "a" */
static char *device_rule(const json_t *d)
{
	const char *type = json_get_str(d, "type"), *access = json_get_str(d, "access");
	int64_t major = json_get_int(d, "major", -1), minor = json_get_int(d, "minor", -1);
	auto_free char *ma = major < 0 ? mem_str("*") : mem_fmt("%lld", (long long)major);
	auto_free char *mi = minor < 0 ? mem_str("*") : mem_fmt("%lld", (long long)minor);

	if (!type || !*type)
		type = "a";
	return mem_fmt("%s %s:%s %s", type, ma, mi, access && *access ? access : "rwm");
}

static int check_device_rule(const json_t *d, size_t at, struct err *err)
{
	const char *type = json_get_str(d, "type"), *access = json_get_str(d, "access");

	if (type && *type && (strlen(type) != 1 || !strchr("abcpu", *type)))
		return err_set(err, EINVAL, "linux.resources.devices[%zu]: bad type %.16s", at,
			       type);
	if (access && access[strspn(access, "rwm")])
		return err_set(err, EINVAL, "linux.resources.devices[%zu]: bad access %.16s", at,
			       access);
	return 0;
}

/* What every container may use, whatever the rules are (the runtime's own devices). */
static const char *const always[] = { "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
				      "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
				      "c *:* m",   "b *:* m" };

static int make_devices(struct oci_config *c, json_t *list, bool v2, struct err *err)
{
	json_t *one;
	size_t i;
	int rc = 0;

	if (!json_array_size(list))
		return 0;
	json_array_foreach(list, i, one)
	{
		rc = check_device_rule(one, i, err);
		if (rc < 0)
			return rc;
	}
	if (v2) {
		oci_devices_v2(c, list);
		return 0;
	}
	json_array_foreach(list, i, one) oci_write_add(
		c, "devices", json_get_bool(one, "allow") ? "devices.allow" : "devices.deny",
		device_rule(one), false);
	for (i = 0; i < ARRAY_LEN(always); i++)
		oci_write_add(c, "devices", "devices.allow", mem_str(always[i]), false);
	return 0;
}

int oci_resources_make(struct oci_config *c, json_t *r, bool v2, struct err *err)
{
	int64_t limit = json_get_int(json_object_get(r, "pids"), "limit", 0);
	int rc = make_memory(c, json_object_get(r, "memory"), v2, err);

	if (rc == 0)
		rc = make_cpu(c, json_object_get(r, "cpu"), v2, err);
	if (rc == 0)
		rc = make_block_io(c, json_object_get(r, "blockIO"), v2, err);
	if (rc == 0)
		rc = make_huge_pages(c, json_object_get(r, "hugepageLimits"), v2, err);
	if (rc == 0)
		rc = make_network(c, json_object_get(r, "network"), v2, err);
	if (rc == 0)
		rc = make_devices(c, json_object_get(r, "devices"), v2, err);
	if (rc == 0)
		rc = make_unified(c, json_object_get(r, "unified"), v2, err);
	if (rc < 0)
		return rc;
	make_rdma(c, json_object_get(r, "rdma"), v2);
	if (limit)
		oci_write_add(c, "pids", "pids.max", limit < 0 ? mem_str("max") : number(limit, v2),
			      v2);
	return 0;
}
