/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and directories: what is taken over, what is left behind, and kill -9 at any moment. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

static size_t count_in(struct fix *f, const char *dir)
{
	auto_strv struct strv l = { 0 };

	ok(f, fs_list(f->fd, dir, &l, &f->err));
	return l.n;
}

/* A store in a directory whose default ACL everything inherits: layers do not. */
static void test_default_acl(void **state)
{
	static const char acl[] = "\2\0\0\0"
				  "\1\0\7\0\377\377\377\377"
				  "\2\0\7\0\350\3\0\0"
				  "\4\0\5\0\377\377\377\377"
				  "\20\0\7\0\377\377\377\377"
				  "\40\0\5\0\377\377\377\377";
	static const char *const names[] = { "system.posix_acl_default",
					     "system.posix_acl_access" };
	struct fix *f = *state;
	auto_fd int fs = -1;
	int64_t id;

	fix_close(f);
	ok(f, fs_remove_tree(f->fd, "snap", &f->err));
	assert_int_equal(fsetxattr(f->fd, names[0], acl, sizeof(acl) - 1, 0), 0);
	fix_open(f);
	id = new_active(f, NULL, 0);
	ok(f, snap_fs_fd(f->s, id, &fs, &f->err));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_free char *value = NULL;
		size_t n;

		fails(f, ENODATA, fs_xattr_get(fs, names[i], &value, &n, &f->err));
	}
}

static void test_files(void **state)
{
	struct fix *f = *state;
	int64_t id = new_active(f, "a", 0), view = new_view(f, "v", 0);
	auto_fd int dir = -1, fs = -1;
	struct stat st;

	assert_int_equal(id, 1);
	ok(f, snap_dir_fd(f->s, id, &dir, &f->err));
	ok(f, snap_fs_fd(f->s, id, &fs, &f->err));
	assert_int_equal(fstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(dir, "work", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(fstat(fs, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(view, 2);
	assert_true(exists(f, "snap/2/fs"));
	assert_false(exists(f, "snap/2/work"));
	fails(f, ENOENT, snap_fs_fd(f->s, 77, &fs, &f->err));
}

static void test_made_up_key(void **state)
{
	struct fix *f = *state;
	struct snap_info info;
	int64_t a = new_active(f, NULL, 0), b;

	ok(f, snap_stat(f->s, a, &info, &f->err));
	assert_string_equal(info.key, "1");
	assert_false(info.durable);
	assert_true(info.created_s > 1700000000);
	ok(f, snap_remove(f->s, a, &f->err));
	b = new_active(f, NULL, 0);
	ok(f, snap_stat(f->s, b, &info, &f->err));
	assert_string_equal(info.key, "2"); /* ids are never used again */
	ok(f, snap_commit(f->s, b, NULL, 5, &f->err));
	ok(f, snap_stat(f->s, b, &info, &f->err));
	assert_string_equal(info.key, "2");
	assert_int_equal(info.flags, 5);
}

static void test_root_attributes(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "one", 0, NULL), two;
	auto_fd int from = openat(f->fd, "snap/1/fs", O_RDONLY | O_CLOEXEC), to = -1;
	struct timespec times[2] = { { 1000, 5 }, { 2000, 6 } };
	struct stat st;
	char buf[64];

	assert_int_equal(fchown(from, 3, 4), 0);
	assert_int_equal(fchmod(from, 06751), 0);
	assert_int_equal(fsetxattr(from, "user.x", "\0y", 2, 0), 0);
	assert_int_equal(fsetxattr(from, "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(futimens(from, times), 0);
	two = new_active(f, "two", one);
	assert_int_equal(two, 2);
	to = openat(f->fd, "snap/2/fs", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06751);
	assert_int_equal(st.st_uid, 3);
	assert_int_equal(st.st_gid, 4);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 6);
	assert_int_equal(fgetxattr(to, "user.x", buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "\0y", 2);
	assert_int_equal(fgetxattr(to, "trusted.overlay.opaque", buf, sizeof(buf)), -1);
	assert_int_equal(errno, ENODATA);
}

static void test_usage(void **state)
{
	struct fix *f = *state;
	int64_t id = new_active(f, NULL, 0);
	uint64_t bytes = 0, inodes = 0;
	auto_fd int fs = -1;

	ok(f, snap_fs_fd(f->s, id, &fs, &f->err));
	put(fs, "a", "a");
	put(fs, "b", "b");
	assert_int_equal(linkat(fs, "a", fs, "c", 0), 0);
	ok(f, snap_usage(f->s, id, &bytes, &inodes, &f->err));
	assert_int_equal(inodes, 3);
	assert_true(bytes >= 2 && bytes < 1 << 20);
	fails(f, ENOENT, snap_usage(f->s, 77, &bytes, &inodes, &f->err));
}

/* A prepare that was killed before its commit left the directory of the id that the next one gets.
 */
static void test_left_over(void **state)
{
	struct fix *f = *state;
	struct err err = { 0 };

	ok(f, fs_mkdir(f->fd, "snap/1", 0700, &err));
	ok(f, fs_mkdir(f->fd, "snap/1/fs", 0700, &err));
	ok(f, fd_write_file(f->fd, "snap/1/fs/stale", "x", 1, 0600, &err));
	assert_int_equal(new_active(f, NULL, 0), 1);
	assert_false(exists(f, "snap/1/fs/stale"));
	assert_int_equal(count_in(f, "trash"), 1);
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 1);
	assert_true(exists(f, "snap/1/fs"));
}

static void test_sweep(void **state)
{
	struct fix *f = *state;
	int64_t a = layer(f, "a", 0, NULL), b = new_active(f, "b", a),
		gone = new_active(f, "gone", a);
	static const char *const garbage[] = { "snap/100",       "snap/100/fs",
					       "snap/100/fs/d",  "snap/lost+found",
					       "snap/0",         "snap/007",
					       "trash/whatever", "trash/whatever/x" };
	char path[64];

	(void)b;
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++)
		ok(f, fs_mkdir(f->fd, garbage[i], 0700, &f->err));
	ok(f, snap_remove(f->s, gone, &f->err));
	snprintf(path, sizeof(path), "snap/%" PRId64, gone);
	assert_false(exists(f, path));
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 3);
	assert_int_equal(count_in(f, "trash"), 0);
	assert_int_equal(count_in(f, "snap"), 5); /* two snapshots, three that are not ours */
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 0);
}

static void test_sweep_spares_mounted(void **state)
{
	struct fix *f = *state;
	int64_t id = new_active(f, NULL, layer(f, "one", 0, NULL));
	struct snap_mount m = SNAP_MOUNT_INIT;

	ok(f, snap_mount(f->s, id, 0, &m, &f->err));
	put(m.root_fd, "x", "x");
	ok(f, snap_remove(f->s, id, &f->err));
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 0);
	has(m.root_fd, "x", "x");
	snap_mount_close(&m);
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 1);
}

static void test_two_sweepers(void **state)
{
	struct fix *f = *state;
	auto_fd int other = openat(f->fd, "trash", O_RDONLY | O_CLOEXEC);

	ok(f, fs_mkdir(f->fd, "trash/x", 0700, &f->err));
	assert_int_equal(flock(other, LOCK_EX), 0);
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 0);
	fd_close(&other);
	assert_int_equal(ok(f, snap_sweep(f->s, &f->err)), 1);
}

/* Together with rows of other modules: nothing of it happens when the caller rolls back. */
static void test_in_transaction(void **state)
{
	struct fix *f = *state;
	int64_t a = layer(f, "a", 0, NULL), b;
	struct snap_new again = { "again", 0, SNAP_ACTIVE }, orphan = { "o", 77, SNAP_ACTIVE };
	struct snap_info info;

	ok(f, db_begin(f->db, DB_LAZY, &f->err));
	ok(f, snap_forget(f->s, a, &f->err));
	b = new_active(f, "b", 0);
	db_rollback(f->db);
	ok(f, snap_stat(f->s, a, &info, &f->err));
	fails(f, ENOENT, snap_stat(f->s, b, &info, &f->err));
	assert_true(exists(f, "snap/1/fs"));
	fails(f, EBUSY, snap_discard(f->s, a, &f->err));

	ok(f, db_begin(f->db, DB_LAZY, &f->err));
	ok(f, snap_forget(f->s, a, &f->err));
	new_active(f, "again", 0);
	/* What callers may expect to fail does not end their transaction. */
	fails(f, EEXIST, snap_prepare(f->s, &again, &info, &f->err));
	fails(f, ENOENT, snap_prepare(f->s, &orphan, &info, &f->err));
	ok(f, db_commit(f->db, &f->err));
	ok(f, snap_discard(f->s, a, &f->err));
	assert_false(exists(f, "snap/1"));
	ok(f, snap_discard(f->s, a, &f->err));
	fails(f, ENOENT, snap_forget(f->s, a, &f->err));
}

/* A row of a module that snap does not know. */
static void test_in_use_elsewhere(void **state)
{
	struct fix *f = *state;
	int64_t a = layer(f, "a", 0, NULL);

	ok(f,
	   db_run(f->db, "CREATE TABLE other (s INTEGER REFERENCES snapshots(id))", NULL, &f->err));
	ok(f, db_run(f->db, "INSERT INTO other VALUES(?1)", DB_ARGS(DB_I(a)), &f->err));
	assert_int_equal(snap_remove(f->s, a, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.msg, "in use"));
	assert_true(exists(f, "snap/1/fs"));
}

static void die(struct fix *f, int code)
{
	print_error("child: %s\n", f->err.msg);
	_exit(code);
}

/* Everything that moves, until it is killed. */
static void busy_child(struct fix *f, unsigned seed)
{
	int64_t base = 0;

	fix_open(f);
	for (unsigned i = 0;; i++) {
		struct snap_new n = { .parent = base, .kind = SNAP_ACTIVE };
		struct snap_mount m = SNAP_MOUNT_INIT;
		struct snap_info info;

		if (snap_prepare(f->s, &n, &info, &f->err) < 0)
			die(f, 1);
		if ((i + seed) % 3 == 0 &&
		    snap_mount(f->s, info.id, SNAP_VOLATILE, &m, &f->err) < 0)
			die(f, 2);
		snap_mount_close(&m);
		if ((i + seed) % 4 == 0) {
			if (snap_remove(f->s, info.id, &f->err) < 0)
				die(f, 3);
			continue;
		}
		if (snap_commit(f->s, info.id, NULL, 0, &f->err) < 0)
			die(f, 4);
		base = i % 8 == 7 ? 0 : info.id;
		if (i % 16 == 15 && snap_sweep(f->s, &f->err) < 0)
			die(f, 5);
	}
}

static int is_whole(const struct snap_info *info, void *arg, struct err *err)
{
	struct fix *f = arg;
	struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = snap_mount(f->s, info->id, SNAP_RDONLY, &m, err);

	snap_mount_close(&m);
	if (rc >= 0 && info->kind == SNAP_ACTIVE) {
		rc = snap_mount(f->s, info->id, 0, &m, err);
		snap_mount_close(&m);
	}
	return rc < 0 ? err_ctx(err, "snapshot %s", info->key) : 0;
}

static void test_kill(void **state)
{
	struct fix *f = *state;
	struct err err = { 0 };

	for (unsigned i = 0; i < 30; i++) {
		int64_t rows = 0;
		int status;
		pid_t pid;

		fix_close(f); /* never used across a fork */
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			busy_child(f, i);
		usleep(3000 + i * 977 % 9000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status))
			fail_msg("child ended by itself: %d", WEXITSTATUS(status));
		fix_open(f);
		ok(f, snap_walk(f->s, is_whole, f, &f->err));
		ok(f, snap_sweep(f->s, &f->err));
		ok(f, db_get_int(f->db, "SELECT count(*) FROM snapshots", NULL, &rows, &err));
		assert_int_equal(count_in(f, "snap"), rows);
		assert_int_equal(count_in(f, "trash"), 0);
	}
}

/* Sweepers beside those who prepare: no row may lose its directory. */
static void test_sweep_beside_prepare(void **state)
{
	struct fix *f = *state;
	pid_t pid[2];
	int status;

	fix_close(f);
	for (size_t i = 0; i < 2; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i])
			continue;
		fix_open(f);
		for (int k = 0; k < 100; k++) {
			struct snap_new n = { .kind = SNAP_ACTIVE };
			struct snap_info info;
			int rc = i ? snap_sweep(f->s, &f->err)
				   : snap_prepare(f->s, &n, &info, &f->err);

			if (rc < 0)
				die(f, 1);
			if (!i && k % 2 && snap_remove(f->s, info.id, &f->err) < 0)
				die(f, 2);
		}
		_exit(0);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	fix_open(f);
	ok(f, snap_walk(f->s, is_whole, f, &f->err));
	assert_int_equal(count_in(f, "snap"), 50);
}

const struct CMUnitTest life_tests[] = {
	SNAP_TEST(test_files),
	SNAP_TEST(test_made_up_key),
	SNAP_TEST(test_root_attributes),
	SNAP_TEST(test_usage),
	SNAP_TEST(test_left_over),
	SNAP_TEST(test_default_acl),
	SNAP_TEST(test_sweep),
	SNAP_TEST(test_sweep_spares_mounted),
	SNAP_TEST(test_two_sweepers),
	SNAP_TEST(test_in_transaction),
	SNAP_TEST(test_in_use_elsewhere),
	SNAP_TEST(test_kill),
	SNAP_TEST(test_sweep_beside_prepare),
};
const size_t life_tests_n = ARRAY_LEN(life_tests);
