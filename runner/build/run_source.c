/* SPDX-License-Identifier: Apache-2.0 */
/* Where the mounts of RUN --mount come from: what of it stands in the key, and what is there while
 * the step runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "run.h"
#include "ssh.h"

#define SSH_TARGET "/run/buildkit/ssh_agent."

/* Paths are no patterns here. */
static char *literal(const char *path)
{
	auto_str struct str b = { 0 };

	for (; *path; path++)
		str_addf(&b, "%s%c", strchr("*?[\\", *path) ? "\\" : "", *path);
	return str_take(&b);
}

void source_copy_job(const struct run_mount *m, struct copy_job *j)
{
	strv_add_take(&j->sources, literal(m->source && *m->source ? m->source : "/"));
	j->dest = mem_str("/");
	j->workdir = "/";
}

static int resolve(struct run *r, struct run_source *s, size_t n_ssh, struct err *err)
{
	if (s->m.type == MOUNT_SSH && !s->m.target)
		s->m.target = mem_fmt(SSH_TARGET "%zu", n_ssh);
	if (s->m.target) {
		const char *dir =
			r->config->workdir && *r->config->workdir ? r->config->workdir : "/";
		char *target = path_join(dir, s->m.target);

		free(s->m.target);
		s->m.target = target;
		if (!strcmp(target, "/"))
			return err_set(err, EINVAL, "the target is the root");
	}
	if (s->m.from) {
		int rc = build_find_tree(r->b, r->st, s->m.from, &s->tree, err);

		if (rc < 0 || !s->tree.context)
			return rc;
	} else if (s->m.type != MOUNT_BIND) {
		return 0;
	}
	s->of_context = true;
	source_copy_job(&s->m, &s->copy);
	s->copy.from = s->m.from ? s->tree.context : r->b->context;
	return copy_resolve(&s->copy, err);
}

int run_sources(struct run *r, const struct df_inst *i, struct err *err)
{
	const struct vars vars = { r->b->d->escape, scope_lookup, &r->st->scope };
	size_t n_ssh = 0;

	r->sources = mem_array(i->n_flags + 1, sizeof(*r->sources));
	for (size_t k = 0; k < i->n_flags; k++) {
		const struct df_flag *f = &i->flags[k];
		struct run_source *s = &r->sources[r->n_sources];
		int rc;

		if (strcmp(f->name, "mount") != 0)
			continue;
		*s = (struct run_source){ .fd = -1,
					  .mount = SNAP_MOUNT_INIT,
					  .held = CACHE_HELD_INIT };
		rc = mount_parse(f->value ? f->value : "", &vars, &s->m, err);
		r->n_sources++;
		if (rc >= 0)
			rc = resolve(r, s, n_ssh, err);
		n_ssh += s->m.type == MOUNT_SSH;
		if (rc < 0)
			return err_ctx(err, "--mount=%.100s", f->value ? f->value : "");
	}
	return 0;
}

void run_sources_free(struct run *r)
{
	for (size_t i = 0; i < r->n_sources; i++) {
		copy_job_free(&r->sources[i].copy);
		run_mount_free(&r->sources[i].m);
	}
	mem_cleanup(&r->sources);
	strv_free(&r->secret_env);
}

/* --- the key --- */

int source_tree_mount(struct run *r, struct run_source *s, struct snap_mount *ret, struct err *err)
{
	int rc = build_tree_whole(r->b, &s->tree, err);

	return rc < 0 ? rc : snap_mount(r->b->rt->snap, s->tree.snapshot, SNAP_RDONLY, ret, err);
}

static int tree_digest(struct run *r, struct run_source *s, struct digest *ret, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_context struct context *tree = NULL;
	auto_copy_job struct copy_job j = { 0 };
	int rc = source_tree_mount(r, s, &m, err);

	if (rc >= 0)
		rc = context_open_tree(r->b->rt, m.root_fd, &tree, err);
	if (rc < 0)
		return rc;
	source_copy_job(&s->m, &j);
	j.from = tree;
	j.is_tree = true;
	rc = copy_resolve(&j, err);
	return rc < 0 ? rc : copy_digest(&j, ret, err);
}

/* A whole image has its ChainID, which is its content; of a part of a tree only the part counts. */
static bool is_part(const struct run_source *s)
{
	auto_free char *clean = path_join("/", s->m.source ? s->m.source : "/");

	return s->m.type == MOUNT_BIND && !s->of_context && s->m.from && strcmp(clean, "/") != 0;
}

static int key_of(struct run *r, struct run_source *s, bool by_content, struct str *text,
		  struct err *err)
{
	struct digest content;
	int rc;

	if (s->of_context) {
		rc = copy_digest(&s->copy, &s->seen, err);
		content = s->seen;
	} else if (by_content && is_part(s)) {
		rc = tree_digest(r, s, &content, err);
	} else {
		if (s->m.from)
			str_addf(text, " of %s", s->tree.result);
		return 0;
	}
	if (rc >= 0)
		str_addf(text, " content %s", digest_str(&content));
	return rc;
}

int run_sources_key(struct run *r, bool by_content, struct strv *ret, bool *ret_differs,
		    struct err *err)
{
	*ret_differs = false;
	for (size_t i = 0; i < r->n_sources; i++) {
		struct run_source *s = &r->sources[i];
		auto_str struct str text = { 0 };
		int rc;

		mount_text(&s->m, &text);
		rc = key_of(r, s, by_content, &text, err);
		if (rc < 0)
			return err_ctx(err, "--mount target %s", s->m.target);
		*ret_differs = *ret_differs || is_part(s);
		strv_add_take(ret, str_take(&text));
	}
	return 0;
}

/* --- while the step runs --- */

/* Writes are the step's own, and go with it. */
static int own_snapshot(struct run *r, struct run_source *s, int64_t parent, struct err *err)
{
	const struct snap_new n = { .parent = parent, .kind = SNAP_ACTIVE };
	struct snap_info info;
	int rc = snap_prepare(r->b->rt->snap, &n, &info, err);

	if (rc < 0)
		return rc;
	s->snapshot = info.id;
	return snap_mount_as(r->b->rt->snap, info.id, SNAP_VOLATILE, &r->b->ids, &s->mount, err);
}

static int copy_context(struct run *r, struct run_source *s, int64_t id, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = snap_mount(r->b->rt->snap, id, 0, &m, err);

	if (rc >= 0)
		rc = copy_write(&s->copy, m.root_fd, -1, err);
	snap_mount_close(&m);
	m = (struct snap_mount)SNAP_MOUNT_INIT;
	return rc < 0 ? rc : snap_commit(r->b->rt->snap, id, NULL, 0, err);
}

/*
 * The build context is copied, once a build, where the file system can without copying its bytes:
 * what .dockerignore excludes is not seen, owners are root's, nothing changes under the step, and
 * nobody's files are written.
 */
static int context_tree(struct run *r, struct run_source *s, int64_t *ret, struct err *err)
{
	const struct snap_new n = { .kind = SNAP_ACTIVE };
	struct build *b = r->b;
	struct snap_info info;
	struct err ignored;
	int rc;

	for (size_t i = 0; i < b->n_mounted; i++)
		if (digest_eq(&b->mounted[i].content, &s->seen)) {
			*ret = b->mounted[i].snapshot;
			return 0;
		}
	rc = snap_prepare(b->rt->snap, &n, &info, err);
	if (rc < 0)
		return rc;
	rc = copy_context(r, s, info.id, err);
	if (rc < 0) {
		snap_remove(b->rt->snap, info.id, &ignored);
		return rc;
	}
	mem_room(b->mounted, b->n_mounted, b->cap_mounted);
	b->mounted[b->n_mounted++] = (struct mounted){ s->seen, info.id };
	*ret = info.id;
	return 0;
}

void build_unmount(struct build *b)
{
	struct err ignored;

	for (size_t i = 0; i < b->n_mounted; i++)
		snap_remove(b->rt->snap, b->mounted[i].snapshot, &ignored);
	free(b->mounted);
}

const char *source_path(const struct run_source *s)
{
	if (s->of_context)
		return s->copy.items[0].is_dir ? "/" : s->copy.items[0].name;
	return s->m.source && *s->m.source ? s->m.source : "/";
}

static int open_bind(struct run *r, struct run_source *s, struct err *err)
{
	int rc = s->of_context ? context_tree(r, s, &s->tree.snapshot, err)
			       : build_tree_whole(r->b, &s->tree, err);

	if (rc >= 0)
		rc = s->m.read_only ? snap_mount_as(r->b->rt->snap, s->tree.snapshot, SNAP_RDONLY,
						    &r->b->ids, &s->mount, err)
				    : own_snapshot(r, s, s->tree.snapshot, err);
	if (rc < 0)
		return rc;
	/* As a process chrooted there would see it: a symlink to / is that tree's / (TRAPS T26). */
	s->fd = path_open_in(s->mount.root_fd, source_path(s), O_PATH, 0, err);
	return s->fd < 0 ? s->fd : 0;
}

static void add_mount(struct run *r, struct run_source *s)
{
	struct sandbox_mount *m = run_mount_add(r, s->m.target);

	m->read_only = s->m.read_only;
	m->source_fd = s->fd;
	m->is_mapped = true;
	switch (s->m.type) {
	case MOUNT_BIND:
		m->in_tree = true;
		m->tree_fd = s->mount.root_fd;
		break;
	case MOUNT_TMPFS:
		m->kind = SANDBOX_TMPFS;
		m->data = s->content;
		break;
	case MOUNT_SECRET:
		m->kind = SANDBOX_FILE;
		m->content = s->content;
		m->content_len = s->content_len;
		m->mode = s->m.mode;
		m->uid = s->m.uid;
		m->gid = s->m.gid;
		m->read_only = true;
		break;
	default:
		break;
	}
	/* All fds are the source's, and close with it. */
}

/* 1: it is there; 0: it may be left out. */
static int open_source(struct run *r, struct run_source *s, struct err *err)
{
	int rc;

	switch (s->m.type) {
	case MOUNT_BIND:
		rc = open_bind(r, s, err);
		return rc < 0 ? rc : 1;
	case MOUNT_SECRET:
		return secret_source_open(r, s, err);
	case MOUNT_SSH:
		return ssh_source_open(r, s, err);
	case MOUNT_TMPFS:
		if (s->m.size_bytes)
			s->content = mem_fmt("size=%llu", (unsigned long long)s->m.size_bytes);
		return 1;
	default:
		return 1; /* caches are held already */
	}
}

static int by_id(const void *a, const void *b)
{
	const struct run_source *const *x = a, *const *y = b;

	int d = strcmp((*x)->m.id, (*y)->m.id);

	/* Those of one seed stand beside each other. */
	d = d ? d : strcmp((*x)->m.from ? (*x)->m.from : "", (*y)->m.from ? (*y)->m.from : "");
	return d ? d
		 : strcmp((*x)->m.source ? (*x)->m.source : "",
			  (*y)->m.source ? (*y)->m.source : "");
}

static bool is_same_cache(const struct run_source *a, const struct run_source *b)
{
	return str_eq(a->m.id, b->m.id) && str_eq(a->m.from, b->m.from) &&
	       (!a->m.from || str_eq(a->m.source, b->m.source));
}

/* In one order in every step, so that two do not wait for each other. */
static int hold_caches(struct run *r, struct err *err)
{
	auto_free struct run_source **v = mem_array(r->n_sources + 1, sizeof(struct run_source *));
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < r->n_sources; i++)
		if (r->sources[i].m.type == MOUNT_CACHE)
			v[n++] = &r->sources[i];
	qsort(v, n, sizeof(struct run_source *), by_id);
	for (size_t i = 0; i < n && rc >= 0; i++) {
		const struct cache_held *have =
			i && is_same_cache(v[i - 1], v[i]) ? &v[i - 1]->held : NULL;

		rc = cache_source_open(r, v[i], have, err);
		if (rc < 0)
			err_ctx(err, "cache mount %s", v[i]->m.id);
	}
	return rc;
}

int run_sources_open(struct run *r, struct err *err)
{
	int rc = hold_caches(r, err);

	for (size_t i = 0; i < r->n_sources && rc >= 0; i++) {
		struct run_source *s = &r->sources[i];

		rc = open_source(r, s, err);
		if (rc < 0)
			err_ctx(err, "--mount target %s", s->m.target ? s->m.target : s->m.env);
		else if (rc > 0 && s->m.target)
			add_mount(r, s);
	}
	return rc < 0 ? rc : 0;
}

static void close_source(struct run *r, struct run_source *s)
{
	struct err ignored;

	ssh_relay_free(s->relay);
	s->relay = NULL;
	fd_close(&s->fd);
	snap_mount_close(&s->mount);
	s->mount = (struct snap_mount)SNAP_MOUNT_INIT;
	if (s->snapshot)
		snap_remove(r->b->rt->snap, s->snapshot, &ignored);
	s->snapshot = 0;
	store_cache_release(&s->held);
	if (s->content)
		explicit_bzero(s->content, s->content_len);
	free(take(s->content));
	s->content_len = 0;
}

void run_sources_close(struct run *r)
{
	for (size_t i = 0; i < r->n_sources; i++)
		close_source(r, &r->sources[i]);
	for (size_t i = 0; i < r->secret_env.n; i++)
		explicit_bzero(r->secret_env.v[i], strlen(r->secret_env.v[i]));
	strv_free(&r->secret_env);
}
