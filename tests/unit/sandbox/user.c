/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken\n"
			     "huge:x:4294967296:5::/:/bin/sh\n"
			     "app:x:1000:1001:App:/home/app:/bin/sh\n"
			     "nohome:x:1002:1002:::/bin/sh\n";
static const char group[] =
	"root:x:0:\nwheel:x:10:app,root\nweb:x:33:other,app\napp:x:1001:\nlike:x:44:application\n";

static const struct {
	const char *user;
	int rc;
	uint32_t uid, gid;
	size_t n_groups;
	const char *home;
} cases[] = {
	{ "", 0, 0, 0, 1, "/root" },
	{ "root", 0, 0, 0, 1, "/root" },
	{ "app", 0, 1000, 1001, 2, "/home/app" },
	{ "1000", 0, 1000, 1001, 2, "/home/app" },
	{ "app:web", 0, 1000, 33, 0, "/home/app" },
	{ "app:33", 0, 1000, 33, 0, "/home/app" },
	{ "app:77", 0, 1000, 77, 0, "/home/app" },
	{ "4242", 0, 4242, 0, 0, "/" },
	{ "4242:4343", 0, 4242, 4343, 0, "/" },
	{ "nohome", 0, 1002, 1002, 0, "/" },
	{ "4294967294", 0, 4294967294u, 0, 0, "/" },
	{ "4294967295", -EINVAL, 0, 0, 0, NULL },
	{ "4294967296", -EINVAL, 0, 0, 0, NULL },
	{ "99999999999999999999999", -EINVAL, 0, 0, 0, NULL },
	{ "+0", -EINVAL, 0, 0, 0, NULL },
	{ "-1", -EINVAL, 0, 0, 0, NULL },
	{ "0x0", -ENOENT, 0, 0, 0, NULL },
	{ " 0", -EINVAL, 0, 0, 0, NULL },
	{ "1:", -EINVAL, 0, 0, 0, NULL },
	{ ":1", -EINVAL, 0, 0, 0, NULL },
	{ "1:2:3", -EINVAL, 0, 0, 0, NULL },
	{ "nobody", -ENOENT, 0, 0, 0, NULL },
	{ "huge", -ENOENT, 0, 0, 0, NULL },
	{ "app:none", -ENOENT, 0, 0, 0, NULL },
	{ "app:999999999999999999999", -EINVAL, 0, 0, 0, NULL },
};

static void test_rules(void **state)
{
	struct box b;

	(void)state;
	box_make(&b);
	box_write(&b, "etc/passwd", passwd, 0644);
	box_write(&b, "etc/group", group, 0644);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sandbox_user u = { 0 };
		int rc = sandbox_user_find(b.root_fd, cases[i].user, &u, &b.err);

		if (rc != cases[i].rc)
			fail_msg("\"%s\": %d %s", cases[i].user, rc, b.err.msg);
		if (rc == 0 &&
		    (u.uid != cases[i].uid || u.gid != cases[i].gid ||
		     u.n_groups != cases[i].n_groups || strcmp(u.home, cases[i].home) != 0))
			fail_msg("\"%s\": %u:%u %zu %s", cases[i].user, u.uid, u.gid, u.n_groups,
				 u.home);
		sandbox_user_free(&u);
	}
	box_free(&b);
}

static void expect_refused(struct box *b, const char *user)
{
	struct sandbox_user u = { 0 };
	int rc = sandbox_user_find(b->root_fd, user, &u, &b->err);

	if (rc >= 0)
		fail_msg("%s was read", user);
	/* For numbers it is as if it were missing. */
	assert_int_equal(sandbox_user_find(b->root_fd, "12", &u, &b->err), 0);
	assert_int_equal(u.uid, 12);
	assert_int_equal(u.gid, 0);
	sandbox_user_free(&u);
	unlinkat(b->root_fd, "etc/passwd", 0);
}

/* T2, T29 */
static void test_traps(void **state)
{
	struct sandbox_user u = { 0 };
	struct box b;
	int fd;

	(void)state;
	box_make(&b);
	assert_int_equal(mkfifoat(b.root_fd, "etc/passwd", 0644), 0);
	expect_refused(&b, "root");
	box_link(&b, "/etc/passwd", "etc/passwd");
	expect_refused(&b, "root");
	box_link(&b, "../../../../../../etc/passwd", "etc/passwd");
	expect_refused(&b, "root");
	assert_int_equal(mkdirat(b.root_fd, "etc/passwd", 0755), 0);
	assert_true(sandbox_user_find(b.root_fd, "root", &u, &b.err) < 0);
	unlinkat(b.root_fd, "etc/passwd", AT_REMOVEDIR);
	/* One that cannot be opened, to show that nobody tries: as good as a device. */
	assert_int_equal(mknodat(b.root_fd, "etc/passwd", S_IFSOCK | 0644, 0), 0);
	assert_int_equal(sandbox_user_find(b.root_fd, "root", &u, &b.err), -EINVAL);
	unlinkat(b.root_fd, "etc/passwd", 0);
	fd = openat(b.root_fd, "etc/passwd", O_CREAT | O_WRONLY, 0644);
	assert_int_equal(ftruncate(fd, 10ll << 30), 0);
	close(fd);
	expect_refused(&b, "root");
	/* The same of the groups. */
	assert_int_equal(mkfifoat(b.root_fd, "etc/group", 0644), 0);
	assert_int_equal(sandbox_user_find(b.root_fd, "12:34", &u, &b.err), 0);
	sandbox_user_free(&u);
	assert_true(sandbox_user_find(b.root_fd, "12:staff", &u, &b.err) < 0);
	/* Missing: numbers work, names do not. */
	assert_int_equal(sandbox_user_find(b.root_fd, "root", &u, &b.err), -ENOENT);
	assert_int_equal(sandbox_user_find(b.root_fd, "12:34", &u, &b.err), 0);
	assert_int_equal(u.uid, 12);
	assert_int_equal(u.gid, 34);
	sandbox_user_free(&u);
	box_free(&b);
}

/* An etc that leads to the host must stay in the image. */
static void test_links_stay_inside(void **state)
{
	struct sandbox_user u = { 0 };
	struct box b;

	(void)state;
	box_make(&b);
	unlinkat(b.root_fd, "etc", AT_REMOVEDIR);
	box_link(&b, "/../../../../../etc", "etc");
	assert_int_not_equal(sandbox_user_find(b.root_fd, "root", &u, &b.err), 0);
	box_free(&b);
}

int test_user(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_traps),
		cmocka_unit_test(test_links_stay_inside),
	};

	return cmocka_run_group_tests_name("sandbox: users", tests, NULL, NULL);
}
