/* SPDX-License-Identifier: Apache-2.0 */
/* An index of our own images, with attestations. All of it are blobs before there are rows. Needs
 * libcrypto. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define IN_TOTO "application/vnd.in-toto+json"

struct member {
	struct image_document manifest;
	struct image_config *config;
};

struct index {
	struct runtime *rt;
	const struct image_index_new *n;
	struct member *v;
	struct strv blobs; /* all that the index is made of */
	json_t *entries;
};

static void index_free(struct index *x)
{
	for (size_t i = 0; x->v && i < x->n->n; i++) {
		image_document_free(&x->v[i].manifest);
		image_config_free(x->v[i].config);
	}
	free(x->v);
	strv_free(&x->blobs);
	json_decref(x->entries);
}

static void note(struct index *x, const struct digest *d)
{
	if (!strv_has(&x->blobs, digest_str(d)))
		strv_add(&x->blobs, digest_str(d));
}

static json_t *descriptor(const char *media_type, const struct digest *d, size_t size)
{
	json_t *o = json_object();

	json_set_str(o, "mediaType", media_type);
	json_set_str(o, "digest", digest_str(d));
	json_object_set_new(o, "size", json_integer((json_int_t)size));
	return o;
}

/* The JSON as a blob; its descriptor. */
static int put_json(struct index *x, const json_t *j, const char *media_type, json_t **ret,
		    struct digest *ret_digest, struct err *err)
{
	auto_free char *text = json_text(j);
	int rc = store_blob_put(x->rt->store, text, strlen(text), ret_digest, err);

	if (rc < 0)
		return rc;
	note(x, ret_digest);
	*ret = descriptor(media_type, ret_digest, strlen(text));
	return 0;
}

/* --- images --- */

static int note_manifest(struct index *x, const struct image_document *d, struct err *err)
{
	cleanup(image_descriptors_free) struct image_descriptors list = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_doc_kind(d, &doc, &kind, err);

	if (rc >= 0)
		rc = image_doc_descriptors(doc, kind, &list, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		note(x, &list.v[i].digest);
	note(x, &d->digest);
	return rc;
}

static json_t *platform_of(const struct image_config *c)
{
	json_t *p = json_object();

	json_set_str(p, "architecture", c->architecture);
	json_set_str(p, "os", c->os);
	json_set_str(p, "variant", c->variant);
	return p;
}

static int add_image(struct index *x, size_t i, struct err *err)
{
	auto_image struct image *img = NULL;
	struct member *m = &x->v[i];
	json_t *entry;
	int rc = image_get(x->rt, x->n->members[i].id, &img, err);

	if (rc >= 0)
		rc = image_config_of(img, &m->config, err);
	if (rc >= 0)
		rc = image_manifest_local(x->rt, img->id, img, x->n->pack, &m->manifest, err);
	if (rc >= 0)
		rc = store_blob_put(x->rt->store, m->manifest.text, m->manifest.len, NULL, err);
	if (rc >= 0)
		rc = note_manifest(x, &m->manifest, err);
	if (rc < 0)
		return rc;
	entry = descriptor(m->manifest.media_type, &m->manifest.digest, m->manifest.len);
	json_object_set_new(entry, "platform", platform_of(m->config));
	json_array_append_new(x->entries, entry);
	return 0;
}

/* --- what is attested of them --- */

static char *subject_name(const char *tag, const struct image_config *c)
{
	auto_free char *platform = mem_fmt("%s/%s%s%s", c->os, c->architecture,
					   c->variant ? "/" : "", c->variant ? c->variant : "");

	return image_ref_purl(tag, platform);
}

static json_t *subjects(const struct index *x, const struct member *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < (x->n->tags->n ? x->n->tags->n : 1); i++) {
		auto_free char *name =
			x->n->tags->n ? subject_name(x->n->tags->v[i], m->config) : mem_str("_");
		json_t *o = json_object(), *digest = json_object();

		json_set_str(o, "name", name);
		json_set_str(digest, "sha256", digest_hex(&m->manifest.digest));
		json_object_set_new(o, "digest", digest);
		json_array_append_new(list, o);
	}
	return list;
}

static int add_statement(struct index *x, const struct member *m, const struct image_statement *s,
			 json_t *layers, json_t *diff_ids, struct err *err)
{
	auto_json json_t *o = json_object();
	json_t *desc = NULL, *note_of = json_object();
	struct digest d;
	int rc;

	json_set_str(o, "_type", "https://in-toto.io/Statement/v0.1");
	json_set_str(o, "predicateType", s->predicate_type);
	json_object_set_new(o, "subject", subjects(x, m));
	json_object_set_new(o, "predicate", json_deep_copy(s->predicate));
	rc = put_json(x, o, IN_TOTO, &desc, &d, err);
	if (rc >= 0) {
		json_set_str(note_of, "in-toto.io/predicate-type", s->predicate_type);
		json_object_set(desc, "annotations", note_of);
		json_array_append_new(layers, desc);
		json_array_append_new(diff_ids, json_string(digest_str(&d)));
	}
	json_decref(note_of);
	return rc;
}

static int put_attestation_config(struct index *x, json_t *diff_ids, json_t **ret, struct err *err)
{
	auto_json json_t *o = json_object();
	json_t *rootfs = json_object();
	struct digest d;

	json_set_str(o, "architecture", "unknown");
	json_set_str(o, "os", "unknown");
	json_object_set_new(o, "config", json_object());
	json_set_str(rootfs, "type", "layers");
	json_object_set(rootfs, "diff_ids", diff_ids);
	json_object_set_new(o, "rootfs", rootfs);
	return put_json(x, o, OCI_CONFIG, ret, &d, err);
}

static void add_attestation_entry(struct index *x, const struct member *m, json_t *entry)
{
	json_t *p = json_object(), *a = json_object();

	json_set_str(a, "vnd.docker.reference.digest", digest_str(&m->manifest.digest));
	json_set_str(a, "vnd.docker.reference.type", "attestation-manifest");
	json_object_set_new(entry, "annotations", a);
	json_set_str(p, "architecture", "unknown");
	json_set_str(p, "os", "unknown");
	json_object_set_new(entry, "platform", p);
	json_array_append_new(x->entries, entry);
}

static int add_attestation(struct index *x, size_t i, struct err *err)
{
	const struct image_index_member *from = &x->n->members[i];
	auto_json json_t *o = json_object(), *layers = json_array(), *diff_ids = json_array();
	json_t *config = NULL, *entry = NULL;
	struct digest d;
	int rc = 0;

	if (!from->n_statements)
		return 0;
	for (size_t k = 0; rc >= 0 && k < from->n_statements; k++)
		rc = add_statement(x, &x->v[i], &from->statements[k], layers, diff_ids, err);
	if (rc >= 0)
		rc = put_attestation_config(x, diff_ids, &config, err);
	if (rc < 0)
		return rc;
	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_set_str(o, "mediaType", OCI_MANIFEST);
	json_object_set_new(o, "config", config);
	json_object_set(o, "layers", layers);
	rc = put_json(x, o, OCI_MANIFEST, &entry, &d, err);
	if (rc >= 0)
		add_attestation_entry(x, &x->v[i], entry);
	return rc;
}

/* --- the index --- */

static int make(struct index *x, struct image_document *ret, struct err *err)
{
	auto_json json_t *o = json_object();
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < x->n->n; i++)
		rc = add_image(x, i, err);
	for (size_t i = 0; rc >= 0 && i < x->n->n; i++)
		rc = add_attestation(x, i, err);
	if (rc < 0)
		return rc;
	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_set_str(o, "mediaType", OCI_INDEX);
	json_object_set(o, "manifests", x->entries);
	image_annotate(o, x->n->annotations);
	ret->text = json_text(o);
	ret->len = strlen(ret->text);
	ret->media_type = mem_str(OCI_INDEX);
	rc = store_blob_put(x->rt->store, ret->text, ret->len, &ret->digest, err);
	fault_point("image.index.blobs");
	note(x, &ret->digest);
	return rc;
}

static int put_name(struct index *x, const char *name, bool is_tag, const char *digest,
		    struct err *err)
{
	const char *id = x->n->members[x->n->first].id;
	int rc = is_tag ? image_tag(x->rt, id, name, err) : 0;

	return rc < 0 ? rc : image_tag_doc_put(x->rt, name, id, digest, err);
}

static int put_rows(struct index *x, const struct image_document *d, struct err *err)
{
	const struct image_index_new *n = x->n;
	const char *digest = digest_str(&d->digest);
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(x->rt->db, DB_FULL, &tx, err);

	for (size_t i = 0; rc >= 0 && i < n->n; i++)
		rc = image_manifest_put(x->rt, n->members[i].id, x->v[i].manifest.media_type,
					&x->v[i].manifest.digest, err);
	if (rc >= 0)
		rc = image_index_put(x->rt, d, &x->blobs, err);
	for (size_t i = 0; rc >= 0 && i < n->tags->n; i++)
		rc = put_name(x, n->tags->v[i], true, digest, err);
	if (rc >= 0 && !n->tags->n)
		rc = put_name(x, n->members[n->first].id, false, digest, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_index_write(struct runtime *rt, const struct image_index_new *n,
		      char ret_digest[DIGEST_STR_MAX], struct err *err)
{
	cleanup(index_free) struct index x = { .rt = rt, .n = n };
	struct image_document d = { 0 };
	auto_fd int lease = image_lease(rt, err);
	int rc = lease;

	x.v = mem_array(n->n + 1, sizeof(*x.v));
	x.entries = json_array();
	if (rc >= 0)
		rc = make(&x, &d, err);
	if (rc >= 0)
		rc = put_rows(&x, &d, err);
	if (rc >= 0)
		digest_format(&d.digest, ret_digest);
	image_document_free(&d);
	return rc < 0 ? err_ctx(err, "index") : 0;
}
