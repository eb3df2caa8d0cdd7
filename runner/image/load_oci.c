/* SPDX-License-Identifier: Apache-2.0 */
/* OCI image layout: index.json -> manifest -> config and layers, all by digest (image-spec
 * image-layout.md). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/hash.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { ENTRIES_MAX = 1000, DEPTH_MAX = 4 };

enum doc_kind { DOC_OTHER, DOC_INDEX, DOC_MANIFEST };

static const struct {
	const char *media_type;
	enum doc_kind kind;
} doc_types[] = {
	{ "application/vnd.oci.image.index.v1+json", DOC_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", DOC_INDEX },
	{ "application/vnd.oci.image.manifest.v1+json", DOC_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", DOC_MANIFEST },
};

static enum doc_kind kind_of(const char *media_type)
{
	for (size_t i = 0; media_type && i < ARRAY_LEN(doc_types); i++)
		if (!strcmp(doc_types[i].media_type, media_type))
			return doc_types[i].kind;
	return DOC_OTHER;
}

/* The same bytes must not be a manifest to one reader and an index to another (TRAPS T18). */
static int check_kind(const json_t *doc, enum doc_kind want, struct err *err)
{
	const char *media_type = json_get_str(doc, "mediaType");
	bool has_layers = json_object_get(doc, "layers") || json_object_get(doc, "config");
	bool has_manifests = json_object_get(doc, "manifests") != NULL;

	if (!json_is_object(doc))
		return err_set(err, EBADMSG, "not a JSON object");
	if (has_layers && has_manifests)
		return err_set(err, EBADMSG, "both a manifest and an index");
	if (media_type && kind_of(media_type) != want)
		return err_set(err, EBADMSG, "its media type is '%.100s'", media_type);
	if (want == DOC_INDEX ? !has_manifests : !has_layers)
		return err_set(err, EBADMSG, want == DOC_INDEX ? "no index" : "no manifest");
	return 0;
}

/* digest_parse is what keeps "sha256:../../x" from becoming a path (T19). */
static int blob_path(const json_t *desc, struct digest *ret, char **ret_path, struct err *err)
{
	const char *text = json_get_str(desc, "digest");
	int rc = text ? digest_parse(text, ret, err)
		      : err_set(err, EINVAL, "a descriptor without digest");

	if (rc >= 0)
		*ret_path = mem_fmt("blobs/sha256/%s", digest_hex(ret));
	return rc;
}

int image_load_blob(const struct image_load *ld, const json_t *desc, char **ret, size_t *ret_len,
		    struct err *err)
{
	auto_free char *path = NULL, *text = NULL;
	struct digest want, have;
	size_t len = 0;
	int rc;

	rc = blob_path(desc, &want, &path, err);
	if (rc >= 0)
		rc = image_load_text(ld, path, &text, &len, err);
	if (rc < 0)
		return rc;
	hash_bytes(text, len, &have);
	if (!digest_eq(&want, &have))
		return err_set(err, EBADMSG, "%s has the digest %s", path, digest_str(&have));
	*ret = take(text);
	*ret_len = len;
	return 0;
}

static int read_doc(const struct image_load *ld, const json_t *desc, enum doc_kind want,
		    json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_json json_t *doc = NULL;
	size_t len = 0;
	int rc;

	rc = image_load_blob(ld, desc, &text, &len, err);
	if (rc < 0)
		return rc;
	rc = json_parse(text, len, &doc, err);
	if (rc >= 0)
		rc = check_kind(doc, want, err);
	if (rc < 0)
		return rc;
	*ret = take(doc);
	return 0;
}

/* --- names and platforms --- */

/* containerd's annotation is a whole name; OCI's may be one, or only a tag, of what is not told. */
static char *name_of(const json_t *desc)
{
	const json_t *a = json_object_get(desc, "annotations");
	const char *name = json_get_str(a, "io.containerd.image.name");
	struct err ignored = { 0 };
	char *ret = NULL;

	if (!name) {
		name = json_get_str(a, "org.opencontainers.image.ref.name");
		if (name && !strpbrk(name, ":/"))
			name = NULL;
	}
	if (!name || image_ref_normalize(name, &ret, &ignored) < 0 || strchr(ret, '@')) {
		free(ret);
		return NULL;
	}
	return ret;
}

/* --- manifests --- */

static int add_layers(const json_t *list, struct image_loaded *l, struct err *err)
{
	const json_t *desc;
	size_t i;

	if (json_array_size(list) > IMAGE_LAYERS_MAX)
		return err_set(err, EINVAL, "%zu layers, at most %d can be used",
			       json_array_size(list), IMAGE_LAYERS_MAX);
	json_array_foreach(list, i, desc)
	{
		auto_free char *path = NULL;
		struct digest d;
		int rc = blob_path(desc, &d, &path, err);

		if (rc < 0)
			return rc;
		image_loaded_add_layer(l, path, &d);
	}
	return 0;
}

/* As it came it goes again: what is here by this manifest is saved and pushed by it, as long as its
 * blobs are. */
static int keep_manifest(const struct image_load *ld, const json_t *desc,
			 const struct image_loaded *l, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	auto_free char *text = NULL;
	struct digest d;
	size_t len = 0;
	int rc = image_load_blob(ld, desc, &text, &len, err);

	if (rc >= 0)
		rc = db_tx_begin(ld->rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_blob_put(ld->rt->store, text, len, &d, err);
	if (rc >= 0)
		rc = image_manifest_put(ld->rt, l->id, json_get_str(desc, "mediaType"), &d, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* index: what it was found in, to be kept with all that it names; or NULL. */
static int load_manifest(const struct image_load *ld, const json_t *desc, const json_t *index,
			 const char *name, struct err *err)
{
	cleanup(image_loaded_free) struct image_loaded l = { 0 };
	auto_json json_t *doc = NULL;
	int rc;

	rc = read_doc(ld, desc, DOC_MANIFEST, &doc, err);
	if (rc >= 0)
		rc = image_load_blob(ld, json_object_get(doc, "config"), &l.config, &l.config_len,
				     err);
	if (rc >= 0)
		rc = add_layers(json_object_get(doc, "layers"), &l, err);
	if (rc < 0)
		return rc;
	if (name)
		strv_add(&l.tags, name);
	rc = image_load_one(ld, &l, err);
	if (rc >= 0 && *l.id)
		rc = keep_manifest(ld, desc, &l, err);
	if (rc >= 0 && *l.id && index && ld->all_platforms)
		rc = image_load_index(ld, index, &l, err);
	return rc;
}

/* Of an index the entry for the platform that is wanted, as a descriptor. */
static int choose(const struct image_load *ld, const json_t *index, json_t **ret, struct err *err)
{
	struct image_platform want = { 0 };
	struct digest d;
	const char *type;
	int rc = image_platform_parse(ld->platform, &want, err);

	if (rc >= 0)
		rc = image_index_choose(index, &want, &d, &type, err);
	image_platform_free(&want);
	if (rc < 0)
		return rc;
	*ret = json_object();
	json_set_str(*ret, "digest", digest_str(&d));
	json_set_str(*ret, "mediaType", type);
	return 0;
}

/* An index within the index. Indexes may nest, but not without end. */
static int load_nested(const struct image_load *ld, const json_t *desc, const char *name,
		       struct err *err)
{
	auto_json json_t *doc = NULL, *at = json_deep_copy(desc);

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		json_t *found = NULL;
		int rc;

		json_cleanup(&doc);
		rc = read_doc(ld, at, DOC_INDEX, &doc, err);
		if (rc >= 0)
			rc = choose(ld, doc, &found, err);
		if (rc < 0)
			return rc;
		json_cleanup(&at);
		at = found;
		if (kind_of(json_get_str(at, "mediaType")) == DOC_MANIFEST)
			return load_manifest(ld, at, desc, name, err);
	}
	return err_set(err, ELOOP, "indexes nested deeper than %d", DEPTH_MAX);
}

static int load_entry(const struct image_load *ld, const json_t *desc, struct err *err)
{
	const char *media_type = json_get_str(desc, "mediaType");
	auto_free char *name = name_of(desc);

	if (image_is_attestation(desc))
		return 0;
	switch (kind_of(media_type)) {
	case DOC_INDEX:
		return load_nested(ld, desc, name, err);
	case DOC_MANIFEST:
		return load_manifest(ld, desc, NULL, name, err);
	default:
		return err_set(err, ENOTSUP, "media type '%.100s'", media_type ? media_type : "");
	}
}

static int read_index(const struct image_load *ld, json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_json json_t *index = NULL;
	size_t len = 0, n;
	int rc;

	rc = image_load_text(ld, "index.json", &text, &len, err);
	if (rc >= 0)
		rc = json_parse(text, len, &index, err);
	if (rc >= 0)
		rc = check_kind(index, DOC_INDEX, err);
	if (rc < 0)
		return err_ctx(err, "index.json");
	n = json_array_size(json_object_get(index, "manifests"));
	if (!n || n > ENTRIES_MAX)
		return err_set(err, EINVAL, "index.json: %zu entries", n);
	*ret = take(index);
	return 0;
}

int image_load_oci(const struct image_load *ld, struct err *err)
{
	auto_json json_t *index = NULL;
	const json_t *desc;
	size_t i;
	int rc = read_index(ld, &index, err);

	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(index, "manifests"), i, desc)
	{
		rc = load_entry(ld, desc, err);
		if (rc < 0)
			return err_ctx(err, "index.json: entry %zu", i + 1);
	}
	return 0;
}

/* --- one of a layout --- */

static bool has_tag(const json_t *desc, const char *tag)
{
	const json_t *a = json_object_get(desc, "annotations");
	const char *name = json_get_str(a, "org.opencontainers.image.ref.name");
	const char *colon = name ? strrchr(name, ':') : NULL;

	return name && (!strcmp(name, tag) || (colon && !strcmp(colon + 1, tag)));
}

static const json_t *pick(const json_t *index, const char *which)
{
	const char *tag = which ? which : "latest";
	const json_t *list = json_object_get(index, "manifests"), *desc, *only = NULL;
	size_t i, n = 0;

	json_array_foreach(list, i, desc)
	{
		if (image_is_attestation(desc))
			continue;
		if (has_tag(desc, tag) || str_eq(json_get_str(desc, "digest"), which))
			return desc;
		only = desc;
		n++;
	}
	return !which && n == 1 ? only : NULL;
}

/* A blob that index.json does not name: what it is stands in it. */
static int describe(const struct image_load *ld, const char *digest, json_t **ret, struct err *err)
{
	auto_json json_t *desc = json_object(), *doc = NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int rc;

	json_set_str(desc, "digest", digest);
	rc = image_load_blob(ld, desc, &text, &len, err);
	if (rc >= 0)
		rc = json_parse(text, len, &doc, err);
	if (rc < 0)
		return rc;
	json_set_str(desc, "mediaType",
		     json_object_get(doc, "manifests") ? doc_types[0].media_type
						       : doc_types[2].media_type);
	*ret = take(desc);
	return 0;
}

int image_load_layout(struct runtime *rt, int dir_fd, const char *which,
		      char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_strv struct strv lines = { 0 };
	auto_json json_t *index = NULL, *own = NULL;
	const json_t *desc;
	struct image_load ld = { .rt = rt, .dir_fd = dir_fd, .lines = &lines, .id = ret_id };
	int rc = read_index(&ld, &index, err);

	if (rc < 0)
		return rc;
	desc = pick(index, which);
	if (!desc && which && str_starts(which, "sha256:")) {
		rc = describe(&ld, which, &own, err);
		desc = own;
	} else if (!desc) {
		rc = err_set(err, ENOENT, "no image %s in it", which ? which : "latest");
	}
	if (rc < 0)
		return rc;
	return kind_of(json_get_str(desc, "mediaType")) == DOC_INDEX
		       ? load_nested(&ld, desc, NULL, err)
		       : load_manifest(&ld, desc, NULL, NULL, err);
}
