/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <linux/filter.h>

static char *true_argv[] = { (char *)(uintptr_t) "true", NULL };

static struct sandbox_spec plain(void)
{
	return (struct sandbox_spec){ .root_fd = -1,
				      .argv = true_argv,
				      .net_fd = -1,
				      .stdio = { 0, 1, 2 },
				      .seccomp_unconfined = true };
}

static char *text_of(const struct sandbox_spec *s)
{
	auto_sandbox_plan struct sandbox_plan *p = NULL;
	struct err err = { 0 };

	if (sandbox_plan(s, &p, &err) < 0)
		fail_msg("%s", err.msg);
	return sandbox_plan_text(p);
}

static void expect_refused(const struct sandbox_spec *s, int code, const char *word)
{
	auto_sandbox_plan struct sandbox_plan *p = NULL;
	struct err err = { 0 };

	assert_int_equal(sandbox_plan(s, &p, &err), code);
	if (!strstr(err.msg, word))
		fail_msg("no \"%s\" in: %s", word, err.msg);
}

/* What comes before what is the security of it. */
static void expect_order(const char *text, const char *const *names)
{
	const char *at = text;

	for (; *names; names++) {
		const char *found = strstr(at, *names);

		if (!found)
			fail_msg("%s is missing or too early in:\n%s", *names, text);
		at = found;
	}
}

/* What the box shares is neither made nor entered twice; its own users come after all mounts. */
static void test_shared(void **state)
{
	static const struct sandbox_ns ns[] = { { CLONE_NEWPID, 7 },
						{ CLONE_NEWIPC, 8 },
						{ CLONE_NEWUTS, -1 },
						{ CLONE_NEWCGROUP, -1 },
						{ CLONE_NEWNET, 9 } };
	static const char *const order[] = { "cgroup shale/x\n",    "namespace ipc\n",
					     "namespace network\n", "loopback\n",
					     "file-owner\n",        "devpts 1005\n",
					     "user-namespace\n",    NULL };
	static const struct ids_range ids = { 10, 1000, 65536 };
	auto_free char *text = NULL;
	struct sandbox_spec s = plain();

	(void)state;
	s.ns = ns;
	s.n_ns = ARRAY_LEN(ns);
	s.ids = &ids;
	s.shm = SANDBOX_SHM_NONE;
	expect_refused(&s, -EINVAL, "without a cgroup");
	s.cgroup.name = "shale/x";
	text = text_of(&s);
	expect_order(text, order);
	assert_null(strstr(text, "cgroup-namespace"));
	assert_null(strstr(text, "namespace pid"));
	assert_null(strstr(text, "namespace uts"));
	assert_null(strstr(text, "shm"));
}

/* What keeps a layout in: its own proc before kernel values, hooks before the root is "/", masks
 * after all mounts, the program looked for before ids and filter. */
static void test_layout_order(void **state)
{
	static const char *const order[] = { "not-dumpable\n",
					     "cgroup shale/x\n",
					     "user-namespace\n",
					     "cgroup-namespace\n",
					     "private-mounts\n",
					     "root-at /r\n",
					     "mount /a tmpfs ro",
					     "device /dev/x",
					     "own-proc\n",
					     "sysctl k",
					     "runtime-hooks\n",
					     "hooks createContainer",
					     "pivot\n",
					     "mask /m\n",
					     "read-only /o\n",
					     "root-attributes\n",
					     "stdio\n",
					     "cwd /\n",
					     "find true\n",
					     "close\n",
					     "bounding",
					     "groups",
					     "user 4:5\n",
					     "caps",
					     "no-new-privs\n",
					     "seccomp\n",
					     "held\n",
					     "hooks startContainer",
					     NULL };
	static const struct sandbox_ns ns[] = { { CLONE_NEWUSER, -1 }, { CLONE_NEWCGROUP, -1 } };
	static const struct sandbox_part part = {
		.kind = SANDBOX_PART_FS, .target = "/a", .fs = "tmpfs", .set = 1
	};
	static const struct sandbox_node node = { .path = "/dev/x" };
	static const struct sandbox_pair sysctl = { "k", "v" };
	static const char *const masked[] = { "/m", NULL }, *const read_only[] = { "/o", NULL };
	static const struct sandbox_hook hook = { .path = "/h" };
	static const struct sock_filter filter[1];
	struct sandbox_layout l = { .ns = ns,
				    .n_ns = 2,
				    .root_path = "/r",
				    .parts = &part,
				    .n_parts = 1,
				    .nodes = &node,
				    .n_nodes = 1,
				    .masked = masked,
				    .read_only = read_only,
				    .sysctls = &sysctl,
				    .n_sysctls = 1,
				    .filter = filter,
				    .n_filter = 1,
				    .mempolicy_mode = -1,
				    .create_hooks = &hook,
				    .n_create_hooks = 1,
				    .start_hooks = &hook,
				    .n_start_hooks = 1,
				    .wants_runtime_stage = true };
	struct sandbox_spec s = plain();
	auto_free char *text = NULL;

	(void)state;
	s.layout = &l;
	s.uid = 4;
	s.gid = 5;
	s.no_new_privs = true;
	s.cgroup.name = "shale/x";
	text = text_of(&s);
	expect_order(text, order);
}

static void test_order(void **state)
{
	static const char *const order[] = { "not-dumpable\n",
					     "session\n",
					     "cgroup shale/x\n",
					     "cgroup-namespace\n",
					     "loopback\n",
					     "private-mounts\n",
					     "root\n",
					     "proc\n",
					     "sys ro\n",
					     "dev\n",
					     "node null 1:3 666\n",
					     "devpts 5\n",
					     "node-bind null\n",
					     "mask /proc/",
					     "read-only /proc/sys\n",
					     "dev-nodev\n",
					     "root-read-only\n",
					     "stdio\n",
					     "limit nofile 1:2\n",
					     "keyring\n",
					     "cwd /w\n",
					     "close\n",
					     "bounding ",
					     "groups 5 6\n",
					     "seccomp\n",
					     "user 4:5\n",
					     "caps ",
					     "hold\n",
					     NULL };
	static const char *const with_nnp[] = { "user 4:5\n", "caps ",  "no-new-privs\n",
						"seccomp\n",  "hold\n", NULL };
	const struct sandbox_limit limit = { RLIMIT_NOFILE, 1, 2 };
	const uint32_t groups[] = { 6, 5 };
	struct sandbox_spec s = plain();
	auto_free char *text = NULL, *nnp = NULL;

	(void)state;
	s.seccomp_unconfined = false;
	s.cgroup.name = "shale/x";
	s.read_only = true;
	s.limits = &limit;
	s.n_limits = 1;
	s.cwd = "/./w/";
	s.uid = 4;
	s.gid = 5;
	s.groups = groups;
	s.n_groups = 2;
	text = text_of(&s);
	expect_order(text, order);
	s.no_new_privs = true;
	nnp = text_of(&s);
	expect_order(nnp, with_nnp);
}

static void test_privileged(void **state)
{
	struct sandbox_spec s = plain();
	auto_free char *text = NULL;

	(void)state;
	s.privileged = true;
	text = text_of(&s);
	assert_null(strstr(text, "mask "));
	assert_null(strstr(text, "read-only "));
	assert_null(strstr(text, "dev-nodev"));
	assert_null(strstr(text, "seccomp"));
	assert_non_null(strstr(text, "sys rw\n"));
}

static void test_refusals(void **state)
{
	static const char *const targets[] = {
		"/",         "/.",       "/proc",      "/proc/", "/proc/self/attr",
		"/proc/sys", "relative", "/a/../proc", "/a/..",  "//proc/./sys"
	};
	struct sandbox_spec s = plain();
	char *none[] = { NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		const struct sandbox_mount m = { .kind = SANDBOX_TMPFS,
						 .source_fd = -1,
						 .target = targets[i] };

		s.mounts = &m;
		s.n_mounts = 1;
		expect_refused(&s, -EINVAL, "mount target");
	}
	s = plain();
	s.cwd = "relative";
	expect_refused(&s, -EINVAL, "absolute");
	s = plain();
	s.argv = none;
	expect_refused(&s, -EINVAL, "no command");
	s = plain();
	s.uid = UINT32_MAX;
	expect_refused(&s, -EINVAL, "range");
	s = plain();
	s.cgroup.name = "../x";
	expect_refused(&s, -EINVAL, "cgroup");
}

static void test_caps(void **state)
{
	auto_strv struct strv add = { 0 };
	auto_strv struct strv drop = { 0 };
	struct sandbox_spec s = plain();
	auto_free char *text = NULL;

	(void)state;
	strv_add(&add, "CAP_NET_ADMIN");
	strv_add(&add, "sys_time");
	strv_add(&drop, "all");
	s.cap_add = &add;
	s.cap_drop = &drop;
	text = text_of(&s);
	assert_non_null(strstr(text, "caps cap_net_admin cap_sys_time\n"));
	strv_add(&add, "NO_SUCH");
	expect_refused(&s, -EINVAL, "NO_SUCH");
	strv_remove(&add, 2);
	strv_add(&add, "CAP_12");
	expect_refused(&s, -EINVAL, "CAP_12");
}

int test_plan(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),      cmocka_unit_test(test_layout_order),
		cmocka_unit_test(test_privileged), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_caps),       cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests_name("sandbox: plan", tests, NULL, NULL);
}
