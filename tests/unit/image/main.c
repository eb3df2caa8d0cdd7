/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>
#include <shale/layer.h>

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
	if (rc != -code) {
		print_error("%s:%d: %s: %d (%s), expected %d\n", file, line, what, rc,
			    rc < 0 ? f->err.msg : "", -code);
		_fail(file, line);
	}
	if (f->err.code != code || !f->err.msg[0])
		_fail(file, line);
	err_clear(&f->err);
}

int fix_setup(void **state)
{
	struct fix *f = mem_alloc(sizeof(*f));

	/* Not in /tmp, which may be a tmpfs without trusted xattrs. */
	snprintf(f->path, sizeof(f->path), "/var/tmp/shale-image-XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	f->rt.root = f->path;
	f->rt.root_fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ok(f, db_open(f->rt.root_fd, &f->rt.db, &f->err));
	ok(f, snap_open(f->rt.db, f->rt.root_fd, &f->rt.snap, &f->err));
	ok(f, store_open(f->rt.db, f->rt.root_fd, &f->rt.store, &f->err));
	*state = f;
	return 0;
}

int fix_teardown(void **state)
{
	struct fix *f = *state;

	store_close(f->rt.store);
	snap_close(f->rt.snap);
	db_close(f->rt.db);
	fd_close(&f->rt.root_fd);
	ok(f, fs_remove_tree(AT_FDCWD, f->path, &f->err));
	free(f);
	return 0;
}

int64_t new_snapshot(struct fix *f, int64_t parent, const char *name, const char *text)
{
	struct snap_new n = { .kind = SNAP_ACTIVE, .parent = parent };
	struct layer_info frozen = { 0 };
	auto_fd int fs = -1, dir = -1;
	struct snap_info info;

	ok(f, snap_prepare(f->rt.snap, &n, &info, &f->err));
	ok(f, snap_fs_fd(f->rt.snap, info.id, &fs, &f->err));
	ok(f, fd_write_file(fs, name, text, strlen(text), 0644, &f->err));
	dir = openat(fs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok(f, layer_freeze(dir, NULL, &frozen, &f->err));
	ok(f, snap_commit(f->rt.snap, info.id, NULL, frozen.flags, &f->err));
	return info.id;
}

int64_t new_layer(struct fix *f, int64_t parent, const char *name, const char *text)
{
	int64_t id = new_snapshot(f, parent, name, text);

	ok(f, image_layer_hash(&f->rt, id, &f->err));
	return id;
}

void new_image(struct fix *f, int64_t snapshot, const char *author, const char *tag,
	       char ret_id[DIGEST_STR_MAX])
{
	auto_image_config struct image_config *c = image_config_new();
	auto_strv struct strv tags = { 0 };

	c->author = mem_str(author);
	c->created_s = 1700000000;
	if (tag)
		strv_add(&tags, tag);
	ok(f, image_write(&f->rt, c, snapshot, &tags, ret_id, &f->err));
}

void new_step(struct fix *f, const char *id, int64_t snapshot)
{
	ok(f,
	   db_run(f->rt.db,
		  "INSERT INTO steps(id,snapshot,instruction,config,ingredients,created,used,boot)"
		  " VALUES(?1,nullif(?2,0),'RUN x','{\"os\":\"linux\"}','',1,1,'b')",
		  DB_ARGS(DB_T(id), DB_I(snapshot)), &f->err));
}

void new_container(struct fix *f, const char *id, const char *image, int64_t snapshot)
{
	ok(f, db_run(f->rt.db,
		     "INSERT INTO containers(id,name,image,snapshot,state,created_ns,spec)"
		     " VALUES(?1,'web',?2,nullif(?3,0),3,1,'{}')",
		     DB_ARGS(DB_T(id), DB_T(image), DB_I(snapshot)), &f->err));
}

int64_t count(struct fix *f, const char *sql)
{
	int64_t n = -1;

	ok(f, db_get_int(f->rt.db, sql, NULL, &n, &f->err));
	return n;
}

uint64_t disk_use(struct fix *f)
{
	static const char *const dirs[] = { "snap", "trash", "blobs" };
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		struct err ignored = { 0 };
		uint64_t bytes = 0;

		fs_usage(f->rt.root_fd, dirs[i], &bytes, NULL, &ignored);
		sum += bytes;
	}
	return sum;
}

size_t files_in(struct fix *f, const char *dir)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };

	fs_list(f->rt.root_fd, dir, &names, &ignored);
	return names.n;
}

void has(struct fix *f, int64_t snapshot, const char *path, const char *text)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_free char *have = NULL;
	auto_fd int fd = -1;
	size_t len;

	ok(f, snap_mount(f->rt.snap, snapshot, SNAP_RDONLY, &m, &f->err));
	fd = ok(f, path_open_in(m.root_fd, path, O_RDONLY | O_CLOEXEC, 0, &f->err));
	ok(f, fd_read_all(fd, 1 << 20, &have, &len, &f->err));
	assert_string_equal(have, text);
}

int main(void)
{
	int failed = 0;

	failed += _cmocka_run_group_tests("image references and configs", ref_tests, ref_tests_n,
					  NULL, NULL);
	failed += _cmocka_run_group_tests("image rows", store_tests, store_tests_n, NULL, NULL);
	failed += _cmocka_run_group_tests("image archives", archive_tests, archive_tests_n, NULL,
					  NULL);
	return failed ? 1 : 0;
}
