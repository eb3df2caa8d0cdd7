/* SPDX-License-Identifier: Apache-2.0 */
/* process: what is run and as whom. */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "priv.h"

enum { CAPS_N = 64, NICE_MIN = -20, NICE_MAX = 19, IOPRIO_SHIFT = 13 };

struct word {
	const char *name;
	uint64_t value;
};

static bool find_word(const struct word *w, const char *name, uint64_t *ret)
{
	for (; w->name; w++)
		if (str_eq(w->name, name)) {
			*ret = w->value;
			return true;
		}
	return false;
}

static const struct word limit_names[] = { { "RLIMIT_CPU", RLIMIT_CPU },
					   { "RLIMIT_FSIZE", RLIMIT_FSIZE },
					   { "RLIMIT_DATA", RLIMIT_DATA },
					   { "RLIMIT_STACK", RLIMIT_STACK },
					   { "RLIMIT_CORE", RLIMIT_CORE },
					   { "RLIMIT_RSS", RLIMIT_RSS },
					   { "RLIMIT_NPROC", RLIMIT_NPROC },
					   { "RLIMIT_NOFILE", RLIMIT_NOFILE },
					   { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
					   { "RLIMIT_AS", RLIMIT_AS },
					   { "RLIMIT_LOCKS", RLIMIT_LOCKS },
					   { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
					   { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
					   { "RLIMIT_NICE", RLIMIT_NICE },
					   { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
					   { "RLIMIT_RTTIME", RLIMIT_RTTIME },
					   { NULL, 0 } };

static int make_limits(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *list = json_object_get(process, "rlimits"), *one;
	size_t i;

	if (json_array_size(list) > OCI_LIMITS_MAX)
		return err_set(err, EINVAL, "process.rlimits: more than %d", OCI_LIMITS_MAX);
	c->limits = oci_block(c, json_array_size(list), sizeof(*c->limits));
	json_array_foreach(list, i, one)
	{
		const char *name = json_get_str(one, "type");
		struct sandbox_limit *l = &c->limits[i];
		uint64_t resource;

		if (!name || !find_word(limit_names, name, &resource))
			return err_set(err, EINVAL, "process.rlimits[%zu]: unknown type %.32s", i,
				       name ? name : "");
		for (size_t k = 0; k < i; k++)
			if (c->limits[k].resource == (int)resource)
				return err_set(err, EINVAL, "process.rlimits: %s twice", name);
		l->resource = (int)resource;
		l->soft = oci_u64(one, "soft", 0);
		l->hard = oci_u64(one, "hard", 0);
	}
	c->spec.limits = c->limits;
	c->spec.n_limits = i;
	return 0;
}

/* What is unknown or not ours to give is told of and left out, as the specification wants it. */
static uint64_t caps_of(struct oci_config *c, json_t *caps, const char *set, uint64_t grantable)
{
	json_t *list = json_object_get(caps, set), *one;
	uint64_t ret = 0;
	size_t i;

	json_array_foreach(list, i, one)
	{
		int n = sandbox_cap_find(json_string_value(one));

		if (n < 0 || !(grantable & (1ull << n)))
			oci_warn(c, "process.capabilities.%s: %.40s is %s, left out", set,
				 json_string_value(one), n < 0 ? "unknown" : "not held");
		else
			ret |= 1ull << n;
	}
	return ret;
}

static void make_caps(struct oci_config *c, json_t *process)
{
	json_t *caps = json_object_get(process, "capabilities");
	struct sandbox_layout *l = &c->layout;
	uint64_t mine = sandbox_caps_held();

	l->bounding = caps_of(c, caps, "bounding", mine);
	l->permitted = caps_of(c, caps, "permitted", mine);
	l->effective = caps_of(c, caps, "effective", mine);
	l->inheritable = caps_of(c, caps, "inheritable", mine);
	l->ambient = caps_of(c, caps, "ambient", l->permitted & l->inheritable);
}

static const struct word policies[] = { { "SCHED_OTHER", 0 },    { "SCHED_FIFO", 1 },
					{ "SCHED_RR", 2 },       { "SCHED_BATCH", 3 },
					{ "SCHED_ISO", 4 },      { "SCHED_IDLE", 5 },
					{ "SCHED_DEADLINE", 6 }, { NULL, 0 } };
static const struct word sched_flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", 1 },   { "SCHED_FLAG_RECLAIM", 2 },
	{ "SCHED_FLAG_DL_OVERRUN", 4 },      { "SCHED_FLAG_KEEP_POLICY", 8 },
	{ "SCHED_FLAG_KEEP_PARAMS", 16 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 32 },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", 64 }, { NULL, 0 }
};

static int make_scheduler(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *s = json_object_get(process, "scheduler"), *one;
	const char *name = json_get_str(s, "policy");
	struct sandbox_sched *w = &c->layout.sched;
	uint64_t value;
	size_t i;

	if (!s)
		return 0;
	if (!name || !find_word(policies, name, &value))
		return err_set(err, EINVAL, "process.scheduler.policy: unknown %.32s",
			       name ? name : "");
	w->set = true;
	w->policy = (uint32_t)value;
	w->nice = (int32_t)json_get_int(s, "nice", 0);
	w->priority = (uint32_t)json_get_int(s, "priority", 0);
	w->runtime_ns = oci_u64(s, "runtime", 0);
	w->deadline_ns = oci_u64(s, "deadline", 0);
	w->period_ns = oci_u64(s, "period", 0);
	if (w->nice < NICE_MIN || w->nice > NICE_MAX)
		return err_set(err, EINVAL, "process.scheduler.nice %d is not in -20 to 19",
			       w->nice);
	json_array_foreach(json_object_get(s, "flags"), i, one)
	{
		if (!find_word(sched_flags, json_string_value(one), &value))
			return err_set(err, EINVAL, "process.scheduler.flags: unknown %.40s",
				       json_string_value(one));
		w->flags |= value;
	}
	return 0;
}

static const struct word io_classes[] = {
	{ "IOPRIO_CLASS_RT", 1 }, { "IOPRIO_CLASS_BE", 2 }, { "IOPRIO_CLASS_IDLE", 3 }, { NULL, 0 }
};

static int make_io_priority(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *p = json_object_get(process, "ioPriority");
	const char *name = json_get_str(p, "class");
	int64_t priority = json_get_int(p, "priority", 0);
	uint64_t value;

	if (!p)
		return 0;
	if (!name || !find_word(io_classes, name, &value))
		return err_set(err, EINVAL, "process.ioPriority.class: unknown %.32s",
			       name ? name : "");
	if (priority < 0 || priority > 7)
		return err_set(err, EINVAL, "process.ioPriority.priority is not in 0 to 7");
	c->layout.ioprio_set = true;
	c->layout.ioprio = (int)(value << IOPRIO_SHIFT | (uint64_t)priority);
	return 0;
}

static int cpu_list(const json_t *obj, const char *key, const char **ret, struct err *err)
{
	const char *s = json_get_str(obj, key);

	if (!s || !*s)
		return 0;
	if (strlen(s) > 4096 || s[strspn(s, "0123456789,-")])
		return err_set(err, EINVAL, "process.execCPUAffinity.%s: bad list %.64s", key, s);
	*ret = s;
	return 0;
}

bool oci_has_selinux(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

/* The security modules that this kernel runs. Without one its labels would mean nothing. */
static int make_labels(struct oci_config *c, json_t *process, struct err *err)
{
	const char *apparmor = json_get_str(process, "apparmorProfile");
	const char *selinux = json_get_str(process, "selinuxLabel");

	if (apparmor && *apparmor) {
		if (access("/sys/kernel/security/apparmor", F_OK) < 0 &&
		    access("/sys/module/apparmor/parameters/enabled", F_OK) < 0)
			return err_set(err, ENOTSUP,
				       "process.apparmorProfile: this kernel runs no AppArmor");
		c->layout.apparmor = oci_keep(c, mem_fmt("exec %s", apparmor));
	}
	if (selinux && *selinux) {
		if (!oci_has_selinux())
			return err_set(err, ENOTSUP,
				       "process.selinuxLabel: this kernel runs no SELinux");
		c->layout.selinux = selinux;
	}
	return 0;
}

static int make_user(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *user = json_object_get(process, "user"), *one;
	json_t *more = json_object_get(user, "additionalGids");
	json_t *mask = json_object_get(user, "umask");
	int64_t uid = json_get_int(user, "uid", 0), gid = json_get_int(user, "gid", 0);
	size_t i;

	if (uid >= UINT32_MAX || gid >= UINT32_MAX)
		return err_set(err, EINVAL, "process.user: an id is out of range");
	c->spec.uid = (uint32_t)uid;
	c->spec.gid = (uint32_t)gid;
	free(c->groups);
	c->groups = mem_array(json_array_size(more) + 1, sizeof(*c->groups));
	json_array_foreach(more, i, one) c->groups[i] = (uint32_t)json_integer_value(one);
	c->spec.groups = c->groups;
	c->spec.n_groups = i;
	c->layout.umask_set = mask != NULL;
	c->layout.umask = (mode_t)(json_integer_value(mask) & 0777);
	return 0;
}

/* Programs expect a HOME; the image's passwd is read as data. */
static void add_home(struct oci_config *c)
{
	struct sandbox_user user = { 0 };
	struct err ignored;
	char id[16];

	if (strv_env_get(&c->env, "HOME"))
		return;
	snprintf(id, sizeof(id), "%u", c->spec.uid);
	if (c->spec.root_fd >= 0)
		sandbox_user_find(c->spec.root_fd, id, &user, &ignored);
	strv_addf(&c->env, "HOME=%s", user.home && *user.home ? user.home : "/");
	sandbox_user_free(&user);
}

static int make_program(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *args = json_object_get(process, "args"), *one;
	const char *cwd = json_get_str(process, "cwd");
	char **argv = oci_block(c, json_array_size(args) + 1, sizeof(*argv));
	size_t i;

	if (!json_array_size(args))
		return err_set(err, EINVAL, "process.args is missing");
	json_array_foreach(args, i, one) argv[i] = (char *)(uintptr_t)json_string_value(one);
	if (!cwd || *cwd != '/')
		return err_set(err, EINVAL, "process.cwd \"%.64s\" is not absolute",
			       cwd ? cwd : "");
	c->spec.argv = argv;
	c->spec.cwd = cwd;
	json_get_strv(process, "env", &c->env);
	for (i = 0; i < c->env.n; i++)
		if (!strchr(c->env.v[i], '=') || c->env.v[i][0] == '=')
			return err_set(err, EINVAL, "process.env: \"%.64s\" is not NAME=VALUE",
				       c->env.v[i]);
	add_home(c);
	c->spec.envp = strv_args(&c->env);
	return 0;
}

static int make_attributes(struct oci_config *c, json_t *process, struct err *err)
{
	json_t *oom = json_object_get(process, "oomScoreAdj");
	json_t *size = json_object_get(process, "consoleSize");
	json_t *affinity = json_object_get(process, "execCPUAffinity");
	int64_t score = json_integer_value(oom);
	int rc = cpu_list(affinity, "initial", &c->layout.cpu_initial, err);

	if (rc == 0)
		rc = cpu_list(affinity, "final", &c->layout.cpu_final, err);
	if (score < -1000 || score > 1000)
		return err_set(err, EINVAL, "process.oomScoreAdj %lld is not in -1000 to 1000",
			       (long long)score);
	c->layout.oom_set = oom != NULL;
	c->spec.oom_score_adj = (int)score;
	c->spec.no_new_privs = json_get_bool(process, "noNewPrivileges");
	c->spec.terminal = json_get_bool(process, "terminal");
	c->layout.window_rows = (uint16_t)json_get_int(size, "height", 0);
	c->layout.window_columns = (uint16_t)json_get_int(size, "width", 0);
	return rc;
}

int oci_process_make(struct oci_config *c, json_t *process, struct err *err)
{
	int rc;

	if (!process)
		return err_set(err, EINVAL, "process is missing");
	make_caps(c, process);
	rc = make_user(c, process, err);
	if (rc == 0)
		rc = make_program(c, process, err);
	if (rc == 0)
		rc = make_limits(c, process, err);
	if (rc == 0)
		rc = make_scheduler(c, process, err);
	if (rc == 0)
		rc = make_io_priority(c, process, err);
	if (rc == 0)
		rc = make_labels(c, process, err);
	return rc == 0 ? make_attributes(c, process, err) : rc;
}
