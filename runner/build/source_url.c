/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: what a URL of ADD or of a context asks for, and what of it may be shown and kept. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <shale/base/path.h>

#include "mount.h"
#include "remote.h"

enum { URL_BYTES_MAX = 16 << 10 };

void source_url_free(struct source_url *u)
{
	char **const all[] = { &u->url, &u->user, &u->password, &u->ref, &u->subdir, &u->checksum };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		mem_cleanup(all[i]);
}

static int hex(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* %41 is A; %00 and what is no number stays. */
static char *decode(const char *s, size_t n)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < n; i++) {
		int hi = s[i] == '%' && i + 2 < n ? hex(s[i + 1]) : -1;
		int lo = hi >= 0 ? hex(s[i + 2]) : -1;

		if (lo < 0 || hi * 16 + lo == 0) {
			str_addc(&b, s[i]);
			continue;
		}
		str_addc(&b, (char)(hi * 16 + lo));
		i += 2;
	}
	return str_take(&b);
}

static bool is_http(const char *s)
{
	return !strncasecmp(s, "http://", 7) || !strncasecmp(s, "https://", 8);
}

/* The text after "scheme://user@", or NULL without user information. */
static const char *after_user(const char *s)
{
	const char *host = strstr(s, "://"), *end, *at = NULL;

	if (!host)
		return NULL;
	host += 3;
	end = host + strcspn(host, "/?# \t\"',");
	for (const char *p = host; p < end; p++)
		if (*p == '@')
			at = p;
	return at ? at + 1 : NULL;
}

char *source_url_scrub(const char *text)
{
	auto_str struct str b = { 0 };
	const char *mark;

	while ((mark = strstr(text, "://"))) {
		const char *rest = after_user(text), *word = mark;

		str_addn(&b, text, (size_t)(mark - text) + 3);
		while (word > text && isalpha((unsigned char)word[-1]))
			word--;
		/* Of ssh the user is part of the address. */
		if (rest && !is_http(word)) {
			const char *user = mark + 3;

			str_addn(&b, user, strcspn(user, ":@"));
			str_addc(&b, '@');
		}
		text = rest ? rest : mark + 3;
	}
	str_add(&b, text);
	return str_take(&b);
}

char *source_url_file(const char *url)
{
	const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
	auto_free char *whole = path ? decode(path, strcspn(path, "?#")) : mem_str("");
	char *name;

	for (size_t n = strlen(whole); n && whole[n - 1] == '/';)
		whole[--n] = 0;
	name = mem_str(path_base(whole));
	if (*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return name;
	mem_cleanup(&name);
	return mem_str("__unnamed__");
}

/* http(s)://…/x.git, git@host:x, ssh://, git://: what BuildKit takes for a repository. */
static bool is_git(const char *s)
{
	size_t n = strcspn(s, "?#");

	if (!strncasecmp(s, "git@", 4) || !strncasecmp(s, "git://", 6) ||
	    !strncasecmp(s, "ssh://", 6))
		return true;
	return is_http(s) && n > 4 && !strncmp(s + n - 4, ".git", 4);
}

/* What git and ssh would read as an option is refused before they see it. */
static int check_ssh(const char *url, struct err *err)
{
	bool is_scp = !strncasecmp(url, "git@", 4);
	const char *user = is_scp ? url : url + 6;
	size_t n = strcspn(user, is_scp ? ":/" : "/");
	auto_free char *whole = mem_strn(user, n);
	const char *at = strrchr(whole, '@'), *host = at ? at + 1 : whole;

	if (is_scp && user[n] != ':')
		return err_set(err, EINVAL, "%.100s: want git@HOST:PATH", url);
	if (*whole == '-' || *host == '-' || !*host)
		return err_set(err, EINVAL, "%.100s: no name of a host", url);
	return 0;
}

static void set(char **at, const char *value)
{
	mem_cleanup(at);
	*at = *value ? mem_str(value) : NULL;
}

static int take_query(struct source_url *u, const char *query, struct err *err)
{
	auto_strv struct strv items = { 0 };

	strv_split(&items, query, '&');
	for (size_t i = 0; i < items.n; i++) {
		const char *eq = strchr(items.v[i], '=');
		auto_free char *name =
			mem_strn(items.v[i], eq ? (size_t)(eq - items.v[i]) : strlen(items.v[i]));
		auto_free char *value = eq ? decode(eq + 1, strlen(eq + 1)) : mem_str("");

		if (!strcmp(name, "ref") || !strcmp(name, "branch") || !strcmp(name, "tag"))
			set(&u->ref, value);
		else if (!strcmp(name, "subdir"))
			set(&u->subdir, value);
		else if (!strcmp(name, "checksum") || !strcmp(name, "commit"))
			set(&u->checksum, value);
		else if (!strcmp(name, "keep-git-dir"))
			u->keep_git = !*value || bool_is_true(value);
		else if (!strcmp(name, "submodules"))
			u->no_submodules = *value && !bool_is_true(value);
		else
			return err_set(err, EINVAL, "%.60s: not known in the query of a git URL",
				       name);
	}
	return 0;
}

static int take_git(struct source_url *u, struct err *err)
{
	char *fragment = strchr(u->url, '#'), *query, *colon;
	int rc = 0;

	if (fragment)
		*fragment++ = 0;
	query = strchr(u->url, '?');
	if (query) {
		*query++ = 0;
		rc = take_query(u, query, err);
	}
	if (rc < 0 || !fragment)
		return rc;
	colon = strchr(fragment, ':');
	if (colon) {
		*colon++ = 0;
		set(&u->subdir, colon);
	}
	if (*fragment)
		set(&u->ref, fragment);
	return 0;
}

/* What git would read as an option, or as more than a name. */
static bool is_ref(const char *s)
{
	if (*s == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._/+@-", *s))
			return false;
	return true;
}

int source_url_parse(const char *text, struct source_url *ret, struct err *err)
{
	struct source_url u = { .keep_git = -1 };
	const char *rest = after_user(text);
	int rc = 0;

	if (!inst_add_is_remote(text))
		return 0;
	if (strlen(text) > URL_BYTES_MAX)
		return err_set(err, EINVAL, "a URL of more than %d bytes", URL_BYTES_MAX);
	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p) || *p == ' ')
			return err_set(err, EINVAL, "a URL with blanks or control characters");
	if (rest && is_http(text)) {
		const char *user = strstr(text, "://") + 3;
		size_t n = (size_t)(rest - 1 - user), cut = strcspn(user, ":@");

		u.user = decode(user, cut < n ? cut : n);
		u.password = cut < n ? decode(user + cut + 1, n - cut - 1) : mem_str("");
	}
	u.url = source_url_scrub(text);
	u.is_git = is_git(u.url);
	u.is_ssh = !strncasecmp(u.url, "git@", 4) || !strncasecmp(u.url, "ssh://", 6);
	if (u.is_ssh)
		rc = check_ssh(u.url, err);
	if (rc >= 0 && u.is_git)
		rc = take_git(&u, err);
	if (!u.is_git)
		u.url[strcspn(u.url, "#")] = 0;
	if (rc >= 0 && u.ref && !is_ref(u.ref))
		rc = err_set(err, EINVAL, "%.100s: no name of a branch, tag or commit", u.ref);
	if (rc < 0) {
		source_url_free(&u);
		return rc;
	}
	*ret = u;
	return 1;
}
