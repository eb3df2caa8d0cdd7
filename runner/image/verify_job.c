/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thing to verify. Opened by the main thread, which alone uses the database; run by any thread,
 * which touches nothing but the job.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/layer.h>
#include <shale/store.h>

#include "priv.h"

enum { FAULTS_MAX = 10000 };

struct image_job *image_job_new(enum image_damaged_kind kind)
{
	struct image_job *j = mem_alloc(sizeof(*j));

	j->kind = kind;
	j->fs_fd = j->dir_fd = -1;
	j->merged = j->below = (struct snap_mount)SNAP_MOUNT_INIT;
	return j;
}

void image_damaged_free(struct image_damaged *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->faults[i].path);
		free(d->faults[i].what);
	}
	free(d->faults);
	free(d->advice);
	strv_free(&d->used_by);
	*d = (struct image_damaged){ 0 };
}

static void close_fds(struct image_job *j)
{
	snap_mount_close(&j->merged);
	snap_mount_close(&j->below);
	fd_close(&j->fs_fd);
	fd_close(&j->dir_fd);
}

void image_job_free(struct image_job *j)
{
	if (!j)
		return;
	close_fds(j);
	image_damaged_free(&j->found);
	free(j);
}

void image_fault_add(struct image_damaged *d, const char *path, const char *what)
{
	if (d->n == FAULTS_MAX) {
		d->more++;
		return;
	}
	mem_room(d->faults, d->n, d->cap);
	d->faults[d->n++] = (struct image_fault){
		.path = path ? mem_fmt("/%s", path) : NULL,
		.what = mem_str(what),
	};
}

static int open_blob(struct runtime *rt, struct image_job *j, struct err *err)
{
	struct digest d;
	int rc = digest_parse(j->id, &d, err);

	return rc < 0 ? rc : store_blob_open(rt->store, &d, &j->dir_fd, err);
}

static int open_layer(struct runtime *rt, struct image_job *j, struct err *err)
{
	auto_fd int path = -1;
	struct digest origin;
	int rc = snap_dir_fd(rt->snap, j->snapshot, &path, err);

	if (rc >= 0)
		rc = image_fs_open(rt, j->snapshot, &j->fs_fd, err);
	if (rc < 0)
		return rc;
	j->dir_fd = openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->dir_fd < 0)
		return err_sys(err, "open snap/%" PRId64, j->snapshot);
	rc = image_origin_get(rt, j->snapshot, &origin, err);
	j->is_foreign = rc > 0;
	if (rc >= 0 && j->parent)
		rc = snap_mount(rt->snap, j->snapshot, SNAP_RDONLY, &j->merged, err);
	if (rc >= 0 && j->parent)
		rc = snap_mount(rt->snap, j->parent, SNAP_RDONLY, &j->below, err);
	return rc;
}

int image_job_open(struct runtime *rt, struct image_job *j, struct err *err)
{
	return j->kind == IMAGE_DAMAGED_LAYER ? open_layer(rt, j, err) : open_blob(rt, j, err);
}

static void run_blob(struct image_job *j)
{
	struct err err = { 0 };
	struct digest have;
	struct stat st;

	if (fstat(j->dir_fd, &st) == 0)
		j->bytes = (uint64_t)st.st_size;
	if (hash_fd(j->dir_fd, &have, &err) < 0) {
		image_fault_add(&j->found, NULL, err.msg);
	} else if (strcmp(digest_str(&have), j->id) != 0) {
		auto_free char *what = mem_fmt("content is %.19s", digest_str(&have));

		image_fault_add(&j->found, NULL, what);
	}
}

static int on_fault(const struct layer_fault *f, void *arg, struct err *err)
{
	struct image_job *j = arg;

	(void)err;
	image_fault_add(&j->found, f->path, f->text);
	return 0;
}

/* The DiffID is the proof, the table tells where. */
static void judge(struct image_job *j, const struct layer_check *c)
{
	bool has_proof = j->id[0] && !j->is_foreign;
	bool is_right = has_proof && !strcmp(digest_str(&c->info.diff_id), j->id);
	bool has_table = c->table.code == 0;
	auto_free char *what = NULL;

	/* A step whose hash was not computed yet has neither. */
	if (!j->id[0] && c->table.code == ENOENT)
		return;
	if (is_right && j->found.n) {
		image_damaged_free(&j->found);
		j->found.is_table = true;
		image_fault_add(&j->found, NULL, "file table is not of this content");
	} else if (!has_table) {
		what = mem_fmt("file table %s",
			       c->table.code == ENOENT ? "is missing" : "is damaged");
		j->found.is_table = is_right;
		image_fault_add(&j->found, NULL, what);
	}
	if (has_proof && !is_right && (!j->found.n || !has_table)) {
		auto_free char *content = mem_fmt("content is %.19s", digest_str(&c->info.diff_id));

		image_fault_add(&j->found, NULL, content);
	}
}

static void run_layer(struct image_job *j)
{
	struct layer_source src = { j->fs_fd, j->merged.root_fd, j->below.root_fd };
	struct layer_check check = { 0 };
	struct err err = { 0 };

	if (layer_verify(&src, j->dir_fd, on_fault, j, &check, &err) < 0) {
		image_fault_add(&j->found, NULL, err.msg);
		return;
	}
	j->bytes = check.info.tar_bytes;
	judge(j, &check);
}

void image_job_run(struct image_job *j)
{
	if (j->kind == IMAGE_DAMAGED_LAYER)
		run_layer(j);
	else
		run_blob(j);
	close_fds(j);
}
