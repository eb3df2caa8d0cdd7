/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load --all-platforms: everything that an index in a layout names comes into the store as blobs,
 * attestations too, as pull --all-platforms has it. Needs libcrypto.
 */
#include <errno.h>
#include <string.h>

#include <shale/base/hash.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { DEPTH_MAX = 4, DOCS_MAX = 2000, BLOBS_MAX = 100000 };

struct gather {
	const struct image_load *ld;
	struct strv named; /* all that it is made of */
	json_t *seen;      /* the same, to look up */
	struct image_document top;
	size_t docs;
};

static void gather_free(struct gather *g)
{
	strv_free(&g->named);
	json_decref(g->seen);
	image_document_free(&g->top);
}

static int name(struct gather *g, const struct digest *d, struct err *err)
{
	if (g->named.n >= BLOBS_MAX)
		return err_set(err, EFBIG, "an index of more than %d blobs", BLOBS_MAX);
	json_object_set_new(g->seen, digest_hex(d), json_true());
	strv_add(&g->named, digest_str(d));
	return 0;
}

static int keep_blob(struct gather *g, const struct image_descriptor *d, struct err *err)
{
	cleanup(image_load_file_close) struct image_load_file f = { .fd = -1 };
	auto_free char *path = mem_fmt("blobs/sha256/%s", digest_hex(&d->digest));
	int rc;

	/* Windows' own layers, which no archive has. */
	if (strstr(d->media_type, "nondistributable") || strstr(d->media_type, "foreign"))
		return 0;
	if (json_object_get(g->seen, digest_hex(&d->digest)))
		return 0;
	rc = name(g, &d->digest, err);
	if (rc < 0 || store_blob_exists(g->ld->rt->store, &d->digest))
		return rc;
	rc = image_load_open(g->ld, path, &f, err);
	return rc < 0 ? rc : image_load_keep(g->ld, &f, &d->digest, err);
}

static int read_doc(struct gather *g, const struct digest *d, const char *media_type,
		    struct image_document *ret, struct err *err)
{
	auto_json json_t *desc = json_object();

	json_set_str(desc, "digest", digest_str(d));
	ret->digest = *d;
	ret->media_type = mem_str(media_type);
	return image_load_blob(g->ld, desc, &ret->text, &ret->len, err);
}

static int walk(struct gather *g, const struct image_document *d, int depth, struct err *err);

static int walk_entry(struct gather *g, const struct image_descriptor *e, int depth,
		      struct err *err)
{
	struct image_document d = { 0 };
	int rc = 0;

	if (json_object_get(g->seen, digest_hex(&e->digest)))
		return 0;
	if (++g->docs > DOCS_MAX)
		return err_set(err, EFBIG, "an index of more than %d manifests", DOCS_MAX);
	rc = read_doc(g, &e->digest, e->media_type, &d, err);
	if (rc >= 0)
		rc = walk(g, &d, depth + 1, err);
	image_document_free(&d);
	return rc < 0 ? err_ctx(err, "manifest %.19s", digest_str(&e->digest)) : 0;
}

static int walk(struct gather *g, const struct image_document *d, int depth, struct err *err)
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
		rc = name(g, &d->digest, err);
	if (rc >= 0)
		rc = store_blob_put(g->ld->rt->store, d->text, d->len, NULL, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = kind == IMAGE_DOC_INDEX ? walk_entry(g, &list.v[i], depth, err)
					     : keep_blob(g, &list.v[i], err);
	return rc < 0 ? rc : 0;
}

static int put_rows(struct gather *g, const struct image_loaded *l, struct err *err)
{
	struct runtime *rt = g->ld->rt;
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);

	if (rc >= 0)
		rc = image_index_put(rt, &g->top, &g->named, err);
	for (size_t i = 0; rc >= 0 && i < l->tags.n; i++)
		rc = image_tag_doc_put(rt, l->tags.v[i], l->id, digest_str(&g->top.digest), err);
	/* Without a name its ID does. */
	if (rc >= 0 && !l->tags.n)
		rc = image_tag_doc_put(rt, l->id, l->id, digest_str(&g->top.digest), err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_load_index(const struct image_load *ld, const json_t *desc, const struct image_loaded *l,
		     struct err *err)
{
	cleanup(gather_free) struct gather g = { .ld = ld };
	const char *digest = json_get_str(desc, "digest");
	struct digest d;
	int rc = digest_parse(digest, &d, err);

	g.seen = json_object();
	if (rc >= 0)
		rc = read_doc(&g, &d, json_get_str(desc, "mediaType"), &g.top, err);
	if (rc >= 0)
		rc = walk(&g, &g.top, 0, err);
	if (rc >= 0)
		rc = put_rows(&g, l, err);
	return rc < 0 ? err_ctx(err, "all platforms") : 0;
}
