/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of a plan, and how a step reads as text. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/path.h>

#include "priv.h"

enum { SHM_BYTES = 64 << 20, HOST_NODES_MAX = 4096, HOST_CPUS_MAX = 4096, HOST_DEPTH_MAX = 4 };

static const struct {
	const char *name;
	unsigned major, minor;
} nodes[] = {
	{ "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
	{ "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct {
	const char *name, *target;
} links[] = {
	{ "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "ptmx", "pts/ptmx" },          { "core", "/proc/kcore" },
};

/* Docker's lists (moby daemon/pkg/oci/defaults.go). Those that this kernel does not have are passed
 * over. */
static const char *const masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/devices/virtual/powercap",
	"/sys/firmware",
};
static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					 "/proc/sysrq-trigger" };

/* Files of /proc that lxcfs and others replace; nothing else may be mounted there (CVE-2019-16884,
 * TRAPS T5). */
static const char *const proc_allowed[] = {
	"/proc/cpuinfo",
	"/proc/diskstats",
	"/proc/meminfo",
	"/proc/stat",
	"/proc/swaps",
	"/proc/uptime",
	"/proc/loadavg",
	"/proc/slabinfo",
	"/proc/sys/kernel/ns_last_pid",
	"/proc/sys/crypto/fips_enabled",
};

static bool is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

bool sandbox_is_proc_allowed(const char *target)
{
	for (size_t i = 0; i < ARRAY_LEN(proc_allowed); i++)
		if (!strcmp(target, proc_allowed[i]))
			return true;
	return false;
}

static bool ends_dotdot(const char *path)
{
	size_t n = strlen(path);

	return n >= 3 && !strcmp(path + n - 3, "/..");
}

int sandbox_check_mounts(const struct sandbox_spec *spec, struct err *err)
{
	if (spec->n_mounts > SANDBOX_MOUNTS_MAX)
		return err_set(err, EINVAL, "more than %d mounts", SANDBOX_MOUNTS_MAX);
	for (size_t i = 0; i < spec->n_mounts; i++) {
		const char *t = spec->mounts[i].target;
		auto_free char *clean = NULL;

		if (!t || *t != '/' || strlen(t) >= PATH_MAX)
			return err_set(err, EINVAL, "mount target %s is not absolute", t ? t : "");
		if (strstr(t, "/../") || ends_dotdot(t))
			return err_set(err, EINVAL, "mount target %s has \"..\"", t);
		clean = path_clean(t);
		if (!strcmp(clean, "/"))
			return err_set(err, EINVAL, "mount target is the root");
		if (is_beneath(clean, "/proc") && !sandbox_is_proc_allowed(clean))
			return err_set(err, EINVAL, "mount target %s lies in /proc", t);
	}
	return 0;
}

static void add_path(struct sandbox_plan *p, enum sandbox_op op, const char *path)
{
	sandbox_step_add(p, op)->name = path;
}

/* A CPU's thermal counters tell of what the host does (GHSA-6fw5-f8r9-fgfm). */
static void mask_thermal(struct sandbox_plan *p)
{
	for (int cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
		auto_free char *path = mem_fmt("/sys/devices/system/cpu/cpu%d", cpu);
		auto_free char *thermal = mem_fmt("%s/thermal_throttle", path);

		if (access(path, F_OK) < 0)
			return;
		if (access(thermal, F_OK) == 0)
			add_path(p, OP_MASK, sandbox_keep(p, thermal));
		else if (cpu == 0)
			return; /* this machine has none */
	}
}

static void plan_masks(struct sandbox_plan *p)
{
	for (size_t i = 0; i < ARRAY_LEN(masked); i++)
		if (access(masked[i], F_OK) == 0)
			add_path(p, OP_MASK, masked[i]);
	mask_thermal(p);
	for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
		if (access(read_only[i], F_OK) == 0)
			add_path(p, OP_READ_ONLY, read_only[i]);
}

static void add_node(struct sandbox_plan *p, const char *name, mode_t mode, dev_t dev)
{
	struct sandbox_step *s = sandbox_step_add(p, OP_NODE);

	s->name = name;
	s->a = mode;
	s->b = dev;
}

static bool is_ours(const char *name)
{
	static const char *const names[] = { "pts",  "shm",   "mqueue",   "console",
					     "fd",   "stdin", "stdout",   "stderr",
					     "ptmx", "core",  "hugepages" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		if (!strcmp(name, nodes[i].name))
			return true;
	return false;
}

/* --privileged: every device of the host's /dev. */
static void host_nodes(struct sandbox_plan *p, int dir_fd, const char *prefix, int depth)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir)) && p->n_steps < HOST_NODES_MAX) {
		auto_free char *path = mem_fmt("%s%s", prefix, e->d_name);

		if (e->d_name[0] == '.' || is_ours(path) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			add_node(p, sandbox_keep(p, path), st.st_mode, st.st_rdev);
		} else if (S_ISDIR(st.st_mode) && depth < HOST_DEPTH_MAX) {
			auto_free char *inner = mem_fmt("%s/", path);
			int fd = openat(dirfd(dir), e->d_name,
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			add_path(p, OP_DIR, sandbox_keep(p, path));
			if (fd >= 0)
				host_nodes(p, fd, inner, depth + 1);
		}
	}
	if (dir)
		closedir(dir);
	else
		close(dir_fd);
}

/*
 * /dev is a tmpfs that allows no devices; the six of the standard are bound over themselves and may
 * be opened. So a node that root inside makes with CAP_MKNOD, or that an image brought, opens
 * nothing, without a device cgroup.
 */
static void plan_dev(struct sandbox_plan *p)
{
	const struct sandbox_spec *s = &p->spec;
	auto_free char *size = NULL, *group = NULL;
	struct sandbox_step *step;

	sandbox_step_add(p, OP_DEV);
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		add_node(p, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor));
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		step = sandbox_step_add(p, OP_LINK);
		step->name = links[i].name;
		step->value = links[i].target;
	}
	if (s->privileged) {
		int fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			host_nodes(p, fd, "", 0);
	}
	group = mem_fmt("%u", TTY_GROUP + (s->ids ? s->ids->root : 0));
	sandbox_step_add(p, OP_DEVPTS)->value = sandbox_keep(p, group);
	size = mem_fmt("%llu", (unsigned long long)(s->shm_bytes ? s->shm_bytes : SHM_BYTES));
	if (s->shm != SANDBOX_SHM_NONE)
		sandbox_step_add(p, OP_SHM)->value =
			s->shm == SANDBOX_SHM_NEW ? sandbox_keep(p, size) : NULL;
	sandbox_step_add(p, OP_MQUEUE);
	if (s->privileged || s->cgroup.opens_devices)
		return;
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		add_path(p, OP_NODE_BIND, nodes[i].name);
}

/* Before /proc/sys is read-only. A name has slashes where an interface's has dots. */
static void plan_sysctls(struct sandbox_plan *p)
{
	const struct strv *l = p->spec.sysctls;

	for (size_t i = 0; l && i < l->n; i++) {
		const char *eq = strchr(l->v[i], '=');
		auto_free char *path = mem_strn(l->v[i], strcspn(l->v[i], "="));
		bool slashes = strchr(path, '/') != NULL;
		struct sandbox_step *s = sandbox_step_add(p, OP_SYSCTL);

		for (char *at = path; *at && !slashes; at++)
			if (*at == '.')
				*at = '/';
		s->name = sandbox_keep(p, path);
		s->value = sandbox_keep(p, eq ? eq + 1 : "");
	}
}

void sandbox_plan_mounts(struct sandbox_plan *p)
{
	const struct sandbox_spec *s = &p->spec;

	sandbox_step_add(p, OP_PRIVATE);
	if (s->ids)
		sandbox_step_add(p, OP_FS_IDS);
	sandbox_step_add(p, OP_ROOT)->a = s->privileged || s->cgroup.opens_devices ? 0 : 1;
	sandbox_step_add(p, OP_PROC);
	plan_sysctls(p);
	sandbox_step_add(p, OP_SYS)->a = s->privileged ? 0 : 1;
	sandbox_step_add(p, OP_CGROUP_FS)->a = s->privileged ? 0 : 1;
	plan_dev(p);
	for (size_t i = 0; i < s->n_mounts; i++) {
		struct sandbox_step *step = sandbox_step_add(p, OP_MOUNT);

		step->mount = &p->mounts[i];
		step->name = p->mounts[i].target;
		step->value = p->mounts[i].data;
		step->a = i;
	}
	if (!s->privileged) {
		if (!s->unmasked)
			plan_masks(p);
		if (!s->cgroup.opens_devices)
			sandbox_step_add(p, OP_DEV_SEAL);
	}
	if (s->read_only)
		sandbox_step_add(p, OP_ROOT_READ_ONLY);
}
