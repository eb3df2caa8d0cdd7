/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms in which a layer leaves: as it came, or compressed by us. Each is made once, a blob of
 * its own, and goes with the last layer of its DiffID. Needs libcrypto.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/layer.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

static const char *layer_type(enum layer_codec c)
{
	static const char *const types[] = { [LAYER_PLAIN] = OCI_LAYER,
					     [LAYER_GZIP] = OCI_LAYER "+gzip",
					     [LAYER_ZSTD] = OCI_LAYER "+zstd" };

	return types[c];
}

/* Docker's names of what an OCI manifest calls otherwise. */
static const char *oci_type(const char *type)
{
	if (str_ends(type, "zstd"))
		return layer_type(LAYER_ZSTD);
	return layer_type(str_ends(type, "gzip") ? LAYER_GZIP : LAYER_PLAIN);
}

int image_pack_parse(const char *codec, int level, struct image_pack *ret, struct err *err)
{
	struct image_pack p = { .is_asked = codec != NULL || level != 0,
				.codec = LAYER_GZIP,
				.level = level };
	int rc = codec ? layer_codec_find(codec, &p.codec, err) : 0;

	if (rc >= 0)
		rc = layer_codec_level(p.codec, &p.level, err);
	if (rc >= 0)
		*ret = p;
	return rc;
}

int image_blob_codec(int fd, uint64_t at, const char **ret_type, struct err *err)
{
	static const struct {
		const char *magic, *type;
	} known[] = { { "\x1f\x8b", OCI_LAYER "+gzip" },
		      { "\x28\xb5\x2f\xfd", OCI_LAYER "+zstd" },
		      { "\xfd"
			"7zXZ",
			NULL },
		      { "BZh", NULL } };
	char head[8] = { 0 };

	if (pread(fd, head, sizeof(head), (off_t)at) < 0)
		return err_sys(err, "read blob");
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!memcmp(head, known[i].magic, strlen(known[i].magic))) {
			*ret_type = known[i].type;
			return 1;
		}
	*ret_type = OCI_LAYER;
	return 0;
}

int image_layer_stream(struct runtime *rt, const struct image_layer *l, int origin_fd,
		       struct sink *to, struct err *err)
{
	struct layer_info info = { 0 };
	int rc = origin_fd >= 0
			 ? layer_unpack(origin_fd, to, &info, err)
			 : image_layer_diff(rt, l->snapshot, &(struct image_diff_opts){ .to = to },
					    &info, err);

	if (rc >= 0 && !str_eq(digest_str(&info.diff_id), l->diff_id))
		rc = err_set(err, EBADMSG, "its content is %s now: it was changed on disk",
			     digest_str(&info.diff_id));
	return rc;
}

static int write_form(struct runtime *rt, const struct image_layer *l, int origin_fd,
		      const struct image_pack *o, struct sink *to, struct err *err)
{
	cleanup(layer_pack_cleanup) struct layer_pack *p = NULL;
	struct layer_pack_opts opts = { .codec = o->codec, .level = o->level };
	int rc;

	if (o->codec == LAYER_PLAIN)
		return image_layer_stream(rt, l, origin_fd, to, err);
	rc = layer_pack_new(&opts, to, &p, err);
	if (rc >= 0)
		rc = image_layer_stream(rt, l, origin_fd, layer_pack_sink(p), err);
	return rc < 0 ? rc : layer_pack_end(p, err);
}

static int make_form(struct runtime *rt, const struct image_layer *l, int origin_fd,
		     const struct image_pack *o, struct image_layer_blob *ret, struct err *err)
{
	auto_blob struct blob *b = NULL;
	auto_db_tx struct db *tx = NULL;
	int rc = store_blob_new(rt->store, &b, err);

	*ret = (struct image_layer_blob){ .level = o->level };
	snprintf(ret->codec, sizeof(ret->codec), "%s", layer_codec_name(o->codec));
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", layer_type(o->codec));
	if (rc >= 0)
		rc = write_form(rt, l, origin_fd, o, store_blob_sink(b), err);
	if (rc < 0)
		return rc;
	ret->size = store_blob_size(b);
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_blob_commit(b, NULL, &ret->digest, err);
	if (rc >= 0)
		rc = image_layer_blob_put(rt, l->diff_id, ret, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_layer_origin(struct runtime *rt, const struct image_layer *l, struct digest *ret,
		       int *ret_fd, struct err *err)
{
	int rc = image_origin_get(rt, l->snapshot, ret, err);

	if (rc <= 0)
		return rc;
	rc = store_blob_open(rt->store, ret, ret_fd, err);
	return rc < 0 ? rc : 1;
}

/* A loaded layer's own bytes may be compressed already: then they are its form. */
static int from_origin(int fd, const struct digest *d, struct image_layer_blob *ret,
		       struct err *err)
{
	const char *type = NULL;
	struct stat st;
	int rc = fd < 0 ? 0 : image_blob_codec(fd, 0, &type, err);

	if (rc <= 0 || !type)
		return rc < 0 ? rc : 0;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat blob");
	*ret = (struct image_layer_blob){ .digest = *d, .size = (uint64_t)st.st_size };
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", type);
	return 1;
}

static int find_form(struct runtime *rt, const struct image_layer *l, const struct image_pack *o,
		     struct image_layer_blob *ret, struct err *err)
{
	struct image_pack usual = { 0 };
	struct digest origin = { 0 };
	auto_fd int fd = -1;
	int rc = image_layer_origin(rt, l, &origin, &fd, err);

	if (rc >= 0 && !o->is_asked) {
		rc = image_pack_parse(NULL, 0, &usual, err);
		o = &usual;
		if (rc >= 0)
			rc = image_layer_blob_get(rt, l->diff_id, "", 0, ret, err);
		if (rc == 0)
			rc = from_origin(fd, &origin, ret, err);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	if (rc >= 0)
		rc = image_layer_blob_get(rt, l->diff_id, layer_codec_name(o->codec), o->level, ret,
					  err);
	return rc ? rc : make_form(rt, l, fd, o, ret, err);
}

int image_layer_form(struct runtime *rt, const struct image_layer *l, const struct image_pack *o,
		     struct image_layer_blob *ret, struct err *err)
{
	int rc = find_form(rt, l, o, ret, err);

	if (rc < 0)
		return err_ctx(err, "layer %.19s", l->diff_id);
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", oci_type(ret->media_type));
	return 0;
}

/* --- the manifest that an image came with --- */

/* How many of its layers are not here as the manifest names them. */
static int count_missing(struct runtime *rt, const struct image_manifest *m,
			 const struct image_layer *layers, struct err *err)
{
	int n = 0;

	for (size_t i = 0; i < m->n; i++) {
		int rc = image_layer_blob_find(rt, &m->layers[i].digest, layers[i].diff_id, err);

		if (rc < 0)
			return rc;
		n += rc == 0;
	}
	return n;
}

/* One that is damaged is as good as none. */
static bool read_manifest(struct runtime *rt, struct image_document *d, struct image_manifest *ret)
{
	auto_json json_t *doc = NULL;
	auto_fd int fd = -1;
	enum image_doc kind;
	struct err why = { 0 };
	struct digest have;

	if (store_blob_open(rt->store, &d->digest, &fd, &why) < 0 ||
	    fd_read_all(fd, REGISTRY_MANIFEST_MAX, &d->text, &d->len, &why) < 0)
		return false;
	hash_bytes(d->text, d->len, &have);
	return digest_eq(&have, &d->digest) && image_doc_kind(d, &doc, &kind, &why) >= 0 &&
	       kind == IMAGE_DOC_MANIFEST && image_manifest_parse(doc, ret, &why) >= 0;
}

void image_kept_free(struct image_kept *k)
{
	image_document_free(&k->doc);
	image_manifest_free(&k->manifest);
}

static bool is_asked(const struct image_kept *k)
{
	return str_eq(k->rather, digest_str(&k->doc.digest));
}

/* The one asked for (which comes first), else a whole one, else any. */
static bool is_better(const struct image_kept *k, const struct image_kept *than)
{
	if (k->missing && !k->may_miss)
		return false;
	return !than->doc.text || (than->missing && !k->missing && !is_asked(than));
}

int image_manifest_kept(struct runtime *rt, const char *id, const struct image_layer *layers,
			size_t n, struct image_kept *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	cleanup(image_kept_free) struct image_kept best = { 0 };
	int rc = db_query(rt->db,
			  "SELECT digest,media_type FROM manifests WHERE image=?1"
			  " ORDER BY digest IS ?2 DESC",
			  DB_ARGS(DB_T(id), DB_T(ret->rather)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		struct image_kept k = { .rather = ret->rather, .may_miss = ret->may_miss };
		bool is_of_it;

		k.doc.media_type = mem_str(db_col_str(st, 1));
		rc = digest_parse(db_col_str(st, 0), &k.doc.digest, err);
		if (rc >= 0)
			rc = read_manifest(rt, &k.doc, &k.manifest);
		is_of_it = rc > 0 && k.manifest.n == n &&
			   str_eq(digest_str(&k.manifest.config.digest), id);
		if (is_of_it)
			rc = k.missing = count_missing(rt, &k.manifest, layers, err);
		if (is_of_it && rc >= 0 && is_better(&k, &best)) {
			image_kept_free(&best);
			best = k;
		} else {
			image_kept_free(&k);
		}
		if (best.doc.text && (!best.missing || is_asked(&best)))
			break;
	}
	if (rc < 0 || !best.doc.text)
		return rc < 0 ? rc : 0;
	*ret = best;
	best = (struct image_kept){ 0 };
	return 1;
}

/* --- the manifest of an image that was made here --- */

bool image_pack_is_other(const struct image_pack *p)
{
	return p->is_asked || p->docker_types || (p->annotations && p->annotations->n);
}

void image_annotate(json_t *manifest, const struct strv *annotations)
{
	json_t *o = json_object();

	for (size_t i = 0; annotations && i < annotations->n; i++) {
		const char *pair = annotations->v[i], *eq = strchr(pair, '=');
		auto_free char *key = mem_strn(pair, (size_t)(eq - pair));

		json_object_set_new(o, key, json_from_str(eq + 1));
	}
	if (json_object_size(o))
		json_object_set(manifest, "annotations", o);
	json_decref(o);
}

/* NULL: it has none, or the bytes are OCI's own business. */
static const char *docker_type(const char *oci)
{
	static const char *const types[][2] = {
		{ OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json" },
		{ OCI_CONFIG, "application/vnd.docker.container.image.v1+json" },
		{ OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar" },
		{ OCI_LAYER "+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip" },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(types[i][0], oci))
			return types[i][1];
	return NULL;
}

static const char *type_for(const char *type, const struct image_pack *p)
{
	const char *docker = p->docker_types ? docker_type(type) : NULL;

	return docker ? docker : type;
}

static json_t *descriptor(const struct image_descriptor *b, const struct image_pack *p)
{
	json_t *o = json_object();

	json_set_str(o, "mediaType", type_for(b->media_type, p));
	json_object_set_new(o, "digest", json_string(digest_str(&b->digest)));
	json_object_set_new(o, "size", json_integer((json_int_t)b->size));
	return o;
}

void image_manifest_write(const struct image_descriptor *desc, size_t n, const struct image_pack *p,
			  struct image_document *ret)
{
	auto_json json_t *o = json_object();
	json_t *list = json_array();

	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_object_set_new(o, "mediaType", json_string(type_for(OCI_MANIFEST, p)));
	json_object_set_new(o, "config", descriptor(&desc[n], p));
	json_object_set_new(o, "layers", list);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, descriptor(&desc[i], p));
	image_annotate(o, p->annotations);
	ret->text = json_text(o);
	ret->len = strlen(ret->text);
	ret->media_type = mem_str(type_for(OCI_MANIFEST, p));
	hash_bytes(ret->text, ret->len, &ret->digest);
}

/* ret has room for the layers and, behind them, the config. */
static int describe(struct runtime *rt, const struct image *img, const struct image_layer *layers,
		    const struct image_pack *pack, struct image_descriptors *ret, struct err *err)
{
	size_t n = ret->n - 1;
	int rc = digest_parse(img->id, &ret->v[n].digest, err);

	ret->v[n].size = strlen(img->config);
	ret->v[n].media_type = mem_str(OCI_CONFIG);
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct image_layer_blob form = { 0 };

		rc = image_layer_form(rt, &layers[i], pack, &form, err);
		ret->v[i] = (struct image_descriptor){ .digest = form.digest,
						       .size = form.size,
						       .media_type = mem_str(form.media_type) };
	}
	return rc;
}

int image_manifest_local(struct runtime *rt, const char *name, const struct image *img,
			 const struct image_pack *pack, struct image_document *ret, struct err *err)
{
	cleanup(image_descriptors_free) struct image_descriptors list = { 0 };
	cleanup(image_kept_free) struct image_kept kept = { 0 };
	auto_free struct image_layer *layers = NULL;
	auto_free char *rather = NULL;
	size_t n = 0;
	int rc = img->snapshot ? image_layer_hash(rt, img->snapshot, err) : 0;

	if (rc >= 0)
		rc = image_layers(rt, img->snapshot, &layers, &n, err);
	if (rc >= 0)
		rc = image_tag_doc_get(rt, name, img->id, &rather, err);
	kept.rather = rather;
	if (rc >= 0 && !image_pack_is_other(pack))
		rc = image_manifest_kept(rt, img->id, layers, n, &kept, err);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		*ret = kept.doc;
		kept.doc = (struct image_document){ 0 };
		return 0;
	}
	list.v = mem_array(n + 1, sizeof(*list.v));
	list.n = n + 1;
	rc = describe(rt, img, layers, pack, &list, err);
	if (rc >= 0)
		image_manifest_write(list.v, n, pack, ret);
	return rc < 0 ? rc : 0;
}
