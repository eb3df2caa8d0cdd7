/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of steps: metadata, WORKDIR. RUN stands in run.c, COPY and ADD in copy_step.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/sandbox.h>

#include "priv.h"

int meta_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	auto_key struct key key = { 0 };
	auto_str struct str what = { 0 };
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };
	const struct vars vars = { b->d->escape, scope_lookup, &st->scope };
	int rc = config_apply(st->config, i, &vars, &what, err);

	if (rc < 0)
		return rc;
	r.text = str_get(&what);
	key_begin(&key, b, "config", st->parent);
	key_add(&key, "instruction", r.text);
	key_end(&key);
	step_begin(&r);
	return step_config(&r, err);
}

/* What is made belongs to the USER so far, as BuildKit has it. */
static int make_workdir(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	const struct image_config *c = arg;
	struct path_new n = { .mode = 0755 };
	struct sandbox_user user = { 0 };
	int fd, rc = c->user ? sandbox_user_find(root_fd, c->user, &user, err) : 0;

	(void)snapshot;
	if (rc < 0)
		return err_ctx(err, "USER %.200s", c->user);
	n.uid = user.uid;
	n.gid = user.gid;
	sandbox_user_free(&user);
	fd = path_mkdirs_in(root_fd, c->workdir, &n, err);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* Is dir there in the stage's tree? */
static int has_dir(struct build *b, struct stage_state *st, const char *dir, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_fd int fd = -1;
	int rc = stage_whole(b, st, err);

	if (rc >= 0)
		rc = snap_mount(b->rt->snap, st->snapshot, SNAP_RDONLY, &m, err);
	if (rc < 0)
		return rc;
	fd = path_try_in(m.root_fd, dir, O_PATH | O_DIRECTORY, 0);
	return fd >= 0;
}

static int is_recorded(struct step_run *r, const struct key *key, struct err *err)
{
	auto_step struct step found = { 0 };

	return r->st->no_cache ? 0 : cache_find(r->b->rt, key, &found, err);
}

/* A record of either kind says whether a directory was made; without one, the tree is asked. */
static int makes_dir(struct step_run *r, const struct key *layer, const struct key *config,
		     struct err *err)
{
	struct stage_state *st = r->st;
	int rc = is_recorded(r, layer, err);

	if (rc)
		return rc;
	rc = is_recorded(r, config, err);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = depots_find(r, layer, true, err);
	if (rc)
		return rc;
	rc = depots_find(r, config, false, err);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = has_dir(r->b, st, st->config->workdir, err);
	return rc < 0 ? rc : rc == 0;
}

int workdir_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	auto_key struct key key = { 0 }, config = { 0 };
	auto_str struct str what = { 0 };
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };
	const struct vars vars = { b->d->escape, scope_lookup, &st->scope };
	int rc = config_apply(st->config, i, &vars, &what, err);

	if (rc < 0)
		return rc;
	r.text = str_get(&what);
	key_begin(&key, b, "workdir", st->fs_parent);
	key_add(&key, "dir", st->config->workdir);
	if (st->config->user)
		key_add(&key, "user", st->config->user);
	key_end(&key);
	key_begin(&config, b, "config", st->parent);
	key_add(&config, "instruction", r.text);
	key_end(&config);
	step_begin(&r);
	/* One that runs again was told of as a layer: if the directory is there by now, an empty
	 * one. */
	rc = st->again[0] ? 1 : makes_dir(&r, &key, &config, err);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return step_layer(&r, make_workdir, st->config, err);
	r.key = &config;
	return step_config(&r, err);
}
