/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull. Layers are fetched and unpacked side by side, each into a snapshot of its own without
 * parents; in order, as each is whole, they are put upon each other and published: files, then
 * rows. So a pull that ends anywhere leaves whole layers, which the next one finds by their
 * ChainID, and partial files, which it continues. Needs libcrypto.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/registry.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"
#include "trust.h"

enum { INDEX_DEPTH_MAX = 4, TICK_MS = 100, KEEP_TRIES = 3 };

struct pull {
	struct runtime *rt;
	const struct image_pull_opts *o;
	const char *name;
	struct image_remote remote;
	struct image_platform platform;
	struct image_document top,
		doc; /* what the name means; the manifest, when that is an index */
	struct image_manifest manifest;
	char *config_text;
	size_t config_len;
	struct image_config *config;
	struct image_fetch *fetch;
	size_t n;         /* of fetch */
	int done_fd;      /* counts finished workers */
	int64_t snapshot; /* the topmost that is published */
	struct digest chain;
	bool is_changed;  /* something was new */
	struct strv kept; /* the blobs of an index that is kept whole */
};

static void pull_free(struct pull *p)
{
	struct err ignored;

	/* Without its other end every pump comes to its end. */
	image_remote_free(&p->remote);
	for (size_t i = 0; i < p->n; i++) {
		struct image_fetch *f = &p->fetch[i];

		f->stop = true;
		fd_close(&f->net_fd);
		image_fetch_join(f);
		fd_close(&f->part_fd);
		image_fetch_close(f);
		if (f->snapshot && !f->is_published)
			image_release(p->rt, f->snapshot, &ignored);
	}
	free(p->fetch);
	fd_close(&p->done_fd);
	image_platform_free(&p->platform);
	image_document_free(&p->top);
	image_document_free(&p->doc);
	image_manifest_free(&p->manifest);
	image_config_free(p->config);
	free(p->config_text);
	strv_free(&p->kept);
}

static void emit(const struct pull *p, enum image_transfer_event_kind kind,
		 const struct image_fetch *f, const char *text)
{
	struct image_transfer_event e = { .kind = kind, .text = text };
	char id[13] = "";

	if (!p->o->event)
		return;
	if (f) {
		snprintf(id, sizeof(id), "%.12s", digest_hex(&f->desc->digest));
		e.id = id;
		e.done_bytes = f->done_bytes;
		e.total_bytes = f->desc->size;
	}
	p->o->event(&e, p->o->arg);
}

static void emit_text(const struct pull *p, char *text)
{
	emit(p, IMAGE_TRANSFER_TEXT, NULL, text);
	free(text);
}

static void on_remote(int id, const char *retry, uint64_t bytes, void *arg)
{
	const struct pull *p = arg;

	(void)bytes;
	for (size_t i = 0; retry && i < p->n; i++)
		if (p->fetch[i].request == id) {
			emit(p, IMAGE_TRANSFER_RETRY, &p->fetch[i], retry);
			return;
		}
	if (retry)
		emit(p, IMAGE_TRANSFER_RETRY, NULL, retry);
}

/* --- what is to be had --- */

/* Of what is kept for all platforms some image has to be there to run. */
static int choose(struct pull *p, const json_t *doc, struct digest *ret, struct err *err)
{
	const char *type;
	int rc = image_index_choose(doc, &p->platform, ret, &type, err);

	if (rc != -ENOENT || !p->o->all_platforms)
		return rc;
	err_clear(err);
	return image_index_first(doc, ret, err);
}

static int find_manifest(struct pull *p, struct err *err)
{
	const char *ref = p->remote.digest ? p->remote.digest : p->remote.tag;
	struct image_document *d = &p->top;
	int rc = image_remote_manifest(&p->remote, ref, d, err);

	for (int depth = 0; rc >= 0; depth++) {
		auto_json json_t *doc = NULL;
		enum image_doc kind;
		struct digest next;

		rc = image_doc_kind(d, &doc, &kind, err);
		if (rc >= 0 && kind == IMAGE_DOC_MANIFEST)
			return image_manifest_parse(doc, &p->manifest, err);
		if (rc >= 0 && depth == INDEX_DEPTH_MAX)
			rc = err_set(err, ELOOP, "indexes nested deeper than %d", INDEX_DEPTH_MAX);
		if (rc >= 0)
			rc = choose(p, doc, &next, err);
		if (rc < 0)
			break;
		image_document_free(&p->doc);
		d = &p->doc;
		rc = image_remote_manifest(&p->remote, digest_str(&next), d, err);
	}
	return rc;
}

static int check_config(struct pull *p, struct err *err)
{
	static const char *const types[] = { "application/vnd.oci.image.config.v1+json",
					     "application/vnd.docker.container.image.v1+json",
					     "application/octet-stream" };
	const struct image_config *c = p->config;

	for (size_t i = 0;; i++) {
		if (i == ARRAY_LEN(types))
			return err_set(err, ENOTSUP, "it is no image: its config is '%s'",
				       p->manifest.config.media_type);
		if (str_eq(types[i], p->manifest.config.media_type))
			break;
	}
	if (c->diff_ids.n != p->manifest.n)
		return err_set(err, EBADMSG, "%zu layers, but the config names %zu", p->manifest.n,
			       c->diff_ids.n);
	if (p->o->platform &&
	    !image_platform_fits(&p->platform, c->os, c->architecture, c->variant))
		return err_set(err, ENOENT,
			       "it is there for %s/%s only, not for the platform asked for", c->os,
			       c->architecture);
	return 0;
}

static int fetch_config(struct pull *p, struct err *err)
{
	int rc = image_remote_blob(&p->remote, &p->manifest.config.digest, p->manifest.config.size,
				   &p->config_text, &p->config_len, err);

	if (rc >= 0)
		rc = image_config_parse(p->config_text, p->config_len, &p->config, err);
	return rc < 0 ? rc : check_config(p, err);
}

/* --- layers --- */

/* Those that are there from the bottom up need nothing. */
static int find_present(struct pull *p, struct err *err)
{
	bool is_here = true;

	p->fetch = mem_array(p->manifest.n + 1, sizeof(*p->fetch));
	for (size_t i = 0; i < p->manifest.n; i++) {
		struct image_fetch *f = &p->fetch[i];
		struct digest chain;
		int64_t there = 0;
		int rc = digest_parse(p->config->diff_ids.v[i], &f->diff_id, err);

		if (rc < 0)
			return rc;
		f->desc = &p->manifest.layers[i];
		image_fetch_init(f, p->done_fd);
		f->max_bytes = p->rt->max_layer_bytes;
		p->n = i + 1;
		hash_chain(i ? &p->chain : NULL, &f->diff_id, &chain);
		p->chain = chain;
		if (is_here)
			there = image_layer_find(p->rt, &chain);
		is_here = there != 0;
		if (!is_here)
			continue;
		f->is_published = true;
		p->snapshot = there;
		emit(p, IMAGE_TRANSFER_EXISTS, f, "Already exists");
	}
	return 0;
}

static int start(struct pull *p, struct image_fetch *f, struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE };
	struct snap_info info;
	int rc = snap_prepare(p->rt->snap, &fresh, &info, err);

	if (rc < 0)
		return rc;
	f->snapshot = info.id;
	rc = image_fs_open(p->rt, info.id, &f->fs_fd, err);
	if (rc >= 0)
		rc = image_layer_blob_find(p->rt, &f->desc->digest, digest_str(&f->diff_id), err);
	f->is_local = rc > 0;
	if (f->is_local)
		rc = store_blob_open(p->rt->store, &f->desc->digest, &f->part_fd, err);
	else if (rc >= 0)
		rc = image_fetch_part(p->rt, f, err);
	if (rc >= 0 && !f->is_local)
		rc = image_fetch_ask(f, &p->remote, err);
	if (rc >= 0)
		rc = image_fetch_start(f, err);
	if (rc >= 0)
		emit(p, IMAGE_TRANSFER_BEGIN, f, NULL);
	return rc;
}

/* The same blob twice in an image: the second time it is taken from the store. */
static bool is_same_on_its_way(const struct pull *p, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!p->fetch[k].is_published &&
		    digest_eq(&p->fetch[k].desc->digest, &p->fetch[i].desc->digest))
			return true;
	return false;
}

static int start_some(struct pull *p, struct err *err)
{
	long limit = image_fetch_at_once(), running = 0;
	int rc = 0;

	for (size_t i = 0; i < p->n; i++)
		running += p->fetch[i].is_started && !p->fetch[i].is_finished;
	for (size_t i = 0; rc >= 0 && i < p->n && running < limit; i++) {
		struct image_fetch *f = &p->fetch[i];

		if (f->is_published || f->is_started || is_same_on_its_way(p, i))
			continue;
		rc = start(p, f, err);
		running++;
	}
	return rc;
}

/* Blob and rows in one transaction: a removal takes away what no row names under the same lock. */
static int put_rows(struct pull *p, struct image_fetch *f, const struct layer_info *ours,
		    struct err *err)
{
	bool is_foreign = !ours->is_same;
	/* An uncompressed layer that we can write ourselves is not kept twice. */
	bool is_kept = is_foreign || !digest_eq(&f->desc->digest, &f->diff_id);
	struct image_layer_blob b = { .digest = f->desc->digest, .size = f->desc->size };
	struct layer_info info = *ours;
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);

	info.diff_id = f->diff_id;
	info.tar_bytes = f->stream.tar_bytes;
	snprintf(b.media_type, sizeof(b.media_type), "%s", f->desc->media_type);
	if (rc >= 0 && !f->is_local && is_kept)
		rc = image_fetch_part_keep(p->rt, f, err);
	else if (!f->is_local)
		image_fetch_part_remove(p->rt, f);
	if (rc >= 0 && is_foreign)
		rc = image_origin_set(p->rt, f->snapshot, &b.digest, err);
	if (rc >= 0)
		rc = image_layer_store(p->rt, f->snapshot, &info, err);
	if (rc >= 0 && is_kept)
		rc = image_layer_blob_put(p->rt, digest_str(&f->diff_id), &b, err);
	if (rc >= 0)
		rc = image_remote_blob_note(p->rt, p->remote.repo, digest_str(&b.digest), err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static int publish(struct pull *p, struct image_fetch *f, struct err *err)
{
	struct layer_info ours = { 0 };
	int rc = image_fetch_put_upon(p->rt, f, p->snapshot, &ours, err);

	if (rc >= 0)
		rc = put_rows(p, f, &ours, err);
	if (rc < 0)
		return rc;
	f->is_published = true;
	fd_close(&f->part_fd);
	p->snapshot = f->snapshot;
	p->is_changed = true;
	emit(p, IMAGE_TRANSFER_DONE, f, "Pull complete");
	return 0;
}

/* 1 while some are not published yet. */
static int advance(struct pull *p, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < p->n; i++) {
		struct image_fetch *f = &p->fetch[i];

		if (f->is_started && !f->is_done && f->is_finished)
			rc = image_fetch_settle(p->rt, f, &p->remote, err);
		else if (f->is_started && !f->is_done)
			emit(p, IMAGE_TRANSFER_PROGRESS, f, NULL);
	}
	for (size_t i = 0; rc >= 0 && i < p->n; i++) {
		if (p->fetch[i].is_published)
			continue;
		if (!p->fetch[i].is_done)
			return 1;
		rc = publish(p, &p->fetch[i], err);
		if (rc >= 0)
			rc = start_some(p, err);
	}
	return rc < 0 ? rc : 0;
}

static int fetch_layers(struct pull *p, struct err *err)
{
	int rc = find_present(p, err);

	if (rc >= 0)
		rc = start_some(p, err);
	while (rc >= 0 && (rc = advance(p, err)) > 0) {
		uint64_t n;

		rc = start_some(p, err);
		if (rc >= 0)
			rc = image_transfer_wait(p->remote.t, p->done_fd, TICK_MS, err);
		if (read(p->done_fd, &n, sizeof(n)) < 0 && errno != EAGAIN && errno != EINTR)
			rc = err_sys(err, "wait");
		/* Answers are taken as they come, so that its socket never fills up. */
		if (rc >= 0)
			rc = image_transfer_answer(p->remote.t, 0, NULL, err);
	}
	return rc < 0 ? rc : 0;
}

/* --- the image --- */

/* Layers that were here may be so in another form: where these blobs are is what a push needs. */
static int note_blobs(const struct pull *p, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < p->manifest.n; i++)
		rc = image_remote_blob_note(p->rt, p->remote.repo,
					    digest_str(&p->manifest.layers[i].digest), err);
	return rc;
}

static int put_image(struct pull *p, char id[DIGEST_STR_MAX], struct err *err)
{
	const struct image_document *m = p->doc.text ? &p->doc : &p->top;
	auto_free struct image_layer *layers = NULL;
	auto_strv struct strv tags = { 0 };
	struct image_new n = { .text = p->config_text,
			       .len = p->config_len,
			       .snapshot = p->snapshot,
			       .created_s = p->config->created_s,
			       .tags = &tags };
	auto_db_tx struct db *tx = NULL;
	struct digest stored;
	size_t count = 0;
	int rc;

	if (p->remote.tag && !p->o->untagged)
		strv_add(&tags, p->name);
	rc = image_layers(p->rt, p->snapshot, &layers, &count, err);
	for (size_t i = 0; rc >= 0 && i < count; i++)
		n.size_bytes += layers[i].size_bytes;
	if (rc >= 0)
		rc = db_tx_begin(p->rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = image_put(p->rt, &n, id, err);
	if (rc >= 0)
		rc = store_blob_put(p->rt->store, m->text, m->len, &stored, err);
	if (rc >= 0)
		rc = image_manifest_put(p->rt, id, m->media_type, &stored, err);
	if (rc >= 0)
		rc = image_repo_digest_put(p->rt, p->remote.repo, digest_str(&p->top.digest), id,
					   err);
	if (rc >= 0 && !p->o->untagged)
		rc = image_tag_doc_put(p->rt, p->name, id, digest_str(&p->top.digest), err);
	if (rc >= 0)
		rc = note_blobs(p, err);
	if (rc >= 0 && p->kept.n)
		rc = image_index_put(p->rt, &p->top, &p->kept, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* What is fetched for other platforms has no row until then, and may go with another image. */
static int keep_image(struct pull *p, char id[DIGEST_STR_MAX], struct err *err)
{
	bool is_index = p->doc.text != NULL;
	int rc = 0;

	if (!p->o->all_platforms || !is_index)
		return put_image(p, id, err);
	for (int i = 0; i < KEEP_TRIES; i++) {
		strv_free(&p->kept);
		err_clear(err);
		rc = image_index_fetch(p->rt, &p->remote, &p->top, p->o, &p->kept, err);
		if (rc >= 0)
			rc = put_image(p, id, err);
		if (rc != -ENOENT)
			break;
	}
	return rc;
}

static void report(const struct pull *p, const char *digest, bool is_new)
{
	auto_free char *name = image_ref_familiar(p->name);

	emit_text(p, mem_fmt("Digest: %s", digest));
	emit_text(p, mem_fmt("Status: %s for %s",
			     is_new ? "Downloaded newer image" : "Image is up to date", name));
}

/* --- what is there already --- */

/* All platforms, where there are several: 1. */
static int is_kept(struct pull *p, const char *id, const char *digest, struct err *err)
{
	int64_t one;
	int rc = image_index_has(p->rt, digest, err);

	if (rc != 0)
		return rc;
	return db_get_int(p->rt->db, "SELECT 1 FROM manifests WHERE image=?1 AND digest=?2",
			  DB_ARGS(DB_T(id), DB_T(digest)), &one, err);
}

/* Without a wish it is the image for this machine, or the only one that the digest means: 1. */
static int is_meant(struct pull *p, const char *id, const char *digest,
		    const struct image_config *c, struct err *err)
{
	int64_t one;

	/* What fits less well is not taken for it: the index may have a better one. */
	if (p->o->platform)
		return image_platform_is(&p->platform, c->os, c->architecture, c->variant);
	if (image_platform_fits(&p->platform, c->os, c->architecture, c->variant))
		return 1;
	return db_get_int(p->rt->db, "SELECT 1 FROM manifests WHERE image=?1 AND digest=?2",
			  DB_ARGS(DB_T(id), DB_T(digest)), &one, err);
}

/* The repository's digest is known and its image is here, for the platform wanted: 1. */
static int find_known(struct pull *p, const char *digest, char id[DIGEST_STR_MAX], struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(p->rt->db,
			  "SELECT image FROM repo_digests WHERE repo=?1 AND digest=?2"
			  " AND image IN (SELECT id FROM images)",
			  DB_ARGS(DB_T(p->remote.repo), DB_T(digest)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		auto_image_config struct image_config *c = NULL;
		auto_image struct image *img = NULL;

		rc = image_get(p->rt, db_col_str(st, 0), &img, err);
		if (rc >= 0)
			rc = image_config_of(img, &c, err);
		if (rc >= 0)
			rc = is_meant(p, img->id, digest, c, err);
		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		memcpy(id, img->id, DIGEST_STR_MAX);
		return p->o->all_platforms ? is_kept(p, id, digest, err) : 1;
	}
	return rc;
}

static int note_name(struct pull *p, const char *id, const char *digest, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	auto_free char *was = NULL;
	int rc = image_tag_doc_get(p->rt, p->name, id, &was, err);

	if (rc < 0 || (!p->is_changed && str_eq(was, digest)))
		return rc < 0 ? rc : 0;
	rc = db_tx_begin(p->rt->db, DB_FULL, &tx, err);
	if (rc >= 0 && p->is_changed)
		rc = image_tag(p->rt, id, p->name, err);
	if (rc >= 0)
		rc = image_tag_doc_put(p->rt, p->name, id, digest, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* One HEAD tells whether the tag means what it did. */
static int is_current(struct pull *p, char id[DIGEST_STR_MAX], struct err *err)
{
	auto_json json_t *req = image_remote_request(&p->remote, REGISTRY_HEAD), *answer = NULL;
	auto_free char *there = NULL;
	const char *digest;
	int rc;

	rc = store_tag_get(p->rt->store, p->name, &there, err);
	if (rc < 0) {
		err_clear(err);
		return 0;
	}
	json_set_str(req, "ref", p->remote.tag);
	image_remote_accept(req);
	rc = image_transfer_call(p->remote.t, req, -1, &answer, err);
	digest = rc < 0 ? NULL : json_get_str(answer, "digest");
	if (!digest)
		return rc < 0 ? rc : 0;
	rc = find_known(p, digest, id, err);
	if (rc > 0 && image_trust_check(&p->o->access, &p->remote, digest, err) < 0)
		return -err->code;
	if (rc <= 0)
		return rc;
	p->is_changed = !p->o->untagged && !str_eq(there, id);
	rc = p->o->untagged ? 0 : note_name(p, id, digest, err);
	if (rc < 0)
		return rc;
	report(p, digest, p->is_changed);
	return 1;
}

/* The name had that image already, or, of a digest, it is new. */
static bool is_new(struct pull *p, const char *was, const char *id)
{
	return p->is_changed || (p->remote.tag && !str_eq(was, id));
}

static int fetch_image(struct pull *p, char id[DIGEST_STR_MAX], struct err *err)
{
	auto_free char *was = NULL;
	struct err ignored;
	int rc = find_manifest(p, err);

	store_tag_get(p->rt->store, p->name, &was, &ignored);
	if (rc >= 0)
		rc = image_trust_check(&p->o->access, &p->remote, digest_str(&p->top.digest), err);
	if (rc >= 0)
		rc = fetch_config(p, err);
	if (rc >= 0)
		rc = fetch_layers(p, err);
	if (rc >= 0)
		rc = keep_image(p, id, err);
	if (rc >= 0)
		report(p, digest_str(&p->top.digest), is_new(p, was, id));
	return rc;
}

static int pull(struct pull *p, char id[DIGEST_STR_MAX], struct err *err)
{
	bool is_signed = false;
	int rc = image_platform_parse(p->o->platform, &p->platform, err);

	if (rc >= 0)
		rc = image_trust_begin(&p->o->access, &p->remote, &is_signed, err);
	if (rc < 0)
		return rc;
	emit_text(p, mem_fmt("%s: Pulling from %s",
			     p->remote.digest ? p->remote.digest : p->remote.tag, p->remote.path));
	if (p->remote.digest && !is_signed) {
		rc = find_known(p, p->remote.digest, id, err);
		if (rc > 0)
			report(p, p->remote.digest, false);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	rc = image_remote_open(&p->o->access, false, p->o->interrupted, &p->remote, err);
	if (rc >= 0)
		image_transfer_on_event(p->remote.t, on_remote, p);
	if (rc >= 0 && p->remote.tag)
		rc = is_current(p, id, err);
	if (rc)
		return rc < 0 ? rc : 0;
	return fetch_image(p, id, err);
}

/* --- of depots --- */

void image_look_free(struct image_look *l)
{
	free(l->config);
	image_manifest_free(&l->manifest);
	fd_close(&l->lock_fd);
	*l = (struct image_look){ .lock_fd = -1 };
}

static int look(struct pull *p, struct err *err)
{
	bool is_signed;
	int rc = image_platform_parse(p->o->platform, &p->platform, err);

	if (rc >= 0)
		rc = image_trust_begin(&p->o->access, &p->remote, &is_signed, err);
	if (rc >= 0)
		rc = image_remote_open(&p->o->access, false, p->o->interrupted, &p->remote, err);
	if (rc >= 0)
		rc = find_manifest(p, err);
	if (rc >= 0)
		rc = image_trust_check(&p->o->access, &p->remote, digest_str(&p->top.digest), err);
	return rc < 0 ? rc
		      : image_remote_blob(&p->remote, &p->manifest.config.digest,
					  p->manifest.config.size, &p->config_text, &p->config_len,
					  err);
}

int image_pull_look(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
		    struct image_look *ret, struct err *err)
{
	cleanup(pull_free) struct pull p = { .rt = rt, .o = o, .name = normalized, .done_fd = -1 };
	int rc;

	image_remote_name(normalized, &p.remote);
	rc = look(&p, err);
	if (rc < 0)
		return rc;
	*ret = (struct image_look){ take(p.config_text), p.config_len, p.manifest, -1 };
	p.manifest = (struct image_manifest){ 0 };
	return 0;
}

static int pull_layers(struct pull *p, const struct image_chain *c, struct err *err)
{
	struct image_manifest *m = &p->manifest;
	size_t n = c->diff_ids.n;

	p->config = image_config_new();
	strv_copy(&p->config->diff_ids, &c->diff_ids);
	m->layers = mem_array(n + 1, sizeof(*m->layers));
	for (; m->n < n; m->n++) {
		m->layers[m->n] = c->desc[m->n];
		m->layers[m->n].media_type = mem_str(c->desc[m->n].media_type);
	}
	if (p->done_fd < 0)
		return err_sys(err, "event");
	image_transfer_on_event(p->remote.t, on_remote, p);
	return fetch_layers(p, err);
}

int image_pull_layers(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
		      const struct image_chain *c, int64_t *ret_top, struct err *err)
{
	cleanup(pull_free) struct pull p = { .rt = rt, .o = o, .name = normalized };
	int rc;

	p.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	image_remote_name(normalized, &p.remote);
	image_fetch_sweep(rt);
	rc = image_remote_open(&o->access, false, o->interrupted, &p.remote, err);
	if (rc >= 0)
		rc = pull_layers(&p, c, err);
	if (rc >= 0)
		*ret_top = p.snapshot;
	return rc;
}

int image_pull(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
	       char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_fd int lease = image_lease(rt, err); /* let go after what is undone */
	cleanup(pull_free) struct pull p = { .rt = rt, .o = o, .name = normalized };
	int rc;

	p.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lease < 0)
		return lease;
	if (p.done_fd < 0)
		return err_sys(err, "event");
	image_remote_name(normalized, &p.remote);
	image_fetch_sweep(rt);
	rc = pull(&p, ret_id, err);
	if (rc < 0) {
		auto_free char *name = image_ref_familiar(normalized);

		return err_ctx(err, "pull %s", name);
	}
	image_event(rt, "pull", NULL, normalized);
	return 0;
}
