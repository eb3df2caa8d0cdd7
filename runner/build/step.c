/* SPDX-License-Identifier: Apache-2.0 */
/* The moments of a step: found in the cache, or worked, frozen, committed and recorded. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/undo.h>
#include <shale/image.h>

#include "depot.h"

enum {
	TOUCH_S = 3600,
	FULL_BYTES = 1 << 20,  /* where a write is likely to have failed */
	DEPTH_ELSEWHERE = 127, /* Docker's image store ends there */
};

void build_emit(struct build *b, struct build_event *e)
{
	e->step = b->at ? b->at->step : 0;
	e->total = b->total;
	record_event(b, e);
	if (b->o->event)
		b->o->event(e, b->o->event_arg);
}

bool build_is_interrupted(const struct build *b)
{
	return b->err.code || (b->o->interrupted && *b->o->interrupted);
}

void step_begin(struct step_run *r)
{
	struct build_event e = { .kind = BUILD_STEP, .text = r->text };

	r->started_ns = proc_mono_ns();
	r->st->step = ++r->b->step;
	build_emit(r->b, &e);
}

/* The config with this step's history row: what run or tag of the step's id would use. */
static void add_history(struct step_run *r, const struct step *s, bool has_layer)
{
	struct image_history *h =
		image_config_add_history(r->st->config, s->created_s, r->text, !has_layer);

	h->step_id = mem_str(s->id);
	h->comment = mem_str(s->why);
	if (s->created_s > r->st->config->created_s)
		r->st->config->created_s = s->created_s;
}

void step_announce(struct step_run *r, const struct step *s, bool hit, bool has_layer)
{
	struct build_event e = { .kind = hit ? BUILD_CACHED : BUILD_DONE,
				 .text = r->text,
				 .id = s->id,
				 .size_bytes = s->size_bytes,
				 .has_layer = has_layer,
				 .elapsed_ns = proc_mono_ns() - r->started_ns };

	r->b->cached += hit;
	build_emit(r->b, &e);
}

static void stand_on(struct step_run *r, const struct step *s, bool has_layer)
{
	snprintf(r->st->parent, sizeof(r->st->parent), "%s", s->id);
	snprintf(r->st->shown, sizeof(r->st->shown), "%s", s->id);
	if (!has_layer)
		return;
	snprintf(r->st->fs_parent, sizeof(r->st->fs_parent), "%s", s->id);
	r->st->snapshot = s->snapshot ? s->snapshot : STAGE_LAZY;
	r->st->depth++;
}

static void tell_depth(struct step_run *r)
{
	struct build_event e = { .kind = BUILD_WARNING,
				 .text = "more than 127 layers: shale runs the image, "
					 "Docker and others do not" };

	if (r->st->depth <= DEPTH_ELSEWHERE || r->b->told_depth)
		return;
	r->b->told_depth = true;
	build_emit(r->b, &e);
}

/* A layer that was linked upon another parent serves as the source of ours. */
static int take_content(struct step_run *r, const struct step *s, struct err *err)
{
	struct snap_info info = { 0 };
	int rc = r->link ? snap_stat(r->b->rt->snap, s->snapshot, &info, err) : 0;

	if (rc < 0)
		return rc;
	if (r->link && info.parent != r->st->snapshot) {
		r->reuse = s->snapshot;
		return 0;
	}
	rc = cache_alias(r->b->rt, r->key, s->id, err);
	return rc < 0 ? rc : 1;
}

/* The record, unless it has to wait for the layer that it stands on. */
static int keep(struct step_run *r, struct step *s, bool has_layer, bool is_lazy, struct err *err)
{
	int rc = 0;

	if (is_lazy) {
		trail_defer(r, s, has_layer);
		return 0;
	}
	rc = cache_put(r->b->rt, r->key, r->st->shown, r->text, s, err);
	if (rc >= 0 && r->hit.record)
		rc = cache_alias(r->b->rt, &r->hit.alias, s->id, err);
	if (rc >= 0)
		trail_add(r, s, has_layer);
	return rc;
}

/* One that --cache-from has. */
static int use_depot(struct step_run *r, bool has_layer, struct err *err)
{
	auto_step struct step s = { .snapshot = r->st->snapshot, .used_s = r->b->wall_s };
	const struct depot_hit *hit = &r->hit;
	int rc;

	proc_random_hex(s.id, STEP_ID_LEN);
	s.created_s = hit->record->created_s < r->b->now_s ? hit->record->created_s : r->b->now_s;
	if (s.created_s < 0)
		s.created_s = 0;
	if (has_layer) {
		s.snapshot = hit->snapshot;
		s.size_bytes = depot_doc_layer(&hit->source->doc, hit->record)->size_bytes;
	}
	add_history(r, &s, has_layer);
	s.config = image_config_text(r->st->config);
	rc = keep(r, &s, has_layer, has_layer ? !hit->snapshot : stage_is_lazy(r->st), err);
	if (rc < 0)
		return rc;
	stand_on(r, &s, has_layer);
	step_announce(r, &s, true, has_layer);
	tell_depth(r);
	return 1;
}

int step_use(const struct build *b, const struct step *s, struct err *err)
{
	/* At most once an hour, as each is a write. */
	if (s->used_s + TOUCH_S >= b->wall_s)
		return 0;
	return cache_touch(b->rt, s->id, err);
}

/* The history row, with the id that people are told. */
static int show(struct step_run *r, const struct step *s, bool has_layer, struct step *ret,
		struct err *err)
{
	struct image_config *c = r->st->config;
	struct image_history *h;
	int rc;

	add_history(r, s, has_layer);
	ret->config = image_config_text(c);
	memcpy(ret->id, s->id, sizeof(ret->id));
	if (!strcmp(ret->config, s->config))
		return 0;
	rc = cache_face(r->b->rt, s, r->st->shown, r->text, ret, err);
	if (rc < 0)
		return rc;
	h = &c->history[c->n_history - 1];
	free(h->step_id);
	h->step_id = mem_str(ret->id);
	return step_use(r->b, ret, err);
}

/* 1 when a record serves. */
static int use_record(struct step_run *r, bool has_layer, struct err *err)
{
	auto_step struct step s = { 0 }, shown = { 0 };
	int rc = 0;

	if (r->st->no_cache)
		return 0;
	rc = cache_find(r->b->rt, r->key, &s, err);
	if (rc == 0 && r->content_key) {
		rc = cache_find(r->b->rt, r->content_key, &s, err);
		if (rc > 0)
			rc = take_content(r, &s, err);
	}
	if (rc == 0) {
		rc = depots_find(r, r->key, has_layer, err);
		if (rc == 0 && r->content_key)
			rc = depots_find(r, r->content_key, has_layer, err);
		if (rc > 0 && !r->hit.is_row)
			return use_depot(r, has_layer, err);
		if (rc > 0)
			rc = cache_find(r->b->rt, &r->hit.alias, &s, err);
	}
	if (rc <= 0)
		return rc;
	rc = step_use(r->b, &s, err);
	if (rc >= 0)
		rc = show(r, &s, has_layer, &shown, err);
	if (rc < 0)
		return rc;
	trail_add(r, &s, has_layer);
	stand_on(r, &s, has_layer);
	memcpy(s.id, shown.id, sizeof(s.id));
	snprintf(r->st->shown, sizeof(r->st->shown), "%s", s.id);
	step_announce(r, &s, true, has_layer);
	tell_depth(r);
	return 1;
}

/* history first, so that the recorded config has it; then the row and the second key. */
static int record(struct step_run *r, struct step *s, bool has_layer, struct err *err)
{
	int rc;

	s->created_s = r->b->now_s;
	s->used_s = r->b->wall_s;
	add_history(r, s, has_layer);
	s->config = image_config_text(r->st->config);
	fault_point("build.step.committed");
	rc = keep(r, s, has_layer, stage_is_lazy(r->st), err);
	fault_point("build.step.recorded");
	if (rc >= 0 && r->content_key && !s->tainted)
		rc = cache_alias(r->b->rt, r->content_key, s->id, err);
	return rc < 0 ? rc : 0;
}

int step_config(struct step_run *r, struct err *err)
{
	auto_step struct step s = { .snapshot = r->st->snapshot };
	int rc = use_record(r, false, err);

	if (rc == 0)
		rc = explain_step(r, err);
	if (rc)
		return rc < 0 ? rc : 0;
	proc_random_hex(s.id, STEP_ID_LEN);
	rc = record(r, &s, false, err);
	if (rc < 0)
		return rc;
	stand_on(r, &s, false);
	step_announce(r, &s, false, false);
	return 0;
}

struct drop {
	const struct build *b;
	int64_t id;
};

static void drop_snapshot(void *arg)
{
	struct drop *d = arg;
	struct snap *snap = d->b->rt->snap;
	struct err e = { 0 };
	int dir = -1, rc = snap_remove(snap, d->id, &e);

	if (rc == -ENOSPC && snap_dir_fd(snap, d->id, &dir, &e) >= 0) {
		/* A row that goes needs room as well: here, where nobody will ever read them, the
		 * files may go before it. */
		fs_remove_tree(dir, "fs", &e);
		close(dir);
		snap_remove(snap, d->id, &e);
	}
	/* It may be what filled the disk. Who interrupts a build wants the prompt. */
	if (!build_is_interrupted(d->b))
		snap_sweep(snap, &e);
}

/* The upper becomes a layer: nothing is copied, the next step mounts over it at once. */
int step_freeze(struct step_run *r, int64_t id, struct layer_info *ret, struct err *err)
{
	int fs_fd = -1, rc = snap_fs_fd(r->b->rt->snap, id, &fs_fd, err);

	if (rc < 0)
		return rc;
	rc = r->b->o->timestamp ? layer_freeze_at(fs_fd, *r->b->o->timestamp, ret, err)
				: layer_freeze(fs_fd, r->b->epoch, ret, err);
	fault_point("build.step.frozen");
	close(fs_fd);
	return rc < 0 ? rc : snap_commit(r->b->rt->snap, id, NULL, ret->flags, err);
}

static int work_on(struct step_run *r, int64_t id, step_work_fn *work, void *arg, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = snap_mount_as(r->b->rt->snap, id, SNAP_VOLATILE, r->ids, &m, err);

	return rc < 0 ? rc : work(m.root_fd, id, arg, err);
}

/* Into the layer's own directory: nothing of the parent is seen, which comes beneath it afterwards.
 */
static int work_apart(struct step_run *r, int64_t id, step_work_fn *work, void *arg,
		      struct err *err)
{
	struct snap *snap = r->b->rt->snap;
	auto_fd int fd = -1;
	int rc = snap_fs_fd(snap, id, &fd, err);

	if (rc >= 0)
		rc = r->reuse ? copy_layer(r->b->rt, r->reuse, fd, err) : work(fd, id, arg, err);
	if (rc >= 0 && r->st->snapshot)
		rc = snap_rebase(snap, id, r->st->snapshot, !r->own_root, err);
	return rc;
}

/* A program says of a full disk what it likes, so the file system is asked. */
static bool is_full(const struct step_run *r)
{
	struct statvfs vfs;

	return fstatvfs(r->b->rt->root_fd, &vfs) == 0 &&
	       (uint64_t)vfs.f_bavail * vfs.f_frsize < FULL_BYTES;
}

static int publish(struct step_run *r, int64_t id, const struct layer_info *info, struct step *s,
		   struct err *err)
{
	if (r->st->again[0]) /* the rows above it have been told */
		memcpy(s->id, r->st->again, sizeof(s->id));
	else
		proc_random_hex(s->id, STEP_ID_LEN);
	s->snapshot = id;
	s->size_bytes = info->size_bytes;
	return record(r, s, true, err);
}

/* Its key speaks of what was there before: a build that finds the old content again must not get
 * this. */
static void taint_changed(struct step_run *r, struct step *s)
{
	struct build_event e = { .kind = BUILD_WARNING };
	auto_free char *text = NULL;

	if (!r->copy || !r->copy->changed)
		return;
	s->tainted = true;
	text = mem_fmt("%s changed while this build read it: the step has it as it is now, and no "
		       "build will find it in the cache",
		       r->copy->changed);
	e.text = text;
	build_emit(r->b, &e);
}

static int attempt(struct step_run *r, step_work_fn *work, void *arg, struct step *s,
		   struct err *err)
{
	struct snap_new n = { .parent = r->link ? 0 : r->st->snapshot, .kind = SNAP_ACTIVE };
	auto_undo struct undo undo = { 0 };
	struct layer_info info = { 0 };
	struct drop drop;
	struct snap_info snap;
	int rc = snap_prepare(r->b->rt->snap, &n, &snap, err);

	if (rc < 0)
		return rc;
	drop = (struct drop){ r->b, snap.id };
	undo_push(&undo, drop_snapshot, &drop);
	rc = r->link ? work_apart(r, snap.id, work, arg, err) : work_on(r, snap.id, work, arg, err);
	fault_point("build.step.worked");
	if (rc >= 0)
		rc = step_freeze(r, snap.id, &info, err);
	r->was_full = rc < 0 && is_full(r); /* before the undo frees what it wrote */
	if (rc == -ECHILD && !r->was_full && !r->b->failure->snapshot) {
		r->kept = snap.id;
		undo_done(&undo);
	}
	if (rc < 0)
		return rc;
	taint_changed(r, s);
	rc = publish(r, snap.id, &info, s, err);
	if (rc >= 0)
		undo_done(&undo);
	return rc;
}

/* What somebody repaired takes the place of the work. */
static int attempt_resumed(struct step_run *r, struct step *s, struct err *err)
{
	auto_undo struct undo undo = { 0 };
	struct layer_info info = { 0 };
	struct drop drop = { r->b, 0 };
	int rc = step_resume(r, &drop.id, err);

	if (drop.id)
		undo_push(&undo, drop_snapshot, &drop);
	if (rc >= 0)
		rc = step_freeze(r, drop.id, &info, err);
	s->tainted = true;
	s->why = STEP_REPAIRED;
	if (rc >= 0)
		rc = publish(r, drop.id, &info, s, err);
	if (rc >= 0)
		undo_done(&undo);
	return rc;
}

static bool make_room(struct step_run *r)
{
	auto_image_removal struct image_removal gone = { 0 };
	size_t n = r->b->plan->n;
	auto_free int64_t *in_use = mem_array(n + 1, sizeof(*in_use));
	struct image_room o = { r->b->lease_fd, r->b->wall_s, in_use, n + 1 };
	struct err ignored = { 0 };

	for (size_t i = 0; i < n; i++)
		in_use[i] = stage_rests_on(r->b, &r->b->stages[i]);
	in_use[n] = r->reads;
	return image_make_room(r->b->rt, &o, &gone, &ignored) >= 0 && gone.freed_bytes > 0;
}

int step_layer(struct step_run *r, step_work_fn *work, void *arg, struct err *err)
{
	auto_step struct step s = { 0 };
	auto_fd int claim = -1;
	int rc = use_record(r, true, err);

	if (rc == 0 && !r->st->no_cache) {
		rc = step_claim(r->b, r->key, &claim, err);
		rc = rc > 0 ? use_record(r, true, err) : rc;
	}
	if (rc == 0)
		rc = explain_step(r, err);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = stage_whole(r->b, r->st, err);
	if (rc < 0)
		return rc;
	rc = step_is_resumed(r) ? attempt_resumed(r, &s, err) : attempt(r, work, arg, &s, err);
	if (rc < 0 && rc != -EINTR && r->was_full && make_room(r)) {
		err_clear(err);
		rc = attempt(r, work, arg, &s, err);
	}
	if (rc < 0)
		return rc;
	stand_on(r, &s, true);
	step_announce(r, &s, r->reuse != 0, true);
	tell_depth(r);
	/* Nobody asks for the digest of what no image has. */
	return r->st->is_image ? workers_add(r->b->workers, s.snapshot, err) : 0;
}
