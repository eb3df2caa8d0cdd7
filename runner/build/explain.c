/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --explain: a step that ran is compared with the record of an earlier build that is most like it.
 * Both are ingredients by name, so that what a key gains tomorrow is explained without a word here.
 */
#include "explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	CANDIDATES_MAX = 200,
	NAMED_MAX = 5,
	SHOWN_MAX = 60,
	/* How far two records are apart: an edited line in its old place is nearer than the same
	   line in another one. */
	FAR_PLACE = 3000,
	FAR_TEXT = 2000,
	FAR_FIELD = 1000,
	ITEMS_MANY = FAR_FIELD - 1,
	NEAR_PREFIX_MAX = 999,
};

struct candidate {
	char id[STEP_ID_LEN + 1];
	int64_t snapshot;
	char *text;
	json_t *ingredients;
	size_t distance;
};

static void candidate_free(struct candidate *c)
{
	free(c->text);
	json_decref(c->ingredients);
}

void reasons_add(struct reasons *r, const char *what)
{
	str_addf(&r->text, "%s%s", r->text.len ? ", " : "", what);
}

void reasons_more(struct reasons *r, size_t told, size_t shown)
{
	if (told > shown)
		str_addf(&r->text, " and %zu more", told - shown);
}

static void add_change(struct reasons *r, const char *name, const char *old, const char *now)
{
	auto_free char *what =
		mem_fmt("%s %.*s -> %.*s", name, SHOWN_MAX, old && *old ? old : "(none)", SHOWN_MAX,
			now && *now ? now : "(none)");

	reasons_add(r, what);
}

static const char *field(const json_t *ingredients, const char *name)
{
	return json_get_str(ingredients, name);
}

static bool is_old_place(const struct step_run *r, const char *parent)
{
	return parent && (str_eq(parent, field(r->key->ingredients, "parent")) ||
			  str_eq(parent, r->st->like) || str_eq(parent, r->st->like_fs));
}

static size_t common_prefix(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

static bool has_value(const json_t *list, const json_t *want)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (json_equal(v, want)) return true;
	return false;
}

static size_t missing(const json_t *from, const json_t *in)
{
	const json_t *v;
	size_t i, n = 0;

	json_array_foreach(from, i, v) n += !has_value(in, v);
	return n;
}

/* One variable of twenty is less than all of them. */
static size_t field_distance(const json_t *a, const json_t *b)
{
	size_t n = missing(a, b) + missing(b, a);

	if (json_equal(a, b))
		return 0;
	return json_is_array(a) && json_is_array(b) && n < ITEMS_MANY ? 1 + n : FAR_FIELD;
}

static size_t distance(const struct step_run *r, const struct candidate *c)
{
	size_t d = is_old_place(r, field(c->ingredients, "parent")) ? 0 : FAR_PLACE, near;
	const char *name;
	json_t *value;

	json_object_foreach(r->key->ingredients, name, value) if (strcmp(name, "parent") != 0) d +=
		field_distance(value, json_object_get(c->ingredients, name));
	if (str_eq(c->text, r->text))
		return d;
	near = common_prefix(c->text, r->text);
	return d + FAR_TEXT - (near < NEAR_PREFIX_MAX ? near : NEAR_PREFIX_MAX);
}

static int consider(const struct step_run *r, struct db_stmt *row, struct candidate *best)
{
	struct candidate c = { .snapshot = db_col_int(row, 1) };
	const char *ingredients = db_col_str(row, 3);
	struct err ignored;

	snprintf(c.id, sizeof(c.id), "%s", db_col_str(row, 0));
	if (json_parse(ingredients, strlen(ingredients), &c.ingredients, &ignored) < 0)
		return 0;
	c.text = mem_str(db_col_str(row, 2));
	c.distance = distance(r, &c);
	if (!str_eq(field(c.ingredients, "kind"), field(r->key->ingredients, "kind")) ||
	    (best->ingredients && c.distance >= best->distance)) {
		candidate_free(&c);
		return 0;
	}
	candidate_free(best);
	*best = c;
	return 1;
}

/* Records that this build made itself explain nothing. */
static int find_last(struct build *b, struct err *err)
{
	int64_t last = 0;
	int rc = 0;

	if (!b->explain_before)
		rc = db_get_int(b->rt->db, "SELECT coalesce(max(rowid),0)+1 FROM steps", NULL,
				&last, err);
	if (rc > 0)
		b->explain_before = last;
	return rc < 0 ? rc : 0;
}

/* Those that no key names were made by hand, or were replaced by --no-cache. */
static int find_candidate(const struct step_run *r, struct candidate *ret, struct err *err)
{
	static const char sql[] =
		"SELECT id,snapshot,instruction,ingredients FROM steps WHERE rowid<?1"
		" AND (instruction=?2 OR parent=?3 OR parent=?4 OR parent=?5)"
		" AND id IN (SELECT step FROM step_keys) ORDER BY rowid DESC LIMIT ?6";
	auto_db_stmt struct db_stmt *rows = NULL;
	int rc = db_query(r->b->rt->db, sql,
			  DB_ARGS(DB_I(r->b->explain_before), DB_T(r->text), DB_T(r->st->parent),
				  DB_T(r->st->like), DB_T(r->st->shown), DB_I(CANDIDATES_MAX)),
			  &rows, err);

	while (rc >= 0 && (rc = db_step(rows, err)) > 0)
		consider(r, rows, ret);
	return rc;
}

static bool has_name(const json_t *list, const char *pair)
{
	size_t i, n = strcspn(pair, "=");
	const json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *have = json_string_value(v);

		if (have && !strncmp(have, pair, n) && have[n] == '=')
			return true;
	}
	return false;
}

/* Only the name: the value may be a password. */
static char *variable(const struct stage_state *st, const char *pair, const char *what)
{
	auto_free char *name = mem_strn(pair, strcspn(pair, "="));
	bool is_arg = strv_env_get(&st->scope.args, name) != NULL;

	return mem_fmt("%s %.*s %s", is_arg ? "build arg" : "env", SHOWN_MAX, name, what);
}

/* One that only its list has; NULL for a variable that is told as an item of the other one. */
static char *item_text(const struct stage_state *st, const char *name, const char *s,
		       const json_t *other, bool is_new)
{
	const char *what = is_new ? "added" : "removed";

	if (strcmp(name, "env") != 0)
		return mem_fmt("%s: %.*s %s", name, SHOWN_MAX, s, what);
	if (!has_name(other, s))
		return variable(st, s, what);
	return is_new ? variable(st, s, "changed") : NULL;
}

struct telling {
	struct reasons *r;
	const struct stage_state *st;
	const char *name;
	size_t told;
};

static void tell_items(struct telling *t, const json_t *list, const json_t *other, bool is_new)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		auto_free char *text = NULL;

		if (s && !has_value(other, v))
			text = item_text(t->st, t->name, s, other, is_new);
		if (text && ++t->told <= NAMED_MAX)
			reasons_add(t->r, text);
	}
}

static void tell_lists(struct reasons *r, const struct stage_state *st, const char *name,
		       const json_t *old, const json_t *now)
{
	struct telling t = { r, st, name, 0 };

	tell_items(&t, now, old, true);
	tell_items(&t, old, now, false);
	reasons_more(r, t.told, NAMED_MAX);
	if (!t.told)
		add_change(r, name, "one order", "another");
}

/* Did the step of this id run in this build? */
static int is_new_step(const struct step_run *r, const char *id, struct err *err)
{
	int64_t row;

	return db_get_int(r->b->rt->db, "SELECT rowid FROM steps WHERE id=?1 AND rowid>=?2",
			  DB_ARGS(DB_T(id), DB_I(r->b->explain_before)), &row, err);
}

static int tell_parent(struct reasons *why, const struct step_run *r, const char *old,
		       struct err *err)
{
	const struct plan_stage *ps = &r->b->plan->stages[r->st->index];
	const char *now = field(r->key->ingredients, "parent");
	int rc = is_new_step(r, now, err);

	if (rc < 0)
		return rc;
	if (rc > 0) {
		reasons_add(why, "the step before it ran anew");
	} else if (str_starts(now, "sha256:")) {
		bool is_image = ps->base == PLAN_IMAGE || ps->base == PLAN_CONTEXT;
		auto_free char *name = mem_fmt("base image %s", is_image ? ps->base_ref : "");

		add_change(why, name, old, now);
	} else {
		reasons_add(why, "the step before it is another one");
	}
	return 0;
}

/* Of a stage the name tells only that it was built anew: its files say more, where they are known.
 */
static int tell_files(struct reasons *why, const struct step_run *r, const struct candidate *c,
		      struct err *err)
{
	struct err e = { 0 };
	int rc = c->snapshot ? sources_compare(r->copy, r->b->rt->snap, c->snapshot, why, &e)
			     : -ENOENT;
	bool is_known = rc != -ENOENT && rc != -EBADMSG;

	if (rc < 0 && is_known) {
		*err = e;
		return rc;
	}
	/* What came from a URL is in no list. */
	if (!is_known || (rc == 0 && !str_eq(field(c->ingredients, "content"),
					     field(r->key->ingredients, "content"))))
		reasons_add(why, "content of the source");
	return 0;
}

static bool is_text(const char *name)
{
	return !strcmp(name, "instruction") || !strcmp(name, "argv") || !strcmp(name, "dir");
}

static bool is_source(const char *name)
{
	return !strcmp(name, "from") || !strcmp(name, "content");
}

/* One ingredient; NULL where it is missing. */
static int tell_field(struct reasons *why, const struct step_run *r, const struct candidate *c,
		      const char *name, struct err *err)
{
	const json_t *old = json_object_get(c->ingredients, name),
		     *now = json_object_get(r->key->ingredients, name);

	if ((old && now && json_equal(old, now)) || is_text(name) || is_source(name))
		return 0;
	if (!strcmp(name, "parent"))
		return tell_parent(why, r, field(c->ingredients, name), err);
	if (!strcmp(name, "script") || !strcmp(name, "heredocs"))
		reasons_add(why, "text of the heredoc");
	else if (json_is_array(old) || json_is_array(now))
		tell_lists(why, r->st, name, old, now);
	else
		add_change(why, name, json_string_value(old), json_string_value(now));
	return 0;
}

static int tell_all(struct reasons *why, const struct step_run *r, const struct candidate *c,
		    struct err *err)
{
	const char *name;
	json_t *value;
	int rc = 0;

	if (!str_eq(c->text, r->text))
		add_change(why, "instruction", c->text, r->text);
	else if (r->copy && r->copy->n_items)
		rc = tell_files(why, r, c, err);
	json_object_foreach(r->key->ingredients, name, value) if (rc >= 0) rc =
		tell_field(why, r, c, name, err);
	json_object_foreach(c->ingredients, name,
			    value) if (rc >= 0 && !json_object_get(r->key->ingredients, name)) rc =
		tell_field(why, r, c, name, err);
	return rc;
}

static int tell_record(struct reasons *why, struct step_run *r, struct err *err)
{
	cleanup(candidate_free) struct candidate c = { 0 };
	int rc = find_last(r->b, err);

	if (rc >= 0)
		rc = find_candidate(r, &c, err);
	if (rc < 0)
		return rc;
	if (!c.ingredients) {
		reasons_add(why, "no record yet");
		return 0;
	}
	rc = tell_all(why, r, &c, err);
	/* The next step is looked for after this one. */
	memcpy(r->st->like, c.id, sizeof(c.id));
	if (strcmp(field(c.ingredients, "kind"), "config") != 0)
		memcpy(r->st->like_fs, c.id, sizeof(c.id));
	if (!why->text.len)
		reasons_add(why, "its record is gone");
	return rc;
}

int explain_step(struct step_run *r, struct err *err)
{
	struct build_event e = { .kind = BUILD_EXPLAIN };
	bool is_resumed = step_is_resumed(r);
	struct reasons why = { 0 };
	int rc = 0;

	if (!r->b->o->explain && !is_resumed)
		return 0;
	if (is_resumed)
		reasons_add(&why, STEP_REPAIRED);
	else if (r->st->again[0])
		reasons_add(&why, "its layer is needed, and not in --cache-from");
	else if (r->st->no_cache)
		reasons_add(&why, r->b->o->no_cache ? "--no-cache" : "--no-cache-filter");
	else
		rc = tell_record(&why, r, err);
	e.text = str_get(&why.text);
	if (rc >= 0)
		build_emit(r->b, &e);
	str_free(&why.text);
	return rc;
}
