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

struct gather {
	const struct image_load *ld;
	struct strv named; /* all that it is made of */
	struct image_document top;
};

static void gather_free(struct gather *g)
{
	strv_free(&g->named);
	image_document_free(&g->top);
}

static int keep_blob(void *arg, const struct image_descriptor *d, struct err *err)
{
	cleanup(image_load_file_close) struct image_load_file f = { .fd = -1 };
	auto_free char *path = mem_fmt("blobs/sha256/%s", digest_hex(&d->digest));
	struct gather *g = arg;
	int rc = image_load_open(g->ld, path, &f, err);

	return rc < 0 ? rc : image_load_keep(g->ld, &f, &d->digest, err);
}

static int read_doc(void *arg, const struct image_descriptor *d, struct image_document *ret,
		    struct err *err)
{
	auto_json json_t *desc = json_object();
	struct gather *g = arg;

	json_set_str(desc, "digest", digest_str(&d->digest));
	ret->digest = d->digest;
	ret->media_type = mem_str(d->media_type);
	return image_load_blob(g->ld, desc, &ret->text, &ret->len, err);
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
	struct image_index_walk w = {
		.rt = ld->rt, .named = &g.named, .read = read_doc, .blob = keep_blob, .arg = &g
	};
	struct image_descriptor top = { 0 };
	int rc = digest_parse(json_get_str(desc, "digest"), &top.digest, err);

	top.media_type = (char *)(uintptr_t)json_get_str(desc, "mediaType");
	if (rc >= 0)
		rc = read_doc(&g, &top, &g.top, err);
	if (rc >= 0)
		rc = image_index_walk(&w, &g.top, err);
	if (rc >= 0)
		rc = put_rows(&g, l, err);
	return rc < 0 ? err_ctx(err, "all platforms") : 0;
}
