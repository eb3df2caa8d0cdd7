/* SPDX-License-Identifier: Apache-2.0 */
/* What a build leaves in depots, when its image is written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "depot.h"

static void draft_free(struct depot_draft *d)
{
	depot_doc_free(&d->doc);
	free(d->snapshots);
	d->snapshots = NULL;
}

struct build_leaving *build_leaving_new(size_t builds)
{
	struct build_leaving *l = mem_alloc(sizeof(*l));

	l->builds = builds;
	return l;
}

void build_leaving_free(struct build_leaving *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		draft_free(&l->v[i]);
	if (l)
		free(l->v);
	free(l);
}

bool depots_want_content(const struct build *b)
{
	for (size_t i = 0; b->depots && i < b->depots->n_to; i++)
		if (!b->depots->to[i].is_max)
			return true;
	return false;
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
		if (d->v[i - 1].has_layer && (is_max || d->v[i - 1].in_target) &&
		    !trail_is_absent(d, i))
			rc = trail_fetch(b, i, err);
	return rc;
}

static size_t find_layer(const struct depot_draft *d, const struct digest *chain)
{
	size_t i = 0;

	while (i < d->doc.n_layers && !digest_eq(&d->doc.layers[i].chain, chain))
		i++;
	return i;
}

/* Only told of: by what is here, or by what another depot said. */
static int add_absent(struct build *b, struct depot_draft *d, const struct trail_step *t,
		      size_t *ret, struct err *err)
{
	auto_free struct image_layer *chain = NULL;
	struct depot_layer *l = &d->doc.absent[d->doc.n_absent];
	size_t n = 0;
	int rc = 0;

	*l = t->at;
	if (t->snapshot) {
		rc = image_layers(b->rt, t->snapshot, &chain, &n, err);
		if (rc < 0)
			return rc;
		*l = (struct depot_layer){ .has_below = n > 1,
					   .size_bytes = chain[n - 1].size_bytes };
		rc = digest_parse(chain[n - 1].chain_id, &l->chain, err);
		if (rc >= 0 && n > 1)
			rc = digest_parse(chain[n - 2].chain_id, &l->below, err);
	}
	*ret = d->doc.n_absent;
	d->doc.n_absent += rc >= 0;
	return rc;
}

static int add_layer(struct build *b, struct depot_draft *d, const struct trail_step *t,
		     size_t *ret, struct err *err)
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

static size_t add_key(struct digest *v, size_t n, const struct digest *key)
{
	for (size_t i = 0; i < n; i++)
		if (digest_eq(&v[i], key))
			return n;
	v[n] = *key;
	return n + 1;
}

static size_t keys_of(struct build *b, const struct trail_step *t,
		      struct digest ret[TRAIL_KEYS_MAX])
{
	size_t n = 0;

	if (t->is_tainted || t->is_replaced || (t->has_layer && !t->name[0]))
		return 0;
	n += t->ingredients && trail_key(b, t->ingredients, t->platform, &ret[n]);
	n += t->content && trail_key(b, t->content, t->platform, &ret[n]);
	for (size_t i = 0; i < t->n_keys; i++)
		n = add_key(ret, n, &t->keys[i]);
	return n;
}

static int add_records(struct build *b, struct depot_draft *d, const struct trail_step *t,
		       bool is_carried, struct err *err)
{
	struct digest keys[TRAIL_KEYS_MAX];
	size_t n = keys_of(b, t, keys);
	struct depot_record rec = { .has_layer = t->has_layer,
				    .is_absent = t->has_layer && !is_carried,
				    .created_s = t->created_s };
	int rc = 0;

	if (n && t->has_layer)
		rc = is_carried ? add_layer(b, d, t, &rec.layer, err)
				: add_absent(b, d, t, &rec.layer, err);
	for (size_t i = 0; i < n && rc >= 0; i++) {
		rec.key = keys[i];
		d->doc.records[d->doc.n_records++] = rec;
	}
	return rc;
}

/* Room for what the trail may add. */
static void draft_grow(const struct depots *depots, struct depot_draft *d)
{
	size_t layers = d->doc.n_layers + depots->n + 1, absent = d->doc.n_absent + depots->n + 1;
	size_t records = d->doc.n_records + depots->n * TRAIL_KEYS_MAX + 1;

	d->doc.layers = mem_grow(d->doc.layers, layers, sizeof(*d->doc.layers));
	d->doc.absent = mem_grow(d->doc.absent, absent, sizeof(*d->doc.absent));
	d->snapshots = mem_grow(d->snapshots, layers, sizeof(*d->snapshots));
	d->doc.records = mem_grow(d->doc.records, records, sizeof(*d->doc.records));
}

static int draft_add(struct build *b, bool is_max, struct depot_draft *d, struct err *err)
{
	const struct depots *depots = b->depots;
	int rc = 0;

	draft_grow(depots, d);
	for (size_t i = 0; i < depots->n && rc >= 0; i++) {
		const struct trail_step *t = &depots->v[i];

		rc = add_records(b, d, t, (is_max || t->in_target) && t->snapshot, err);
	}
	if (rc >= 0 && d->doc.n_records > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu records, at most %d leave", d->doc.n_records,
			       DEPOT_RECORDS_MAX);
	return rc;
}

/* Where the n-th of the command line is put together, for all builds that leave something there. */
static struct depot_draft *draft_of(struct build *b, size_t n, struct depot_draft *own)
{
	struct build_leaving *l = b->o->leaving;

	if (!l)
		return own;
	if (!l->v) {
		l->n = b->depots->n_to;
		l->v = mem_array(l->n, sizeof(*l->v));
	}
	return &l->v[n];
}

static int write_one(struct build *b, size_t n, bool is_last, struct err *err)
{
	cleanup(draft_free) struct depot_draft own = { 0 };
	const struct depot_spec *s = &b->depots->to[n];
	struct depot_draft *d = draft_of(b, n, &own);
	struct image_pull_opts o = { 0 };
	auto_free char *text = NULL;
	int rc = draft_add(b, s->is_max, d, err);

	if (rc < 0 || !is_last)
		return rc;
	text = depot_doc_text(&d->doc);
	build_transfer_opts(b, &o);
	o.pack = s->pack;
	return image_depot_write(b->rt, &s->at,
				 &(struct image_depot_new){ text, d->snapshots, d->doc.n_layers },
				 &o, err);
}

static int write_all(struct build *b, struct err *err)
{
	struct depots *d = b->depots;
	bool is_last = !b->o->leaving || b->o->leaving->builds-- <= 1;

	for (size_t i = 0; i < d->n_to; i++) {
		const struct depot_spec *s = &d->to[i];
		struct err why = { 0 };
		auto_free char *text = NULL;

		if (s->is_inline || write_one(b, i, is_last, &why) >= 0)
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
static int number_layers(struct build *b, const struct stage_state *st, struct depot_draft *d,
			 struct err *err)
{
	auto_free struct image_layer *chain = NULL;
	size_t n = 0, kept = 0;
	int rc = image_layers(b->rt, st->snapshot, &chain, &n, err);

	for (size_t i = 0; i < d->doc.n_records && rc >= 0; i++) {
		struct depot_record rec = d->doc.records[i];
		const struct depot_layer *l = &d->doc.layers[rec.layer];
		size_t k = 0;

		if (!rec.has_layer || rec.is_absent) {
			d->doc.records[kept++] = rec;
			continue;
		}
		while (k < n && !str_eq(chain[k].chain_id, digest_str(&l->chain)))
			k++;
		rec.layer = k;
		if (k < n)
			d->doc.records[kept++] = rec;
	}
	d->doc.n_records = kept;
	return rc;
}

int depots_inline(struct build *b, struct stage_state *st, struct err *err)
{
	cleanup(draft_free) struct depot_draft d = { 0 };
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
		rc = draft_add(b, false, &d, err);
	if (rc >= 0)
		rc = number_layers(b, st, &d, err);
	if (rc < 0)
		return err_ctx(err, "--cache-to type=inline");
	free(st->config->cache);
	st->config->cache = depot_doc_records(&d.doc);
	return 0;
}
