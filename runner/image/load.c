/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker load. The outer archive is unpacked into a directory of our own, beneath which its files
 * are then opened: names in a manifest cannot lead out of it. A layer is applied, its DiffID
 * compared with the config's; the config is stored byte for byte, so the image keeps its ID. Needs
 * libcrypto.
 */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/scratch.h>
#include <shale/base/undo.h>
#include <shale/layer.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

void image_loaded_free(struct image_loaded *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->layers[i].path);
	free(l->layers);
	free(l->config);
	strv_free(&l->tags);
	*l = (struct image_loaded){ 0 };
}

void image_loaded_add_layer(struct image_loaded *l, const char *path, const struct digest *blob)
{
	struct image_loaded_layer *fresh;

	mem_room(l->layers, l->n, l->cap);
	fresh = &l->layers[l->n++];
	*fresh = (struct image_loaded_layer){ .path = mem_str(path) };
	if (blob)
		fresh->blob = *blob;
}

int image_load_open(const struct image_load *ld, const char *path, struct err *err)
{
	/* O_NONBLOCK: a fifo in the archive must not hold us. */
	auto_fd int fd =
		path_open_beneath(ld->dir_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %.200s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EBADMSG, "%.200s is no regular file", path);
	return fd_take(&fd);
}

int image_load_text(const struct image_load *ld, const char *path, char **ret, size_t *ret_len,
		    struct err *err)
{
	auto_fd int fd = image_load_open(ld, path, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = fd_read_all(fd, JSON_BYTES_MAX, ret, ret_len, err);
	return rc < 0 ? err_ctx(err, "%.200s", path) : 0;
}

/* --- one layer --- */

struct unpacked {
	struct image_made made;   /* its snapshot */
	struct layer_info stream; /* of the archive's bytes */
	struct layer_info frozen;
	struct layer_info ours;
};

static int apply(struct runtime *rt, int64_t snapshot, int64_t parent, int tar_fd,
		 struct unpacked *u, struct err *err)
{
	auto_snap_mount struct snap_mount below = SNAP_MOUNT_INIT;
	struct layer_apply_opts o = { .foreign = true,
				      .max_bytes = rt->max_layer_bytes,
				      .parent_fd = -1 };
	auto_fd int fs = -1;
	int rc;

	rc = image_fs_open(rt, snapshot, &fs, err);
	if (rc >= 0 && parent)
		rc = snap_mount(rt->snap, parent, SNAP_RDONLY, &below, err);
	if (rc < 0)
		return rc;
	o.parent_fd = below.root_fd;
	rc = layer_apply(tar_fd, fs, &o, &u->stream, err);
	return rc < 0 ? rc : layer_freeze(fs, NULL, &u->frozen, err);
}

/* The file as a blob, by which save can give back what was loaded. */
static int keep_origin(struct runtime *rt, int64_t snapshot, int fd, const struct digest *want,
		       struct err *err)
{
	auto_blob struct blob *b = NULL;
	auto_free char *buf = mem_alloc(256 << 10);
	struct digest d;
	ssize_t n = 0;
	int rc;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	rc = store_blob_new(rt->store, &b, err);
	while (rc >= 0 && (n = fd_read_full(fd, buf, 256 << 10, err)) > 0)
		rc = store_blob_sink(b)->write(store_blob_sink(b), buf, (size_t)n, err);
	if (rc < 0 || n < 0)
		return -err->code;
	rc = store_blob_commit(b, digest_is_zero(want) ? NULL : want, &d, err);
	fault_point("image.load.blob");
	return rc < 0 ? rc : image_origin_set(rt, snapshot, &d, err);
}

static int check_blob(int fd, const struct digest *want, struct err *err)
{
	struct digest have;
	int rc;

	if (digest_is_zero(want))
		return 0;
	rc = hash_fd(fd, &have, err);
	if (rc < 0)
		return rc;
	if (!digest_eq(&have, want))
		return err_set(err, EBADMSG, "the blob is %s", digest_str(&have));
	return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(err, "rewind") : 0;
}

/* Under the lock under which a removal takes a blob away that no row names: is it still there? */
static int store_row(struct runtime *rt, const struct unpacked *u, bool has_origin, struct err *err)
{
	struct layer_info info = u->ours;
	auto_db_tx struct db *tx = NULL;
	struct digest blob;
	int rc;

	info.diff_id = u->stream.diff_id;
	info.tar_bytes = u->stream.tar_bytes;
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0 && has_origin)
		rc = image_origin_get(rt, u->made.snapshot, &blob, err);
	if (rc >= 0 && has_origin && !store_blob_exists(rt->store, &blob))
		rc = err_set(err, EAGAIN, "its blob was removed meanwhile: load again");
	if (rc >= 0)
		rc = image_layer_store(rt, u->made.snapshot, &info, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* The snapshot's content, whose DiffID must be what the config says; then it is committed, and read
 * as we would write it. */
static int fill(struct runtime *rt, struct unpacked *u, int64_t parent, int fd,
		const struct digest *want, struct err *err)
{
	int rc = apply(rt, u->made.snapshot, parent, fd, u, err);

	if (rc < 0)
		return rc;
	if (!digest_eq(&u->stream.diff_id, want))
		return err_set(err, EBADMSG, "its content is %s", digest_str(&u->stream.diff_id));
	fault_point("image.load.applied");
	rc = snap_commit(rt->snap, u->made.snapshot, NULL, u->frozen.flags, err);
	if (rc < 0)
		return rc;
	return image_layer_diff(rt, u->made.snapshot,
				&(struct image_diff_opts){ .with_table = true }, &u->ours, err);
}

/* *snapshot is the parent, then the new layer; what was made is undone by the caller through it. */
static int unpack(const struct image_load *ld, const struct image_loaded_layer *l,
		  const struct digest *want, int64_t *snapshot, struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE, .parent = *snapshot };
	struct unpacked u = { .made.rt = ld->rt };
	auto_fd int fd = image_load_open(ld, l->path, err);
	struct snap_info info;
	bool is_foreign;
	int rc;

	rc = fd < 0 ? fd : check_blob(fd, &l->blob, err);
	if (rc >= 0)
		rc = snap_prepare(ld->rt->snap, &fresh, &info, err);
	if (rc < 0)
		return rc;
	u.made.snapshot = *snapshot = info.id;
	rc = fill(ld->rt, &u, info.parent, fd, want, err);
	if (rc < 0)
		return rc;
	is_foreign = !digest_eq(&u.ours.diff_id, want);
	if (is_foreign)
		rc = keep_origin(ld->rt, info.id, fd, &l->blob, err);
	return rc < 0 ? rc : store_row(ld->rt, &u, is_foreign, err);
}

/* --- one image --- */

static int load_layers(const struct image_load *ld, const struct image_loaded *l,
		       const struct image_config *c, int64_t *snapshot, struct err *err)
{
	struct digest chain = { { 0 } }, parent;
	int rc;

	if (c->diff_ids.n != l->n)
		return err_set(err, EBADMSG, "%zu layers, but the config names %zu", l->n,
			       c->diff_ids.n);
	for (size_t i = 0; i < l->n; i++) {
		struct digest want;
		int64_t there;

		rc = digest_parse(c->diff_ids.v[i], &want, err);
		if (rc < 0)
			return rc;
		parent = chain;
		hash_chain(i ? &parent : NULL, &want, &chain);
		there = image_layer_find(ld->rt, &chain);
		if (there) {
			*snapshot = there;
			continue;
		}
		rc = unpack(ld, &l->layers[i], &want, snapshot, err);
		if (rc < 0)
			return err_ctx(err, "layer %zu of %zu, %.19s", i + 1, l->n,
				       c->diff_ids.v[i]);
	}
	return 0;
}

static int put_image(const struct image_load *ld, const struct image_loaded *l,
		     const struct image_config *c, int64_t snapshot, char id[DIGEST_STR_MAX],
		     struct err *err)
{
	struct image_new n = { .text = l->config,
			       .len = l->config_len,
			       .snapshot = snapshot,
			       .created_s = c->created_s,
			       .tags = &l->tags };
	auto_free struct image_layer *layers = NULL;
	size_t count = 0;
	int rc;

	rc = image_layers(ld->rt, snapshot, &layers, &count, err);
	for (size_t i = 0; rc >= 0 && i < count; i++)
		n.size_bytes += layers[i].size_bytes;
	return rc < 0 ? rc : image_put(ld->rt, &n, id, err);
}

int image_load_one(const struct image_load *ld, const struct image_loaded *l, struct err *err)
{
	struct image_made made = { .rt = ld->rt };
	auto_undo struct undo undo = { 0 };
	auto_image_config struct image_config *c = NULL;
	char id[DIGEST_STR_MAX];
	int rc;

	rc = image_config_parse(l->config, l->config_len, &c, err);
	if (rc < 0)
		return rc;
	undo_push(&undo, image_undo_snapshot, &made);
	rc = load_layers(ld, l, c, &made.snapshot, err);
	if (rc >= 0)
		rc = put_image(ld, l, c, made.snapshot, id, err);
	fault_point("image.load.image");
	if (rc < 0)
		return rc;
	undo_done(&undo);
	for (size_t i = 0; i < l->tags.n; i++) {
		auto_free char *name = image_ref_familiar(l->tags.v[i]);

		strv_addf(ld->lines, "Loaded image: %s", name);
	}
	if (!l->tags.n)
		strv_addf(ld->lines, "Loaded image ID: %s", id);
	return 0;
}

/* --- the archive --- */

static bool has_file(const struct image_load *ld, const char *name)
{
	struct err ignored = { 0 };
	auto_fd int fd = image_load_open(ld, name, &ignored);

	return fd >= 0;
}

/* Docker's archives of today are both: the manifest has the names as users know them. */
static int load_dir(const struct image_load *ld, struct err *err)
{
	if (has_file(ld, "manifest.json"))
		return image_load_docker(ld, err);
	if (has_file(ld, "index.json"))
		return image_load_oci(ld, err);
	return err_set(
		err, EINVAL,
		"no image archive: neither manifest.json nor index.json is in it (a root file system? import reads these)");
}

static int load_tar(struct image_load *ld, int tar_fd, struct err *err)
{
	struct layer_apply_opts o = { .foreign = true, .rootfs = true, .parent_fd = -1 };
	auto_scratch struct scratch s = SCRATCH_INIT;
	int rc = scratch_open(ld->rt->root_fd, &s, err);

	if (rc >= 0)
		rc = layer_apply(tar_fd, s.fd, &o, NULL, err);
	fault_point("image.load.unpacked");
	if (rc < 0)
		return rc;
	ld->dir_fd = s.fd;
	return load_dir(ld, err);
}

int image_load(struct runtime *rt, int in_fd, struct strv *ret_lines, struct err *err)
{
	struct image_load ld = { .rt = rt, .dir_fd = in_fd, .lines = ret_lines };
	auto_fd int lease = -1;
	struct stat st;
	int rc;

	if (fstat(in_fd, &st) < 0)
		return err_sys(err, "stat input");
	lease = image_lease(rt, err);
	if (lease < 0)
		return lease;
	rc = S_ISDIR(st.st_mode) ? load_dir(&ld, err) : load_tar(&ld, in_fd, err);
	return rc < 0 ? err_ctx(err, "load") : 0;
}
