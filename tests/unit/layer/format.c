/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that other programs wrote, in every dialect and compression, and what is no archive. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>

#include "mktar.h"

static void tree(int root, void *arg)
{
	char name[200];
	int fd;

	(void)arg;
	memset(name, 'n', 120);
	name[120] = 0;
	assert_int_equal(mkdirat(root, "d", 0751), 0);
	put(root, "d/f", "content\n");
	assert_int_equal(fchownat(root, "d/f", 70000, 5, 0), 0);
	assert_int_equal(linkat(root, "d/f", root, "d/h", 0), 0);
	assert_int_equal(symlinkat("d/f", root, "l"), 0);
	put(root, name, "long name");
	put(root, "sparse", "begin");
	fd = openat(root, "sparse", O_WRONLY | O_CLOEXEC);
	for (off_t i = 1; i < 40; i++)
		assert_int_equal(pwrite(fd, "data", 4, i << 20), 4);
	assert_int_equal(ftruncate(fd, 50 << 20), 0);
	close(fd);
}

/* Packs o0/fs, unpacks it as r0 and compares. */
static void pack_and_compare(struct fix *f, char *const argv[], const char *what)
{
	struct layer_info info;
	int a, b, code = run_program(f, argv);

	if (code)
		fail_msg("%s: %d", what, code);
	ok(f, apply(f, "x", 'r', 0, &(struct layer_apply_opts){ .foreign = true }, &info));
	a = view(f, 'o', 1, false, "a");
	b = view(f, 'r', 1, false, "b");
	same_tree(a, b, what);
	unview(f, &a, "a");
	unview(f, &b, "b");
}

static void test_dialects(void **state)
{
	static const char *const formats[] = { "--format=gnu",
					       "--format=oldgnu",
					       "--format=posix",
					       "--format=gnu -S",
					       "--format=posix --sparse-version=0.0 -S",
					       "--format=posix --sparse-version=0.1 -S",
					       "--format=posix --sparse-version=1.0 -S" };
	struct fix *f = *state;

	add_layer(f, tree, NULL);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		auto_free char *line = mem_fmt("/bin/tar %s -cf t/x -C o0/fs .", formats[i]);
		struct strv v = { 0 };

		strv_split(&v, line, ' ');
		pack_and_compare(f, strv_args(&v), formats[i]);
		strv_free(&v);
	}
}

static void test_libarchive(void **state)
{
	static const char *const formats[] = { "--format=pax", "--format=gnutar" };
	struct fix *f = *state;

	add_layer(f, tree, NULL);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		char *argv[] = { (char[]){ "/usr/bin/bsdtar" },
				 mem_str(formats[i]),
				 (char[]){ "-cf" },
				 (char[]){ "t/x" },
				 (char[]){ "-C" },
				 (char[]){ "o0/fs" },
				 (char[]){ "." },
				 NULL };

		pack_and_compare(f, argv, formats[i]);
		free(argv[1]);
	}
}

static void shell(struct fix *f, const char *text)
{
	auto_free char *copy = mem_str(text);
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, copy, NULL };
	int code = run_program(f, argv);

	if (code)
		fail_msg("%s: %d", text, code);
}

/* The DiffID is that of the bytes within, all of them. */
static void test_compressions(void **state)
{
	static const char *const how[] = {
		"gzip -c t/o0",
		"(head -c 1000000 t/o0 | gzip -c; tail -c +1000001 t/o0 | gzip -1c)",
		"(gzip -c t/o0; head -c 700 /dev/zero)",
		"zstd -qc t/o0",
		"(head -c 1000000 t/o0 | zstd -qc; tail -c +1000001 t/o0 | zstd -qc)",
		"xz -0c t/o0",
		"bzip2 -1c t/o0",
		"cat t/o0"
	};
	struct fix *f = *state;
	struct layer_info info, got;

	add_layer(f, tree, NULL);
	diff_layer(f, 'o', 0, &info);
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		auto_free char *cmd = mem_fmt("%s >t/x", how[i]);
		auto_fd int fd = -1;
		struct stat st;

		shell(f, cmd);
		fd = openat(f->fd, "t/x", O_RDWR | O_CLOEXEC);
		assert_int_equal(layer_is_tar(fd, &f->err), 1);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
		ok(f, apply(f, "x", 'r', 0, &(struct layer_apply_opts){ 0 }, &got));
		if (memcmp(&got.diff_id, &info.diff_id, sizeof(got.diff_id)) != 0)
			fail_msg("%s: another digest", how[i]);
		assert_int_equal(got.tar_bytes, info.tar_bytes);
		/* Cut off within the data. */
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
		fails(f, EBADMSG, apply(f, "x", 'r', 0, &(struct layer_apply_opts){ 0 }, &got));
	}
}

static void test_bytes_behind_the_end(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	struct layer_info got;
	struct digest want;

	mktar(&tar, &(struct mk){ .type = '0', .name = "f", .data = "x" });
	mktar_end(&tar);
	str_add(&tar, "what is this");
	mktar_save(f, "t", &tar);
	hash_bytes(tar.s, tar.len, &want);
	ok(f, apply(f, "t", 'o', 0, &(struct layer_apply_opts){ 0 }, &got));
	assert_memory_equal(&got.diff_id, &want, sizeof(want));
	assert_int_equal(got.tar_bytes, tar.len);
}

static void test_is_tar(void **state)
{
	static const char *const no[] = {
		"echo no",           "head -c 10240 /dev/zero",    "head -c 600 /dev/zero", "true",
		"echo no | gzip -c", "printf '\\037\\213\\010xx'", "echo no | xz -c"
	};
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		auto_free char *cmd = mem_fmt("%s >t/x", no[i]);
		auto_fd int fd = -1;

		shell(f, cmd);
		fd = openat(f->fd, "t/x", O_RDONLY | O_CLOEXEC);
		if (ok(f, layer_is_tar(fd, &f->err)) != 0)
			fail_msg("%s: taken for a tar", no[i]);
	}
}

/* Parents that the archive has no entry for have the attributes of the layers beneath; else 0755
 * and the year 1970. */
static void test_missing_parents(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	struct stat st;

	add_layer(f, tree, NULL);
	mktar(&tar, &(struct mk){ .type = '0', .name = "d/sub/x", .data = "x" });
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 1, &(struct layer_apply_opts){ .foreign = true }, NULL));
	assert_int_equal(fstatat(f->fd, "o1/fs/d", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0751);
	assert_int_equal(fstatat(f->fd, "o1/fs/d/sub", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	assert_int_equal(st.st_mtim.tv_sec, 0);
}

/* ADD of an archive that goes through a symlink of the image. */
static void merged_usr(int root, void *arg)
{
	(void)arg;
	assert_int_equal(mkdirat(root, "usr", 0755), 0);
	assert_int_equal(mkdirat(root, "usr/lib", 0711), 0);
	put(root, "usr/lib/libc", "libc");
	assert_int_equal(symlinkat("usr/lib", root, "lib"), 0);
}

static void test_through_parents_symlink(void **state)
{
	struct fix *f = *state;
	auto_str struct str tar = { 0 };
	struct stat st;
	int m;

	add_layer(f, merged_usr, NULL);
	mktar(&tar, &(struct mk){ .type = '0', .name = "lib/mine", .data = "x" });
	mktar_end(&tar);
	mktar_save(f, "t", &tar);
	ok(f, apply(f, "t", 'o', 1, &(struct layer_apply_opts){ .foreign = true, .rootfs = true },
		    NULL));
	m = view(f, 'o', 2, false, "a");
	assert_true(has_text(m, "usr/lib/mine", "x") && has_text(m, "lib/libc", "libc"));
	assert_int_equal(fstatat(m, "usr/lib", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	unview(f, &m, "a");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
const struct CMUnitTest format_tests[] = { T(test_dialects),
					   T(test_libarchive),
					   T(test_compressions),
					   T(test_bytes_behind_the_end),
					   T(test_is_tar),
					   T(test_missing_parents),
					   T(test_through_parents_symlink) };
const size_t n_format_tests = ARRAY_LEN(format_tests);
