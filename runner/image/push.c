/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push. An image that came from a registry has its manifest and compressed layers still, and these
 * go out again byte for byte. Otherwise each layer gets a compressed form, once, and the manifest
 * is OCI. Needs libcrypto.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG   "application/vnd.oci.image.config.v1+json"

struct push {
	struct runtime *rt;
	const struct image_pull_opts *o;
	struct image_remote remote;
	struct image_send send;
	struct image *img;
	struct image_layer *layers;
	size_t n_layers;
	struct image_descriptor *desc; /* layers from the bottom, then the config */
	struct image_document manifest;
};

static void push_free(struct push *p)
{
	for (size_t i = 0; p->desc && i <= p->n_layers; i++)
		free(p->desc[i].media_type);
	free(p->desc);
	free(p->layers);
	image_free(p->img);
	image_document_free(&p->manifest);
	image_send_free(&p->send);
	image_remote_free(&p->remote);
}

static void emit_text(const struct push *p, char *text)
{
	struct image_transfer_event e = { .kind = IMAGE_TRANSFER_TEXT, .text = text };

	if (p->o->event)
		p->o->event(&e, p->o->arg);
	free(text);
}

/* --- manifests --- */

/* All of its layers are here as the manifest names them: 1. */
static int is_whole(struct push *p, const struct image_manifest *m, struct err *err)
{
	if (m->n != p->n_layers || !str_eq(digest_str(&m->config.digest), p->img->id))
		return 0;
	for (size_t i = 0; i < m->n; i++) {
		int rc = image_layer_blob_find(p->rt, &m->layers[i].digest, p->layers[i].diff_id,
					       err);

		if (rc <= 0)
			return rc;
	}
	return 1;
}

static int read_kept(struct push *p, const char *digest, const char *media_type,
		     struct image_manifest *ret, struct err *err)
{
	struct image_document d = { .media_type = mem_str(media_type) };
	auto_json json_t *doc = NULL;
	auto_fd int fd = -1;
	enum image_doc kind;
	struct err why = { 0 };
	int rc = digest_parse(digest, &d.digest, err);

	/* One that is damaged is as good as none. */
	if (rc >= 0 && store_blob_open(p->rt->store, &d.digest, &fd, &why) >= 0 &&
	    fd_read_all(fd, REGISTRY_MANIFEST_MAX, &d.text, &d.len, &why) >= 0) {
		struct digest have;

		hash_bytes(d.text, d.len, &have);
		if (digest_eq(&have, &d.digest) && image_doc_kind(&d, &doc, &kind, &why) >= 0 &&
		    kind == IMAGE_DOC_MANIFEST && image_manifest_parse(doc, ret, &why) >= 0)
			rc = is_whole(p, ret, err);
	}
	if (rc > 0) {
		p->manifest = d;
		return 1;
	}
	image_document_free(&d);
	image_manifest_free(ret);
	return rc;
}

/* The one it was pulled by, if all is still here: 1, or 0. */
static int find_kept(struct push *p, struct image_manifest *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(p->rt->db, "SELECT digest,media_type FROM manifests WHERE image=?1",
			  DB_ARGS(DB_T(p->img->id)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		rc = read_kept(p, db_col_str(st, 0), db_col_str(st, 1), ret, err);
		if (rc)
			return rc;
	}
	return rc;
}

static json_t *descriptor(const struct image_descriptor *b)
{
	json_t *o = json_object();

	json_set_str(o, "mediaType", b->media_type);
	json_object_set_new(o, "digest", json_string(digest_str(&b->digest)));
	json_object_set_new(o, "size", json_integer((json_int_t)b->size));
	return o;
}

static void write_manifest(struct push *p)
{
	auto_json json_t *o = json_object();
	json_t *list = json_array();

	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_object_set_new(o, "mediaType", json_string(OCI_MANIFEST));
	json_object_set_new(o, "config", descriptor(&p->desc[p->n_layers]));
	json_object_set_new(o, "layers", list);
	for (size_t i = 0; i < p->n_layers; i++)
		json_array_append_new(list, descriptor(&p->desc[i]));
	p->manifest.text = json_text(o);
	p->manifest.len = strlen(p->manifest.text);
	p->manifest.media_type = mem_str(OCI_MANIFEST);
	hash_bytes(p->manifest.text, p->manifest.len, &p->manifest.digest);
}

static int note_manifest(struct push *p, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	struct digest stored;
	int rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);

	/* It may have been removed with another image meanwhile: under the lock it is there. */
	if (rc >= 0)
		rc = store_blob_put(p->rt->store, p->manifest.text, p->manifest.len, &stored, err);
	if (rc >= 0)
		rc = image_manifest_put(p->rt, p->img->id, p->manifest.media_type, &stored, err);
	if (rc >= 0)
		rc = image_repo_digest_put(p->rt, p->remote.repo, digest_str(&stored), p->img->id,
					   err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* --- the image --- */

static int begin_layer(struct push *p, size_t i, const struct image_descriptor *kept,
		       struct err *err)
{
	struct image_descriptor *d = &p->desc[i];
	struct image_layer_blob form = { 0 };
	char id[13];
	int rc = kept ? 0 : image_layer_form(p->rt, &p->layers[i], &form, err);

	if (rc < 0)
		return rc;
	d->digest = kept ? kept->digest : form.digest;
	d->size = kept ? kept->size : form.size;
	d->media_type = mem_str(kept ? kept->media_type : form.media_type);
	snprintf(id, sizeof(id), "%.12s", p->layers[i].diff_id + strlen("sha256:"));
	return image_send_add(&p->send, &d->digest, d->size, id, err);
}

static int begin_config(struct push *p, struct err *err)
{
	struct image_descriptor *d = &p->desc[p->n_layers];
	int rc = digest_parse(p->img->id, &d->digest, err);

	d->size = strlen(p->img->config);
	d->media_type = mem_str(OCI_CONFIG);
	return rc < 0 ? rc : image_send_add(&p->send, &d->digest, d->size, "", err);
}

static int send_all(struct push *p, struct err *err)
{
	struct image_manifest kept = { 0 };
	int is_kept = find_kept(p, &kept, err), rc = is_kept;

	p->desc = mem_array(p->n_layers + 1, sizeof(*p->desc));
	for (size_t i = 0; rc >= 0 && i < p->n_layers; i++)
		rc = begin_layer(p, i, is_kept ? &kept.layers[i] : NULL, err);
	image_manifest_free(&kept);
	if (rc >= 0)
		rc = begin_config(p, err);
	if (rc >= 0)
		rc = image_send_wait(&p->send, err);
	if (rc >= 0 && !is_kept)
		write_manifest(p);
	if (rc >= 0)
		rc = image_send_manifest(&p->send, &p->manifest, p->remote.tag, err);
	return rc < 0 ? rc : note_manifest(p, err);
}

static int find_image(struct push *p, const char *normalized, struct err *err)
{
	int rc = image_find(p->rt, normalized, &p->img, err);

	if (rc >= 0 && !p->img->id[0])
		rc = err_set(err, EINVAL, "a build step is no image: tag it first");
	if (rc >= 0 && p->img->snapshot)
		rc = image_layer_hash(p->rt, p->img->snapshot, err);
	return rc < 0 ? rc : image_layers(p->rt, p->img->snapshot, &p->layers, &p->n_layers, err);
}

static int push(struct push *p, const char *normalized, struct err *err)
{
	int rc = find_image(p, normalized, err);

	if (rc < 0)
		return rc;
	emit_text(p, mem_fmt("The push refers to repository [%s]", p->remote.repo));
	rc = image_remote_open(&p->o->access, true, p->o->interrupted, &p->remote, err);
	if (rc < 0)
		return rc;
	p->send = (struct image_send){ .rt = p->rt, .o = p->o, .to = &p->remote };
	image_send_begin(&p->send);
	return send_all(p, err);
}

int image_push(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
	       char ret_digest[DIGEST_STR_MAX], struct err *err)
{
	auto_fd int lease = image_lease(rt, err);
	cleanup(push_free) struct push p = { .rt = rt, .o = o };
	int rc;

	if (lease < 0)
		return lease;
	image_remote_name(normalized, &p.remote);
	rc = push(&p, normalized, err);
	if (rc < 0) {
		auto_free char *name = image_ref_familiar(normalized);

		return err_ctx(err, "push %s", name);
	}
	emit_text(&p,
		  mem_fmt("%s: digest: %s size: %zu", p.remote.tag ? p.remote.tag : p.remote.digest,
			  digest_str(&p.manifest.digest), p.manifest.len));
	digest_format(&p.manifest.digest, ret_digest);
	return 0;
}
