/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: what a refusal says, made fit for a terminal. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "priv.h"

enum { MESSAGE_MAX = 400, ERRORS_SHOWN = 3, SECRET_MIN = 4 };

static const struct {
	int status, code;
	const char *text;
} statuses[] = {
	{ 400, EINVAL, "bad request" },
	{ 401, EACCES, "unauthorized" },
	{ 403, EACCES, "denied" },
	{ 404, ENOENT, "not found" },
	{ 405, ENOTSUP, "not supported by this registry" },
	{ 408, EAGAIN, "the registry timed out" },
	{ 413, EFBIG, "too large for this registry" },
	{ 416, EPROTO, "no such range" },
	{ 429, EAGAIN, "too many requests" },
	{ 500, EAGAIN, "internal error of the registry" },
	{ 502, EAGAIN, "bad gateway" },
	{ 503, EAGAIN, "service unavailable" },
	{ 504, EAGAIN, "gateway timed out" },
};

const char *status_text(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].text;
	return "unexpected answer";
}

int status_code(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].code;
	return status >= 500 ? EAGAIN : EPROTO;
}

/* One character of well-formed UTF-8 that is no control (C0, DEL, C1) and no change of direction,
 * in bytes; 0: none. */
static size_t good_char(const unsigned char *s)
{
	if (s[0] >= ' ' && s[0] < 0x7f)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf && (s[1] & 0xc0) == 0x80)
		return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2;
	if (s[0] >= 0xe0 && s[0] <= 0xef && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80) {
		/* overlong, surrogates, U+200B-F, U+2028-E, U+2066-9 */
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		if (s[0] == 0xe2 && (s[1] == 0x80 || s[1] == 0x81))
			return 0;
		return 3;
	}
	return 0;
}

void message_clean(char *s)
{
	unsigned char *from = (unsigned char *)s, *to = from;
	bool blank = true;

	while (*from) {
		size_t n = good_char(from);

		if (n == 0 || *from == ' ') {
			if (!blank)
				*to++ = ' ';
			blank = true;
			from++;
			continue;
		}
		memmove(to, from, n);
		to += n;
		from += n;
		blank = false;
	}
	if (to > (unsigned char *)s && to[-1] == ' ')
		to--;
	*to = 0;
}

void message_scrub(char *s, const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;

	/* What is shorter is no secret, and would make holes in every message. */
	if (n < SECRET_MIN)
		return;
	for (char *p = s; (p = strstr(p, secret)); p += 3) {
		memset(p, '*', 3);
		memmove(p + 3, p + n, strlen(p + n) + 1);
	}
}

static void add_one(struct str *b, const char *code, const char *message)
{
	auto_free char *word = code ? mem_strn(code, strnlen(code, 64)) : mem_str("");

	if (b->len)
		str_add(b, "; ");
	for (char *s = word; *s; s++)
		*s = (char)(*s == '_' ? ' ' : tolower((unsigned char)*s));
	str_add(b, word);
	/* Many say the same twice. */
	if (message && *message && strcasecmp(message, word) != 0) {
		if (*word)
			str_add(b, ": ");
		str_addn(b, message, strnlen(message, MESSAGE_MAX));
	}
}

/* The distribution specification's {"errors":[{"code","message"}]}; token servers have "details",
 * "message" or "error_description". */
static void from_json(const json_t *j, struct str *b)
{
	static const char *const others[] = { "details", "message", "error_description", "error" };
	const json_t *list = json_object_get(j, "errors"), *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (i == ERRORS_SHOWN)
			break;
		add_one(b, json_get_str(e, "code"), json_get_str(e, "message"));
	}
	for (i = 0; i < ARRAY_LEN(others) && !b->len; i++)
		add_one(b, NULL, json_get_str(j, others[i]));
}

char *message_of(const char *body, size_t len)
{
	auto_json json_t *j = NULL;
	auto_str struct str b = { 0 };
	auto_free char *s = NULL;
	struct err err;

	if (json_parse(body, len, &j, &err) == 0)
		from_json(j, &b);
	else if (len > 0 && body[strspn(body, " \t\r\n")] != '<')
		str_addn(&b, body, strnlen(body, len < MESSAGE_MAX ? len : MESSAGE_MAX));
	s = str_take(&b);
	if (strlen(s) > MESSAGE_MAX)
		s[MESSAGE_MAX] = 0;
	message_clean(s);
	return take(s);
}
