/* SPDX-License-Identifier: Apache-2.0 */
/* Random sequences of changes on a small set of names: every layer must come back as it was. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

enum { SEQUENCES = 150, STEPS = 3, OPS = 14 };

struct dice {
	uint64_t x;
};

static unsigned roll(struct dice *d, unsigned n)
{
	d->x ^= d->x << 13;
	d->x ^= d->x >> 7;
	d->x ^= d->x << 17;
	return (unsigned)((d->x >> 11) % n);
}

static void name(struct dice *d, char buf[16])
{
	static const char parts[] = "abcd";
	unsigned depth = 1 + roll(d, 3);

	for (unsigned i = 0; i < depth; i++) {
		buf[2 * i] = parts[roll(d, 4)];
		buf[2 * i + 1] = '/';
	}
	buf[2 * depth - 1] = 0;
}

/* Many fail, since their names are not there: that is as good as nothing. */
static void op(int root, struct dice *d)
{
	char a[16], b[16], text[32];
	auto_fd int fd = -1;
	struct err err = { 0 };
	int tried = 0;

	name(d, a);
	name(d, b);
	snprintf(text, sizeof(text), "%u", roll(d, 1000));
	switch (roll(d, 14)) {
	case 0:
	case 1:
		tried = mkdirat(root, a, 0755);
		break;
	case 2:
	case 3:
		fd = openat(root, a,
			    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
			    0644);
		if (fd >= 0)
			assert_int_equal(write(fd, text, strlen(text)), strlen(text));
		break;
	case 4:
		tried = unlinkat(root, a, 0);
		break;
	case 5:
		(void)fs_remove_tree(root, a, &err);
		break;
	case 6:
	case 7:
		tried = renameat(root, a, root, b);
		break;
	case 8:
		tried = fchmodat(root, a, 0600 | roll(d, 0100), 0);
		break;
	case 9:
		tried = fchownat(root, a, roll(d, 3), roll(d, 3), AT_SYMLINK_NOFOLLOW);
		break;
	case 10:
		tried = symlinkat(b, root, a);
		break;
	case 11:
		tried = linkat(root, a, root, b, 0);
		break;
	case 12:
		tried = mknodat(root, a, S_IFIFO | 0600, 0);
		break;
	default:
		fd = openat(root, a, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0)
			tried = fsetxattr(fd, "user.r", text, strlen(text), 0);
	}
	(void)tried;
}

static void ops(int root, void *arg)
{
	for (int i = 0; i < OPS; i++)
		op(root, arg);
}

static void compare_listings(struct fix *f)
{
	auto_free char *gnu = list_tar(f, "/bin/tar", "o2"),
		       *bsd = list_tar(f, "/usr/bin/bsdtar", "o2");
	uint64_t lines = 0;

	assert_string_equal(gnu, bsd);
	for (const char *p = gnu; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, f->info[2].entries);
}

static void test_random(void **state)
{
	struct fix *f = *state;

	for (unsigned seed = 1; seed <= SEQUENCES; seed++) {
		struct dice d = { seed * 0x9e3779b97f4a7c15u };

		f->n = 0;
		for (int i = 0; i < STEPS; i++)
			add_layer(f, ops, &d);
		round_trip(f);
		if (seed % 10 == 0)
			compare_listings(f);
	}
}

const struct CMUnitTest random_tests[] = { cmocka_unit_test_setup_teardown(test_random, fix_setup,
									   fix_teardown) };
const size_t n_random_tests = ARRAY_LEN(random_tests);
