/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path patterns: Go's filepath.Match, and with "**" moby's patternmatcher.
 *
 * A pattern is run as a set of places in the path that the tokens so far can reach. There is no
 * going back, so a pattern costs tokens x length of the path at most, and in the usual case (the
 * set is one place) tokens.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "priv.h"

enum kind {
	TOK_CHAR,
	TOK_ANY,   /* ? */
	TOK_CLASS, /* [a-z] */
	TOK_STAR,  /* * */
	TOK_DIRS,  /* ** with something behind: (.*\/)? */
	TOK_REST,  /* ** at the end: .* */
};

struct tok {
	enum kind kind;
	bool negate;
	int32_t c;           /* TOK_CHAR */
	size_t first, count; /* TOK_CLASS: its ranges */
};

struct range {
	int32_t lo, hi;
};

struct glob {
	struct tok *tok;
	size_t n, cap;
	struct range *range;
	size_t n_range, cap_range;
};

void glob_free(struct glob *g)
{
	if (!g)
		return;
	mem_cleanup(&g->tok);
	mem_cleanup(&g->range);
	mem_cleanup(&g);
}

#define auto_glob cleanup(glob_cleanup)
static void glob_cleanup(struct glob **g)
{
	glob_free(*g);
}

static struct tok *tok_new(struct glob *g, enum kind kind)
{
	mem_room(g->tok, g->n, g->cap);
	g->tok[g->n] = (struct tok){ .kind = kind };
	return &g->tok[g->n++];
}

/* One end of a range: Go wants valid UTF-8, "-" and "]" escaped, and something behind it. */
static int class_char(const char **s, int32_t *ret)
{
	if (!**s || **s == '-' || **s == ']')
		return -EINVAL;
	if (**s == '\\' && !*++*s)
		return -EINVAL;
	*s += utf8_decode(*s, ret);
	return **s && *ret < UTF8_RAW ? 0 : -EINVAL;
}

static int class_parse(struct glob *g, const char **s)
{
	struct tok *t = tok_new(g, TOK_CLASS);

	t->first = g->n_range;
	t->negate = *++*s == '^';
	*s += t->negate;
	do {
		struct range r;

		if (class_char(s, &r.lo) < 0)
			return -EINVAL;
		r.hi = r.lo;
		if (**s == '-') {
			++*s;
			if (class_char(s, &r.hi) < 0)
				return -EINVAL;
		}
		mem_room(g->range, g->n_range, g->cap_range);
		g->range[g->n_range++] = r;
		t->count++;
	} while (**s != ']');
	++*s;
	return 0;
}

/* "**": swallows one slash behind it; at the end of the pattern it takes all. */
static void dirs_parse(struct glob *g, const char **s)
{
	*s += 2;
	if (**s == '/')
		++*s;
	tok_new(g, **s ? TOK_DIRS : TOK_REST);
}

static int tok_parse(struct glob *g, const char **s, bool dstar)
{
	switch (**s) {
	case '*':
		if (dstar && (*s)[1] == '*') {
			dirs_parse(g, s);
			return 0;
		}
		tok_new(g, TOK_STAR);
		++*s;
		return 0;
	case '?':
		tok_new(g, TOK_ANY);
		++*s;
		return 0;
	case '[':
		return class_parse(g, s);
	case '\\':
		if (!*++*s)
			return -EINVAL;
		break;
	}
	*s += utf8_decode(*s, &tok_new(g, TOK_CHAR)->c);
	return 0;
}

int glob_compile(const char *pattern, bool dstar, struct glob **ret)
{
	auto_glob struct glob *g = mem_alloc(sizeof(*g));

	if (strlen(pattern) > GLOB_BYTES_MAX)
		return -EINVAL;
	while (*pattern)
		if (tok_parse(g, &pattern, dstar) < 0)
			return -EINVAL;
	*ret = take(g);
	return 0;
}

static bool tok_takes(const struct glob *g, const struct tok *t, int32_t c)
{
	bool in = false;

	if (t->kind == TOK_CHAR)
		return c == t->c;
	if (t->kind == TOK_ANY)
		return c != '/';
	for (size_t i = 0; !in && i < t->count; i++)
		in = c >= g->range[t->first + i].lo && c <= g->range[t->first + i].hi;
	return in != t->negate;
}

/* The places reached: at[lo..hi], lo > hi when there is none. */
struct places {
	bool at[PATH_MAX + 1];
	size_t lo, hi;
};

/* A token that takes one character moves every place by one, or ends it. From the top, so that it
 * works in place. */
static bool step_one(const struct glob *g, const struct tok *t, const int32_t *path, size_t len,
		     struct places *p)
{
	bool any = false;

	for (size_t i = p->hi + 1; i-- > p->lo;) {
		if (i == len)
			continue;
		p->at[i + 1] = p->at[i] && tok_takes(g, t, path[i]);
		any |= p->at[i + 1];
	}
	p->lo++;
	if (p->hi < len)
		p->hi++;
	return any;
}

/* A star reaches further places from each one: along the name, behind each slash further on, or
 * everywhere. */
static void step_star(enum kind kind, const int32_t *path, size_t len, struct places *p)
{
	bool seen = false; /* a place at or before i */

	for (size_t i = p->lo; i < len; i++) {
		bool reach;

		seen |= p->at[i];
		reach = (kind == TOK_STAR && p->at[i] && path[i] != '/') ||
			(kind == TOK_DIRS && seen && path[i] == '/') || (kind == TOK_REST && seen);
		if (i + 1 > p->hi) {
			/* Nothing behind hi is reached by a star that stopped. */
			if (kind == TOK_STAR && !reach)
				return;
			p->at[i + 1] = false;
			p->hi = i + 1;
		}
		if (reach)
			p->at[i + 1] = true;
	}
}

bool glob_run(const struct glob *g, const char *path)
{
	int32_t c[PATH_MAX];
	struct places p;
	size_t len = 0;

	while (*path) {
		if (len == PATH_MAX)
			return false;
		path += utf8_decode(path, &c[len++]);
	}
	p.at[0] = true;
	p.lo = p.hi = 0;
	for (size_t i = 0; i < g->n; i++) {
		const struct tok *t = &g->tok[i];

		if (t->kind >= TOK_STAR)
			step_star(t->kind, c, len, &p);
		else if (!step_one(g, t, c, len, &p))
			return false;
	}
	return p.hi == len && p.at[len];
}

int glob_match(const char *pattern, const char *path)
{
	auto_glob struct glob *g = NULL;

	if (glob_compile(pattern, false, &g) < 0)
		return -EINVAL;
	return glob_run(g, path);
}
