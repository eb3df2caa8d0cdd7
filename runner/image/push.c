/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push. An image that came from a registry has its manifest and compressed layers still, and these
 * go out again byte for byte. Otherwise each layer gets a compressed form, once, and the manifest
 * is OCI. Blobs are asked for, mounted from a repository that has them, or sent, several at once.
 * Needs libcrypto.
 */
#include <errno.h>
#include <inttypes.h>
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

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG   "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER    "application/vnd.oci.image.layer.v1.tar"

enum { GZIP_LEVEL = 6, TICK_MS = 200, COPY_BYTES = 256 << 10 };

/* A blob on its way: asked for, then mounted or sent. */
struct push_blob {
	struct digest digest;
	uint64_t size;
	char *media_type;
	char id[13]; /* of the layer's DiffID; "" for the config */
	char *from;  /* the repository that it is mounted from */
	enum { PUSH_NEW, PUSH_ASKED, PUSH_MOUNTING, PUSH_SENDING, PUSH_DONE } state;
	int request;
};

struct push {
	struct runtime *rt;
	const struct image_pull_opts *o;
	struct image_remote remote;
	struct image *img;
	struct image_layer *layers;
	size_t n_layers;
	struct push_blob *blob; /* layers from the bottom, then the config */
	size_t n;
	struct image_document manifest;
};

static void push_free(struct push *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->blob[i].media_type);
		free(p->blob[i].from);
	}
	free(p->blob);
	free(p->layers);
	image_free(p->img);
	image_document_free(&p->manifest);
	image_remote_free(&p->remote);
}

static void emit(const struct push *p, enum image_transfer_event_kind kind,
		 const struct push_blob *b, const char *text)
{
	struct image_transfer_event e = { .kind = kind, .text = text };

	if (!p->o->event || (b && !b->id[0]))
		return;
	if (b) {
		e.id = b->id;
		e.total_bytes = b->size;
		e.done_bytes = kind == IMAGE_TRANSFER_BEGIN ? 0 : b->size;
	}
	p->o->event(&e, p->o->arg);
}

/* --- the compressed form of a layer --- */

static int gzip_fd(int fd, struct sink *to, struct digest *ret, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(COPY_BYTES);
	ssize_t n;
	int rc = 0;

	while (rc >= 0 && (n = fd_read_full(fd, buf, COPY_BYTES, err)) != 0) {
		if (n < 0)
			return (int)n;
		hash_add(h, buf, (size_t)n);
		rc = to->write(to, buf, (size_t)n, err);
	}
	hash_end(h, ret);
	return rc;
}

/* From the directory, or where that would give other bytes from those the layer came with. */
static int write_gzip(struct push *p, const struct image_layer *l, int origin_fd, struct sink *to,
		      struct err *err)
{
	cleanup(layer_gzip_cleanup) struct layer_gzip *g = NULL;
	struct layer_info info = { 0 };
	int rc = layer_gzip_new(GZIP_LEVEL, to, &g, err);

	if (rc < 0)
		return rc;
	if (origin_fd >= 0)
		rc = gzip_fd(origin_fd, layer_gzip_sink(g), &info.diff_id, err);
	else
		rc = image_layer_diff(p->rt, l->snapshot,
				      &(struct image_diff_opts){ .to = layer_gzip_sink(g) }, &info,
				      err);
	if (rc >= 0)
		rc = layer_gzip_end(g, err);
	if (rc >= 0 && !str_eq(digest_str(&info.diff_id), l->diff_id))
		rc = err_set(err, EBADMSG, "its content is %.19s now: it was changed on disk",
			     digest_str(&info.diff_id));
	return rc;
}

static int compress(struct push *p, const struct image_layer *l, int origin_fd,
		    struct image_layer_blob *ret, struct err *err)
{
	auto_blob struct blob *b = NULL;
	auto_db_tx struct db *tx = NULL;
	int rc = store_blob_new(p->rt->store, &b, err);

	*ret = (struct image_layer_blob){ .codec = "gzip", .level = GZIP_LEVEL };
	snprintf(ret->media_type, sizeof(ret->media_type), OCI_LAYER "+gzip");
	if (rc >= 0)
		rc = write_gzip(p, l, origin_fd, store_blob_sink(b), err);
	if (rc < 0)
		return rc;
	ret->size = store_blob_size(b);
	rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_blob_commit(b, NULL, &ret->digest, err);
	if (rc >= 0)
		rc = image_layer_blob_put(p->rt, l->diff_id, ret, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* A loaded layer's own bytes may be compressed already: then they are its form. 1, or 0. */
static int from_origin(struct push *p, const struct image_layer *l, int *ret_fd,
		       struct image_layer_blob *ret, struct err *err)
{
	static const struct {
		const char *magic, *type;
	} known[] = { { "\x1f\x8b", OCI_LAYER "+gzip" },
		      { "\x28\xb5\x2f\xfd", OCI_LAYER "+zstd" } };
	auto_fd int fd = -1;
	char head[8] = { 0 };
	struct stat st;
	int rc = image_origin_get(p->rt, l->snapshot, &ret->digest, err);

	if (rc <= 0)
		return rc;
	rc = store_blob_open(p->rt->store, &ret->digest, &fd, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0 || pread(fd, head, sizeof(head), 0) < 0)
		return err_sys(err, "read blob");
	ret->size = (uint64_t)st.st_size;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!memcmp(head, known[i].magic, strlen(known[i].magic))) {
			snprintf(ret->media_type, sizeof(ret->media_type), "%s", known[i].type);
			return 1;
		}
	*ret_fd = fd_take(&fd);
	return 0;
}

static int form_of(struct push *p, const struct image_layer *l, struct image_layer_blob *ret,
		   struct err *err)
{
	auto_fd int origin = -1;
	int rc = image_layer_blob_get(p->rt, l->diff_id, NULL, ret, err);

	if (rc == 0)
		rc = from_origin(p, l, &origin, ret, err);
	if (rc == 0)
		rc = compress(p, l, origin, ret, err);
	return rc < 0 ? err_ctx(err, "layer %.19s", l->diff_id) : 0;
}

/* Docker's names of what an OCI manifest calls otherwise. */
static const char *oci_type(const char *type)
{
	if (str_ends(type, "zstd"))
		return OCI_LAYER "+zstd";
	return str_ends(type, "gzip") ? OCI_LAYER "+gzip" : OCI_LAYER;
}

/* --- blobs --- */

static int ask(struct push *p, struct push_blob *b, const char *op, int fd, struct err *err)
{
	auto_json json_t *req = image_remote_request(&p->remote, op);
	int rc;

	json_set_str(req, "digest", digest_str(&b->digest));
	json_object_set_new(req, "size", json_integer((json_int_t)b->size));
	json_set_str(req, "from", b->from);
	rc = image_transfer_send(p->remote.t, req, fd, err);
	b->request = rc < 0 ? 0 : rc;
	return rc;
}

static int send_blob(struct push *p, struct push_blob *b, struct err *err)
{
	auto_fd int fd = -1;
	int rc = store_blob_open(p->rt->store, &b->digest, &fd, err);

	if (rc < 0)
		return rc;
	emit(p, IMAGE_TRANSFER_BEGIN, b, NULL);
	b->state = PUSH_SENDING;
	return ask(p, b, REGISTRY_UPLOAD, fd, err);
}

/* A repository of the same registry that had it when we saw it last. */
static int find_other_repo(struct push *p, struct push_blob *b, struct err *err)
{
	auto_free char *prefix = mem_fmt("%s/", p->remote.registry);
	auto_free char *repo = NULL;
	int rc = db_get_str(
		p->rt->db,
		"SELECT repo FROM remote_blobs WHERE digest=?1 AND repo<>?2"
		" AND substr(repo,1,length(?3))=?3 LIMIT 1",
		DB_ARGS(DB_T(digest_str(&b->digest)), DB_T(p->remote.repo), DB_T(prefix)), &repo,
		err);

	if (rc > 0)
		b->from = mem_str(repo + strlen(prefix));
	return rc;
}

static int done(struct push *p, struct push_blob *b, enum image_transfer_event_kind kind,
		char *text, struct err *err)
{
	b->state = PUSH_DONE;
	emit(p, kind, b, text);
	free(text);
	if (!b->id[0])
		return 0;
	return image_remote_blob_note(p->rt, p->remote.repo, digest_str(&b->digest), err);
}

static int was_asked(struct push *p, struct push_blob *b, const json_t *answer, struct err *err)
{
	int rc;

	if (json_get_bool(answer, "found"))
		return done(p, b, IMAGE_TRANSFER_EXISTS, mem_str("Layer already exists"), err);
	rc = find_other_repo(p, b, err);
	if (rc <= 0)
		return rc < 0 ? rc : send_blob(p, b, err);
	b->state = PUSH_MOUNTING;
	return ask(p, b, REGISTRY_MOUNT, -1, err);
}

static int was_mounted(struct push *p, struct push_blob *b, const json_t *answer, struct err *err)
{
	if (json_get_bool(answer, "mounted"))
		return done(p, b, IMAGE_TRANSFER_DONE, mem_fmt("Mounted from %s", b->from), err);
	return send_blob(p, b, err);
}

static int was_sent(struct push *p, struct push_blob *b, const json_t *answer, struct err *err)
{
	(void)answer;
	return done(p, b, IMAGE_TRANSFER_DONE, mem_str("Pushed"), err);
}

static int (*const next_step[])(struct push *, struct push_blob *, const json_t *, struct err *) = {
	[PUSH_ASKED] = was_asked, [PUSH_MOUNTING] = was_mounted, [PUSH_SENDING] = was_sent
};

/* What came in meanwhile; the number of blobs that are not there yet. */
static int advance(struct push *p, struct err *err)
{
	int left = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct push_blob *b = &p->blob[i];
		auto_json json_t *answer = NULL;
		int rc = 0;

		if (b->state == PUSH_DONE || b->state == PUSH_NEW)
			continue;
		rc = image_transfer_answer(p->remote.t, b->request, &answer, err);
		if (rc > 0)
			rc = next_step[b->state](p, b, answer, err);
		if (rc < 0)
			return err_ctx(err, "blob %.19s", digest_str(&b->digest));
		left += b->state != PUSH_DONE;
	}
	return left;
}

/* The same blob twice in an image goes once. */
static bool is_twice(const struct push *p, const struct push_blob *b)
{
	for (const struct push_blob *o = p->blob; o < b; o++)
		if (digest_eq(&o->digest, &b->digest))
			return true;
	return false;
}

static int begin_blob(struct push *p, struct push_blob *b, struct err *err)
{
	int rc;

	p->n++;
	if (is_twice(p, b)) {
		b->state = PUSH_DONE;
		return 0;
	}
	b->state = PUSH_ASKED;
	rc = ask(p, b, REGISTRY_HAS, -1, err);
	return rc < 0 ? rc : advance(p, err);
}

static void name_layer(struct push *p, size_t i)
{
	snprintf(p->blob[i].id, sizeof(p->blob[i].id), "%.12s",
		 p->layers[i].diff_id + strlen("sha256:"));
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

static json_t *descriptor(const struct push_blob *b)
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
	json_object_set_new(o, "config", descriptor(&p->blob[p->n_layers]));
	json_object_set_new(o, "layers", list);
	for (size_t i = 0; i < p->n_layers; i++)
		json_array_append_new(list, descriptor(&p->blob[i]));
	p->manifest.text = json_text(o);
	p->manifest.len = strlen(p->manifest.text);
	p->manifest.media_type = mem_str(OCI_MANIFEST);
	hash_bytes(p->manifest.text, p->manifest.len, &p->manifest.digest);
}

static int put_manifest(struct push *p, struct err *err)
{
	auto_json json_t *req = image_remote_request(&p->remote, REGISTRY_PUT);
	auto_db_tx struct db *tx = NULL;
	auto_fd int fd = -1;
	struct digest stored;
	int rc = store_blob_put(p->rt->store, p->manifest.text, p->manifest.len, &stored, err);

	if (rc >= 0)
		rc = store_blob_open(p->rt->store, &stored, &fd, err);
	json_set_str(req, "ref", p->remote.tag ? p->remote.tag : digest_str(&stored));
	json_set_str(req, "type", p->manifest.media_type);
	if (rc >= 0)
		rc = image_transfer_call(p->remote.t, req, fd, NULL, err);
	if (rc >= 0)
		rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);
	/* It may have been removed with another image meanwhile: under the lock it is there. */
	if (rc >= 0)
		rc = store_blob_put(p->rt->store, p->manifest.text, p->manifest.len, NULL, err);
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
	struct push_blob *b = &p->blob[i];
	struct image_layer_blob form = { 0 };
	int rc;

	name_layer(p, i);
	if (kept) {
		b->digest = kept->digest;
		b->size = kept->size;
		b->media_type = mem_str(kept->media_type);
		return begin_blob(p, b, err);
	}
	rc = form_of(p, &p->layers[i], &form, err);
	if (rc < 0)
		return rc;
	b->digest = form.digest;
	b->size = form.size;
	b->media_type = mem_str(oci_type(form.media_type));
	return begin_blob(p, b, err);
}

static int begin_config(struct push *p, struct err *err)
{
	struct push_blob *b = &p->blob[p->n_layers];
	int rc = digest_parse(p->img->id, &b->digest, err);

	b->size = strlen(p->img->config);
	b->media_type = mem_str(OCI_CONFIG);
	return rc < 0 ? rc : begin_blob(p, b, err);
}

static int send_all(struct push *p, struct err *err)
{
	struct image_manifest kept = { 0 };
	int is_kept = find_kept(p, &kept, err), rc = is_kept;

	p->blob = mem_array(p->n_layers + 1, sizeof(*p->blob));
	for (size_t i = 0; rc >= 0 && i < p->n_layers; i++)
		rc = begin_layer(p, i, is_kept ? &kept.layers[i] : NULL, err);
	image_manifest_free(&kept);
	if (rc >= 0)
		rc = begin_config(p, err);
	while (rc >= 0 && (rc = advance(p, err)) > 0)
		rc = image_transfer_wait(p->remote.t, -1, TICK_MS, err);
	if (rc >= 0 && !is_kept)
		write_manifest(p);
	return rc;
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
	auto_free char *text = NULL;
	int rc = find_image(p, normalized, err);

	if (rc < 0)
		return rc;
	text = mem_fmt("The push refers to repository [%s]", p->remote.repo);
	emit(p, IMAGE_TRANSFER_TEXT, NULL, text);
	rc = image_remote_open(&p->o->access, true, p->o->interrupted, &p->remote, err);
	if (rc >= 0)
		rc = send_all(p, err);
	return rc < 0 ? rc : put_manifest(p, err);
}

int image_push(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
	       char ret_digest[DIGEST_STR_MAX], struct err *err)
{
	auto_fd int lease = image_lease(rt, err);
	cleanup(push_free) struct push p = { .rt = rt, .o = o };
	auto_free char *line = NULL;
	int rc;

	if (lease < 0)
		return lease;
	image_remote_name(normalized, &p.remote);
	rc = push(&p, normalized, err);
	if (rc < 0) {
		auto_free char *name = image_ref_familiar(normalized);

		return err_ctx(err, "push %s", name);
	}
	line = mem_fmt("%s: digest: %s size: %zu", p.remote.tag ? p.remote.tag : p.remote.digest,
		       digest_str(&p.manifest.digest), p.manifest.len);
	emit(&p, IMAGE_TRANSFER_TEXT, NULL, line);
	digest_format(&p.manifest.digest, ret_digest);
	return 0;
}
