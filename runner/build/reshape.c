/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers that a build made, once it is through: all as one (--squash), or without what a layer
 * only says of another's files (--fold). The steps keep their own; what comes out here is a record
 * of the last of them, found again by the next build.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/proc.h>

#include "priv.h"

static void reshape_key(struct key *k, const struct build *b, const char *kind,
			const struct stage_state *st)
{
	auto_free char *rows = mem_fmt("%zu", st->base_rows);

	key_begin(k, b, kind, st->parent);
	key_add(k, "fs", st->fs_parent);
	key_add(k, "base", rows);
	key_end(k);
}

/* --- one layer --- */

struct squash {
	struct snap *snap;
	int64_t top, base;
};

static int squash_work(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	const struct squash *q = arg;

	(void)root_fd;
	return snap_squash(q->snap, q->top, q->base, snapshot, err);
}

/* As docker build --squash of old: the rows stay, all without a layer, and one more has it. */
static int squash(struct build *b, struct stage_state *st, struct err *err)
{
	struct squash q = { b->rt->snap, st->snapshot, st->base };
	auto_free char *text = mem_fmt("SQUASH %zu layers", st->depth - st->base_depth);
	auto_key struct key key = { 0 };
	struct step_run r = { .b = b,
			      .st = st,
			      .key = &key,
			      .text = text,
			      .link = true,
			      .own_root = true,
			      .reads = st->snapshot };

	reshape_key(&key, b, "squash", st);
	for (size_t i = st->base_rows; i < st->config->n_history; i++)
		st->config->history[i].empty_layer = true;
	st->snapshot = st->base;
	st->depth = st->base_depth;
	st->is_image = true;
	b->total++;
	step_begin(&r);
	return step_layer(&r, squash_work, &q, err);
}

/* --- attributes to where the data is --- */

struct fold {
	struct step_run *r;
	struct snap_fold *f;
	struct snap_folded what;
	int64_t *made; /* snapshots, lowest first */
	size_t n_made;
};

static void fold_free(struct fold *f)
{
	snap_fold_close(&f->f);
	free(f->made);
}

static void say(struct build *b, enum build_event_kind kind, const char *text)
{
	build_emit(b, &(struct build_event){ .kind = kind, .text = text, .len = strlen(text) });
}

/* The row of layer i above the base. */
static struct image_history *row_of(const struct stage_state *st, size_t i)
{
	for (size_t k = st->base_rows; k < st->config->n_history; k++)
		if (!st->config->history[k].empty_layer && i-- == 0)
			return &st->config->history[k];
	return NULL;
}

static int write_layer(struct fold *f, size_t i, int64_t parent, int64_t *ret, struct err *err)
{
	const struct snap_new n = { .parent = parent, .kind = SNAP_ACTIVE };
	struct snap *snap = f->r->b->rt->snap;
	struct layer_info info = { 0 };
	struct snap_info made;
	int fd = -1, rc = snap_prepare(snap, &n, &made, err);

	if (rc < 0)
		return rc;
	f->made[f->n_made++] = made.id;
	rc = snap_fs_fd(snap, made.id, &fd, err);
	if (rc >= 0)
		rc = snap_fold_write(f->f, i, fd, err);
	if (fd >= 0)
		close(fd);
	if (rc >= 0)
		rc = step_freeze(f->r, made.id, &info, err);
	*ret = made.id;
	return rc;
}

/* From the lowest layer that changes on, all are new: they rest on another one. */
static int write_layers(struct fold *f, struct err *err)
{
	struct stage_state *st = f->r->st;
	auto_free struct image_history **rows =
		mem_array(f->what.n, sizeof(struct image_history *));
	int64_t top = st->base;
	int rc = 0;

	for (size_t i = 0; i < f->what.n; i++)
		rows[i] = row_of(st, i);
	f->made = mem_array(f->what.n, sizeof(*f->made));
	for (size_t i = 0; i < f->what.n && rc >= 0; i++) {
		enum snap_fold_fate fate = snap_fold_fate(f->f, i);

		if (build_is_interrupted(f->r->b))
			return err_set(err, EINTR, "interrupted");
		if (fate == SNAP_FOLD_EMPTY && rows[i])
			rows[i]->empty_layer = true;
		else if (fate == SNAP_FOLD_SAME && !f->n_made)
			top = snap_fold_layer(f->f, i);
		else
			rc = write_layer(f, i, top, &top, err);
	}
	st->snapshot = top;
	return rc;
}

static void drop_made(struct fold *f)
{
	struct err ignored = { 0 };

	while (f->n_made)
		snap_remove(f->r->b->rt->snap, f->made[--f->n_made], &ignored);
	snap_sweep(f->r->b->rt->snap, &ignored);
}

static void tell_left(struct fold *f)
{
	auto_free char *text = mem_fmt(
		"--fold: left where they are: %zu names of files that have several, %zu things "
		"that were renamed as well",
		f->what.linked, f->what.renamed);

	if (f->what.linked || f->what.renamed)
		say(f->r->b, BUILD_WARNING, text);
}

static void tell(struct fold *f)
{
	char size[STR_SIZE_MAX];
	auto_free char *text = NULL;

	if (f->what.n < 2)
		text = mem_fmt("nothing to fold: the build made %s\n",
			       f->what.n ? "one layer" : "no layer");
	else if (!f->what.moved)
		text = mem_str("nothing to fold: no layer changes only attributes of another's "
			       "files\n");
	else
		text = mem_fmt("%zu files and directories went into the layer beneath, %s\n",
			       f->what.moved, str_size(f->what.moved_bytes, size));
	say(f->r->b, BUILD_OUTPUT, text);
	tell_left(f);
}

static int fold_layers(struct fold *f, struct step *s, struct err *err)
{
	struct stage_state *st = f->r->st;
	int rc = snap_fold_open(f->r->b->rt->snap, st->snapshot, st->base, &f->f, &f->what, err);

	if (rc < 0)
		return rc;
	tell(f);
	rc = f->what.moved ? write_layers(f, err) : 0;
	if (rc < 0)
		return rc;
	proc_random_hex(s->id, STEP_ID_LEN);
	s->snapshot = st->snapshot;
	s->created_s = f->r->b->now_s;
	s->used_s = f->r->b->wall_s;
	s->config = image_config_text(st->config);
	return cache_put(f->r->b->rt, f->r->key, st->shown, f->r->text, s, err);
}

/* 1: an earlier build folded the same layers. Its rows say which of them are gone. */
static int fold_found(struct step_run *r, struct step *s, struct err *err)
{
	auto_image_config struct image_config *was = NULL;
	struct image_config *config = r->st->config;
	int rc = r->st->no_cache ? 0 : cache_find(r->b->rt, r->key, s, err);

	if (rc > 0)
		rc = image_config_parse(s->config, strlen(s->config), &was, err);
	if (rc < 0 || !was || was->n_history != config->n_history)
		return rc < 0 ? rc : 0;
	for (size_t i = 0; i < config->n_history; i++)
		config->history[i].empty_layer = was->history[i].empty_layer;
	r->st->snapshot = s->snapshot;
	rc = step_use(r->b, s, err);
	return rc < 0 ? rc : 1;
}

static int hash_layers(struct build *b, int64_t top, int64_t base, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	size_t n = 0;
	int rc = image_layers(b->rt, top, &l, &n, err);
	bool is_above = !base;

	for (size_t i = 0; i < n && rc >= 0; i++) {
		if (is_above && !l[i].diff_id[0])
			rc = workers_add(b->workers, l[i].snapshot, err);
		is_above = is_above || l[i].snapshot == base;
	}
	return rc;
}

static int fold(struct build *b, struct stage_state *st, struct err *err)
{
	auto_step struct step s = { 0 };
	auto_key struct key key = { 0 };
	struct step_run r = { .b = b, .st = st, .key = &key, .text = "FOLD" };
	cleanup(fold_free) struct fold f = { .r = &r };
	bool is_hit;
	int rc;

	reshape_key(&key, b, "fold", st);
	b->total++;
	step_begin(&r);
	rc = fold_found(&r, &s, err);
	is_hit = rc > 0;
	if (rc == 0) {
		step_free(&s);
		s = (struct step){ 0 };
		rc = fold_layers(&f, &s, err);
	}
	if (rc < 0) {
		drop_made(&f);
		return rc;
	}
	step_announce(&r, &s, is_hit, false);
	return hash_layers(b, st->snapshot, st->base, err);
}

int build_reshape(struct build *b, struct stage_state *st, struct err *err)
{
	int rc = 0;

	b->at = st;
	if (b->o->squash && st->depth > st->base_depth + 1)
		rc = squash(b, st, err);
	else if (b->o->fold)
		rc = fold(b, st, err);
	b->at = NULL;
	return rc < 0 ? err_ctx(err, b->o->squash ? "--squash" : "--fold") : 0;
}
