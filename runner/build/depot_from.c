/* SPDX-License-Identifier: Apache-2.0 */
/* What a build reads of depots: their documents at the beginning, then a record at each miss. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/hash.h>

#include "depot.h"
#include "mount.h"

static void source_free(struct depot_source *s)
{
	depot_spec_free(&s->spec);
	image_depot_doc_free(&s->at);
	depot_doc_free(&s->doc);
}

static void close_sources(struct depots *d)
{
	for (size_t i = 0; i < d->n_from; i++)
		source_free(&d->from[i]);
	free(d->from);
	d->from = NULL;
	d->n_from = 0;
}

static void step_drop(struct trail_step *t)
{
	json_decref(t->ingredients);
	json_decref(t->content);
	free(t->platform);
	free(t->parent);
	free(t->text);
	free(t->config);
	free(t->keys);
	if (t->before)
		stage_state_free(t->before);
	free(t->before);
}

void depots_free(struct build *b)
{
	struct depots *d = b->depots;

	if (!d)
		return;
	close_sources(d);
	for (size_t i = 0; i < d->n_to; i++)
		depot_spec_free(&d->to[i]);
	free(d->to);
	for (size_t i = 0; i < d->n; i++)
		step_drop(&d->v[i]);
	free(d->v);
	free(d);
	b->depots = NULL;
}

/* --build-arg BUILDKIT_INLINE_CACHE=1 is how docker build was asked for type=inline. */
static bool is_inline_asked(const struct build *b)
{
	return bool_is_true(strv_env_get(&b->build_args, "BUILDKIT_INLINE_CACHE"));
}

int depots_parse(struct build *b, struct err *err)
{
	const struct strv *from = &b->o->cache_from;
	auto_strv struct strv to = { 0 };
	struct depots *d;
	int rc = 0;

	strv_copy(&to, &b->o->cache_to);
	if (is_inline_asked(b))
		strv_add(&to, "type=inline");
	if (!from->n && !to.n)
		return 0;
	d = b->depots = mem_alloc(sizeof(*d));
	d->from = mem_array(from->n + 1, sizeof(*d->from));
	d->to = mem_array(to.n + 1, sizeof(*d->to));
	for (size_t i = 0; i < from->n && rc >= 0; i++) {
		d->from[i].at.lock_fd = -1;
		rc = depot_spec_parse(from->v[i], false, &d->from[i].spec, err);
		d->n_from = i + 1;
	}
	for (size_t i = 0; i < to.n && rc >= 0; i++) {
		rc = depot_spec_parse(to.v[i], true, &d->to[i], err);
		d->n_to += rc >= 0;
	}
	return rc;
}

static int read_source(struct build *b, struct depot_source *s, struct err *err)
{
	struct image_pull_opts o = { 0 };
	int rc;

	build_transfer_opts(b, &o);
	o.platform = b->o->platform; /* of an index of images */
	rc = image_depot_read(b->rt, &s->spec.at, &o, &s->at, err);
	if (rc >= 0)
		rc = depot_doc_parse(s->at.text, s->at.len, s->at.is_image, &s->doc, err);
	if (rc >= 0 && s->doc.n_layers != s->at.n)
		rc = err_set(err, EBADMSG, "its records name %zu layers, its manifest %zu",
			     s->doc.n_layers, s->at.n);
	if (rc < 0)
		depot_doc_free(&s->doc);
	return rc;
}

/* As elsewhere: the first build of a branch finds none, and is no failure. */
int depots_open(struct build *b, struct err *err)
{
	for (size_t i = 0; b->depots && i < b->depots->n_from; i++) {
		struct depot_source *s = &b->depots->from[i];
		auto_free char *text = NULL;
		struct err why = { 0 };
		int rc = read_source(b, s, &why);

		if (rc >= 0)
			continue;
		if (rc == -EINTR) {
			*err = why;
			return rc;
		}
		text = mem_fmt("--cache-from %s is not used: %s", s->spec.text, why.msg);
		build_emit(b, &(struct build_event){ .kind = BUILD_WARNING, .text = text });
	}
	return 0;
}

/* Is the record's layer one upon what the stage stands on? name: of that, as keys that leave have
 * it. */
static bool is_upon(const struct depot_layer *l, const char *name)
{
	return l->has_below ? str_eq(name, digest_str(&l->below)) : str_eq(name, "scratch");
}

/* The row that such a step became here: by the portable key, within the scope. */
static void make_alias(const struct step_run *r, const struct digest *key, struct depot_hit *hit)
{
	auto_hash struct hash *h = hash_new();
	const char *scope = r->b->o->scope;

	hash_field_str(h, "depot 1");
	hash_field_str(h, scope && *scope ? scope : NULL);
	hash_add(h, key->b, DIGEST_LEN);
	hash_end(h, &hit->alias.digest);
}

static int find_row(struct step_run *r, struct err *err)
{
	auto_step struct step s = { 0 };
	int rc = cache_find(r->b->rt, &r->hit.alias, &s, err);

	r->hit.is_row = rc > 0;
	return rc;
}

/* An absent layer has no DiffID by which its ChainID could be checked: what is here by that name
 * may be upon something else. */
static bool stands_on(struct build *b, int64_t snapshot, const struct depot_layer *l)
{
	auto_free struct image_layer *v = NULL;
	struct err ignored = { 0 };
	size_t n = 0;

	if (image_layers(b->rt, snapshot, &v, &n, &ignored) < 0)
		return false;
	return l->has_below ? n > 1 && str_eq(v[n - 2].chain_id, digest_str(&l->below)) : n == 1;
}

/* 1; of a layer that is neither there nor here another source may have more. below NULL: no layer.
 */
static int look_in(struct step_run *r, const struct depot_source *s, const struct digest *key,
		   const char *below)
{
	const struct depot_record *rec = depot_doc_find(&s->doc, key);
	const struct depot_layer *l = rec && rec->has_layer ? depot_doc_layer(&s->doc, rec) : NULL;
	int64_t snapshot = l ? image_layer_find(r->b->rt, &l->chain) : 0;
	bool is_absent = l && rec->is_absent && !snapshot;
	/* What cannot run later has nothing absent beneath it either. */
	bool is_late = l && !snapshot && (rec->is_absent || stage_is_absent(r->b, r->st));

	if (!rec || rec->has_layer != (below != NULL) || (l && !is_upon(l, below)) ||
	    (is_late && !r->st->before) || (is_absent && r->hit.record))
		return 0;
	if (l && rec->is_absent && snapshot && !stands_on(r->b, snapshot, l))
		return 0;
	r->hit.source = s;
	r->hit.record = rec;
	r->hit.snapshot = snapshot;
	return !is_absent;
}

int depots_find(struct step_run *r, const struct key *k, bool has_layer, struct err *err)
{
	const struct depots *d = r->b->depots;
	struct depot_hit *hit = &r->hit;
	const char *below;
	struct digest key;
	int rc;

	*hit = (struct depot_hit){ 0 };
	if (!d || !d->n_from || r->st->no_cache)
		return 0;
	below = trail_name(r->b, r->st->fs_parent);
	if (!below || !trail_key_of(r->b, k->ingredients, r->st->config, &key))
		return 0;
	make_alias(r, &key, hit);
	rc = find_row(r, err);
	for (size_t i = 0; i < d->n_from && rc == 0; i++)
		rc = look_in(r, &d->from[i], &key, has_layer ? below : NULL);
	return rc == 0 && hit->record ? 1 : rc;
}

/* Nothing of them is needed any more: who writes where we read need not leave anything lying. */
void depots_close_sources(struct build *b)
{
	close_sources(b->depots);
}
