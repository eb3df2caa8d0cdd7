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

enum { DEPTH_MAX = 4, DOCS_MAX = 2000, BLOBS_MAX = 100000, AT_ONCE = 4, TICK_MS = 100 };

struct keep {
	struct runtime *rt;
	struct image_remote *remote;
	const struct image_pull_opts *o;
	struct strv *named;            /* all that it is made of */
	json_t *seen;                  /* the same, to look up */
	struct image_descriptor *desc; /* what is not here yet */
	struct image_fetch *fetch;
	size_t n, cap, docs, first; /* first: all before are published */
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
	json_decref(k->seen);
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

static bool is_named(const struct keep *k, const struct digest *d)
{
	return json_object_get(k->seen, digest_hex(d)) != NULL;
}

static void name(struct keep *k, const struct digest *d)
{
	json_object_set_new(k->seen, digest_hex(d), json_true());
	strv_add(k->named, digest_str(d));
}

static int want_blob(struct keep *k, const struct image_descriptor *d, struct err *err)
{
	/* Windows' own layers, which no registry may give away. */
	if (strstr(d->media_type, "nondistributable") || strstr(d->media_type, "foreign"))
		return 0;
	if (is_named(k, &d->digest))
		return 0;
	if (k->named->n >= BLOBS_MAX)
		return err_set(err, EFBIG, "an index of more than %d blobs", BLOBS_MAX);
	name(k, &d->digest);
	if (store_blob_exists(k->rt->store, &d->digest))
		return 0;
	mem_room(k->desc, k->n, k->cap);
	k->desc[k->n++] = (struct image_descriptor){ .digest = d->digest,
						     .size = d->size,
						     .media_type = mem_str(d->media_type) };
	return 0;
}

static int walk(struct keep *k, const struct image_document *d, int depth, struct err *err);

static int walk_entry(struct keep *k, const struct image_descriptor *e, int depth, struct err *err)
{
	struct image_document d = { 0 };
	int rc = 0;

	if (is_named(k, &e->digest))
		return 0;
	if (++k->docs > DOCS_MAX)
		return err_set(err, EFBIG, "an index of more than %d manifests", DOCS_MAX);
	if (!image_document_load(k->rt, &e->digest, e->media_type, &d))
		rc = image_remote_manifest(k->remote, digest_str(&e->digest), &d, err);
	if (rc >= 0)
		rc = walk(k, &d, depth + 1, err);
	image_document_free(&d);
	return rc < 0 ? err_ctx(err, "manifest %.19s", digest_str(&e->digest)) : 0;
}

static int walk(struct keep *k, const struct image_document *d, int depth, struct err *err)
{
	cleanup(image_descriptors_free) struct image_descriptors list = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_doc_kind(d, &doc, &kind, err);

	if (rc >= 0 && depth > DEPTH_MAX)
		rc = err_set(err, ELOOP, "indexes nested deeper than %d", DEPTH_MAX);
	if (rc >= 0)
		rc = image_doc_descriptors(doc, kind, &list, err);
	if (rc >= 0)
		rc = store_blob_put(k->rt->store, d->text, d->len, NULL, err);
	if (rc >= 0)
		name(k, &d->digest);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = kind == IMAGE_DOC_INDEX ? walk_entry(k, &list.v[i], depth, err)
					     : want_blob(k, &list.v[i], err);
	return rc < 0 ? rc : 0;
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
	cleanup(keep_free) struct keep k = {
		.rt = rt, .remote = remote, .o = o, .named = ret_blobs
	};
	int rc;

	k.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k.done_fd < 0)
		return err_sys(err, "event");
	k.seen = json_object();
	rc = walk(&k, top, 0, err);
	return rc < 0 ? rc : fetch_all(&k, err);
}
