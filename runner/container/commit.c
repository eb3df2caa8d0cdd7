/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker commit. The writable layer goes on being written to, so the new layer is a copy: what the
 * layer says, as a tar stream, unpacked beside it. Needs libcrypto.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sink.h>
#include <shale/base/sys.h>
#include <shale/base/undo.h>
#include <shale/image.h>
#include <shale/layer.h>

#include "priv.h"

struct made {
	struct runtime *rt;
	int64_t snapshot;
};

static void undo_snapshot(void *arg)
{
	const struct made *m = arg;
	struct err ignored = { 0 };

	snap_remove(m->rt->snap, m->snapshot, &ignored);
}

/* --- the copy --- */

struct to_pipe {
	struct sink_fd to;
	struct layer_source src;
	int rc;
	struct err err;
};

static void *send_layer(void *arg)
{
	struct to_pipe *t = arg;
	struct layer_diff_opts o = { .to = &t->to.sink, .table_dir_fd = -1, .no_hash = true };
	struct layer_info info;

	t->rc = layer_diff(&t->src, &o, &info, &t->err);
	fd_close(&t->to.fd);
	return NULL;
}

static int through_pipe(struct to_pipe *t, int to_fd, int parent_fd, struct err *err)
{
	struct layer_apply_opts o = { .parent_fd = parent_fd };
	auto_fd int from = -1;
	pthread_t thread;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	from = fds[0];
	t->to.fd = fds[1];
	rc = pthread_create(&thread, NULL, send_layer, t);
	if (rc) {
		fd_close(&t->to.fd);
		return err_errno(err, rc, "thread");
	}
	rc = layer_apply(from, to_fd, &o, NULL, err);
	fd_close(&from); /* the other one does not wait for us any more */
	pthread_join(thread, NULL);
	/* The reader's failure is what a writer's broken pipe is about. */
	if (t->rc < 0 && (rc >= 0 || t->err.code != EPIPE)) {
		*err = t->err;
		rc = t->rc;
	}
	return rc;
}

static int copy_layer(struct container *c, int64_t parent, int64_t to, struct layer_info *ret,
		      struct err *err)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT, below = SNAP_MOUNT_INIT;
	auto_fd int upper = -1, fs = -1;
	struct to_pipe t = { .to = SINK_FD(-1) };
	int rc = snap_fs_fd(c->rt->snap, c->snapshot, &upper, err);

	if (rc >= 0)
		rc = snap_fs_fd(c->rt->snap, to, &fs, err);
	if (rc >= 0 && parent) {
		rc = snap_mount(c->rt->snap, c->snapshot, SNAP_RDONLY, &merged, err);
		if (rc >= 0)
			rc = snap_mount(c->rt->snap, parent, SNAP_RDONLY, &below, err);
	}
	if (rc < 0)
		return rc;
	t.src = (struct layer_source){ upper, merged.root_fd, below.root_fd };
	rc = through_pipe(&t, fs, below.root_fd, err);
	return rc < 0 ? rc : layer_freeze(fs, NULL, ret, err);
}

static int make_layer(struct container *c, struct made *m, struct undo *undo, struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE };
	struct layer_info frozen = { 0 };
	struct snap_info info;
	int rc = snap_stat(c->rt->snap, c->snapshot, &info, err);

	if (rc < 0)
		return rc;
	fresh.parent = info.parent;
	rc = snap_prepare(c->rt->snap, &fresh, &info, err);
	if (rc < 0)
		return rc;
	m->snapshot = info.id;
	undo_push(undo, undo_snapshot, m);
	rc = copy_layer(c, fresh.parent, info.id, &frozen, err);
	fault_point("container.commit.copied");
	return rc < 0 ? rc : snap_commit(c->rt->snap, info.id, NULL, frozen.flags, err);
}

/* --- the config --- */

static void copy_env(struct image_config *config, const struct container_spec *s)
{
	static const char *const made_up[] = { "HOSTNAME", "TERM" };

	strv_copy(&config->env, &s->env);
	/* What a start sets by itself is not the image's. */
	for (size_t i = config->env.n; i-- > 0;)
		for (size_t k = 0; k < ARRAY_LEN(made_up); k++)
			if (str_starts(config->env.v[i], made_up[k]) &&
			    config->env.v[i][strlen(made_up[k])] == '=') {
				strv_remove(&config->env, i);
				break;
			}
}

static void replace(char **to, const char *value)
{
	free(*to);
	*to = mem_str(value);
}

int container_commit_config(struct container *c, struct image_config **ret, struct err *err)
{
	auto_image struct image *img = NULL;
	auto_image_config struct image_config *config = NULL;
	const struct container_spec *s = &c->spec;
	int rc = c->image_id ? image_get(c->rt, c->image_id, &img, err) : -ENOENT;

	if (rc == -ENOENT) { /* made from a build step, or its image was removed */
		err_clear(err);
		config = image_config_new();
		rc = 0;
	} else if (rc >= 0) {
		rc = image_config_of(img, &config, err);
	}
	if (rc < 0)
		return rc;
	copy_env(config, s);
	strv_copy(&config->entrypoint, &s->entrypoint);
	strv_copy(&config->cmd, &s->command);
	config->entrypoint_set = s->entrypoint.n > 0;
	config->cmd_set = s->command.n > 0;
	strv_copy(&config->labels, &s->labels);
	replace(&config->user, s->user);
	replace(&config->workdir, s->workdir);
	if (s->stop_signal)
		replace(&config->stop_signal, s->stop_signal);
	*ret = take(config);
	return 0;
}

/* --- the image --- */

static int write_image(struct container *c, const struct container_commit *o, int64_t snapshot,
		       char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_strv struct strv tags = { 0 };
	struct image_history *h;

	o->config->created_s = time(NULL);
	if (o->author)
		replace(&o->config->author, o->author);
	h = image_config_add_history(o->config, o->config->created_s, c->command, false);
	h->comment = mem_str(o->message);
	h->author = mem_str(o->author);
	if (o->tag)
		strv_add(&tags, o->tag);
	return image_write(c->rt, o->config, snapshot, &tags, ret_id, err);
}

static int commit_quiet(struct container *c, const struct container_commit *o,
			char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_fd int lease = -1; /* before undo: let go after it */
	struct made made = { .rt = c->rt };
	auto_undo struct undo undo = { 0 };
	int rc;

	lease = image_lease(c->rt, err);
	if (lease < 0)
		return lease;
	rc = make_layer(c, &made, &undo, err);
	if (rc >= 0)
		rc = write_image(c, o, made.snapshot, ret_id, err);
	if (rc < 0)
		return rc;
	undo_done(&undo);
	return 0;
}

/*
 * Its processes must not stand still for ever when we are killed: a child of ours, which a signal
 * to our group does not reach, waits for our word or our end. It holds nothing of ours but the
 * pipe.
 */
struct guard {
	pid_t pid;
	int fd;
};

static void guard(struct container *c, int from)
{
	struct err ignored = { 0 };
	int fd = dup2(from, STDIN_FILENO);
	char word;

	setsid();
	sys_close_range(fd + 1, ~0u, 0);
	if (read(fd, &word, 1) == 0)
		container_thaw(c, &ignored);
	_exit(0);
}

static int guard_start(struct container *c, struct guard *ret, struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	pid = fork();
	if (pid == 0)
		guard(c, fds[0]);
	close(fds[0]);
	*ret = (struct guard){ pid, fds[1] };
	if (pid >= 0)
		return 0;
	fd_close(&ret->fd);
	return err_sys(err, "fork");
}

static void guard_end(struct guard *g)
{
	struct err ignored = { 0 };
	int code;

	if (g->fd < 0)
		return;
	fd_write_all(g->fd, "", 1, &ignored);
	fd_close(&g->fd);
	proc_wait(g->pid, &code, &ignored);
}

int container_commit(struct container *c, const struct container_commit *o,
		     char ret_id[DIGEST_STR_MAX], struct err *err)
{
	cleanup(guard_end) struct guard g = { .fd = -1 };
	bool pauses = o->pause && c->state == CONTAINER_RUNNING && !container_is_paused(c);
	struct err ignored = { 0 };
	int rc;

	if (pauses) {
		rc = guard_start(c, &g, err);
		if (rc >= 0)
			rc = container_pause(c, err);
		if (rc < 0)
			return rc;
	}
	rc = commit_quiet(c, o, ret_id, err);
	if (pauses)
		container_thaw(c, &ignored);
	if (rc < 0)
		return err_ctx(err, "commit %s", c->name);
	container_event(c, "commit", "imageID", ret_id);
	return 0;
}
