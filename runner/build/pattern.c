/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patterns of ${v#p} and ${v/p/r}: "*" any text, "?" one character, "\" quotes "*", "?" and
 * itself. No brackets.
 *
 * Matching never goes back: a pattern is pieces of fixed length between stars, and taking each
 * piece at its first place gives the shortest match, and the last piece at its last place the
 * longest. So a hostile pattern costs pattern x value steps at most.
 */
#include <errno.h>
#include <string.h>

#include "priv.h"

enum { TOK_ANY = -1, TOK_STAR = -2 };

struct runes {
	int32_t *v;
	size_t n;
};

#define auto_runes cleanup(runes_free)
static void runes_free(struct runes *r)
{
	mem_cleanup(&r->v);
}

static void runes_reverse(struct runes *r)
{
	for (size_t i = 0; i < r->n / 2; i++) {
		int32_t c = r->v[i];

		r->v[i] = r->v[r->n - 1 - i];
		r->v[r->n - 1 - i] = c;
	}
}

static int runes_value(const char *s, struct runes *ret, struct err *err)
{
	size_t len = strlen(s);

	if (len > PATTERN_VALUE_MAX)
		return err_set(err, EINVAL, "a value of %zu bytes is too long for a pattern", len);
	ret->v = mem_array(len, sizeof(*ret->v));
	while (*s)
		s += utf8_decode(s, &ret->v[ret->n++]);
	return 0;
}

static char *runes_text(const int32_t *v, size_t n)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < n; i++)
		utf8_add(&b, v[i]);
	return str_take(&b);
}

/* "\}" and "\/" only protect the character from the ${} around them: the backslash is no part of
 * the pattern. */
static int runes_pattern(const char *s, struct runes *ret, struct err *err)
{
	size_t len = strlen(s);

	if (len > PATTERN_BYTES_MAX)
		return err_set(err, EINVAL, "a pattern of %zu bytes is too long", len);
	ret->v = mem_array(len, sizeof(*ret->v));
	while (*s) {
		if (*s == '\\') {
			if (!s[1] || !strchr("*?\\}/", s[1]))
				return err_set(err, EINVAL, "invalid escape \\%c in pattern",
					       s[1] ? s[1] : ' ');
			ret->v[ret->n++] = (unsigned char)s[1];
			s += 2;
		} else if (*s == '*' || *s == '?') {
			int32_t tok = *s++ == '*' ? TOK_STAR : TOK_ANY;

			/* "**" says no more than "*". */
			if (tok == TOK_ANY || !ret->n || ret->v[ret->n - 1] != TOK_STAR)
				ret->v[ret->n++] = tok;
		} else {
			s += utf8_decode(s, &ret->v[ret->n++]);
		}
	}
	return 0;
}

static bool piece_at(const int32_t *piece, size_t len, const struct runes *v, size_t pos)
{
	if (len > v->n - pos)
		return false;
	for (size_t i = 0; i < len; i++)
		if (piece[i] != TOK_ANY && piece[i] != v->v[pos + i])
			return false;
	return true;
}

static size_t piece_len(const struct runes *p, size_t from)
{
	size_t n = 0;

	while (from + n < p->n && p->v[from + n] != TOK_STAR)
		n++;
	return n;
}

/* The end of the first (or last) place of the piece at or after pos; SIZE_MAX: none. */
static size_t piece_find(const int32_t *piece, size_t len, const struct runes *v, size_t pos,
			 bool last)
{
	if (last) {
		for (size_t i = v->n + 1; i-- > pos;)
			if (piece_at(piece, len, v, i))
				return i + len;
		return SIZE_MAX;
	}
	for (; pos <= v->n; pos++)
		if (piece_at(piece, len, v, pos))
			return pos + len;
	return SIZE_MAX;
}

/* The end of the match that starts at pos; SIZE_MAX: none. *ret_hopeless: nor will there be one
 * further on. */
static size_t match_at(const struct runes *p, const struct runes *v, size_t pos, bool longest,
		       bool *ret_hopeless)
{
	size_t i = piece_len(p, 0);

	*ret_hopeless = false;
	if (!piece_at(p->v, i, v, pos))
		return SIZE_MAX;
	pos += i;
	while (i < p->n) {
		size_t len = piece_len(p, ++i);
		bool last = longest && i + len == p->n;

		pos = piece_find(p->v + i, len, v, pos, last);
		if (pos == SIZE_MAX) {
			*ret_hopeless = true;
			return pos;
		}
		i += len;
	}
	return pos;
}

int pattern_trim(const char *value, const char *pattern, bool suffix, bool longest, char **ret,
		 struct err *err)
{
	auto_runes struct runes v = { 0 }, p = { 0 };
	bool hopeless;
	size_t end;
	int rc;

	rc = runes_value(value, &v, err);
	if (rc == 0)
		rc = runes_pattern(pattern, &p, err);
	if (rc < 0 || !v.v || !p.v)
		return rc;
	/* A suffix is the prefix of the reversed value. */
	if (suffix) {
		runes_reverse(&v);
		runes_reverse(&p);
	}
	end = match_at(&p, &v, 0, longest, &hopeless);
	if (end == SIZE_MAX)
		end = 0;
	if (suffix) {
		runes_reverse(&v);
		*ret = runes_text(v.v, v.n - end);
	} else {
		*ret = runes_text(v.v + end, v.n - end);
	}
	return 0;
}

int pattern_replace(const char *value, const char *pattern, const char *with, bool all, char **ret,
		    struct err *err)
{
	auto_runes struct runes v = { 0 }, p = { 0 };
	auto_str struct str out = { 0 };
	size_t pos = 0, done = 0;
	bool hopeless = false, any = false;
	int rc;

	rc = runes_value(value, &v, err);
	if (rc == 0)
		rc = runes_pattern(pattern, &p, err);
	if (rc < 0 || !v.v || !p.v)
		return rc;
	while (pos <= v.n && !hopeless && (all || !any)) {
		size_t end = match_at(&p, &v, pos, true, &hopeless);

		/* An empty match right behind the one before does not count (Go's ReplaceAll). */
		if (end != SIZE_MAX && (end > pos || !any || pos > done)) {
			str_add(&out, with);
			any = true;
			done = end;
		}
		if (out.len > EXPAND_BYTES_MAX)
			return err_set(err, EINVAL, "the result is longer than %d bytes",
				       EXPAND_BYTES_MAX);
		if (end != SIZE_MAX && end > pos) {
			pos = end;
		} else {
			if (pos < v.n)
				utf8_add(&out, v.v[pos]);
			pos++;
		}
	}
	for (; pos < v.n; pos++)
		utf8_add(&out, v.v[pos]);
	*ret = str_take(&out);
	return 0;
}
