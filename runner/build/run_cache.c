/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount=type=cache: a directory of the store's, held for as long as the step runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "run.h"

struct fill {
	struct run *r;
	struct run_source *s;
};

/* The directory itself looks as the one that it is a copy of. */
static int copy_attributes(int root_fd, const char *source, int data_fd, struct err *err)
{
	auto_fd int fd = path_open_in(root_fd, source, O_PATH | O_DIRECTORY, 0, err);
	struct stat st;

	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0 || fchown(data_fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(data_fd, st.st_mode & 07777) < 0)
		return err_sys(err, "attributes of %s", source);
	return 0;
}

static int fill_from_tree(struct fill *f, int data_fd, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_context struct context *tree = NULL;
	auto_copy_job struct copy_job j = { 0 };
	int rc = source_tree_mount(f->r, f->s, &m, err);

	if (rc >= 0)
		rc = copy_attributes(m.root_fd, f->s->m.source ? f->s->m.source : "/", data_fd,
				     err);
	if (rc >= 0)
		rc = context_open_tree(f->r->b->rt, m.root_fd, &tree, err);
	if (rc < 0)
		return rc;
	source_copy_job(&f->s->m, &j);
	j.from = tree;
	j.is_tree = true;
	rc = copy_resolve(&j, err);
	return rc < 0 ? rc : copy_write(&j, data_fd, -1, err);
}

static int fill(int data_fd, void *arg, struct err *err)
{
	struct fill *f = arg;

	return f->s->of_context ? copy_write(&f->s->copy, data_fd, -1, err)
				: fill_from_tree(f, data_fd, err);
}

static void tell(struct run *r, const char *id, const char *holder)
{
	auto_free char *line =
		mem_fmt("waiting for the cache mount %.200s%s%.300s\n", id,
			holder ? ", in use by " : ", which is in use", holder ? holder : "");
	struct build_event e = { .kind = BUILD_OUTPUT, .text = line, .len = strlen(line) };

	build_emit(r->b, &e);
}

static int hold(struct run *r, const struct cache_want *w, struct run_source *s, struct err *err)
{
	bool told = false;
	int rc;

	while ((rc = store_cache_hold(r->b->rt->store, w, &s->held, err)) == 0) {
		if (!told)
			tell(r, w->id, s->held.holder);
		told = true;
		free(take(s->held.holder));
		if (build_is_interrupted(r->b))
			return err_set(err, EINTR, "interrupted");
		build_wait(r->b, -1, 0);
	}
	return rc < 0 ? rc : 0;
}

/* Another mount of the same step has it already. */
static int hold_too(const struct cache_held *have, struct run_source *s, struct err *err)
{
	s->held.lock_fd = fd_dup(have->lock_fd);
	s->held.data_fd = fd_dup(have->data_fd);
	return s->held.data_fd < 0 ? err_sys(err, "open the cache mount") : 0;
}

char *cache_source_id(const struct run *r, const struct run_source *s)
{
	const char *ns = strv_env_get(&r->b->build_args, "BUILDKIT_CACHE_MOUNT_NS");
	const char *scope = r->b->o->scope;
	auto_free char *own = ns && *ns ? mem_fmt("%s/%s", ns, s->m.id) : mem_str(s->m.id);

	/* A scope's name has no slash, so no id of a Dockerfile gets out of it. */
	return scope && *scope ? mem_fmt("scope:%s/%s", scope, own) : take(own);
}

char *cache_source_seed(const struct run_source *s)
{
	return s->m.from ? mem_fmt("%s:%s", s->m.from, s->m.source ? s->m.source : "/") : NULL;
}

int cache_source_open(struct run *r, struct run_source *s, const struct cache_held *have,
		      struct err *err)
{
	static const enum cache_sharing sharing[] = { [SHARING_SHARED] = CACHE_SHARED,
						      [SHARING_PRIVATE] = CACHE_PRIVATE,
						      [SHARING_LOCKED] = CACHE_LOCKED };
	auto_free char *id = cache_source_id(r, s), *seed = cache_source_seed(s);
	struct fill f = { r, s };
	struct cache_want w = { .id = id,
				.sharing = sharing[s->m.sharing],
				.mode = s->m.mode,
				.uid = s->m.uid,
				.gid = s->m.gid,
				.user = r->text };
	const struct path_new sub = { s->m.mode, s->m.uid, s->m.gid };
	int rc;

	if (seed) {
		w.seed = seed;
		w.fill = fill;
		w.arg = &f;
	}
	rc = have ? hold_too(have, s, err) : hold(r, &w, s, err);
	if (rc < 0)
		return rc;
	if (s->m.from || !s->m.source) {
		s->fd = fd_dup(s->held.data_fd);
		return s->fd < 0 ? err_sys(err, "open the cache mount") : 0;
	}
	/* Beneath the directory, whatever symlinks another step puts there meanwhile (TRAPS T21).
	 */
	s->fd = path_mkdirs_in(s->held.data_fd, s->m.source, &sub, err);
	return s->fd < 0 ? err_ctx(err, "source %s", s->m.source) : 0;
}
