/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <shale/base/db.h>
#include <shale/base/digest.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/json.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/scratch.h>
#include <shale/base/str.h>
#include <shale/base/undo.h>

struct dir {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct dir *d = mem_alloc(sizeof(*d));

	snprintf(d->path, sizeof(d->path), "/var/tmp/shale-unit.XXXXXX");
	assert_non_null(mkdtemp(d->path));
	d->fd = open(d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct dir *d = *state;
	struct err err;

	close(d->fd);
	assert_int_equal(fs_remove_tree(AT_FDCWD, d->path, &err), 0);
	free(d);
	return 0;
}

static void test_err(void **state)
{
	struct err err = { 0 };

	(void)state;
	errno = EACCES;
	assert_int_equal(err_sys(&err, "open %s", "f"), -EACCES);
	assert_int_equal(err_ctx(&err, "layer %d", 3), -EACCES);
	assert_string_equal(err.msg, "layer 3: open f: Permission denied");
	assert_int_equal(err_hint(&err, "do %s", "this"), -EACCES);
	assert_string_equal(err.msg, "layer 3: open f: Permission denied (do this)");
}

/* However long the names are, the cause is told, and the message ends in its room. */
static void test_err_long(void **state)
{
	char name[2 * ERR_MSG_MAX];
	struct err err = { 0 };

	(void)state;
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 0;
	errno = ENAMETOOLONG;
	assert_int_equal(err_sys(&err, "open %s", name), -ENAMETOOLONG);
	assert_true(str_ends(err.msg, "...: File name too long"));
	for (int i = 0; i < 5; i++) {
		assert_int_equal(err_ctx(&err, "%d %s", i, name), -ENAMETOOLONG);
		assert_true(str_ends(err.msg, "a: File name too long") ||
			    str_ends(err.msg, "...: File name too long"));
		assert_true(strlen(err.msg) < ERR_MSG_MAX);
	}
	assert_true(str_starts(err.msg, "4 aaa"));
	err_set(&err, EINVAL, "short");
	err_ctx(&err, "%s", name);
	assert_true(str_ends(err.msg, "aaa...: short"));
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
}

static void test_numbers(void **state)
{
	static const char *const bad[] = {
		"", "+1", "-1", " 1", "1 ", "0x1", "99999999999999999999", "1.5", NULL
	};
	uint64_t v;
	int64_t ns;

	(void)state;
	for (size_t i = 0; bad[i]; i++)
		assert_int_equal(str_to_u64(bad[i], 10, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(str_to_u64("18446744073709551615", 10, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_to_u64("18446744073709551616", 10, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(str_to_u64("8", 8, 100, &v), -EINVAL);
	assert_int_equal(str_to_u64("101", 10, 100, &v), -EINVAL);
	assert_int_equal(str_to_bytes("1.5g", &v), 0);
	assert_true(v == 1610612736);
	assert_int_equal(str_to_bytes("64KiB", &v), 0);
	assert_true(v == 65536);
	assert_int_equal(str_to_bytes("99999999999p", &v), -EINVAL);
	assert_int_equal(str_to_duration("1h30m", &ns), 0);
	assert_true(ns == 5400000000000);
	assert_int_equal(str_to_duration("1.5s", &ns), 0);
	assert_true(ns == 1500000000);
	assert_int_equal(str_to_duration("5", &ns), -EINVAL);
}

static void test_strings(void **state)
{
	static const char *const names[] = { "RUN", "COPY", "ENTRYPOINT", NULL };
	auto_strv struct strv l = { 0 };
	char size[STR_SIZE_MAX];

	(void)state;
	assert_string_equal(str_nearest("RUM", names), "RUN");
	assert_string_equal(str_nearest("RNU", names), "RUN");
	assert_string_equal(str_nearest("ENTYRPONT", names), "ENTRYPOINT");
	assert_null(str_nearest("CPPP", names));
	assert_null(str_nearest("XYZZY", names));
	assert_int_equal(str_distance("imagse", "images"), 1);
	assert_int_equal(str_distance("", "abc"), 3);
	strv_split(&l, "a::b", ':');
	assert_int_equal(l.n, 3);
	assert_string_equal(l.v[1], "");
	strv_env_set(&l, "K", "1");
	strv_env_set(&l, "K", "2");
	assert_int_equal(l.n, 4);
	assert_string_equal(strv_env_get(&l, "K"), "2");
	assert_null(strv_env_get(&l, "KK"));
	assert_string_equal(str_size(0, size), "0B");
	assert_string_equal(str_size(1234567, size), "1.23MB");
}

static void test_path_clean(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = { { "", "." },
		     { "/", "/" },
		     { "a//b/./c/../d", "a/b/d" },
		     { "/../../etc", "/etc" },
		     { "../x", "../x" },
		     { "a/..", "." },
		     { "/a/b/..", "/a" },
		     { "a/../../b", "../b" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *got = path_clean(rows[i].in);

		assert_string_equal(got, rows[i].out);
	}
}

static void test_path_in(void **state)
{
	struct dir *d = *state;
	struct err err;
	struct stat st;
	const struct path_new n = { 0750, 0, 0 };
	int fd;

	assert_int_equal(symlinkat("/../../../../outside", d->fd, "link"), 0);
	fd = path_mkdirs_in(d->fd, "/link/sub", &n, &err);
	assert_true(fd == -ENOENT || fd >= 0);
	assert_int_not_equal(access("/outside", F_OK), 0);
	assert_int_equal(mkdirat(d->fd, "real", 0700), 0);
	assert_int_equal(symlinkat("/real", d->fd, "abs"), 0);
	fd = path_mkdirs_in(d->fd, "abs/x/y", &n, &err);
	assert_true(fd >= 0);
	close(fd);
	fd = path_mkdirs_in(d->fd, "/fresh/at/the/root", &n, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(d->fd, "real/x/y", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(path_open_beneath(d->fd, "../x", O_PATH, 0, &err), -EXDEV);
	assert_int_equal(path_open_beneath(d->fd, "abs", O_PATH, 0, &err), -EXDEV);
	fd = path_open_in(d->fd, "../../abs/x", O_PATH, 0, &err);
	assert_true(fd >= 0);
	close(fd);
}

static void test_remove_deep(void **state)
{
	struct dir *d = *state;
	struct err err;
	int at = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(at, "deep", 0700), 0);
		next = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	assert_int_equal(symlinkat("/etc", at, "link"), 0);
	close(at);
	assert_int_equal(fs_remove_tree(d->fd, "deep", &err), 0);
	assert_int_equal(faccessat(d->fd, "deep", F_OK, 0), -1);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_equal(fs_remove_tree(d->fd, "nosuch", &err), 0);
}

/* What is no file is passed over (a FIFO would block), a link is not followed, and the limit counts
 * every entry. */
static void test_sync_tree(void **state)
{
	struct dir *d = *state;
	unsigned left = 4;
	struct err err;

	assert_int_equal(mkdirat(d->fd, "t", 0700), 0);
	assert_int_equal(mkdirat(d->fd, "t/sub", 0700), 0);
	assert_int_equal(mknodat(d->fd, "t/sub/fifo", S_IFIFO | 0600, 0), 0);
	assert_int_equal(symlinkat("/nosuch", d->fd, "t/link"), 0);
	close(openat(d->fd, "t/sub/f", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(fs_sync_tree(d->fd, "t", &left, &err), 0);
	assert_int_equal(left, 0);
	left = 3;
	assert_int_equal(fs_sync_tree(d->fd, "t", &left, &err), -E2BIG);
	left = 9;
	assert_int_equal(fs_sync_tree(d->fd, "nosuch", &left, &err), -ENOENT);
	assert_int_equal(symlinkat("t", d->fd, "to-t"), 0);
	assert_int_equal(fs_sync_tree(d->fd, "to-t", &left, &err), -ELOOP);
}

static void test_copy_sparse(void **state)
{
	struct dir *d = *state;
	struct err err;
	struct stat st;
	char c = 0;
	int from = openat(d->fd, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int to = openat(d->fd, "copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(pwrite(from, "x", 1, 64 << 20), 1);
	assert_int_equal(ftruncate(from, 128 << 20), 0);
	assert_int_equal(fs_copy_data(from, to, &err), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 128 << 20);
	assert_true(st.st_blocks < 1024);
	assert_int_equal(pread(to, &c, 1, 64 << 20), 1);
	assert_int_equal(c, 'x');
	close(from);
	close(to);
}

static void test_digest(void **state)
{
	static const char *const bad[] = { "", "sha256:", "sha512:00", "sha256:../../x", NULL };
	struct digest a, b;
	struct err err;

	(void)state;
	for (size_t i = 0; bad[i]; i++)
		assert_int_equal(digest_parse(bad[i], &a, &err), -EINVAL);
	hash_bytes("abc", 3, &a);
	assert_string_equal(
		digest_str(&a),
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_parse(digest_str(&a), &b, &err), 0);
	assert_true(digest_eq(&a, &b));
	hash_chain(&a, &b, &b);
	assert_false(digest_eq(&a, &b));
}

static void json_bomb(const char *unit, size_t n, size_t len, int code)
{
	auto_str struct str s = { 0 };
	auto_json json_t *j = NULL;
	struct err err = { 0 };

	for (size_t i = 0; i < n; i++)
		str_addn(&s, unit, len);
	assert_int_equal(json_parse(s.s, s.len, &j, &err), code);
}

/* What would take hundreds of megabytes, or all of the stack, is not parsed at all (T17). */
static void test_json_bombs(void **state)
{
	(void)state;
	json_bomb("[", 65, 1, -EINVAL);
	json_bomb("{\"a\":", 100000, 5, -EINVAL);
	json_bomb("[],", 1000000, 3, -EFBIG);
	json_bomb("{},", 1000000, 3, -EFBIG);
	json_bomb("0,", 1000000, 2, -EFBIG);
	json_bomb("\"[[[[,,,,\\\"", 100000, 11, -EINVAL); /* within a string they are none */
	json_bomb("      ", 1000000, 6, -EFBIG);
}

static void test_json(void **state)
{
	auto_json json_t *j = NULL;
	auto_free char *text = NULL;
	struct err err;

	(void)state;
	assert_int_equal(json_parse("{\"a\":1,\"a\":2}", 13, &j, &err), -EINVAL);
	assert_int_equal(json_parse("{\"a\":\"x\"}", 9, &j, &err), 0);
	assert_string_equal(json_get_str(j, "a"), "x");
	json_set_str(j, "b", "bad\xff!");
	text = json_text(j);
	assert_string_equal(text, "{\"a\":\"x\",\"b\":\"bad\xef\xbf\xbd!\"}");
}

static void add_text(void *arg, const char *text)
{
	str_addf(arg, "%s, ", text);
}

static void test_db(void **state)
{
	auto_str struct str told = { 0 };
	struct dir *d = *state;
	struct db *db = NULL, *other = NULL;
	struct err err;
	int64_t n = -1;

	assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
	assert_int_equal(db_open(d->fd, &db, &err), 0);
	assert_int_equal(db_open(d->fd, &other, &err), 0);
	db_after_commit(db, add_text, &told, mem_str("at once"));
	assert_true(db_begin(db, DB_FULL, &err) >= 0);
	db_after_commit(db, add_text, &told, mem_str("then"));
	assert_true(db_begin(db, DB_LAZY, &err) >= 0);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), geteuid() ? 3 : -20); /* who has the lock */
	db_after_commit(db, add_text, &told, mem_str("again"));
	assert_int_equal(
		db_run(db, "INSERT INTO snapshots(key, kind, created, boot) VALUES('k', 3, 0, '')",
		       NULL, &err),
		1);
	assert_int_equal(db_commit(db, &err), 0);
	assert_int_equal(db_get_int(other, "SELECT count(*) FROM snapshots", NULL, &n, &err), 1);
	assert_string_equal(str_get(&told), "at once, ");
	assert_int_equal(n, 0);
	assert_int_equal(db_commit(db, &err), 0);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 3);
	assert_int_equal(db_get_int(other, "SELECT count(*) FROM snapshots", NULL, &n, &err), 1);
	assert_int_equal(n, 1);
	assert_int_equal(
		db_run(other,
		       "INSERT INTO snapshots(key, kind, created, boot) VALUES('k', 3, 0, '')",
		       NULL, &err),
		-EEXIST);
	assert_int_equal(
		db_run(other, "INSERT INTO tags VALUES('t', 'nosuch', 0, NULL)", NULL, &err),
		-EBUSY);
	assert_true(db_begin(db, DB_LAZY, &err) >= 0);
	assert_int_equal(db_run(db, "DELETE FROM snapshots", NULL, &err), 1);
	db_after_commit(db, add_text, &told, mem_str("lost"));
	db_rollback(db);
	assert_string_equal(str_get(&told), "at once, then, again, ");
	assert_int_equal(db_get_int(other, "SELECT count(*) FROM snapshots WHERE key=?1",
				    DB_ARGS(DB_T("k")), &n, &err),
			 1);
	assert_int_equal(n, 1);
	assert_true(db_run(db, "PRAGMA user_version=99", NULL, &err) >= 0);
	db_close(db);
	db_close(other);
	assert_int_equal(db_open(d->fd, &db, &err), -ENOTSUP);
}

static int64_t log_bytes(const struct dir *d)
{
	struct stat st;

	assert_int_equal(fstatat(d->fd, "db.sqlite-wal", &st, 0), 0);
	return st.st_size;
}

/* A log that somebody reads is not cut, and nothing is written to it unsynced. */
static void test_db_checkpoint(void **state)
{
	struct dir *d = *state;
	struct db *db = NULL, *other = NULL;
	struct db_stmt *st = NULL;
	int64_t before, first;
	struct err err;

	assert_int_equal(db_open(d->fd, &db, &err), 0);
	assert_int_equal(db_open(d->fd, &other, &err), 0);
	assert_int_equal(
		db_run(db, "INSERT INTO snapshots(key, kind, created, boot) VALUES('k', 3, 0, '')",
		       NULL, &err),
		1);
	assert_int_equal(db_query(other, "SELECT id FROM snapshots", NULL, &st, &err), 0);
	assert_int_equal(db_step(st, &err), 1);
	before = log_bytes(d);
	assert_true(db_checkpoint(db, &err) >= 0);
	assert_int_equal(log_bytes(d), before);
	db_stmt_cleanup(&st);
	assert_true(db_checkpoint(db, &err) >= 0);
	first = log_bytes(d); /* its header and one page */
	assert_true(first > 0 && first < before);
	db_close(db);
	db_close(other);
}

static void count(void *arg)
{
	*(int *)arg = *(int *)arg * 10 + 1;
}

static void times_two(void *arg)
{
	*(int *)arg *= 2;
}

static void test_undo(void **state)
{
	int v = 1;

	(void)state;
	{
		auto_undo struct undo u = { 0 };

		undo_push(&u, count, &v);
		undo_push(&u, times_two, &v);
	}
	assert_int_equal(v, 21);
	{
		auto_undo struct undo u = { 0 };

		undo_push(&u, count, &v);
		undo_done(&u);
	}
	assert_int_equal(v, 21);
}

static void test_proc(void **state)
{
	char a[33], b[33];

	(void)state;
	assert_true(proc_is_alive(getpid(), proc_start_time(getpid())));
	assert_false(proc_is_alive(getpid(), proc_start_time(getpid()) + 1));
	assert_int_equal(strlen(proc_boot_id()), PROC_BOOT_ID_LEN);
	proc_random_hex(a, 32);
	proc_random_hex(b, 32);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 32);
}

/* What a killed command has left goes; what one in another pid namespace uses stays, though its
 * name says that nobody lives. */
static void test_scratch(void **state)
{
	static const char *const names[] = { "999999.1.locked", "999999.1.dir", "999999.1.file",
					     "999999.1.old", "other" };
	static const bool stays[] = { true, false, true, false, true };
	const struct timespec long_ago[2] = { { 1, 0 }, { 1, 0 } };
	struct dir *d = *state;
	struct scratch s = SCRATCH_INIT;
	struct err err = { 0 };
	auto_fd int tmp = -1, locked = -1;

	assert_int_equal(scratch_open(d->fd, &s, &err), 0);
	tmp = openat(d->fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (i < 2)
			assert_int_equal(mkdirat(tmp, names[i], 0700), 0);
		else
			assert_int_equal(mknodat(tmp, names[i], S_IFREG | 0600, 0), 0);
	}
	assert_int_equal(utimensat(tmp, names[3], long_ago, 0), 0);
	locked = openat(tmp, names[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(locked, LOCK_EX), 0);
	scratch_sweep(d->fd);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(faccessat(tmp, names[i], F_OK, 0) == 0, stays[i]);
	assert_int_equal(faccessat(tmp, s.name, F_OK, 0), 0);
	scratch_close(&s);
	assert_int_equal(faccessat(tmp, names[0], F_OK, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_err_long),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_path_clean),
		cmocka_unit_test_setup_teardown(test_path_in, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_deep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sync_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_sparse, setup, teardown),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_bombs),
		cmocka_unit_test_setup_teardown(test_db, setup, teardown),
		cmocka_unit_test_setup_teardown(test_db_checkpoint, setup, teardown),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_proc),
		cmocka_unit_test_setup_teardown(test_scratch, setup, teardown),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
