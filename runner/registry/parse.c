/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: what the headers and the token of a registry mean. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

void challenge_free(struct challenge *c)
{
	free(c->scheme);
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct challenge){ 0 };
}

/* RFC 9110 5.6.2 */
static size_t token_len(const char *s)
{
	size_t n = 0;

	while (s[n] && (isalnum((unsigned char)s[n]) || strchr("!#$%&'*+-.^_`|~", s[n])))
		n++;
	return n;
}

static const char *skip_blank(const char *s)
{
	return s + strspn(s, " \t");
}

/* A token or a quoted string with backslashes; NULL at what is neither. The caller owns *ret. */
static const char *value(const char *s, char **ret)
{
	auto_str struct str b = { 0 };
	size_t n;

	if (*s != '"') {
		/* Realms are URLs and some do not quote them. */
		n = strcspn(s, ", \t\"");
		*ret = n ? mem_strn(s, n) : NULL;
		return n ? s + n : NULL;
	}
	for (s++; *s && *s != '"'; s++) {
		if (*s == '\\' && s[1])
			s++;
		str_addc(&b, *s);
	}
	if (*s != '"')
		return NULL;
	*ret = str_take(&b);
	return s + 1;
}

static void keep(struct challenge *c, const char *name, size_t n, char *v)
{
	const struct {
		const char *name;
		char **at;
	} known[] = {
		{ "realm", &c->realm },
		{ "service", &c->service },
		{ "scope", &c->scope },
		{ "error", &c->error },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strlen(known[i].name) == n && strncasecmp(name, known[i].name, n) == 0 &&
		    !*known[i].at) {
			*known[i].at = v;
			return;
		}
	}
	free(v);
}

/* name=value, as often as they come; what stands after the last comma may be the next challenge. */
static const char *params(const char *s, struct challenge *ret)
{
	for (;;) {
		const char *name = s = s + strspn(s, ", \t"), *after;
		size_t n = token_len(s);
		char *v;

		after = skip_blank(s + n);
		if (!n || *after != '=')
			return s;
		after = value(skip_blank(after + 1), &v);
		if (!after)
			return s + strlen(s);
		keep(ret, name, n, v);
		s = after;
	}
}

bool challenge_next(const char **at, struct challenge *ret)
{
	const char *s = *at + strspn(*at, ", \t");
	size_t n = token_len(s);

	if (!n)
		return false;
	*ret = (struct challenge){ .scheme = mem_strn(s, n) };
	for (char *p = ret->scheme; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	s = skip_blank(s + n);
	/* token68, as Negotiate has: of no use here. */
	for (n = 0; s[n] && (isalnum((unsigned char)s[n]) || strchr("-._~+/", s[n]));)
		n++;
	n += strspn(s + n, "=");
	if (!*skip_blank(s + n) || *skip_blank(s + n) == ',')
		s += n;
	*at = params(s, ret);
	return true;
}

static const char *number(const char *s, uint64_t *ret)
{
	size_t n = strspn(s, "0123456789");
	auto_free char *text = mem_strn(s, n < 20 ? n : 20);

	if (!n || n > 19 || str_to_u64(text, 10, INT64_MAX, ret) < 0)
		return NULL;
	return s + n;
}

bool parse_content_range(const char *s, struct range *ret)
{
	struct range r = { .total = UINT64_MAX };

	s = skip_blank(s);
	if (strncasecmp(s, "bytes", 5) != 0)
		return false;
	s = skip_blank(s + 5);
	s = number(s, &r.first);
	if (!s || *s != '-')
		return false;
	s = number(s + 1, &r.last);
	if (!s || *s != '/' || r.last < r.first)
		return false;
	s++;
	if (*s == '*') {
		s++;
	} else {
		s = number(s, &r.total);
		if (!s || r.total <= r.last)
			return false;
	}
	if (*skip_blank(s))
		return false;
	*ret = r;
	return true;
}

/* An empty upload is "0-0" in one well-known registry, which is also one byte: then nothing is
 * taken as there, since a byte too many is refused and one too few is sent again. */
bool parse_upload_range(const char *s, uint64_t *ret_next)
{
	uint64_t first, last;

	s = skip_blank(s);
	if (strncasecmp(s, "bytes=", 6) == 0)
		s += 6;
	s = number(s, &first);
	if (!s || *s != '-' || first != 0)
		return false;
	s = number(s + 1, &last);
	if (!s || *skip_blank(s))
		return false;
	*ret_next = last == 0 ? 0 : last + 1;
	return true;
}

/* RFC 8288, of which registries use one link with one parameter. */
char *parse_next_link(const char *s)
{
	const char *open = strchr(s, '<'), *close = open ? strchr(open, '>') : NULL;
	const char *rel = close ? strstr(close, "rel=") : NULL;

	if (!rel || close == open + 1)
		return NULL;
	rel += strlen("rel=");
	rel += *rel == '"';
	if (!str_starts(rel, "next") || (rel[4] && !strchr("\", ;", rel[4])))
		return NULL;
	return mem_strn(open + 1, (size_t)(close - open - 1));
}

/* Seconds, or a date (RFC 9110 10.2.3). */
bool parse_retry_after(const char *s, int64_t now_s, int64_t *ret_s)
{
	uint64_t n;
	time_t when;

	s = skip_blank(s);
	if (isdigit((unsigned char)*s)) {
		s = number(s, &n);
		if (!s || *skip_blank(s))
			return false;
		*ret_s = n > INT32_MAX ? INT32_MAX : (int64_t)n;
		return true;
	}
	when = curl_getdate(s, NULL);
	if (when < 0)
		return false;
	*ret_s = when <= now_s ? 0 : when - now_s > INT32_MAX ? INT32_MAX : when - now_s;
	return true;
}

/* What goes into a header: printable and without blanks. */
bool parse_is_token(const char *s)
{
	size_t n = strnlen(s, TOKEN_BYTES + 1);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return n > 0 && n <= TOKEN_BYTES;
}

bool parse_token(const char *text, size_t len, char **ret_token, char **ret_refresh,
		 int64_t *ret_expires_s)
{
	auto_json json_t *j = NULL;
	struct err err;
	const char *token, *refresh;
	int64_t expires;

	if (len > TOKEN_JSON_BYTES || json_parse(text, len, &j, &err) < 0)
		return false;
	token = json_get_str(j, "token");
	if (!token || !*token)
		token = json_get_str(j, "access_token");
	if (!token || !parse_is_token(token))
		return false;
	refresh = json_get_str(j, "refresh_token");
	expires = json_get_int(j, "expires_in", 60);
	*ret_token = mem_str(token);
	*ret_refresh = refresh && parse_is_token(refresh) ? mem_str(refresh) : NULL;
	/* Less than a minute is read as a minute (distribution, token specification). */
	*ret_expires_s = expires < 60 ? 60 : expires > 86400 ? 86400 : expires;
	return true;
}
