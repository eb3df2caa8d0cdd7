/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a control group: one table of what there is, in both versions. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

/* How a value is written, "" when it is not asked for. */
typedef char *value_fn(const struct sandbox_cgroup *c, bool v2);

static char *number(uint64_t v)
{
	return v ? mem_fmt("%" PRIu64, v) : NULL;
}

static char *of_memory(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return number(c->memory_bytes);
}

/* v2 counts swap apart. */
static char *of_swap(const struct sandbox_cgroup *c, bool v2)
{
	if (c->swap_bytes < 0)
		return mem_str(v2 ? "max" : "-1");
	if (!c->swap_bytes)
		return NULL;
	return v2 ? mem_fmt("%" PRIu64, (uint64_t)c->swap_bytes - c->memory_bytes)
		  : number((uint64_t)c->swap_bytes);
}

static char *of_reserved(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return number(c->reserved_bytes);
}

static char *of_pids(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	if (c->pids < 0)
		return mem_str("max");
	return number((uint64_t)c->pids);
}

static char *of_quota(const struct sandbox_cgroup *c, bool v2)
{
	if (!c->cpu_quota_us)
		return NULL;
	return v2 ? mem_fmt("%" PRIu64 " 100000", c->cpu_quota_us) : number(c->cpu_quota_us);
}

/* 2 to 262144 becomes 1 to 10000, as runc and crun have it. */
static char *of_shares(const struct sandbox_cgroup *c, bool v2)
{
	if (!c->cpu_shares)
		return NULL;
	return number(v2 ? 1 + (c->cpu_shares - 2) * 9999 / 262142 : c->cpu_shares);
}

static char *of_weight(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return number(c->io_weight);
}

static char *of_cpus(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return mem_str(c->cpus);
}

static char *of_mems(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return mem_str(c->mems);
}

static char *of_swappiness(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return mem_str(c->swappiness);
}

static char *of_no_oom_kill(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return c->no_oom_kill ? mem_str("1") : NULL;
}

/* Many lines; what is written is not this. */
static char *of_io(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return c->n_io ? mem_str("") : NULL;
}

/* As many lines. */
static char *of_devices(const struct sandbox_cgroup *c, bool v2)
{
	(void)v2;
	return c->n_device_rules ? mem_str("") : NULL;
}

/* In the order of writing: v1 wants memory before memory and swap. */
static const struct limit {
	const char *what, *controller, *v1, *v2,
		*other; /* other: where v1 or v2 has no such file */
	value_fn *value;
} limits[] = {
	{ "memory", "memory", "memory.limit_in_bytes", "memory.max", NULL, of_memory },
	{ "memory and swap", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max", NULL,
	  of_swap },
	{ "reserved memory", "memory", "memory.soft_limit_in_bytes", "memory.low", NULL,
	  of_reserved },
	{ "pids", "pids", "pids.max", "pids.max", NULL, of_pids },
	{ "cpus", "cpu", "cpu.cfs_quota_us", "cpu.max", NULL, of_quota },
	{ "cpu shares", "cpu", "cpu.shares", "cpu.weight", NULL, of_shares },
	{ "block IO weight", "blkio", "blkio.weight", "io.weight", "blkio.bfq.weight", of_weight },
	{ "CPUs to run on", "cpuset", "cpuset.cpus", "cpuset.cpus", NULL, of_cpus },
	{ "memory nodes", "cpuset", "cpuset.mems", "cpuset.mems", NULL, of_mems },
	{ "swappiness", "memory", "memory.swappiness", NULL, NULL, of_swappiness },
	{ "out of memory", "memory", "memory.oom_control", NULL, NULL, of_no_oom_kill },
	{ "block IO of devices", "blkio", NULL, NULL, NULL, of_io },
	{ "devices", "devices", NULL, NULL, NULL, of_devices },
};

static bool has_v2(const struct sandbox_cgroup_dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].v2)
			return true;
	return false;
}

static bool asks(const struct sandbox_cgroup *c, const struct limit *l)
{
	auto_free char *value = l->value(c, false);

	return value != NULL;
}

bool sandbox_cgroup_wants(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			  size_t i)
{
	if (d->v[i].v2)
		return true;
	for (size_t k = 0; k < ARRAY_LEN(limits); k++)
		if (sandbox_group_has(d, i, limits[k].controller) && asks(c, &limits[k]))
			return true;
	return !has_v2(d) && sandbox_group_has(d, i, "freezer");
}

int sandbox_cgroup_missing(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			   struct err *err)
{
	for (size_t k = 0; !d->pure_v2 && k < ARRAY_LEN(limits); k++) {
		bool there = !asks(c, &limits[k]);

		for (size_t i = 0; i < d->n && !there; i++)
			there = sandbox_group_has(d, i, limits[k].controller);
		if (!there)
			return err_set(err, ENOTSUP, "limit of %s: this host has no %s controller",
				       limits[k].what, limits[k].controller);
	}
	return 0;
}

static const struct {
	const char *what, *v1, *other, *key; /* key: of v2's io.max */
} io_kinds[] = {
	[SANDBOX_IO_WEIGHT] = { "block IO weight", "blkio.weight_device", "blkio.bfq.weight_device",
				NULL },
	[SANDBOX_IO_READ_BYTES] = { "bytes read", "blkio.throttle.read_bps_device", NULL, "rbps" },
	[SANDBOX_IO_WRITE_BYTES] = { "bytes written", "blkio.throttle.write_bps_device", NULL,
				     "wbps" },
	[SANDBOX_IO_READS] = { "reads", "blkio.throttle.read_iops_device", NULL, "riops" },
	[SANDBOX_IO_WRITES] = { "writes", "blkio.throttle.write_iops_device", NULL, "wiops" },
};

static char *io_text(const struct sandbox_io *io, const char *key)
{
	auto_free char *n = key && !io->value ? mem_str("max") : mem_fmt("%" PRIu64, io->value);

	return mem_fmt("%u:%u %s%s%s", major(io->dev), minor(io->dev), key ? key : "",
		       key ? "=" : "", n);
}

/* Which of the two files of a weight there is depends on the kernel's schedulers. */
static int write_io(const struct sandbox_cgroup *c, bool v2, int dir_fd, struct err *err)
{
	for (size_t i = 0; i < c->n_io; i++) {
		const struct sandbox_io *io = &c->io[i];
		const char *key = v2 ? io_kinds[io->kind].key : NULL;
		const char *file = !v2 ? io_kinds[io->kind].v1 : key ? "io.max" : "io.bfq.weight";
		const char *other = v2 ? "io.weight" : io_kinds[io->kind].other;
		auto_free char *text = io_text(io, key);
		int rc = sandbox_cgroup_write(dir_fd, file, text);

		if (rc == -ENOENT && !key && other)
			rc = sandbox_cgroup_write(dir_fd, file = other, text);
		if (rc < 0)
			err_errno(err, -rc, "limit of %s (%s = %s)", io_kinds[io->kind].what, file,
				  text);
		if (rc == -ENODEV)
			return err_hint(err, "want a whole disk: partitions have no limits");
		if (rc == -EOPNOTSUPP)
			return err_hint(err,
					"only disks that the scheduler bfq serves have weights");
		if (rc < 0)
			return rc;
	}
	return 0;
}

static char *rule_text(const struct sandbox_device_rule *r)
{
	auto_free char *maj = r->major < 0 ? mem_str("*") : mem_fmt("%" PRId64, r->major);
	auto_free char *min = r->minor < 0 ? mem_str("*") : mem_fmt("%" PRId64, r->minor);

	return mem_fmt("%c %s:%s %s%s%s", r->type, maj, min, r->access & SANDBOX_READ ? "r" : "",
		       r->access & SANDBOX_WRITE ? "w" : "", r->access & SANDBOX_MKNOD ? "m" : "");
}

static int write_devices(const struct sandbox_cgroup *c, bool v2, int dir_fd, struct err *err)
{
	int rc = v2 ? sandbox_devices_attach(dir_fd, c->device_rules, c->n_device_rules, err) : 0;

	for (size_t i = 0; !v2 && i < c->n_device_rules && rc == 0; i++) {
		const struct sandbox_device_rule *r = &c->device_rules[i];
		auto_free char *text = rule_text(r);
		bool all = r->type == 'a';

		rc = sandbox_cgroup_write(dir_fd, r->allow ? "devices.allow" : "devices.deny",
					  all ? "a" : text);
		if (rc < 0)
			err_errno(err, -rc, "devices of the cgroup: %s", text);
	}
	return rc;
}

static int write_limit(const struct limit *l, const struct sandbox_cgroup *c, bool v2, int dir_fd,
		       struct err *err)
{
	auto_free char *value = l->value(c, v2);
	const char *file = v2 ? l->v2 : l->v1;
	int rc;

	if (!value)
		return 0;
	if (l->value == of_io)
		return write_io(c, v2, dir_fd, err);
	if (l->value == of_devices)
		return write_devices(c, v2, dir_fd, err);
	if (!file)
		return err_set(err, ENOTSUP, "limit of %s: cgroup v2 has none", l->what);
	rc = sandbox_cgroup_write(dir_fd, file, value);
	if (rc == -ENOENT && l->other)
		rc = sandbox_cgroup_write(dir_fd, file = v2 ? "io.bfq.weight" : l->other, value);
	return rc < 0 ? err_errno(err, -rc, "limit of %s (%s = %s)", l->what, file, value) : 0;
}

int sandbox_cgroup_limit(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			 size_t i, int dir_fd, struct err *err)
{
	bool v2 = d->v[i].v2;
	int rc = 0;

	if (v2 && !d->pure_v2)
		return 0;
	if (!v2 && sandbox_group_has(d, i, "cpuset"))
		sandbox_group_inherit(d->v[i].mount, c->name);
	for (size_t k = 0; rc == 0 && k < ARRAY_LEN(limits); k++)
		if (v2 || sandbox_group_has(d, i, limits[k].controller))
			rc = write_limit(&limits[k], c, v2, dir_fd, err);
	return rc;
}

/* --- while it runs --- */

/* More than the processes that are there now may be in it: until none is left outside. */
static int move_in(int dir_fd, const char *name, struct err *err)
{
	auto_free pid_t *pids = NULL;
	size_t n = 0;
	int rc = sandbox_cgroup_pids(name, &pids, &n, err);

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		auto_free char *text = mem_fmt("%d", (int)pids[i]);

		rc = sandbox_cgroup_write(dir_fd, "cgroup.procs", text);
		if (rc == -ESRCH)
			rc = 0;
		if (rc < 0)
			return err_errno(err, -rc, "move process %s", text);
	}
	return rc;
}

static int update_one(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d, size_t i,
		      struct err *err)
{
	auto_fd int dir = sandbox_cgroup_group(d->v[i].mount, c->name, d->v[i].v2, false);
	bool is_new = dir < 0;
	int rc;

	if (is_new && d->v[i].v2)
		return err_errno(err, -dir, "cgroup %s", c->name);
	if (is_new) {
		fd_close(&dir);
		dir = sandbox_cgroup_group(d->v[i].mount, c->name, false, true);
	}
	if (dir < 0)
		return err_errno(err, -dir, "cgroup %s in %s", c->name, d->v[i].mount);
	rc = sandbox_cgroup_limit(c, d, i, dir, err);
	if (rc < 0 || !is_new)
		return rc;
	/* Twice: what was forked meanwhile by one that had not moved yet. */
	rc = move_in(dir, c->name, err);
	return rc < 0 ? rc : move_in(dir, c->name, err);
}

int sandbox_cgroup_update(const struct sandbox_cgroup *c, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	auto_free pid_t *pids = NULL;
	size_t n;
	int rc = sandbox_cgroup_pids(c->name, &pids, &n, err);

	if (rc >= 0)
		rc = sandbox_cgroup_scan(&d, err);
	if (rc >= 0)
		rc = sandbox_cgroup_missing(c, &d, err);
	for (size_t i = 0; rc >= 0 && i < d.n; i++)
		if (sandbox_cgroup_wants(c, &d, i))
			rc = update_one(c, &d, i, err);
	return rc;
}
