/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that --cache-from knows but whose layers it has not: they run where somebody needs what
 * they made. What is above one is made again as well, for it stands upon another layer now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "depot.h"

/* Triggers and bases have no instruction that outlives them: they run at once. */
void stage_before(struct build *b, struct stage_state *st, const struct df_inst *i)
{
	struct stage_state *s;

	if (st->before) {
		stage_state_free(st->before);
		free(st->before);
		st->before = NULL;
	}
	if (!b->depots || !b->depots->n_from ||
	    (i->kind != DF_RUN && i->kind != DF_COPY && i->kind != DF_ADD && i->kind != DF_WORKDIR))
		return;
	s = st->before = mem_alloc(sizeof(*s));
	*s = *st;
	s->before = NULL;
	s->platform = st->platform ? mem_str(st->platform) : NULL;
	s->config = image_config_copy(st->config);
	s->scope.config = s->config;
	s->scope.args = s->scope.unset = s->seen = (struct strv){ 0 };
	strv_copy(&s->scope.args, &st->scope.args);
	strv_copy(&s->scope.unset, &st->scope.unset);
}

bool trail_is_absent(const struct depots *d, size_t i)
{
	for (; i && !d->v[i - 1].snapshot; i = d->v[i - 1].below)
		if (d->v[i - 1].is_absent)
			return true;
	return false;
}

bool stage_is_absent(const struct build *b, const struct stage_state *st)
{
	return stage_is_lazy(st) && trail_is_absent(b->depots, st->fs_step);
}

/* The lowest that has to run, 0: none. Others beneath it may come from a depot. */
static size_t lowest(const struct depots *d, size_t i)
{
	size_t ret = 0;

	for (; i && !d->v[i - 1].snapshot; i = d->v[i - 1].below)
		if (d->v[i - 1].is_absent)
			ret = i;
	return ret;
}

/* Entries move when others are added. */
static int run_again(struct build *b, size_t i, struct err *err)
{
	struct stage_state *st = b->depots->v[i - 1].before, *me = b->at;
	const struct df_inst *inst = b->depots->v[i - 1].inst;
	size_t below = b->depots->v[i - 1].below;
	struct trail_step *t;
	int rc = below ? trail_fetch(b, below, err) : 0;

	if (rc < 0)
		return rc;
	st->snapshot = below ? b->depots->v[below - 1].snapshot : b->depots->v[i - 1].base;
	memcpy(st->again, b->depots->v[i - 1].id, sizeof(st->again));
	b->at = st;
	b->total++;
	rc = stage_run_inst(b, st, inst, err);
	if (rc >= 0)
		rc = stage_whole(b, st, err);
	b->at = me;
	if (rc < 0)
		return rc;
	t = &b->depots->v[i - 1];
	t->is_kept = !strcmp(st->fs_parent, t->id);
	t->is_replaced = true;
	t->name[0] = 0;
	return trail_arrived(b, i, st->snapshot, b->depots->v[st->fs_step - 1].size_bytes, err);
}

/* Another stage may be at it. */
static int again(struct build *b, size_t i, struct err *err)
{
	int rc = 0;

	while (b->depots->v[i - 1].is_busy && rc >= 0) {
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	if (b->depots->v[i - 1].snapshot)
		return 0;
	b->depots->v[i - 1].is_busy = true;
	rc = run_again(b, i, err);
	b->depots->v[i - 1].is_busy = false;
	return rc;
}

/* What is above one that ran stands upon another layer than its own depot says. */
static void mark_above(struct depots *d, size_t from, size_t i)
{
	for (; i != from && !d->v[i - 1].snapshot; i = d->v[i - 1].below)
		d->v[i - 1].is_absent = true;
}

int trail_again(struct build *b, size_t i, struct err *err)
{
	size_t next;
	int rc = 0;

	while (rc >= 0 && (next = lowest(b->depots, i)) > 0) {
		mark_above(b->depots, next, i);
		rc = again(b, next, err);
	}
	return rc;
}
