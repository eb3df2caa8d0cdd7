/* SPDX-License-Identifier: Apache-2.0 */
/* References as github.com/distribution/reference reads them; configs there and back. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_normalize(void **state)
{
	static const struct {
		const char *text, *full, *familiar, *repo, *tag;
	} good[] = {
		{ "node", "docker.io/library/node:latest", "node:latest", "node", "latest" },
		{ "node:20-slim", "docker.io/library/node:20-slim", "node:20-slim", "node",
		  "20-slim" },
		{ "me/app", "docker.io/me/app:latest", "me/app:latest", "me/app", "latest" },
		{ "docker.io/node", "docker.io/library/node:latest", "node:latest", "node",
		  "latest" },
		{ "index.docker.io/library/node:1", "docker.io/library/node:1", "node:1", "node",
		  "1" },
		{ "docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1",
		  "library/a/b", "1" },
		{ "localhost/x", "localhost/x:latest", "localhost/x:latest", "localhost/x",
		  "latest" },
		{ "localhost:5000/x:v1", "localhost:5000/x:v1", "localhost:5000/x:v1",
		  "localhost:5000/x", "v1" },
		{ "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest", "[::1]:5000/x",
		  "latest" },
		{ "Reg/x", "Reg/x:latest", "Reg/x:latest", "Reg/x", "latest" },
		{ "ghcr.io/a/b-c__d.e/f:T_1.x-", "ghcr.io/a/b-c__d.e/f:T_1.x-",
		  "ghcr.io/a/b-c__d.e/f:T_1.x-", "ghcr.io/a/b-c__d.e/f", "T_1.x-" },
		{ "node@sha256:" HEX64, "docker.io/library/node@sha256:" HEX64,
		  "node@sha256:" HEX64, "node", "<none>" },
		{ "node:1@sha256:" HEX64, "docker.io/library/node:1@sha256:" HEX64,
		  "node:1@sha256:" HEX64, "node", "1" },
		{ "docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest",
		  "docker.io/a.b/c", "latest" },
		{ "docker.io/localhost/c", "docker.io/localhost/c:latest",
		  "docker.io/localhost/c:latest", "docker.io/localhost/c", "latest" },
		{ "a---b", "docker.io/library/a---b:latest", "a---b:latest", "a---b", "latest" },
	};
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_free char *full = NULL, *familiar = NULL, *repo = NULL, *tag = NULL,
			       *again = NULL;

		assert_int_equal(image_ref_normalize(good[i].text, &full, &err), 0);
		assert_string_equal(full, good[i].full);
		familiar = image_ref_familiar(full);
		assert_string_equal(familiar, good[i].familiar);
		image_ref_split(full, &repo, &tag);
		assert_string_equal(repo, good[i].repo);
		assert_string_equal(tag, good[i].tag);
		/* The familiar form means the same. */
		assert_int_equal(image_ref_normalize(familiar, &again, &err), 0);
		assert_string_equal(again, full);
	}
}

static void test_bad_references(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":tag",
		"a:",
		"a:-x",
		"A",
		"a/B",
		"a//b",
		"/a",
		"a/",
		"-a",
		"a-",
		"a..b",
		"a___b",
		"a._b",
		"a b",
		"a\nb",
		"../../etc/passwd",
		"a/../b",
		"a:b:c",
		"a@",
		"a@sha256:abc",
		"a@sha256:../../x",
		("a@md5:" HEX64),
		HEX64,
		"x.y:port/a",
		"-.io/a",
		"[::1/a",
		"a:\xc3\xa4",
		"http://host/a",
		("a:" HEX64 HEX64 "1"),
	};
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *full = NULL;
		int rc = image_ref_normalize(bad[i], &full, &err);

		if (rc != -EINVAL)
			print_error("'%s' gave %d %s\n", bad[i], rc, full ? full : "");
		assert_int_equal(rc, -EINVAL);
		assert_null(full);
	}
}

static const char whole[] =
	"{\"created\":\"2023-11-14T22:13:20Z\",\"author\":\"me\",\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\","
	"\"config\":{\"User\":\"app:app\",\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}},\"Env\":[\"B=2\",\"A=1 x\"],"
	"\"Entrypoint\":[\"/e\"],\"Cmd\":[],"
	"\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"],\"Interval\":5000000000,\"Timeout\":1000000000,"
	"\"StartPeriod\":2000000000,\"StartInterval\":3000000000,\"Retries\":4},"
	"\"Volumes\":{\"/data\":{}},\"WorkingDir\":\"/w\",\"OnBuild\":[\"RUN a\"],"
	"\"Labels\":{\"a\":\"\",\"b\":\"x=y\"},\"StopSignal\":\"SIGUSR1\",\"Shell\":[\"/bin/bash\",\"-c\"]},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX64 "\"]},"
	"\"history\":[{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"RUN x\",\"comment\":\"c\"},"
	"{\"created\":\"2023-11-14T22:13:21Z\",\"created_by\":\"ENV A=1\",\"author\":\"me\",\"empty_layer\":true}]}";

static void test_config_round_trip(void **state)
{
	auto_image_config struct image_config *c = NULL, *copy = NULL;
	auto_free char *text = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(image_config_parse(whole, strlen(whole), &c, &err), 0);
	assert_true(c->cmd_set && !c->cmd.n && c->entrypoint_set && c->health.set);
	assert_int_equal(c->created_s, 1700000000);
	assert_string_equal(strv_env_get(&c->labels, "b"), "x=y");
	c->history[0].step_id = mem_str("abc");
	copy = image_config_copy(c);
	image_config_cleanup(&c);
	assert_string_equal(copy->history[0].step_id, "abc");
	text = image_config_text(copy);
	assert_string_equal(text, whole);
}

/* Maps are written sorted, in whatever order the instructions stood; empty members not at all. */
static void test_config_order(void **state)
{
	auto_image_config struct image_config *a = image_config_new(), *b = image_config_new();
	auto_free char *ta = NULL, *tb = NULL;

	(void)state;
	strv_add(&a->labels, "x=1");
	strv_add(&a->labels, "a=2");
	strv_add(&b->labels, "a=2");
	strv_add(&b->labels, "x=1");
	strv_add(&a->exposed, "80/tcp");
	strv_add(&a->exposed, "443/tcp");
	strv_add(&b->exposed, "443/tcp");
	strv_add(&b->exposed, "80/tcp");
	ta = image_config_text(a);
	tb = image_config_text(b);
	assert_string_equal(ta, tb);
	assert_null(strstr(ta, "Cmd"));
	assert_null(strstr(ta, "history"));
	assert_non_null(strstr(ta, "\"diff_ids\":[]"));
}

static void test_config_foreign(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} all[] = {
		{ "{}", 0 },
		{ "{\"config\":null,\"rootfs\":null,\"history\":null,\"x\":[1]}", 0 },
		{ "{\"created\":\"0001-01-01T00:00:00Z\"}", 0 },
		{ "[]", -EINVAL },
		{ "{", -EINVAL },
		{ "{\"config\":7}", -EINVAL },
		{ "{\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}", -EINVAL },
		{ "{\"rootfs\":{\"diff_ids\":[7]}}", -EINVAL },
		{ "{\"rootfs\":{\"type\":\"vm\"}}", -EINVAL },
		{ "{\"config\":{\"Labels\":{\"a=b\":\"c\"}}}", -EINVAL },
		{ "{\"os\":\"a\",\"os\":\"b\"}", -EINVAL },
	};
	auto_str struct str deep = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		auto_image_config struct image_config *c = NULL;
		struct err err = { 0 };

		assert_int_equal(image_config_parse(all[i].text, strlen(all[i].text), &c, &err),
				 all[i].rc);
		assert_true(!c == (all[i].rc < 0));
	}
	for (int i = 0; i < 100000; i++)
		str_add(&deep, "{\"a\":");
	{
		struct image_config *c = NULL;
		struct err err = { 0 };

		assert_int_equal(image_config_parse(deep.s, deep.len, &c, &err), -EINVAL);
	}
}

/* With a zone and a fraction; one string where a list is usual. */
static void test_config_old(void **state)
{
	static const char text[] =
		"{\"created\":\"2023-11-15T00:13:20.123456789+02:00\",\"config\":{\"Cmd\":\"sh\"}}";
	auto_image_config struct image_config *c = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(image_config_parse(text, strlen(text), &c, &err), 0);
	assert_int_equal(c->created_s, 1700000000);
	assert_int_equal(c->cmd.n, 1);
	assert_string_equal(c->cmd.v[0], "sh");
}

const struct CMUnitTest ref_tests[] = {
	cmocka_unit_test(test_normalize),         cmocka_unit_test(test_bad_references),
	cmocka_unit_test(test_config_round_trip), cmocka_unit_test(test_config_order),
	cmocka_unit_test(test_config_foreign),    cmocka_unit_test(test_config_old),
};
const size_t ref_tests_n = ARRAY_LEN(ref_tests);
