/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting the arguments of an instruction: the exec form, words with their quotes, flags, heredoc
 * words. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <shale/base/json.h>

#include "priv.h"

bool words_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r' || c == '\n';
}

int words_json(const char *s, struct strv *ret)
{
	auto_json json_t *array = NULL;
	struct err ignored = { 0 };
	json_t *item;
	size_t i;

	while (words_is_blank(*s))
		s++;
	if (*s != '[' || json_parse(s, strlen(s), &array, &ignored) < 0 || !json_is_array(array))
		return 0;
	json_array_foreach(array, i, item)
	{
		if (!json_is_string(item))
			return -EINVAL;
	}
	json_array_foreach(array, i, item) strv_add(ret, json_string_value(item));
	return 1;
}

void words_blank(const char *s, struct strv *ret)
{
	for (;;) {
		size_t n = 0;

		while (words_is_blank(*s))
			s++;
		if (!*s)
			return;
		while (s[n] && !words_is_blank(s[n]))
			n++;
		strv_add_take(ret, mem_strn(s, n));
		s += n;
	}
}

/* The end of the word at s: an open quote runs to the end of the text, as in BuildKit's parser. */
static const char *word_end(const char *s, char escape)
{
	char quote = 0;

	for (; *s; s++) {
		if (*s == escape && quote != '\'') {
			if (!s[1])
				return s;
			s++;
		} else if (quote) {
			if (*s == quote)
				quote = 0;
		} else if (*s == '\'' || *s == '"') {
			quote = *s;
		} else if (words_is_blank(*s)) {
			return s;
		}
	}
	return s;
}

void words_quoted(const char *s, char escape, struct strv *ret)
{
	for (;;) {
		const char *end;

		while (words_is_blank(*s))
			s++;
		if (!*s)
			return;
		end = word_end(s, escape);
		if (end > s)
			strv_add_take(ret, mem_strn(s, (size_t)(end - s)));
		s = end;
		/* word_end stops before an escape that ends the text: it says nothing. */
		if (*s == escape && !s[1])
			return;
	}
}

/* One flag word at *s, quotes and escapes (always a backslash here) removed. */
static char *flag_word(const char **s)
{
	auto_str struct str word = { 0 };
	const char *p = *s;
	char quote = 0;

	for (; *p && (quote || !words_is_blank(*p)); p++) {
		if (quote && *p == quote)
			quote = 0;
		else if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p != '\\')
			str_addc(&word, *p);
		else if (p[1])
			str_addc(&word, *++p);
	}
	*s = p;
	return str_take(&word);
}

const char *words_flags(const char *s, struct strv *ret)
{
	for (;;) {
		char *word;

		while (words_is_blank(*s))
			s++;
		if (s[0] != '-' || s[1] != '-')
			return s;
		word = flag_word(&s);
		/* "--" alone ends the flags. */
		if (!strcmp(word, "--")) {
			mem_cleanup(&word);
			while (words_is_blank(*s))
				s++;
			return s;
		}
		strv_add_take(ret, word);
	}
}

/* The name without its quotes; *ret_quoted when there were any. NULL: an open quote or a
 * second word, so no heredoc. */
static char *heredoc_name(const char *s, bool *ret_quoted)
{
	auto_str struct str name = { 0 };
	char quote = 0;

	*ret_quoted = false;
	for (; *s; s++) {
		if (quote && *s == quote) {
			quote = 0;
		} else if (!quote && (*s == '\'' || *s == '"')) {
			quote = *s;
			*ret_quoted = true;
		} else if (*s == '\\' && quote != '\'' && s[1]) {
			str_addc(&name, *++s);
			*ret_quoted = true;
		} else if (!quote && words_is_blank(*s)) {
			return NULL; /* more than one word */
		} else {
			str_addc(&name, *s);
		}
	}
	return quote || !name.len ? NULL : str_take(&name);
}

bool words_heredoc(const char *word, struct df_heredoc *ret)
{
	bool quoted, strip;
	char *name;

	while (isdigit((unsigned char)*word))
		word++;
	if (!str_starts(word, "<<"))
		return false;
	word += 2;
	strip = *word == '-';
	word += strip;
	/* "<<<" is a here-string of the shell. */
	if (strchr(word, '<'))
		return false;
	name = heredoc_name(word, &quoted);
	if (!name)
		return false;
	*ret = (struct df_heredoc){ .name = name, .expand = !quoted, .strip = strip };
	return true;
}
