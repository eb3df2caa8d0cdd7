/* SPDX-License-Identifier: Apache-2.0 */
/* Expansion: each row is a word, what becomes of it ("!text" is an error that says so). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/build.h>

#include "tests.h"

static const struct {
	const char *name, *value;
} vars[] = {
	{ "PWD", "/home" },       { "SHELL", "bash" },          { "NULL", "" },
	{ "V", "a b" },           { "FILE", "dir/a.tar.gz" },   { "STARS", "a***yy*" },
	{ "XY", "xxyy" },         { "U", "\xc3\xa4\xc3\xb6x" }, { "SLASH", "/foo*/*/*.txt" },
	{ "URL", "http://g.de" }, { "NEEDLE", "\\*/" },         { "RE", "()[]{}^$.*?|\\x" },
	{ "BAD", "\xff\xfe" },
};

static const char *lookup(const char *name, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(vars); i++)
		if (!strcmp(vars[i].name, name))
			return vars[i].value;
	return NULL;
}

struct row {
	const char *word, *want;
};

static const struct row words[] = {
	/* plain, quotes, escapes */
	{ "", "" },
	{ "hello", "hello" },
	{ "he'll'o", "hello" },
	{ "he'llo", "!closing '" },
	{ "he\\'llo", "he'llo" },
	{ "he\\\\'llo", "!closing '" },
	{ "abc\\tdef", "abctdef" },
	{ "'abc\\tdef'", "abc\\tdef" },
	{ "\"abc\\tdef\"", "abc\\tdef" },
	{ "\"abc\\\\tdef\"", "abc\\tdef" },
	{ "\"abc\\\"def\"", "abc\"def" },
	{ "\"abc\\$PWD\"", "abc$PWD" },
	{ "\"abc\\", "!closing \"" },
	{ "\"abc", "!closing \"" },
	{ "abc\\", "abc" },
	{ "''", "" },
	{ "\"'\"", "'" },
	{ "'\"'", "\"" },
	{ "  a  b ", "  a  b " },
	/* $v */
	{ "$PWD", "/home" },
	{ "'$PWD'", "$PWD" },
	{ "\"$PWD\"", "/home" },
	{ "\\$PWD", "$PWD" },
	{ "he$PWD.x", "he/home.x" },
	{ "$PWD_", "" },
	{ "he$", "he$" },
	{ "he$.", "he$." },
	{ "$$", "" },
	{ "a$$b", "ab" },
	{ "$@x", "x" },
	{ "$1x", "x" },
	{ "$10x", "x" },
	{ "$UNSET", "" },
	{ "$(x)", "$(x)" },
	/* ${v} */
	{ "${PWD}", "/home" },
	{ "${PWD}1", "/home1" },
	{ "${UNSET}", "" },
	{ "${@}", "" },
	{ "${}", "!bad substitution" },
	{ "${", "!missing }" },
	{ "${{x}}", "!bad substitution" },
	{ "${:x}", "!bad substitution" },
	{ "${ x}", "!bad substitution" },
	{ "${PWD", "!missing }" },
	{ "${PWD:}", "!unsupported modifier" },
	{ "${PWD:x}", "!unsupported modifier" },
	{ "${PWD=x}", "!unsupported modifier" },
	{ "${PWD:=x}", "!unsupported modifier" },
	{ "${PWD:#x}", "!unsupported modifier" },
	{ "${PWD:", "!unsupported modifier" },
	{ "${PWD x}", "!unsupported modifier" },
	/* - + ? */
	{ "${PWD:-x}|${NULL:-x}|${UNSET:-x}", "/home|x|x" },
	{ "${PWD-x}|${NULL-x}|${UNSET-x}", "/home||x" },
	{ "${PWD:+x}|${NULL:+x}|${UNSET:+x}", "x||" },
	{ "${PWD+x}|${NULL+x}|${UNSET+x}", "x|x|" },
	{ "${PWD:?m}${PWD?m}${NULL?m}", "/home/home" },
	{ "${NULL:?m}", "!NULL: m" },
	{ "${UNSET:?m $SHELL}", "!UNSET: m bash" },
	{ "${UNSET?}", "!UNSET: is not allowed to be unset" },
	{ "${NULL:?}", "!NULL: is not allowed to be empty" },
	{ "${UNSET:-}", "" },
	{ "${UNSET:-$SHELL}", "bash" },
	{ "${UNSET:-${ALSO:-${SHELL}x}}", "bashx" },
	{ "${UNSET:-'a}b'}", "a}b" },
	{ "${UNSET:-a\\}b}", "a}b" },
	{ "\"${UNSET:-a b}\"", "a b" },
	{ "${UNSET:-x", "!missing }" },
	{ "${UNSET:-\"x}", "!closing \"" },
	/* # % */
	{ "${FILE#*/}", "a.tar.gz" },
	{ "${FILE##*.}", "gz" },
	{ "${FILE%.*}", "dir/a.tar" },
	{ "${FILE%%.*}", "dir/a" },
	{ "${FILE%/*}", "dir" },
	{ "${FILE#nothing}", "dir/a.tar.gz" },
	{ "${XY#}", "xxyy" },
	{ "${XY##}", "xxyy" },
	{ "${XY%}", "xxyy" },
	{ "${XY#*}", "xxyy" },
	{ "${XY##*}", "" },
	{ "${XY#*x*y}", "y" },
	{ "${XY##*x}", "yy" },
	{ "${XY#?}", "xyy" },
	{ "${XY%%x*}", "" },
	{ "${XY%x*}", "x" },
	{ "${XY%%$NULL}", "xxyy" },
	{ "${U#?}", "\xc3\xb6x" },
	{ "${U%?}", "\xc3\xa4\xc3\xb6" },
	{ "${BAD#?}", "\xfe" },
	{ "${STARS%%\\**}", "a" },
	{ "${STARS%%\\**\\*}", "a" },
	{ "${RE#()[]{\\}^$.\\*\\?|\\\\}", "x" },
	{ "${UNSET#x}", "" },
	{ "${XY#\\x}", "!invalid escape" },
	{ "${XY#x", "!missing }" },
	/* / */
	{ "${SLASH/$NEEDLE/.}", "/foo.*/*.txt" },
	{ "${SLASH//$NEEDLE/.}", "/foo..*.txt" },
	{ "${URL/http:\\/\\//x}", "xg.de" },
	{ "${FILE//\\//:}", "dir:a.tar.gz" },
	{ "${XY/x/zz}", "zzxyy" },
	{ "${XY//x/zz}", "zzzzyy" },
	{ "${XY//x/}", "yy" },
	{ "${XY//*/q}", "q" },
	{ "${XY//?/q}", "qqqq" },
	{ "${XY/x*y/q}", "q" },
	{ "${XY/$NULL/w}", "wxxyy" },
	{ "${XY//$NULL/w}", "wxwxwywyw" },
	{ "${XY///}", "xxyy" },
	{ "${XY//w}", "!missing /" },
	{ "${XY//}", "!missing /" },
	{ "${XY/a/b", "!missing }" },
	{ "${XY/x/$PWD}", "/homexyy" },
	{ "${UNSET//x/y}", "" },
};

static void check(int rc, const char *got, const struct err *err, const struct row *r)
{
	if (*r->want == '!') {
		if (rc != -EINVAL || !strstr(err->msg, r->want + 1))
			fail_msg("%s: want error %s, got %d %s", r->word, r->want + 1, rc,
				 rc ? err->msg : got);
	} else if (rc != 0 || strcmp(got, r->want) != 0) {
		fail_msg("%s: want %s, got %d %s", r->word, r->want, rc, rc ? err->msg : got);
	}
}

static void expands_word(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct err err = { 0 };
		auto_free char *got = NULL;
		int rc = expand_word(words[i].word, '\\', lookup, NULL, &got, &err);

		check(rc, got, &err, &words[i]);
	}
}

static void expands_words(void **state)
{
	/* words joined by "|" */
	static const struct row rows[] = {
		{ "", "" },
		{ "a", "a" },
		{ " a  b\tc ", "a|b|c" },
		{ "'a b' c", "a b|c" },
		{ "a\\ b", "a b" },
		{ "$V", "a|b" },
		{ "\"$V\"", "a b" },
		{ "x$V", "xa|b" },
		{ "x${V}y z", "xa|by|z" },
		{ "${UNSET:-1 2}", "1|2" },
		{ "$UNSET", "" },
		{ "''", "" },
		{ "a'' b", "a|b" },
		{ "${V", "!missing }" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		auto_strv struct strv got = { 0 };
		auto_str struct str joined = { 0 };
		int rc = expand_words(rows[i].word, '\\', lookup, NULL, &got, &err);

		for (size_t k = 0; k < got.n; k++)
			str_addf(&joined, "%s%s", k ? "|" : "", got.v[k]);
		check(rc, str_get(&joined), &err, &rows[i]);
	}
}

static void expands_with_backtick(void **state)
{
	static const struct row rows[] = {
		{ "c:\\x", "c:\\x" }, { "`$PWD", "$PWD" }, { "\"`\"\"", "\"" },
		{ "a``b", "a`b" },    { "a`", "a" },       { "${UNSET:-a`}b}", "a}b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		auto_free char *got = NULL;
		int rc = expand_word(rows[i].word, '`', lookup, NULL, &got, &err);

		check(rc, got, &err, &rows[i]);
	}
}

static void expands_heredoc_text(void **state)
{
	static const struct row rows[] = {
		{ "a 'b' \"$PWD\"\n", "a 'b' \"/home\"\n" },
		{ "it's ${SHELL}\n", "it's bash\n" },
		{ "\\$PWD \\\\ x\n", "$PWD \\ x\n" },
		{ "${UNSET:-'x'}", "'x'" },
		{ "${PWD", "!missing }" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		auto_free char *got = NULL;
		int rc = expand_text(rows[i].word, '\\', lookup, NULL, &got, &err);

		check(rc, got, &err, &rows[i]);
	}
}

static char *repeat(const char *s, size_t n)
{
	struct str b = { 0 };

	while (n--)
		str_add(&b, s);
	return str_take(&b);
}

static const char *lookup_long(const char *name, void *arg)
{
	return *name == 'L' ? arg : NULL;
}

static int expand_long(const char *word, char *value, struct err *err)
{
	auto_free char *got = NULL;

	return expand_word(word, '\\', lookup_long, value, &got, err);
}

static void limits_are_kept(void **state)
{
	auto_free char *open = repeat("${a:-", 33), *close = repeat("}", 33);
	auto_free char *deep = mem_fmt("%s%s", open, close);
	auto_free char *fine = mem_fmt("%s%s", open + 5, close + 1);
	auto_free char *big = repeat("0123456789abcdef", 8192);
	auto_free char *many = repeat("$L", 9);
	auto_free char *stars = repeat("*0", 400), *cut = mem_fmt("${L#%s}", stars);
	auto_free char *wide = repeat("?", 1025), *cut2 = mem_fmt("${L#%s}", wide);
	auto_free char *grow = mem_fmt("${L//?/%.20s}", big);
	struct err err = { 0 };

	(void)state;
	assert_int_equal(expand_long(fine, big, &err), 0);
	assert_int_equal(expand_long(deep, big, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nested"));
	assert_int_equal(expand_long("$L$L$L$L$L$L$L$L", big, &err), 0);
	assert_int_equal(expand_long(many, big, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "longer than"));
	assert_int_equal(expand_long(cut, big, &err), 0);
	assert_int_equal(expand_long(cut2, big, &err), -EINVAL);
	assert_int_equal(expand_long(grow, big, &err), -EINVAL);
	/* one byte more than a pattern looks at */
	big = mem_grow(big, strlen(big) + 2, 1);
	memcpy(big + strlen(big), "x", 2);
	assert_int_equal(expand_long("${L#0}", big, &err), -EINVAL);
}

static void messages_hold_no_control_bytes(void **state)
{
	struct err err = { 0 };
	auto_free char *got = NULL;

	(void)state;
	assert_int_equal(expand_word("${x:?\x1b[31m}", '\\', lookup, NULL, &got, &err), -EINVAL);
	assert_null(strchr(err.msg, 0x1b));
}

int test_expand(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expands_word),
		cmocka_unit_test(expands_words),
		cmocka_unit_test(expands_with_backtick),
		cmocka_unit_test(expands_heredoc_text),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(messages_hold_no_control_bytes),
	};

	return cmocka_run_group_tests_name("expand", tests, NULL, NULL);
}
