/* SPDX-License-Identifier: Apache-2.0 */
/* From a container to its sandbox: mounts, user, environment; then the spawn. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>

#include "priv.h"

enum { MOUNTS_MAX = 256, LIMITS_MAX = 32 };

/* Everything the sandbox_spec points to. */
struct parts {
	struct sandbox_mount mounts[MOUNTS_MAX];
	size_t n_mounts;
	struct strv words; /* targets and tmpfs options */
	struct sandbox_limit limits[LIMITS_MAX];
	struct sandbox_user user;
	struct strv argv, env;
	char *cache_dir;
	char cgroup[CONTAINER_GROUP_MAX];
	struct container_kept *kept;
	size_t n_kept;
	struct container_namespaces spaces;
	struct sandbox_io *io;
	struct sandbox_device_rule *rules;
};

static struct parts *parts_new(void)
{
	struct parts *p = mem_alloc(sizeof(*p));

	p->spaces = (struct container_namespaces)CONTAINER_NAMESPACES_INIT;
	return p;
}

static void kept_free(struct container_kept *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		container_kept_close(&v[i]);
	free(v);
}

static void parts_free(struct parts **pp)
{
	struct parts *p = *pp;

	if (!p)
		return;
	for (size_t i = 0; i < p->n_mounts; i++)
		fd_close(&p->mounts[i].source_fd);
	strv_free(&p->words);
	strv_free(&p->argv);
	strv_free(&p->env);
	sandbox_user_free(&p->user);
	free(p->cache_dir);
	free(p->io);
	free(p->rules);
	kept_free(p->kept, p->n_kept);
	container_namespaces_close(&p->spaces);
	free(p);
}
#define auto_parts cleanup(parts_free)

static const char *keep_word(struct parts *p, const char *s)
{
	strv_add(&p->words, s);
	return p->words.v[p->words.n - 1];
}

static int add_mount(struct parts *p, const struct sandbox_mount *m, struct err *err)
{
	if (p->n_mounts == MOUNTS_MAX)
		return err_set(err, EINVAL, "more than %d mounts", MOUNTS_MAX);
	p->mounts[p->n_mounts++] = *m;
	return 0;
}

/* A missing host directory is made, as Docker does with -v. */
static int open_source(const char *path, struct err *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		int rc = fs_mkdirs(path, 0755, err);

		if (rc < 0)
			return rc;
		fd = open(path, O_PATH | O_CLOEXEC);
	}
	return fd < 0 ? err_sys(err, "open %s", path) : fd;
}

/* The user of the container as m shows the owners of files. */
static int give_to_user(const struct parts *p, const struct sandbox_mount *m, struct err *err)
{
	uint32_t base = m->is_mapped ? 0 : p->spaces.ids.root;

	return container_chown(m->source_fd, base + p->user.uid, base + p->user.gid, err);
}

static int add_volume(const struct runtime *rt, struct parts *p, const char *text, struct err *err)
{
	auto_container_volume struct container_volume v = { 0 };
	struct sandbox_mount m = { .kind = SANDBOX_BIND, .recursive = true };
	int rc = container_volume_parse(text, &v, err);

	if (rc < 0)
		return rc;
	m.source_fd = open_source(v.source, err);
	if (m.source_fd < 0)
		return err_ctx(err, "volume %s", text);
	m.target = keep_word(p, v.target);
	m.read_only = v.read_only;
	m.propagation = v.propagation;
	m.is_mapped = v.is_mapped;
	if (v.is_given)
		rc = container_chown_check(rt, m.source_fd, v.source, err);
	if (rc >= 0 && v.is_given)
		rc = give_to_user(p, &m, err);
	if (rc < 0)
		err_ctx(err, "volume %s", text);
	else
		rc = add_mount(p, &m, err);
	if (rc < 0)
		fd_close(&m.source_fd);
	return rc;
}

static int add_tmpfs(struct parts *p, const char *text, struct err *err)
{
	auto_free char *target = NULL, *data = NULL;
	struct sandbox_mount m = { .kind = SANDBOX_TMPFS, .source_fd = -1 };
	auto_str struct str kept = { 0 };
	auto_strv struct strv words = { 0 };
	int rc = container_tmpfs_parse(text, &target, &data, err);

	if (rc < 0)
		return rc;
	/* Docker's defaults; flags are not data. */
	m.nosuid = m.nodev = m.noexec = true;
	strv_split(&words, data ? data : "", ',');
	for (size_t i = 0; i < words.n; i++) {
		const char *w = words.v[i];

		if (str_eq(w, "exec"))
			m.noexec = false;
		else if (str_eq(w, "suid"))
			m.nosuid = false;
		else if (str_eq(w, "dev"))
			m.nodev = false;
		else if (str_eq(w, "ro"))
			m.read_only = true;
		else if (*w && !str_eq(w, "rw") && !str_eq(w, "noexec") && !str_eq(w, "nosuid") &&
			 !str_eq(w, "nodev"))
			str_addf(&kept, "%s%s", kept.len ? "," : "", w);
	}
	m.target = keep_word(p, target);
	m.data = kept.len ? keep_word(p, kept.s) : NULL;
	return add_mount(p, &m, err);
}

static struct sandbox_mount etc_mount(const struct container *c, struct parts *p, int which)
{
	auto_free char *target = mem_fmt("/etc/%s", container_etc[which]);

	return (struct sandbox_mount){ .target = keep_word(p, target),
				       .source_fd = -1,
				       .read_only = c->spec.read_only,
				       .nosuid = true,
				       .nodev = true,
				       .is_mapped = true };
}

static int add_etc_brief(const struct container *c, struct parts *p, struct err *err)
{
	int rc = 0;

	for (int i = 0; rc >= 0 && i < CONTAINER_ETC_N; i++) {
		struct sandbox_mount m = etc_mount(c, p, i);
		auto_free char *shown = mem_fmt("%s/%s", c->id, container_etc[i]);
		auto_str struct str text = { 0 };

		rc = container_etc_text(c, i, &text, err);
		if (rc <= 0)
			continue;
		m.kind = SANDBOX_FILE;
		m.content = keep_word(p, str_get(&text));
		m.content_len = text.len;
		m.mode = 0644;
		m.shown = keep_word(p, shown);
		rc = add_mount(p, &m, err);
	}
	return rc < 0 ? rc : 0;
}

static int add_etc(const struct container *c, struct parts *p, struct err *err)
{
	int fds[CONTAINER_ETC_N] = { -1, -1, -1 };
	auto_fd int dir = -1;
	int rc;

	if (container_etc_is_brief(c))
		return add_etc_brief(c, p, err);
	rc = container_dir_need(c, &dir, err);
	if (rc >= 0)
		rc = container_etc_write(c, dir, fds, err);
	for (int i = 0; i < CONTAINER_ETC_N; i++) {
		struct sandbox_mount m = etc_mount(c, p, i);

		m.source_fd = fds[i];
		if (fds[i] >= 0 && add_mount(p, &m, err) < 0) {
			fd_close(&fds[i]);
			rc = -err->code;
		}
	}
	return rc;
}

/* A volume is ours; a path of the host's may be anybody's. */
static int give_kept(const struct runtime *rt, const struct parts *p,
		     const struct container_kept *k, const struct sandbox_mount *m, struct err *err)
{
	const char *source = json_get_str(k->j, "source");
	int rc = str_eq(json_get_str(k->j, "type"), "bind")
			 ? container_chown_check(rt, m->source_fd, source, err)
			 : 0;

	if (rc >= 0)
		rc = give_to_user(p, m, err);
	return rc < 0 ? err_ctx(err, "mount %s", m->target) : 0;
}

static int add_kept(const struct container *c, struct parts *p, int root_fd, struct err *err)
{
	const struct strv *l = &c->spec.mounts;
	int rc = 0;

	p->kept = mem_array(l->n + 1, sizeof(*p->kept));
	for (size_t i = 0; i < l->n && rc >= 0; i++) {
		struct sandbox_mount m;
		struct container_kept *k = &p->kept[p->n_kept++];

		*k = (struct container_kept){ NULL, SNAP_MOUNT_INIT, CACHE_HELD_INIT, root_fd,
					      &p->spaces.ids };
		rc = container_kept_open(c, l->v[i], k, &m, err);
		if (rc >= 0 && json_get_bool(k->j, "chown"))
			rc = give_kept(c->rt, p, k, &m, err);
		if (rc >= 0)
			rc = add_mount(p, &m, err);
		if (rc < 0)
			fd_close(&m.source_fd);
	}
	return rc;
}

/* The user's volumes come last: one over /etc/hosts wins. */
static int add_mounts(const struct container *c, struct parts *p, int root_fd, struct err *err)
{
	const struct container_spec *s = &c->spec;
	int rc = add_etc(c, p, err);

	for (size_t i = 0; rc >= 0 && i < s->tmpfs.n; i++)
		rc = add_tmpfs(p, s->tmpfs.v[i], err);
	for (size_t i = 0; rc >= 0 && i < s->volumes.n; i++)
		rc = add_volume(c->rt, p, s->volumes.v[i], err);
	return rc < 0 || !s->mounts.n ? rc : add_kept(c, p, root_fd, err);
}

static int add_limits(const struct container *c, struct parts *p, struct sandbox_spec *to,
		      struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < c->spec.ulimits.n; i++) {
		if (i == LIMITS_MAX)
			return err_set(err, EINVAL, "more than %d limits", LIMITS_MAX);
		rc = container_ulimit_parse(c->spec.ulimits.v[i], &p->limits[i], err);
	}
	to->limits = p->limits;
	to->n_limits = c->spec.ulimits.n;
	return rc;
}

int container_security_apply(const struct container_spec *s, struct sandbox_spec *to,
			     struct err *err)
{
	struct container_security security;
	int rc = container_security_parse(&s->security, &security, err);

	if (rc < 0)
		return rc;
	to->caps = s->privileged ? SANDBOX_CAPS_ALL : SANDBOX_CAPS_DOCKER;
	to->privileged = s->privileged;
	to->cap_add = &s->cap_add;
	to->cap_drop = &s->cap_drop;
	to->no_new_privs = security.no_new_privs;
	to->seccomp_unconfined = security.seccomp_unconfined;
	to->seccomp_profile = security.profile;
	to->unmasked = security.unmasked;
	to->keep_projects = s->storage.n;
	return 0;
}

/* The home of the user inside, unless someone has said another. */
void container_env_home(struct strv *env, const struct sandbox_user *user)
{
	if (!strv_env_get(env, "HOME"))
		strv_env_set(env, "HOME", user->home && *user->home ? user->home : "/");
}

char *container_cache_dir(struct runtime *rt)
{
	/* Nothing is lost when it cannot be made: the filter is compiled each time then. */
	mkdirat(rt->root_fd, "cache/seccomp", 0700);
	return mem_fmt("%s/cache/seccomp", rt->root);
}

/* By name or number, as the image's group file has it. */
static int add_groups(const struct container_spec *spec, int root_fd, struct sandbox_user *u,
		      struct err *err)
{
	for (size_t i = 0; i < spec->groups.n; i++) {
		auto_free char *text = mem_fmt("0:%s", spec->groups.v[i]);
		struct sandbox_user found = { 0 };

		if (sandbox_user_find(root_fd, text, &found, err) < 0)
			return err_ctx(err, "--group-add %s", spec->groups.v[i]);
		u->groups = mem_grow(u->groups, u->n_groups + 1, sizeof(*u->groups));
		u->groups[u->n_groups++] = found.gid;
		sandbox_user_free(&found);
	}
	return 0;
}

static int check_user(const struct parts *p, struct err *err)
{
	const struct ids_range *i = &p->spaces.ids;
	uint32_t id = p->user.uid > p->user.gid ? p->user.uid : p->user.gid;

	if (!i->count || id < i->count)
		return 0;
	return err_set(err, EINVAL,
		       "user %u:%u is beyond the %u of its user namespace: --userns auto:size=N",
		       p->user.uid, p->user.gid, i->count);
}

/* What is mounted of them: as its JSON says, others with all rights. */
static void add_device_rules(const struct container_spec *spec, struct parts *p,
			     struct sandbox_cgroup *to)
{
	struct container_device v[MOUNTS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < p->n_mounts; i++) {
		const char *access = NULL;

		for (size_t k = 0; k < p->n_kept; k++)
			if (str_eq(json_get_str(p->kept[k].j, "type"), "device") &&
			    json_get_str(p->kept[k].j, "target") == p->mounts[i].target)
				access = json_get_str(p->kept[k].j, "access");
		if (p->mounts[i].source_fd >= 0)
			v[n++] = (struct container_device){ p->mounts[i].source_fd, access };
	}
	container_device_rules(spec, v, n, to, &p->rules);
}

void container_umask(const struct container_spec *spec, struct sandbox_spec *to)
{
	uint64_t v = 0;

	to->umask_set = spec->umask && str_to_u64(spec->umask, 8, 0777, &v) == 0;
	to->umask = (mode_t)v;
}

static int make_spec(const struct container *c, const int stdio[3], struct parts *p,
		     struct sandbox_spec *s, struct err *err)
{
	const struct container_spec *spec = &c->spec;
	int rc;

	rc = sandbox_user_find(s->root_fd, spec->user ? spec->user : "", &p->user, err);
	if (rc >= 0 && spec->groups.n)
		rc = add_groups(spec, s->root_fd, &p->user, err);
	if (rc >= 0)
		rc = check_user(p, err);
	if (rc >= 0)
		rc = add_mounts(c, p, s->root_fd, err);
	if (rc >= 0)
		rc = add_limits(c, p, s, err);
	if (rc >= 0)
		rc = container_security_apply(spec, s, err);
	if (rc >= 0)
		rc = container_io_open(spec, &p->io, &s->cgroup.n_io, err);
	if (rc < 0)
		return rc;
	s->cgroup.io = p->io;
	add_device_rules(spec, p, &s->cgroup);
	strv_copy(&p->argv, &spec->entrypoint);
	for (size_t i = 0; i < spec->command.n; i++)
		strv_add(&p->argv, spec->command.v[i]);
	strv_copy(&p->env, &spec->env);
	container_env_home(&p->env, &p->user);
	p->cache_dir = container_cache_dir(c->rt);
	container_cgroup_name(c, p->cgroup);
	s->read_only = spec->read_only;
	s->hostname = str_eq(spec->uts_ns, "host") ? NULL : spec->hostname;
	s->domainname = spec->domainname;
	container_umask(spec, s);
	s->ids = p->spaces.ids.count ? &p->spaces.ids : NULL;
	s->ns = p->spaces.v;
	s->n_ns = p->spaces.n;
	s->shm = p->spaces.shm;
	s->shm_fd = p->spaces.shm_fd;
	s->argv = strv_args(&p->argv);
	s->envp = strv_args(&p->env);
	s->cwd = spec->workdir ? spec->workdir : "/";
	s->uid = p->user.uid;
	s->gid = p->user.gid;
	s->groups = p->user.groups;
	s->n_groups = p->user.n_groups;
	s->net = s->net_fd >= 0                                   ? SANDBOX_NET_FD
		 : container_net_kind(spec) == CONTAINER_NET_HOST ? SANDBOX_NET_HOST
								  : SANDBOX_NET_NONE;
	s->mounts = p->mounts;
	s->n_mounts = p->n_mounts;
	s->init = spec->init;
	container_limits(spec, &s->cgroup);
	s->oom_score_adj = (int)spec->oom_score_adj;
	s->sysctls = &spec->sysctls;
	s->shm_bytes = spec->shm_bytes;
	s->terminal = spec->tty;
	memcpy(s->stdio, stdio, sizeof(s->stdio));
	s->cache_dir = p->cache_dir;
	return 0;
}

void container_box_close(struct container_box *b)
{
	sandbox_free(take(b->sb));
	container_net_close(b);
	fd_close(&b->lock_fd);
	kept_free(b->kept, b->n_kept);
	b->kept = NULL;
	b->n_kept = 0;
}

/* Who shares its processes with others is known by its group alone. */
static bool needs_group(const struct container_spec *s, const struct sandbox_cgroup *g)
{
	return s->cgroup_parent || (s->pid_ns && *s->pid_ns && !str_eq(s->pid_ns, "private")) ||
	       container_limits_any(g);
}

int container_storage_apply(const struct container *c, struct err *err)
{
	struct snap_limit l;
	int rc = c->spec.storage.n ? container_storage_parse(&c->spec.storage, &l, err) : 0;

	if (rc >= 0 && c->spec.storage.n)
		rc = snap_limit(c->rt->snap, c->snapshot, &l, err);
	return rc < 0 ? err_ctx(err, "--storage-opt") : 0;
}

int container_box_spawn(struct container *c, const int stdio[3], bool want_cgroup,
			struct container_box *ret, struct err *err)
{
	/* The layer of one that is removed at its end need not reach the disk. */
	unsigned flags = c->auto_remove ? SNAP_VOLATILE : 0;
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_parts struct parts *p = parts_new();
	struct sandbox_spec s = { 0 };
	int rc;

	rc = container_namespaces_open(c, &p->spaces, err);
	if (rc >= 0)
		rc = container_storage_apply(c, err);
	if (rc >= 0)
		rc = container_layer_mount(c, flags, &p->spaces.ids, &m, err);
	if (rc < 0)
		return rc;
	s.root_fd = m.root_fd;
	s.root_is_spent = true;
	rc = container_net_open(c, &p->spaces.ids, ret, err);
	s.net_fd = ret->net_fd;
	if (rc >= 0)
		rc = make_spec(c, stdio, p, &s, err);
	if (rc < 0)
		return rc;
	/* On cgroup v1 a group costs more than the rest of the start. */
	if (want_cgroup || needs_group(&c->spec, &s.cgroup))
		s.cgroup.name = p->cgroup;
	rc = sandbox_plan(&s, &plan, err);
	if (rc >= 0)
		rc = sandbox_spawn(plan, &ret->sb, err);
	if (rc < 0)
		return rc;
	c->pid = sandbox_pid(ret->sb);
	ret->lock_fd = fd_take(&m.lock_fd);
	ret->kept = take(p->kept);
	ret->n_kept = p->n_kept;
	p->n_kept = 0;
	return 0;
}

int container_box_release(struct container_box *b, int *ret_exit, struct err *err)
{
	int rc = sandbox_release(b->sb, err);

	if (rc >= 0)
		return 0;
	*ret_exit = rc == -ENOENT || rc == -ENOTDIR ? CONTAINER_EXIT_NOT_FOUND
		    : rc == -EACCES || rc == -ENOEXEC || rc == -EPERM || rc == -EISDIR
			    ? CONTAINER_EXIT_CANNOT_RUN
			    : CONTAINER_EXIT_SHALE;
	/* The kernel says the same of a script without its shell, and of a program without its
	 * loader. */
	if (rc == -ENOENT && str_starts(err->msg, "exec "))
		err_hint(err, "it is not in the container, or its interpreter or loader is not");
	return rc;
}
