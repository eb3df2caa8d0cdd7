/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/str.h>
#include <shale/store.h>

struct fix {
	char path[256];
	int fd;
	struct db *db;
	struct store *st;
	struct err err;
};

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct fix *f = mem_alloc(sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s/shale-store-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(db_open(f->fd, &f->db, &f->err), 0);
	assert_int_equal(store_open(f->db, f->fd, &f->st, &f->err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	store_close(f->st);
	db_close(f->db);
	fd_close(&f->fd);
	assert_int_equal(fs_remove_tree(AT_FDCWD, f->path, &f->err), 0);
	free(f);
	return 0;
}

static void fails(struct fix *f, int code, int rc)
{
	assert_int_equal(rc, -code);
	assert_int_equal(f->err.code, code);
	assert_true(f->err.msg[0] != 0);
	err_clear(&f->err);
}

/* SHA-256 of "abc" (FIPS 180-2, appendix B.1) and of nothing. */
static const char abc_text[] =
	"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char abc_file[] =
	"blobs/sha256/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char nothing_text[] =
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static struct digest digest_of(const char *text)
{
	struct err err = { 0 };
	struct digest d;

	assert_int_equal(digest_parse(text, &d, &err), 0);
	return d;
}

static void content_is(struct fix *f, const struct digest *d, const char *want)
{
	auto_free char *got = NULL;
	auto_fd int fd = -1;

	assert_int_equal(store_blob_open(f->st, d, &fd, &f->err), 0);
	assert_int_equal(fd_read_all(fd, 1 << 20, &got, NULL, &f->err), 0);
	assert_string_equal(got, want);
}

static size_t count_files(struct fix *f)
{
	auto_strv struct strv l = { 0 };

	assert_int_equal(fs_list(f->fd, "blobs/sha256", &l, &f->err), 0);
	return l.n;
}

static void test_blob(void **state)
{
	struct fix *f = *state;
	struct digest abc = digest_of(abc_text), d = { { 0 } };
	auto_blob struct blob *b = NULL;
	struct sink *to;
	int fd = -1;

	assert_false(store_blob_exists(f->st, &abc));
	fails(f, ENOENT, store_blob_open(f->st, &abc, &fd, &f->err));
	assert_int_equal(store_blob_new(f->st, &b, &f->err), 0);
	to = store_blob_sink(b);
	assert_int_equal(to->write(to, "a", 1, &f->err), 0);
	assert_int_equal(to->write(to, "", 0, &f->err), 0);
	assert_int_equal(to->write(to, "bc", 2, &f->err), 0);
	assert_int_equal(store_blob_size(b), 3);
	assert_int_equal(count_files(f), 0); /* no name before the commit */
	assert_int_equal(store_blob_commit(b, &abc, &d, &f->err), 0);
	assert_true(digest_eq(&d, &abc));
	assert_int_equal(faccessat(f->fd, abc_file, F_OK, 0), 0);
	content_is(f, &abc, "abc");
	assert_int_equal(store_blob_remove(f->st, &abc, &f->err), 0);
	assert_int_equal(store_blob_remove(f->st, &abc, &f->err), 0);
	assert_false(store_blob_exists(f->st, &abc));
}

static void test_wrong_digest(void **state)
{
	struct fix *f = *state;
	struct digest want = digest_of(nothing_text);
	auto_blob struct blob *b = NULL;

	assert_int_equal(store_blob_new(f->st, &b, &f->err), 0);
	assert_int_equal(store_blob_sink(b)->write(store_blob_sink(b), "abc", 3, &f->err), 0);
	assert_int_equal(store_blob_commit(b, &want, NULL, &f->err), -EBADMSG);
	assert_non_null(strstr(f->err.msg, abc_text));
	assert_non_null(strstr(f->err.msg, nothing_text));
	assert_int_equal(count_files(f), 0);
}

static ino_t inode_of(struct fix *f)
{
	struct stat st;

	assert_int_equal(fstatat(f->fd, abc_file, &st, 0), 0);
	return st.st_ino;
}

static void test_again(void **state)
{
	struct fix *f = *state;
	struct digest d;
	auto_blob struct blob *b = NULL;
	ino_t first;

	assert_int_equal(store_blob_put(f->st, "abc", 3, &d, &f->err), 0);
	first = inode_of(f);
	assert_int_equal(store_blob_put(f->st, "abc", 3, NULL, &f->err), 0);
	assert_int_equal(store_blob_new(f->st, &b, &f->err), 0);
	assert_int_equal(store_blob_sink(b)->write(store_blob_sink(b), "abc", 3, &f->err), 0);
	assert_int_equal(store_blob_commit(b, NULL, NULL, &f->err), 0);
	assert_true(inode_of(f) == first); /* it may be on disk already, ours is not */

	/* What a crash left short is replaced. */
	assert_int_equal(fd_write_file(f->fd, abc_file, "a", 1, 0600, &f->err), 0);
	assert_int_equal(store_blob_put(f->st, "abc", 3, NULL, &f->err), 0);
	content_is(f, &d, "abc");
	assert_int_equal(count_files(f), 1);
	assert_int_equal(store_blob_put(f->st, "", 0, &d, &f->err), 0);
	assert_string_equal(digest_str(&d), nothing_text);
	content_is(f, &d, "");
}

static int first_fails(const struct blob_info *info, void *arg, struct err *err)
{
	uint64_t *sum = arg;

	assert_true(info->mtime_s > 1700000000);
	*sum += info->size_bytes;
	return *sum > 6 ? err_set(err, ECANCELED, "enough") : 0;
}

static void test_walk(void **state)
{
	struct fix *f = *state;
	uint64_t sum = 0;

	assert_int_equal(store_blob_walk(f->st, first_fails, &sum, &f->err), 0);
	assert_int_equal(store_blob_put(f->st, "abc", 3, NULL, &f->err), 0);
	assert_int_equal(store_blob_put(f->st, "xyz", 3, NULL, &f->err), 0);
	assert_int_equal(fd_write_file(f->fd, "blobs/sha256/tmp.0", "12", 2, 0600, &f->err), 0);
	assert_int_equal(store_blob_walk(f->st, first_fails, &sum, &f->err), 0);
	assert_int_equal(sum, 6);
	fails(f, ECANCELED, store_blob_walk(f->st, first_fails, &sum, &f->err));
	assert_int_equal(sum, 9);
}

/* A writer that is killed leaves no file, whenever that is. */
static void test_kill(void **state)
{
	struct fix *f = *state;

	assert_int_equal(store_blob_put(f->st, "abc", 3, NULL, &f->err), 0);
	for (int i = 0; i < 10; i++) {
		struct blob *b = NULL;
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			char data[256] = { 0 };

			if (store_blob_new(f->st, &b, &f->err) < 0)
				_exit(1);
			for (;;)
				if (store_blob_sink(b)->write(store_blob_sink(b), data, 256,
							      &f->err) < 0)
					_exit(2);
		}
		usleep(1000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	assert_int_equal(count_files(f), 1);
}

static void add_image(struct fix *f, const char *id, bool durable)
{
	static const char sql[] = "INSERT INTO images(id,size,created,stored,boot,durable)"
				  " VALUES(?1,0,0,0,'',?2)";

	assert_int_equal(db_run(f->db, sql, DB_ARGS(DB_T(id), DB_I(durable)), &f->err), 1);
}

static void tag_is(struct fix *f, const char *name, const char *image, const char *previous)
{
	auto_free char *got = NULL, *before = NULL;

	assert_int_equal(store_tag_get(f->st, name, &got, &f->err), 0);
	assert_string_equal(got, image);
	assert_true(db_get_str(f->db, "SELECT previous FROM tags WHERE name=?1",
			       DB_ARGS(DB_T(name)), &before, &f->err) > 0);
	assert_true(str_eq(before, previous));
}

static void test_tags(void **state)
{
	struct fix *f = *state;
	char longest[514];
	char *image = NULL;

	add_image(f, "one", true);
	add_image(f, "two", false);
	add_image(f, "three", true);
	fails(f, ENOENT, store_tag_get(f->st, "a", &image, &f->err));
	fails(f, ENOENT, store_tag_remove(f->st, "a", &f->err));
	fails(f, ENOENT, store_tag_set(f->st, "a", "four", &f->err));
	fails(f, EINVAL, store_tag_set(f->st, "", "one", &f->err));
	memset(longest, 'n', sizeof(longest));
	longest[513] = 0;
	fails(f, EINVAL, store_tag_set(f->st, longest, "one", &f->err));
	longest[512] = 0;
	assert_int_equal(store_tag_set(f->st, longest, "one", &f->err), 0);

	assert_int_equal(store_tag_set(f->st, "a", "one", &f->err), 0);
	tag_is(f, "a", "one", NULL);
	assert_int_equal(store_tag_set(f->st, "a", "one", &f->err), 0);
	tag_is(f, "a", "one", NULL);
	assert_int_equal(store_tag_set(f->st, "a", "two", &f->err), 0);
	tag_is(f, "a", "two", "one");
	assert_int_equal(store_tag_set(f->st, "a", "three", &f->err), 0);
	tag_is(f, "a", "three", "one"); /* "two" was never durable */
	assert_int_equal(store_tag_set(f->st, "a", "one", &f->err), 0);
	tag_is(f, "a", "one", "three");
	assert_int_equal(store_tag_remove(f->st, "a", &f->err), 0);
	fails(f, ENOENT, store_tag_get(f->st, "a", &image, &f->err));
	assert_null(image);
}

static void test_tags_in_transaction(void **state)
{
	struct fix *f = *state;
	char *image = NULL;

	add_image(f, "one", true);
	assert_int_equal(db_begin(f->db, DB_FULL, &f->err), 0);
	assert_int_equal(store_tag_set(f->st, "a", "one", &f->err), 0);
	db_rollback(f->db);
	fails(f, ENOENT, store_tag_get(f->st, "a", &image, &f->err));

	/* What callers may expect to fail does not end their transaction. */
	assert_int_equal(db_begin(f->db, DB_FULL, &f->err), 0);
	assert_int_equal(store_tag_set(f->st, "a", "one", &f->err), 0);
	fails(f, ENOENT, store_tag_remove(f->st, "b", &f->err));
	fails(f, ENOENT, store_tag_set(f->st, "b", "two", &f->err));
	assert_int_equal(db_commit(f->db, &f->err), 0);
	tag_is(f, "a", "one", NULL);
}

struct walked {
	struct fix *f;
	struct str seen;
};

static int note_and_remove(const struct tag_info *tag, void *arg, struct err *err)
{
	struct walked *w = arg;

	assert_true(tag->updated_s > 1700000000);
	str_addf(&w->seen, "%s=%s ", tag->name, tag->image);
	return str_eq(tag->name, "stop") ? err_set(err, ECANCELED, "enough")
					 : store_tag_remove(w->f->st, tag->name, err);
}

static void test_tag_walk(void **state)
{
	static const char *const tags[][2] = {
		{ "b", "one" }, { "a", "two" }, { "z", "one" }, { "stop", "two" }
	};
	struct fix *f = *state;
	struct walked w = { f, { 0 } };

	add_image(f, "one", true);
	add_image(f, "two", true);
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		assert_int_equal(store_tag_set(f->st, tags[i][0], tags[i][1], &f->err), 0);
	assert_int_equal(store_tag_walk(f->st, "one", note_and_remove, &w, &f->err), 0);
	assert_string_equal(str_get(&w.seen), "b=one z=one ");
	str_reset(&w.seen);
	fails(f, ECANCELED, store_tag_walk(f->st, NULL, note_and_remove, &w, &f->err));
	assert_string_equal(str_get(&w.seen), "a=two stop=two ");
	str_free(&w.seen);
}

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static int hold(struct fix *f, enum cache_sharing sharing, struct cache_held *h)
{
	const struct cache_want w = { .id = "../../etc",
				      .sharing = sharing,
				      .mode = 0751,
				      .uid = 3,
				      .gid = 4,
				      .user = "step" };
	int rc = store_cache_hold(f->st, &w, h, &f->err);

	if (rc < 0)
		fail_msg("%s", f->err.msg);
	return rc;
}

static int count_mounts(const struct cache_info *info, void *arg, struct err *err)
{
	(void)err;
	assert_string_equal(info->id, "../../etc");
	++*(int *)arg;
	return 0;
}

static int remove_mount(const struct cache_info *info, void *arg, struct err *err)
{
	return store_cache_remove(((struct fix *)arg)->st, info->name, err);
}

/* Shared with those who share, alone, or another one. */
static void cache_mounts_are_held(void **state)
{
	auto_cache_held struct cache_held a = CACHE_HELD_INIT, b = CACHE_HELD_INIT,
					  c = CACHE_HELD_INIT;
	struct fix *f = *state;
	struct stat st;
	int n = 0;

	assert_int_equal(hold(f, CACHE_SHARED, &a), 1);
	assert_int_equal(fstat(a.data_fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_uid, 3);
	assert_int_equal(hold(f, CACHE_SHARED, &b), 1);
	assert_string_equal(a.name, b.name);
	assert_int_equal(hold(f, CACHE_LOCKED, &c), 0);
	assert_int_equal(hold(f, CACHE_PRIVATE, &c), 1);
	assert_string_not_equal(a.name, c.name);
	store_cache_release(&a);
	store_cache_release(&b);
	store_cache_release(&c);
	assert_int_equal(hold(f, CACHE_LOCKED, &a), 1);
	assert_int_equal(hold(f, CACHE_SHARED, &b), 0);
	assert_non_null(strstr(b.holder, "step"));
	fails(f, EBUSY, store_cache_remove(f->st, a.name, &f->err));
	assert_int_equal(store_cache_walk(f->st, count_mounts, &n, &f->err), 0);
	assert_int_equal(n, 2);
	store_cache_release(&a);
	/* What has no row is garbage, unless somebody is making it; what has none of its files is
	 * made anew. */
	assert_int_equal(mkdirat(f->fd, "cache/0123456789abcdef0123456789abcdef", 0700), 0);
	assert_int_equal(mkdirat(f->fd, "trash", 0700) < 0 && errno != EEXIST, 0);
	assert_int_equal(store_cache_sweep(f->st, &f->err), 0);
	assert_int_equal(faccessat(f->fd, "cache/0123456789abcdef0123456789abcdef", F_OK, 0), -1);
	assert_int_equal(fs_remove_tree(f->fd, "cache", &f->err), 0);
	store_cache_release(&b);
	assert_int_equal(hold(f, CACHE_SHARED, &b), 1);
	assert_string_not_equal(a.name, b.name);
	store_cache_release(&b);
	assert_int_equal(store_cache_walk(f->st, remove_mount, f, &f->err), 0);
	n = 0;
	assert_int_equal(store_cache_walk(f->st, count_mounts, &n, &f->err), 0);
	assert_int_equal(n, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		STORE_TEST(test_blob),
		STORE_TEST(test_wrong_digest),
		STORE_TEST(test_again),
		STORE_TEST(test_walk),
		STORE_TEST(test_kill),
		STORE_TEST(test_tags),
		STORE_TEST(test_tag_walk),
		STORE_TEST(test_tags_in_transaction),
		STORE_TEST(cache_mounts_are_held),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
