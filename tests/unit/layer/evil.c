/* SPDX-License-Identifier: Apache-2.0 */
/* T16, T17: archives that try to leave the directory they are unpacked into, beside a canary; and
 * archives made to hurt. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "mktar.h"

enum { PREFIX = 32 };

/* o0/fs is unpacked into; canary, a file, and outside, a directory, lie beside it. */
static int evil_setup(void **state)
{
	struct fix *f;

	fix_setup(state);
	f = *state;
	put(f->fd, "canary", "tweet");
	assert_int_equal(fchmodat(f->fd, "canary", 0640, 0), 0);
	assert_int_equal(mkdirat(f->fd, "outside", 0750), 0);
	return 0;
}

static void canary_lives(struct fix *f, const char *what)
{
	auto_strv struct strv names = { 0 };
	struct stat st;

	if (!has_text(f->fd, "canary", "tweet"))
		fail_msg("%s: the canary was written to", what);
	assert_int_equal(fstatat(f->fd, "canary", &st, AT_SYMLINK_NOFOLLOW), 0);
	if (st.st_mode != (S_IFREG | 0640) || st.st_uid || st.st_nlink != 1)
		fail_msg("%s: the canary was changed: %o %u %ju", what, st.st_mode, st.st_uid,
			 (uintmax_t)st.st_nlink);
	assert_int_equal(fstatat(f->fd, "outside", &st, AT_SYMLINK_NOFOLLOW), 0);
	ok(f, fs_list(f->fd, "outside", &names, &f->err));
	if (st.st_mode != (S_IFDIR | 0750) || st.st_uid || names.n)
		fail_msg("%s: the directory outside was changed", what);
}

struct item {
	char type;
	const char *name, *target;
};

static const struct attack {
	const char *what;
	struct item v[4];
	int code; /* or 0: it is unpacked, inside */
} attacks[] = {
	{ "..", { { '0', "../../canary" } }, EPERM },
	{ ".. in the middle", { { '0', "a/../../../canary" } }, EPERM },
	{ "absolute", { { '0', "/canary" } }, 0 },
	{ "symlink up", { { '2', "l", "../.." }, { '0', "l/canary" } }, 0 },
	{ "symlink to the outside", { { '2', "l", "../../outside" }, { '0', "l/x" } }, EPERM },
	{ "absolute symlink", { { '2', "l", "@/outside" }, { '0', "l/x" } }, EPERM },
	{ "symlink to the canary", { { '2', "l", "../../canary" }, { '0', "l" } }, 0 },
	{ "symlinks in a chain",
	  { { '2', "a", ".." }, { '2', "b", "a/.." }, { '0', "b/canary" } },
	  0 },
	{ "symlink to itself", { { '2', "a", "a" }, { '0', "a/b" } }, ELOOP },
	{ "magic link", { { '2', "p", "/proc/self/root" }, { '0', "p/x" } }, EPERM },
	{ "hardlink up", { { '1', "h", "../../canary" } }, EPERM },
	{ "absolute hardlink", { { '1', "h", "@/canary" } }, ENOENT },
	{ "hardlink through a symlink",
	  { { '2', "l", "../.." }, { '1', "h", "l/canary" }, { '0', "h" } },
	  ENOENT },
	{ "hardlink to a symlink out",
	  { { '2', "l", "@/canary" }, { '1', "h", "l" }, { '0', "h" } },
	  0 },
	{ "hardlink to a directory", { { '5', "d" }, { '1', "h", "d" } }, EPERM },
	{ "hardlink to itself", { { '0', "f" }, { '1', "f", "f" } }, 0 },
	{ "hardlink of a whiteout", { { '0', ".wh.w" }, { '1', "h", "w" } }, EPERM },
	{ ". as symlink", { { '2', ".", "../../outside" }, { '0', "x" } }, EPERM },
	{ ". as file", { { '0', "./" } }, EPERM },
	{ "root as fifo", { { '6', "." } }, EPERM },
	{ "directory over a symlink",
	  { { '2', "l", "@/outside" }, { '5', "l" }, { '0', "l/x" } },
	  0 },
	{ "chmod through a symlink", { { '2', "l", "@/canary" }, { '3', "l" } }, 0 },
	{ "fifo over a symlink", { { '2', "l", "@/canary" }, { '6', "l" } }, 0 },
	{ "whiteout of ..", { { '0', ".wh..." } }, EPERM },
	{ "whiteout of .", { { '0', "a/.wh.." } }, EPERM },
	{ "whiteout of nothing", { { '0', ".wh." } }, EPERM },
	{ "whiteout through a symlink", { { '2', "l", "../.." }, { '0', "l/.wh.canary" } }, 0 },
	{ "opaque through a symlink",
	  { { '2', "l", "@/outside" }, { '0', "l/.wh..wh..opq" } },
	  EPERM },
	{ "whiteout as a directory", { { '0', ".wh.d/x" } }, EINVAL },
	{ "file as a directory", { { '0', "f" }, { '0', "f/x" } }, EPERM },
	{ "unknown type", { { 'Z', "z" } }, ENOTSUP },
	{ "no name", { { '0', "" } }, EBADMSG },
	{ "symlink without target", { { '2', "l", "" } }, EBADMSG },
};

static void add_items(struct str *tar, const struct fix *f, const struct item *v)
{
	for (; v->name; v++) {
		auto_free char *target = v->target && *v->target == '@'
						 ? mem_fmt("%s%s", f->path, v->target + 1)
						 : mem_str(v->target);

		mktar(tar,
		      &(struct mk){ .type = v->type,
				    .name = v->name,
				    .target = target,
				    .mode = 0777,
				    .uid = 12,
				    .major = 1,
				    .minor = 3,
				    .data = v->type == '0' && !str_starts(v->name, ".wh") ? "evil"
											  : "" });
	}
}

static void test_attacks(void **state)
{
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
		const struct attack *a = &attacks[i];
		auto_str struct str tar = { 0 };
		struct layer_apply_opts o = { .foreign = true };
		int rc;

		add_items(&tar, f, a->v);
		mktar_end(&tar);
		mktar_save(f, "evil", &tar);
		rc = apply(f, "evil", 'o', 0, &o, NULL);
		if (rc != -a->code)
			fail_msg("%s: %d (%s) instead of %d", a->what, rc, f->err.msg, -a->code);
		err_clear(&f->err);
		canary_lives(f, a->what);
	}
}

static void test_inside(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	static const struct item v[] = { { '5', "d" }, { '2', "l", "/d" }, { '0', "l/x" }, { 0 } };

	add_items(&tar, f, v);
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ 0 }, NULL));
	assert_true(has_text(f->fd, "o0/fs/d/x", "evil"));
}

/* TRAPS a: crafted metacopy and redirect would read any file of the layers beneath. */
static void test_foreign_marks(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	auto_fd int fd = -1, root = -1;
	char list[256];
	struct stat st;

	mktar_pax(&tar, "SCHILY.xattr.trusted.overlay.redirect", "/etc/shadow", 11);
	mktar_pax(&tar, "SCHILY.xattr.trusted.overlay.metacopy", "", 0);
	mktar_pax(&tar, "SCHILY.xattr.user.overlay.redirect", "/x", 2);
	mktar_pax(&tar, "SCHILY.xattr.trusted.x", "y", 1);
	mktar_pax(&tar, "SCHILY.xattr.security.selinux", "y", 1);
	mktar_pax(&tar, "SCHILY.xattr.user.fine", "y", 1);
	mktar_pax_end(&tar);
	mktar(&tar, &(struct mk){ .type = '0', .name = "f", .data = "" });
	mktar(&tar, &(struct mk){ .type = '3', .name = "dev" });
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .foreign = true }, NULL));
	root = open_layer(f, 'o', 0);
	fd = openat(root, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flistxattr(fd, list, sizeof(list)), 10);
	assert_string_equal(list, "user.fine");
	assert_int_equal(fstatat(root, "dev", &st, 0), -1);
	fails(f, EPERM, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ 0 }, NULL));
}

/* Whiteouts hide the parents' names only, wherever they stand in the archive. */
static void test_whiteouts_any_order(void **state)
{
	static const struct item orders[][5] = {
		{ { '0', ".wh.a" }, { '5', "a" }, { '0', "a/new" }, { 0 } },
		{ { '5', "a" }, { '0', "a/new" }, { '0', ".wh.a" }, { 0 } },
		{ { '0', "a/new" }, { '0', ".wh.a" }, { 0 } },
		{ { '0', ".wh.a" }, { '0', "a/new" }, { 0 } },
		{ { '5', "a" }, { '0', "a/new" }, { '0', "a/.wh..wh..opq" }, { 0 } },
		{ { '0', "a/.wh..wh..opq" }, { '0', "a/new" }, { 0 } },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		auto_str struct str one = { 0 }, two = { 0 };
		static const struct item lower[] = {
			{ '5', "a" }, { '0', "a/old" }, { '0', "b" }, { 0 }
		};
		int m;

		add_items(&one, f, lower);
		mktar_end(&one);
		mktar_save(f, "t", &one);
		ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ 0 }, NULL));
		add_items(&two, f, orders[i]);
		mktar(&two, &(struct mk){ .type = '0', .name = "b", .data = "kept" });
		mktar(&two, &(struct mk){ .type = '0', .name = ".wh.b", .data = "" });
		mktar_end(&two);
		mktar_save(f, "t", &two);
		ok(f, apply(f, "t", 'o', 1, &(struct layer_apply_opts){ 0 }, NULL));
		m = view(f, 'o', 2, false, "a");
		if (!has_text(m, "a/new", "evil") || is_there(m, "a/old") ||
		    !has_text(m, "b", "kept"))
			fail_msg("order %zu", i);
		unview(f, &m, "a");
	}
}

/* The inode of a file that is gone comes back as that of one without a note: apply() compares. */
static void test_memo_of_what_is_gone(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 }, sparse = { 0 };

	mktar_pax(&sparse, "GNU.sparse.size", "4", 1);
	mktar_pax(&sparse, "GNU.sparse.map", "1,1,3,1", 7);
	mktar_pax_end(&sparse);
	mktar(&sparse, &(struct mk){ .type = '0', .name = "sparse", .data = "ab" });
	mktar(&tar, &(struct mk){ .type = '0', .name = "a", .data = "full" });
	mktar(&tar, &(struct mk){ .type = '0', .name = "a", .data = "full" });
	mktar(&tar, &(struct mk){ .type = '1', .name = "a", .target = "a" });
	mktar(&tar, &(struct mk){ .type = '0', .name = "b", .data = "x" });
	mktar(&tar, &(struct mk){ .type = '1', .name = "a", .target = "b" });
	str_addn(&tar, sparse.s, sparse.len);
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .foreign = true }, NULL));
}

static void make(struct fix *f, int i, const struct item *v)
{
	auto_str struct str tar = { 0 };

	add_items(&tar, f, v);
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', i, &(struct layer_apply_opts){ .foreign = true }, NULL));
}

/* overlayfs knows no opaque root. */
static void test_opaque_root(void **state)
{
	static const struct item lower[] = {
		{ '5', "a" }, { '0', "a/old" }, { '0', "b" }, { '5', "c" }, { 0 }
	};
	static const struct item upper[] = {
		{ '5', "a" }, { '0', "a/new" }, { '0', ".wh..wh..opq" }, { '0', "b" }, { 0 }
	};
	struct fix *f = *state;
	int m;

	make(f, 0, lower);
	make(f, 1, upper);
	m = view(f, 'o', 2, false, "a");
	assert_true(has_text(m, "a/new", "evil"));
	assert_true(has_text(m, "b", "evil"));
	assert_false(is_there(m, "a/old"));
	assert_false(is_there(m, "c"));
	unview(f, &m, "a");
}

static void test_links_to_what_is_dropped(void **state)
{
	static const struct item v[] = { { '5', "d" },          { '3', "d/dev" },
					 { '1', "l", "d/dev" }, { '1', "m", "/l" },
					 { '0', "f" },          { 0 } };
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	auto_fd int root = -1;

	for (const struct item *i = v; i->name; i++)
		mktar(&tar, &(struct mk){ .type = i->type,
					  .name = i->name,
					  .target = i->target,
					  .mode = 0755,
					  .data = "" });
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .foreign = true }, NULL));
	root = open_layer(f, 'o', 0);
	assert_true(is_there(root, "f"));
	assert_false(is_there(root, "d/dev") || is_there(root, "l") || is_there(root, "m"));
}

/* Some builders write links to files of layers beneath. */
static void test_links_to_lower_files(void **state)
{
	static const struct item lower[] = {
		{ '5', "a" }, { '0', "a/f" }, { '5', "b" }, { '0', "b/f" }, { 0 }
	};
	static const struct item upper[] = { { '1', "l", "a/f" }, { 0 } };
	static const struct item hidden[] = {
		{ '5', "b" }, { '0', "b/.wh..wh..opq" }, { '1', "l", "b/f" }, { 0 }
	};
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	struct stat a, l;
	int m;

	make(f, 0, lower);
	make(f, 1, upper);
	m = view(f, 'o', 2, false, "a");
	assert_int_equal(fstatat(m, "a/f", &a, 0), 0);
	assert_int_equal(fstatat(m, "l", &l, 0), 0);
	assert_int_equal(a.st_ino, l.st_ino);
	assert_int_equal(a.st_uid, 12);
	assert_int_equal(a.st_mode & 07777, 0777);
	assert_true(has_text(m, "l", "evil"));
	unview(f, &m, "a");
	add_items(&tar, f, hidden);
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	fails(f, ENOENT, apply(f, "t", 'o', 1, &(struct layer_apply_opts){ 0 }, NULL));
}

static void test_plain_trees_have_no_whiteouts(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	static const struct item v[] = { { '0', "d/.wh.x" }, { 0 } };

	add_items(&tar, f, v);
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	fails(f, EINVAL, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .rootfs = true }, NULL));
}

static void limit_is(struct fix *f, const struct str *tar, int code)
{
	struct layer_apply_opts o = { .foreign = true, .max_bytes = 1 << 20 };

	mktar_save(f, "t", tar);
	fails(f, code, apply(f, "t", 'o', 0, &o, NULL));
}

static void test_limits(void **state)
{
	struct fix *f = *state;
	auto_free char *much = mem_alloc(2 << 20);
	auto_str struct str a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 }, e = { 0 };

	memset(much, 'x', (2 << 20) - 1);
	mktar(&a, &(struct mk){ .type = '0', .name = "bomb", .data = much });
	mktar_end(&a);
	limit_is(f, &a, EFBIG);
	mktar(&b, &(struct mk){ .type = '0', .name = "says", .size = 1ull << 40, .data = "" });
	limit_is(f, &b, EFBIG);
	mktar(&c, &(struct mk){ .type = 'L', .name = "long", .data = much });
	limit_is(f, &c, E2BIG);
	mktar_pax(&d, "SCHILY.xattr.user.big", much, 70000);
	mktar_pax_end(&d);
	mktar(&d, &(struct mk){ .type = '0', .name = "x", .data = "" });
	limit_is(f, &d, E2BIG);
	mktar_pax(&e, "path", much, 5000);
	mktar_pax_end(&e);
	mktar(&e, &(struct mk){ .type = '0', .name = "x", .data = "" });
	limit_is(f, &e, ENAMETOOLONG);
}

/* One PAX header after the other, then a file: refused with that code. */
static void headers_are(struct fix *f, const char *key, const char *value, int n, int code)
{
	auto_str struct str tar = { 0 }, header = { 0 };

	mktar_pax(&header, key, value, strlen(value));
	mktar_pax_end(&header);
	for (int i = 0; i < n; i++)
		str_addn(&tar, header.s, header.len);
	mktar(&tar, &(struct mk){ .type = '0', .name = "x", .data = "" });
	mktar_end(&tar);
	limit_is(f, &tar, code);
}

/* What would be gathered from header after header. */
static void test_pax_bombs(void **state)
{
	auto_free char *value = mem_alloc(1000001);

	memset(value, ',', 60000);
	headers_are(*state, "SCHILY.xattr.user.same", value, 40, E2BIG);
	headers_are(*state, "GNU.sparse.map", value, 1, EBADMSG);
	memset(value, ',', 1000000);
	headers_are(*state, "comment", value, 5, EBADMSG);
}

static void test_devices_without_end(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };

	for (int i = 0; i < 65537; i++) {
		char name[PREFIX];

		snprintf(name, sizeof(name), "d%d", i);
		mktar(&tar, &(struct mk){ .type = '3', .name = name });
	}
	limit_is(f, &tar, E2BIG);
}

/* More times of directories than are kept in memory: all are set, the last entry's for each. */
static void test_many_directories(void **state)
{
	enum { DIRS = 9000, STEM = 80 };
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	auto_fd int root = -1;
	char name[99];

	memset(name, 'n', sizeof(name));
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < DIRS; i++) {
			snprintf(name + STEM, sizeof(name) - STEM, "%d", i);
			mktar(&tar, &(struct mk){ .type = '5',
						  .name = name,
						  .mode = 0755,
						  .mtime = pass ? 1000000u + (unsigned)i : 5 });
		}
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .foreign = true }, NULL));
	root = open_layer(f, 'o', 0);
	for (int i = 0; i < DIRS; i++) {
		struct stat st;

		snprintf(name + STEM, sizeof(name) - STEM, "%d", i);
		assert_int_equal(fstatat(root, name, &st, 0), 0);
		assert_int_equal(st.st_mtime, 1000000 + i);
	}
}

/* Cut anywhere, flipped anywhere: an error or a tree, never a crash, and the canary lives. */
static void test_damage(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };

	mktar_pax(&tar, "mtime", "12.5", 4);
	mktar_pax_end(&tar);
	mktar(&tar, &(struct mk){ .type = '0', .name = "f", .data = "some data" });
	mktar(&tar, &(struct mk){ .type = '2', .name = "l", .target = "f" });
	mktar_end(&tar);
	for (size_t n = 1; n < tar.len; n += 97) {
		struct str cut = { tar.s, n, 0 };
		int rc;

		mktar_save(f, "t", &cut);
		rc = apply(f, "t", 'o', 0, &(struct layer_apply_opts){ 0 }, NULL);
		if (n % 512 && rc != -EBADMSG)
			fail_msg("cut at %zu: %d %s", n, rc, f->err.msg);
		err_clear(&f->err);
	}
	for (size_t n = 0; n < tar.len; n += 13) {
		tar.s[n] ^= 0x55;
		mktar_save(f, "t", &tar);
		tar.s[n] ^= 0x55;
		apply(f, "t", 'o', 0, &(struct layer_apply_opts){ .foreign = true }, NULL);
		err_clear(&f->err);
		canary_lives(f, "flipped");
	}
}

struct racer {
	int dir;
	atomic_bool stop;
};

/* Swaps a directory of the tree with a symlink to the outside, as fast as it goes. */
static void *race(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(&r->stop)) {
		if (renameat2(r->dir, "d", r->dir, "s", RENAME_EXCHANGE) < 0 &&
		    symlinkat("../../outside", r->dir, "s") < 0)
			sched_yield();
	}
	return NULL;
}

static void test_racer(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	struct racer r = { .dir = -1 };
	auto_fd int fd = -1, dir = -1;
	pthread_t t;

	for (int i = 0; i < 400; i++) {
		char name[PREFIX];

		snprintf(name, sizeof(name), "d/%d/x", i % 7);
		mktar(&tar, &(struct mk){ .type = i % 5 ? '0' : '6',
					  .name = name,
					  .mode = 0777,
					  .uid = 9,
					  .data = i % 5 ? "evil" : "" });
		mktar(&tar,
		      &(struct mk){
			      .type = '0', .name = "d/canary", .mode = 0777, .data = "evil" });
		mktar(&tar, &(struct mk){ .type = '0', .name = "d/.wh.w", .data = "" });
		mktar(&tar, &(struct mk){ .type = '1', .name = "e/h", .target = "d/canary" });
	}
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	make_layer(f, 'o', 0);
	dir = open_layer(f, 'o', 0);
	r.dir = dir;
	assert_int_equal(pthread_create(&t, NULL, race, &r), 0);
	for (int i = 0; i < 10; i++) {
		fd_close(&fd);
		fd = openat(f->fd, "t/t", O_RDONLY | O_CLOEXEC);
		(void)layer_apply(fd, dir, &(struct layer_apply_opts){ .parent_fd = -1 }, NULL,
				  &f->err);
		err_clear(&f->err);
	}
	atomic_store(&r.stop, true);
	pthread_join(t, NULL);
	canary_lives(f, "racer");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, evil_setup, fix_teardown)
const struct CMUnitTest evil_tests[] = { T(test_attacks),
					 T(test_inside),
					 T(test_foreign_marks),
					 T(test_whiteouts_any_order),
					 T(test_memo_of_what_is_gone),
					 T(test_opaque_root),
					 T(test_links_to_what_is_dropped),
					 T(test_links_to_lower_files),
					 T(test_plain_trees_have_no_whiteouts),
					 T(test_limits),
					 T(test_pax_bombs),
					 T(test_devices_without_end),
					 T(test_many_directories),
					 T(test_damage),
					 T(test_racer) };
const size_t n_evil_tests = ARRAY_LEN(evil_tests);
