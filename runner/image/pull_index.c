/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull --all-platforms: everything that an index names comes into the store as blobs, attestations
 * too, so that a push can give the same index back. Nothing of it is unpacked. Needs libcrypto.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { AT_ONCE = 4, TICK_MS = 100 };

struct keep {
	struct runtime *rt;
	struct image_remote *remote;
	const struct image_pull_opts *o;
	struct image_descriptor *desc; /* what is not here yet */
	struct image_fetch *fetch;
	size_t n, cap, first; /* first: all before are published */
	int done_fd;
};

static void keep_free(struct keep *k)
{
	for (size_t i = 0; k->fetch && i < k->n; i++) {
		struct image_fetch *f = &k->fetch[i];

		f->stop = true;
		fd_close(&f->net_fd);
		image_fetch_join(f);
		fd_close(&f->part_fd);
		image_fetch_close(f);
	}
	for (size_t i = 0; i < k->n; i++)
		free(k->desc[i].media_type);
	free(k->desc);
	free(k->fetch);
	fd_close(&k->done_fd);
}

static void emit(const struct keep *k, enum image_transfer_event_kind kind,
		 const struct image_fetch *f, const char *text)
{
	struct image_transfer_event e = { .kind = kind, .text = text };
	char id[13];

	if (!k->o->event)
		return;
	snprintf(id, sizeof(id), "%.12s", digest_hex(&f->desc->digest));
	e.id = id;
	e.done_bytes = f->done_bytes;
	e.total_bytes = f->desc->size;
	k->o->event(&e, k->o->arg);
}

/* --- what it names --- */

static int want_blob(void *arg, const struct image_descriptor *d, struct err *err)
{
	struct keep *k = arg;

	(void)err;
	mem_room(k->desc, k->n, k->cap);
	k->desc[k->n++] = (struct image_descriptor){ .digest = d->digest,
						     .size = d->size,
						     .media_type = mem_str(d->media_type) };
	return 0;
}

static int read_doc(void *arg, const struct image_descriptor *d, struct image_document *ret,
		    struct err *err)
{
	struct keep *k = arg;

	return image_document_load(k->rt, &d->digest, d->media_type, ret)
		       ? 0
		       : image_remote_manifest(k->remote, digest_str(&d->digest), ret, err);
}

/* --- fetching it --- */

static int start(struct keep *k, struct image_fetch *f, struct err *err)
{
	int rc = image_fetch_part(k->rt, f, err);

	if (rc >= 0)
		rc = image_fetch_ask(f, k->remote, err);
	if (rc >= 0)
		rc = image_fetch_start(f, err);
	if (rc >= 0)
		emit(k, IMAGE_TRANSFER_BEGIN, f, NULL);
	return rc;
}

static int finish(struct keep *k, struct image_fetch *f, struct err *err)
{
	int rc = image_fetch_settle(k->rt, f, k->remote, err);

	fault_point("image.index.blob");
	if (rc >= 0)
		rc = image_fetch_part_keep(k->rt, f, err);
	if (rc < 0)
		return rc;
	fd_close(&f->part_fd);
	f->is_published = true;
	emit(k, IMAGE_TRANSFER_DONE, f, "Download complete");
	return 0;
}

/* 1 while some are on their way. */
static int advance(struct keep *k, struct err *err)
{
	size_t running = 0;
	int rc = 0;

	while (k->first < k->n && k->fetch[k->first].is_published)
		k->first++;
	for (size_t i = k->first; rc >= 0 && i < k->n && running < AT_ONCE; i++) {
		struct image_fetch *f = &k->fetch[i];

		if (f->is_published)
			continue;
		if (!f->is_started)
			rc = start(k, f, err);
		else if (f->is_started && f->is_finished)
			rc = finish(k, f, err);
		else if (f->is_started)
			emit(k, IMAGE_TRANSFER_PROGRESS, f, NULL);
		running += f->is_started && !f->is_published;
	}
	return rc < 0 ? rc : k->first < k->n;
}

static int fetch_all(struct keep *k, struct err *err)
{
	int rc;

	k->fetch = mem_array(k->n + 1, sizeof(*k->fetch));
	for (size_t i = 0; i < k->n; i++) {
		struct image_fetch *f = &k->fetch[i];

		f->desc = &k->desc[i];
		image_fetch_init(f, k->done_fd);
	}
	while ((rc = advance(k, err)) > 0) {
		uint64_t n;

		rc = image_transfer_wait(k->remote->t, k->done_fd, TICK_MS, err);
		if (read(k->done_fd, &n, sizeof(n)) < 0 && errno != EAGAIN && errno != EINTR)
			rc = err_sys(err, "wait");
		if (rc >= 0)
			rc = image_transfer_answer(k->remote->t, 0, NULL, err);
		if (rc < 0)
			break;
	}
	return rc;
}

int image_index_fetch(struct runtime *rt, struct image_remote *remote,
		      const struct image_document *top, const struct image_pull_opts *o,
		      struct strv *ret_blobs, struct err *err)
{
	cleanup(keep_free) struct keep k = { .rt = rt, .remote = remote, .o = o };
	struct image_index_walk w = {
		.rt = rt, .named = ret_blobs, .read = read_doc, .blob = want_blob, .arg = &k
	};
	int rc;

	k.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k.done_fd < 0)
		return err_sys(err, "event");
	rc = image_index_walk(&w, top, err);
	return rc < 0 ? rc : fetch_all(&k, err);
}
