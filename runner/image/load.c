/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker load. A file is read in place, by an index of its names; what comes compressed or through
 * a pipe is unpacked into a directory of our own first, beneath which its files are then opened:
 * names in a manifest cannot lead out of either. The config is stored byte for byte, so the image
 * keeps its ID. Needs libcrypto.
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
#include "remote.h"

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

void image_load_file_close(struct image_load_file *f)
{
	if (!f->is_part)
		fd_close(&f->fd);
	f->fd = -1;
}

int image_load_open(const struct image_load *ld, const char *path, struct image_load_file *ret,
		    struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;

	if (ld->index) {
		ret->fd = ld->tar_fd;
		ret->is_part = true;
		return layer_index_find(ld->index, path, &ret->at, err);
	}
	/* O_NONBLOCK: a fifo in the archive must not hold us. */
	fd = path_open_beneath(ld->dir_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, err);
	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %.200s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EBADMSG, "%.200s is no regular file", path);
	*ret = (struct image_load_file){ .fd = fd_take(&fd), .at.len = (uint64_t)st.st_size };
	return 0;
}

int image_load_text(const struct image_load *ld, const char *path, char **ret, size_t *ret_len,
		    struct err *err)
{
	cleanup(image_load_file_close) struct image_load_file f = { .fd = -1 };
	auto_free char *text = NULL;
	ssize_t n;
	int rc = image_load_open(ld, path, &f, err);

	if (rc < 0)
		return rc;
	if (f.at.len > JSON_BYTES_MAX)
		return err_set(err, EFBIG, "%.200s: larger than %d bytes", path, JSON_BYTES_MAX);
	text = mem_alloc((size_t)f.at.len + 1);
	n = fd_pread_full(f.fd, text, (size_t)f.at.len, (off_t)f.at.at, err);
	if (n < 0)
		return err_ctx(err, "%.200s", path);
	*ret = take(text);
	*ret_len = (size_t)n;
	return 0;
}

/* --- one image --- */

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

/* Is it for the platform that is asked for? 1, or 0. */
static int is_wanted(const struct image_load *ld, const struct image_config *c, struct err *err)
{
	struct image_platform want = { 0 };
	bool fits;
	int rc = ld->platform ? image_platform_parse(ld->platform, &want, err) : 1;

	if (rc)
		return rc;
	fits = image_platform_fits(&want, c->os, c->architecture, c->variant);
	image_platform_free(&want);
	if (!fits)
		strv_addf(ld->passed, "%.20s/%.20s%s%.20s", c->os, c->architecture,
			  c->variant ? "/" : "", c->variant ? c->variant : "");
	return fits;
}

int image_load_one(const struct image_load *ld, struct image_loaded *l, struct err *err)
{
	struct image_made made = { .rt = ld->rt };
	auto_undo struct undo undo = { 0 };
	auto_image_config struct image_config *c = NULL;
	int rc;

	rc = image_config_parse(l->config, l->config_len, &c, err);
	if (rc >= 0)
		rc = is_wanted(ld, c, err);
	if (rc <= 0)
		return rc;
	undo_push(&undo, image_undo_snapshot, &made);
	if (c->diff_ids.n != l->n)
		rc = err_set(err, EBADMSG, "%zu layers, but the config names %zu", l->n,
			     c->diff_ids.n);
	if (rc >= 0)
		rc = image_load_layers(ld, l, c, &made.snapshot, err);
	if (rc >= 0)
		rc = put_image(ld, l, c, made.snapshot, l->id, err);
	fault_point("image.load.image");
	if (rc < 0)
		return rc;
	undo_done(&undo);
	if (ld->id)
		memcpy(ld->id, l->id, DIGEST_STR_MAX);
	image_event(ld->rt, "load", l->id, l->tags.n ? l->tags.v[0] : NULL);
	for (size_t i = 0; i < l->tags.n; i++) {
		auto_free char *name = image_ref_familiar(l->tags.v[i]);

		strv_addf(ld->lines, "Loaded image: %s", name);
	}
	if (!l->tags.n)
		strv_addf(ld->lines, "Loaded image ID: %s", l->id);
	return 0;
}

/* --- the archive --- */

static bool has_file(const struct image_load *ld, const char *name)
{
	cleanup(image_load_file_close) struct image_load_file f = { .fd = -1 };
	struct err ignored = { 0 };

	return image_load_open(ld, name, &f, &ignored) >= 0;
}

/* Docker's archives of today are both: the manifest has the names as users know them, the index
 * other platforms. */
static int load_dir(const struct image_load *ld, struct err *err)
{
	bool is_many = ld->platform || ld->all_platforms;

	if (is_many && has_file(ld, "index.json"))
		return image_load_oci(ld, err);
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

/* A file that is not compressed is read where it is; else it is unpacked first: 1, or 0. */
static int load_in_place(struct image_load *ld, int tar_fd, uint64_t size, struct err *err)
{
	cleanup(layer_index_cleanup) struct layer_index *ix = NULL;
	int rc = layer_index_new(tar_fd, size, &ix, err);

	if (rc == -ENOTSUP) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return rc;
	ld->tar_fd = tar_fd;
	ld->index = ix;
	rc = load_dir(ld, err);
	ld->index = NULL;
	return rc < 0 ? rc : 1;
}

void image_watch_tell(const struct image_watch *w, enum image_transfer_event_kind kind,
		      const char *id, uint64_t done, uint64_t total, const char *text)
{
	struct image_transfer_event e = {
		.kind = kind, .text = text, .done_bytes = done, .total_bytes = total
	};
	char digits[13];

	if (!w->event)
		return;
	snprintf(digits, sizeof(digits), "%.12s",
		 str_starts(id, "sha256:") ? id + strlen("sha256:") : id);
	e.id = digits;
	w->event(&e, w->arg);
}

static int none_fits(const struct image_load *ld, struct err *err)
{
	auto_free char *want = NULL;
	auto_str struct str have = { 0 };

	if (image_platform_text(ld->platform, &want, err) < 0)
		return -err->code;
	for (size_t i = 0; i < ld->passed->n && have.len < 300; i++)
		str_addf(&have, "%s%s", i ? ", " : "", ld->passed->v[i]);
	err_set(err, ENOENT, "no image for %s in it", want);
	return err_hint(err, "there are %s", str_get(&have));
}

int image_load(struct runtime *rt, int in_fd, const struct image_load_opts *o,
	       struct strv *ret_lines, struct err *err)
{
	auto_strv struct strv passed = { 0 };
	struct image_load ld = { .rt = rt, .dir_fd = in_fd, .lines = ret_lines, .passed = &passed };
	auto_fd int lease = -1;
	struct stat st;
	int rc;

	if (o) {
		ld.watch = o->watch;
		ld.platform = o->platform;
		ld.all_platforms = o->all_platforms;
	}
	if (fstat(in_fd, &st) < 0)
		return err_sys(err, "stat input");
	lease = image_lease(rt, err);
	if (lease < 0)
		return lease;
	if (S_ISDIR(st.st_mode)) {
		rc = load_dir(&ld, err);
	} else {
		bool is_file = S_ISREG(st.st_mode) && lseek(in_fd, 0, SEEK_CUR) == 0;

		rc = is_file ? load_in_place(&ld, in_fd, (uint64_t)st.st_size, err) : 0;
		if (rc == 0)
			rc = load_tar(&ld, in_fd, err);
	}
	if (rc >= 0 && !ret_lines->n && passed.n)
		rc = none_fits(&ld, err);
	return rc < 0 ? err_ctx(err, "load") : 0;
}
