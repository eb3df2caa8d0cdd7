/* SPDX-License-Identifier: Apache-2.0 */
/* What a build leaves in depots, when its image is written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "depot.h"

/* A document in the making: snapshots[i] is the layer of layers[i]. */
struct draft {
	struct depot_doc doc;
	int64_t *snapshots;
};

static void draft_free(struct draft *d)
{
	depot_doc_free(&d->doc);
	free(d->snapshots);
}

/* Also those that are not written out: keys name them. */
static int settle_all(struct build *b, struct err *err)
{
	struct depots *d = b->depots;
	int rc = 0;

	for (size_t i = 0; i < d->n && rc >= 0; i++) {
		struct trail_step *t = &d->v[i];

		if (t->has_layer && t->snapshot && !t->name[0])
			rc = image_layer_hash(b->rt, t->snapshot, err);
		if (rc >= 0)
			rc = trail_settle(b, t, err);
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
	}
	return rc;
}

/* A layer that a depot has and nobody here has read is read now. */
static int fetch_all(struct build *b, bool is_max, struct err *err)
{
	struct depots *d = b->depots;
	int rc = 0;

	for (size_t i = d->n; i > 0 && rc >= 0; i--)
		if (d->v[i - 1].has_layer && (is_max || d->v[i - 1].in_target))
			rc = trail_fetch(b, i, err);
	return rc;
}

static size_t find_layer(const struct draft *d, const struct digest *chain)
{
	size_t i = 0;

	while (i < d->doc.n_layers && !digest_eq(&d->doc.layers[i].chain, chain))
		i++;
	return i;
}

static int add_layer(struct build *b, struct draft *d, const struct trail_step *t, size_t *ret,
		     struct err *err)
{
	auto_free struct image_layer *chain = NULL;
	struct depot_layer *l;
	struct digest own;
	size_t n = 0;
	int rc = digest_parse(t->name, &own, err);

	if (rc < 0)
		return rc;
	*ret = find_layer(d, &own);
	if (*ret < d->doc.n_layers)
		return 0;
	rc = image_layers(b->rt, t->snapshot, &chain, &n, err);
	if (rc < 0)
		return rc;
	l = &d->doc.layers[d->doc.n_layers];
	*l = (struct depot_layer){ .chain = own,
				   .has_below = n > 1,
				   .size_bytes = chain[n - 1].size_bytes };
	rc = digest_parse(chain[n - 1].diff_id, &l->diff_id, err);
	if (rc >= 0 && n > 1)
		rc = digest_parse(chain[n - 2].chain_id, &l->below, err);
	d->snapshots[d->doc.n_layers++] = t->snapshot;
	return rc;
}

static int add_record(struct build *b, struct draft *d, const struct trail_step *t, struct err *err)
{
	struct depot_record *rec = &d->doc.records[d->doc.n_records];
	int rc = 0;

	*rec = (struct depot_record){ .has_layer = t->has_layer, .created_s = t->created_s };
	if (t->is_tainted || !trail_key(b, t->ingredients, t->platform, &rec->key))
		return 0;
	if (t->has_layer)
		rc = add_layer(b, d, t, &rec->layer, err);
	d->doc.n_records += rc >= 0;
	return rc;
}

static void draft_begin(const struct depots *depots, struct draft *d)
{
	d->doc.layers = mem_array(depots->n + 1, sizeof(*d->doc.layers));
	d->doc.records = mem_array(depots->n + 1, sizeof(*d->doc.records));
	d->snapshots = mem_array(depots->n + 1, sizeof(*d->snapshots));
}

static int draft_make(struct build *b, bool is_max, struct draft *d, struct err *err)
{
	const struct depots *depots = b->depots;
	int rc = 0;

	if (depots->n > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu steps, at most %d leave", depots->n,
			       DEPOT_RECORDS_MAX);
	draft_begin(depots, d);
	for (size_t i = 0; i < depots->n && rc >= 0; i++)
		if (is_max || depots->v[i].in_target)
			rc = add_record(b, d, &depots->v[i], err);
	return rc;
}

static int write_one(struct build *b, const struct depot_spec *s, struct err *err)
{
	cleanup(draft_free) struct draft d = { 0 };
	struct image_pull_opts o = { 0 };
	auto_free char *text = NULL;
	int rc = draft_make(b, s->is_max, &d, err);

	if (rc < 0)
		return rc;
	text = depot_doc_text(&d.doc);
	build_transfer_opts(b, &o);
	o.pack = s->pack;
	return image_depot_write(b->rt, &s->at,
				 &(struct image_depot_new){ text, d.snapshots, d.doc.n_layers }, &o,
				 err);
}

static int write_all(struct build *b, struct err *err)
{
	struct depots *d = b->depots;

	for (size_t i = 0; i < d->n_to; i++) {
		const struct depot_spec *s = &d->to[i];
		struct err why = { 0 };
		auto_free char *text = NULL;

		if (s->is_inline || write_one(b, s, &why) >= 0)
			continue;
		err_ctx(&why, "--cache-to %.100s", s->text);
		if (!s->ignore_error || why.code == EINTR) {
			*err = why;
			return -why.code;
		}
		text = mem_str(why.msg);
		build_emit(b, &(struct build_event){ .kind = BUILD_WARNING, .text = text });
	}
	return 0;
}

int depots_write(struct build *b, struct err *err)
{
	bool is_max = false, is_any = false;
	int rc;

	for (size_t i = 0; b->depots && i < b->depots->n_to; i++) {
		is_any |= !b->depots->to[i].is_inline;
		is_max |= b->depots->to[i].is_max;
	}
	if (!is_any)
		return 0;
	rc = fetch_all(b, is_max, err);
	if (rc >= 0)
		rc = settle_all(b, err);
	if (rc < 0)
		return err_ctx(err, "--cache-to");
	depots_close_sources(b);
	return write_all(b, err);
}

/* --- inline --- */

/* Layers are counted as the image has them, base and all. */
static int number_layers(struct build *b, const struct stage_state *st, struct draft *d,
			 struct err *err)
{
	auto_free struct image_layer *chain = NULL;
	size_t n = 0, kept = 0;
	int rc = image_layers(b->rt, st->snapshot, &chain, &n, err);

	for (size_t i = 0; i < d->doc.n_records && rc >= 0; i++) {
		struct depot_record rec = d->doc.records[i];
		const struct depot_layer *l = &d->doc.layers[rec.layer];
		size_t k = 0;

		while (rec.has_layer && k < n && !str_eq(chain[k].chain_id, digest_str(&l->chain)))
			k++;
		rec.layer = k;
		if (!rec.has_layer || k < n)
			d->doc.records[kept++] = rec;
	}
	d->doc.n_records = kept;
	return rc;
}

int depots_inline(struct build *b, struct stage_state *st, struct err *err)
{
	cleanup(draft_free) struct draft d = { 0 };
	bool is_asked = false;
	int rc;

	for (size_t i = 0; b->depots && i < b->depots->n_to; i++)
		is_asked |= b->depots->to[i].is_inline;
	if (!is_asked)
		return 0;
	rc = fetch_all(b, false, err);
	if (rc >= 0)
		rc = settle_all(b, err);
	if (rc >= 0)
		rc = draft_make(b, false, &d, err);
	if (rc >= 0)
		rc = number_layers(b, st, &d, err);
	if (rc < 0)
		return err_ctx(err, "--cache-to type=inline");
	free(st->config->cache);
	st->config->cache = depot_doc_records(&d.doc);
	return 0;
}
