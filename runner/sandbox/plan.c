/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/sandbox.h>

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include <shale/base/path.h>

#include "priv.h"

static struct sandbox_step *add(struct sandbox_step **v, size_t *n, size_t *cap, enum sandbox_op op)
{
	mem_room(*v, *n, *cap);
	(*v)[*n] = (struct sandbox_step){ .op = op };
	return &(*v)[(*n)++];
}

struct sandbox_step *sandbox_step_add(struct sandbox_plan *p, enum sandbox_op op)
{
	return add(&p->steps, &p->n_steps, &p->cap_steps, op);
}

struct sandbox_step *sandbox_join_add(struct sandbox_plan *p, enum sandbox_op op)
{
	return add(&p->join_steps, &p->n_join_steps, &p->cap_join_steps, op);
}

/* Steps point at the string itself; the list only frees it, so growing the list moves nothing. */
const char *sandbox_keep(struct sandbox_plan *p, const char *s)
{
	char *copy = mem_str(s);

	strv_add_take(&p->strings, copy);
	return copy;
}

static int copy_list(struct strv *to, char *const *from, const char *what, struct err *err)
{
	size_t bytes = 0;

	for (size_t i = 0; from && from[i]; i++) {
		bytes += strlen(from[i]) + 1;
		if (bytes > SANDBOX_ARGS_MAX)
			return err_set(err, E2BIG, "%s longer than %d bytes", what,
				       SANDBOX_ARGS_MAX);
		strv_add(to, from[i]);
	}
	return 0;
}

/* What execvp would try: argv[0] itself when it has a slash, else once for each directory of PATH.
 * The stub tries them. */
static int find_candidates(struct sandbox_plan *p, struct err *err)
{
	const char *name = p->argv.v[0], *path = strv_env_get(&p->envp, "PATH");
	auto_strv struct strv dirs = { 0 };

	if (!*name)
		return err_set(err, ENOENT, "the command is an empty string");
	if (strchr(name, '/')) {
		strv_add(&p->candidates, name);
		return 0;
	}
	strv_split(&dirs,
		   path && *path ? path
				 : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		   ':');
	if (dirs.n > SANDBOX_CANDIDATES_MAX)
		return err_set(err, E2BIG, "PATH has more than %d directories",
			       SANDBOX_CANDIDATES_MAX);
	for (size_t i = 0; i < dirs.n; i++)
		strv_addf(&p->candidates, "%s/%s", *dirs.v[i] ? dirs.v[i] : ".", name);
	return 0;
}

static int copy_spec(struct sandbox_plan *p, const struct sandbox_spec *spec, struct err *err)
{
	int rc = copy_list(&p->argv, spec->argv, "the command", err);

	if (rc == 0)
		rc = copy_list(&p->envp, spec->envp, "the environment", err);
	if (rc < 0)
		return rc;
	if (!p->argv.n)
		return err_set(err, EINVAL, "no command");
	if (spec->n_groups > SANDBOX_GROUPS_MAX)
		return err_set(err, EINVAL, "more than %d groups", SANDBOX_GROUPS_MAX);
	p->spec = *spec;
	p->layout = spec->layout;
	p->hostname = mem_str(spec->hostname);
	p->cwd = path_clean(spec->cwd && *spec->cwd ? spec->cwd : "/");
	p->cgroup_name = mem_str(spec->cgroup.name);
	p->spec.cgroup.name = p->cgroup_name;
	p->spec.cap_add = p->spec.cap_drop = NULL;
	p->limits = mem_dup(spec->limits, spec->n_limits * sizeof(*spec->limits));
	p->io = mem_dup(spec->cgroup.io, spec->cgroup.n_io * sizeof(*spec->cgroup.io));
	p->spec.cgroup.io = p->io;
	p->rules = mem_dup(spec->cgroup.device_rules,
			   spec->cgroup.n_device_rules * sizeof(*spec->cgroup.device_rules));
	p->spec.cgroup.device_rules = p->rules;
	p->ns = mem_dup(spec->ns, spec->n_ns * sizeof(*spec->ns));
	p->spec.ns = p->ns;
	p->mounts = mem_array(spec->n_mounts + 1, sizeof(*p->mounts));
	for (size_t i = 0; i < spec->n_mounts; i++) {
		auto_free char *target = path_clean(spec->mounts[i].target);

		p->mounts[i] = spec->mounts[i];
		p->mounts[i].target = sandbox_keep(p, target);
		p->mounts[i].data =
			spec->mounts[i].data ? sandbox_keep(p, spec->mounts[i].data) : NULL;
		p->mounts[i].shown =
			spec->mounts[i].shown ? sandbox_keep(p, spec->mounts[i].shown) : NULL;
	}
	p->spec.mounts = p->mounts;
	/* The primary group is a supplementary one too: else a file that denies that group can be
	 * read by its members (CVE-2022-36109, TRAPS T12). */
	p->groups = mem_array(spec->n_groups + 1, sizeof(*p->groups));
	p->groups[p->n_groups++] = spec->gid;
	for (size_t i = 0; i < spec->n_groups; i++)
		if (spec->groups[i] != spec->gid)
			p->groups[p->n_groups++] = spec->groups[i];
	return 0;
}

/* "shale-stub", the sync fd (filled in by the child), mode, number of candidates, candidates, argv.
 */
static void make_stub_argv(struct sandbox_plan *p)
{
	size_t n = 0;

	p->stub_argv = mem_array(4 + p->candidates.n + p->argv.n + 1, sizeof(char *));
	p->stub_flags = mem_fmt("%zu", p->candidates.n);
	p->stub_argv[n++] = (char *)(uintptr_t) "shale-stub";
	p->stub_argv[n++] = (char *)(uintptr_t) "";
	p->stub_argv[n++] = (char *)(uintptr_t)(p->spec.init ? "i" : "-");
	p->stub_argv[n++] = p->stub_flags;
	for (size_t i = 0; i < p->candidates.n; i++)
		p->stub_argv[n++] = p->candidates.v[i];
	for (size_t i = 0; i < p->argv.n; i++)
		p->stub_argv[n++] = p->argv.v[i];
}

static const struct {
	int resource;
	const char *name;
} limit_names[] = {
	{ RLIMIT_CPU, "cpu" },           { RLIMIT_FSIZE, "fsize" },
	{ RLIMIT_DATA, "data" },         { RLIMIT_STACK, "stack" },
	{ RLIMIT_CORE, "core" },         { RLIMIT_RSS, "rss" },
	{ RLIMIT_NPROC, "nproc" },       { RLIMIT_NOFILE, "nofile" },
	{ RLIMIT_MEMLOCK, "memlock" },   { RLIMIT_AS, "as" },
	{ RLIMIT_LOCKS, "locks" },       { RLIMIT_SIGPENDING, "sigpending" },
	{ RLIMIT_MSGQUEUE, "msgqueue" }, { RLIMIT_NICE, "nice" },
	{ RLIMIT_RTPRIO, "rtprio" },     { RLIMIT_RTTIME, "rttime" },
};

static const char *limit_name(int resource)
{
	for (size_t i = 0; i < ARRAY_LEN(limit_names); i++)
		if (limit_names[i].resource == resource)
			return limit_names[i].name;
	return "unknown";
}

void sandbox_plan_limits(struct sandbox_plan *p, sandbox_more_fn *more)
{
	for (size_t i = 0; i < p->spec.n_limits; i++) {
		const struct sandbox_limit *l = &p->limits[i];
		struct sandbox_step *s = more(p, OP_LIMIT);

		s->name = limit_name(l->resource);
		s->value = (const char *)l;
		s->a = l->soft;
		s->b = l->hard;
	}
}

/*
 * The second half, the same for spawn and join. Why in this order:
 *  1 terminal and stdio while root may still open and chown them;
 *  2 limits while we may raise them; the keyring before the filter forbids keyctl;
 *  3 the working directory as root, then checked by getcwd (CVE-2024-21626, TRAPS T14);
 *    and with it all that only the host's root may; then the user namespace, in which
 *  4 the bounding set while CAP_SETPCAP is held, groups while CAP_SETGID is;
 *  5 without no_new_privs the filter needs CAP_SYS_ADMIN, so it comes before the ids; what follows
 * it is allowed by every filter: setresgid, setresuid, capset, prctl, read, write, execve; 6 ids
 * with their capabilities kept, then exactly the asked ones; 7 with no_new_privs the filter comes
 * last: nothing of the setup needs to pass it; 8 hold: pdeathsig (cleared by the changes of ids
 * before) and the wait for the parent's go.
 */
static void plan_process(struct sandbox_plan *p, sandbox_more_fn *more)
{
	const struct sandbox_spec *s = &p->spec;

	if (s->terminal)
		more(p, OP_TERMINAL);
	more(p, OP_STDIO);
	sandbox_plan_limits(p, more);
	more(p, OP_KEYRING);
	more(p, OP_CWD)->name = p->cwd;
	if (s->umask_set)
		more(p, OP_UMASK)->a = s->umask;
	if (s->ids)
		more(p, OP_USER_NS);
	more(p, OP_CLOSE);
	more(p, OP_BOUNDING)->a = p->caps;
	more(p, OP_GROUPS);
	if (p->n_filter && !s->no_new_privs)
		more(p, OP_SECCOMP);
	more(p, OP_USER);
	more(p, OP_CAPS)->a = p->caps;
	if (s->no_new_privs)
		more(p, OP_NO_NEW_PRIVS);
	if (p->n_filter && s->no_new_privs)
		more(p, OP_SECCOMP);
	more(p, OP_HOLD);
}

const struct sandbox_ns *sandbox_plan_ns(const struct sandbox_plan *p, int type)
{
	for (size_t i = 0; i < p->spec.n_ns; i++)
		if (p->ns[i].type == type)
			return &p->ns[i];
	return NULL;
}

/* Those of others; the pid namespace comes with the clone. */
static void plan_spaces(struct sandbox_plan *p)
{
	const struct sandbox_spec *s = &p->spec;

	for (size_t i = 0; i < s->n_ns; i++)
		if (p->ns[i].fd >= 0 && p->ns[i].type != CLONE_NEWPID)
			sandbox_step_add(p, OP_NS)->of = &p->ns[i];
	if (s->net == SANDBOX_NET_FD)
		sandbox_step_add(p, OP_NET_FD);
	if (s->net == SANDBOX_NET_NONE)
		sandbox_step_add(p, OP_LOOPBACK);
}

/*
 * The first half of spawn. Why in this order:
 *  1 not dumpable, so that nothing inside may look at us; a session of its own;
 *  2 into the cgroup, then the cgroup namespace, which is rooted where its maker stands;
 *  3 the network before sysfs, which shows the network namespace of its mounter;
 *  4 private propagation before anything is attached, then the root and pivot_root, so that no
 * later step can reach the host by a path; 5 proc, sys, dev by fd before what the user mounts,
 * which may lie beneath /sys and /dev but not beneath /proc; 6 masks and read-only paths by the fds
 * of our own proc and sysfs, whatever was mounted over them; 7 the root read-only last, since mount
 * points are made in it.
 */
static void plan_spawn(struct sandbox_plan *p)
{
	sandbox_step_add(p, OP_DUMPABLE);
	sandbox_step_add(p, OP_SESSION);
	if (p->cgroup_name)
		sandbox_step_add(p, OP_CGROUP_ENTER)->name = p->cgroup_name;
	if (!sandbox_plan_ns(p, CLONE_NEWCGROUP))
		sandbox_step_add(p, OP_CGROUP_NS);
	plan_spaces(p);
	if (p->hostname)
		sandbox_step_add(p, OP_HOSTNAME)->name = p->hostname;
	if (p->spec.domainname)
		sandbox_step_add(p, OP_DOMAINNAME)->name = sandbox_keep(p, p->spec.domainname);
	sandbox_plan_mounts(p);
	plan_process(p, sandbox_step_add);
}

static void plan_join(struct sandbox_plan *p)
{
	sandbox_join_add(p, OP_DUMPABLE);
	sandbox_join_add(p, OP_SESSION);
	if (p->cgroup_name)
		sandbox_join_add(p, OP_CGROUP_ENTER)->name = p->cgroup_name;
	sandbox_join_add(p, OP_JOIN);
	if (p->spec.ids)
		sandbox_join_add(p, OP_FS_IDS);
	plan_process(p, sandbox_join_add);
}

static int check_spec(const struct sandbox_spec *spec, struct err *err)
{
	int rc;

	if (spec->cwd && *spec->cwd && *spec->cwd != '/')
		return err_set(err, EINVAL, "working directory %s is not absolute", spec->cwd);
	if (spec->uid == UINT32_MAX || spec->gid == UINT32_MAX)
		return err_set(err, EINVAL, "user or group id out of range");
	if (spec->hostname && strlen(spec->hostname) > 64)
		return err_set(err, EINVAL, "host name longer than 64 characters");
	if (spec->ids && spec->privileged)
		return err_set(err, EINVAL, "a user namespace has not all rights");
	for (size_t i = 0; i < spec->n_ns; i++)
		if (spec->ns[i].type == CLONE_NEWPID && !spec->cgroup.name)
			return err_set(err, EINVAL, "a pid namespace of others without a cgroup");
	for (size_t i = 0; i < spec->n_limits; i++)
		if (spec->limits[i].resource < 0 || spec->limits[i].resource >= RLIM_NLIMITS ||
		    spec->limits[i].soft > spec->limits[i].hard)
			return err_set(err, EINVAL,
				       "limit %s: soft limit above the hard one, or no such limit",
				       limit_name(spec->limits[i].resource));
	rc = spec->cgroup.name ? sandbox_cgroup_check_name(spec->cgroup.name, err) : 0;
	if (rc == 0 && spec->layout)
		return sandbox_check_layout(spec, err);
	return rc < 0 ? rc : sandbox_check_mounts(spec, err);
}

/* Capabilities, filter and steps of Docker's box. */
static int plan_docker(struct sandbox_plan *p, const struct sandbox_spec *spec, struct err *err)
{
	int rc = sandbox_caps_find(spec, &p->caps, err);

	if (rc == 0 && !spec->seccomp_unconfined && !spec->privileged && spec->seccomp_profile)
		rc = sandbox_profile_make(spec->seccomp_profile, p->caps, spec->cache_dir,
					  &p->filter, &p->n_filter, err);
	else if (rc == 0 && !spec->seccomp_unconfined && !spec->privileged)
		rc = sandbox_filter_make(p->caps, spec->cache_dir, &p->filter, &p->n_filter, err);
	if (rc >= 0 && p->filter && spec->keep_projects)
		sandbox_filter_keep_projects(&p->filter, &p->n_filter);
	if (rc >= 0 && spec->tell_denied)
		sandbox_filter_listen(p->filter, p->n_filter);
	if (rc < 0)
		return rc;
	plan_spawn(p);
	plan_join(p);
	return 0;
}

int sandbox_plan(const struct sandbox_spec *spec, struct sandbox_plan **ret, struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *p = NULL;
	int rc = check_spec(spec, err);

	if (rc < 0)
		return rc;
	p = mem_alloc(sizeof(*p));
	rc = copy_spec(p, spec, err);
	if (rc == 0)
		rc = find_candidates(p, err);
	if (rc < 0)
		return rc;
	if (p->layout)
		sandbox_plan_layout(p);
	else
		rc = plan_docker(p, spec, err);
	if (rc < 0)
		return rc;
	make_stub_argv(p);
	*ret = take(p);
	return 0;
}

void sandbox_plan_free(struct sandbox_plan *p)
{
	if (!p)
		return;
	strv_free(&p->argv);
	strv_free(&p->envp);
	strv_free(&p->candidates);
	strv_free(&p->strings);
	free(p->hostname);
	free(p->cwd);
	free(p->cgroup_name);
	free(p->stub_argv);
	free(p->stub_flags);
	free(p->groups);
	free(p->mounts);
	free(p->limits);
	free(p->io);
	free(p->rules);
	free(p->ns);
	free(p->steps);
	free(p->join_steps);
	free(p->filter);
	free(p);
}

void sandbox_plan_cleanup(struct sandbox_plan **p)
{
	int saved = errno;

	sandbox_plan_free(*p);
	errno = saved;
}

char *sandbox_plan_text(const struct sandbox_plan *p)
{
	struct str out = { 0 };

	for (size_t i = 0; i < p->n_steps; i++) {
		sandbox_step_text(p, &p->steps[i], &out);
		str_addc(&out, '\n');
	}
	return str_take(&out);
}
