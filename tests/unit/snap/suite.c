/* SPDX-License-Identifier: Apache-2.0 */
/* The cases of containerd's snapshotter test suite, by their names there. Update is about labels,
 * which shale's snapshots do not have. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/str.h>

static int stat_of(int root, const char *path, struct stat *st)
{
	return fstatat(root, path, st, AT_SYMLINK_NOFOLLOW);
}

static void mode_is(int root, const char *path, unsigned mode)
{
	struct stat st;

	assert_int_equal(stat_of(root, path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void owner_is(int root, const char *path, unsigned uid, unsigned gid)
{
	struct stat st;

	assert_int_equal(stat_of(root, path, &st), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
}

static void info_is(struct fix *f, int64_t id, const char *key, enum snap_kind kind, int64_t parent)
{
	struct snap_info a, b;

	ok(f, snap_stat(f->s, id, &a, &f->err));
	assert_string_equal(a.key, key);
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.parent, parent);
	ok(f, snap_find(f->s, key, &b, &f->err));
	assert_int_equal(a.id, b.id);
}

static void basic_1(int root)
{
	put(root, "foo", "foo\n");
	assert_int_equal(mkdirat(root, "a", 0755), 0);
	assert_int_equal(mkdirat(root, "a/b", 0755), 0);
	assert_int_equal(mkdirat(root, "a/b/c", 0755), 0);
}

static void basic_2(int root)
{
	put(root, "bar", "bar\n");
	assert_int_equal(unlinkat(root, "foo", 0), 0);
	has(root, "bar", "bar\n");
	put(root, "a/b/e", "e\n");
}

static void basic_result(int root)
{
	has_not(root, "foo");
	has(root, "bar", "bar\n");
	has(root, "a/b/e", "e\n");
	mode_is(root, "a/b/c", 0755);
}

static void test_basic(void **state)
{
	struct fix *f = *state;
	struct snap_new again = { .key = "next", .kind = SNAP_ACTIVE };
	struct snap_mount m = SNAP_MOUNT_INIT;
	int64_t one, two;
	struct snap_info info;

	one = new_active(f, "preparing", 0);
	ok(f, snap_mount(f->s, one, 0, &m, &f->err));
	basic_1(m.root_fd);
	snap_mount_close(&m);
	ok(f, snap_commit(f->s, one, "committed", 0, &f->err));
	info_is(f, one, "committed", SNAP_COMMITTED, 0);
	fails(f, ENOENT, snap_find(f->s, "preparing", &info, &f->err));

	two = new_active(f, "next", one);
	again.parent = one;
	fails(f, EEXIST, snap_prepare(f->s, &again, &info, &f->err));
	ok(f, snap_mount(f->s, two, 0, &m, &f->err));
	basic_2(m.root_fd);
	snap_mount_close(&m);
	fails(f, EEXIST, snap_commit(f->s, two, "committed", 0, &f->err));
	ok(f, snap_commit(f->s, two, "nextCommitted", 0, &f->err));
	info_is(f, two, "nextCommitted", SNAP_COMMITTED, one);

	look(f, two, basic_result);
	fails(f, EINVAL, snap_commit(f->s, two, "again", 0, &f->err));
	fails(f, EBUSY, snap_remove(f->s, one, &f->err));
	ok(f, snap_remove(f->s, two, &f->err));
	ok(f, snap_remove(f->s, one, &f->err));
	fails(f, ENOENT, snap_remove(f->s, one, &f->err));
}

static void test_stat_active(void **state)
{
	struct fix *f = *state;

	info_is(f, new_active(f, "active", 0), "active", SNAP_ACTIVE, 0);
}

static void test_stat_committed(void **state)
{
	struct fix *f = *state;

	info_is(f, layer(f, "committed", 0, basic_1), "committed", SNAP_COMMITTED, 0);
}

static void test_transitivity(void **state)
{
	struct fix *f = *state;
	int64_t a = layer(f, "snapA", 0, basic_1), b = new_active(f, "snapB-active", a);

	info_is(f, a, "snapA", SNAP_COMMITTED, 0);
	info_is(f, b, "snapB-active", SNAP_ACTIVE, a);
	ok(f, snap_commit(f->s, b, "snapB", 0, &f->err));
	info_is(f, b, "snapB", SNAP_COMMITTED, a);
}

static void test_prepare_view_failing(void **state)
{
	struct fix *f = *state;
	int64_t committed = layer(f, "committed", 0, basic_1), active = new_active(f, "active", 0);
	int64_t view = new_view(f, "view", committed);
	struct {
		int code;
		struct snap_new n;
	} cases[] = {
		{ EINVAL, { "", 0, SNAP_ACTIVE } },
		{ EINVAL, { "", committed, SNAP_VIEW } },
		{ EINVAL, { "x", active, SNAP_ACTIVE } },
		{ EINVAL, { "x", active, SNAP_VIEW } },
		{ EINVAL, { "x", view, SNAP_ACTIVE } },
		{ EINVAL, { "x", committed, SNAP_COMMITTED } },
		{ ENOENT, { "x", 9999, SNAP_ACTIVE } },
		{ ENOENT, { "x", 9999, SNAP_VIEW } },
		{ EEXIST, { "active", committed, SNAP_VIEW } },
		{ EEXIST, { "committed", committed, SNAP_VIEW } },
		{ EEXIST, { "view", committed, SNAP_ACTIVE } },
	};
	struct snap_info info;
	char longest[161];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		fails(f, cases[i].code, snap_prepare(f->s, &cases[i].n, &info, &f->err));
	fails(f, EINVAL, snap_commit(f->s, view, "x", 0, &f->err));
	fails(f, EINVAL, snap_commit(f->s, active, "", 0, &f->err));
	fails(f, ENOENT, snap_commit(f->s, 9999, "x", 0, &f->err));
	memset(longest, 'k', sizeof(longest));
	longest[160] = 0;
	fails(f, EINVAL, snap_commit(f->s, active, longest, 0, &f->err));
	longest[159] = 0;
	ok(f, snap_commit(f->s, active, longest, 0, &f->err));
	info_is(f, active, longest, SNAP_COMMITTED, 0);
	fails(f, ENOENT, snap_find(f->s, "x", &info, &f->err));
}

static void test_remove(void **state)
{
	struct fix *f = *state;
	int64_t a = layer(f, "snapA", 0, NULL), b = new_active(f, "snapB", a);
	int64_t v = new_view(f, "viewSnap", a);

	fails(f, EBUSY, snap_remove(f->s, a, &f->err));
	ok(f, snap_remove(f->s, b, &f->err));
	assert_int_equal(snap_remove(f->s, a, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.msg, "'viewSnap'"));
	ok(f, snap_remove(f->s, v, &f->err));
	ok(f, snap_remove(f->s, a, &f->err));
	fails(f, ENOENT, snap_stat(f->s, a, &(struct snap_info){ 0 }, &f->err));
}

struct walked {
	struct fix *f;
	size_t n;
	struct snap_info v[16];
};

static int collect(const struct snap_info *info, void *arg, struct err *err)
{
	struct walked *w = arg;

	(void)err;
	assert_true(w->n < ARRAY_LEN(w->v));
	w->v[w->n++] = *info;
	return 0;
}

static void test_walk(void **state)
{
	struct fix *f = *state;
	struct walked w = { f, 0, { { 0 } } };
	int64_t a, b, c, d;

	ok(f, snap_walk(f->s, collect, &w, &f->err));
	assert_int_equal(w.n, 0);
	a = layer(f, "a", 0, basic_1);
	b = new_active(f, "b", a);
	c = layer(f, "c", a, basic_2);
	d = new_view(f, "d", c);
	ok(f, snap_walk(f->s, collect, &w, &f->err));
	assert_int_equal(w.n, 4);
	assert_true(w.v[0].id == a && w.v[0].kind == SNAP_COMMITTED && w.v[0].parent == 0);
	assert_true(w.v[1].id == b && w.v[1].kind == SNAP_ACTIVE && w.v[1].parent == a);
	assert_true(w.v[2].id == c && w.v[2].kind == SNAP_COMMITTED && w.v[2].parent == a);
	assert_true(w.v[3].id == d && w.v[3].kind == SNAP_VIEW && w.v[3].parent == c);
	assert_string_equal(w.v[3].key, "d");
}

static void update_1(int root)
{
	put(root, "foo", "foo");
	put(root, "bar", "bar");
	put(root, "same", "same");
}

static void update_2(int root)
{
	put(root, "foo", "foo2");
	assert_int_equal(fchmodat(root, "same", 0600, 0), 0);
}

static void update_3(int root)
{
	has(root, "foo", "foo2");
	put(root, "bar", "bar3");
	put(root, "new", "new");
}

static void update_result(int root)
{
	has(root, "foo", "foo2");
	has(root, "bar", "bar3");
	has(root, "new", "new");
	has(root, "same", "same");
	mode_is(root, "same", 0600);
}

static void test_layer_fileupdate(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "3", layer(f, "2", layer(f, "1", 0, update_1), update_2), update_3),
	     update_result);
}

static void dirs_1(int root)
{
	assert_int_equal(mkdirat(root, "dir", 0755), 0);
	assert_int_equal(mkdirat(root, "dir/sub", 0755), 0);
	put(root, "dir/old", "old");
}

static void dirs_remove(int root)
{
	assert_int_equal(unlinkat(root, "dir/old", 0), 0);
	assert_int_equal(unlinkat(root, "dir/sub", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(root, "dir", AT_REMOVEDIR), 0);
}

static void dirs_again(int root)
{
	has_not(root, "dir");
	assert_int_equal(mkdirat(root, "dir", 0755), 0);
	put(root, "dir/new", "new");
}

static void dirs_result(int root)
{
	has(root, "dir/new", "new");
	has_not(root, "dir/old");
	has_not(root, "dir/sub");
}

static void test_remove_directory_in_lower_layer(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "3", layer(f, "2", layer(f, "1", 0, dirs_1), dirs_remove), dirs_again),
	     dirs_result);
}

static void chown_1(int root)
{
	put(root, "file", "content");
	assert_int_equal(mkdirat(root, "dir", 0755), 0);
	assert_int_equal(symlinkat("file", root, "link"), 0);
}

static void chown_2(int root)
{
	assert_int_equal(fchownat(root, "file", 1, 2, 0), 0);
	assert_int_equal(fchownat(root, "dir", 3, 4, 0), 0);
	assert_int_equal(fchownat(root, "link", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
}

static void chown_result(int root)
{
	owner_is(root, "file", 1, 2);
	owner_is(root, "dir", 3, 4);
	owner_is(root, "link", 5, 6);
	has(root, "file", "content");
}

static void test_chown(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "2", layer(f, "1", 0, chown_1), chown_2), chown_result);
}

static void perm_1(int root)
{
	assert_int_equal(mkdirat(root, "d", 0700), 0);
	assert_int_equal(fchmodat(root, "d", 0700, 0), 0);
}

static void perm_2(int root)
{
	assert_int_equal(fchmodat(root, "d", 01777, 0), 0);
	assert_int_equal(fchownat(root, "d", 7, 8, 0), 0);
	put(root, "d/f", "f");
}

static void perm_result(int root)
{
	mode_is(root, "d", 01777);
	owner_is(root, "d", 7, 8);
	has(root, "d/f", "f");
}

static void test_directory_permission_on_commit(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "2", layer(f, "1", 0, perm_1), perm_2), perm_result);
}

static void test_remove_intermediate_snapshot(void **state)
{
	struct fix *f = *state;
	int64_t base = layer(f, "base", 0, update_1), mid = layer(f, "mid", base, update_2);
	int64_t top = new_active(f, "top", mid);

	fails(f, EBUSY, snap_remove(f->s, mid, &f->err));
	fails(f, EBUSY, snap_remove(f->s, base, &f->err));
	ok(f, snap_remove(f->s, top, &f->err));
	ok(f, snap_remove(f->s, mid, &f->err));
	top = new_active(f, "top", base);
	fails(f, EBUSY, snap_remove(f->s, base, &f->err));
	ok(f, snap_remove(f->s, top, &f->err));
	ok(f, snap_remove(f->s, base, &f->err));
}

static void deleted_2(int root)
{
	assert_int_equal(unlinkat(root, "foo", 0), 0);
	put(root, "other", "other");
}

static void deleted_result(int root)
{
	has_not(root, "foo");
	has(root, "bar", "bar");
	has(root, "other", "other");
}

static void test_deleted_files_in_child(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "3", layer(f, "2", layer(f, "1", 0, update_1), deleted_2), NULL),
	     deleted_result);
}

static void move_2(int root)
{
	assert_int_equal(renameat(root, "dir/old", root, "moved"), 0);
}

static void move_result(int root)
{
	has_not(root, "dir/old");
	has(root, "moved", "old");
	mode_is(root, "dir/sub", 0755);
}

static void test_move_file_from_lower_layer(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "2", layer(f, "1", 0, dirs_1), move_2), move_result);
}

static void write_refused(int root)
{
	struct stat st;

	assert_int_equal(openat(root, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(mkdirat(root, "newdir", 0755), -1);
	assert_int_equal(errno, EROFS);
	if (stat_of(root, "foo", &st) < 0)
		return;
	assert_int_equal(openat(root, "foo", O_WRONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(unlinkat(root, "foo", 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(fchmodat(root, "foo", 0600, 0), -1);
	assert_int_equal(errno, EROFS);
}

static void test_view_readonly(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "1", 0, update_1), two = layer(f, "2", one, update_2);

	look(f, 0, write_refused);
	look(f, one, write_refused);
	look(f, two, write_refused);
}

static int stat_again(const struct snap_info *info, void *arg, struct err *err)
{
	struct walked *w = arg;
	struct snap_info same;
	int rc = snap_stat(w->f->s, info->id, &same, err);

	if (rc < 0)
		return rc;
	assert_string_equal(same.key, info->key);
	w->n++;
	return w->n == 2 && w->v[0].id ? err_set(err, ECANCELED, "enough") : 0;
}

static void test_stat_in_walk(void **state)
{
	struct fix *f = *state;
	struct walked w = { f, 0, { { 0 } } };

	new_view(f, "view", layer(f, "base", 0, NULL));
	new_active(f, "active", 0);
	ok(f, snap_walk(f->s, stat_again, &w, &f->err));
	assert_int_equal(w.n, 3);
	w = (struct walked){ f, 0, { { .id = 1 } } };
	fails(f, ECANCELED, snap_walk(f->s, stat_again, &w, &f->err));
	assert_int_equal(w.n, 2);
}

static void test_close_twice(void **state)
{
	struct fix *f = *state;

	snap_close(f->s);
	snap_close(NULL);
	ok(f, snap_open(f->db, f->fd, &f->s, &f->err));
}

static void root_0755(int root)
{
	struct stat st;

	assert_int_equal(fstat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void root_changed(int root)
{
	struct stat st;

	assert_int_equal(fchmodat(root, ".", 01751, 0), 0);
	assert_int_equal(fchownat(root, ".", 11, 12, 0), 0);
	assert_int_equal(fstat(root, &st), 0);
}

static void root_inherited(int root)
{
	mode_is(root, ".", 01751);
	owner_is(root, ".", 11, 12);
}

static void test_root_permission(void **state)
{
	struct fix *f = *state;
	mode_t old = umask(077);
	int64_t one = layer(f, "1", 0, root_0755), two;

	look(f, one, root_0755);
	two = layer(f, "2", one, root_changed);
	layer(f, "3", two, root_inherited);
	look(f, two, root_inherited);
	umask(old);
}

static void rename_1(int root)
{
	assert_int_equal(mkdirat(root, "dir1", 0755), 0);
	assert_int_equal(mkdirat(root, "somefiles", 0755), 0);
	put(root, "somefiles/f1", "was here first!");
	put(root, "somefiles/f2", "nothing interesting");
}

static void rename_2(int root)
{
	assert_int_equal(renameat(root, "dir1", root, "dir2"), 0);
	put(root, "somefiles/f1-overwrite", "new content 1");
	assert_int_equal(renameat(root, "somefiles/f1-overwrite", root, "somefiles/f1"), 0);
	assert_int_equal(renameat(root, "somefiles/f2", root, "somefiles/f3"), 0);
}

static void rename_3(int root)
{
	/* A directory of a lower layer: EXDEV without redirect_dir. */
	assert_int_equal(renameat(root, "somefiles", root, "dir2/moved"), 0);
}

static void rename_result(int root)
{
	has_not(root, "dir1");
	has_not(root, "somefiles");
	has(root, "dir2/moved/f1", "new content 1");
	has(root, "dir2/moved/f3", "nothing interesting");
	has_not(root, "dir2/moved/f2");
}

static void test_rename(void **state)
{
	struct fix *f = *state;

	look(f, layer(f, "3", layer(f, "2", layer(f, "1", 0, rename_1), rename_2), rename_3),
	     rename_result);
}

static int current;

static void bottles_add(int root)
{
	char name[32], text[32];

	if (current > 1) {
		has(root, "bottle", "xxx");
		snprintf(text, sizeof(text), "%d", current - 1);
		has(root, "counter", text);
	}
	snprintf(name, sizeof(name), "layer-%d", current);
	snprintf(text, sizeof(text), "%d", current);
	put(root, name, text);
	put(root, "counter", text);
	put(root, "bottle", "xxx");
}

static void bottles_result(int root)
{
	for (int i = 1; i <= 128; i++) {
		char name[32], text[32];

		snprintf(name, sizeof(name), "layer-%d", i);
		snprintf(text, sizeof(text), "%d", i);
		has(root, name, text);
	}
	has(root, "counter", "128");
}

static void test_128_layers_mount(void **state)
{
	struct fix *f = *state;
	int64_t id = 0;

	for (current = 1; current <= 128; current++)
		id = layer(f, NULL, id, bottles_add);
	look(f, id, bottles_result);
}

const struct CMUnitTest suite_tests[] = {
	SNAP_TEST(test_basic),
	SNAP_TEST(test_stat_active),
	SNAP_TEST(test_stat_committed),
	SNAP_TEST(test_transitivity),
	SNAP_TEST(test_prepare_view_failing),
	SNAP_TEST(test_remove),
	SNAP_TEST(test_walk),
	SNAP_TEST(test_layer_fileupdate),
	SNAP_TEST(test_remove_directory_in_lower_layer),
	SNAP_TEST(test_chown),
	SNAP_TEST(test_directory_permission_on_commit),
	SNAP_TEST(test_remove_intermediate_snapshot),
	SNAP_TEST(test_deleted_files_in_child),
	SNAP_TEST(test_move_file_from_lower_layer),
	SNAP_TEST(test_view_readonly),
	SNAP_TEST(test_stat_in_walk),
	SNAP_TEST(test_close_twice),
	SNAP_TEST(test_root_permission),
	SNAP_TEST(test_rename),
	SNAP_TEST(test_128_layers_mount),
};
const size_t suite_tests_n = ARRAY_LEN(suite_tests);
