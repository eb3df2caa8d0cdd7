/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sink.h>

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

/* A real directory: /tmp may be a tmpfs or an overlay, where no upper can be. */
int fix_setup(void **state)
{
	static const char *const dirs[] = { "empty", "m", "t" };
	const char *tmp = getenv("TMPDIR");
	struct fix *f = mem_alloc(sizeof(*f));

	snprintf(f->path, sizeof(f->path), "%s/shale-layer-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_int_equal(mkdirat(f->fd, dirs[i], 0755), 0);
	umask(0);
	*state = f;
	return 0;
}

int fix_teardown(void **state)
{
	static const char *const mounts[] = { "step", "merged", "parent", "below", "a", "b" };
	struct fix *f = *state;

	/* Those that a failed test has left. */
	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		auto_free char *at = mem_fmt("%s/m/%s", f->path, mounts[i]);

		umount2(at, MNT_DETACH);
	}
	assert_int_equal(chdir("/"), 0);
	fd_close(&f->fd);
	ok(f, fs_remove_tree(AT_FDCWD, f->path, &f->err));
	free(f);
	return 0;
}

void make_layer(struct fix *f, char kind, int i)
{
	char name[32];

	snprintf(name, sizeof(name), "%c%d", kind, i);
	ok(f, fs_remove_tree(f->fd, name, &f->err));
	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
	snprintf(name, sizeof(name), "%c%d/fs", kind, i);
	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
	snprintf(name, sizeof(name), "%c%d/work", kind, i);
	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
}

int open_layer(struct fix *f, char kind, int i)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "%c%d/fs", kind, i);
	fd = openat(f->fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

int view(struct fix *f, char kind, int n, bool writable, const char *name)
{
	auto_str struct str opts = { 0 };
	auto_free char *at = mem_fmt("%s/m/%s", f->path, name);
	int fd;

	if (n == 0)
		return -1;
	assert_true(mkdir(at, 0755) == 0 || errno == EEXIST);
	str_add(&opts, "redirect_dir=on,metacopy=on,index=off,xino=off,lowerdir=");
	for (int i = writable ? n - 2 : n - 1; i >= 0; i--)
		str_addf(&opts, "%c%d/fs:", kind, i);
	str_add(&opts, "empty");
	if (writable)
		str_addf(&opts, ",volatile,upperdir=%c%d/fs,workdir=%c%d/work", kind, n - 1, kind,
			 n - 1);
	assert_int_equal(fchdir(f->fd), 0);
	if (mount("overlay", at, "overlay", 0, opts.s) < 0)
		fail_msg("mount %s: %s", opts.s, strerror(errno));
	fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void unview(struct fix *f, int *fd, const char *name)
{
	auto_free char *at = mem_fmt("%s/m/%s", f->path, name);

	if (*fd < 0)
		return;
	fd_close(fd);
	if (umount2(at, 0) < 0)
		fail_msg("umount %s: %s", at, strerror(errno));
}

void add_layer(struct fix *f, step_fn *fn, void *arg)
{
	auto_fd int fs = -1;
	struct stat st;
	int m;

	make_layer(f, 'o', f->n++);
	if (f->n > 1) { /* as snap does: the root has the parent's attributes */
		auto_fd int up = open_layer(f, 'o', f->n - 2), here = open_layer(f, 'o', f->n - 1);

		assert_int_equal(fstat(up, &st), 0);
		assert_int_equal(fchownat(here, "", st.st_uid, st.st_gid, AT_EMPTY_PATH), 0);
		assert_int_equal(fchmodat(here, ".", st.st_mode & 07777, 0), 0);
	}
	m = view(f, 'o', f->n, true, "step");
	fn(m, arg);
	unview(f, &m, "step");
	fs = open_layer(f, 'o', f->n - 1);
	ok(f, layer_freeze(fs, NULL, &f->frozen[f->n - 1], &f->err));
}

struct file_sink {
	struct sink sink;
	int fd;
};

static int sink_write(struct sink *to, const void *p, size_t n, struct err *err)
{
	return fd_write_all(((struct file_sink *)to)->fd, p, n, err);
}

static int diff(struct fix *f, char kind, int i, struct layer_memo *memo, struct layer_info *ret)
{
	auto_free char *name = mem_fmt("t/%c%d", kind, i), *dir = mem_fmt("%c%d", kind, i);
	struct file_sink s = { .sink = { sink_write } };
	auto_fd int upper = open_layer(f, kind, i), table = -1;
	int merged = i ? view(f, kind, i + 1, false, "merged") : -1,
	    parent = view(f, kind, i, false, "parent");
	struct layer_diff_opts o = { .to = memo ? NULL : &s.sink, .writeback = true, .memo = memo };
	int rc;

	table = openat(f->fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	o.table_dir_fd = table;
	s.fd = memo ? -1 : openat(f->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(memo || s.fd >= 0);
	rc = layer_diff(&(struct layer_source){ upper, merged, parent }, &o, ret, &f->err);
	fd_close(&s.fd);
	unview(f, &merged, "merged");
	unview(f, &parent, "parent");
	return rc;
}

void diff_layer(struct fix *f, char kind, int i, struct layer_info *ret)
{
	ok(f, diff(f, kind, i, NULL, ret));
}

static void read_table(struct fix *f, char kind, int i, char **ret, size_t *ret_len)
{
	auto_free char *name = mem_fmt("%c%d/table", kind, i);

	ok(f, fd_read_file(f->fd, name, 16 << 20, ret, ret_len, &f->err));
}

/* What a memo says of a tree is what reading it says, whatever the archive was. */
static void check_memo(struct fix *f, char kind, int i, struct layer_memo *memo,
		       const struct layer_info *stream)
{
	struct layer_info by_memo = { 0 }, read = { 0 };
	auto_free char *table = NULL, *again = NULL;
	size_t len = 0, again_len = 0;
	int rc = diff(f, kind, i, memo, &by_memo);

	if (rc >= 0)
		read_table(f, kind, i, &table, &len);
	err_clear(&f->err);
	assert_int_equal(diff(f, kind, i, NULL, &read), rc);
	err_clear(&f->err);
	if (rc < 0)
		return;
	read_table(f, kind, i, &again, &again_len);
	assert_int_equal(by_memo.is_same,
			 !memcmp(&read.diff_id, &stream->diff_id, sizeof(read.diff_id)));
	assert_int_equal(by_memo.tar_bytes, read.tar_bytes);
	assert_int_equal(by_memo.entries, read.entries);
	assert_int_equal(by_memo.size_bytes, read.size_bytes);
	assert_int_equal(len, again_len);
	assert_memory_equal(table, again, len);
}

int apply(struct fix *f, const char *tar, char kind, int i, const struct layer_apply_opts *o,
	  struct layer_info *ret)
{
	auto_free char *name = mem_fmt("t/%s", tar);
	auto_fd int fd = openat(f->fd, name, O_RDONLY | O_CLOEXEC), dir = -1;
	struct layer_apply_opts opts = *o;
	int parent = view(f, kind, i, false, "below"), rc;
	cleanup(layer_memo_cleanup) struct layer_memo *memo = NULL;
	struct layer_info info = { 0 };

	assert_true(fd >= 0);
	make_layer(f, kind, i);
	dir = open_layer(f, kind, i);
	opts.parent_fd = parent;
	ok(f, layer_memo_new(&memo, &f->err));
	opts.memo = memo;
	rc = layer_apply(fd, dir, &opts, &info, &f->err);
	unview(f, &parent, "below");
	if (rc < 0)
		return rc;
	if (ret)
		*ret = info;
	check_memo(f, kind, i, memo, &info);
	return rc;
}

void round_trip(struct fix *f)
{
	for (int i = 0; i < f->n; i++) {
		struct layer_apply_opts o = { .foreign = i & 1 };
		auto_free char *tar = mem_fmt("o%d", i), *what = mem_fmt("layer %d", i);
		struct layer_info got = { 0 };
		int a, b;

		diff_layer(f, 'o', i, &f->info[i]);
		ok(f, apply(f, tar, 'r', i, &o, &got));
		assert_memory_equal(&got.diff_id, &f->info[i].diff_id, sizeof(got.diff_id));
		assert_int_equal(got.tar_bytes, f->info[i].tar_bytes);
		assert_int_equal(got.entries, f->info[i].entries);
		assert_int_equal(got.size_bytes, f->info[i].size_bytes);
		a = view(f, 'o', i + 1, false, "a");
		b = view(f, 'r', i + 1, false, "b");
		same_tree(a, b, what);
		unview(f, &a, "a");
		unview(f, &b, "b");
		diff_layer(f, 'r', i, &f->again[i]);
		if (memcmp(&f->again[i].diff_id, &f->info[i].diff_id, sizeof(got.diff_id)) != 0)
			fail_msg("%s: unpacked and read again it is another layer", what);
	}
}

int run_program(struct fix *f, char *const argv[])
{
	auto_fd int out = openat(f->fd, "t/out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int fds[3] = { -1, out, out }, code = 0;
	pid_t pid;

	assert_int_equal(fchdir(f->fd), 0);
	pid = proc_spawn(argv[0], argv, fds, &f->err);
	ok(f, pid);
	ok(f, proc_wait(pid, &code, &f->err));
	return code;
}

char *list_tar(struct fix *f, const char *program, const char *tar)
{
	auto_free char *name = mem_fmt("t/%s", tar), *prog = mem_str(program);
	char *argv[] = { prog, (char[]){ "-tf" }, name, NULL };
	char *text = NULL;
	int code = run_program(f, argv);

	ok(f, fd_read_file(f->fd, "t/out", 1 << 20, &text, NULL, &f->err));
	if (code)
		fail_msg("%s: %d: %s", program, code, text);
	return text;
}

void put(int root, const char *path, const char *text)
{
	struct err err = { 0 };

	if (fd_write_file(root, path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

bool has_text(int root, const char *path, const char *text)
{
	auto_free char *got = NULL;
	struct err err = { 0 };

	return fd_read_file(root, path, 1 << 20, &got, NULL, &err) >= 0 && !strcmp(got, text);
}

bool is_there(int root, const char *path)
{
	struct stat st;

	return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}
