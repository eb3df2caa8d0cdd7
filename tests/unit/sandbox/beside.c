/* SPDX-License-Identifier: Apache-2.0 */
/* A network namespace made ahead, and mounts that are held after the end. */
#include "tests.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/str.h>

static void test_net(void **state)
{
	struct sandbox_beside *net = sandbox_net_begin();
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct stat made, ours;
	struct box b;
	int fd;

	(void)state;
	box_make(&b);
	fd = sandbox_net_take(net);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &made), 0);
	assert_int_equal(stat("/proc/self/ns/net", &ours), 0);
	assert_int_not_equal(made.st_ino, ours.st_ino);
	s = box_spec(&b, NULL);
	s.net = SANDBOX_NET_FD;
	s.net_fd = fd;
	assert_int_equal(box_sh(&b, &s, "cat /sys/class/net/*/operstate; ls /sys/class/net", &out),
			 0);
	assert_string_equal(out.s, "unknown\nlo\n"); /* of lo: up */
	close(fd);
	box_free(&b);
}

/* What is begun and not needed after all. */
static void test_net_dropped(void **state)
{
	(void)state;
	sandbox_beside_end(sandbox_net_begin());
	sandbox_beside_end(NULL);
	assert_int_equal(sandbox_net_take(NULL), -1);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Left twice they are left once: a second thread would close the first one's fd, and others'. */
static void test_mounts(void **state)
{
	struct sandbox_beside *held, *kept;
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	struct sandbox *sb = NULL;
	struct sandbox_spec s;
	struct box b;
	int status, before;

	(void)state;
	box_make(&b);
	s = box_spec(&b, (char *[]){ (char *)(uintptr_t) "sleep", (char *)(uintptr_t) "9", NULL });
	assert_int_equal(sandbox_plan(&s, &plan, &b.err), 0);
	assert_int_equal(sandbox_spawn(plan, &sb, &b.err), 0);
	before = open_fds();
	held = sandbox_mounts_hold(sb);
	kept = sandbox_mounts_hold(sb);
	assert_int_equal(open_fds(), before + 2);
	assert_int_equal(sandbox_release(sb, &b.err), 0);
	before--; /* the socket */
	assert_int_equal(sandbox_signal(sb, SIGKILL, &b.err), 0);
	assert_int_equal(sandbox_wait(sb, -1, &status, &b.err), 1);
	for (int i = 0; i < 3; i++)
		sandbox_mounts_leave(held);
	sandbox_beside_end(held);
	sandbox_mounts_leave(NULL);
	assert_int_equal(open_fds(), before + 1);
	sandbox_beside_end(kept);
	assert_int_equal(open_fds(), before);
	/* Of one that has ended there are none. */
	held = sandbox_mounts_hold(sb);
	sandbox_mounts_leave(held);
	sandbox_beside_end(held);
	sandbox_free(sb);
	box_free(&b);
}

int test_beside(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_net_dropped),
		cmocka_unit_test(test_mounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
