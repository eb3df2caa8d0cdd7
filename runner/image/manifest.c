/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and indexes as registries give them: hostile. Digests are parsed strictly (T19), one
 * document is not two things (T18). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { ENTRIES_MAX = 1000, TYPE_MAX = 95 };

static const struct {
	const char *media_type;
	enum image_doc kind;
} doc_types[] = {
	{ "application/vnd.oci.image.index.v1+json", IMAGE_DOC_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", IMAGE_DOC_INDEX },
	{ "application/vnd.oci.image.manifest.v1+json", IMAGE_DOC_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", IMAGE_DOC_MANIFEST },
};

static const char *const layer_types[] = {
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.oci.image.layer.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
};

static enum image_doc kind_of(const char *media_type)
{
	for (size_t i = 0; media_type && i < ARRAY_LEN(doc_types); i++)
		if (str_eq(doc_types[i].media_type, media_type))
			return doc_types[i].kind;
	return IMAGE_DOC_OTHER;
}

static bool is_schema_1(const json_t *doc, const char *media_type)
{
	return json_get_int(doc, "schemaVersion", 2) == 1 || json_object_get(doc, "fsLayers") ||
	       (media_type &&
		str_starts(media_type, "application/vnd.docker.distribution.manifest.v1"));
}

int image_doc_kind(const struct image_document *d, json_t **ret, enum image_doc *ret_kind,
		   struct err *err)
{
	auto_json json_t *doc = NULL;
	const char *inner, *outer = d->media_type;
	bool has_layers, has_manifests;
	enum image_doc kind;
	int rc = json_parse(d->text, d->len, &doc, err);

	if (rc < 0)
		return err_ctx(err, "manifest");
	if (!json_is_object(doc))
		return err_set(err, EBADMSG, "the manifest is not a JSON object");
	if (is_schema_1(doc, outer))
		return err_set(err, ENOTSUP,
			       "its manifest is of Docker's schema 1, which is not read: push it "
			       "again with a newer tool");
	inner = json_get_str(doc, "mediaType");
	has_layers = json_object_get(doc, "layers") || json_object_get(doc, "config");
	has_manifests = json_object_get(doc, "manifests") != NULL;
	if (has_layers && has_manifests)
		return err_set(err, EBADMSG, "both a manifest and an index");
	kind = has_manifests ? IMAGE_DOC_INDEX : has_layers ? IMAGE_DOC_MANIFEST : IMAGE_DOC_OTHER;
	if (kind == IMAGE_DOC_OTHER)
		return err_set(err, EBADMSG, "neither a manifest nor an index");
	if (inner && kind_of(inner) != kind)
		return err_set(err, EBADMSG, "its media type is '%.100s'", inner);
	if (kind_of(outer) != IMAGE_DOC_OTHER && kind_of(outer) != kind)
		return err_set(err, EBADMSG, "given as '%.100s', which it is not", outer);
	*ret = take(doc);
	*ret_kind = kind;
	return 0;
}

/* --- manifest --- */

static void descriptor_free(struct image_descriptor *d)
{
	free(d->media_type);
}

void image_manifest_free(struct image_manifest *m)
{
	descriptor_free(&m->config);
	for (size_t i = 0; i < m->n; i++)
		descriptor_free(&m->layers[i]);
	free(m->layers);
	*m = (struct image_manifest){ 0 };
}

static int read_descriptor(const json_t *o, struct image_descriptor *ret, struct err *err)
{
	const char *digest = json_get_str(o, "digest"), *type = json_get_str(o, "mediaType");
	int64_t size = json_get_int(o, "size", -1);
	int rc;

	if (!digest || !type || size < 0)
		return err_set(err, EBADMSG, "a descriptor without digest, size or media type");
	if (strlen(type) > TYPE_MAX)
		return err_set(err, EBADMSG, "a media type of %zu bytes", strlen(type));
	rc = digest_parse(digest, &ret->digest, err);
	if (rc < 0)
		return rc;
	ret->size = (uint64_t)size;
	ret->media_type = mem_str(type);
	return 0;
}

static int check_layer(const struct image_descriptor *d, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(layer_types); i++)
		if (str_eq(layer_types[i], d->media_type))
			return 0;
	return err_set(err, ENOTSUP, "layer %.19s: its media type '%s' is not known",
		       digest_str(&d->digest), d->media_type);
}

int image_manifest_parse(const json_t *doc, struct image_manifest *ret, struct err *err)
{
	const json_t *list = json_object_get(doc, "layers"), *o;
	struct image_manifest m = { 0 };
	size_t i;
	int rc;

	rc = read_descriptor(json_object_get(doc, "config"), &m.config, err);
	if (rc < 0)
		return err_ctx(err, "config");
	if (!json_is_array(list) || json_array_size(list) > IMAGE_LAYERS_MAX) {
		image_manifest_free(&m);
		return err_set(err, EINVAL, "%zu layers, at most %d can be used",
			       json_array_size(list), IMAGE_LAYERS_MAX);
	}
	m.layers = mem_array(json_array_size(list) + 1, sizeof(*m.layers));
	json_array_foreach(list, i, o)
	{
		rc = read_descriptor(o, &m.layers[i], err);
		m.n = i + 1;
		if (rc >= 0)
			rc = check_layer(&m.layers[i], err);
		if (rc < 0) {
			image_manifest_free(&m);
			return rc;
		}
	}
	*ret = m;
	return 0;
}

void image_descriptors_free(struct image_descriptors *l)
{
	for (size_t i = 0; i < l->n; i++)
		descriptor_free(&l->v[i]);
	free(l->v);
	*l = (struct image_descriptors){ 0 };
}

int image_doc_descriptors(const json_t *doc, enum image_doc kind, struct image_descriptors *ret,
			  struct err *err)
{
	bool is_index = kind == IMAGE_DOC_INDEX;
	const json_t *list = json_object_get(doc, is_index ? "manifests" : "layers"), *o;
	struct image_descriptors l = { 0 };
	size_t i;
	int rc = 0;

	if (!json_is_array(list) || json_array_size(list) > IMAGE_LAYERS_MAX)
		return err_set(err, EINVAL, "a list of %zu entries, at most %d can be used",
			       json_array_size(list), IMAGE_LAYERS_MAX);
	l.v = mem_array(json_array_size(list) + 2, sizeof(*l.v));
	if (!is_index)
		rc = read_descriptor(json_object_get(doc, "config"), &l.v[l.n++], err);
	json_array_foreach(list, i, o)
	{
		if (rc >= 0)
			rc = read_descriptor(o, &l.v[l.n++], err);
	}
	if (rc < 0) {
		image_descriptors_free(&l);
		return rc;
	}
	*ret = l;
	return 0;
}

bool image_document_load(struct runtime *rt, const struct digest *d, const char *media_type,
			 struct image_document *ret)
{
	struct image_document doc = { .digest = *d, .media_type = mem_str(media_type) };
	auto_fd int fd = -1;
	struct err why = { 0 };
	struct digest have;

	/* One that is damaged is as good as none. */
	if (store_blob_open(rt->store, d, &fd, &why) >= 0 &&
	    fd_read_all(fd, REGISTRY_MANIFEST_MAX, &doc.text, &doc.len, &why) >= 0) {
		hash_bytes(doc.text, doc.len, &have);
		if (digest_eq(&have, d)) {
			*ret = doc;
			return true;
		}
	}
	image_document_free(&doc);
	return false;
}

/* --- platforms --- */

void image_platform_free(struct image_platform *p)
{
	free(p->os);
	free(p->architecture);
	free(p->variant);
	*p = (struct image_platform){ 0 };
}

/* What uname and users call them. */
static const struct {
	const char *name, *architecture, *variant;
} arch_names[] = {
	{ "x86_64", "amd64", NULL }, { "x86-64", "amd64", NULL }, { "aarch64", "arm64", NULL },
	{ "i386", "386", NULL },     { "i686", "386", NULL },     { "armhf", "arm", "v7" },
	{ "armel", "arm", "v6" },
};

/* "arm/v6" is linux/arm/v6: there is no system of that name. */
static bool is_arch(const char *word)
{
	static const char *const more[] = { "386",      "amd64",   "arm",   "arm64",  "loong64",
					    "mips64le", "ppc64le", "s390x", "riscv64" };

	for (size_t i = 0; i < ARRAY_LEN(arch_names); i++)
		if (str_eq(arch_names[i].name, word))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		if (str_eq(more[i], word))
			return true;
	return false;
}

int image_platform_parse(const char *text, struct image_platform *ret, struct err *err)
{
	auto_image_config struct image_config *here = image_config_new();
	auto_strv struct strv part = { 0 };
	const char *os, *arch, *variant;
	size_t first; /* where the architecture stands */
	bool is_bad;

	if (!text || !*text) {
		*ret = (struct image_platform){ mem_str(here->os), mem_str(here->architecture),
						mem_str(here->variant) };
		return 0;
	}
	strv_split(&part, text, '/');
	is_bad = !part.n || part.n > 3;
	for (size_t i = 0; i < part.n; i++)
		is_bad |= !*part.v[i] || part.v[i][strcspn(part.v[i], " \t\n,:")];
	if (is_bad)
		return err_set(err, EINVAL, "--platform %.100s: want OS/ARCHITECTURE[/VARIANT]",
			       text);
	first = part.n > 1 && !(part.n == 2 && is_arch(part.v[0]));
	os = first ? part.v[0] : "linux";
	arch = part.v[first];
	variant = part.n > first + 1 ? part.v[first + 1] : NULL;
	if (part.n == 1 && str_eq(arch, "linux"))
		arch = here->architecture;
	for (size_t i = 0; i < ARRAY_LEN(arch_names); i++)
		if (str_eq(arch_names[i].name, arch)) {
			arch = arch_names[i].architecture;
			variant = variant ? variant : arch_names[i].variant;
		}
	*ret = (struct image_platform){ mem_str(os), mem_str(arch), mem_str(variant) };
	return 0;
}

/* arm64 is v8 and amd64 is v1 whether it is said or not. */
static const char *usual_variant(const char *arch, const char *variant)
{
	if (str_eq(arch, "arm64") && str_eq(variant, "v8"))
		return NULL;
	return str_eq(arch, "amd64") && str_eq(variant, "v1") ? NULL : variant;
}

int image_platform_text(const char *text, char **ret, struct err *err)
{
	struct image_platform p = { 0 };
	const char *variant;
	int rc = image_platform_parse(text, &p, err);

	if (rc < 0)
		return rc;
	variant = usual_variant(p.architecture, p.variant);
	if (!variant && str_eq(p.architecture, "arm"))
		variant = "v7";
	*ret = mem_fmt("%s/%s%s%s", p.os, p.architecture, variant ? "/" : "",
		       variant ? variant : "");
	image_platform_free(&p);
	return 0;
}

bool image_platform_is(const struct image_platform *want, const char *os, const char *arch,
		       const char *variant)
{
	return str_eq(want->os, os) && str_eq(want->architecture, arch) &&
	       str_eq(usual_variant(want->architecture, want->variant),
		      usual_variant(arch, variant));
}

bool image_platform_fits(const struct image_platform *want, const char *os, const char *arch,
			 const char *variant)
{
	const char *a = usual_variant(want->architecture, want->variant);
	const char *b = usual_variant(arch, variant);

	if (!str_eq(want->os, os) || !str_eq(want->architecture, arch))
		return false;
	if (str_eq(a, b))
		return true;
	/* An arm of a later version runs what is for an earlier one; without a wish all fits but
	   what needs a newer amd64. */
	if (str_eq(arch, "arm"))
		return !a || !b || strcmp(b, a) < 0;
	return !b && a;
}

/* BuildKit's attestations stand in the index as images of an unknown platform. */
bool image_is_attestation(const json_t *desc)
{
	return str_eq(json_get_str(json_object_get(desc, "platform"), "os"), "unknown") ||
	       json_get_str(json_object_get(desc, "annotations"), "vnd.docker.reference.type");
}

/* The exact variant first, then the highest that fits. */
static bool is_better(const struct image_platform *want, const json_t *a, const json_t *b)
{
	const char *va = json_get_str(json_object_get(a, "platform"), "variant");
	const char *vb = b ? json_get_str(json_object_get(b, "platform"), "variant") : NULL;

	if (!b)
		return true;
	if (str_eq(vb, want->variant))
		return false;
	return str_eq(va, want->variant) || strcmp(va ? va : "", vb ? vb : "") > 0;
}

static int no_match(const json_t *list, const struct image_platform *want, struct err *err)
{
	auto_str struct str have = { 0 };
	const json_t *d;
	size_t i;

	json_array_foreach(list, i, d)
	{
		const json_t *p = json_object_get(d, "platform");
		const char *variant = json_get_str(p, "variant");

		if (!p || image_is_attestation(d) || have.len > 400)
			continue;
		str_addf(&have, "%s%.20s/%.20s%s%.10s", have.len ? ", " : "",
			 json_get_str(p, "os") ? json_get_str(p, "os") : "?",
			 json_get_str(p, "architecture") ? json_get_str(p, "architecture") : "?",
			 variant ? "/" : "", variant ? variant : "");
	}
	err_set(err, ENOENT, "no image for %s/%s%s%s in it", want->os, want->architecture,
		want->variant ? "/" : "", want->variant ? want->variant : "");
	return have.len ? err_hint(err, "there are %s", str_get(&have)) : -err->code;
}

static int take_digest(const json_t *entry, struct digest *ret, struct err *err)
{
	const char *digest = json_get_str(entry, "digest");

	if (!digest)
		return err_set(err, EBADMSG, "an entry of the index without digest");
	return digest_parse(digest, ret, err);
}

int image_index_choose(const json_t *doc, const struct image_platform *want, struct digest *ret,
		       const char **ret_type, struct err *err)
{
	const json_t *list = json_object_get(doc, "manifests"), *d, *found = NULL;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > ENTRIES_MAX)
		return err_set(err, EINVAL, "an index of %zu entries, at most %d can be used",
			       json_array_size(list), ENTRIES_MAX);
	json_array_foreach(list, i, d)
	{
		const json_t *p = json_object_get(d, "platform");
		bool fits = !p || image_platform_fits(want, json_get_str(p, "os"),
						      json_get_str(p, "architecture"),
						      json_get_str(p, "variant"));

		if (fits && !image_is_attestation(d) && is_better(want, d, found))
			found = d;
	}
	if (!found)
		return no_match(list, want, err);
	*ret_type = json_get_str(found, "mediaType");
	return take_digest(found, ret, err);
}

int image_index_first(const json_t *doc, struct digest *ret, struct err *err)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(doc, "manifests"), i,
			   d) if (!image_is_attestation(d)) return take_digest(d, ret, err);
	return err_set(err, ENOENT, "an index without an image");
}
