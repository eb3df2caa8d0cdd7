/* SPDX-License-Identifier: Apache-2.0 */
/* A Dockerfile's lines: directives, comments, continuation, heredoc bodies. inst.c reads what one
 * instruction says. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "priv.h"

struct line {
	const char *start; /* with its indentation */
	const char *s;
	size_t n;    /* without its end */
	size_t full; /* with it */
};

struct parse {
	const char *file; /* for messages; NULL: a single instruction */
	const char *p, *end;
	int line; /* of the line read last */
	bool directives;
	struct dockerfile *d;
	size_t cap;
	struct str comment; /* the lines of it right above */
	struct err *err;
};

static bool next_line(struct parse *x, struct line *ret)
{
	size_t left = (size_t)(x->end - x->p);
	const char *stop = left ? memchr(x->p, '\n', left) : NULL;

	if (!left)
		return false;
	ret->s = ret->start = x->p;
	ret->full = stop ? (size_t)(stop - x->p) + 1 : left;
	ret->n = stop ? ret->full - 1 : left;
	while (ret->n && ret->s[ret->n - 1] == '\r')
		ret->n--;
	x->p += ret->full;
	x->line++;
	return true;
}

static void trim_left(struct line *l)
{
	while (l->n && words_is_blank(*l->s)) {
		l->s++;
		l->n--;
	}
}

static struct df_where where(const struct parse *x, const struct line *l)
{
	return (struct df_where){ x->file, x->line, l->start, (size_t)(l->s - l->start) + l->n };
}

/* --- directives --- */

/* "# name = value" of l, blanks cut off. */
static bool directive_split(const struct line *l, char **ret_name, char **ret_value)
{
	struct line rest = { .s = l->s + 1, .n = l->n - 1 };
	const char *name;
	size_t n = 0;

	trim_left(&rest);
	name = rest.s;
	while (n < rest.n &&
	       (n ? isalnum((unsigned char)name[n]) : isalpha((unsigned char)name[n])))
		n++;
	rest.s += n;
	rest.n -= n;
	trim_left(&rest);
	if (!n || !rest.n || *rest.s != '=')
		return false;
	rest.s++;
	rest.n--;
	trim_left(&rest);
	while (rest.n && words_is_blank(rest.s[rest.n - 1]))
		rest.n--;
	if (!rest.n)
		return false;
	*ret_name = mem_strn(name, n);
	*ret_value = mem_strn(rest.s, rest.n);
	return true;
}

static int directive_escape(struct parse *x, const struct line *l, const char *value)
{
	struct df_where w = where(x, l);

	if (strcmp(value, "\\") != 0 && strcmp(value, "`") != 0)
		return df_fail_word(&w, value, EINVAL, x->err,
				    "the escape directive takes \\ or `, not %.40s", value);
	x->d->escape = *value;
	return 0;
}

/* 1: l was a directive; 0: it was not, and there will be none further on. */
static int directive(struct parse *x, const struct line *l, unsigned *seen)
{
	static const char *const names[] = { "syntax", "escape", "check" };
	auto_free char *name = NULL, *value = NULL;
	struct df_where w = where(x, l);
	size_t k = 0;

	if (!l->n || *l->s != '#' || !directive_split(l, &name, &value))
		return 0;
	while (k < ARRAY_LEN(names) && strcasecmp(name, names[k]) != 0)
		k++;
	if (k == ARRAY_LEN(names))
		return 0;
	if (*seen & 1U << k)
		return df_fail(&w, EINVAL, x->err, "only one %s directive can be used", names[k]);
	*seen |= 1U << k;
	if (k == 1) {
		int rc = directive_escape(x, l, value);

		return rc < 0 ? rc : 1;
	}
	if (k == 0)
		x->d->syntax = take(value);
	else
		x->d->check = take(value);
	return 1;
}

static int directives(struct parse *x)
{
	unsigned seen = 0;
	struct line l;

	for (;;) {
		const char *start = x->p;
		int rc;

		if (!next_line(x, &l))
			return 0;
		trim_left(&l);
		rc = directive(x, &l, &seen);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			x->p = start;
			x->line--;
			return 0;
		}
	}
}

/* --- one instruction --- */

/* Cuts the escape character that continues the line, and the blanks behind it. Two of them are no
 * continuation. */
static bool continues(struct line *l, char escape)
{
	size_t n = l->n;

	while (n && (l->s[n - 1] == ' ' || l->s[n - 1] == '\t'))
		n--;
	if (!n || l->s[n - 1] != escape || (n > 1 && l->s[n - 2] == escape))
		return false;
	l->n = n - 1;
	return true;
}

static bool ends_blank(const struct str *b)
{
	return b->len && words_is_blank(b->s[b->len - 1]);
}

/* raw gets the bytes; text one blank where there were any at the seam, so that no word is torn or
 * glued. */
static void join(struct str *raw, struct str *text, const struct line *l)
{
	struct line cut = *l;
	bool blank = ends_blank(raw) || (l->n && words_is_blank(*l->s));

	str_addn(raw, l->s, l->n);
	trim_left(&cut);
	while (cut.n && words_is_blank(cut.s[cut.n - 1]))
		cut.n--;
	if (!cut.n)
		return;
	if (blank && text->len)
		str_addc(text, ' ');
	str_addn(text, cut.s, cut.n);
}

/* The lines that l continues into: comments vanish, empty ones are tolerated (*ret_gap is the first
 * one's number). */
static void join_rest(struct parse *x, struct str *raw, struct str *text, int *ret_gap)
{
	struct line l;
	bool more = true;

	while (more && next_line(x, &l)) {
		struct line cut = l;

		trim_left(&cut);
		if (cut.n && *cut.s == '#')
			continue;
		if (!cut.n) {
			if (!*ret_gap)
				*ret_gap = x->line;
			continue;
		}
		more = continues(&l, x->d->escape);
		join(raw, text, &l);
	}
}

static int heredoc_read(struct parse *x, struct df_heredoc *h, const struct df_where *w)
{
	auto_str struct str body = { 0 };
	size_t len = strlen(h->name);
	struct line l;

	while (next_line(x, &l)) {
		while (h->strip && l.full && *l.s == '\t') {
			l.s++;
			l.full--;
			l.n -= l.n > 0;
		}
		if (l.n == len && !memcmp(l.s, h->name, len)) {
			h->body = str_take(&body);
			return 0;
		}
		str_addn(&body, l.s, l.full);
	}
	return df_fail(w, EINVAL, x->err, "the heredoc %.60s does not end (no line %.60s)", h->name,
		       h->name);
}

static int heredocs_read(struct parse *x, struct df_inst *i, const struct df_where *w)
{
	struct df_inst *owner = i->onbuild ? i->onbuild : i;

	for (size_t k = 0; k < owner->n_heredocs; k++) {
		int rc = heredoc_read(x, &owner->heredocs[k], w);

		if (rc < 0)
			return rc;
	}
	owner->end_line = i->end_line = x->line;
	return 0;
}

/* The instruction that starts with first, read last. */
static int instruction(struct parse *x, const struct line *first)
{
	auto_str struct str raw = { 0 }, text = { 0 };
	struct dockerfile *d = x->d;
	struct inst_ctx ctx = { .at = where(x, first), .escape = d->escape };
	struct line l = *first;
	struct df_inst *i;
	int rc, gap = 0;

	if (continues(&l, d->escape)) {
		join(&raw, &text, &l);
		join_rest(x, &raw, &text, &gap);
	} else {
		join(&raw, &text, &l);
	}
	if (!text.len)
		return 0;
	if (d->n == DF_INST_MAX)
		return df_fail(&ctx.at, EINVAL, x->err, "more than %d instructions", DF_INST_MAX);
	ctx.at.src_len = (size_t)(x->p - ctx.at.src);
	mem_room(d->inst, d->n, x->cap);
	i = &d->inst[d->n++];
	/* The first piece may have been blank up to its continuation. */
	rc = inst_parse(&ctx, raw.s + strspn(raw.s, " \t\v\f\r"), text.s, i, x->err);
	i->gap_line = gap;
	i->comment = x->comment.len ? str_take(&x->comment) : NULL;
	return rc < 0 ? rc : heredocs_read(x, i, &ctx.at);
}

/* A comment line above an instruction may describe or excuse it; after an empty line it does not.
 */
static void comment(struct parse *x, const struct line *l)
{
	struct line cut = { .s = l->s + 1, .n = l->n - (l->n > 0) };

	if (!l->n) {
		str_reset(&x->comment);
		return;
	}
	trim_left(&cut);
	while (cut.n && words_is_blank(cut.s[cut.n - 1]))
		cut.n--;
	str_addn(&x->comment, cut.s, cut.n);
	str_addc(&x->comment, '\n');
}

static int parse(struct parse *x)
{
	struct line l;
	int rc = 0;

	if (x->directives)
		rc = directives(x);
	while (rc == 0 && next_line(x, &l)) {
		trim_left(&l);
		if (!l.n || *l.s == '#')
			comment(x, &l);
		else
			rc = instruction(x, &l);
	}
	str_free(&x->comment);
	return rc;
}

/* --- the whole --- */

static int check_text(const char *file, const char *text, size_t len, struct err *err)
{
	if (len > DF_BYTES_MAX)
		return err_set(err, EINVAL, "%.200s: longer than %d bytes", file, DF_BYTES_MAX);
	if (len && memchr(text, 0, len))
		return err_set(err, EINVAL, "%.200s: a NUL byte in the text", file);
	return 0;
}

static int check_order(const char *file, const struct dockerfile *d, struct err *err)
{
	if (!d->n)
		return err_set(err, EINVAL, "%.200s: no instructions", file);
	for (size_t i = 0; i < d->n && d->inst[i].kind != DF_FROM; i++)
		if (d->inst[i].kind != DF_ARG)
			return df_fail_inst(file, &d->inst[i], EINVAL, err,
					    "%s before the first FROM (only ARG may stand there)",
					    df_kind_name(d->inst[i].kind));
	return 0;
}

int dockerfile_parse(const char *file_name, const char *text, size_t len, struct dockerfile **ret,
		     struct err *err)
{
	auto_dockerfile struct dockerfile *d = mem_alloc(sizeof(*d));
	struct parse x = { .file = file_name, .p = text, .end = text + len, .d = d, .err = err };
	int rc;

	rc = check_text(file_name, text, len, err);
	if (rc < 0)
		return rc;
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		x.p += 3;
	d->escape = '\\';
	x.directives = true;
	rc = parse(&x);
	if (rc == 0)
		rc = check_order(file_name, d, err);
	if (rc < 0)
		return rc;
	*ret = take(d);
	return 0;
}

int dockerfile_parse_line(const char *text, char escape, struct df_inst **ret, struct err *err)
{
	auto_dockerfile struct dockerfile *d = mem_alloc(sizeof(*d));
	size_t len = strlen(text);
	struct parse x = { .p = text, .end = text + len, .d = d, .err = err };
	int rc;

	rc = check_text("instruction", text, len, err);
	if (rc < 0)
		return rc;
	d->escape = escape;
	rc = parse(&x);
	if (rc < 0)
		return rc;
	if (d->n != 1)
		return err_set(err, EINVAL, "%zu instructions instead of one", d->n);
	*ret = mem_dup(d->inst, sizeof(*d->inst));
	d->n = 0;
	return 0;
}

void dockerfile_free(struct dockerfile *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		inst_clear(&d->inst[i]);
	mem_cleanup(&d->inst);
	mem_cleanup(&d->syntax);
	mem_cleanup(&d->check);
	mem_cleanup(&d);
}

void dockerfile_cleanup(struct dockerfile **d)
{
	dockerfile_free(*d);
}
