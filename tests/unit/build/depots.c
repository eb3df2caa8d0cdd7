/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "../../../runner/build/depot.h"
#include "tests.h"

static void test_specs(void **state)
{
	static const struct {
		const char *text;
		bool is_to, is_inline, is_max, ignore;
		const char *dir, *tag, *ref;
	} cases[] = {
		{ "me/app", false, false, false, false, NULL, NULL, "docker.io/me/app:latest" },
		{ "type=registry,ref=h:5/a:b", false, false, false, false, NULL, NULL, "h:5/a:b" },
		{ "type=local,src=d", false, false, false, false, "d", "latest", NULL },
		{ "tag=x,src=d,type=local", false, false, false, false, "d", "x", NULL },
		{ "h:5/a:b", true, false, false, false, NULL, NULL, "h:5/a:b" },
		{ "type=inline", true, true, false, false, NULL, NULL, NULL },
		{ "type=local,dest=d,mode=max,ignore-error=true", true, false, true, true, "d",
		  "latest", NULL },
		{ "type=registry,ref=h:5/a,mode=min,compression=zstd,compression-level=3", true,
		  false, false, false, NULL, NULL, "h:5/a:latest" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct depot_spec s = { 0 };
		struct err err = { 0 };

		assert_int_equal(depot_spec_parse(cases[i].text, cases[i].is_to, &s, &err), 0);
		assert_int_equal(s.is_inline, cases[i].is_inline);
		assert_int_equal(s.is_max, cases[i].is_max);
		assert_int_equal(s.ignore_error, cases[i].ignore);
		assert_true(str_eq(s.at.dir, cases[i].dir));
		assert_true(str_eq(s.at.tag, cases[i].tag));
		assert_true(str_eq(s.at.ref, cases[i].ref));
		depot_spec_free(&s);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		bool is_to;
		const char *why;
	} cases[] = {
		{ "", false, "empty reference" },
		{ "ref=a", true, "type= is missing" },
		{ "type=gha", true, "want local, registry or inline" },
		{ "type=local", true, "dest= is missing" },
		{ "type=local", false, "src= is missing" },
		{ "type=local,dest=d", false, "dest does not go with this type" },
		{ "type=registry", true, "ref= is missing" },
		{ "type=registry,ref=A", true, "" },
		{ "type=inline", false, "give its name" },
		{ "type=inline,mode=max", true, "mode=min" },
		{ "type=local,dest=d,mode=all", true, "want min or max" },
		{ "type=local,dest=d,tag=a/b", true, "want letters" },
		{ "type=local,dest=d,compression=xz", true, "want uncompressed" },
		{ "type=local,dest=d,compression=gzip,compression-level=99", true, "number" },
		{ "type=local,dest=d,mod=max", true, "did you mean mode" },
		{ "type=local,dest=d,image-manifest=false", true, "only true" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct depot_spec s = { 0 };
		struct err err = { 0 };

		assert_true(depot_spec_parse(cases[i].text, cases[i].is_to, &s, &err) < 0);
		if (!strstr(err.msg, cases[i].why))
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
}

/* Portable keys: the order of the ingredients and the scope do not count, all else does. */
static void key_of(const char *json, const char *platform, struct digest *ret)
{
	struct depots depots = { 0 };
	struct build b = { .depots = &depots };
	auto_json json_t *o = NULL;
	struct err err = { 0 };

	assert_int_equal(json_parse(json, strlen(json), &o, &err), 0);
	assert_int_equal(trail_key(&b, o, platform, ret), 1);
}

static bool is_same(const char *a, const char *b)
{
	struct digest x, y;

	key_of(a, "linux/amd64", &x);
	key_of(b, "linux/amd64", &y);
	return digest_eq(&x, &y);
}

static void test_portable(void **state)
{
	struct depots depots = { 0 };
	struct build b = { .depots = &depots };
	static const char *const local[] = {
		"{\"parent\":\"0123456789abcdef0123456789abcdef\"}",
		"{\"parent\":\"scratch\",\"volumes\":[\"/a:/b\"]}",
		"{\"parent\":\"scratch\",\"instruction\":\"\xef\xbf\xbd\"}",
		"{\"parent\":\"scratch\",\"mounts\":[\"type=bind of 0123456789abcdef0123456789abcdef\"]}",
	};
	struct digest x, y;

	(void)state;
	assert_true(is_same("{\"parent\":\"scratch\",\"kind\":\"run\"}",
			    "{\"kind\":\"run\",\"parent\":\"scratch\"}"));
	assert_true(
		is_same("{\"parent\":\"scratch\"}", "{\"parent\":\"scratch\",\"scope\":\"a\"}"));
	assert_false(is_same("{\"parent\":\"scratch\"}", "{\"parent\":\"sha256:a\"}"));
	assert_false(is_same("{\"a\":\"b\"}", "{\"a\":[\"b\"]}"));
	assert_false(is_same("{\"a\":[\"b\",\"c\"]}", "{\"a\":[\"bc\"]}"));
	assert_false(is_same("{\"a\":null}", "{\"a\":\"\"}"));
	assert_false(
		is_same("{\"mounts\":[\"x of scratch\"]}", "{\"mounts\":[\"x of sha256:a\"]}"));
	key_of("{\"a\":\"b\"}", "linux/amd64", &x);
	key_of("{\"a\":\"b\"}", "linux/arm64", &y);
	assert_false(digest_eq(&x, &y));
	for (size_t i = 0; i < ARRAY_LEN(local); i++) {
		auto_json json_t *o = NULL;
		struct err err = { 0 };

		assert_int_equal(json_parse(local[i], strlen(local[i]), &o, &err), 0);
		assert_int_equal(trail_key(&b, o, "", &x), 0);
	}
}

int test_depots(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_specs),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_portable),
	};

	return cmocka_run_group_tests_name("depots", tests, NULL, NULL);
}
