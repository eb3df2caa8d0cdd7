/* SPDX-License-Identifier: Apache-2.0 */
/* The image for one platform, by a name that stands for several. Needs libcrypto. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

bool image_is_named(struct runtime *rt, const char *normalized)
{
	auto_free char *id = NULL;
	struct err ignored;

	return store_tag_get(rt->store, normalized, &id, &ignored) >= 0;
}

/* The kept index that the name of that image stands for: 1, or 0. */
static int find_index(struct runtime *rt, const char *name, const char *id, json_t **ret,
		      struct err *err)
{
	auto_free char *index = NULL, *type = NULL;
	struct image_document d = { 0 };
	enum image_doc kind;
	struct digest digest;
	int rc = image_tag_doc_get(rt, name, id, &index, err);

	if (rc > 0)
		rc = db_get_str(rt->db, "SELECT media_type FROM indexes WHERE digest=?1",
				DB_ARGS(DB_T(index)), &type, err);
	if (rc > 0)
		rc = digest_parse(index, &digest, err) < 0 ? -err->code : 1;
	if (rc <= 0 || !image_document_load(rt, &digest, type, &d))
		return rc < 0 ? rc : 0;
	rc = image_doc_kind(&d, ret, &kind, err);
	image_document_free(&d);
	return rc < 0 ? rc : 1;
}

/* The manifest that the index has for it: 1, or 0 when the name stands for no kept index. */
static int find_manifest(struct runtime *rt, const char *name, const char *id,
			 const struct image_platform *want, struct image_document *ret,
			 struct err *err)
{
	auto_json json_t *doc = NULL;
	struct digest digest;
	const char *child;
	int rc = find_index(rt, name, id, &doc, err);

	if (rc <= 0)
		return rc;
	rc = image_index_choose(doc, want, &digest, &child, err);
	if (rc < 0)
		return rc;
	return image_document_load(rt, &digest, child ? child : OCI_MANIFEST, ret);
}

static int read_blob(struct runtime *rt, const struct image_descriptor *d, char **ret,
		     size_t *ret_len, struct err *err)
{
	auto_fd int fd = -1;
	int rc = store_blob_open(rt->store, &d->digest, &fd, err);

	return rc < 0 ? rc : fd_read_all(fd, JSON_BYTES_MAX, ret, ret_len, err);
}

/* The store's blobs lie as in an OCI layout. */
static int unpack(struct runtime *rt, const struct image_manifest *m, struct err *err)
{
	cleanup(image_loaded_free) struct image_loaded l = { 0 };
	auto_strv struct strv lines = { 0 };
	struct image_load ld = { .rt = rt, .dir_fd = rt->root_fd, .tar_fd = -1, .lines = &lines };
	auto_fd int lease = image_lease(rt, err);
	int rc = lease < 0 ? lease : read_blob(rt, &m->config, &l.config, &l.config_len, err);

	for (size_t i = 0; rc >= 0 && i < m->n; i++) {
		auto_free char *path = mem_fmt("blobs/sha256/%s", digest_hex(&m->layers[i].digest));

		image_loaded_add_layer(&l, path, &m->layers[i].digest);
	}
	return rc < 0 ? rc : image_load_one(&ld, &l, err);
}

/* With the ID of the image that it is of. */
static int read_manifest(const struct image_document *d, struct image_manifest *ret,
			 char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_doc_kind(d, &doc, &kind, err);

	if (rc >= 0)
		rc = image_manifest_parse(doc, ret, err);
	if (rc >= 0)
		digest_format(&ret->config.digest, ret_id);
	return rc;
}

static int get_member(struct runtime *rt, const struct image_document *d, struct image **ret,
		      struct err *err)
{
	struct image_manifest m = { 0 };
	struct err missing = { 0 };
	char id[DIGEST_STR_MAX];
	int rc = read_manifest(d, &m, id, err);

	if (rc < 0)
		return rc;
	rc = image_get(rt, id, ret, &missing);
	if (rc == -ENOENT) {
		rc = unpack(rt, &m, err);
		if (rc >= 0)
			rc = image_manifest_put(rt, id, d->media_type, &d->digest, err);
		if (rc >= 0)
			rc = image_get(rt, id, ret, err);
	} else if (rc < 0) {
		*err = missing;
	}
	image_manifest_free(&m);
	return rc;
}

/* The document of another image than img, which the name stands for here: 1, or 0 when img is the
 * one. */
static int find_other(struct runtime *rt, const char *name, struct image *img,
		      const struct image_platform *want, struct image_document *ret,
		      struct err *err)
{
	auto_image_config struct image_config *c = NULL;
	auto_free char *full = NULL;
	int rc = image_config_of(img, &c, err);

	if (rc < 0 || image_platform_fits(want, c->os, c->architecture, c->variant))
		return rc < 0 ? rc : 0;
	rc = image_ref_normalize(name, &full, err);
	if (rc >= 0)
		rc = find_manifest(rt, full, img->id, want, ret, err);
	if (rc != 0)
		return rc;
	return err_set(err, ENOENT, "image '%.200s' is for %s/%s here, not for %s/%s", name, c->os,
		       c->architecture, want->os, want->architecture);
}

static int find_named(struct runtime *rt, const char *name, const char *platform,
		      struct image **ret, struct image_document *ret_other, struct err *err)
{
	struct image_platform want = { 0 };
	int rc = image_platform_parse(platform, &want, err);

	if (rc >= 0)
		rc = image_find(rt, name, ret, err);
	if (rc >= 0)
		rc = find_other(rt, name, *ret, &want, ret_other, err);
	image_platform_free(&want);
	return rc;
}

int image_find_platform(struct runtime *rt, const char *name, const char *platform,
			struct image **ret, struct err *err)
{
	auto_image struct image *img = NULL, *other = NULL;
	struct image_document d = { 0 };
	int rc = find_named(rt, name, platform, &img, &d, err);

	if (rc > 0)
		rc = get_member(rt, &d, &other, err) < 0 ? -err->code : 1;
	image_document_free(&d);
	if (rc < 0)
		return rc;
	*ret = rc ? take(other) : take(img);
	return 0;
}

/* --- one that is only looked at --- */

void image_member_free(struct image_member *m)
{
	image_free(m->img);
	free(m->layers);
	*m = (struct image_member){ 0 };
}

/* Of layers that are not unpacked the sizes are the blobs'. */
static int packed_layers(const struct image_manifest *m, struct image_member *ret, struct err *err)
{
	auto_image_config struct image_config *c = NULL;
	int rc = image_config_of(ret->img, &c, err);

	if (rc < 0)
		return rc;
	if (c->diff_ids.n != m->n)
		return err_set(err, EBADMSG, "%zu layers, but the config names %zu", m->n,
			       c->diff_ids.n);
	ret->layers = mem_array(m->n + 1, sizeof(*ret->layers));
	for (; ret->n < m->n; ret->n++) {
		struct image_layer *l = &ret->layers[ret->n];

		snprintf(l->diff_id, sizeof(l->diff_id), "%s", c->diff_ids.v[ret->n]);
		l->size_bytes = m->layers[ret->n].size;
		ret->img->size_bytes += l->size_bytes;
	}
	ret->img->created_s = c->created_s;
	return 0;
}

static int look_packed(struct runtime *rt, const struct image_manifest *m, struct image_member *ret,
		       struct err *err)
{
	int rc;

	ret->img = mem_alloc(sizeof(*ret->img));
	digest_format(&m->config.digest, ret->img->id);
	rc = image_config_load(rt, ret->img->id, &ret->img->config, err);
	return rc < 0 ? rc : packed_layers(m, ret, err);
}

static int look_at(struct runtime *rt, const struct image_document *d, struct image_member *ret,
		   struct err *err)
{
	struct image_manifest m = { 0 };
	struct err missing = { 0 };
	char id[DIGEST_STR_MAX];
	int rc = read_manifest(d, &m, id, err);

	if (rc < 0)
		return rc;
	rc = image_get(rt, id, &ret->img, &missing);
	if (rc == -ENOENT)
		rc = look_packed(rt, &m, ret, err);
	else if (rc < 0)
		*err = missing;
	image_manifest_free(&m);
	return rc;
}

int image_look_platform(struct runtime *rt, const char *name, const char *platform,
			struct image_member *ret, struct err *err)
{
	cleanup(image_member_free) struct image_member m = { 0 };
	auto_image struct image *img = NULL;
	struct image_document d = { 0 };
	int rc = find_named(rt, name, platform, &img, &d, err);

	if (rc > 0) {
		memcpy(m.named, img->id, DIGEST_STR_MAX);
		rc = look_at(rt, &d, &m, err);
	} else if (rc == 0) {
		m.img = take(img);
	}
	image_document_free(&d);
	if (rc >= 0 && !m.layers)
		rc = image_layers(rt, m.img->snapshot, &m.layers, &m.n, err);
	if (rc < 0)
		return rc;
	*ret = m;
	m = (struct image_member){ 0 };
	return 0;
}

/* --- all of them --- */

/* What its manifest tells of it, if that is here. */
static void fill_variant(struct runtime *rt, const struct digest *d, struct image_variant *v)
{
	struct image_document doc = { 0 };
	struct image_manifest m = { 0 };
	auto_json json_t *json = NULL;
	struct err ignored = { 0 };

	if (!image_document_load(rt, d, OCI_MANIFEST, &doc))
		return;
	if (json_parse(doc.text, doc.len, &json, &ignored) >= 0 &&
	    image_manifest_parse(json, &m, &ignored) >= 0) {
		digest_format(&m.config.digest, v->id);
		for (size_t i = 0; i < m.n; i++)
			v->blob_bytes += m.layers[i].size;
	}
	image_manifest_free(&m);
	image_document_free(&doc);
}

static int tell_variant(struct runtime *rt, const json_t *entry, image_variant_fn *fn, void *arg,
			struct err *err)
{
	const json_t *p = json_object_get(entry, "platform");
	const char *digest = json_get_str(entry, "digest"), *os = json_get_str(p, "os"),
		   *arch = json_get_str(p, "architecture"), *variant = json_get_str(p, "variant");
	auto_free char *text = mem_fmt("%.40s/%.40s%s%.40s", os ? os : "?", arch ? arch : "?",
				       variant ? "/" : "", variant ? variant : "");
	struct image_variant v = { .platform = text };
	auto_image struct image *img = NULL;
	struct err ignored = { 0 };
	struct digest d;

	if (!p || !digest || image_is_attestation(entry))
		return 0;
	if (digest_parse(digest, &d, err) < 0)
		return -err->code;
	fill_variant(rt, &d, &v);
	if (*v.id && image_get(rt, v.id, &img, &ignored) >= 0)
		v.img = img;
	return fn(&v, arg, err);
}

int image_variants(struct runtime *rt, const char *normalized, const char *id, image_variant_fn *fn,
		   void *arg, struct err *err)
{
	auto_json json_t *doc = NULL;
	const json_t *entry;
	size_t i;
	int rc = find_index(rt, normalized, id, &doc, err);

	if (rc <= 0)
		return rc;
	json_array_foreach(json_object_get(doc, "manifests"), i, entry)
	{
		rc = tell_variant(rt, entry, fn, arg, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
