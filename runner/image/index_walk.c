/* SPDX-License-Identifier: Apache-2.0 */
/* An index with all that it names, attestations too: its documents are kept, of the blobs the
 * caller is told. The same for a registry's and an archive's, both of which are foreign. */
#include <errno.h>
#include <string.h>

#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { DEPTH_MAX = 4, DOCS_MAX = 2000, BLOBS_MAX = 100000 };

static bool is_named(const struct image_index_walk *w, const struct digest *d)
{
	return json_object_get(w->seen, digest_hex(d)) != NULL;
}

static int name(struct image_index_walk *w, const struct digest *d, struct err *err)
{
	if (w->named->n >= BLOBS_MAX)
		return err_set(err, EFBIG, "an index of more than %d blobs", BLOBS_MAX);
	json_object_set_new(w->seen, digest_hex(d), json_true());
	strv_add(w->named, digest_str(d));
	return 0;
}

static int walk_blob(struct image_index_walk *w, const struct image_descriptor *d, struct err *err)
{
	int rc;

	/* Windows' own layers, which no registry may give away, and no archive has. */
	if (strstr(d->media_type, "nondistributable") || strstr(d->media_type, "foreign"))
		return 0;
	if (is_named(w, &d->digest))
		return 0;
	rc = name(w, &d->digest, err);
	return rc < 0 || store_blob_exists(w->rt->store, &d->digest) ? rc : w->blob(w->arg, d, err);
}

static int walk(struct image_index_walk *w, const struct image_document *d, int depth,
		struct err *err);

static int walk_entry(struct image_index_walk *w, const struct image_descriptor *e, int depth,
		      struct err *err)
{
	struct image_document d = { 0 };
	int rc = 0;

	if (is_named(w, &e->digest))
		return 0;
	if (++w->docs > DOCS_MAX)
		return err_set(err, EFBIG, "an index of more than %d manifests", DOCS_MAX);
	rc = w->read(w->arg, e, &d, err);
	if (rc >= 0)
		rc = walk(w, &d, depth + 1, err);
	image_document_free(&d);
	return rc < 0 ? err_ctx(err, "manifest %.19s", digest_str(&e->digest)) : 0;
}

static int walk(struct image_index_walk *w, const struct image_document *d, int depth,
		struct err *err)
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
		rc = name(w, &d->digest, err);
	if (rc >= 0)
		rc = store_blob_put(w->rt->store, d->text, d->len, NULL, err);
	for (size_t i = 0; rc >= 0 && i < list.n; i++)
		rc = kind == IMAGE_DOC_INDEX ? walk_entry(w, &list.v[i], depth, err)
					     : walk_blob(w, &list.v[i], err);
	return rc < 0 ? rc : 0;
}

int image_index_walk(struct image_index_walk *w, const struct image_document *top, struct err *err)
{
	int rc;

	w->seen = json_object();
	rc = walk(w, top, 0, err);
	json_decref(w->seen);
	return rc;
}
