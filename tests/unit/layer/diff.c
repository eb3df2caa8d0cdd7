/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer says of a change: steps on real overlay mounts, the names of the stream, and the way
 * back. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

static void set(int root, const char *path, const char *name, const void *value, size_t n)
{
	auto_free char *at = mem_fmt("/proc/self/fd/%d/%s", root, path);

	assert_int_equal(lsetxattr(at, name, value, n, 0), 0);
}

static void base(int root, void *arg)
{
	static const unsigned char cap3[24] = { 1, 0, 0, 3, 0, 0x20 };
	int fd;

	(void)arg;
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	assert_int_equal(mkdirat(root, "a", 0750), 0);
	assert_int_equal(mkdirat(root, "a/sub", 0755), 0);
	assert_int_equal(mkdirat(root, "a-b", 0755), 0);
	put(root, "etc/passwd", "root\n");
	put(root, "a/one", "one\n");
	put(root, "a/sub/two", "two\n");
	put(root, "a-b/x", "x");
	put(root, "big", "");
	fd = openat(root, "big", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "end", 3, 5000000), 3);
	assert_int_equal(fchownat(root, "big", 3000000, 7, 0), 0);
	close(fd);
	assert_int_equal(symlinkat("../etc/passwd", root, "a/link"), 0);
	assert_int_equal(linkat(root, "a/one", root, "a/three", 0), 0);
	assert_int_equal(linkat(root, "a/link", root, "a/zlink", 0), 0);
	assert_int_equal(mknodat(root, "fifo", S_IFIFO | 0644, 0), 0);
	assert_int_equal(mknodat(root, "null", S_IFCHR | 0666, makedev(1, 3)), 0);
	put(root, "suid", "#!");
	assert_int_equal(fchmodat(root, "suid", 06755, 0), 0);
	put(root, "caps", "c");
	set(root, "caps", "security.capability", cap3, sizeof(cap3));
	set(root, "caps", "user.bin", "\0=\n\xff", 4);
	set(root, "a", "user.dir", "v", 1);
}

static void names_are(struct fix *f, const char *tar, const char *want)
{
	auto_free char *gnu = list_tar(f, "/bin/tar", tar),
		       *bsd = list_tar(f, "/usr/bin/bsdtar", tar);

	assert_string_equal(gnu, want);
	assert_string_equal(bsd, want);
}

static void test_base(void **state)
{
	struct fix *f = *state;

	add_layer(f, base, NULL);
	round_trip(f);
	names_are(
		f, "o0",
		"a/\na/link\na/one\na/sub/\na/sub/two\na/three\na/zlink\na-b/\na-b/x\nbig\ncaps\netc/\netc/passwd\n"
		"fifo\nnull\nsuid\n");
	assert_int_equal(f->info[0].entries, 16);
	assert_int_equal(f->info[0].size_bytes, 5000003 + 4 + 4 + 1 + 1 + 5 + 2);
	assert_int_equal(f->frozen[0].size_bytes, f->info[0].size_bytes);
	assert_int_equal(f->frozen[0].flags, 0);
}

static void test_capability_is_version_2(void **state)
{
	struct fix *f = *state;
	auto_fd int fd = -1;
	char value[64];

	add_layer(f, base, NULL);
	round_trip(f);
	fd = openat(f->fd, "r0/fs/caps", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "security.capability", value, sizeof(value)), 20);
	assert_int_equal(value[3], 2);
	assert_int_equal(fgetxattr(fd, "user.bin", value, sizeof(value)), 4);
	assert_memory_equal(value, "\0=\n\xff", 4);
}

struct one {
	void (*fn)(int root);
	const char *names;
	unsigned flags;
};

static void call(int root, void *arg)
{
	((const struct one *)arg)->fn(root);
}

/* But for the time of etc, which would count. */
static void nothing(int root)
{
	struct stat st;

	assert_int_equal(fstatat(root, "etc", &st, 0), 0);
	put(root, "tmp", "x");
	assert_int_equal(unlinkat(root, "tmp", 0), 0);
	assert_int_equal(renameat(root, "etc/passwd", root, "etc/p"), 0);
	assert_int_equal(renameat(root, "etc/p", root, "etc/passwd"), 0);
	assert_int_equal(utimensat(root, "etc", (struct timespec[2]){ st.st_atim, st.st_mtim }, 0),
			 0);
}

static void dir_time(int root)
{
	assert_int_equal(
		utimensat(root, "etc", (struct timespec[2]){ { 0 }, { .tv_sec = 1000 } }, 0), 0);
}

static void removed(int root)
{
	struct err err;

	assert_true(fs_remove_tree(root, "a", &err) >= 0);
	assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
	put(root, "etc/aaa", "new");
	put(root, "etc/gone", "");
	assert_int_equal(unlinkat(root, "etc/gone", 0), 0);
}

static void remade(int root)
{
	struct err err;

	assert_true(fs_remove_tree(root, "a", &err) >= 0);
	assert_int_equal(mkdirat(root, "a", 0700), 0);
	put(root, "a/fresh", "f");
}

static void dir_to_file(int root)
{
	struct err err;

	assert_true(fs_remove_tree(root, "a", &err) >= 0);
	put(root, "a", "file");
	assert_int_equal(unlinkat(root, "suid", 0), 0);
	assert_int_equal(mkdirat(root, "suid", 0711), 0);
}

static void renamed_dir(int root)
{
	assert_int_equal(renameat(root, "a", root, "z"), 0);
	put(root, "z/sub/more", "m");
	assert_int_equal(unlinkat(root, "z/three", 0), 0);
}

static void renamed_twice(int root)
{
	assert_int_equal(renameat(root, "a", root, "t"), 0);
	assert_int_equal(mkdirat(root, "n", 0755), 0);
	assert_int_equal(renameat(root, "t/sub", root, "n/moved"), 0);
	assert_int_equal(renameat(root, "t", root, "n/rest"), 0);
	assert_int_equal(mkdirat(root, "a", 0755), 0);
	assert_int_equal(renameat(root, "n/rest", root, "a/inner"), 0);
}

static void over_another(int root)
{
	struct err err;

	assert_true(fs_remove_tree(root, "a-b", &err) >= 0);
	assert_int_equal(renameat(root, "a", root, "a-b"), 0);
}

static void and_back(int root)
{
	assert_int_equal(renameat(root, "a", root, "t"), 0);
	assert_int_equal(renameat(root, "t", root, "a"), 0);
	put(root, "a/new", "n");
}

static void chowned(int root)
{
	assert_int_equal(fchownat(root, "etc/passwd", 5, 6, 0), 0);
	assert_int_equal(fchownat(root, "big", 1, 1, 0), 0);
	assert_int_equal(fchmodat(root, "a-b", 0700, 0), 0);
}

static void moved_and_chowned(int root)
{
	assert_int_equal(fchownat(root, "big", 1, 1, 0), 0);
	assert_int_equal(renameat(root, "big", root, "a/big"), 0);
	assert_int_equal(linkat(root, "a/big", root, "a/bigger", 0), 0);
}

static void sock(int root)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(unlinkat(root, "suid", 0), 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/suid", root);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/sock", root);
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

static void linked(int root)
{
	assert_int_equal(linkat(root, "etc/passwd", root, "etc/again", 0), 0);
	assert_int_equal(renameat(root, "a", root, "b"), 0);
	put(root, "new", "same inode");
	assert_int_equal(linkat(root, "new", root, "b/new", 0), 0);
	assert_int_equal(linkat(root, "new", root, "a-b/new", 0), 0);
}

static void root_mode(int root)
{
	assert_int_equal(fchmod(root, 0711), 0);
}

/* xattrs alone make an entry; those of the host do not. */
static void xattrs(int root)
{
	set(root, "etc", "user.k", "v", 1);
	set(root, "etc/passwd", "trusted.k", "v", 1);
}

static const struct one steps[] = {
	{ nothing, "", LAYER_NEEDS_METACOPY },
	{ removed, ".wh.a\netc/\netc/.wh.passwd\netc/aaa\n", 0 },
	{ remade, "a/\na/.wh..wh..opq\na/fresh\n", 0 },
	{ dir_to_file, "a\nsuid/\n", 0 },
	{ renamed_dir, ".wh.a\nz/\nz/link\nz/one\nz/sub/\nz/sub/more\nz/sub/two\nz/zlink\n",
	  LAYER_NEEDS_REDIRECT },
	{ renamed_twice,
	  "a/\na/.wh..wh..opq\na/inner/\na/inner/link\na/inner/one\na/inner/three\na/inner/zlink\nn/\nn/moved/\n"
	  "n/moved/two\n",
	  LAYER_NEEDS_REDIRECT },
	{ over_another,
	  ".wh.a\na-b/\na-b/.wh..wh..opq\na-b/link\na-b/one\na-b/sub/\na-b/sub/two\na-b/three\na-b/zlink\n",
	  LAYER_NEEDS_REDIRECT },
	{ and_back, "a/\na/new\n", LAYER_NEEDS_REDIRECT },
	{ chowned, "a-b/\nbig\netc/\netc/passwd\n", LAYER_NEEDS_METACOPY },
	{ moved_and_chowned, ".wh.big\na/\na/big\na/bigger\n", LAYER_NEEDS_METACOPY },
	{ sock, ".wh.suid\n", 0 },
	{ linked,
	  ".wh.a\na-b/\na-b/new\nb/\nb/link\nb/new\nb/one\nb/sub/\nb/sub/two\nb/three\nb/zlink\netc/\netc/again\n"
	  "etc/passwd\nnew\n",
	  LAYER_NEEDS_REDIRECT | LAYER_NEEDS_METACOPY },
	{ root_mode, "./\n", 0 },
	{ xattrs, "etc/\n", LAYER_NEEDS_METACOPY },
	{ dir_time, "etc/\n", 0 },
};

void test_steps(void **state)
{
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct one one = steps[i];

		f->n = 0;
		add_layer(f, base, NULL);
		add_layer(f, call, &one);
		round_trip(f);
		names_are(f, "o1", steps[i].names);
		if (f->frozen[1].flags != steps[i].flags)
			fail_msg("step %zu: flags %u instead of %u", i, f->frozen[1].flags,
				 steps[i].flags);
	}
}

/* A layer over a layer with redirects and metacopies: their parent is read through the view. */
static void test_stacked(void **state)
{
	struct fix *f = *state;
	static const struct one stack[] = { { renamed_dir, "", 0 }, { chowned, "", 0 } };
	struct one a = stack[0], b = stack[1];

	add_layer(f, base, NULL);
	add_layer(f, call, &a);
	add_layer(f, call, &b);
	round_trip(f);
}

static void reserved(int root, void *arg)
{
	(void)arg;
	put(root, ".wh.x", "");
}

static void test_reserved_names(void **state)
{
	struct fix *f = *state;
	auto_fd int upper = -1;
	struct layer_diff_opts o = { .table_dir_fd = -1 };
	struct layer_info info;

	add_layer(f, reserved, NULL);
	upper = open_layer(f, 'o', 0);
	fails(f, EINVAL, layer_diff(&(struct layer_source){ upper, -1, -1 }, &o, &info, &f->err));
}

static void set_mtime(struct fix *f, int64_t s)
{
	const struct timespec t[2] = { { .tv_sec = s }, { .tv_sec = s, .tv_nsec = 5 } };

	assert_int_equal(utimensat(f->fd, "o0/fs/a/one", t, 0), 0);
}

/* On disk as well as in the stream. */
static void test_epoch(void **state)
{
	struct fix *f = *state;
	struct layer_diff_opts o = { .table_dir_fd = -1 };
	struct layer_info a, b, frozen;
	auto_fd int upper = -1;
	int64_t epoch = 1000;
	struct stat st;

	add_layer(f, base, NULL);
	upper = open_layer(f, 'o', 0);
	ok(f, layer_freeze(upper, &epoch, &frozen, &f->err));
	ok(f, layer_diff(&(struct layer_source){ upper, -1, -1 }, &o, &a, &f->err));
	assert_int_equal(fstatat(f->fd, "o0/fs/a", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	set_mtime(f, 5000);
	ok(f, layer_freeze(upper, &epoch, &frozen, &f->err));
	ok(f, layer_diff(&(struct layer_source){ upper, -1, -1 }, &o, &b, &f->err));
	assert_memory_equal(&a.diff_id, &b.diff_id, sizeof(a.diff_id));
	set_mtime(f, 500);
	ok(f, layer_freeze(upper, &epoch, &frozen, &f->err));
	ok(f, layer_diff(&(struct layer_source){ upper, -1, -1 }, &o, &b, &f->err));
	assert_memory_not_equal(&a.diff_id, &b.diff_id, sizeof(a.diff_id));
	assert_int_equal(fstatat(f->fd, "o0/fs/a/one", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 500);
	assert_int_equal(st.st_mtim.tv_nsec, 0);
	ok(f, layer_freeze_at(upper, epoch, &frozen, &f->err));
	ok(f, layer_diff(&(struct layer_source){ upper, -1, -1 }, &o, &b, &f->err));
	assert_memory_equal(&a.diff_id, &b.diff_id, sizeof(a.diff_id));
}

static void deep(int root, void *arg)
{
	auto_fd int at = fd_dup(root);

	(void)arg;
	for (int i = 0; i < 300; i++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0755), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		put(next, "e", "e");
		fd_close(&at);
		at = next;
	}
}

static void touch_deep(int root, void *arg)
{
	auto_str struct str p = { 0 };

	(void)arg;
	for (int i = 0; i < 200; i++)
		str_add(&p, "d/");
	str_add(&p, "f");
	put(root, p.s, "f");
	p.s[p.len - 3] = 0;
	p.len -= 3;
	str_add(&p, "e");
	assert_int_equal(unlinkat(root, p.s, 0), 0);
}

/* More directories deep than fds are held. */
static void test_deep(void **state)
{
	struct fix *f = *state;

	add_layer(f, deep, NULL);
	add_layer(f, touch_deep, NULL);
	round_trip(f);
	assert_int_equal(f->info[0].entries, 600);
	assert_int_equal(f->info[1].entries, 202);
}

static void long_names(int root, void *arg)
{
	char name[256], target[2000];
	auto_free char *path = NULL;

	(void)arg;
	memset(name, 'n', 255);
	name[255] = 0;
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = 0;
	put(root, name, "long");
	assert_int_equal(symlinkat(target, root, "l"), 0);
	name[150] = 0;
	assert_int_equal(mkdirat(root, name, 0755), 0);
	path = mem_fmt("%s/\xff\xfe\xc3\xa9", name);
	put(root, path, "no UTF-8");
	assert_int_equal(utimensat(root, path, (struct timespec[2]){ { 0 }, { .tv_sec = -5 } }, 0),
			 0);
	put(root, "m\xc3\xa9", "UTF-8");
}

static void test_long_names(void **state)
{
	struct fix *f = *state;

	add_layer(f, long_names, NULL);
	round_trip(f);
}

static int collect(char what, const char *path, void *arg, struct err *err)
{
	(void)err;
	str_addf(arg, "%c %s\n", what, path);
	return 0;
}

static void test_changes(void **state)
{
	static const struct {
		void (*fn)(int root);
		const char *text;
	} cases[] = {
		{ nothing, "" },
		{ removed, "D /a\nC /etc\nA /etc/aaa\nD /etc/passwd\n" },
		{ remade,
		  "C /a\nA /a/fresh\nD /a/link\nD /a/one\nD /a/sub\nD /a/three\nD /a/zlink\n" },
		{ dir_to_file, "C /a\nC /suid\n" },
		{ and_back, "C /a\nA /a/new\n" },
		{ chowned, "C /a-b\nC /big\nC /etc\nC /etc/passwd\n" },
		{ renamed_dir,
		  "D /a\nA /z\nA /z/link\nA /z/one\nA /z/sub\nA /z/sub/more\nA /z/sub/two\nA /z/zlink\n" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct one one = { .fn = cases[i].fn };
		auto_str struct str got = { 0 };
		auto_fd int upper = -1;
		int m, p;

		f->n = 0;
		add_layer(f, base, NULL);
		add_layer(f, call, &one);
		upper = open_layer(f, 'o', 1);
		m = view(f, 'o', 2, false, "a");
		p = view(f, 'o', 1, false, "b");
		ok(f, layer_changes(&(struct layer_source){ upper, m, p }, collect, &got, &f->err));
		unview(f, &m, "a");
		unview(f, &p, "b");
		assert_string_equal(str_get(&got), cases[i].text);
	}
}

static int add_row(const struct layer_row *row, void *arg, struct err *err)
{
	(void)err;
	str_addf(arg, "%c %s%s%s\n", row->kind, row->path, row->target ? " " : "",
		 row->target ? row->target : "");
	return 0;
}

static void test_table(void **state)
{
	struct fix *f = *state;
	auto_str struct str got = { 0 };
	auto_fd int dir = -1, fd = -1;
	struct one one = { .fn = remade };
	struct layer_info info;
	struct stat st;
	char c;

	add_layer(f, base, NULL);
	add_layer(f, call, &one);
	diff_layer(f, 'o', 0, &info);
	diff_layer(f, 'o', 1, &info);
	dir = openat(f->fd, "o0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok(f, layer_table_walk(dir, add_row, &got, &f->err));
	assert_string_equal(
		got.s,
		"d a\nl a/link ../etc/passwd\nf a/one\nd a/sub\nf a/sub/two\nh a/three a/one\n"
		"h a/zlink a/link\nd a-b\nf a-b/x\nf big\nf caps\nd etc\nf etc/passwd\np fifo\nc null\nf suid\n");
	/* Every byte counts, and no damaged one crashes. */
	fd = openat(dir, "table", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		assert_int_equal(pread(fd, &c, 1, at), 1);
		c = (char)(c ^ 0x55);
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
		fails(f, EBADMSG, layer_table_walk(dir, add_row, &got, &f->err));
		c = (char)(c ^ 0x55);
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
	}
	ok(f, layer_table_walk(dir, add_row, &got, &f->err));
	assert_int_equal(ftruncate(fd, st.st_size - 9), 0);
	fails(f, EBADMSG, layer_table_walk(dir, add_row, &got, &f->err));
	fd_close(&dir);
	dir = openat(f->fd, "o1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	str_reset(&got);
	ok(f, layer_table_walk(dir, add_row, &got, &f->err));
	assert_string_equal(got.s, "d a\no a\nf a/fresh\n");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
const struct CMUnitTest diff_tests[] = { T(test_base),           T(test_capability_is_version_2),
					 T(test_steps),          T(test_stacked),
					 T(test_reserved_names), T(test_epoch),
					 T(test_deep),           T(test_long_names),
					 T(test_changes),        T(test_table) };
const size_t n_diff_tests = ARRAY_LEN(diff_tests);
