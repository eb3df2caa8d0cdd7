/* SPDX-License-Identifier: Apache-2.0 */
/* A step as a line of text: what tests compare and what a failure names. */
#include <sched.h>
#include <sys/sysmacros.h>

#include <linux/mount.h>

#include "priv.h"

static const char *const op_names[OP_N] = {
	[OP_DUMPABLE] = "not-dumpable",
	[OP_SESSION] = "session",
	[OP_CGROUP_ENTER] = "cgroup",
	[OP_CGROUP_NS] = "cgroup-namespace",
	[OP_NET_FD] = "network-namespace",
	[OP_LOOPBACK] = "loopback",
	[OP_HOSTNAME] = "hostname",
	[OP_PRIVATE] = "private-mounts",
	[OP_FS_IDS] = "file-owner",
	[OP_ROOT] = "root",
	[OP_PROC] = "proc",
	[OP_SYS] = "sys",
	[OP_CGROUP_FS] = "cgroup-mount",
	[OP_DEV] = "dev",
	[OP_NODE] = "node",
	[OP_NODE_BIND] = "node-bind",
	[OP_LINK] = "link",
	[OP_DIR] = "dir",
	[OP_DEVPTS] = "devpts",
	[OP_SHM] = "shm",
	[OP_MQUEUE] = "mqueue",
	[OP_MOUNT] = "mount",
	[OP_DEV_SEAL] = "dev-nodev",
	[OP_READ_ONLY] = "read-only",
	[OP_MASK] = "mask",
	[OP_ROOT_READ_ONLY] = "root-read-only",
	[OP_JOIN] = "join",
	[OP_TERMINAL] = "terminal",
	[OP_STDIO] = "stdio",
	[OP_LIMIT] = "limit",
	[OP_KEYRING] = "keyring",
	[OP_CWD] = "cwd",
	[OP_USER_NS] = "user-namespace",
	[OP_CLOSE] = "close",
	[OP_BOUNDING] = "bounding",
	[OP_GROUPS] = "groups",
	[OP_SECCOMP] = "seccomp",
	[OP_NO_NEW_PRIVS] = "no-new-privs",
	[OP_USER] = "user",
	[OP_CAPS] = "caps",
	[OP_HOLD] = "hold",
	[OP_MAPPED] = "user-namespace",
	[OP_NS] = "namespace",
	[OP_DOMAINNAME] = "domainname",
	[OP_ROOT_AT] = "root-at",
	[OP_PART] = "mount",
	[OP_PROC_VIEW] = "own-proc",
	[OP_DEVICE] = "device",
	[OP_DEV_LINK] = "link",
	[OP_CONSOLE] = "console",
	[OP_SYSCTL] = "sysctl",
	[OP_STAGE] = "runtime-hooks",
	[OP_HOOKS] = "hooks",
	[OP_PIVOT] = "pivot",
	[OP_MASK_PATH] = "mask",
	[OP_READ_ONLY_PATH] = "read-only",
	[OP_ROOT_ATTR] = "root-attributes",
	[OP_LABEL] = "label",
	[OP_UMASK] = "umask",
	[OP_SCHEDULER] = "scheduler",
	[OP_IOPRIO] = "io-priority",
	[OP_PERSONALITY] = "personality",
	[OP_MEMPOLICY] = "memory-policy",
	[OP_AFFINITY] = "cpu-affinity",
	[OP_LAYOUT_CAPS] = "caps",
	[OP_FIND] = "find",
	[OP_HELD] = "held",
};

static void mount_text(const struct sandbox_mount *m, struct str *out)
{
	static const char *const kinds[] = {
		[SANDBOX_BIND] = " bind", [SANDBOX_TMPFS] = " tmpfs", [SANDBOX_FILE] = " file"
	};

	str_add(out, kinds[m->kind]);
	str_add(out, m->read_only ? " ro" : "");
	str_add(out, m->nosuid ? " nosuid" : "");
	str_add(out, m->nodev ? " nodev" : "");
	str_add(out, m->noexec ? " noexec" : "");
	str_add(out, m->recursive ? " recursive" : "");
}

static void part_text(const struct sandbox_part *part, struct str *out)
{
	static const char *const kinds[] = { [SANDBOX_PART_BIND] = " bind",
					     [SANDBOX_PART_FS] = " ",
					     [SANDBOX_PART_CGROUP] = " cgroup",
					     [SANDBOX_PART_REMOUNT] = " remount" };

	str_add(out, kinds[part->kind]);
	str_add(out, part->kind == SANDBOX_PART_FS ? part->fs : "");
	str_add(out, part->set & MOUNT_ATTR_RDONLY ? " ro" : "");
}

static void ns_text(const struct sandbox_ns *ns, struct str *out)
{
	static const struct {
		int type;
		const char *name;
	} names[] = {
		{ CLONE_NEWUSER, "user" },   { CLONE_NEWNS, "mount" },
		{ CLONE_NEWNET, "network" }, { CLONE_NEWIPC, "ipc" },
		{ CLONE_NEWUTS, "uts" },     { CLONE_NEWPID, "pid" },
		{ CLONE_NEWTIME, "time" },   { CLONE_NEWCGROUP, "cgroup" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].type == ns->type)
			str_addf(out, " %s", names[i].name);
}

void sandbox_step_text(const struct sandbox_plan *p, const struct sandbox_step *s, struct str *out)
{
	const struct sandbox_spec *spec = &p->spec;

	str_add(out, op_names[s->op]);
	if (s->name)
		str_addf(out, " %s", s->name);
	if (s->op == OP_NODE)
		str_addf(out, " %u:%u %o", major(s->b), minor(s->b), (unsigned)s->a & 07777);
	else if (s->op == OP_LIMIT)
		str_addf(out, " %lld:%lld", (long long)s->a, (long long)s->b);
	else if (s->op == OP_CAPS || s->op == OP_BOUNDING)
		sandbox_caps_text(s->a, out);
	else if (s->op == OP_USER)
		str_addf(out, " %u:%u", spec->uid, spec->gid);
	else if (s->op == OP_SYS || s->op == OP_CGROUP_FS)
		str_add(out, s->a ? " ro" : " rw");
	else if (s->op == OP_PART)
		part_text(s->of, out);
	else if (s->op == OP_NS)
		ns_text(s->of, out);
	else if (s->op == OP_LAYOUT_CAPS)
		sandbox_caps_text(p->layout->permitted, out);
	else if (s->op == OP_MOUNT)
		mount_text(s->mount, out);
	if (s->op == OP_GROUPS)
		for (size_t i = 0; i < p->n_groups; i++)
			str_addf(out, " %u", p->groups[i]);
	if (s->value && s->op != OP_LIMIT)
		str_addf(out, " %s", s->value);
}
