/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

static enum snap_driver fix_driver;

int ok_(struct fix *f, int rc, const char *what, const char *file, int line)
{
	if (rc < 0) {
		print_error("%s:%d: %s: %d %s\n", file, line, what, rc, f->err.msg);
		_fail(file, line);
	}
	return rc;
}

void fails_(struct fix *f, int code, int rc, const char *what, const char *file, int line)
{
	if (rc != -code || f->err.code != code || !f->err.msg[0]) {
		print_error("%s:%d: %s: %d instead of %d, \"%s\"\n", file, line, what, rc, -code,
			    f->err.msg);
		_fail(file, line);
	}
	err_clear(&f->err);
}

void fix_open(struct fix *f)
{
	ok(f, db_open(f->fd, &f->db, &f->err));
	ok(f, snap_open(f->db, f->fd, &f->s, &f->err));
	snap_use(f->s, fix_driver);
}

void fix_close(struct fix *f)
{
	snap_close(f->s);
	db_close(f->db);
	f->s = NULL;
	f->db = NULL;
}

/* A real directory: /tmp may be a tmpfs or an overlay, where no upper can be. */
int fix_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct fix *f = mem_alloc(sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s/shale-snap-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	fix_open(f);
	*state = f;
	return 0;
}

int fix_teardown(void **state)
{
	struct fix *f = *state;

	fix_close(f);
	fd_close(&f->fd);
	ok(f, fs_remove_tree(AT_FDCWD, f->path, &f->err));
	free(f);
	return 0;
}

int64_t new_active(struct fix *f, const char *key, int64_t parent)
{
	struct snap_new n = { .key = key, .parent = parent, .kind = SNAP_ACTIVE };
	struct snap_info info;

	ok(f, snap_prepare(f->s, &n, &info, &f->err));
	return info.id;
}

int64_t new_view(struct fix *f, const char *key, int64_t parent)
{
	struct snap_new n = { .key = key, .parent = parent, .kind = SNAP_VIEW };
	struct snap_info info;

	ok(f, snap_prepare(f->s, &n, &info, &f->err));
	return info.id;
}

int64_t layer(struct fix *f, const char *name, int64_t parent, change_fn *fn)
{
	int64_t id = new_active(f, NULL, parent);

	if (fn) {
		struct snap_mount m = SNAP_MOUNT_INIT;

		ok(f, snap_mount(f->s, id, SNAP_VOLATILE, &m, &f->err));
		fn(m.root_fd);
		snap_mount_close(&m);
	}
	ok(f, snap_commit(f->s, id, name, 0, &f->err));
	return id;
}

void look(struct fix *f, int64_t parent, change_fn *fn)
{
	int64_t id = new_view(f, NULL, parent);
	struct snap_mount m = SNAP_MOUNT_INIT;

	ok(f, snap_mount(f->s, id, 0, &m, &f->err));
	fn(m.root_fd);
	snap_mount_close(&m);
	ok(f, snap_remove(f->s, id, &f->err));
}

void put(int root, const char *path, const char *text)
{
	struct err err = { 0 };

	if (fd_write_file(root, path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

void has(int root, const char *path, const char *text)
{
	auto_free char *got = NULL;
	struct err err = { 0 };

	if (fd_read_file(root, path, 1 << 20, &got, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(got, text);
}

void has_not(int root, const char *path)
{
	struct stat st;

	if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fail_msg("%s is there", path);
	assert_int_equal(errno, ENOENT);
}

bool exists(struct fix *f, const char *path)
{
	return faccessat(f->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

size_t count_mounts(void)
{
	auto_free char *text = NULL;
	struct err err = { 0 };
	size_t n = 0;

	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	for (char *p = text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

void in_namespace(struct fix *f, void (*fn)(struct fix *f))
{
	int status = 0;
	pid_t pid;

	fix_close(f); /* never used across a fork */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* cmocka's failures are of the parent: here they end the process. */
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(99);
		/* What was opened before is of the other namespace, and is mounted nowhere here. */
		fd_close(&f->fd);
		f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fn(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fix_open(f);
}

/* fuse-overlayfs cannot rename a directory of a lower layer, and 128 layers take their time. */
enum { FEWER = 2 };

int main(void)
{
	int failed = 0;

	if (geteuid() != 0) {
		print_message("snap: not root, skipped\n");
		return 0;
	}
	for (unsigned d = 0; d < SNAP_DRIVERS; d++) {
		auto_free char *name = mem_fmt("snap: containerd's suite, %s", snap_driver_name(d));

		fix_driver = (enum snap_driver)d;
		if (!snap_driver_missing(fix_driver))
			failed += _cmocka_run_group_tests(
				name, suite_tests, suite_tests_n - (d ? FEWER : 0), NULL, NULL);
	}
	fix_driver = SNAP_OVERLAY;
	return failed +
	       _cmocka_run_group_tests("snap: mounts", mount_tests, mount_tests_n, NULL, NULL) +
	       _cmocka_run_group_tests("snap: life", life_tests, life_tests_n, NULL, NULL);
}
