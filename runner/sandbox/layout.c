/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a layout. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "priv.h"

static bool has_new(const struct sandbox_layout *l, int type)
{
	for (size_t i = 0; i < l->n_ns; i++)
		if (l->ns[i].type == type && l->ns[i].fd < 0)
			return true;
	return false;
}

static int check_target(const char *what, const char *path, struct err *err)
{
	if (!path || !*path || strlen(path) >= PATH_MAX)
		return err_set(err, EINVAL, "%s: bad path \"%.64s\"", what, path ? path : "");
	return 0;
}

int sandbox_check_layout(const struct sandbox_spec *spec, struct err *err)
{
	const struct sandbox_layout *l = spec->layout;
	int rc = 0;

	if (l->n_parts > SANDBOX_MOUNTS_MAX || l->n_nodes > SANDBOX_MOUNTS_MAX)
		return err_set(err, EINVAL, "more than %d mounts or devices", SANDBOX_MOUNTS_MAX);
	for (size_t i = 0; i < l->n_parts && rc == 0; i++)
		rc = check_target("mount", l->parts[i].target, err);
	for (size_t i = 0; i < l->n_nodes && rc == 0; i++)
		rc = check_target("device", l->nodes[i].path, err);
	return rc;
}

static struct sandbox_step *with(struct sandbox_step *s, const char *name, const void *of,
				 uint64_t a)
{
	s->name = name;
	s->of = of;
	s->a = a;
	return s;
}

/* A user namespace comes first: all else is then its own. It came with the clone; a new one waits
 * for its maps. */
static void plan_namespaces(struct sandbox_plan *p)
{
	const struct sandbox_layout *l = p->layout;

	if (p->cgroup_name)
		sandbox_step_add(p, OP_CGROUP_ENTER)->name = p->cgroup_name;
	for (size_t i = 0; i < l->n_ns; i++)
		if (l->ns[i].type == CLONE_NEWUSER)
			sandbox_step_add(p, OP_MAPPED)->a = l->ns[i].fd < 0;
	for (size_t i = 0; i < l->n_ns; i++)
		if (l->ns[i].fd >= 0 && !sandbox_layout_is_born_in(l, l->ns[i].type))
			with(sandbox_step_add(p, OP_NS), NULL, &l->ns[i], 0);
	if (has_new(l, CLONE_NEWCGROUP))
		sandbox_step_add(p, OP_CGROUP_NS);
	if (has_new(l, CLONE_NEWNET))
		sandbox_step_add(p, OP_LOOPBACK);
	if (p->hostname)
		sandbox_step_add(p, OP_HOSTNAME)->name = p->hostname;
	if (l->domainname)
		sandbox_step_add(p, OP_DOMAINNAME)->name = l->domainname;
}

static void plan_dev(struct sandbox_plan *p)
{
	static const struct sandbox_pair links[] = {
		{ "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
		{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
		{ "ptmx", "pts/ptmx" },
	};
	const struct sandbox_layout *l = p->layout;

	for (size_t i = 0; i < l->n_nodes; i++)
		with(sandbox_step_add(p, OP_DEVICE), l->nodes[i].path, &l->nodes[i], i);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		with(sandbox_step_add(p, OP_DEV_LINK), links[i].key, NULL, 0)->value =
			links[i].value;
}

/*
 * The root lies over the place that its owner gave it until pivot_root, so that hooks find it
 * there. Mounts in their order; then devices, which need a /dev; then kernel values, by a proc of
 * our own (CVE-2019-19921, TRAPS T5); then the hooks; pivot_root; masks over all that was mounted.
 */
static void plan_root(struct sandbox_plan *p)
{
	const struct sandbox_layout *l = p->layout;

	sandbox_step_add(p, OP_PRIVATE);
	with(sandbox_step_add(p, OP_ROOT_AT), l->root_path, NULL, 0);
	for (size_t i = 0; i < l->n_parts; i++)
		with(sandbox_step_add(p, OP_PART), l->parts[i].target, &l->parts[i], i);
	plan_dev(p);
	if (l->n_sysctls || l->apparmor || l->selinux)
		sandbox_step_add(p, OP_PROC_VIEW);
	for (size_t i = 0; i < l->n_sysctls; i++)
		with(sandbox_step_add(p, OP_SYSCTL), l->sysctls[i].key, NULL, 0)->value =
			l->sysctls[i].value;
	if (l->wants_runtime_stage)
		sandbox_step_add(p, OP_STAGE);
	if (l->n_create_hooks)
		with(sandbox_step_add(p, OP_HOOKS), "createContainer", l->create_hooks,
		     l->n_create_hooks);
	sandbox_step_add(p, OP_PIVOT);
	for (const char *const *m = l->masked; m && *m; m++)
		sandbox_step_add(p, OP_MASK_PATH)->name = *m;
	for (const char *const *r = l->read_only; r && *r; r++)
		sandbox_step_add(p, OP_READ_ONLY_PATH)->name = *r;
	sandbox_step_add(p, OP_ROOT_ATTR);
}

static void plan_attributes(struct sandbox_plan *p, sandbox_more_fn *more)
{
	const struct sandbox_layout *l = p->layout;

	if (l->umask_set)
		more(p, OP_UMASK)->a = l->umask;
	if (l->sched.set)
		with(more(p, OP_SCHEDULER), NULL, &l->sched, 0);
	if (l->ioprio_set)
		more(p, OP_IOPRIO)->a = (uint64_t)l->ioprio;
	if (l->personality_set)
		more(p, OP_PERSONALITY)->a = l->personality;
	if (l->mempolicy_mode >= 0)
		more(p, OP_MEMPOLICY);
	if (l->cpu_final)
		more(p, OP_AFFINITY)->name = l->cpu_final;
}

/* As Docker's box (plan.c tells why in this order); the program is looked for while all can be
 * seen. */
static void plan_program(struct sandbox_plan *p, sandbox_more_fn *more)
{
	const struct sandbox_layout *l = p->layout;
	bool nnp = p->spec.no_new_privs;

	sandbox_plan_limits(p, more);
	if (l->new_keyring)
		more(p, OP_KEYRING);
	more(p, OP_CWD)->name = p->cwd;
	plan_attributes(p, more);
	with(more(p, OP_FIND), p->argv.v[0], NULL, 0);
	if (l->selinux)
		with(more(p, OP_LABEL), l->selinux, NULL, 0)->value = "attr/exec";
	if (l->apparmor)
		with(more(p, OP_LABEL), l->apparmor, NULL, 0)->value = "attr/apparmor/exec";
	more(p, OP_CLOSE);
	more(p, OP_BOUNDING)->a = l->bounding;
	more(p, OP_GROUPS);
	if (l->n_filter && !nnp)
		more(p, OP_SECCOMP);
	more(p, OP_USER);
	more(p, OP_LAYOUT_CAPS);
	if (nnp)
		more(p, OP_NO_NEW_PRIVS);
	if (l->n_filter && nnp)
		more(p, OP_SECCOMP);
	more(p, OP_HELD);
	if (l->n_start_hooks)
		with(more(p, OP_HOOKS), "startContainer", l->start_hooks, l->n_start_hooks);
}

static void plan_stdio(struct sandbox_plan *p, sandbox_more_fn *more)
{
	if (p->spec.terminal)
		more(p, OP_CONSOLE);
	else
		more(p, OP_STDIO);
}

void sandbox_plan_layout(struct sandbox_plan *p)
{
	sandbox_step_add(p, OP_DUMPABLE);
	sandbox_step_add(p, OP_SESSION);
	plan_namespaces(p);
	plan_root(p);
	plan_stdio(p, sandbox_step_add);
	plan_program(p, sandbox_step_add);

	sandbox_join_add(p, OP_DUMPABLE);
	sandbox_join_add(p, OP_SESSION);
	if (p->layout->cpu_initial)
		sandbox_join_add(p, OP_AFFINITY)->name = p->layout->cpu_initial;
	if (p->cgroup_name)
		sandbox_join_add(p, OP_CGROUP_ENTER)->name = p->cgroup_name;
	sandbox_join_add(p, OP_JOIN);
	if (p->layout->apparmor || p->layout->selinux)
		sandbox_join_add(p, OP_PROC_VIEW);
	plan_stdio(p, sandbox_join_add);
	plan_program(p, sandbox_join_add);
}
