/* SPDX-License-Identifier: Apache-2.0 */
/* .dockerignore, filepath.Match, --chmod and EXPOSE. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/build.h>

#include "../../../runner/build/priv.h"
#include "tests.h"

static void globs_match_as_go(void **state)
{
	static const struct {
		const char *pattern, *path;
		int want;
	} rows[] = {
		{ "abc", "abc", 1 },
		{ "*", "abc", 1 },
		{ "*c", "abc", 1 },
		{ "a*", "a", 1 },
		{ "a*", "abc", 1 },
		{ "a*", "ab/c", 0 },
		{ "a*/b", "abc/b", 1 },
		{ "a*/b", "a/c/b", 0 },
		{ "a*b*c*d*e*/f", "axbxcxdxe/f", 1 },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/f", 1 },
		{ "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", 0 },
		{ "a*b*c*d*e*/f", "axbxcxdxexxx/fff", 0 },
		{ "a*b?c*x", "abxbbxdbxebxczzx", 1 },
		{ "a*b?c*x", "abxbbxdbxebxczzy", 0 },
		{ "ab[c]", "abc", 1 },
		{ "ab[b-d]", "abc", 1 },
		{ "ab[e-g]", "abc", 0 },
		{ "ab[^c]", "abc", 0 },
		{ "ab[^b-d]", "abc", 0 },
		{ "ab[^e-g]", "abc", 1 },
		{ "a\\*b", "a*b", 1 },
		{ "a\\*b", "ab", 0 },
		{ "a?b",
		  "a\xe2\x98\xba"
		  "b",
		  1 },
		{ "a[^a]b",
		  "a\xe2\x98\xba"
		  "b",
		  1 },
		{ "a???b",
		  "a\xe2\x98\xba"
		  "b",
		  0 },
		{ "a[^a][^a][^a]b",
		  "a\xe2\x98\xba"
		  "b",
		  0 },
		{ "[a-\xce\xb6]*", "\xce\xb1", 1 },
		{ "*[a-\xce\xb6]", "A", 0 },
		{ "a?b", "a/b", 0 },
		{ "a*b", "a/b", 0 },
		{ "[\\]a]", "]", 1 },
		{ "[\\-]", "-", 1 },
		{ "[x\\-]", "x", 1 },
		{ "[x\\-]", "-", 1 },
		{ "[x\\-]", "z", 0 },
		{ "[\\-x]", "a", 0 },
		{ "[]a]", "]", -EINVAL },
		{ "[-]", "-", -EINVAL },
		{ "[x-]", "x", -EINVAL },
		{ "[-x]", "x", -EINVAL },
		{ "[a-b-d]", "a", -EINVAL },
		{ "[", "a", -EINVAL },
		{ "[^", "a", -EINVAL },
		{ "[^bc", "a", -EINVAL },
		{ "a[", "a", -EINVAL },
		{ "a[", "ab", -EINVAL },
		{ "a[", "x", -EINVAL },
		{ "\\", "a", -EINVAL },
		{ "[\\", "a", -EINVAL },
		{ "*x", "xxx", 1 },
		{ "**", "a/b", 0 },
		{ "", "", 1 },
		{ "", "a", 0 },
		{ "?", "", 0 },
		{ "*", "", 1 },
		{ "a\xff?", "a\xff\xfe", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (glob_match(rows[i].pattern, rows[i].path) != rows[i].want)
			fail_msg("%s on %s: want %d", rows[i].pattern, rows[i].path, rows[i].want);
}

static void globs_have_limits(void **state)
{
	char pattern[GLOB_BYTES_MAX + 2], path[5000];

	(void)state;
	memset(pattern, '*', sizeof(pattern));
	memset(path, 'a', sizeof(path));
	pattern[GLOB_BYTES_MAX + 1] = 0;
	assert_int_equal(glob_match(pattern, "a"), -EINVAL);
	pattern[GLOB_BYTES_MAX] = 0;
	path[4096] = 0;
	assert_int_equal(glob_match(pattern, path), 1);
	path[4096] = 'a';
	path[4097] = 0;
	assert_int_equal(glob_match(pattern, path), 0);
}

static void ignore_decides(void **state)
{
	static const struct {
		const char *file, *path;
		bool want;
	} rows[] = {
		{ "", "a", false },
		{ "a", "a", true },
		{ "a", "a/b/c", true },
		{ "a", "b/a", false },
		{ "/a", "a", true },
		{ "./a/", "a", true },
		{ "a/../b", "b", true },
		{ "  a  \r\n", "a", true },
		{ "\xef\xbb\xbf"
		  "a",
		  "a", true },
		{ "#a", "#a", false },
		{ " #a", "#a", true },
		{ "*", "a", true },
		{ "*", "a/b", true },
		{ "*.go", "a.go", true },
		{ "*.go", "d/a.go", false },
		{ "*/*.go", "d/a.go", true },
		{ "**", "a/b/c", true },
		{ "**/", "a", true },
		{ "**/a", "a", true },
		{ "**/a", "x/y/a", true },
		{ "**/a", "x/y/a/z", true },
		{ "**/a", "xa", false },
		{ "**a", "xa", true },
		{ "**/*.go", "a.go", true },
		{ "**/*.go", "x/y/a.go", true },
		{ "a/**", "a/b", true },
		{ "a/**", "a", false },
		{ "a/**", "ab", false },
		{ "a/**/b", "a/b", true },
		{ "a/**/b", "a/x/y/b", true },
		{ "a/**/b", "a/x/yb", false },
		{ "a**b", "ab", true },
		{ "a**b", "ax/b", true },
		{ "a**b", "axb", false },
		{ "**/a*/**/b", "q/ax/b", true },
		{ "**/a*/**/b", "q/ax/y/z/b", true },
		{ "**/a*/**/b", "q/xa/b", false },
		{ "**/x**", "q/xyz/w", true },
		{ "*x**b", "axxb", true },
		{ "a?c", "abc", true },
		{ "a?c", "a/c", false },
		{ "a[bc]", "ac", true },
		{ "a\\*", "a*", true },
		{ "a\\*", "ab", false },
		{ "a.c", "abc", false },
		{ "(a)+", "(a)+", true },
		{ "a\n!a", "a", false },
		{ "!a\na", "a", true },
		{ "*\n!a", "a", false },
		{ "*\n!a", "a/x", false },
		{ "*\n!a/b", "a/b", false },
		{ "*\n!a/b", "a/c", true },
		{ "*\n! /a", "a", false },
		{ "*\n!*.md\nREADME.md", "x.md", false },
		{ "*\n!*.md\nREADME.md", "README.md", true },
		{ "*\nREADME.md\n!*.md", "README.md", false },
		{ "docs\n!docs/keep", "docs/keep/x", false },
		{ "docs\n!docs/keep", "docs/other", true },
		{ ".", ".", false },
		{ "*", "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ignore *g = NULL;
		struct err err = { 0 };
		bool got;

		assert_int_equal(ignore_parse(rows[i].file, strlen(rows[i].file), &g, &err), 0);
		got = ignore_match(g, rows[i].path);
		ignore_free(g);
		if (got != rows[i].want)
			fail_msg("%s on %s: want %d", rows[i].file, rows[i].path, rows[i].want);
	}
	assert_false(ignore_match(NULL, "a"));
	assert_false(ignore_has_negation(NULL));
}

static void ignore_refuses(void **state)
{
	static const char *const bad[] = { "!", "a\n ! \n", "[", "a\\", "[a-]" };
	struct ignore *g = NULL;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(ignore_parse(bad[i], strlen(bad[i]), &g, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "line "));
	}
	assert_int_equal(ignore_parse("a\0b", 3, &g, &err), -EINVAL);
	assert_null(g);
	assert_int_equal(ignore_parse("a\n!b\n", 5, &g, &err), 0);
	assert_true(ignore_has_negation(g));
	ignore_free(g);
}

static void chmod_changes(void **state)
{
	static const struct {
		const char *spec;
		uint32_t mode;
		bool dir;
		int64_t want; /* -1: refused */
	} rows[] = {
		{ "755", 0644, false, 0755 },
		{ "0644", 0755, false, 0644 },
		{ "7777", 0, false, 07777 },
		{ "0", 0777, false, 0 },
		{ "10000", 0, false, -1 },
		{ "8", 0, false, -1 },
		{ "", 0, false, -1 },
		{ "+x", 0644, false, 0755 },
		{ "-x", 0755, false, 0644 },
		{ "u+x", 0644, false, 0744 },
		{ "u=rwX,go=rX", 0600, false, 0644 },
		{ "u=rwX,go=rX", 0700, false, 0755 },
		{ "u=rwX,go=rX", 0600, true, 0755 },
		{ "a=r", 0777, false, 0444 },
		{ "=", 0777, false, 0 },
		{ "ug=", 0777, false, 0007 },
		{ "go-rwx", 0777, false, 0700 },
		{ "g=u", 0740, false, 0770 },
		{ "o=g-w", 0674, false, 0675 },
		{ "u+s,g+s,o+t", 0755, false, 07755 },
		{ "+s", 0755, false, 06755 },
		{ "o+s", 0755, false, 0755 },
		{ "+t", 0755, true, 01755 },
		{ "a-x,a+X", 0755, false, 0755 },
		{ "u+r+w-x", 0100, false, 0600 },
		{ "u=rw,", 0, false, -1 },
		{ ",u=rw", 0, false, -1 },
		{ "u", 0, false, -1 },
		{ "u+q", 0, false, -1 },
		{ "x", 0, false, -1 },
		{ "u+a", 0, false, -1 },
		{ "+x ", 0, false, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t got = 0, type = rows[i].dir ? S_IFDIR : S_IFREG;
		int rc = chmod_apply(rows[i].spec, rows[i].mode | type, rows[i].dir, &got);

		if (rows[i].want < 0 ? rc != -EINVAL : rc != 0 || got != (rows[i].want | type))
			fail_msg("%s on %o: want %o, got %d %o", rows[i].spec, rows[i].mode,
				 (unsigned)rows[i].want, rc, got);
	}
}

static void expose_reads(void **state)
{
	static const struct {
		const char *word, *want; /* NULL: refused */
	} rows[] = {
		{ "80", "80/tcp" },
		{ "80/UDP", "80/udp" },
		{ "80-82", "80/tcp 81/tcp 82/tcp" },
		{ "5/sctp", "5/sctp" },
		{ "8080:80", "80/tcp" },
		{ "127.0.0.1:8080:80/udp", "80/udp" },
		{ "65535", "65535/tcp" },
		{ "65536", NULL },
		{ "82-80", NULL },
		{ "80/icmp", NULL },
		{ "", NULL },
		{ "a", NULL },
		{ "-1", NULL },
		{ "80-", NULL },
		{ "80/", NULL },
		{ "x:80", NULL },
		{ "+80", NULL },
		{ "99999999999999999999", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_strv struct strv got = { 0 };
		auto_str struct str joined = { 0 };
		struct err err = { 0 };
		int rc = expose_parse(rows[i].word, &got, &err);

		for (size_t k = 0; k < got.n; k++)
			str_addf(&joined, "%s%s", k ? " " : "", got.v[k]);
		if (rows[i].want ? rc != 0 || strcmp(str_get(&joined), rows[i].want) != 0
				 : rc != -EINVAL)
			fail_msg("%s: got %d %s", rows[i].word, rc, str_get(&joined));
	}
}

int test_patterns(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(globs_match_as_go), cmocka_unit_test(globs_have_limits),
		cmocka_unit_test(ignore_decides),    cmocka_unit_test(ignore_refuses),
		cmocka_unit_test(chmod_changes),     cmocka_unit_test(expose_reads),
	};

	return cmocka_run_group_tests_name("patterns", tests, NULL, NULL);
}
