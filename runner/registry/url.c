/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: which names and URLs are good, and where a redirect may lead. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

#define auto_url cleanup(url_cleanup)
static void url_cleanup(CURLU **u)
{
	curl_url_cleanup(*u);
}

#define auto_curl cleanup(curl_str_cleanup)
static void curl_str_cleanup(char **s)
{
	curl_free(*s);
}

static CURLU *url_parse(const char *s)
{
	auto_url CURLU *u = curl_url();

	if (!u || strlen(s) > CALL_URL_MAX || curl_url_set(u, CURLUPART_URL, s, 0) != CURLUE_OK)
		return NULL;
	return take(u);
}

/* "" when there is none. The caller frees it by mem. */
static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	auto_curl char *s = NULL;

	if (curl_url_get(u, part, &s, flags) != CURLUE_OK)
		return mem_str("");
	return mem_str(s);
}

static bool is_port(const char *s)
{
	uint64_t n;

	return str_to_u64(s, 10, 65535, &n) == 0 && n > 0;
}

bool url_is_host(const char *s)
{
	size_t n;

	if (strlen(s) > 255)
		return false;
	if (*s == '[') {
		n = strspn(s + 1, "0123456789abcdefABCDEF:.") + 1;
		if (n < 3 || s[n++] != ']')
			return false;
	} else {
		n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
		if (n == 0 || *s == '-' || *s == '.')
			return false;
	}
	return !s[n] || (s[n] == ':' && is_port(s + n + 1));
}

bool url_is_loopback(const char *host)
{
	size_t n = strcspn(host, *host == '[' ? "]" : ":");
	auto_free char *name = mem_strn(host, n);

	return str_eq(name, "localhost") || str_ends(name, ".localhost") || str_eq(name, "[::1") ||
	       (str_starts(name, "127.") && !name[strspn(name, "0123456789.")]);
}

/* Lower-case words joined by . _ - in parts joined by slashes: nothing that a URL could misread. */
bool url_is_repo(const char *s)
{
	char last = '/';

	if (!*s || strlen(s) > 255)
		return false;
	for (; *s; last = *s++) {
		bool is_word = islower((unsigned char)*s) || isdigit((unsigned char)*s);

		if (!is_word && !strchr("._-/", *s))
			return false;
		if (last == '/' && !is_word)
			return false;
		if (*s == '/' && strchr("._-", last))
			return false;
		if (*s == '.' && last == '.')
			return false;
	}
	return !strchr("._-/", last);
}

bool url_is_tag(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 128 || *s == '.' || *s == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	return true;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
	auto_free char *x = url_part(a, part, CURLU_DEFAULT_PORT);
	auto_free char *y = url_part(b, part, CURLU_DEFAULT_PORT);

	return *x && strcasecmp(x, y) == 0;
}

bool url_is_same_host(const char *a, const char *b)
{
	auto_url CURLU *x = url_parse(a), *y = url_parse(b);

	return x && y && same_part(x, y, CURLUPART_HOST);
}

bool url_is_same_origin(const char *a, const char *b)
{
	auto_url CURLU *x = url_parse(a), *y = url_parse(b);

	return x && y && same_part(x, y, CURLUPART_HOST) && same_part(x, y, CURLUPART_PORT) &&
	       same_part(x, y, CURLUPART_SCHEME);
}

char *url_authority(const char *url)
{
	auto_url CURLU *u = url_parse(url);
	auto_free char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	auto_free char *all = NULL;

	if (!u)
		return NULL;
	scheme = url_part(u, CURLUPART_SCHEME, 0);
	host = url_part(u, CURLUPART_HOST, 0);
	port = url_part(u, CURLUPART_PORT, 0);
	user = url_part(u, CURLUPART_USER, 0);
	if ((!str_eq(scheme, "http") && !str_eq(scheme, "https")) || *user)
		return NULL;
	all = mem_fmt("%s%s%s", host, *port ? ":" : "", port);
	return url_is_host(all) ? take(all) : NULL;
}

char *url_origin(const char *url)
{
	auto_url CURLU *u = url_parse(url);
	auto_free char *scheme = NULL, *host = NULL, *port = NULL;

	if (!u)
		return mem_str("(a bad URL)");
	scheme = url_part(u, CURLUPART_SCHEME, 0);
	host = url_part(u, CURLUPART_HOST, 0);
	port = url_part(u, CURLUPART_PORT, 0);
	return mem_fmt("%s://%s%s%s", scheme, host, *port ? ":" : "", port);
}

/* A relative Location has no scheme; "file:x" and "//host" are not relative to this host. */
static bool is_good_scheme(CURLU *to, const char *from, bool plain_http)
{
	auto_free char *scheme = url_part(to, CURLUPART_SCHEME, 0);

	if (str_eq(scheme, "https"))
		return true;
	return str_eq(scheme, "http") && (plain_http || str_starts(from, "http://"));
}

int url_follow(const char *from, const char *location, bool plain_http, char **ret, struct err *err)
{
	auto_url CURLU *u = url_parse(from);
	auto_curl char *whole = NULL;
	auto_free char *user = NULL, *password = NULL, *scheme = NULL;

	if (!u || strlen(location) > CALL_URL_MAX)
		return err_set(err, EPROTO, "redirected to a URL that is too long");
	if (!*location || curl_url_set(u, CURLUPART_URL, location, 0) != CURLUE_OK)
		return err_set(err, EPROTO, "redirected to a URL that is none, or not by http");
	user = url_part(u, CURLUPART_USER, 0);
	password = url_part(u, CURLUPART_PASSWORD, 0);
	if (*user || *password)
		return err_set(err, EPROTO, "redirected to a URL with a user name in it");
	if (!is_good_scheme(u, from, plain_http)) {
		scheme = url_part(u, CURLUPART_SCHEME, 0);
		return err_set(err, EPROTO, "redirected to a URL by %s, which is not followed",
			       scheme);
	}
	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	if (curl_url_get(u, CURLUPART_URL, &whole, 0) != CURLUE_OK || strlen(whole) > CALL_URL_MAX)
		return err_set(err, EPROTO, "redirected to a URL that is none");
	*ret = mem_str(whole);
	return 0;
}

char *url_with(const char *url, const char *name, const char *value)
{
	auto_curl char *escaped = curl_easy_escape(NULL, value, (int)strnlen(value, TOKEN_BYTES));

	return mem_fmt("%s%c%s=%s", url, strchr(url, '?') ? '&' : '?', name,
		       escaped ? escaped : "");
}
