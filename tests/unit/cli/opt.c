/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../../runner/cli/priv.h"

struct args {
	bool interactive, tty, trunc;
	const char *name;
	struct strv env;
	int number, timeout_ms;
	uint64_t count, memory;
	int64_t interval_ns;
	const char *pull;
};

#define OFF(field) offsetof(struct args, field)
static const struct opt opts[] = {
	{ 'i', "interactive", OPT_BOOL, OFF(interactive), NULL, "keep stdin open" },
	{ 't', "tty", OPT_BOOL, OFF(tty), NULL, "a terminal" },
	{ 0, "trunc", OPT_BOOL, OFF(trunc), NULL, "cut" },
	{ 0, "name", OPT_STR, OFF(name), "NAME", "its name" },
	{ 'e', "env", OPT_STRV, OFF(env), "K=V", "environment" },
	{ 0, "number", OPT_INT, OFF(number), "N", "a number" },
	{ 0, "time", OPT_SECONDS, OFF(timeout_ms), "SECONDS", "wait" },
	{ 0, "count", OPT_U64, OFF(count), "N", "how many" },
	{ 'm', "memory", OPT_BYTES, OFF(memory), "BYTES", "limit" },
	{ 0, "interval", OPT_DURATION, OFF(interval_ns), "TIME", "pause" },
	{ 0, "pull", OPT_STR, OFF(pull), "WORD", "or alone", "always never" },
	{ 0, "hidden", OPT_BOOL, OFF(trunc), NULL, NULL },
	{ 0 },
};

/* Blank-separated words; the rest comes back the same way. */
static int parse(const char *line, bool stop, struct args *a, char *rest, struct err *err)
{
	struct opt_parse p = { opts, a, stop, false };
	static struct strv words; /* what a says points here */
	char *argv[32];
	int argc, rc;

	strv_free(&words);
	words = (struct strv){ 0 };
	strv_split(&words, line, ' ');
	argc = (int)words.n;
	assert_true(argc < 32);
	memcpy(argv, strv_args(&words), (words.n + 1) * sizeof(*argv));
	rc = opt_parse(&p, &argc, argv, err);
	rest[0] = 0;
	for (int i = 0; rc >= 0 && i < argc; i++)
		snprintf(rest + strlen(rest), 60, "%s;", argv[i]);
	return rc < 0 ? rc : p.help;
}

static void test_forms(void **state)
{
	struct args a = { .trunc = true };
	struct err err = { 0 };
	char rest[512];

	(void)state;
	assert_int_equal(
		parse("-it -eA=1 -e B=2 --env=C=3 --env D=4 -m1g --name=x img --trunc=false cmd",
		      false, &a, rest, &err),
		0);
	assert_true(a.interactive && a.tty && !a.trunc);
	assert_string_equal(a.name, "x");
	assert_int_equal(a.env.n, 4);
	assert_string_equal(a.env.v[0], "A=1");
	assert_string_equal(a.env.v[3], "D=4");
	assert_int_equal(a.memory, 1 << 30);
	assert_string_equal(rest, "img;cmd;");
	opt_free(opts, &a);
}

static void test_cluster_with_value(void **state)
{
	struct args a = { 0 };
	struct err err = { 0 };
	char rest[512];

	(void)state;
	assert_int_equal(parse("-iteA=1 -e=B=2 -i=false", false, &a, rest, &err), 0);
	assert_true(a.tty && !a.interactive);
	assert_int_equal(a.env.n, 2);
	assert_string_equal(a.env.v[0], "A=1");
	assert_string_equal(a.env.v[1], "B=2");
	opt_free(opts, &a);
}

static void test_stop(void **state)
{
	struct args a = { 0 };
	struct err err = { 0 };
	char rest[512];

	(void)state;
	assert_int_equal(parse("-i img -t --name x", true, &a, rest, &err), 0);
	assert_true(a.interactive && !a.tty);
	assert_string_equal(rest, "img;-t;--name;x;");
	assert_int_equal(parse("-- -t - x", false, &a, rest, &err), 0);
	assert_string_equal(rest, "-t;-;x;");
	assert_int_equal(parse("- -t", false, &a, rest, &err), 0);
	assert_string_equal(rest, "-;");
	assert_true(a.tty);
}

static void test_values(void **state)
{
	struct args a = { 0 };
	struct err err = { 0 };
	char rest[512];

	(void)state;
	assert_int_equal(
		parse("--number -7 --time=10 --count 18446744073709551615 --interval 1m30s", false,
		      &a, rest, &err),
		0);
	assert_int_equal(a.number, -7);
	assert_int_equal(a.timeout_ms, 10000);
	assert_true(a.count == UINT64_MAX);
	assert_true(a.interval_ns == 90000000000);
	assert_int_equal(parse("--time -1", false, &a, rest, &err), 0);
	assert_int_equal(a.timeout_ms, -1);
}

static void test_value_may_be_missing(void **state)
{
	static const struct {
		const char *line, *pull, *rest;
	} cases[] = {
		{ "--pull img", "true", "img;" },
		{ "--pull always img", "always", "img;" },
		{ "--pull=img x", "img", "x;" },
		{ "img --pull", "true", "img;" },
		{ "--pull -t always", "true", "always;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct args a = { 0 };
		struct err err = { 0 };
		char rest[512];

		assert_int_equal(parse(cases[i].line, false, &a, rest, &err), 0);
		assert_string_equal(a.pull, cases[i].pull);
		assert_string_equal(rest, cases[i].rest);
	}
}

static void test_failures(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "--nmae x", "did you mean --name?" },
		{ "--hiddn", "unknown option --hiddn" },
		{ "-x", "unknown option -x" },
		{ "-ix", "unknown option -x" },
		{ "--name", "--name needs a value (NAME)" },
		{ "-e", "-e (--env) needs a value" },
		{ "--number 12a", "is not a whole number" },
		{ "--number 2147483648", "is not a whole number" },
		{ "--time 2147484", "seconds" },
		{ "--count -1", "is not a whole number" },
		{ "--memory 10q", "is not a size" },
		{ "--tty=maybe", "true or false" },
		{ "--interval 10", "is not a duration" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct args a = { 0 };
		struct err err = { 0 };
		char rest[512];

		assert_int_equal(parse(cases[i].line, false, &a, rest, &err), -EINVAL);
		if (!strstr(err.msg, cases[i].message))
			fail_msg("%s: %s", cases[i].line, err.msg);
		opt_free(opts, &a);
	}
}

static void test_help(void **state)
{
	struct args a = { 0 };
	struct err err = { 0 };
	auto_str struct str out = { 0 };
	char rest[512];

	(void)state;
	assert_int_equal(parse("--help", false, &a, rest, &err), 1);
	assert_int_equal(parse("-ih", false, &a, rest, &err), 1);
	opt_help(opts, &out);
	assert_non_null(strstr(out.s, "  -i, --interactive    keep stdin open\n"));
	assert_non_null(strstr(out.s, "      --name NAME      its name\n"));
	assert_null(strstr(out.s, "hidden"));
}

int run_opt_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_cluster_with_value),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_value_may_be_missing),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests_name("opt", tests, NULL, NULL);
}
