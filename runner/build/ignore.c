/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .dockerignore, as moby's patternmatcher reads it (MatchesOrParentMatches): the last pattern that
 * matches the path or one of its parents decides.
 */
#include <errno.h>
#include <string.h>

#include <shale/base/path.h>

#include "priv.h"

enum { PATTERNS_MAX = 10000 };

/* patternmatcher has short cuts with rules of their own; they are kept because people's files rely
 * on them. */
enum how {
	HOW_EXACT,  /* no wildcard */
	HOW_PREFIX, /* text** */
	HOW_SUFFIX, /* **text: any path that ends so, "/text" also the path "text" */
	HOW_GLOB,
};

struct rule {
	bool negate;
	enum how how;
	char *text;
	size_t len;
	struct glob *glob;
};

struct ignore {
	struct rule *rule;
	size_t n, cap;
	bool negation;
};

void ignore_free(struct ignore *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++) {
		mem_cleanup(&g->rule[i].text);
		glob_free(g->rule[i].glob);
	}
	mem_cleanup(&g->rule);
	mem_cleanup(&g);
}

#define auto_ignore cleanup(ignore_cleanup)
static void ignore_cleanup(struct ignore **g)
{
	ignore_free(*g);
}

static enum how how_of(const char *p, size_t len)
{
	bool starts = str_starts(p, "**");
	size_t plain = strcspn(p + (starts ? 2 : 0), "*?[]\\") + (starts ? 2 : 0);

	if (plain == len)
		return starts ? HOW_SUFFIX : HOW_EXACT;
	if (!starts && plain + 2 == len && str_ends(p, "**"))
		return HOW_PREFIX;
	return HOW_GLOB;
}

static int add(struct ignore *g, const char *pattern, bool negate, struct err *err)
{
	struct rule *r;

	if (g->n == PATTERNS_MAX)
		return err_set(err, EINVAL, "more than %d patterns", PATTERNS_MAX);
	/* Go checks every pattern with filepath.Match, which knows no "**". */
	if (glob_match(pattern, ".") < 0)
		return err_set(err, EINVAL, "bad pattern %.200s", pattern);
	mem_room(g->rule, g->n, g->cap);
	r = &g->rule[g->n++];
	*r = (struct rule){ .negate = negate, .text = mem_str(pattern), .len = strlen(pattern) };
	r->how = how_of(pattern, r->len);
	g->negation |= negate;
	if (r->how == HOW_GLOB && glob_compile(pattern, true, &r->glob) < 0)
		return err_set(err, EINVAL, "bad pattern %.200s", pattern);
	return 0;
}

/* Blanks around it, "!" and the leading slash are no part of it. */
static int add_clean(struct ignore *g, char *s, bool may_negate, struct err *err)
{
	auto_free char *clean = NULL;
	bool negate = may_negate && *s == '!';
	char *p;

	if (negate)
		s = str_trim(s + 1);
	if (!*s)
		return err_set(err, EINVAL, "\"!\" without a pattern");
	clean = path_clean(s);
	p = clean;
	if (p[0] == '/' && p[1])
		p++;
	return add(g, p, negate, err);
}

int ignore_add(struct ignore **g, const char *pattern, bool may_negate, struct err *err)
{
	auto_free char *copy = mem_str(pattern);
	char *s = str_trim(copy);

	if (!*g)
		*g = mem_alloc(sizeof(**g));
	return *s ? add_clean(*g, s, may_negate, err) : 0;
}

/* One line without its end. */
static int add_line(struct ignore *g, char *s, int line, struct err *err)
{
	int rc;

	/* A comment starts in the first column; " #x" is a pattern. */
	if (*s == '#')
		return 0;
	s = str_trim(s);
	rc = *s ? add_clean(g, s, true, err) : 0;
	return rc < 0 ? err_ctx(err, "line %d", line) : 0;
}

int ignore_parse(const char *text, size_t len, struct ignore **ret, struct err *err)
{
	auto_ignore struct ignore *g = mem_alloc(sizeof(*g));
	const char *end = text + len;

	if (len > DF_BYTES_MAX)
		return err_set(err, EINVAL, "more than %d bytes", DF_BYTES_MAX);
	if (len && memchr(text, 0, len))
		return err_set(err, EINVAL, "a NUL byte in the text");
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	for (int line = 1; text < end; line++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((stop ? stop : end) - text);
		auto_free char *s = mem_strn(text, n);
		int rc;

		rc = add_line(g, s, line, err);
		if (rc < 0)
			return rc;
		text += n + 1;
	}
	*ret = take(g);
	return 0;
}

static bool rule_match(const struct rule *r, const char *path)
{
	const char *suffix;

	switch (r->how) {
	case HOW_EXACT:
		return !strcmp(path, r->text);
	case HOW_PREFIX:
		return !strncmp(path, r->text, r->len - 2);
	case HOW_SUFFIX:
		suffix = r->text + 2;
		return str_ends(path, suffix) || (*suffix == '/' && !strcmp(path, suffix + 1));
	default:
		return glob_run(r->glob, path);
	}
}

/* The path or one of its parents. */
static bool rule_match_deep(const struct rule *r, const char *path, char *buf)
{
	if (rule_match(r, path))
		return true;
	for (char *slash = strchr(buf, '/'); slash; slash = strchr(slash + 1, '/')) {
		bool match;

		*slash = 0;
		match = rule_match(r, buf);
		*slash = '/';
		if (match)
			return true;
	}
	return false;
}

bool ignore_match(const struct ignore *g, const char *path)
{
	auto_free char *buf = NULL;
	bool ignored = false;

	if (!g || !g->n || !*path || !strcmp(path, "."))
		return false;
	buf = mem_str(path);
	for (size_t i = 0; i < g->n; i++)
		/* A rule that would change nothing need not be asked. */
		if (g->rule[i].negate == ignored && rule_match_deep(&g->rule[i], path, buf))
			ignored = !g->rule[i].negate;
	return ignored;
}

bool ignore_has_negation(const struct ignore *g)
{
	return g && g->negation;
}
