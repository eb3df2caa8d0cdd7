/* SPDX-License-Identifier: Apache-2.0 */
/* References, as Docker reads them: github.com/distribution/reference, grammar and defaults. */
#include <shale/image.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum {
	DOMAIN_MAX_BYTES = 253 + 6, /* RFC 1035 2.3.4, as text, and a port */
	PATH_MAX_BYTES = 255,
	TAG_MAX_BYTES = 128,
	TEXT_MAX_BYTES = 1024,
	ID_HEX_LEN = 2 * DIGEST_LEN
};

static const char default_domain[] = "docker.io";
static const char legacy_domain[] = "index.docker.io";
static const char official[] = "library/";

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* What stands between two runs of letters and digits: one dot, one or two underscores, any number
 * of dashes. */
static size_t separator_len(const char *s, size_t n)
{
	size_t len = 0;

	while (len < n && s[len] == s[0])
		len++;
	if (s[0] == '-')
		return len;
	if (s[0] == '.')
		return len == 1 ? 1 : 0;
	return s[0] == '_' && len <= 2 ? len : 0;
}

static bool is_component(const char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		size_t start = i, sep;

		while (i < n && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		sep = separator_len(s + i, n - i);
		if (!sep)
			return false;
		i += sep;
	}
}

static bool is_path(const char *s, size_t n)
{
	while (n) {
		const char *slash = memchr(s, '/', n);
		size_t len = slash ? (size_t)(slash - s) : n;

		if (!is_component(s, len))
			return false;
		if (!slash)
			return true;
		s += len + 1;
		n -= len + 1;
	}
	return false;
}

static bool is_label(const char *s, size_t n)
{
	if (!n || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool is_port(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return n > 0;
}

static bool is_ipv6(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)s[i]) && s[i] != ':')
			return false;
	return n > 0;
}

/* host[:port], the host made of labels or a bracketed IPv6 address. */
static bool is_domain(const char *s, size_t n)
{
	const char *end = s + n, *colon;

	if (n && s[0] == '[') {
		const char *close = memchr(s, ']', n);

		if (!close || !is_ipv6(s + 1, (size_t)(close - s - 1)))
			return false;
		s = close + 1;
		return s == end || (*s == ':' && is_port(s + 1, (size_t)(end - s - 1)));
	}
	colon = memchr(s, ':', n);
	if (colon && !is_port(colon + 1, (size_t)(end - colon - 1)))
		return false;
	n = colon ? (size_t)(colon - s) : n;
	for (;;) {
		const char *dot = memchr(s, '.', n);
		size_t len = dot ? (size_t)(dot - s) : n;

		if (!is_label(s, len))
			return false;
		if (!dot)
			return true;
		s += len + 1;
		n -= len + 1;
	}
}

static bool is_tag(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > TAG_MAX_BYTES || (!is_alnum(s[0]) && s[0] != '_'))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_alnum(s[i]) && !strchr("_.-", s[i]))
			return false;
	return true;
}

static bool is_all_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]) && (s[i] < 'a' || s[i] > 'f'))
			return false;
	return true;
}

/* The first part is a registry only if it looks like one: a dot, a port, localhost, or an
 * upper-case letter. */
static bool has_domain(const char *text, const char *slash)
{
	size_t n = (size_t)(slash - text);

	if (memchr(text, '.', n) || memchr(text, ':', n))
		return true;
	if (n == strlen("localhost") && !memcmp(text, "localhost", n))
		return true;
	for (size_t i = 0; i < n; i++)
		if (isupper((unsigned char)text[i]))
			return true;
	return false;
}

static int bad(struct err *err, const char *text, const char *why)
{
	return err_set(err, EINVAL, "invalid reference '%.200s': %s", text, why);
}

struct parts {
	const char *domain, *path, *tag, *digest; /* NULL: not there */
	char *copy;
};

static void parts_free(struct parts *p)
{
	free(p->copy);
}

/* Cuts a copy of the text into its parts; the grammar is checked by the caller. */
static void cut(const char *text, struct parts *p)
{
	char *s = p->copy = mem_str(text), *at, *slash, *colon;

	at = strchr(s, '@');
	if (at) {
		*at = 0;
		p->digest = at + 1;
	}
	slash = strchr(s, '/');
	p->path = s;
	if (slash && has_domain(s, slash)) {
		*slash = 0;
		p->domain = s;
		p->path = slash + 1;
	}
	colon = strchr(p->path, ':');
	if (colon) {
		*colon = 0;
		p->tag = colon + 1;
	}
	if (p->domain && !strcmp(p->domain, legacy_domain))
		p->domain = default_domain;
}

static int check(const char *text, const struct parts *p, struct err *err)
{
	struct digest ignored;
	struct err why = { 0 };

	for (const char *c = p->path; *c; c++)
		if (isupper((unsigned char)*c))
			return bad(err, text, "the repository name must be lowercase");
	if (!is_path(p->path, strlen(p->path)))
		return bad(err, text,
			   "the repository name has letters, digits and single . _ - between them");
	if (p->domain && !is_domain(p->domain, strlen(p->domain)))
		return bad(err, text, "the registry is not a host name with an optional port");
	if (p->domain && strlen(p->domain) > DOMAIN_MAX_BYTES)
		return bad(err, text, "the registry's name is longer than 253 bytes");
	if (p->tag && !is_tag(p->tag))
		return bad(err, text, "a tag has up to 128 letters, digits, _ . -");
	if (p->digest && digest_parse(p->digest, &ignored, &why) < 0)
		return bad(err, text, why.msg);
	return 0;
}

int image_ref_normalize(const char *text, char **ret, struct err *err)
{
	size_t n = strnlen(text, TEXT_MAX_BYTES + 1);
	auto_str struct str out = { 0 };
	cleanup(parts_free) struct parts p = { 0 };
	bool is_official;
	int rc;

	if (!n)
		return err_set(err, EINVAL, "an empty reference");
	if (n > TEXT_MAX_BYTES)
		return bad(err, text, "too long");
	if (n == ID_HEX_LEN && is_all_hex(text, n))
		return bad(err, text, "64 hexadecimal digits are an image ID, not a name");
	cut(text, &p);
	rc = check(text, &p, err);
	if (rc < 0)
		return rc;
	if (!p.domain)
		p.domain = default_domain;
	is_official = !strcmp(p.domain, default_domain) && !strchr(p.path, '/');
	/* With its library/, so that the normal form is a name as well. */
	if (strlen(p.path) + (is_official ? strlen(official) : 0) > PATH_MAX_BYTES)
		return bad(err, text, "the repository name is longer than 255 bytes");
	str_addf(&out, "%s/%s%s", p.domain, is_official ? official : "", p.path);
	if (p.tag || !p.digest)
		str_addf(&out, ":%s", p.tag ? p.tag : "latest");
	if (p.digest)
		str_addf(&out, "@%s", p.digest);
	*ret = str_take(&out);
	return 0;
}

/* docker.io/library/node -> node, docker.io/me/app -> me/app: inside normalized. */
static const char *familiar(const char *normalized)
{
	const char *s = normalized, *rest, *slash;

	if (!str_starts(s, "docker.io/"))
		return s;
	s += strlen("docker.io/");
	/* docker.io/a.b/c keeps its domain, else a.b would be read as one. */
	slash = strchr(s, '/');
	if (slash && has_domain(s, slash))
		return normalized;
	rest = str_starts(s, official) ? s + strlen(official) : NULL;
	/* docker.io/library/a/b keeps its library, else it would be read as another name. */
	return rest && !strchr(rest, '/') ? rest : s;
}

char *image_ref_familiar(const char *normalized)
{
	return mem_str(familiar(normalized));
}

void image_ref_split(const char *normalized, char **ret_repo, char **ret_tag)
{
	const char *s = familiar(normalized), *at = strchr(s, '@'), *slash, *colon;
	size_t n = at ? (size_t)(at - s) : strlen(s);

	slash = memrchr(s, '/', n);
	colon = memrchr(s, ':', n);
	if (colon && slash && colon < slash)
		colon = NULL; /* a port */
	*ret_repo = mem_strn(s, colon ? (size_t)(colon - s) : n);
	*ret_tag = colon ? mem_strn(colon + 1, (size_t)(s + n - colon - 1)) : mem_str("<none>");
}

char *image_ref_purl(const char *normalized, const char *platform)
{
	const char *digest = strchr(normalized, '@');
	auto_free char *repo = NULL, *tag = NULL;
	auto_str struct str s = { 0 };
	char sep = '?';

	image_ref_split(normalized, &repo, &tag);
	str_addf(&s, "pkg:docker/%s", repo);
	if (strcmp(tag, "<none>") != 0)
		str_addf(&s, "@%s", tag);
	if (digest) {
		str_addf(&s, "?digest=%s", digest + 1);
		sep = '&';
	}
	if (!platform)
		return str_take(&s);
	str_addf(&s, "%cplatform=", sep);
	for (const char *p = platform; *p; p++)
		if (strchr("/:@?#%&=", *p))
			str_addf(&s, "%%%02X", (unsigned char)*p);
		else
			str_addc(&s, *p);
	return str_take(&s);
}

bool image_ref_is_bare(const char *text)
{
	const char *slash = strrchr(text, '/');

	return !strchr(slash ? slash : text, ':') && !strchr(text, '@');
}
