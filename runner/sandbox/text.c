/* SPDX-License-Identifier: Apache-2.0 */
/* A step as a line of text: what tests compare and what a failure names. */
#include <sys/sysmacros.h>

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
	[OP_BOUNDING] = "bounding",
	[OP_GROUPS] = "groups",
	[OP_SECCOMP] = "seccomp",
	[OP_NO_NEW_PRIVS] = "no-new-privs",
	[OP_USER] = "user",
	[OP_CAPS] = "caps",
	[OP_HOLD] = "hold",
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
	else if (s->op == OP_MOUNT)
		mount_text(s->mount, out);
	if (s->op == OP_GROUPS)
		for (size_t i = 0; i < p->n_groups; i++)
			str_addf(out, " %u", p->groups[i]);
	if (s->value && s->op != OP_LIMIT)
		str_addf(out, " %s", s->value);
}
