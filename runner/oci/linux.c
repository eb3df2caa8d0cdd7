/* SPDX-License-Identifier: Apache-2.0 */
/* linux: namespaces, maps, devices, kernel values, paths. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/nsfs.h>

#include "priv.h"

static const struct {
	const char *name;
	int type;
} ns_names[] = {
	{ "user", CLONE_NEWUSER },     { "pid", CLONE_NEWPID },   { "network", CLONE_NEWNET },
	{ "mount", CLONE_NEWNS },      { "ipc", CLONE_NEWIPC },   { "uts", CLONE_NEWUTS },
	{ "cgroup", CLONE_NEWCGROUP }, { "time", CLONE_NEWTIME },
};

static int ns_type(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(ns_names); i++)
		if (str_eq(ns_names[i].name, name))
			return ns_names[i].type;
	return 0;
}

static struct sandbox_ns *find_ns(struct oci_config *c, int type)
{
	for (size_t i = 0; i < c->layout.n_ns; i++)
		if (c->ns[i].type == type)
			return &c->ns[i];
	return NULL;
}

static int open_ns(struct oci_config *c, size_t at, const char *path, struct sandbox_ns *ns,
		   struct err *err)
{
	int fd, type;

	if (*path != '/')
		return err_set(err, EINVAL, "linux.namespaces[%zu].path %s is not absolute", at,
			       path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, "linux.namespaces[%zu].path %s", at, path);
	ns->fd = oci_keep_fd(c, fd);
	type = ioctl(fd, NS_GET_NSTYPE);
	if (type != ns->type)
		return err_set(err, EINVAL,
			       "linux.namespaces[%zu].path %s is a namespace of another type", at,
			       path);
	return 0;
}

static int make_namespaces(struct oci_config *c, struct err *err)
{
	json_t *list = oci_at(c, "linux", "namespaces"), *one;
	size_t i;
	int rc = 0;

	c->ns = oci_block(c, json_array_size(list), sizeof(*c->ns));
	json_array_foreach(list, i, one)
	{
		const char *name = json_get_str(one, "type"), *path = json_get_str(one, "path");
		struct sandbox_ns *ns = &c->ns[c->layout.n_ns];

		ns->type = ns_type(name);
		ns->fd = -1;
		if (!ns->type)
			return err_set(err, EINVAL, "linux.namespaces[%zu]: unknown type %.32s", i,
				       name ? name : "");
		if (find_ns(c, ns->type))
			return err_set(err, EINVAL, "linux.namespaces: %s twice", name);
		if (path && *path)
			rc = open_ns(c, i, path, ns, err);
		if (rc < 0)
			return rc;
		c->layout.n_ns++;
	}
	c->layout.ns = c->ns;
	return 0;
}

static int parse_maps(struct oci_config *c, json_t *list, const char *what, const char **ret,
		      struct err *err)
{
	auto_str struct str text = { 0 };
	json_t *one;
	size_t i;

	if (json_array_size(list) > OCI_MAPS_MAX)
		return err_set(err, EINVAL, "%s: more than %d", what, OCI_MAPS_MAX);
	json_array_foreach(list, i, one)
	{
		uint64_t inside = oci_u64(one, "containerID", 0), count = oci_u64(one, "size", 0);
		uint64_t outside = oci_u64(one, "hostID", 0);

		if (!count || inside + count > UINT32_MAX || outside + count > UINT32_MAX)
			return err_set(err, EINVAL,
				       "%s[%zu] is empty or leaves the ids that there are", what,
				       i);
		str_addf(&text, "%u %u %u\n", (unsigned)inside, (unsigned)outside, (unsigned)count);
	}
	*ret = text.len ? oci_keep(c, str_take(&text)) : NULL;
	return 0;
}

int oci_maps_parse(struct oci_config *c, json_t *uids, json_t *gids, const char *what,
		   struct ids_maps *ret, struct err *err)
{
	auto_free char *u = mem_fmt("%s.uidMappings", what), *g = mem_fmt("%s.gidMappings", what);
	int rc = parse_maps(c, uids, u, &ret->uids, err);

	return rc == 0 ? parse_maps(c, gids, g, &ret->gids, err) : rc;
}

static int check_namespaces(struct oci_config *c, struct err *err)
{
	struct sandbox_ns *user = find_ns(c, CLONE_NEWUSER), *mnt = find_ns(c, CLONE_NEWNS);
	struct sandbox_ns *uts = find_ns(c, CLONE_NEWUTS), *clock = find_ns(c, CLONE_NEWTIME);

	if (!mnt || mnt->fd >= 0)
		return err_set(err, ENOTSUP,
			       "linux.namespaces: without a mount namespace of its own the "
			       "container's mounts would be those of others");
	if (user && user->fd < 0 && (!c->layout.maps.uids || !c->layout.maps.gids))
		return err_set(err, EINVAL,
			       "linux.namespaces: a new user namespace needs linux.uidMappings and "
			       "linux.gidMappings");
	if (!user && (c->layout.maps.uids || c->layout.maps.gids))
		return err_set(err, EINVAL,
			       "linux.uidMappings and gidMappings are of a user namespace");
	if (!uts && (c->spec.hostname || c->layout.domainname))
		return err_set(err, EINVAL,
			       "hostname and domainname need a uts namespace in linux.namespaces");
	if ((!clock || clock->fd >= 0) && oci_at(c, "linux", "timeOffsets"))
		return err_set(err, EINVAL, "linux.timeOffsets are of a new time namespace");
	return 0;
}

static int make_offsets(struct oci_config *c, struct err *err)
{
	json_t *offsets = oci_at(c, "linux", "timeOffsets"), *one;
	struct str text = { 0 };
	const char *key;

	json_object_foreach(offsets, key, one)
	{
		uint64_t ns = oci_u64(one, "nanosecs", 0);

		if (ns >= 1000000000) {
			str_free(&text);
			return err_set(err, EINVAL,
				       "linux.timeOffsets.%s.nanosecs is a second or more", key);
		}
		str_addf(&text, "%s %lld %llu\n", key, (long long)json_get_int(one, "secs", 0),
			 (unsigned long long)ns);
	}
	if (text.len)
		c->layout.time_offsets = oci_keep(c, str_take(&text));
	str_free(&text);
	return 0;
}

/* Those every container has, by the specification. */
static const struct {
	const char *path;
	unsigned major, minor;
} default_nodes[] = {
	{ "/dev/null", 1, 3 },   { "/dev/zero", 1, 5 },    { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static int device_mode(const char *type, mode_t *ret)
{
	static const struct {
		const char *name;
		mode_t mode;
	} types[] = { { "c", S_IFCHR }, { "u", S_IFCHR }, { "b", S_IFBLK }, { "p", S_IFIFO } };

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(types[i].name, type)) {
			*ret = types[i].mode;
			return 0;
		}
	return -EINVAL;
}

static int make_device(json_t *d, size_t at, struct sandbox_node *node, struct err *err)
{
	const char *path = json_get_str(d, "path"), *type = json_get_str(d, "type");
	mode_t mode;

	if (!path || *path != '/')
		return err_set(err, EINVAL, "linux.devices[%zu].path is not absolute", at);
	if (device_mode(type, &mode) < 0)
		return err_set(err, EINVAL, "linux.devices[%zu].type \"%.16s\" is not c, b, u or p",
			       at, type ? type : "");
	node->path = path;
	node->mode = mode | (mode_t)(json_get_int(d, "fileMode", 0666) & 07777);
	if (mode != S_IFIFO)
		node->dev = makedev((unsigned)json_get_int(d, "major", 0),
				    (unsigned)json_get_int(d, "minor", 0));
	node->uid = (uint32_t)json_get_int(d, "uid", 0);
	node->gid = (uint32_t)json_get_int(d, "gid", 0);
	return 0;
}

static bool is_listed(const json_t *list, const char *path)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (str_eq(json_get_str(one, "path"), path)) return true;
	return false;
}

static int make_devices(struct oci_config *c, struct err *err)
{
	json_t *list = oci_at(c, "linux", "devices"), *one;
	size_t i, n = 0;

	c->nodes =
		oci_block(c, json_array_size(list) + ARRAY_LEN(default_nodes), sizeof(*c->nodes));
	for (i = 0; i < ARRAY_LEN(default_nodes); i++) {
		if (is_listed(list, default_nodes[i].path))
			continue;
		c->nodes[n++] = (struct sandbox_node){
			.path = default_nodes[i].path,
			.mode = S_IFCHR | 0666,
			.dev = makedev(default_nodes[i].major, default_nodes[i].minor),
		};
	}
	json_array_foreach(list, i, one)
	{
		int rc = make_device(one, i, &c->nodes[n], err);

		if (rc < 0)
			return rc;
		n++;
	}
	c->layout.nodes = c->nodes;
	c->layout.n_nodes = n;
	return 0;
}

/* Which kernel values are the container's own, by the namespace that has them. */
static const struct {
	const char *prefix;
	int type;
} sysctl_owners[] = {
	{ "net/", CLONE_NEWNET },
	{ "fs/mqueue/", CLONE_NEWIPC },
	{ "kernel/msgmax", CLONE_NEWIPC },
	{ "kernel/msgmnb", CLONE_NEWIPC },
	{ "kernel/msgmni", CLONE_NEWIPC },
	{ "kernel/msg_next_id", CLONE_NEWIPC },
	{ "kernel/sem", CLONE_NEWIPC },
	{ "kernel/sem_next_id", CLONE_NEWIPC },
	{ "kernel/shmall", CLONE_NEWIPC },
	{ "kernel/shmmax", CLONE_NEWIPC },
	{ "kernel/shmmni", CLONE_NEWIPC },
	{ "kernel/shm_next_id", CLONE_NEWIPC },
	{ "kernel/shm_rmid_forced", CLONE_NEWIPC },
	{ "kernel/domainname", CLONE_NEWUTS },
	{ "user/", CLONE_NEWUSER },
};

/* A value of the host's own is refused: a container is not to change it. */
static int check_sysctl(struct oci_config *c, const char *key, const char *path, struct err *err)
{
	if (strstr(path, "..") || *path == '/')
		return err_set(err, EINVAL, "linux.sysctl: bad name %.64s", key);
	for (size_t i = 0; i < ARRAY_LEN(sysctl_owners); i++) {
		const char *prefix = sysctl_owners[i].prefix;
		size_t n = strlen(prefix);
		bool dir = prefix[n - 1] == '/';

		if (strncmp(path, prefix, n) != 0 || (!dir && path[n]))
			continue;
		if (find_ns(c, sysctl_owners[i].type))
			return 0;
		return err_set(err, EINVAL,
			       "linux.sysctl: %s is the host's: the container has no such "
			       "namespace of its own",
			       key);
	}
	return err_set(err, EINVAL, "linux.sysctl: %s is in no namespace but the host's", key);
}

/* "net.ipv4.ip_forward"; with slashes the dots are part of a name. */
static int make_sysctls(struct oci_config *c, struct err *err)
{
	json_t *map = oci_at(c, "linux", "sysctl"), *one;
	const char *key;
	int rc = 0;

	c->sysctls = oci_block(c, json_object_size(map), sizeof(*c->sysctls));
	json_object_foreach(map, key, one)
	{
		char *path = mem_str(key);
		bool slashes = strchr(path, '/') != NULL;

		for (char *p = path; *p && !slashes; p++)
			if (*p == '.')
				*p = '/';
		oci_keep(c, path);
		rc = check_sysctl(c, key, path, err);
		if (rc < 0)
			return rc;
		c->sysctls[c->layout.n_sysctls++] =
			(struct sandbox_pair){ path, json_string_value(one) };
	}
	c->layout.sysctls = c->sysctls;
	return 0;
}

static int make_paths(struct oci_config *c, const char *key, struct strv *to, struct err *err)
{
	json_get_strv(oci_at(c, "linux", NULL), key, to);
	for (size_t i = 0; i < to->n; i++)
		if (to->v[i][0] != '/')
			return err_set(err, EINVAL, "linux.%s[%zu] is not absolute", key, i);
	return 0;
}

static int make_propagation(struct oci_config *c, struct err *err)
{
	const char *name = json_get_str(oci_at(c, "linux", NULL), "rootfsPropagation");

	if (!name || !*name)
		return 0;
	c->layout.root_propagation = oci_propagation(name, &c->layout.root_propagation_below);
	if (!c->layout.root_propagation)
		return err_set(err, EINVAL, "linux.rootfsPropagation: unknown %.32s", name);
	return 0;
}

static int make_personality(struct oci_config *c, struct err *err)
{
	json_t *p = oci_at(c, "linux", "personality");
	const char *domain = json_get_str(p, "domain");

	if (!p)
		return 0;
	if (json_array_size(json_object_get(p, "flags")))
		return err_set(err, ENOTSUP, "linux.personality.flags: no flag is defined");
	if (str_eq(domain, "LINUX32"))
		c->layout.personality = PER_LINUX32;
	else if (!str_eq(domain, "LINUX"))
		return err_set(err, EINVAL, "linux.personality.domain: unknown %.32s",
			       domain ? domain : "");
	c->layout.personality_set = true;
	return 0;
}

static const struct {
	const char *name;
	int value;
} mem_modes[] = {
	{ "MPOL_DEFAULT", 0 },	  { "MPOL_PREFERRED", 1 },	{ "MPOL_BIND", 2 },
	{ "MPOL_INTERLEAVE", 3 }, { "MPOL_LOCAL", 4 },		{ "MPOL_PREFERRED_MANY", 5 },
	{ "MPOL_WEIGHTED_INTERLEAVE", 6 },
}, mem_flags[] = {
	{ "MPOL_F_STATIC_NODES", 1 << 15 },
	{ "MPOL_F_RELATIVE_NODES", 1 << 14 },
	{ "MPOL_F_NUMA_BALANCING", 1 << 13 },
};

static int parse_nodes(const char *s, uint64_t *ret)
{
	while (s && *s) {
		char *end;
		unsigned long from = strtoul(s, &end, 10), to = from;

		if (end == s)
			return -EINVAL;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		if (from > to || to > 63 || (*end && *end != ','))
			return -EINVAL;
		for (; from <= to; from++)
			*ret |= 1ull << from;
		s = *end ? end + 1 : end;
	}
	return 0;
}

static int make_mem_policy(struct oci_config *c, struct err *err)
{
	json_t *p = oci_at(c, "linux", "memoryPolicy"), *one;
	const char *mode = json_get_str(p, "mode");
	size_t i;

	if (!p)
		return 0;
	for (i = 0; i < ARRAY_LEN(mem_modes); i++)
		if (str_eq(mem_modes[i].name, mode))
			c->layout.mempolicy_mode = mem_modes[i].value;
	if (c->layout.mempolicy_mode < 0)
		return err_set(err, EINVAL, "linux.memoryPolicy.mode: unknown %.40s",
			       mode ? mode : "");
	if (parse_nodes(json_get_str(p, "nodes"), &c->layout.mempolicy_nodes) < 0)
		return err_set(err, EINVAL, "linux.memoryPolicy.nodes: bad list");
	json_array_foreach(json_object_get(p, "flags"), i, one)
	{
		uint64_t before = c->layout.mempolicy_flags;

		for (size_t k = 0; k < ARRAY_LEN(mem_flags); k++)
			if (str_eq(mem_flags[k].name, json_string_value(one)))
				c->layout.mempolicy_flags |= (uint64_t)mem_flags[k].value;
		if (c->layout.mempolicy_flags == before)
			return err_set(err, EINVAL, "linux.memoryPolicy.flags: unknown %.40s",
				       json_string_value(one));
	}
	return 0;
}

/* A container that may write to its own groups and has users of its own divides them as such. */
static int make_cgroup_owner(struct oci_config *c, struct err *err)
{
	struct sandbox_ns *own = find_ns(c, CLONE_NEWCGROUP);
	uint32_t uid = find_ns(c, CLONE_NEWUSER) ? UINT32_MAX : c->spec.uid;
	json_t *one;
	size_t i, k;

	(void)err;
	json_array_foreach(oci_at(c, "linux", "uidMappings"), i, one)
	{
		uint32_t off = c->spec.uid - (uint32_t)json_get_int(one, "containerID", 0);

		if (off < json_get_int(one, "size", 0))
			uid = (uint32_t)json_get_int(one, "hostID", 0) + off;
	}
	json_array_foreach(oci_at(c, "mounts", NULL), i, one)
	{
		bool writable = true;
		json_t *option;

		json_array_foreach(json_object_get(one, "options"), k, option) writable &=
			!str_eq(json_string_value(option), "ro");
		if (own && own->fd < 0 && writable && uid != UINT32_MAX &&
		    str_eq(json_get_str(one, "source"), "cgroup") &&
		    str_eq(json_get_str(one, "destination"), "/sys/fs/cgroup"))
			c->layout.cgroup_uid = uid;
	}
	return 0;
}

static int make_names(struct oci_config *c, struct err *err)
{
	const char *label = json_get_str(oci_at(c, "linux", NULL), "mountLabel");
	const char *host = json_get_str(c->json, "hostname");
	const char *domain = json_get_str(c->json, "domainname");

	if (label && *label && !oci_has_selinux())
		return err_set(err, ENOTSUP, "linux.mountLabel: this kernel runs no SELinux");
	c->mount_label = label && *label ? label : NULL;
	if (domain && strlen(domain) > 64)
		return err_set(err, EINVAL, "domainname is longer than 64 bytes");
	c->spec.hostname = host && *host ? host : NULL;
	c->layout.domainname = domain && *domain ? domain : NULL;
	return 0;
}

int oci_linux_make(struct oci_config *c, struct err *err)
{
	static int (*const parts[])(struct oci_config *, struct err *) = {
		make_names,       make_namespaces, make_devices,
		make_sysctls,     make_offsets,    make_propagation,
		make_personality, make_mem_policy, make_cgroup_owner,
	};
	json_t *uids = oci_at(c, "linux", "uidMappings"), *gids = oci_at(c, "linux", "gidMappings");
	int rc = oci_maps_parse(c, uids, gids, "linux", &c->layout.maps, err);

	for (size_t i = 0; i < ARRAY_LEN(parts) && rc == 0; i++)
		rc = parts[i](c, err);
	if (rc == 0)
		rc = check_namespaces(c, err);
	if (rc == 0)
		rc = make_paths(c, "maskedPaths", &c->masked, err);
	if (rc == 0)
		rc = make_paths(c, "readonlyPaths", &c->read_only, err);
	c->layout.masked = (const char *const *)strv_args(&c->masked);
	c->layout.read_only = (const char *const *)strv_args(&c->read_only);
	return rc;
}
