/* SPDX-License-Identifier: Apache-2.0 */
/* How snapshots are mounted: once, unseen by the host, by every way a kernel may offer. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>
#include <shale/base/sys.h>

#include "../../../snapshotter/snap/priv.h"

static void make_files(int root)
{
	put(root, "file", "lower");
	assert_int_equal(mkdirat(root, "dir", 0755), 0);
	put(root, "dir/a", "a");
}

static void change_files(int root)
{
	has(root, "file", "lower");
	put(root, "file", "upper");
	assert_int_equal(renameat(root, "dir", root, "renamed"), 0);
}

static void changed(int root)
{
	has(root, "file", "upper");
	has_not(root, "dir");
	has(root, "renamed/a", "a");
}

static void only_lower(int root)
{
	has(root, "file", "lower");
	has(root, "dir/a", "a");
}

/* The first way that this kernel knows: before 6.7 it is the helper alone. */
static int first_how(struct fix *f)
{
	struct snap_mount m = SNAP_MOUNT_INIT;
	int64_t one = layer(f, NULL, 0, make_files);
	int how;

	ok(f, snap_mount(f->s, new_active(f, NULL, one), 0, &m, &f->err));
	snap_mount_close(&m);
	how = (int)f->s->how;
	f->s->how = SNAP_HOW_FD;
	f->s->how_known = false;
	return how;
}

/* Every way takes part in the same work: writable over one, read-only over two. */
static void test_every_way(void **state)
{
	struct fix *f = *state;

	for (int how = first_how(f); how < SNAP_HOW_N; how++) {
		int64_t one, two;

		f->s->how = (enum snap_how)how;
		f->s->how_known = true;
		one = layer(f, NULL, 0, make_files);
		two = layer(f, NULL, one, change_files);
		look(f, two, changed);
		assert_int_equal(f->s->how, how);
	}
}

struct later {
	struct snap_later *l;
	struct snap_mount m;
	struct err err;
};

static void *mount_later(void *arg)
{
	struct later *l = arg;

	snap_later_mount(l->l, &l->m, &l->err);
	return NULL;
}

/* Prepared here, mounted by a thread that has no database; whatever the way, and one layer too. */
static void test_later(void **state)
{
	struct fix *f = *state;

	for (int how = first_how(f); how < SNAP_HOW_N; how++) {
		int64_t one = layer(f, NULL, 0, make_files);
		int64_t ids[] = { one, layer(f, NULL, one, change_files) };

		for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
			struct later l = { .m = SNAP_MOUNT_INIT };
			pthread_t t;

			f->s->how = (enum snap_how)how;
			f->s->how_known = true;
			ok(f, snap_later(f->s, ids[i], &l.l, &f->err));
			assert_int_equal(proc_thread(&t, mount_later, &l), 0);
			pthread_join(t, NULL);
			assert_int_equal(l.err.code, 0);
			(i ? changed : only_lower)(l.m.root_fd);
			assert_int_equal(mkdirat(l.m.root_fd, "no", 0755), -1);
			assert_int_equal(errno, EROFS);
			snap_mount_close(&l.m);
			snap_later_cleanup(&l.l);
			assert_null(l.l);
		}
	}
}

/* One that nobody mounts in the end. */
static void test_later_never(void **state)
{
	struct fix *f = *state;
	struct snap_later *l = NULL;
	int64_t one = layer(f, NULL, 0, make_files);

	fails(f, ENOENT, snap_later(f->s, 99999, &l, &f->err));
	assert_null(l);
	for (int known = 0; known < 2; known++) {
		f->s->how_known = known;
		ok(f, snap_later(f->s, layer(f, NULL, one, NULL), &l, &f->err));
		snap_later_cleanup(&l);
	}
}

/* A chain that no kernel takes: every way refuses it, and the first to be tried has told why in the
 * kernel's words. */
static void test_kernel_text(void **state)
{
	struct fix *f = *state;
	int64_t lower[SNAP_LOWERS_MAX + 1];
	struct snap_plan p = { SNAP_PLAN_OVERLAY, true, false, 0, lower, SNAP_LOWERS_MAX + 1 };
	int fd = -1;

	/* mount(2), which is all that there is then, tells no text. */
	if (first_how(f) == SNAP_HOW_HELPER)
		skip();
	for (size_t i = 0; i < p.n_lower; i++)
		lower[i] = layer(f, NULL, 0, NULL);
	assert_int_equal(snap_overlay(f->s, &p, &fd, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.msg, "kernel: "));
	assert_non_null(strstr(f->err.msg, "limit is 500"));
	assert_false(f->s->how_known);
	/* Any other code ends the search. */
	lower[0] = 99999;
	fails(f, ENOENT, snap_overlay(f->s, &p, &fd, &f->err));
	assert_int_equal(fd, -1);
}

static void test_unseen(void **state)
{
	struct fix *f = *state;
	size_t before = count_mounts();
	int first = first_how(f);

	for (int how = first; how < SNAP_HOW_N; how++) {
		struct snap_mount m[4] = { SNAP_MOUNT_INIT, SNAP_MOUNT_INIT, SNAP_MOUNT_INIT,
					   SNAP_MOUNT_INIT };
		int64_t one = layer(f, NULL, 0, make_files);

		f->s->how = (enum snap_how)how;
		ok(f, snap_mount(f->s, 0, 0, &m[0], &f->err));
		ok(f, snap_mount(f->s, one, 0, &m[1], &f->err));
		ok(f, snap_mount(f->s, new_active(f, NULL, one), 0, &m[2], &f->err));
		ok(f, snap_mount(f->s, new_active(f, NULL, 0), 0, &m[3], &f->err));
		assert_int_equal(count_mounts(), before);
		for (size_t i = 0; i < ARRAY_LEN(m); i++)
			snap_mount_close(&m[i]);
	}
	assert_int_equal(count_mounts(), before);
}

static void test_twice(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "one", 0, make_files);
	int64_t ids[] = { new_active(f, NULL, one), new_active(f, NULL, 0) };
	char pid[32];

	snprintf(pid, sizeof(pid), "(by process %d)", (int)getpid());
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct snap_mount m = SNAP_MOUNT_INIT, second = SNAP_MOUNT_INIT;

		ok(f, snap_mount(f->s, ids[i], 0, &m, &f->err));
		assert_int_equal(snap_mount(f->s, ids[i], 0, &second, &f->err), -EBUSY);
		assert_non_null(strstr(f->err.msg, pid));
		fails(f, EBUSY, snap_commit(f->s, ids[i], NULL, 0, &f->err));
		/* Looking is allowed, and needs no lock. */
		ok(f, snap_mount(f->s, ids[i], SNAP_RDONLY, &second, &f->err));
		assert_int_equal(second.lock_fd, -1);
		snap_mount_close(&second);
		snap_mount_close(&m);
		ok(f, snap_mount(f->s, ids[i], 0, &m, &f->err));
		snap_mount_close(&m);
	}
}

/* A container whose starter has gone: no flock is left, only the kernel's superblock. */
static void test_lingering(void **state)
{
	struct fix *f = *state;
	int64_t id = new_active(f, NULL, layer(f, "one", 0, make_files));
	struct snap_mount m = SNAP_MOUNT_INIT, second = SNAP_MOUNT_INIT;
	int status;
	pid_t pid;

	ok(f, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
	assert_true(m.is_volatile);
	fd_close(&m.lock_fd);
	f->s->busy_wait_ms = 20;
	fails(f, EBUSY, snap_mount(f->s, id, 0, &second, &f->err));
	has(m.root_fd, "file", "lower");

	/* A child keeps it a little longer than we do. */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		usleep(100000);
		_exit(0);
	}
	fd_close(&m.root_fd);
	f->s->busy_wait_ms = SNAP_BUSY_WAIT_MS;
	ok(f, snap_mount(f->s, id, 0, &second, &f->err));
	has(second.root_fd, "file", "lower");
	assert_false(second.is_volatile);
	snap_mount_close(&second);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static bool has_mark(struct fix *f, int64_t id)
{
	auto_free char *p = mem_fmt("snap/%" PRId64 "/work/work/incompat/volatile", id);

	return exists(f, p);
}

static void test_volatile(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "one", 0, make_files), id = new_active(f, NULL, one);
	struct snap_mount m = SNAP_MOUNT_INIT;

	for (int i = 0; i < 3; i++) {
		ok(f, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
		assert_true(m.is_volatile && has_mark(f, id));
		snap_mount_close(&m);
	}
	ok(f, snap_unmounted(f->s, id, &f->err));
	assert_false(has_mark(f, id));

	/* The machine crashed while it was mounted: the row is of an earlier boot. */
	ok(f, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
	snap_mount_close(&m);
	ok(f, db_run(f->db, "UPDATE snapshots SET boot='before' WHERE id=?1", DB_ARGS(DB_I(id)),
		     &f->err));
	ok(f, snap_unmounted(f->s, id, &f->err));
	assert_true(has_mark(f, id));
	fails(f, EBADMSG, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
	fails(f, EBADMSG, snap_mount(f->s, id, 0, &m, &f->err));

	/* It did not: an old snapshot without the mark is mounted, but synced as others. */
	id = new_active(f, NULL, one);
	ok(f, db_run(f->db, "UPDATE snapshots SET boot='before' WHERE id=?1", DB_ARGS(DB_I(id)),
		     &f->err));
	ok(f, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
	assert_false(m.is_volatile || has_mark(f, id));
	snap_mount_close(&m);
	fails(f, ENOENT, snap_unmounted(f->s, 9999, &f->err));
}

/* What the 250 lowest layers show, by the boot's id. */
static bool is_merged(struct fix *f)
{
	auto_free char *path = mem_fmt("snap/%d/tree.%.8s", SNAP_MERGE_STEP, proc_boot_id());

	return exists(f, path);
}

static void test_deep(void **state)
{
	struct fix *f = *state;
	struct snap_mount m = SNAP_MOUNT_INIT;
	int64_t id = layer(f, NULL, 0, make_files), *ids = NULL, top;
	size_t n;

	for (int i = 1; i < SNAP_LOWERS_MAX; i++)
		id = layer(f, NULL, id, NULL);
	look(f, id, only_lower);
	top = new_active(f, NULL, id);
	ok(f, snap_chain(f->s, top, &ids, &n, &f->err));
	assert_int_equal(n, SNAP_LOWERS_MAX + 1);
	assert_int_equal(ids[0], top);
	assert_int_equal(ids[1], id);
	free(ids);
	ok(f, snap_mount(f->s, top, 0, &m, &f->err));
	has(m.root_fd, "file", "lower");
	put(m.root_fd, "new", "new");
	snap_mount_close(&m);
	assert_false(is_merged(f));
	/* With its own fs/ as a layer it is one too many: the lowest are merged, once. */
	ok(f, snap_mount(f->s, top, SNAP_RDONLY, &m, &f->err));
	has(m.root_fd, "new", "new");
	has(m.root_fd, "file", "lower");
	snap_mount_close(&m);
	assert_true(is_merged(f));
	ok(f, snap_commit(f->s, top, NULL, 0, &f->err));
	look(f, top, only_lower);
}

/* The page of mount(2) holds some 450 relative names; more are refused in words, not by the kernel.
 */
static void test_deep_helper(void **state)
{
	struct fix *f = *state;
	int64_t id = layer(f, NULL, 0, make_files);
	struct snap_mount m = SNAP_MOUNT_INIT;

	f->s->how = SNAP_HOW_HELPER;
	f->s->how_known = true;
	ok(f, db_run(f->db, "UPDATE sqlite_sequence SET seq=12345678", NULL, &f->err));
	for (int i = 1; i < 300; i++)
		id = layer(f, NULL, id, NULL);
	look(f, id, only_lower);
	for (int i = 300; i < 400; i++)
		id = layer(f, NULL, id, NULL);
	fails(f, ENAMETOOLONG, snap_mount(f->s, id, 0, &m, &f->err));
}

static void test_metacopy(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "one", 0, make_files), two = new_active(f, NULL, one), alone;
	struct snap_mount m = SNAP_MOUNT_INIT;
	auto_fd int file = -1;
	char path[64];

	ok(f, snap_mount(f->s, two, SNAP_VOLATILE, &m, &f->err));
	assert_int_equal(fchownat(m.root_fd, "file", 5, 5, 0), 0);
	snap_mount_close(&m);
	snprintf(path, sizeof(path), "snap/%" PRId64 "/fs/file", two);
	file = openat(f->fd, path, O_RDONLY | O_CLOEXEC);
	assert_true(file >= 0);
	/* Else the kernel copied the whole file for a new owner. */
	assert_true(fgetxattr(file, "trusted.overlay.metacopy", path, sizeof(path)) >= 0);
	ok(f, snap_commit(f->s, two, "two", SNAP_NEEDS_METACOPY, &f->err));
	look(f, two, only_lower);

	/* Without what it refers to, it would be read as zeros. */
	alone = new_active(f, NULL, 0);
	ok(f, snap_commit(f->s, alone, NULL, SNAP_NEEDS_REDIRECT, &f->err));
	fails(f, EBADMSG, snap_mount(f->s, alone, 0, &m, &f->err));
	fails(f, EBADMSG, snap_mounts(f->s, alone, &(struct mount_list){ 0 }, &f->err));
}

static char *option(const struct mount_entry *m, const char *prefix)
{
	for (size_t i = 0; i < m->options.n; i++)
		if (str_starts(m->options.v[i], prefix))
			return m->options.v[i];
	return NULL;
}

static void test_mounts(void **state)
{
	struct fix *f = *state;
	int64_t one = layer(f, "one", 0, make_files), two = layer(f, "two", one, change_files);
	int64_t rw = new_active(f, NULL, two), view = new_view(f, NULL, two);
	auto_free char *path = snap_path(f->s, one), *want = NULL;
	auto_mount_list struct mount_list l = { 0 };

	assert_memory_equal(path, f->path, strlen(f->path));
	assert_string_equal(path + strlen(f->path), "/snap/1/fs");
	ok(f, snap_mounts(f->s, new_active(f, NULL, 0), &l, &f->err));
	ok(f, snap_mounts(f->s, new_view(f, NULL, one), &l, &f->err));
	ok(f, snap_mounts(f->s, rw, &l, &f->err));
	ok(f, snap_mounts(f->s, view, &l, &f->err));
	assert_int_equal(l.n, 4);
	assert_string_equal(l.v[0].type, "bind");
	assert_string_equal(l.v[0].options.v[0], "rw");
	assert_string_equal(l.v[0].options.v[1], "rbind");
	assert_string_equal(l.v[1].source, path);
	assert_string_equal(l.v[1].options.v[0], "ro");
	assert_string_equal(l.v[2].type, "overlay");
	assert_non_null(option(&l.v[2], "index=off"));
	assert_non_null(option(&l.v[2], "redirect_dir=on"));
	want = mem_fmt("upperdir=%s/snap/%" PRId64 "/fs", f->path, rw);
	assert_string_equal(option(&l.v[2], "upperdir="), want);
	free(want);
	want = mem_fmt("lowerdir=%s/snap/%" PRId64 "/fs:%s/snap/%" PRId64 "/fs", f->path, two,
		       f->path, one);
	assert_string_equal(option(&l.v[2], "lowerdir="), want);
	assert_string_equal(option(&l.v[3], "lowerdir="), want);
	assert_null(option(&l.v[3], "upperdir="));
	assert_non_null(option(&l.v[3], "ro"));
}

/* What snap_mounts tells, done with mount(2), in a store whose path needs escapes. */
static void mount_by_hand(struct fix *f)
{
	char dir[300], at[300];
	auto_mount_list struct mount_list l = { 0 };
	auto_str struct str data = { 0 };
	int64_t two, fd;

	snprintf(dir, sizeof(dir), "%s/odd:na,me\\x", f->path);
	snprintf(at, sizeof(at), "%s/at", f->path);
	if (mkdir(dir, 0700) < 0 || mkdir(at, 0700) < 0)
		_exit(1);
	fd_close(&f->fd);
	f->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fix_open(f);
	two = layer(f, "two", layer(f, "one", 0, make_files), change_files);
	if (snap_mounts(f->s, new_active(f, NULL, two), &l, &f->err) < 0)
		_exit(2);
	for (size_t i = 0; i < l.v[0].options.n; i++)
		str_addf(&data, "%s%s", i ? "," : "", l.v[0].options.v[i]);
	if (mount("overlay", at, "overlay", 0, str_get(&data)) < 0)
		_exit(3);
	fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	changed((int)fd);
	close((int)fd);
	if (umount2(at, MNT_DETACH) < 0)
		_exit(4);
	fix_close(f);
}

static void test_mounts_by_hand(void **state)
{
	in_namespace(*state, mount_by_hand);
}

/* A store on a file system that is mounted nosuid, nodev, noexec and shared, as /var often is. */
static void on_nosuid(struct fix *f)
{
	struct snap_mount m = SNAP_MOUNT_INIT;
	auto_free char *text = NULL;
	char at[300];
	struct statvfs v;

	snprintf(at, sizeof(at), "%s/at", f->path);
	if (mkdir(at, 0700) < 0 ||
	    mount("tmpfs", f->path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m") < 0 ||
	    mount(NULL, f->path, NULL, MS_SHARED, NULL) < 0 || mkdir(at, 0700) < 0)
		_exit(1);
	fd_close(&f->fd);
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fix_open(f);
	if (snap_mount(f->s, new_active(f, NULL, 0), 0, &m, &f->err) < 0)
		_exit(2);
	if (fstatvfs(m.root_fd, &v) < 0 ||
	    v.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_RDONLY))
		_exit(3);
	put(m.root_fd, "x", "x");
	if (/* a private place: what is put on a shared one becomes shared */
	    sys_move_mount(m.root_fd, "", AT_FDCWD, "/sys", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		_exit(4);
	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, NULL, &f->err) < 0)
		_exit(5);
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (strstr(line, " /sys ") && strstr(line, "shared:"))
			_exit(6);
	}
	snap_mount_close(&m);
	fix_close(f);
}

static void test_bind_attributes(void **state)
{
	in_namespace(*state, on_nosuid);
}

/* Where everything is shared, as systemd has it, the helper's mount must not reach its peers. */
static void on_shared(struct fix *f)
{
	size_t before;

	if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
		_exit(1);
	fix_open(f);
	before = count_mounts();
	f->s->how = SNAP_HOW_HELPER;
	look(f, layer(f, "two", layer(f, "one", 0, make_files), change_files), changed);
	if (f->s->how != SNAP_HOW_HELPER || count_mounts() != before)
		_exit(2);
	fix_close(f);
}

static void test_helper_unseen(void **state)
{
	in_namespace(*state, on_shared);
}

static void test_empty(void **state)
{
	struct fix *f = *state;
	struct snap_mount m = SNAP_MOUNT_INIT;

	ok(f, snap_mount(f->s, 0, 0, &m, &f->err));
	assert_int_equal(m.id, 0);
	assert_int_equal(mkdirat(m.root_fd, "x", 0755), -1);
	assert_int_equal(errno, EROFS);
	snap_mount_close(&m);
	fails(f, ENOENT, snap_mount(f->s, 42, 0, &m, &f->err));
}

static void test_plan(void **state)
{
	int64_t ids[] = { 3, 2, 1 };
	unsigned layer_flags[] = { 0, 0, 0 };
	static const struct {
		enum snap_kind kind;
		size_t n;
		unsigned flags;
		struct snap_plan want; /* lower: NULL, or the index by pointer below */
		size_t first;
	} cases[] = {
		{ SNAP_ACTIVE, 3, 0, { SNAP_PLAN_OVERLAY, false, false, 3, NULL, 2 }, 1 },
		{ SNAP_ACTIVE,
		  2,
		  SNAP_VOLATILE,
		  { SNAP_PLAN_OVERLAY, false, true, 3, NULL, 1 },
		  1 },
		{ SNAP_ACTIVE, 1, SNAP_VOLATILE, { SNAP_PLAN_BIND, false, false, 3, NULL, 1 }, 0 },
		{ SNAP_ACTIVE, 3, SNAP_RDONLY, { SNAP_PLAN_OVERLAY, true, false, 0, NULL, 3 }, 0 },
		{ SNAP_ACTIVE, 1, SNAP_RDONLY, { SNAP_PLAN_BIND, true, false, 3, NULL, 1 }, 0 },
		{ SNAP_COMMITTED, 2, 0, { SNAP_PLAN_OVERLAY, true, false, 0, NULL, 2 }, 0 },
		{ SNAP_COMMITTED, 1, 0, { SNAP_PLAN_BIND, true, false, 3, NULL, 1 }, 0 },
		{ SNAP_VIEW, 3, SNAP_VOLATILE, { SNAP_PLAN_OVERLAY, true, false, 0, NULL, 2 }, 1 },
		{ SNAP_VIEW, 2, 0, { SNAP_PLAN_BIND, true, false, 2, NULL, 1 }, 1 },
		{ SNAP_VIEW, 1, 0, { SNAP_PLAN_BIND, true, false, 3, NULL, 1 }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct snap_chain c = { ids, layer_flags, cases[i].n, cases[i].kind, 0, true };
		const struct snap_plan *want = &cases[i].want;
		struct err err = { 0 };
		struct snap_plan p;

		assert_int_equal(snap_plan_make(&c, cases[i].flags, &p, &err), 0);
		assert_int_equal(p.kind, want->kind);
		assert_int_equal(p.rdonly, want->rdonly);
		assert_int_equal(p.is_volatile, want->is_volatile);
		assert_int_equal(p.upper, want->upper);
		assert_int_equal(p.n_lower, want->n_lower);
		assert_ptr_equal(p.lower, ids + cases[i].first);
	}
}

const struct CMUnitTest mount_tests[] = {
	cmocka_unit_test(test_plan),     SNAP_TEST(test_every_way),
	SNAP_TEST(test_kernel_text),     SNAP_TEST(test_unseen),
	SNAP_TEST(test_twice),           SNAP_TEST(test_lingering),
	SNAP_TEST(test_volatile),        SNAP_TEST(test_deep),
	SNAP_TEST(test_deep_helper),     SNAP_TEST(test_metacopy),
	SNAP_TEST(test_mounts),          SNAP_TEST(test_mounts_by_hand),
	SNAP_TEST(test_bind_attributes), SNAP_TEST(test_helper_unseen),
	SNAP_TEST(test_empty),           SNAP_TEST(test_later),
	SNAP_TEST(test_later_never),
};
const size_t mount_tests_n = ARRAY_LEN(mount_tests);
