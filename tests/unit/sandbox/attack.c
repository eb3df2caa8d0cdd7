/* SPDX-License-Identifier: Apache-2.0 */
/* Images and programs that attack: TRAPS T1 to T14. Each asserts that a canary outside is
 * untouched. */
#include "tests.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

/* The canary stands outside, in the cache's directory; links of the image try to reach it. */
static void canary_make(struct box *b)
{
	int fd = open(b->cache, O_PATH | O_CLOEXEC);

	assert_int_equal(fd_write_file(fd, "canary", "alive", 5, 0644, &b->err), 0);
	close(fd);
}

static void canary_check(struct box *b)
{
	auto_free char *text = NULL;
	auto_strv struct strv names = { 0 };
	int fd = open(b->cache, O_PATH | O_CLOEXEC);

	assert_int_equal(fd_read_file(fd, "canary", 64, &text, NULL, &b->err), 0);
	assert_string_equal(text, "alive");
	close(fd);
	assert_int_equal(fs_list(AT_FDCWD, b->cache, &names, &b->err), 0);
	for (size_t i = 0; i < names.n; i++)
		if (strcmp(names.v[i], "canary") != 0 && strncmp(names.v[i], "seccomp-", 8) != 0)
			fail_msg("%s was made outside", names.v[i]);
}

/* T5, T6: /proc, /sys or /dev as something else than a directory. */
static void test_top_links(void **state)
{
	static const char *const names[] = { "proc", "sys", "dev" };
	char up[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names) * 3; i++) {
		auto_str struct str out = { 0 };
		const char *name = names[i / 3];
		struct sandbox_spec s;
		struct box b;

		box_make(&b);
		canary_make(&b);
		assert_int_equal(unlinkat(b.root_fd, name, AT_REMOVEDIR), 0);
		snprintf(up, sizeof(up), "../../../../../..%s", b.cache);
		if (i % 3 == 0)
			box_link(&b, b.cache, name);
		else if (i % 3 == 1)
			box_link(&b, up, name);
		else
			box_write(&b, name, "a file", 0644);
		s = box_spec(&b, NULL);
		if (box_sh(&b, &s, "echo ran", &out) >= 0)
			fail_msg("/%s as a %s was taken", name, i % 3 == 2 ? "file" : "link");
		assert_null(strstr(str_get(&out), "ran"));
		canary_check(&b);
		box_free(&b);
	}
}

/* T6: a target in the image that is a link out; it must be resolved inside. */
static void test_mount_target_links(void **state)
{
	static const char *const links[] = { "%s/resolv", "../../../../../../..%s/resolv",
					     "/../../..%s/resolv" };
	char link[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		auto_str struct str out = { 0 };
		struct sandbox_mount m = { .kind = SANDBOX_BIND,
					   .target = "/etc/resolv.conf",
					   .read_only = true };
		struct sandbox_spec s;
		struct box b;

		box_make(&b);
		canary_make(&b);
		box_write(&b, "tmp/source", "nameserver 127.0.0.1\n", 0644);
		m.source_fd = openat(b.root_fd, "tmp/source", O_PATH | O_CLOEXEC);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(link, sizeof(link), links[i], b.cache);
#pragma GCC diagnostic pop
		box_link(&b, link, "etc/resolv.conf");
		s = box_spec(&b, NULL);
		s.mounts = &m;
		s.n_mounts = 1;
		if (box_sh(&b, &s, "cat /etc/resolv.conf", &out) != 0)
			fail_msg("%s: %s", link, b.err.msg);
		assert_string_equal(str_get(&out), "nameserver 127.0.0.1\n");
		canary_check(&b);
		close(m.source_fd);
		box_free(&b);
	}
}

/* T5: a harmless looking target that is a link into our proc; a loop of links. */
static void test_mount_over_proc(void **state)
{
	static const char *const links[] = { "/proc/self/attr", "../proc/sys", "/etc/x",
					     "/proc/self/cwd/tmp" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		auto_str struct str out = { 0 };
		const struct sandbox_mount m = { .kind = SANDBOX_TMPFS,
						 .source_fd = -1,
						 .target = "/etc/x" };
		struct sandbox_spec s;
		struct box b;

		box_make(&b);
		box_link(&b, links[i], "etc/x");
		s = box_spec(&b, NULL);
		s.mounts = &m;
		s.n_mounts = 1;
		if (box_sh(&b, &s, "true", &out) >= 0)
			fail_msg("mounted at %s", links[i]);
		box_free(&b);
	}
}

/* T14, T6: the working directory. */
static void test_cwd(void **state)
{
	struct box b;
	char cwd[64], link[128];

	(void)state;
	box_make(&b);
	canary_make(&b);
	for (int fd = 0; fd <= 20; fd++) {
		auto_str struct str out = { 0 };
		struct sandbox_spec s = box_spec(&b, NULL);

		snprintf(cwd, sizeof(cwd), "/proc/self/fd/%d", fd);
		s.cwd = cwd;
		if (box_sh(&b, &s, "ls; cat ../../../etc/shadow", &out) >= 0)
			fail_msg("%s: %s", cwd, str_get(&out));
	}
	for (int i = 0; i < 2; i++) {
		auto_str struct str out = { 0 };
		struct sandbox_spec s = box_spec(&b, NULL);

		snprintf(link, sizeof(link), "%s%s/made", i ? "../../../.." : "", b.cache);
		unlinkat(b.root_fd, "work", 0);
		box_link(&b, link, "work");
		s.cwd = "/work/deep";
		assert_int_equal(box_sh(&b, &s, "pwd", &out), 0);
		assert_non_null(strstr(str_get(&out), "/made/deep\n"));
		canary_check(&b);
	}
	box_free(&b);
}

/* T4: the way back to the host's binary. */
static void test_self_exe(void **state)
{
	auto_str struct str out = { 0 };
	auto_free char *before = NULL, *after = NULL;
	size_t before_len, after_len;
	struct sandbox_spec s;
	struct box b;
	char *argv[] = { (char *)(uintptr_t) "/evil",
			 (char *)(uintptr_t) "x",
			 (char *)(uintptr_t) "-",
			 (char *)(uintptr_t) "1",
			 (char *)(uintptr_t) "/bin/true",
			 (char *)(uintptr_t) "true",
			 NULL };

	(void)state;
	assert_int_equal(fd_read_file(AT_FDCWD, "/proc/self/exe", 256 << 20, &before, &before_len,
				      &(struct err){ 0 }),
			 0);
	box_make(&b);
	box_write(&b, "evil", "#!/proc/self/exe\n", 0755);
	s = box_spec(&b, argv);
	assert_int_equal(box_run(&b, &s, &out), 127);
	for (int init = 0; init < 2; init++) {
		str_reset(&out);
		s.init = init;
		assert_int_equal(box_sh(&b, &s,
					"readlink /proc/1/exe; (echo x >/proc/1/exe) 2>&1; exit 3",
					&out),
				 3);
		if (strstr(str_get(&out), "unit-sandbox"))
			fail_msg("pid 1 is %s", str_get(&out));
	}
	box_free(&b);
	assert_int_equal(fd_read_file(AT_FDCWD, "/proc/self/exe", 256 << 20, &after, &after_len,
				      &(struct err){ 0 }),
			 0);
	assert_int_equal(before_len, after_len);
	assert_memory_equal(before, after, before_len);
}

/* T7: an image's own dev/null is not what masks. */
static void test_fake_null(void **state)
{
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct box b;

	(void)state;
	box_make(&b);
	box_link(&b, "/etc/target", "dev/null");
	box_write(&b, "etc/target", "seen", 0666);
	s = box_spec(&b, NULL);
	assert_int_equal(
		box_sh(&b, &s,
		       "cat /proc/interrupts; echo x >/proc/interrupts; cat /etc/target; stat -c %t:%T /dev/null",
		       &out),
		0);
	assert_string_equal(str_get(&out), "seen1:3\n");
	box_free(&b);
}

/* Nothing of ours is open in there: 0 to 2 and what ls opens. */
static void test_no_fd_leaks(void **state)
{
	auto_str struct str out = { 0 };
	int leak = open("/", O_RDONLY); /* without O_CLOEXEC, as a careless caller would */
	struct sandbox_spec s;
	struct box b;

	(void)state;
	box_make(&b);
	s = box_spec(&b, NULL);
	assert_int_equal(box_sh(&b, &s, "ls /proc/1/fd; true", &out), 0);
	if (strcmp(str_get(&out), "0\n1\n2\n") != 0)
		fail_msg("open: %s", str_get(&out));
	close(leak);
	box_free(&b);
}

struct racer {
	int dir_fd;
	atomic_bool stop;
};

static void *race(void *arg)
{
	struct racer *r = (struct racer *)arg;

	while (!atomic_load(&r->stop))
		renameat2(r->dir_fd, "real", r->dir_fd, "link", RENAME_EXCHANGE);
	return NULL;
}

/* T1, T9: a directory on the way to a mount target changes places with a link out, over and over.
 */
static void test_target_race(void **state)
{
	struct sandbox_mount m = { .kind = SANDBOX_BIND, .read_only = true };
	struct racer r = { .stop = false };
	char target[64];
	pthread_t thread;
	struct box b;

	(void)state;
	box_make(&b);
	canary_make(&b);
	box_write(&b, "tmp/source", "x", 0644);
	m.source_fd = openat(b.root_fd, "tmp/source", O_PATH | O_CLOEXEC);
	assert_int_equal(mkdirat(b.root_fd, "etc/real", 0755), 0);
	box_link(&b, b.cache, "etc/link");
	r.dir_fd = openat(b.root_fd, "etc", O_PATH | O_CLOEXEC);
	assert_int_equal(pthread_create(&thread, NULL, race, &r), 0);
	for (int i = 0; i < 40; i++) {
		auto_str struct str out = { 0 };
		struct sandbox_spec s = box_spec(&b, NULL);

		snprintf(target, sizeof(target), "/etc/real/deep/%d/file", i);
		m.target = target;
		s.mounts = &m;
		s.n_mounts = 1;
		box_sh(&b, &s, "true", &out); /* it may fail, but never outside */
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	canary_check(&b);
	close(r.dir_fd);
	close(m.source_fd);
	box_free(&b);
}

int test_attack(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_top_links),       cmocka_unit_test(test_mount_target_links),
		cmocka_unit_test(test_mount_over_proc), cmocka_unit_test(test_cwd),
		cmocka_unit_test(test_self_exe),        cmocka_unit_test(test_fake_null),
		cmocka_unit_test(test_no_fd_leaks),     cmocka_unit_test(test_target_race),
	};

	return cmocka_run_group_tests_name("sandbox: attacks", tests, NULL, NULL);
}
