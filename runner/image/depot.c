/* SPDX-License-Identifier: Apache-2.0 */
/* Depots: the part that a directory and a repository have in common, and the repository. Needs
 * libcrypto. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

void image_depot_free(struct image_depot *d)
{
	free(d->dir);
	free(d->tag);
	free(d->ref);
	*d = (struct image_depot){ 0 };
}

void image_depot_doc_free(struct image_depot_doc *d)
{
	free(d->text);
	for (size_t i = 0; i < d->n; i++)
		free(d->layers[i].media_type);
	free(d->layers);
	fd_close(&d->lock_fd);
	*d = (struct image_depot_doc){ .lock_fd = -1 };
}

int image_depot_read(struct runtime *rt, const struct image_depot *d,
		     const struct image_pull_opts *o, struct image_depot_doc *ret, struct err *err)
{
	cleanup(image_look_free) struct image_look l = { .lock_fd = -1 };
	struct image_depot_doc doc = { 0 };
	int rc = d->dir ? image_layout_look(rt, d, o, &l, err)
			: image_pull_look(rt, d->ref, o, &l, err);

	if (rc < 0)
		return rc;
	doc.is_image = !str_eq(l.manifest.config.media_type, IMAGE_DEPOT_TYPE);
	doc.layers = mem_array(l.manifest.n + 1, sizeof(*doc.layers));
	for (; doc.n < l.manifest.n; doc.n++) {
		struct image_descriptor *from = &l.manifest.layers[doc.n];

		doc.layers[doc.n].blob = from->digest;
		doc.layers[doc.n].size_bytes = from->size;
		doc.layers[doc.n].media_type = take(from->media_type);
	}
	doc.text = take(l.config);
	doc.len = l.config_len;
	doc.lock_fd = fd_take(&l.lock_fd);
	*ret = doc;
	return 0;
}

/* --- layers that come --- */

static void chain_free(struct image_chain *c)
{
	strv_free(&c->diff_ids);
	free(c->desc);
}

/* The whole chain by its DiffIDs: what is below is here, and what is wanted may be. */
static int chain_make(struct runtime *rt, const struct image_depot_want *w, struct image_chain *ret,
		      struct err *err)
{
	auto_free struct image_layer *below = NULL;
	size_t n = 0;
	int rc = image_layers(rt, w->below, &below, &n, err);

	if (rc < 0)
		return rc;
	ret->desc = mem_array(n + w->n + 1, sizeof(*ret->desc));
	for (size_t i = 0; i < n; i++)
		strv_add(&ret->diff_ids, below[i].diff_id);
	for (size_t i = 0; i < w->n; i++) {
		const struct image_depot_layer *l = w->layers[i];

		ret->desc[n + i] = (struct image_descriptor){ .digest = l->blob,
							      .size = l->size_bytes,
							      .media_type = l->media_type };
		strv_add(&ret->diff_ids, digest_str(&l->diff_id));
	}
	return 0;
}

int image_depot_fetch(struct runtime *rt, const struct image_depot *d,
		      const struct image_depot_want *want, const struct image_pull_opts *o,
		      int64_t *ret_top, struct err *err)
{
	cleanup(chain_free) struct image_chain c = { 0 };
	int rc = chain_make(rt, want, &c, err);

	if (rc < 0)
		return rc;
	return d->dir ? image_layout_layers(rt, d, o, &c, ret_top, err)
		      : image_pull_layers(rt, d->ref, o, &c, ret_top, err);
}

/* --- what leaves --- */

struct writing {
	struct runtime *rt;
	const struct image_depot *d;
	const struct image_pull_opts *o;
	struct image_descriptor *desc; /* n layers, then the document */
	struct image_layer *layers;
	size_t n;
	const char *text;
	struct image_document manifest;
};

static void writing_free(struct writing *w)
{
	for (size_t i = 0; i <= w->n; i++)
		free(w->desc[i].media_type);
	free(w->desc);
	free(w->layers);
	image_document_free(&w->manifest);
}

static int describe(struct writing *w, size_t i, int64_t snapshot, struct err *err)
{
	auto_free struct image_layer *chain = NULL;
	struct image_layer_blob form = { 0 };
	size_t n = 0;
	int rc = image_layers(w->rt, snapshot, &chain, &n, err);

	if (rc < 0)
		return rc;
	w->layers[i] = chain[n - 1];
	rc = image_layer_form(w->rt, &w->layers[i], &w->o->pack, &form, err);
	if (rc < 0)
		return rc;
	w->desc[i] = (struct image_descriptor){ .digest = form.digest,
						.size = form.size,
						.media_type = mem_str(form.media_type) };
	fault_point("image.depot.layer");
	return 0;
}

static int send(struct writing *w, struct image_remote *r, struct image_send *s, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i <= w->n; i++) {
		char id[13] = "";

		if (i < w->n)
			snprintf(id, sizeof(id), "%.12s", w->layers[i].diff_id + strlen("sha256:"));
		rc = image_send_add(s, &w->desc[i].digest, w->desc[i].size, id, err);
	}
	if (rc >= 0)
		rc = image_send_wait(s, err);
	return rc < 0 ? rc : image_send_manifest(s, &w->manifest, r->tag, err);
}

static int write_remote(struct writing *w, struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	struct image_send s = { .rt = w->rt, .o = w->o, .to = &r };
	int rc;

	image_remote_name(w->d->ref, &r);
	if (!r.tag)
		return err_set(err, EINVAL, "a digest cannot be written to: give a tag");
	rc = image_remote_open(&w->o->access, true, w->o->interrupted, &r, err);
	if (rc < 0)
		return rc;
	image_send_begin(&s);
	rc = send(w, &r, &s, err);
	image_send_free(&s);
	return rc;
}

/* The document is a blob of the store only until it has been sent: no row names it. */
static int write_both(struct writing *w, struct err *err)
{
	const struct image_layout_new layout = { w->desc, w->n, w->text, &w->manifest };
	struct err ignored = { 0 };
	uint64_t bytes = 0;
	int rc;

	if (w->d->dir)
		return image_layout_write(w->rt, w->d, &layout, w->o, err);
	rc = store_blob_put(w->rt->store, w->text, strlen(w->text), &w->desc[w->n].digest, err);
	if (rc >= 0)
		rc = write_remote(w, err);
	image_blob_remove(w->rt, &w->desc[w->n].digest, &bytes, &ignored);
	return rc;
}

int image_depot_write(struct runtime *rt, const struct image_depot *d,
		      const struct image_depot_new *what, const struct image_pull_opts *o,
		      struct err *err)
{
	size_t n = what->n;
	cleanup(writing_free) struct writing w = { .rt = rt,
						   .d = d,
						   .o = o,
						   .n = n,
						   .text = what->text,
						   .desc = mem_array(n + 1, sizeof(*w.desc)),
						   .layers = mem_array(n + 1, sizeof(*w.layers)) };
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		if (o->interrupted && *o->interrupted)
			return err_set(err, EINTR, "interrupted");
		rc = describe(&w, i, what->snapshots[i], err);
	}
	if (rc < 0)
		return rc;
	hash_bytes(w.text, strlen(w.text), &w.desc[n].digest);
	w.desc[n].size = strlen(w.text);
	w.desc[n].media_type = mem_str(IMAGE_DEPOT_TYPE);
	image_manifest_write(w.desc, n, &(struct image_pack){ 0 }, &w.manifest);
	return write_both(&w, err);
}
