/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a Dockerfile a message points: the line and column of a word, the source line, a mark
 * beneath the word. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "priv.h"

void text_safe(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The word in the line, as a word of its own if it stands there as one, else anywhere. */
static const char *find_word(const char *s, size_t n, const char *word, bool whole)
{
	size_t len = strlen(word);
	const char *p = s;

	while (len && (p = memmem(p, n - (size_t)(p - s), word, len))) {
		const char *end = p + len;

		if (!whole || ((p == s || !is_name_char(p[-1]) || !is_name_char(*p)) &&
			       (end == s + n || !is_name_char(*end) || !is_name_char(end[-1]))))
			return p;
		p++;
	}
	return NULL;
}

static size_t line_length(const char *s, size_t n)
{
	const char *stop = memchr(s, '\n', n);
	size_t len = stop ? (size_t)(stop - s) : n;

	while (len && s[len - 1] == '\r')
		len--;
	return len;
}

static bool find_in_lines(const struct df_where *w, const char *word, bool whole,
			  struct df_spot *ret)
{
	const char *s = w->src, *end = w->src + w->src_len;

	for (int line = w->line; s < end; line++) {
		size_t n = line_length(s, (size_t)(end - s));
		size_t blank = 0;
		const char *p, *stop;

		while (blank < n && words_is_blank(s[blank]))
			blank++;
		p = s != w->src && blank < n && s[blank] == '#' ? NULL
								: find_word(s, n, word, whole);
		if (p) {
			*ret = (struct df_spot){ line, s, n, (size_t)(p - s), strlen(word) };
			return true;
		}
		stop = memchr(s, '\n', (size_t)(end - s));
		s = stop ? stop + 1 : end;
	}
	return false;
}

void df_locate(const struct df_where *w, const char *word, struct df_spot *ret)
{
	size_t n, at = 0, len = 0;

	if (word && *word &&
	    (find_in_lines(w, word, true, ret) || find_in_lines(w, word, false, ret)))
		return;
	n = line_length(w->src, w->src_len);
	while (at < n && words_is_blank(w->src[at]))
		at++;
	while (at + len < n && !words_is_blank(w->src[at + len]))
		len++;
	*ret = (struct df_spot){ w->line, w->src, n, at, len };
}

/* Bytes that begin a character. */
static size_t characters(const char *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

int df_spot_column(const struct df_spot *p)
{
	return (int)characters(p->s, p->at) + 1;
}

/* Of a long line the part around the mark. */
char *df_spot_text(const struct df_spot *p)
{
	enum { WIDTH = 160, BEFORE = 60, MARK_MAX = 60 };
	size_t from = p->at > WIDTH - MARK_MAX ? p->at - BEFORE : 0, n, mark;
	auto_str struct str b = { 0 };
	auto_free char *src = NULL;

	while (from && from < p->at && ((unsigned char)p->s[from] & 0xc0) == 0x80)
		from++;
	n = p->n - from < WIDTH ? p->n - from : WIDTH;
	src = mem_strn(p->s + from, n);
	for (char *c = src; *c; c++)
		if (*c == '\t')
			*c = ' ';
	text_safe(src);
	mark = characters(p->s + p->at, p->len < MARK_MAX ? p->len : MARK_MAX);
	str_addf(&b, "  %d | %s%s\n  %*s | %*s^", p->line, from ? "…" : "", src,
		 snprintf(NULL, 0, "%d", p->line), "",
		 (int)(characters(p->s + from, p->at - from) + (from > 0)), "");
	for (size_t i = 1; i < mark; i++)
		str_addc(&b, '~');
	return str_take(&b);
}

__attribute__((format(printf, 5, 0))) static int vfail(const struct df_where *w, const char *word,
						       int code, struct err *err, const char *fmt,
						       va_list ap)
{
	auto_free char *source = NULL;
	struct df_spot spot;
	char text[700];

	vsnprintf(text, sizeof(text), fmt, ap);
	text_safe(text);
	if (!w->file)
		return err_set(err, code, "%s", text);
	if (!w->src)
		return err_set(err, code, "%.200s:%d: %s", w->file, w->line, text);
	df_locate(w, word, &spot);
	source = df_spot_text(&spot);
	return err_set(err, code, "%.200s:%d:%d: %s\n%s", w->file, spot.line, df_spot_column(&spot),
		       text, source);
}

int df_fail(const struct df_where *w, int code, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vfail(w, NULL, code, err, fmt, ap);
	va_end(ap);
	return rc;
}

int df_fail_word(const struct df_where *w, const char *word, int code, struct err *err,
		 const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vfail(w, word, code, err, fmt, ap);
	va_end(ap);
	return rc;
}

struct df_where df_where_inst(const char *file, const struct df_inst *i)
{
	return (struct df_where){ file, i->line, i->src, i->src ? strlen(i->src) : 0 };
}

int df_fail_inst(const char *file, const struct df_inst *i, int code, struct err *err,
		 const char *fmt, ...)
{
	struct df_where w = df_where_inst(file, i);
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vfail(&w, NULL, code, err, fmt, ap);
	va_end(ap);
	return rc;
}

int df_fail_inst_word(const char *file, const struct df_inst *i, const char *word, int code,
		      struct err *err, const char *fmt, ...)
{
	struct df_where w = df_where_inst(file, i);
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vfail(&w, word, code, err, fmt, ap);
	va_end(ap);
	return rc;
}
