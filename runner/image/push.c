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

enum { INDEX_DEPTH_MAX = 4 };

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
	char *doc; /* digest of what the name was pulled as, or NULL */
};

static void push_free(struct push *p)
{
	for (size_t i = 0; p->desc && i <= p->n_layers; i++)
		free(p->desc[i].media_type);
	free(p->desc);
	free(p->layers);
	image_free(p->img);
	image_document_free(&p->manifest);
	free(p->doc);
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

static const char *tag_of(const struct push *p)
{
	return p->o->by_digest ? NULL : p->remote.tag;
}

/* --- the image --- */

static int begin_layer(struct push *p, size_t i, const struct image_descriptor *kept,
		       struct err *err)
{
	struct image_descriptor *d = &p->desc[i];
	struct image_layer_blob form = { 0 };
	char id[13];
	int rc = kept ? 0 : image_layer_form(p->rt, &p->layers[i], &p->o->pack, &form, err);

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

/* One that we have written is not kept: it is written again from the same layers. */
static int finish(struct push *p, struct image_kept *kept, struct err *err)
{
	int rc;

	if (kept->doc.text) {
		p->manifest = kept->doc;
		kept->doc = (struct image_document){ 0 };
	} else {
		image_manifest_write(p->desc, p->n_layers, &p->o->pack, &p->manifest);
	}
	rc = image_send_manifest(&p->send, &p->manifest, tag_of(p), err);
	return rc < 0 ? rc
		      : image_repo_digest_put(p->rt, p->remote.repo,
					      digest_str(&p->manifest.digest), p->img->id, err);
}

/* An uncompressed layer is not kept beside its directory: it is written again. */
static int make_plain(struct push *p, const struct image_manifest *m, struct err *err)
{
	static const struct image_pack plain = { .is_asked = true, .codec = LAYER_PLAIN };
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < m->n; i++) {
		struct image_layer_blob form = { 0 };

		if (str_eq(digest_str(&m->layers[i].digest), p->layers[i].diff_id))
			rc = image_layer_form(p->rt, &p->layers[i], &plain, &form, err);
	}
	return rc;
}

static int send_all(struct push *p, struct err *err)
{
	/* Layers may have been here already when the image was pulled, and not as its manifest
	 * names them. Only of a name that was pulled: others may have been made here. */
	cleanup(image_kept_free) struct image_kept kept = { .rather = p->doc,
							    .may_miss = p->doc != NULL };
	int rc = 0;

	if (!image_pack_is_other(&p->o->pack))
		rc = image_manifest_kept(p->rt, p->img->id, p->layers, p->n_layers, &kept, err);
	if (rc > 0 && kept.missing)
		rc = make_plain(p, &kept.manifest, err);
	p->desc = mem_array(p->n_layers + 1, sizeof(*p->desc));
	for (size_t i = 0; rc >= 0 && i < p->n_layers; i++)
		rc = begin_layer(p, i, kept.doc.text ? &kept.manifest.layers[i] : NULL, err);
	if (rc >= 0)
		rc = begin_config(p, err);
	if (rc >= 0)
		rc = image_send_wait(&p->send, err);
	if (rc == -EINTR || (rc < 0 && !kept.missing))
		return rc;
	if (rc < 0)
		return err_hint(err, "layers are here in another form than they were pulled in, "
				     "which --compression pushes, by another digest");
	return finish(p, &kept, err);
}

/* --- an index that is kept whole --- */

static int send_doc(struct push *p, const struct image_document *d, const char *ref, int depth,
		    struct err *err);

static int send_child(struct push *p, const struct image_descriptor *e, int depth, struct err *err)
{
	struct image_document d = { 0 };
	int rc;

	if (!image_document_load(p->rt, &e->digest, e->media_type, &d))
		return err_set(err, ENOENT,
			       "manifest %.19s is not here any more: pull --all-platforms again",
			       digest_str(&e->digest));
	rc = send_doc(p, &d, NULL, depth + 1, err);
	image_document_free(&d);
	return rc;
}

static int send_layer(struct push *p, const struct image_descriptor *d, bool is_config,
		      struct err *err)
{
	char id[13] = "";

	/* As the pull has it: there is none of these. */
	if (!store_blob_exists(p->rt->store, &d->digest))
		return 0;
	if (!is_config)
		snprintf(id, sizeof(id), "%.12s", digest_hex(&d->digest));
	return image_send_add(&p->send, &d->digest, d->size, id, err);
}

/* What it names first: a registry takes no manifest of what it has not got. */
static int send_doc(struct push *p, const struct image_document *d, const char *ref, int depth,
		    struct err *err)
{
	cleanup(image_descriptors_free) struct image_descriptors list = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_doc_kind(d, &doc, &kind, err);

	if (rc >= 0 && depth > INDEX_DEPTH_MAX)
		rc = err_set(err, ELOOP, "indexes nested deeper than %d", INDEX_DEPTH_MAX);
	if (rc >= 0)
		rc = image_doc_descriptors(doc, kind, &list, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = kind == IMAGE_DOC_INDEX ? send_child(p, &list.v[i], depth, err)
					     : send_layer(p, &list.v[i], i == 0, err);
	if (rc >= 0)
		rc = image_send_wait(&p->send, err);
	return rc < 0 ? rc : image_send_manifest(&p->send, d, ref, err);
}

/* The index that the name stands for: 1, or 0 when it stands for an image alone. */
static int find_index(struct push *p, struct image_document *ret, struct err *err)
{
	auto_free char *type = NULL;
	struct digest d;
	int rc = 0;

	if (p->doc)
		rc = db_get_str(p->rt->db, "SELECT media_type FROM indexes WHERE digest=?1",
				DB_ARGS(DB_T(p->doc)), &type, err);
	if (rc <= 0)
		return rc;
	rc = digest_parse(p->doc, &d, err);
	if (rc < 0)
		return rc;
	if (!image_document_load(p->rt, &d, type, ret))
		return err_set(err, ENOENT, "index %.19s is damaged: pull --all-platforms again",
			       p->doc);
	return 1;
}

/* Of an index the image for one platform. */
static int choose_one(struct push *p, struct image_document *index, struct err *err)
{
	struct image_platform want = { 0 };
	struct image_document d = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	struct digest digest;
	const char *type;
	int rc = image_platform_parse(p->o->platform, &want, err);

	if (rc >= 0)
		rc = image_doc_kind(index, &doc, &kind, err);
	if (rc >= 0)
		rc = image_index_choose(doc, &want, &digest, &type, err);
	image_platform_free(&want);
	if (rc < 0)
		return rc;
	if (!image_document_load(p->rt, &digest, type ? type : OCI_MANIFEST, &d))
		return err_set(err, ENOENT, "manifest %.19s is not here any more",
			       digest_str(&digest));
	image_document_free(index);
	*index = d;
	return 0;
}

static int check_platform(struct push *p, struct err *err)
{
	struct image_platform want = { 0 };
	auto_image_config struct image_config *c = NULL;
	int rc = image_platform_parse(p->o->platform, &want, err);

	if (rc >= 0)
		rc = image_config_of(p->img, &c, err);
	if (rc >= 0 && !image_platform_fits(&want, c->os, c->architecture, c->variant))
		rc = err_set(err, ENOENT, "the image is for %s/%s, and for no other platform",
			     c->os, c->architecture);
	image_platform_free(&want);
	return rc;
}

static int send_index(struct push *p, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc = p->o->platform ? choose_one(p, &p->manifest, err) : 0;

	if (rc >= 0)
		rc = send_doc(p, &p->manifest, tag_of(p), 0, err);
	if (rc >= 0)
		rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);
	if (rc >= 0 && !p->o->platform)
		rc = image_repo_digest_put(p->rt, p->remote.repo, p->doc, p->img->id, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static int find_image(struct push *p, const char *name, struct err *err)
{
	auto_free char *full = NULL;
	struct err ignored;
	int rc = image_find(p->rt, name, &p->img, err);

	if (rc >= 0 && !p->img->id[0])
		rc = err_set(err, EINVAL, "a build step is no image: tag it first");
	if (rc >= 0 && p->img->snapshot)
		rc = image_layer_hash(p->rt, p->img->snapshot, err);
	/* An ID came as no list. */
	if (rc >= 0 && image_ref_normalize(name, &full, &ignored) >= 0)
		rc = image_tag_doc_get(p->rt, full, p->img->id, &p->doc, err);
	return rc < 0 ? rc : image_layers(p->rt, p->img->snapshot, &p->layers, &p->n_layers, err);
}

static int push(struct push *p, const char *name, struct err *err)
{
	int rc = find_image(p, name, err), is_index;

	if (rc >= 0)
		rc = find_index(p, &p->manifest, err);
	is_index = rc;
	if (rc == 0 && p->o->platform)
		rc = check_platform(p, err);
	if (rc < 0)
		return rc;
	emit_text(p, mem_fmt("The push refers to repository [%s]", p->remote.repo));
	rc = image_remote_open(&p->o->access, true, p->o->interrupted, &p->remote, err);
	if (rc < 0)
		return rc;
	p->send = (struct image_send){ .rt = p->rt, .o = p->o, .to = &p->remote };
	image_send_begin(&p->send);
	return is_index ? send_index(p, err) : send_all(p, err);
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
	rc = push(&p, o->source ? o->source : normalized, err);
	if (rc < 0) {
		auto_free char *name = image_ref_familiar(normalized);

		return err_ctx(err, "push %s", name);
	}
	emit_text(&p, mem_fmt("%s: digest: %s size: %zu",
			      tag_of(&p) ? p.remote.tag : digest_str(&p.manifest.digest),
			      digest_str(&p.manifest.digest), p.manifest.len));
	digest_format(&p.manifest.digest, ret_digest);
	image_event(rt, "push", NULL, normalized);
	return 0;
}
