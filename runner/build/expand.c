/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word expansion as in BuildKit's shell lexer: quotes, escapes, $v and ${v…}. What a variable holds
 * is not expanded again, so the work is bounded by the text, EXPAND_DEPTH_MAX and EXPAND_BYTES_MAX.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "priv.h"

struct lex {
	const char *p;
	char escape;
	bool quotes; /* false in heredoc bodies, where ' and " are text */
	bool raw;    /* in a pattern: escapes stay, the pattern reads them */
	unsigned depth;
	expand_fn *lookup;
	void *arg;
	struct err *err;
};

/* Words split at blanks that were neither quoted nor escaped. */
struct words {
	struct strv *list;
	struct str word;
};

struct out {
	struct str s;
	struct words *words; /* NULL: nobody asked */
};

#define auto_out cleanup(out_free)
static void out_free(struct out *o)
{
	str_free(&o->s);
}

static int out_add(struct lex *x, struct out *o, const char *s, size_t n, bool split)
{
	struct words *w = o->words;

	if (n > EXPAND_BYTES_MAX - o->s.len)
		return err_set(x->err, EINVAL, "the result is longer than %d bytes",
			       EXPAND_BYTES_MAX);
	str_addn(&o->s, s, n);
	if (!w)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!split || !words_is_blank(s[i])) {
			str_addc(&w->word, s[i]);
		} else if (w->word.len) {
			strv_add_take(w->list, str_take(&w->word));
		}
	}
	return 0;
}

static int dollar(struct lex *x, struct out *o, bool split);

static int single_quote(struct lex *x, struct out *o)
{
	const char *end = strchr(x->p + 1, '\'');
	int rc;

	if (!end)
		return err_set(x->err, EINVAL, "missing closing '");
	rc = out_add(x, o, x->p + 1, (size_t)(end - x->p - 1), false);
	x->p = end + 1;
	return rc;
}

/* Inside "": escape works before ", $ and itself only, else it is text. */
static int double_quote_escape(struct lex *x, struct out *o)
{
	const char *p = x->p;
	bool special = p[1] && (p[1] == '"' || p[1] == '$' || p[1] == x->escape);

	if (!p[1]) {
		x->p++;
		return 0;
	}
	x->p += special ? 2 : 1;
	if (!special)
		return out_add(x, o, p, 1, false);
	return x->raw ? out_add(x, o, p, 2, false) : out_add(x, o, p + 1, 1, false);
}

static int double_quote(struct lex *x, struct out *o)
{
	int rc = 0;

	for (x->p++; rc == 0 && *x->p != '"';) {
		if (!*x->p)
			return err_set(x->err, EINVAL, "missing closing \"");
		if (*x->p == '$')
			rc = dollar(x, o, false);
		else if (*x->p == x->escape)
			rc = double_quote_escape(x, o);
		else
			rc = out_add(x, o, x->p++, 1, false);
	}
	x->p++;
	return rc;
}

/* Outside quotes: escape makes the next character plain; at the very end it is dropped. */
static int escape(struct lex *x, struct out *o)
{
	const char *p = x->p;
	int rc = 0;

	x->p += p[1] ? 2 : 1;
	if (x->raw)
		rc = out_add(x, o, p, 1, false);
	if (rc == 0 && p[1])
		rc = out_add(x, o, p + 1, 1, false);
	return rc;
}

/* Up to stop (which is eaten) or, with stop 0, the end. */
static int until(struct lex *x, char stop, struct out *o)
{
	int rc = 0;

	while (rc == 0 && *x->p && *x->p != stop) {
		if (*x->p == '$')
			rc = dollar(x, o, true);
		else if (x->quotes && *x->p == '\'')
			rc = single_quote(x, o);
		else if (x->quotes && *x->p == '"')
			rc = double_quote(x, o);
		else if (*x->p == x->escape)
			rc = escape(x, o);
		else
			rc = out_add(x, o, x->p++, 1, true);
	}
	if (rc < 0)
		return rc;
	if (stop && !*x->p)
		return err_set(x->err, EINVAL, "missing %c in ${}", stop);
	if (stop)
		x->p++;
	return 0;
}

/* A name, a run of digits or one special parameter; "" if there is none. */
static char *name(struct lex *x)
{
	const char *s = x->p;

	if (isdigit((unsigned char)*s)) {
		while (isdigit((unsigned char)*x->p))
			x->p++;
	} else if (*s && strchr("@*#?-$!", *s)) {
		x->p++;
	} else {
		while (isalnum((unsigned char)*x->p) || *x->p == '_')
			x->p++;
	}
	return mem_strn(s, (size_t)(x->p - s));
}

/* ${v-w} and its sisters, when w has been expanded: the text that takes its place. */
static int choose(struct lex *x, const char *var, char op, bool null_is_unset, const char *word,
		  const char **ret)
{
	const char *value = x->lookup(var, x->arg);
	bool use = value && (*value || !null_is_unset);

	if (op == '-')
		*ret = use ? value : word;
	else if (op == '+')
		*ret = use ? word : "";
	else if (use)
		*ret = value;
	else
		return err_set(x->err, EINVAL, "%s: %s", var,
			       *word   ? word
			       : value ? "is not allowed to be empty"
				       : "is not allowed to be unset");
	return 0;
}

static int trim(struct lex *x, const char *var, char op, const char *word, char **ret)
{
	const char *value = x->lookup(var, x->arg);
	bool longest = *word == op;

	return pattern_trim(value ? value : "", word + longest, op == '%', longest, ret, x->err);
}

/* ${v:?w}: behind the name, at the operator. */
static int with_word(struct lex *x, const char *var, struct out *o, bool split)
{
	auto_out struct out word = { 0 };
	auto_free char *cut = NULL;
	bool colon = *x->p == ':', was_raw = x->raw;
	const char *text = "";
	char op = x->p[colon];
	int rc;

	if (!op || !strchr(colon ? "-+?" : "-+?#%", op))
		return err_set(x->err, EINVAL, "unsupported modifier %.*s in ${%s}",
			       op ? 1 + colon : 1, *x->p ? x->p : "?", var);
	x->p += 1 + colon;
	x->raw = op == '#' || op == '%';
	rc = until(x, '}', &word);
	x->raw = was_raw;
	if (rc == 0 && (op == '#' || op == '%'))
		rc = trim(x, var, op, str_get(&word.s), &cut);
	else if (rc == 0)
		rc = choose(x, var, op, colon, str_get(&word.s), &text);
	if (rc < 0)
		return rc;
	text = cut ? cut : text;
	return out_add(x, o, text, strlen(text), split);
}

/* ${v/p/r} and ${v//p/r}: behind the name, at the slash. */
static int replace(struct lex *x, const char *var, struct out *o, bool split)
{
	auto_out struct out pattern = { 0 }, with = { 0 };
	auto_free char *text = NULL;
	const char *value = x->lookup(var, x->arg);
	bool was_raw = x->raw, all = x->p[1] == '/';
	int rc;

	x->p += 1 + all;
	x->raw = true;
	rc = until(x, '/', &pattern);
	if (rc == 0)
		rc = until(x, '}', &with);
	x->raw = was_raw;
	if (rc == 0)
		rc = pattern_replace(value ? value : "", str_get(&pattern.s), str_get(&with.s), all,
				     &text, x->err);
	if (rc < 0 || !text)
		return rc;
	return out_add(x, o, text, strlen(text), split);
}

static int braces(struct lex *x, struct out *o, bool split)
{
	auto_free char *var = NULL;
	const char *value;

	x->p += 2;
	if (!*x->p)
		return err_set(x->err, EINVAL, "missing } in ${}");
	if (strchr("{}:", *x->p))
		return err_set(x->err, EINVAL, "bad substitution ${%c", *x->p);
	var = name(x);
	if (!*x->p)
		return err_set(x->err, EINVAL, "missing } in ${%s", var);
	if (!*var)
		return err_set(x->err, EINVAL, "bad substitution ${%c", *x->p);
	if (*x->p == '/')
		return replace(x, var, o, split);
	if (*x->p != '}')
		return with_word(x, var, o, split);
	x->p++;
	value = x->lookup(var, x->arg);
	return value ? out_add(x, o, value, strlen(value), split) : 0;
}

static int dollar(struct lex *x, struct out *o, bool split)
{
	auto_free char *var = NULL;
	const char *value;
	int rc;

	if (x->p[1] == '{') {
		if (x->depth == EXPAND_DEPTH_MAX)
			return err_set(x->err, EINVAL, "${} nested more than %d deep",
				       EXPAND_DEPTH_MAX);
		x->depth++;
		rc = braces(x, o, split);
		x->depth--;
		return rc;
	}
	x->p++;
	var = name(x);
	if (!*var)
		return out_add(x, o, "$", 1, split);
	value = x->lookup(var, x->arg);
	return value ? out_add(x, o, value, strlen(value), split) : 0;
}

static int run(struct lex *x, const char *text, struct out *o)
{
	int rc;

	x->p = text;
	rc = until(x, 0, o);
	if (rc < 0) {
		text_safe(x->err->msg);
		err_ctx(x->err, "expand %.60s%s", text, strlen(text) > 60 ? "…" : "");
		text_safe(x->err->msg);
	}
	return rc;
}

int expand_word(const char *word, char escape_char, expand_fn *lookup, void *arg, char **ret,
		struct err *err)
{
	struct lex x = {
		.escape = escape_char, .quotes = true, .lookup = lookup, .arg = arg, .err = err
	};
	auto_out struct out o = { 0 };
	int rc;

	rc = run(&x, word, &o);
	if (rc < 0)
		return rc;
	*ret = str_take(&o.s);
	return 0;
}

int expand_words(const char *word, char escape_char, expand_fn *lookup, void *arg, struct strv *ret,
		 struct err *err)
{
	struct lex x = {
		.escape = escape_char, .quotes = true, .lookup = lookup, .arg = arg, .err = err
	};
	auto_strv struct strv list = { 0 };
	struct words w = { .list = &list };
	auto_out struct out o = { .words = &w };
	int rc;

	rc = run(&x, word, &o);
	if (rc == 0 && w.word.len)
		strv_add(&list, w.word.s);
	str_free(&w.word);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < list.n; i++)
		strv_add_take(ret, take(list.v[i]));
	return 0;
}

int expand_text(const char *text, char escape_char, expand_fn *lookup, void *arg, char **ret,
		struct err *err)
{
	struct lex x = { .escape = escape_char, .lookup = lookup, .arg = arg, .err = err };
	auto_out struct out o = { 0 };
	int rc;

	rc = run(&x, text, &o);
	if (rc < 0)
		return rc;
	*ret = str_take(&o.s);
	return 0;
}
