/* SPDX-License-Identifier: Apache-2.0 */
/* The trail of a build, what its results are called elsewhere, and the layers that come late. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/hash.h>

#include "depot.h"

enum { KEYS_MAX = TRAIL_KEYS_MAX - 2 };

static const char replaced[] = "\xef\xbf\xbd"; /* U+FFFD: bytes that JSON could not hold */

static char *platform_of(const struct image_config *c)
{
	return mem_fmt("%s/%s%s%s", c->os ? c->os : "", c->architecture ? c->architecture : "",
		       c->variant ? "/" : "", c->variant ? c->variant : "");
}

/* --- names --- */

static struct trail_step *find(const struct build *b, const char *id)
{
	for (size_t i = b->depots->n; i-- > 0;)
		if (!strcmp(b->depots->v[i].id, id))
			return &b->depots->v[i];
	return NULL;
}

const char *trail_name(const struct build *b, const char *name)
{
	const struct trail_step *t;

	if (!strcmp(name, "scratch") || str_starts(name, "sha256:"))
		return name;
	t = find(b, name);
	return t && t->name[0] ? t->name : NULL;
}

static bool is_id(const char *s)
{
	return strlen(s) == STEP_ID_LEN && s[strspn(s, "0123456789abcdef")] == 0;
}

/* "type=bind,… of RESULT" (run_source.c): the result under its other name. */
static int add_mount(const struct build *b, struct hash *h, const char *text)
{
	const char *at = NULL, *name;

	for (const char *next = text; (next = strstr(next, " of ")); next++)
		at = next + strlen(" of ");
	if (!at || (!is_id(at) && strcmp(at, "scratch") != 0 && !str_starts(at, "sha256:"))) {
		hash_field_str(h, text);
		return 1;
	}
	name = trail_name(b, at);
	if (!name)
		return 0;
	hash_field(h, text, (size_t)(at - text));
	hash_field_str(h, name);
	return 1;
}

static int add_text(const struct build *b, struct hash *h, const char *key, const char *text)
{
	bool is_result =
		!strcmp(key, "parent") || (!strcmp(key, "from") && strcmp(text, "content") != 0);

	if (strstr(text, replaced))
		return 0;
	if (!strcmp(key, "mounts"))
		return add_mount(b, h, text);
	if (is_result && *text) /* what is linked rests on nothing */
		text = trail_name(b, text);
	if (!text)
		return 0;
	hash_field_str(h, text);
	return 1;
}

static int add_value(const struct build *b, struct hash *h, const char *key, const json_t *value)
{
	uint64_t n = json_array_size(value);
	const json_t *o;
	size_t i;

	/* What is in a directory of this host stands in no key. */
	if (!strcmp(key, "volumes") && n)
		return 0;
	if (json_is_string(value))
		return add_text(b, h, key, json_string_value(value));
	if (json_is_null(value)) {
		hash_field_str(h, NULL);
		return 1;
	}
	hash_field(h, &n, sizeof(n));
	json_array_foreach(value, i, o)
	{
		if (!json_is_string(o) || add_text(b, h, key, json_string_value(o)) == 0)
			return 0;
	}
	return json_is_array(value);
}

int trail_key(const struct build *b, json_t *ingredients, const char *platform, struct digest *ret)
{
	auto_hash struct hash *h = hash_new();
	auto_strv struct strv names = { 0 };

	/* What is made of an image's layers afterwards is made again. */
	if (str_eq(json_get_str(ingredients, "kind"), "squash"))
		return 0;
	for (void *at = json_object_iter(ingredients); at;
	     at = json_object_iter_next(ingredients, at))
		strv_add(&names, json_object_iter_key(at));
	strv_sort(&names);
	hash_field_str(h, "portable 1"); /* raise it when the meaning of a key changes */
	hash_field_str(h, platform);
	for (size_t i = 0; i < names.n; i++) {
		if (!strcmp(names.v[i], "scope"))
			continue;
		hash_field_str(h, names.v[i]);
		if (!add_value(b, h, names.v[i], json_object_get(ingredients, names.v[i])))
			return 0;
	}
	hash_end(h, ret);
	return 1;
}

int trail_key_of(const struct build *b, json_t *ingredients, const struct image_config *c,
		 struct digest *ret)
{
	auto_free char *platform = platform_of(c);

	return trail_key(b, ingredients, platform, ret);
}

int trail_settle(struct build *b, struct trail_step *t, struct err *err)
{
	auto_free char *chain = NULL;
	struct digest key;
	int rc = 0;

	if (t->name[0])
		return 0;
	if (!t->has_layer) {
		if (trail_key(b, t->ingredients, t->platform, &key))
			snprintf(t->name, sizeof(t->name), "step:%s", digest_hex(&key));
		return 0;
	}
	if (t->snapshot)
		rc = db_get_str(b->rt->db, "SELECT chain_id FROM layers WHERE snapshot=?1",
				DB_ARGS(DB_I(t->snapshot)), &chain, err);
	if (rc > 0 && chain)
		snprintf(t->name, sizeof(t->name), "%s", chain);
	return rc < 0 ? rc : 0;
}

/* --- the trail --- */

static struct trail_step *add(struct step_run *r, const struct step *s, bool has_layer)
{
	struct depots *d = r->b->depots;
	struct stage_state *st = r->st;
	struct trail_step *t;

	mem_room(d->v, d->n, d->cap);
	t = &d->v[d->n++];
	*t = (struct trail_step){ .ingredients = json_incref(r->key->ingredients),
				  .content = r->content_key
						     ? json_incref(r->content_key->ingredients)
						     : NULL,
				  .platform = platform_of(st->config),
				  .has_layer = has_layer,
				  .in_target = st->in_target,
				  .is_tainted = s->tainted,
				  .created_s = s->created_s,
				  .size_bytes = s->size_bytes,
				  .key = r->key->digest };
	memcpy(t->id, s->id, sizeof(t->id));
	if (!has_layer) {
		t->on = st->fs_step;
		return t;
	}
	t->below = st->fs_step;
	t->base = t->below ? 0 : st->snapshot;
	st->fs_step = d->n;
	return t;
}

/* What the depot says leaves again, also what nobody here has looked for. */
static void note_source(const struct step_run *r, struct trail_step *t)
{
	const struct depot_record *rec = r->hit.record;
	const struct depot_doc *doc = rec ? &r->hit.source->doc : NULL;

	if (!rec || !rec->has_layer)
		return;
	t->at = *depot_doc_layer(doc, rec);
	if (!r->b->depots->n_to)
		return;
	t->keys = mem_array(KEYS_MAX, sizeof(*t->keys));
	for (size_t i = 0; i < doc->n_records && t->n_keys < KEYS_MAX; i++) {
		const struct depot_record *other = &doc->records[i];

		if (other->has_layer && other->is_absent == rec->is_absent &&
		    other->layer == rec->layer)
			t->keys[t->n_keys++] = other->key;
	}
}

void trail_add(struct step_run *r, const struct step *s, bool has_layer)
{
	struct err ignored = { 0 };
	struct trail_step *t;

	if (!r->b->depots)
		return;
	t = add(r, s, has_layer);
	t->snapshot = has_layer ? s->snapshot : 0;
	t->is_kept = true;
	note_source(r, t);
	trail_settle(r->b, t, &ignored);
}

void trail_defer(struct step_run *r, const struct step *s, bool has_layer)
{
	struct err ignored = { 0 };
	struct trail_step *t = add(r, s, has_layer);

	t->parent = mem_str(r->st->shown);
	t->text = mem_str(r->text);
	t->config = mem_str(s->config);
	t->alias = r->hit.alias.digest;
	t->has_alias = r->hit.record != NULL;
	if (has_layer) {
		t->source = r->hit.source;
		t->layer = r->hit.record->layer;
		t->is_absent = r->hit.record->is_absent;
		t->inst = r->inst;
		t->before = r->st->before;
		r->st->before = NULL;
		note_source(r, t);
		digest_format(&t->at.chain, t->name);
	}
	trail_settle(r->b, t, &ignored);
}

/* --- layers that come late --- */

/* The row that waited for its snapshot. */
static int keep(struct build *b, struct trail_step *t, int64_t snapshot, struct err *err)
{
	struct key k = { .digest = t->key, .ingredients = t->ingredients };
	struct key alias = { .digest = t->alias };
	struct step s = { .snapshot = snapshot,
			  .size_bytes = t->size_bytes,
			  .created_s = t->created_s,
			  .used_s = b->wall_s,
			  .config = t->config };
	int rc;

	if (t->is_kept)
		return 0;
	memcpy(s.id, t->id, sizeof(s.id));
	rc = cache_put(b->rt, &k, t->parent, t->text, &s, err);
	if (rc >= 0 && t->has_alias)
		rc = cache_alias(b->rt, &alias, t->id, err);
	t->is_kept = rc >= 0;
	return rc;
}

int trail_arrived(struct build *b, size_t i, int64_t snapshot, uint64_t size_bytes, struct err *err)
{
	struct depots *d = b->depots;
	struct trail_step *t = &d->v[i - 1];
	int rc;

	t->snapshot = snapshot;
	t->size_bytes = size_bytes;
	rc = keep(b, t, snapshot, err);
	for (size_t k = i; k < d->n && rc >= 0; k++)
		if (!d->v[k].has_layer && d->v[k].on == i)
			rc = keep(b, &d->v[k], snapshot, err);
	fault_point("build.depot.arrived");
	return rc;
}

/* Of one source: the steps run[0..n], upon each other. */
static int fetch_run(struct build *b, const size_t *run, size_t n, int64_t below, struct err *err)
{
	const struct depot_source *from = b->depots->v[run[0] - 1].source;
	auto_free struct image_depot_layer *layers = mem_array(n, sizeof(*layers));
	auto_free const struct image_depot_layer **list = mem_array(n, sizeof(void *));
	struct image_depot_want want = { .below = below, .layers = list, .n = n };
	auto_free struct image_layer *chain = NULL;
	struct image_pull_opts o = { 0 };
	size_t depth = 0;
	int64_t top = 0;
	int rc;

	for (size_t i = 0; i < n; i++) {
		size_t at = b->depots->v[run[i] - 1].layer;

		layers[i] = from->at.layers[at];
		layers[i].diff_id = from->doc.layers[at].diff_id;
		list[i] = &layers[i];
	}
	build_transfer_opts(b, &o);
	rc = image_depot_fetch(b->rt, &from->spec.at, &want, &o, &top, err);
	if (rc >= 0)
		rc = image_layers(b->rt, top, &chain, &depth, err);
	if (rc < 0) {
		err_ctx(err, "--cache-from %.100s", from->spec.text);
		return err_hint(err, "without it the steps run here");
	}
	for (size_t i = 0; i < n && rc >= 0; i++)
		rc = trail_arrived(b, run[i], chain[depth - n + i].snapshot,
				   chain[depth - n + i].size_bytes, err);
	return rc;
}

int trail_fetch(struct build *b, size_t i, struct err *err)
{
	struct depots *d = b->depots;
	auto_free size_t *run = mem_array(d->n + 1, sizeof(*run));
	int64_t below = 0;
	size_t n = 0, from;
	int rc = 0;

	for (; i && !d->v[i - 1].snapshot; i = d->v[i - 1].below) {
		below = d->v[i - 1].base;
		run[n++] = i;
	}
	if (i)
		below = d->v[i - 1].snapshot;
	for (size_t k = 0; k < n / 2; k++) {
		size_t t = run[k];

		run[k] = run[n - 1 - k];
		run[n - 1 - k] = t;
	}
	for (size_t k = 0; k < n && rc >= 0; k = from) {
		const struct depot_source *s = d->v[run[k] - 1].source;

		for (from = k + 1; from < n && d->v[run[from] - 1].source == s; from++)
			;
		rc = fetch_run(b, run + k, from - k, below, err);
		below = d->v[run[from - 1] - 1].snapshot;
	}
	return rc < 0 ? rc : 0;
}

bool stage_is_lazy(const struct stage_state *st)
{
	return st->snapshot == STAGE_LAZY;
}

int stage_whole(struct build *b, struct stage_state *st, struct err *err)
{
	int rc;

	if (!stage_is_lazy(st))
		return 0;
	rc = trail_again(b, st->fs_step, err);
	if (rc >= 0)
		rc = trail_fetch(b, st->fs_step, err);
	if (rc >= 0)
		st->snapshot = b->depots->v[st->fs_step - 1].snapshot;
	return rc;
}

int64_t stage_rests_on(const struct build *b, const struct stage_state *st)
{
	size_t i = stage_is_lazy(st) ? st->fs_step : 0;

	for (; i; i = b->depots->v[i - 1].below) {
		const struct trail_step *t = &b->depots->v[i - 1];

		if (t->snapshot || !t->below)
			return t->snapshot ? t->snapshot : t->base;
	}
	return st->snapshot;
}

int build_tree_whole(struct build *b, struct build_tree *t, struct err *err)
{
	int rc = t->stage ? stage_whole(b, t->stage, err) : 0;

	if (rc >= 0 && t->stage)
		t->snapshot = t->stage->snapshot;
	return rc;
}
