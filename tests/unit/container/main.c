/* SPDX-License-Identifier: Apache-2.0 */
/* The pure half of container: states, names, the small languages of options, the spec, the log. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>
#include <shale/image.h>

#include "../../../runner/container/priv.h"

static struct err err;

#define OK(call)                                                                                   \
	do {                                                                                       \
		err_clear(&err);                                                                   \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err.msg);                                        \
	} while (0)
#define FAILS(code_, call)                                                                         \
	do {                                                                                       \
		err_clear(&err);                                                                   \
		assert_int_equal((call), -(code_));                                                \
		assert_int_equal(err.code, (code_));                                               \
		assert_true(err.msg[0] != 0);                                                      \
	} while (0)

static void test_states(void **state)
{
	(void)state;
	assert_string_equal(container_state_name(CONTAINER_CREATED), "created");
	assert_string_equal(container_state_name((enum container_state)9), "unknown");
	assert_int_equal(container_state_find("exited"), CONTAINER_EXITED);
	assert_int_equal(container_state_find("dead"), -EINVAL);
	assert_true(container_may_become(CONTAINER_CREATED, CONTAINER_RUNNING));
	assert_true(container_may_become(CONTAINER_RUNNING, CONTAINER_EXITED));
	assert_true(container_may_become(CONTAINER_EXITED, CONTAINER_RUNNING));
	assert_false(container_may_become(CONTAINER_CREATED, CONTAINER_EXITED));
	assert_false(container_may_become(CONTAINER_RUNNING, CONTAINER_RUNNING));
	for (int s = CONTAINER_CREATED; s <= CONTAINER_REMOVING; s++)
		assert_false(container_may_become(CONTAINER_REMOVING, (enum container_state)s));
}

static void test_names(void **state)
{
	static const char *const good[] = { "ab", "a1", "0x", "Web-1.a_b" };
	static const char *const bad[] = { "",    "a",   "-ab",       ".ab", "_ab",
					   "a b", "a/b", "\xc3\xa4x", "a\n" };
	char longest[258];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(container_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(container_name_valid(bad[i]));
	memset(longest, 'a', sizeof(longest));
	longest[255] = 0;
	assert_true(container_name_valid(longest));
	longest[255] = 'a';
	longest[256] = 0;
	assert_false(container_name_valid(longest));
	for (int i = 0; i < 500; i++) {
		auto_free char *name = container_name_random();

		assert_true(container_name_valid(name));
		assert_non_null(strchr(name, '_'));
	}
}

static void test_volumes(void **state)
{
	static const struct {
		const char *text, *source, *target;
		bool ro;
	} good[] = {
		{ "/a:/b", "/a", "/b", false },
		{ "/a:/b:ro", "/a", "/b", true },
		{ "./x:/b/../c/:rw,z", "./x", "/c", false },
		{ "/a:/b:ro,Z", "/a", "/b", true },
		{ "name:/b:nocopy", "name", "/b", false },
		{ "/a:/b:rslave,rro", "/a", "/b", true },
	};
	static const struct {
		const char *text;
		int code;
	} bad[] = {
		{ "", EINVAL },        { "b", EINVAL },          { "na me:/b", EINVAL },
		{ "/a:b", EINVAL },    { "/a:", EINVAL },        { ":/b", EINVAL },
		{ "/a:/b:x", EINVAL }, { "/a:/b:ro:x", EINVAL }, { "/a:/", EINVAL },
		{ "/", EINVAL },       { "/a:/b/..", EINVAL },   { "../a:b", EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_container_volume struct container_volume v = { 0 };

		OK(container_volume_parse(good[i].text, &v, &err));
		assert_string_equal(v.source, good[i].source);
		assert_string_equal(v.target, good[i].target);
		assert_int_equal(v.read_only, good[i].ro);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_container_volume struct container_volume v = { 0 };

		FAILS(bad[i].code, container_volume_parse(bad[i].text, &v, &err));
		assert_null(v.source);
	}
}

static void test_tmpfs(void **state)
{
	auto_free char *target = NULL, *data = NULL, *target2 = NULL, *data2 = NULL;

	(void)state;
	OK(container_tmpfs_parse("/run/x/", &target, &data, &err));
	assert_string_equal(target, "/run/x");
	assert_null(data);
	OK(container_tmpfs_parse("/t:size=1m,mode=700", &target2, &data2, &err));
	assert_string_equal(data2, "size=1m,mode=700");
	FAILS(EINVAL, container_tmpfs_parse("t", &target, &data, &err));
	FAILS(EINVAL, container_tmpfs_parse("/", &target, &data, &err));
	FAILS(EINVAL, container_tmpfs_parse(":size=1", &target, &data, &err));
}

static void test_ulimits(void **state)
{
	struct sandbox_limit l;

	(void)state;
	OK(container_ulimit_parse("nofile=10", &l, &err));
	assert_int_equal(l.resource, RLIMIT_NOFILE);
	assert_int_equal(l.soft, 10);
	assert_int_equal(l.hard, 10);
	OK(container_ulimit_parse("core=0:-1", &l, &err));
	assert_int_equal(l.soft, 0);
	assert_true(l.hard == RLIM_INFINITY);
	FAILS(EINVAL, container_ulimit_parse("nofile", &l, &err));
	FAILS(EINVAL, container_ulimit_parse("nofile=", &l, &err));
	FAILS(EINVAL, container_ulimit_parse("nofile=20:10", &l, &err));
	FAILS(EINVAL, container_ulimit_parse("nofile=1:2:3", &l, &err));
	FAILS(EINVAL, container_ulimit_parse("files=1", &l, &err));
	FAILS(EINVAL, container_ulimit_parse("nofile=99999999999999999999", &l, &err));
}

static void test_hosts(void **state)
{
	static const char *const bad[] = { "",
					   "x",
					   "x:",
					   ":1.2.3.4",
					   "x:1.2.3",
					   "a\nb:1.2.3.4",
					   "a b:1.2.3.4",
					   "x:1.2.3.4\n5.6.7.8 y" };
	auto_free char *a = NULL, *b = NULL, *c = NULL;

	(void)state;
	OK(container_host_parse("db:10.0.0.1", &a, &err));
	assert_string_equal(a, "10.0.0.1\tdb\n");
	OK(container_host_parse("six:::1", &b, &err));
	assert_string_equal(b, "::1\tsix\n");
	OK(container_host_parse("six=[fe80::1]", &c, &err));
	assert_string_equal(c, "fe80::1\tsix\n");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_free char *line = NULL;

		FAILS(EINVAL, container_host_parse(bad[i], &line, &err));
	}
}

static void test_security(void **state)
{
	struct container_security s;
	auto_strv struct strv l = { 0 }, bad = { 0 };

	(void)state;
	OK(container_security_parse(&l, &s, &err));
	assert_false(s.no_new_privs || s.seccomp_unconfined);
	strv_add(&l, "no-new-privileges");
	strv_add(&l, "seccomp=unconfined");
	OK(container_security_parse(&l, &s, &err));
	assert_true(s.no_new_privs && s.seccomp_unconfined);
	assert_false(s.unmasked);
	strv_add(&l, "label=disable");
	strv_add(&l, "apparmor:unconfined");
	strv_add(&l, "systempaths=unconfined");
	OK(container_security_parse(&l, &s, &err));
	assert_true(s.unmasked);
	/* A profile that is not applied must not pass as one that is. */
	strv_add(&bad, "seccomp=/etc/profile.json");
	FAILS(ENOTSUP, container_security_parse(&bad, &s, &err));
}

static void test_signals(void **state)
{
	static const struct {
		const char *name;
		int sig;
	} v[] = {
		{ "TERM", SIGTERM },    { "SIGTERM", SIGTERM },
		{ "sigkill", SIGKILL }, { "9", 9 },
		{ "64", 64 },           { "0", -EINVAL },
		{ "65", -EINVAL },      { "-1", -EINVAL },
		{ "", -EINVAL },        { "SIG", -EINVAL },
		{ "NOPE", -EINVAL },    { "WINCH", SIGWINCH },
		{ "RTMIN", 34 },        { "SIGRTMIN+3", 37 },
		{ "RTMAX-14", 50 },     { "RTMIN+31", -EINVAL },
		{ "RTMIN-1", -EINVAL }, { "CLD", SIGCHLD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		assert_int_equal(proc_signal_find(v[i].name), v[i].sig);
}

static void fill_spec(struct container_spec *s)
{
	s->image = mem_str("img");
	s->name = mem_str("web");
	strv_add(&s->command, "a b");
	strv_add(&s->command, "");
	strv_add(&s->env, "K=V=\n\"");
	s->entrypoint_set = true;
	s->memory_bytes = 64 << 20;
	s->pids = 7;
	s->tty = true;
	s->network = mem_str("none");
}

static void test_spec_text(void **state)
{
	auto_container_spec struct container_spec s = { 0 }, t = { 0 }, u = { 0 };
	auto_free char *text = NULL, *again = NULL, *copied = NULL;

	(void)state;
	fill_spec(&s);
	text = container_spec_text(&s);
	OK(container_spec_parse(text, &t, &err));
	again = container_spec_text(&t);
	assert_string_equal(text, again);
	assert_string_equal(t.command.v[0], "a b");
	assert_string_equal(t.command.v[1], "");
	assert_string_equal(t.env.v[0], "K=V=\n\"");
	assert_true(t.entrypoint_set && t.tty && !t.read_only);
	assert_int_equal(t.pids, 7);
	assert_null(t.user);
	container_spec_copy(&u, &t);
	copied = container_spec_text(&u);
	assert_string_equal(text, copied);
	assert_ptr_not_equal(u.image, t.image);
	FAILS(ENOTSUP, container_spec_parse("{\"version\":2}", &u, &err));
	FAILS(EINVAL, container_spec_parse("{", &u, &err));
}

static void test_spec_check(void **state)
{
	auto_container_spec struct container_spec s = { 0 };

	(void)state;
	FAILS(EINVAL, container_spec_check(&s, &err));
	fill_spec(&s);
	OK(container_spec_check(&s, &err));
	s.memory_bytes = 1000;
	FAILS(EINVAL, container_spec_check(&s, &err));
	s.memory_bytes = 0;
	s.workdir = mem_str("rel");
	FAILS(EINVAL, container_spec_check(&s, &err));
	s.workdir[0] = '/';
	OK(container_spec_check(&s, &err));
	s.hostname = mem_str("a\nb");
	FAILS(EINVAL, container_spec_check(&s, &err));
	s.hostname[1] = '-';
	OK(container_spec_check(&s, &err));
	strv_add(&s.env, "=x");
	FAILS(EINVAL, container_spec_check(&s, &err));
	strv_remove(&s.env, s.env.n - 1);
	s.network[0] = '/';
	FAILS(EINVAL, container_spec_check(&s, &err));
}

static void test_namespaces(void **state)
{
	static const struct {
		const char *pid, *ipc, *user;
		bool privileged;
		int code;
	} cases[] = {
		{ NULL, NULL, NULL, true, 0 },
		{ "host", "shareable", "host", true, 0 },
		{ "container:x", "container:x", "container:x", false, 0 },
		{ "private", "none", "auto:size=1024", false, 0 },
		{ "container:", NULL, NULL, false, EINVAL },
		{ "shareable", NULL, NULL, false, EINVAL },
		{ "container:x", "bad", NULL, false, EINVAL },
		{ NULL, NULL, "auto:size=1023", false, EINVAL },
		{ NULL, NULL, "keep-id", false, 0 },
		{ NULL, NULL, "keep-id:gid=5,uid=4294967294", false, 0 },
		{ NULL, NULL, "keep-id:", false, EINVAL },
		{ NULL, NULL, "keep-id:uid=4294967295", false, EINVAL },
		{ NULL, NULL, "keep-id:uid=", false, EINVAL },
		{ NULL, NULL, "keep-id:size=5", false, EINVAL },
		{ NULL, NULL, "keep-idle", false, EINVAL },
		{ NULL, NULL, "keep-id", true, EINVAL },
		{ NULL, NULL, "auto:size=x", false, EINVAL },
		{ NULL, NULL, "auto", true, EINVAL },
		{ "", "", "", true, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct container_spec s = { .privileged = cases[i].privileged };

		s.pid_ns = (char *)(uintptr_t)cases[i].pid;
		s.ipc_ns = (char *)(uintptr_t)cases[i].ipc;
		s.user_ns = (char *)(uintptr_t)cases[i].user;
		if (container_namespaces_check(&s, &err) != -cases[i].code)
			fail_msg("case %zu: %s", i, err.msg);
	}
}

static struct image_config *image(void)
{
	struct image_config *c = image_config_new();

	strv_add(&c->entrypoint, "/entry");
	strv_add(&c->cmd, "one");
	strv_add(&c->env, "A=image");
	strv_add(&c->env, "PATH=/image/bin");
	strv_add(&c->labels, "x=1");
	c->workdir = mem_str("/srv");
	c->user = mem_str("web");
	c->stop_signal = mem_str("SIGUSR1");
	return c;
}

static void test_resolve(void **state)
{
	auto_image_config struct image_config *img = image();
	auto_container_spec struct container_spec s = { 0 };

	(void)state;
	s.network = mem_str("none");
	strv_add(&s.env, "A=mine");
	strv_add(&s.env, "SHALE_TEST_HOST");
	strv_add(&s.env, "SHALE_TEST_UNSET");
	strv_add(&s.labels, "y=2");
	setenv("SHALE_TEST_HOST", "from host", 1);
	setenv("SHALE_TEST_SECRET", "leak", 1);
	OK(container_resolve(&s, img, "0123456789abcdef", &err));
	assert_string_equal(s.entrypoint.v[0], "/entry");
	assert_string_equal(s.command.v[0], "one");
	assert_string_equal(s.hostname, "0123456789ab");
	assert_string_equal(strv_env_get(&s.env, "A"), "mine");
	assert_string_equal(strv_env_get(&s.env, "PATH"), "/image/bin");
	assert_string_equal(strv_env_get(&s.env, "SHALE_TEST_HOST"), "from host");
	assert_null(strv_env_get(&s.env, "SHALE_TEST_UNSET"));
	/* T30: PATH, HOSTNAME, A and the one that was asked for; nothing else of ours. */
	assert_int_equal(s.env.n, 4);
	assert_string_equal(s.workdir, "/srv");
	assert_string_equal(s.user, "web");
	assert_string_equal(s.stop_signal, "SIGUSR1");
	assert_int_equal(s.labels.n, 2);
}

static void test_resolve_argv(void **state)
{
	auto_image_config struct image_config *img = image();
	auto_container_spec struct container_spec own = { 0 }, entry = { 0 }, none = { 0 };

	(void)state;
	strv_add(&own.command, "two");
	OK(container_resolve(&own, img, "0123456789abcdef", &err));
	assert_int_equal(own.entrypoint.n, 1);
	assert_string_equal(own.command.v[0], "two");
	/* --entrypoint drops the image's command. */
	entry.entrypoint_set = true;
	strv_add(&entry.entrypoint, "/bin/sh");
	OK(container_resolve(&entry, img, "0123456789abcdef", &err));
	assert_int_equal(entry.command.n, 0);
	none.entrypoint_set = true;
	FAILS(EINVAL, container_resolve(&none, img, "0123456789abcdef", &err));
}

static void test_log_line(void **state)
{
	auto_str struct str b = { 0 };

	(void)state;
	container_log_format(&b, "a\"\\\n", 4, 0, 1700000000000000005);
	assert_string_equal(b.s, "{\"log\":\"a\\\"\\\\\\n\",\"stream\":\"stdout\","
				 "\"time\":\"2023-11-14T22:13:20.000000005Z\"}\n");
	str_reset(&b);
	/* NUL, escape, a good two-byte letter, a lone byte, an overlong slash, a surrogate */
	container_log_format(&b, "\0\x1b\xc3\xa4\xff\xc0\xaf\xed\xa0\x80", 10, 1, 0);
	assert_non_null(strstr(
		b.s, "\"\\u0000\\u001b\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""));
	assert_non_null(strstr(b.s, "\"stderr\""));
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_log_parts(void **state)
{
	auto_container_log struct container_log log = CONTAINER_LOG_INIT;
	char dir[] = "/tmp/shale-test-XXXXXX";
	auto_free char *text = NULL, *big = mem_alloc(40001);
	auto_fd int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = fs_open_dir(-100, dir, &err);
	OK(container_log_open(fd, &(struct container_spec){ 0 }, &log, &err));
	/* A line in two pieces is one entry, and the streams do not mix. */
	OK(container_log_add(&log, 0, "be", 2, &err));
	OK(container_log_add(&log, 1, "err\n", 4, &err));
	OK(container_log_add(&log, 0, "gin\nrest", 8, &err));
	OK(container_log_end(&log, &err));
	OK(fd_read_file(fd, "log", 1 << 20, &text, NULL, &err));
	assert_int_equal(count_lines(text), 3);
	assert_non_null(strstr(text, "{\"log\":\"err\\n\",\"stream\":\"stderr\""));
	assert_non_null(strstr(text, "{\"log\":\"begin\\n\",\"stream\":\"stdout\""));
	assert_non_null(strstr(text, "{\"log\":\"rest\",\"stream\":\"stdout\""));
	free(take(text));
	/* 40000 bytes without an end are cut at 16 KiB. */
	memset(big, 'x', 40000);
	OK(container_log_add(&log, 0, big, 40000, &err));
	OK(container_log_end(&log, &err));
	OK(fd_read_file(fd, "log", 1 << 20, &text, NULL, &err));
	assert_int_equal(count_lines(text), 6);
	fs_remove_tree(-100, dir, &err);
}

struct seen {
	struct str text;
	int n;
};

static int see(const struct container_log_line *line, void *arg, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	str_addf(&s->text, "%s%.*s|", line->is_stderr ? "!" : "", (int)line->len - 1, line->text);
	s->n++;
	return 0;
}

static void test_log_read(void **state)
{
	static const struct {
		int64_t tail;
		const char *want;
	} v[] = { { -1, "a|b|!c|" }, { 0, "" },        { 1, "!c|" },
		  { 2, "b|!c|" },    { 3, "a|b|!c|" }, { 9, "a|b|!c|" } };
	auto_container_log struct container_log log = CONTAINER_LOG_INIT;
	char dir[] = "/tmp/shale-test-XXXXXX";
	struct runtime rt = { .root = dir };
	struct container c = { .rt = &rt, .id = "0f" };
	auto_fd int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	rt.root_fd = fs_open_dir(-100, dir, &err);
	OK(container_dir_make(&c, &err));
	OK(container_dir(&c, &fd, &err));
	OK(container_log_open(fd, &(struct container_spec){ 0 }, &log, &err));
	OK(container_log_add(&log, 0, "a\nb\n", 4, &err));
	OK(container_log_add(&log, 1, "c\n", 2, &err));
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct container_log_opts o = { .tail = v[i].tail };
		struct seen s = { 0 };

		OK(container_logs(&c, &o, see, &s, &err));
		assert_string_equal(str_get(&s.text), v[i].want);
		str_free(&s.text);
	}
	fs_remove_tree(-100, dir, &err);
	close(rt.root_fd);
}

static void test_exit_file(void **state)
{
	char path[] = "/tmp/shale-test-XXXXXX";
	auto_fd int fd = mkstemp(path);
	int code = -1;

	(void)state;
	assert_int_equal(container_exit_read(fd, &code), 0);
	OK(container_exit_write(fd, 137, &err));
	assert_int_equal(container_exit_read(fd, &code), 1);
	assert_int_equal(code, 137);
	/* Without its newline it is not whole. */
	assert_int_equal(ftruncate(fd, 2), 0);
	assert_int_equal(container_exit_read(fd, &code), 0);
	unlink(path);
}

static void test_words(void **state)
{
	static const struct {
		int64_t s;
		const char *want;
	} v[] = {
		{ 0, "Less than a second" },  { 1, "1 second" },
		{ 59, "59 seconds" },         { 60, "About a minute" },
		{ 119, "About a minute" },    { 120, "2 minutes" },
		{ 3599, "59 minutes" },       { 3600, "About an hour" },
		{ 7200, "2 hours" },          { 47LL * 3600, "47 hours" },
		{ 48LL * 3600, "2 days" },    { 14LL * 86400, "2 weeks" },
		{ 60LL * 86400, "2 months" }, { 730LL * 86400, "2 years" },
		{ -5, "Less than a second" },
	};
	struct container c = { .state = CONTAINER_EXITED, .exit_code = 3, .finished_ns = 1 };
	auto_free char *text = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		auto_free char *age = container_age_text(v[i].s * 1000000000);

		assert_string_equal(age, v[i].want);
	}
	text = container_status_text(&c, 5000000001);
	assert_string_equal(text, "Exited (3) 5 seconds ago");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),    cmocka_unit_test(test_names),
		cmocka_unit_test(test_volumes),   cmocka_unit_test(test_tmpfs),
		cmocka_unit_test(test_ulimits),   cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_security),  cmocka_unit_test(test_signals),
		cmocka_unit_test(test_spec_text), cmocka_unit_test(test_spec_check),
		cmocka_unit_test(test_resolve),   cmocka_unit_test(test_resolve_argv),
		cmocka_unit_test(test_log_line),  cmocka_unit_test(test_log_parts),
		cmocka_unit_test(test_log_read),  cmocka_unit_test(test_exit_file),
		cmocka_unit_test(test_words),     cmocka_unit_test(test_namespaces),
	};

	return cmocka_run_group_tests_name("container", tests, NULL, NULL);
}
