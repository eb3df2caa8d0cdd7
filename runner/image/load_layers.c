/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of an image that is loaded: unpacked side by side, each in one pass that takes its
 * digest and its DiffID, then put upon each other and published in order, as pull does. Needs
 * libcrypto.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { COPY_BYTES = 256 << 10, TICK_MS = 100 };

struct landing {
	const struct image_load *ld;
	const struct image_loaded *from;
	struct image_load_file *file;
	struct image_fetch *fetch;
	int done_fd;     /* counts finished workers; -1 */
	size_t n, first; /* first: of those that are not here yet */
	int64_t snapshot;
};

static void landing_free(struct landing *l)
{
	struct err ignored;

	for (size_t i = 0; i < l->n; i++)
		image_fetch_join(&l->fetch[i]);
	for (size_t i = 0; i < l->n; i++) {
		struct image_fetch *f = &l->fetch[i];

		image_fetch_close(f);
		image_load_file_close(&l->file[i]);
		if (f->snapshot && !f->is_published)
			image_release(l->ld->rt, f->snapshot, &ignored);
	}
	free(l->fetch);
	free(l->file);
	fd_close(&l->done_fd);
}

static void tell(const struct landing *l, size_t i, enum image_transfer_event_kind kind,
		 const char *text)
{
	const struct image_fetch *f = &l->fetch[i];
	/* What was passed over was not read. */
	uint64_t done = text ? f->range.len : f->done_bytes;

	image_watch_tell(&l->ld->watch, kind, digest_str(&f->diff_id), done, f->range.len, text);
}

/* DiffIDs, and which layers are here: of a chain all beneath the topmost that is found. */
static int find_present(struct landing *l, const struct image_config *c, struct err *err)
{
	struct digest chain = { { 0 } }, below;

	for (size_t i = 0; i < l->n; i++) {
		struct image_fetch *f = &l->fetch[i];
		int64_t there;
		int rc = digest_parse(c->diff_ids.v[i], &f->diff_id, err);

		if (rc < 0)
			return rc;
		below = chain;
		hash_chain(i ? &below : NULL, &f->diff_id, &chain);
		there = image_layer_find(l->ld->rt, &chain);
		if (!there)
			continue;
		l->snapshot = there;
		l->first = i + 1;
	}
	for (size_t i = 0; i < l->first; i++)
		tell(l, i, IMAGE_TRANSFER_EXISTS, "Already exists");
	return 0;
}

static int start(struct landing *l, size_t i, struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE };
	struct image_fetch *f = &l->fetch[i];
	struct snap_info info;
	int rc = image_load_open(l->ld, l->from->layers[i].path, &l->file[i], err);

	if (rc >= 0)
		rc = snap_prepare(l->ld->rt->snap, &fresh, &info, err);
	if (rc < 0)
		return rc;
	f->snapshot = info.id;
	f->is_local = true;
	f->max_bytes = l->ld->rt->max_layer_bytes;
	f->part_fd = l->file[i].fd;
	f->range = l->file[i].at;
	f->range.with_digest = true;
	f->has_range = true;
	rc = image_fs_open(l->ld->rt, info.id, &f->fs_fd, err);
	if (rc >= 0)
		rc = image_fetch_start(f, err);
	if (rc >= 0)
		tell(l, i, IMAGE_TRANSFER_BEGIN, NULL);
	return rc;
}

/* Until that one is finished; what all of them have read is told meanwhile. */
static void watch(struct landing *l, size_t i)
{
	while (l->done_fd >= 0 && !l->fetch[i].is_finished) {
		struct pollfd p = { .fd = l->done_fd, .events = POLLIN };
		uint64_t n;

		poll(&p, 1, TICK_MS);
		if (p.revents && read(l->done_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			return;
		for (size_t k = i; k < l->n; k++)
			if (l->fetch[k].is_started && !l->fetch[k].is_published)
				tell(l, k, IMAGE_TRANSFER_PROGRESS, NULL);
	}
}

int image_load_keep(const struct image_load *ld, const struct image_load_file *file,
		    const struct digest *want, struct err *err)
{
	auto_blob struct blob *b = NULL;
	auto_free char *buf = mem_alloc(COPY_BYTES);
	int rc = store_blob_new(ld->rt->store, &b, err);

	for (uint64_t at = 0; rc >= 0 && at < file->at.len;) {
		uint64_t left = file->at.len - at;
		size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
		ssize_t got = fd_pread_full(file->fd, buf, n, (off_t)(file->at.at + at), err);

		if (got <= 0)
			return got < 0 ? (int)got : err_set(err, EBADMSG, "it has become shorter");
		rc = store_blob_sink(b)->write(store_blob_sink(b), buf, (size_t)got, err);
		at += (uint64_t)got;
	}
	if (rc >= 0)
		rc = store_blob_commit(b, want, NULL, err);
	fault_point("image.load.blob");
	return rc;
}

struct kept {
	bool is_foreign; /* our stream of it would be another */
	bool has_type;   /* it is compressed in a form that images have */
	struct image_layer_blob blob;
};

static int keep_if_needed(struct landing *l, size_t i, const struct layer_info *ours,
			  struct kept *ret, struct err *err)
{
	const struct image_fetch *f = &l->fetch[i];
	const char *type = NULL;
	int rc = image_blob_codec(l->file[i].fd, l->file[i].at.at, &type, err);

	*ret = (struct kept){ .is_foreign = !ours->is_same,
			      .has_type = rc > 0 && type,
			      .blob = { .digest = f->stream.blob, .size = l->file[i].at.len } };
	snprintf(ret->blob.media_type, sizeof(ret->blob.media_type), "%s", type ? type : "");
	if (rc >= 0 && (ret->is_foreign || ret->has_type))
		rc = image_load_keep(l->ld, &l->file[i], &ret->blob.digest, err);
	if (rc >= 0 && ret->is_foreign)
		rc = image_origin_set(l->ld->rt, f->snapshot, &ret->blob.digest, err);
	return rc < 0 ? rc : 0;
}

/* Under the lock under which a removal takes a blob away that no row names: is it still there? */
static int put_rows(struct landing *l, struct image_fetch *f, const struct layer_info *ours,
		    const struct kept *k, struct err *err)
{
	struct runtime *rt = l->ld->rt;
	struct layer_info info = *ours;
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);

	info.diff_id = f->diff_id;
	info.tar_bytes = f->stream.tar_bytes;
	if (rc >= 0 && (k->is_foreign || k->has_type) &&
	    !store_blob_exists(rt->store, &k->blob.digest))
		rc = err_set(err, EAGAIN, "its blob was removed meanwhile: load again");
	if (rc >= 0)
		rc = image_layer_store(rt, f->snapshot, &info, err);
	if (rc >= 0 && k->has_type)
		rc = image_layer_blob_put(rt, digest_str(&f->diff_id), &k->blob, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* Damaged bytes unpack badly: their digest explains it, where it is told. */
static int settle(struct landing *l, size_t i, struct err *err)
{
	const struct digest *want = &l->from->layers[i].blob;
	struct image_fetch *f = &l->fetch[i];

	watch(l, i);
	image_fetch_join(f);
	if (f->err.code) {
		*err = f->err;
		return -err->code;
	}
	if (!digest_is_zero(want) && !digest_eq(want, &f->stream.blob))
		return err_set(err, EBADMSG, "the blob is %s", digest_str(&f->stream.blob));
	fault_point("image.load.applied");
	return 0;
}

static int publish(struct landing *l, size_t i, struct err *err)
{
	struct image_fetch *f = &l->fetch[i];
	struct layer_info ours = { 0 };
	struct kept k;
	int rc = settle(l, i, err);

	if (rc >= 0)
		rc = image_fetch_put_upon(l->ld->rt, f, l->snapshot, &ours, err);
	if (rc >= 0)
		rc = keep_if_needed(l, i, &ours, &k, err);
	if (rc >= 0)
		rc = put_rows(l, f, &ours, &k, err);
	if (rc < 0)
		return rc;
	f->is_published = true;
	l->snapshot = f->snapshot;
	tell(l, i, IMAGE_TRANSFER_DONE, "Loaded");
	image_load_file_close(&l->file[i]);
	return 0;
}

/* Some go ahead of the one that is next. */
static int land(struct landing *l, const struct image_config *c, size_t *at, struct err *err)
{
	size_t started = l->first, ahead = (size_t)image_fetch_at_once();
	int rc = 0;

	for (size_t i = l->first; rc >= 0 && i < l->n; i++) {
		for (; rc >= 0 && started < l->n && started < i + ahead; started++) {
			*at = started;
			rc = start(l, started, err);
		}
		if (rc >= 0 && l->ld->interrupted && *l->ld->interrupted)
			rc = err_set(err, EINTR, "interrupted");
		if (rc < 0)
			break;
		*at = i;
		rc = publish(l, i, err);
	}
	return rc < 0 ? err_ctx(err, "layer %zu of %zu, %.19s", *at + 1, l->n, c->diff_ids.v[*at])
		      : 0;
}

int image_load_layers(const struct image_load *ld, const struct image_loaded *from,
		      const struct image_config *c, int64_t *snapshot, struct err *err)
{
	cleanup(landing_free) struct landing l = {
		.ld = ld, .from = from, .n = from->n, .done_fd = -1
	};
	size_t at = 0;
	int rc;

	l.fetch = mem_array(l.n + 1, sizeof(*l.fetch));
	l.file = mem_array(l.n + 1, sizeof(*l.file));
	if (ld->watch.event)
		l.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (size_t i = 0; i < l.n; i++) {
		image_fetch_init(&l.fetch[i], l.done_fd);
		l.file[i].fd = -1;
	}
	rc = find_present(&l, c, err);
	if (rc >= 0)
		rc = land(&l, c, &at, err);
	*snapshot = l.snapshot;
	return rc;
}
