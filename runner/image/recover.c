/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of layers, images and manifests, from what is in the store, for a database that was lost. A
 * layer's DiffID and size are kept with its file table; which layers an image has, its config says.
 * Everything read here is checked as if it was foreign. Needs libcrypto.
 */
#include <shale/image.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/layer.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

static int ids_of(struct runtime *rt, const char *sql, int64_t **ret, size_t *ret_n,
		  struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_free int64_t *v = NULL;
	size_t n = 0, cap = 0;
	int rc = db_query(rt->db, sql, NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		mem_room(v, n, cap);
		v[n++] = db_col_int(st, 0);
	}
	if (rc < 0)
		return rc;
	*ret = take(v);
	*ret_n = n;
	return 0;
}

/* What is said of the thing does not end all; that rows cannot be written does. */
static bool is_ours(int rc, const struct err *from, struct err *to)
{
	if (rc != -ENOSPC && rc != -EIO && rc != -EROFS)
		return false;
	*to = *from;
	return true;
}

/* From the bottom, since a ChainID needs those beneath it. A build that was killed has not read all
 * of its layers; a table of an earlier release has kept nothing, and its layer is read again. */
static int recover_layers(struct runtime *rt, struct image_recovered *ret, struct err *err)
{
	static const char sql[] =
		"WITH RECURSIVE t(id,depth) AS (SELECT id,0 FROM snapshots WHERE parent IS NULL AND kind=3"
		" UNION ALL SELECT s.id,t.depth+1 FROM snapshots s JOIN t ON s.parent=t.id WHERE s.kind=3)"
		" SELECT id FROM t ORDER BY depth,id";
	auto_free int64_t *ids = NULL;
	size_t n = 0;
	int rc = ids_of(rt, sql, &ids, &n, err);

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct layer_info info;
		struct err one = { 0 };

		rc = image_layer_record_get(rt, ids[i], &info);
		if (rc == -ENOENT)
			continue;
		rc = rc > 0 ? image_layer_store(rt, ids[i], &info, &one)
			    : image_layer_hash(rt, ids[i], &one);
		ret->layers += rc >= 0;
		if (rc >= 0)
			continue;
		strv_addf(&ret->lost, "%s", one.msg);
		rc = is_ours(rc, &one, err) ? rc : 0;
	}
	return rc;
}

/* The snapshot on top of a config's layers, 0 for none; -ENOENT. */
static int find_layers(struct runtime *rt, const struct image_config *c, int64_t *ret_snapshot,
		       uint64_t *ret_bytes, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	struct digest chain, diff;
	size_t n = 0;
	int rc = 0;

	*ret_snapshot = 0;
	for (size_t i = 0; rc >= 0 && i < c->diff_ids.n; i++) {
		rc = digest_parse(c->diff_ids.v[i], &diff, err);
		if (rc < 0)
			return rc;
		hash_chain(i ? &chain : NULL, &diff, &chain);
		*ret_snapshot = image_layer_find(rt, &chain);
		if (!*ret_snapshot)
			return err_set(err, ENOENT, "its layer %zu of %zu (%.19s) is lost", i + 1,
				       c->diff_ids.n, c->diff_ids.v[i]);
	}
	rc = image_layers(rt, *ret_snapshot, &l, &n, err);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		*ret_bytes += l[i].size_bytes;
	return rc;
}

static int recover_image(struct runtime *rt, const char *text, size_t len, const char *id,
			 struct image_recovered *ret, struct err *err)
{
	auto_image_config struct image_config *c = NULL;
	struct image_new n = { .text = text, .len = len };
	char same[DIGEST_STR_MAX];
	struct err why = { 0 };
	int rc = image_config_parse(text, len, &c, &why);

	if (rc >= 0)
		rc = find_layers(rt, c, &n.snapshot, &n.size_bytes, &why);
	if (rc >= 0) {
		n.created_s = c->created_s;
		rc = image_put(rt, &n, same, &why);
	}
	ret->images += rc >= 0;
	if (rc >= 0 || is_ours(rc, &why, err))
		return rc;
	strv_addf(&ret->lost, "image %.19s: %s", id, why.msg);
	return 0;
}

/* Those of compressed layers in the order of the config's DiffIDs. */
static int recover_manifest(struct runtime *rt, const json_t *doc, const struct digest *d,
			    struct err *err)
{
	cleanup(image_manifest_free) struct image_manifest m = { 0 };
	auto_image_config struct image_config *c = NULL;
	const char *type = json_get_str(doc, "mediaType");
	auto_image struct image *img = NULL;
	int rc = image_manifest_parse(doc, &m, err);

	if (rc >= 0)
		rc = image_get(rt, digest_str(&m.config.digest), &img, err);
	if (rc >= 0)
		rc = image_config_load(rt, img->id, &img->config, err);
	if (rc >= 0)
		rc = image_config_parse(img->config, strlen(img->config), &c, err);
	if (rc >= 0)
		rc = image_manifest_put(rt, img->id,
					type ? type : "application/vnd.oci.image.manifest.v1+json",
					d, err);
	for (size_t i = 0; rc >= 0 && m.n == c->diff_ids.n && i < m.n; i++) {
		struct image_layer_blob b = { .digest = m.layers[i].digest,
					      .size = m.layers[i].size };

		snprintf(b.media_type, sizeof(b.media_type), "%s", m.layers[i].media_type);
		if (store_blob_exists(rt->store, &b.digest))
			rc = image_layer_blob_put(rt, c->diff_ids.v[i], &b, err);
	}
	return rc;
}

struct blobs {
	struct runtime *rt;
	struct image_recovered *ret;
	bool manifests; /* after the images */
};

/* A blob of JSON that is what its name says. */
static json_t *read_document(struct blobs *b, const struct blob_info *info, char **ret_text,
			     size_t *ret_len)
{
	struct err ignored = { 0 };
	json_t *doc = NULL;
	auto_fd int fd = -1;
	struct digest have;
	char first = 0;

	if (info->size_bytes > JSON_BYTES_MAX ||
	    store_blob_open(b->rt->store, &info->digest, &fd, &ignored) < 0 ||
	    pread(fd, &first, 1, 0) != 1 || first != '{' ||
	    fd_read_all(fd, JSON_BYTES_MAX, ret_text, ret_len, &ignored) < 0)
		return NULL;
	hash_bytes(*ret_text, *ret_len, &have);
	if (!digest_eq(&have, &info->digest)) {
		if (!b->manifests)
			strv_addf(&b->ret->lost, "blob %.19s: its content is another",
				  digest_str(&info->digest));
		return NULL;
	}
	return json_parse(*ret_text, *ret_len, &doc, &ignored) < 0 ? NULL : doc;
}

static int recover_blob(const struct blob_info *info, void *arg, struct err *err)
{
	struct blobs *b = arg;
	auto_free char *text = NULL;
	auto_json json_t *doc = NULL;
	struct err why = { 0 };
	size_t len = 0;
	int rc = 0;

	doc = read_document(b, info, &text, &len);
	if (doc && !b->manifests && json_object_get(doc, "rootfs"))
		return recover_image(b->rt, text, len, digest_str(&info->digest), b->ret, err);
	if (doc && b->manifests && json_object_get(doc, "layers"))
		rc = recover_manifest(b->rt, doc, &info->digest, &why);
	return rc < 0 && is_ours(rc, &why, err) ? rc : 0;
}

static int count(struct runtime *rt, const char *sql, size_t *ret, struct err *err)
{
	int64_t n = 0;
	int rc = db_get_int(rt->db, sql, NULL, &n, err);

	*ret = (size_t)n;
	return rc < 0 ? rc : 0;
}

int image_recover(struct runtime *rt, struct image_recovered *ret, struct err *err)
{
	struct blobs b = { .rt = rt, .ret = ret };
	int rc = snap_recover(rt->snap, &ret->lost, err);

	if (rc >= 0)
		rc = recover_layers(rt, ret, err);
	if (rc >= 0)
		rc = store_blob_walk(rt->store, recover_blob, &b, err);
	b.manifests = true;
	if (rc >= 0)
		rc = store_blob_walk(rt->store, recover_blob, &b, err);
	if (rc >= 0)
		rc = store_recover_tags(rt->store, &ret->lost, err);
	if (rc >= 0)
		rc = count(rt, "SELECT count(*) FROM tags", &ret->names, err);
	return rc < 0 ? rc
		      : count(rt,
			      "SELECT count(*) FROM images WHERE id NOT IN (SELECT image FROM tags)",
			      &ret->nameless, err);
}

void image_recovered_free(struct image_recovered *r)
{
	strv_free(&r->lost);
	*r = (struct image_recovered){ 0 };
}
