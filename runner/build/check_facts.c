/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the variables of each stage hold where an instruction stands, and which ones it uses that
 * are not there. An image that is not here may define any: then a name counts as missing only if it
 * looks like one that is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* A hostile file makes each lookup dear: what is beyond is not looked at. */
enum { MISSING_MAX = 5000, NEAR_MAX = 1000 };

/* At the end of a stage, for those that start from it. */
struct vars_state {
	struct strv env;      /* of the image, ENV and ARG: "k=v" */
	struct strv declared; /* ARGs without a value */
	bool unknown_base, shell_set, workdir_set;
};

struct walk {
	struct check *c;
	struct vars_state *ends; /* of the stages so far */
	struct vars_state *now;
	struct check_fact *fact;
	const char *raw; /* the word that is being expanded */
	size_t bytes;    /* of all values and words together */
	size_t looked;   /* names without a value so far */
};

static void state_free(struct vars_state *s)
{
	strv_free(&s->env);
	strv_free(&s->declared);
}

static void state_copy(struct vars_state *to, const struct vars_state *from)
{
	strv_copy(&to->env, &from->env);
	strv_copy(&to->declared, &from->declared);
	to->unknown_base = from->unknown_base;
	to->shell_set = from->shell_set;
	to->workdir_set = from->workdir_set;
}

/* ${name:-word} and its sisters: whoever writes that has thought of it. */
static bool is_guarded(const char *word, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = word; (p = strstr(p, "${")); p += 2) {
		const char *op = p + 2 + n;

		if (strncmp(p + 2, name, n) != 0)
			continue;
		op += *op == ':';
		if (*op && strchr("-+?", *op))
			return true;
	}
	return false;
}

static char *nearest(const struct walk *w, const char *name)
{
	const struct strv *lists[] = { &w->now->env, &w->now->declared };
	auto_strv struct strv names = { 0 };
	const char *near;

	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (size_t i = 0; i < lists[l]->n && names.n < NEAR_MAX; i++)
			/* An image that is not here may well have GOPATH. */
			if (!w->now->unknown_base || !str_starts(lists[l]->v[i], "PATH="))
				strv_add_take(&names, mem_strn(lists[l]->v[i],
							       strcspn(lists[l]->v[i], "=")));
	near = str_nearest(name, (const char *const *)strv_args(&names));
	return mem_str(near ? near : "");
}

static const char *lookup(const char *name, void *arg)
{
	/* Those that only a build sees. */
	static const char *const elsewhere[] = { "BUILDKIT_SBOM_SCAN_CONTEXT",
						 "BUILDKIT_SBOM_SCAN_STAGE" };
	struct walk *w = arg;
	const char *value = strv_env_get(&w->now->env, name);
	auto_free char *near = NULL;

	if (value || w->looked++ > MISSING_MAX || strv_has(&w->now->declared, name) ||
	    strv_has(&w->fact->missing, name) || is_guarded(w->raw, name))
		return value;
	for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
		if (!strcmp(name, elsewhere[i]))
			return NULL;
	near = nearest(w, name);
	if (w->now->unknown_base && !*near)
		return NULL;
	strv_add(&w->fact->missing, name);
	strv_add_take(&w->fact->near, take(near));
	return NULL;
}

/* "" for what cannot be expanded: the build says why. */
static char *expand(struct walk *w, const char *word)
{
	struct err ignored = { 0 };
	char *text = NULL;

	w->raw = word;
	if (w->bytes > ARG_BYTES_MAX ||
	    expand_word(word, w->c->d->escape, lookup, w, &text, &ignored) < 0)
		return mem_str("");
	w->bytes += strlen(text);
	return text;
}

static void set(struct walk *w, const char *name, const char *value)
{
	w->bytes += strlen(name) + strlen(value);
	if (w->bytes <= ARG_BYTES_MAX)
		strv_env_set(&w->now->env, name, value);
}

/* Build argument, default, global ARG, predefined. */
static void do_arg(struct walk *w, const char *word)
{
	const struct check *c = w->c;
	auto_free char *name = mem_strn(word, strcspn(word, "="));
	const char *eq = strchr(word, '=');
	const char *value = c->o->build_args ? strv_env_get(c->o->build_args, name) : NULL;
	auto_free char *fallback = NULL;
	struct check_fact *fact = w->fact;
	struct check_fact unseen = { 0 };

	w->fact = &unseen; /* the default may go unused */
	if (eq)
		fallback = expand(w, eq + 1);
	w->fact = fact;
	strv_free(&unseen.missing);
	strv_free(&unseen.near);
	value = value ? value : fallback;
	value = value ? value : strv_env_get(&c->p->global_args, name);
	value = value ? value : plan_builtin_arg(name, NULL, &c->p->platform);
	if (value)
		set(w, name, value);
	else
		strv_add(&w->now->declared, name);
}

static bool is_expanded(enum df_kind kind)
{
	static const bool kinds[DF_KINDS] = {
		[DF_ADD] = true,    [DF_COPY] = true,   [DF_ENV] = true,
		[DF_EXPOSE] = true, [DF_LABEL] = true,  [DF_STOPSIGNAL] = true,
		[DF_USER] = true,   [DF_VOLUME] = true, [DF_WORKDIR] = true,
	};

	return kinds[kind];
}

static void do_words(struct walk *w, const struct df_inst *i)
{
	for (size_t k = 0; k < i->args.n; k++)
		strv_add_take(&w->fact->words, expand(w, i->args.v[k]));
	for (size_t k = 0; k < i->n_flags; k++)
		if (i->flags[k].value)
			free(expand(w, i->flags[k].value));
	for (size_t k = 0; k < i->n_heredocs; k++) {
		auto_free char *ignored = NULL;
		struct err none = { 0 };

		w->raw = i->heredocs[k].body;
		if (i->heredocs[k].expand && w->bytes <= ARG_BYTES_MAX &&
		    expand_text(w->raw, '\\', lookup, w, &ignored, &none) == 0)
			w->bytes += strlen(ignored);
	}
}

static void do_inst(struct walk *w, const struct df_inst *i)
{
	w->fact = check_fact_of(w->c, i);
	w->fact->reached = true;
	w->fact->shell_set = w->now->shell_set;
	w->fact->workdir_set = w->now->workdir_set;
	if (is_expanded(i->kind))
		do_words(w, i);
	for (size_t k = 0; i->kind == DF_ARG && k < i->args.n; k++)
		do_arg(w, i->args.v[k]);
	/* All values of a line see what was before the line. */
	for (size_t k = 0; i->kind == DF_ENV && k < w->fact->words.n; k++) {
		const char *pair = w->fact->words.v[k], *eq = strchr(pair, '=');
		auto_free char *name = eq ? mem_strn(pair, (size_t)(eq - pair)) : NULL;

		if (name)
			set(w, name, eq + 1);
	}
	w->now->shell_set |= i->kind == DF_SHELL;
	w->now->workdir_set |= i->kind == DF_WORKDIR;
}

static void begin_stage(struct walk *w, size_t k)
{
	const struct plan_stage *s = &w->c->p->stages[k];
	const struct check_base *base = w->c->o->bases ? &w->c->o->bases[k] : NULL;

	if (s->base == PLAN_STAGE) {
		state_copy(w->now, &w->ends[s->base_stage]);
		return;
	}
	w->now->unknown_base =
		s->base == PLAN_CONTEXT || (s->base == PLAN_IMAGE && !(base && base->env));
	if (base && base->env) {
		strv_copy(&w->now->env, base->env);
		w->now->shell_set = base->has_shell;
	}
	if (!strv_env_get(&w->now->env, "PATH"))
		strv_env_set(&w->now->env, "PATH", "/usr/bin:/bin");
}

void check_facts_make(struct check *c)
{
	struct walk w = { .c = c };

	c->facts = mem_array(c->d->n, sizeof(*c->facts));
	w.ends = mem_array(c->p->n, sizeof(*w.ends));
	for (size_t k = 0; k < c->p->n; k++) {
		const struct plan_stage *s = &c->p->stages[k];

		w.now = &w.ends[k];
		/* What is not reached may name a base that is not reached either. */
		if (!s->needed && !c->o->all_stages)
			continue;
		check_fact_of(c, s->from)->reached = true;
		begin_stage(&w, k);
		for (size_t i = 0; i < s->n_inst; i++)
			do_inst(&w, &s->inst[i]);
	}
	for (size_t k = 0; k < c->p->n; k++)
		state_free(&w.ends[k]);
	mem_cleanup(&w.ends);
}

void check_facts_free(struct check *c)
{
	for (size_t i = 0; c->facts && i < c->d->n; i++) {
		strv_free(&c->facts[i].words);
		strv_free(&c->facts[i].missing);
		strv_free(&c->facts[i].near);
	}
	mem_cleanup(&c->facts);
}
