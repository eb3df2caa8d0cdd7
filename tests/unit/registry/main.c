/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <shale/base/fd.h>

#include "../../../runner/registry/priv.h"

static void test_challenge(void **state)
{
	static const struct {
		const char *text, *scheme, *realm, *service, *scope;
	} cases[] = {
		{ "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
		  "bearer", "https://a/t", "s", "repository:a/b:pull,push" },
		{ "bEARER  realm = \"https://a/t\" , Service=s", "bearer", "https://a/t", "s",
		  NULL },
		{ "Bearer realm=https://a/t", "bearer", "https://a/t", NULL, NULL },
		{ "Basic realm=\"a \\\"b\\\" c\"", "basic", "a \"b\" c", NULL, NULL },
		{ "Basic", "basic", NULL, NULL, NULL },
		{ "Negotiate abc==", "negotiate", NULL, NULL, NULL },
		{ "Bearer realm=\"x\",realm=\"y\"", "bearer", "x", NULL, NULL },
		{ "Bearer realm=\"open", "bearer", NULL, NULL, NULL },
		{ "Bearer realm=,service=\"s\"", "bearer", NULL, "s", NULL },
		{ ", ,Bearer realm=\"\"", "bearer", "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *at = cases[i].text;
		struct challenge c = { 0 };

		assert_true(challenge_next(&at, &c));
		assert_string_equal(c.scheme, cases[i].scheme);
		if (!str_eq(c.realm, cases[i].realm) || !str_eq(c.service, cases[i].service) ||
		    !str_eq(c.scope, cases[i].scope))
			fail_msg("%s: %s %s %s", cases[i].text, c.realm, c.service, c.scope);
		assert_false(challenge_next(&at, &(struct challenge){ 0 }));
		challenge_free(&c);
	}
}

static void test_challenges_in_one_header(void **state)
{
	const char *at = "Negotiate, NTLM ab/c+==, Basic realm=\"x, Bearer realm=y\", Bearer "
			 "realm=\"z\",service=\"s\",unknown=1, Digest";
	static const char *const want[][2] = {
		{ "negotiate", NULL }, { "ntlm", NULL },   { "basic", "x, Bearer realm=y" },
		{ "bearer", "z" },     { "digest", NULL },
	};
	struct challenge c = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_true(challenge_next(&at, &c));
		assert_string_equal(c.scheme, want[i][0]);
		assert_true(str_eq(c.realm, want[i][1]));
		challenge_free(&c);
	}
	assert_false(challenge_next(&at, &c));
}

static void test_no_challenge(void **state)
{
	static const char *const bad[] = { "", " ", ",,", "\"", "=x", "(" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *at = bad[i];

		assert_false(challenge_next(&at, &(struct challenge){ 0 }));
	}
}

static void test_content_range(void **state)
{
	static const char *const bad[] = {
		"",
		"bytes",
		"bytes 1-2",
		"bytes 2-1/3",
		"bytes 0-3/3",
		"bytes */3",
		"bytes 0-1/3x",
		"bytes -1/3",
		"bytes 0--1/3",
		"items 0-1/3",
		"bytes 0-1/",
		"bytes 0x0-1/3",
		"bytes 0-99999999999999999999/*",
		"bytes 0-18446744073709551615/*",
		"bytes +0-1/3",
	};
	struct range r;

	(void)state;
	assert_true(parse_content_range("bytes 5-9/10", &r));
	assert_true(r.first == 5 && r.last == 9 && r.total == 10);
	assert_true(parse_content_range("Bytes 0-0/*", &r));
	assert_true(r.first == 0 && r.last == 0 && r.total == UINT64_MAX);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_content_range(bad[i], &r))
			fail_msg("taken: %s", bad[i]);
}

static void test_upload_range(void **state)
{
	static const char *const bad[] = { "", "5-9", "0", "0-", "-5", "0-5/6", "x", "0-5 6" };
	uint64_t n = 77;

	(void)state;
	assert_true(parse_upload_range("0-9", &n) && n == 10);
	assert_true(parse_upload_range(" bytes=0-1048575 ", &n) && n == 1048576);
	assert_true(parse_upload_range("0-0", &n) && n == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_upload_range(bad[i], &n))
			fail_msg("taken: %s", bad[i]);
}

static void test_next_link(void **state)
{
	static const char *const bad[] = { "",
					   "x",
					   "<x>",
					   "<>; rel=\"next\"",
					   "<x>; rel=\"prev\"",
					   "<x; rel=\"next\"",
					   "<x>; rel=nextone" };
	static const char *const good[] = { "</v2/a?last=b&n=3>; rel=\"next\"",
					    "</v2/a?last=b&n=3>;rel=next" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(parse_next_link(bad[i]));
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_free char *url = parse_next_link(good[i]);

		assert_string_equal(url, "/v2/a?last=b&n=3");
	}
}

static void test_retry_after(void **state)
{
	static const char *const bad[] = { "", "-1", "5x", "soon", "1.5", "99999999999999999999" };
	const int64_t now = 1445412480; /* Wed, 21 Oct 2015 07:28:00 GMT */
	int64_t s;

	(void)state;
	assert_true(parse_retry_after("120", now, &s) && s == 120);
	assert_true(parse_retry_after(" 0 ", now, &s) && s == 0);
	assert_true(parse_retry_after("99999999999", now, &s) && s == INT32_MAX);
	assert_true(parse_retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now, &s) && s == 30);
	assert_true(parse_retry_after("Wed, 21 Oct 2015 07:27:30 GMT", now, &s) && s == 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_retry_after(bad[i], now, &s))
			fail_msg("taken: %s", bad[i]);
}

static void test_token(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{}",
		"\"x\"",
		"{\"token\":null}",
		"{\"token\":\"\"}",
		"{\"token\":\"a b\"}",
		"{\"token\":\"a\\r\\nb\"}",
		"{\"token\":\"\\u00e4\"}",
		"{\"token\":\"a\",\"token\":\"b\"}",
	};
	char *token = NULL, *refresh = NULL;
	const char *good;
	int64_t s;

	(void)state;
	good = "{\"token\":\"abc\",\"expires_in\":300,\"refresh_token\":\"r\"}";
	assert_true(parse_token(good, strlen(good), &token, &refresh, &s));
	assert_string_equal(token, "abc");
	assert_string_equal(refresh, "r");
	assert_int_equal(s, 300);
	free(token);
	free(refresh);
	good = "{\"token\":\"\",\"access_token\":\"abc\",\"expires_in\":-5,\"refresh_token\":\"a b\"}";
	assert_true(parse_token(good, strlen(good), &token, &refresh, &s));
	assert_string_equal(token, "abc");
	assert_null(refresh);
	assert_int_equal(s, 60);
	free(token);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_token(bad[i], strlen(bad[i]), &token, &refresh, &s))
			fail_msg("taken: %s", bad[i]);
}

static void test_redirects(void **state)
{
	static const struct {
		const char *from, *location;
		bool plain_http;
		const char *to; /* NULL: refused */
	} cases[] = {
		{ "https://a/v2/x?y=1", "https://b/z", false, "https://b/z" },
		{ "https://a/v2/x?y=1", "/z?q", false, "https://a/z?q" },
		{ "https://a:5/v2/x/y", "z", false, "https://a:5/v2/x/z" },
		{ "https://a/v2/x/y", "../../../../z", false, "https://a/z" },
		{ "https://a/x", "//b/z", false, "https://b/z" },
		{ "https://a/x", "?q", false, "https://a/x?q" },
		{ "https://a/x", "https://b/z#frag", false, "https://b/z" },
		{ "https://a/x", "http://a/x", false, NULL },
		{ "https://a/x", "http://b/x", false, NULL },
		{ "https://a/x", "http://b/x", true, "http://b/x" },
		{ "http://a/x", "http://b/x", true, "http://b/x" },
		{ "http://a/x", "https://b/x", true, "https://b/x" },
		{ "https://a/x", "HTTPS://b/x", false, "https://b/x" },
		{ "https://a/x", "file:///etc/passwd", true, NULL },
		{ "https://a/x", "ftp://b/x", true, NULL },
		{ "https://a/x", "https://u@b/x", true, NULL },
		{ "https://a/x", "https://u:p@b/x", true, NULL },
		{ "https://a/x", "https://:p@b/x", true, NULL },
		{ "https://a/x", "", true, NULL },
		{ "https://a/x", "https://", true, NULL },
		{ "https://a/x", "https://b:99999/", true, NULL },
		{ "https://a/x", "https://b c/", true, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_free char *to = NULL;
		struct err err = { 0 };
		int rc = url_follow(cases[i].from, cases[i].location, cases[i].plain_http, &to,
				    &err);

		if (!cases[i].to && rc >= 0)
			fail_msg("followed: %s", cases[i].location);
		if (cases[i].to && (rc < 0 || !str_eq(to, cases[i].to)))
			fail_msg("%s: %s %s", cases[i].location, to, err.msg);
		assert_true(rc >= 0 || (rc == -EPROTO && err.code == EPROTO && err.msg[0]));
	}
}

static void test_origins(void **state)
{
	static const struct {
		const char *a, *b;
		bool origin, host;
	} cases[] = {
		{ "https://a/x", "https://a/y?z", true, true },
		{ "https://a", "https://A:443/", true, true },
		{ "http://a:80/", "http://a", true, true },
		{ "https://a/", "http://a/", false, true },
		{ "https://a/", "https://a:444/", false, true },
		{ "https://a/", "https://b/", false, false },
		{ "https://a/", "https://a.b/", false, false },
		{ "https://a/", "x", false, false },
		{ "https://[::1]:5/", "https://[::1]:5/x", true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(url_is_same_origin(cases[i].a, cases[i].b), cases[i].origin);
		assert_int_equal(url_is_same_host(cases[i].a, cases[i].b), cases[i].host);
	}
}

static void test_names(void **state)
{
	static const char *const hosts[] = { "a",     "a.b:5",   "127.0.0.1:65535",
					     "[::1]", "[::1]:5", "A_b" };
	static const char *const no_hosts[] = { "",     ":5", "a:",     "a:0", "a:65536", "a:+5",
						"[::1", "[]", "[::1]5", "a/b", "u@a",     "a b",
						"-a",   ".a", "a?b",    "a#b", "a:5:6" };
	static const char *const repos[] = { "a", "a/b", "library/busy-box", "a__b/c.d/e---f",
					     "0/1" };
	static const char *const no_repos[] = { "",     "/",     "a/",  "/a",  "a//b", "../a",
						"a/..", "a/./b", ".a",  "A",   "a..b", "a-",
						"a?b",  "a#b",   "a b", "a%41" };
	static const char *const tags[] = { "a", "_", "v1.2-3", "A_b" };
	static const char *const no_tags[] = { "", ".a", "-a", "a/b", "a:b", "a b", "a\n", "a?" };
	static const char *const loops[] = { "localhost",   "localhost:5", "127.0.0.1",
					     "127.9.9.9:5", "[::1]:5",     "x.localhost" };
	static const char *const no_loops[] = { "localhost.x", "127.x", "128.0.0.1", "[::2]", "a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		assert_true(url_is_host(hosts[i]));
	for (size_t i = 0; i < ARRAY_LEN(no_hosts); i++)
		if (url_is_host(no_hosts[i]))
			fail_msg("host: %s", no_hosts[i]);
	for (size_t i = 0; i < ARRAY_LEN(repos); i++)
		assert_true(url_is_repo(repos[i]));
	for (size_t i = 0; i < ARRAY_LEN(no_repos); i++)
		if (url_is_repo(no_repos[i]))
			fail_msg("repository: %s", no_repos[i]);
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		assert_true(url_is_tag(tags[i]));
	for (size_t i = 0; i < ARRAY_LEN(no_tags); i++)
		if (url_is_tag(no_tags[i]))
			fail_msg("tag: %s", no_tags[i]);
	for (size_t i = 0; i < ARRAY_LEN(loops); i++)
		assert_true(url_is_loopback(loops[i]));
	for (size_t i = 0; i < ARRAY_LEN(no_loops); i++)
		assert_false(url_is_loopback(no_loops[i]));
}

static void test_url_text(void **state)
{
	auto_free char *origin = url_origin("https://u:p@a:5/x?signature=1#f");
	auto_free char *bad = url_origin("::::");
	auto_free char *one = url_with("http://a/x", "digest", "sha256:ab&c");
	auto_free char *two = url_with("http://a/x?y=z", "digest", "d");

	(void)state;
	assert_string_equal(origin, "https://a:5");
	assert_string_equal(bad, "(a bad URL)");
	assert_string_equal(one, "http://a/x?digest=sha256%3Aab%26c");
	assert_string_equal(two, "http://a/x?y=z&digest=d");
}

static void test_messages(void **state)
{
	static const struct {
		const char *body, *want;
	} cases[] = {
		{ "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
		  "manifest unknown" },
		{ "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"},{\"code\":\"X_Y\"}]}",
		  "denied: no; x y" },
		{ "{\"errors\":[{\"message\":\"a\"},{\"message\":\"b\"},{\"message\":\"c\"},{\"message\":\"d\"}]}",
		  "a; b; c" },
		{ "{\"details\":\"incorrect username or password\"}",
		  "incorrect username or password" },
		{ "{\"error\":\"invalid_grant\",\"error_description\":\"old\"}", "old" },
		{ "{\"errors\":{}}", "" },
		{ "{\"errors\":[1,null,{\"code\":7}]}", "" },
		{ "", "" },
		{ "  <html>sorry</html>", "" },
		{ "plain \x1b[1mtext\r\n\tof a \x7f proxy\n", "plain [1mtext of a proxy" },
		{ "bad \xff\xc3\x28 utf \xe2\x80\xae\xc2\x9b end \xc3\xa4",
		  "bad ( utf end \xc3\xa4" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_free char *got = message_of(cases[i].body, strlen(cases[i].body));

		assert_string_equal(got, cases[i].want);
	}
}

static void test_scrub(void **state)
{
	char s[] = "hunter22 and hunter22hunter22 end";

	(void)state;
	message_scrub(s, "hunter22");
	assert_string_equal(s, "*** and ****** end");
	message_scrub(s, NULL);
	message_scrub(s, "");
	message_scrub(s, "end"); /* too short for a secret */
	assert_string_equal(s, "*** and ****** end");
}

/* The pipe is kept as full as it can be, and each byte is to be read as it was added: its page is
 * the pipe's until then. */
static void lend_all(int ends[2], struct lend *l, size_t total, size_t piece)
{
	enum { LEFT_MAX = 256 << 10, READ = 3001 };
	auto_free unsigned char *buf = mem_alloc(piece);
	struct err err = { 0 };
	size_t added = 0, got = 0;

	while (got < total) {
		unsigned char part[READ];
		ssize_t n;

		while (added < total && lend_left(l) < LEFT_MAX) {
			size_t k = total - added < piece ? total - added : piece;

			for (size_t i = 0; i < k; i++)
				buf[i] = (unsigned char)((added + i) * 2654435761u >> 13);
			assert_int_equal(lend_add(l, ends[1], buf, k, &err), 0);
			added += k;
		}
		assert_in_range(lend_flush(l, ends[1], &err), 0, 1);
		n = read(ends[0], part, sizeof(part));
		assert_true(n > 0);
		for (size_t i = 0; i < (size_t)n; i++)
			if (part[i] != (unsigned char)((got + i) * 2654435761u >> 13))
				fail_msg("byte %zu is another", got + i);
		got += (size_t)n;
	}
	assert_int_equal(lend_left(l), 0);
}

static void test_lend(void **state)
{
	static const size_t pieces[] = { 16 << 10, 1000, 65537 };
	static const int sizes[] = { 4096, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces) * ARRAY_LEN(sizes); i++) {
		struct lend l = { 0 };
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
		fcntl(ends[1], F_SETPIPE_SZ, sizes[i % ARRAY_LEN(sizes)]);
		lend_all(ends, &l, 5 << 20, pieces[i / ARRAY_LEN(sizes)]);
		lend_close(&l);
		fd_close(&ends[0]);
		fd_close(&ends[1]);
	}
}

/* What is in the pipe when the ring goes stays what it was; a file gets the same by copies. */
static void test_lend_closed(void **state)
{
	static const char text[] = "lent and not taken back";
	char got[sizeof(text)] = "";
	struct err err = { 0 };
	int ends[2], file = memfd_create("lend", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (int i = 0; i < 2; i++) {
		int to = i ? file : ends[1];
		struct lend l = { 0 };

		assert_int_equal(lend_add(&l, to, text, sizeof(text), &err), 0);
		assert_int_equal(lend_flush(&l, to, &err), 0);
		lend_close(&l);
	}
	assert_int_equal(read(ends[0], got, sizeof(got)), sizeof(got));
	assert_string_equal(got, text);
	assert_int_equal(pread(file, got, sizeof(got), 0), sizeof(got));
	assert_string_equal(got, text);
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	fd_close(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_challenge),
		cmocka_unit_test(test_challenges_in_one_header),
		cmocka_unit_test(test_no_challenge),
		cmocka_unit_test(test_content_range),
		cmocka_unit_test(test_upload_range),
		cmocka_unit_test(test_next_link),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_url_text),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_lend),
		cmocka_unit_test(test_lend_closed),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
