/* SPDX-License-Identifier: Apache-2.0 */
/* -o: what a build delivers, as docker buildx reads it: a directory, or a line of CSV. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mount.h"
#include "priv.h"

void build_output_free(struct build_output *o)
{
	free(o->dest);
	free(o->codec);
	strv_free(&o->names);
	strv_free(&o->annotations);
	strv_free(&o->index_annotations);
	*o = (struct build_output){ 0 };
}

static const struct {
	const char *name;
	enum build_output_kind kind;
	bool push;
} types[] = {
	{ "local", BUILD_OUT_LOCAL, false },       { "tar", BUILD_OUT_TAR, false },
	{ "oci", BUILD_OUT_OCI, false },           { "docker", BUILD_OUT_DOCKER, false },
	{ "image", BUILD_OUT_IMAGE, false },       { "registry", BUILD_OUT_IMAGE, true },
	{ "cacheonly", BUILD_OUT_NOTHING, false },
};

static int set_type(struct build_output *o, const char *v, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (!strcmp(types[i].name, v)) {
			o->kind = types[i].kind;
			o->push |= types[i].push;
			return 0;
		}
	return err_set(err, EINVAL,
		       "type=%s: want local, tar, oci, docker, image, registry or cacheonly", v);
}

static int set_dest(struct build_output *o, const char *v, struct err *err)
{
	if (!*v)
		return err_set(err, EINVAL, "dest is empty");
	free(o->dest);
	o->dest = mem_str(v);
	return 0;
}

static int set_name(struct build_output *o, const char *v, struct err *err)
{
	(void)err;
	strv_split(&o->names, v, ',');
	return 0;
}

static int set_bool(const char *key, const char *v, bool *ret, struct err *err)
{
	return bool_parse(v, ret) < 0 ? err_set(err, EINVAL, "%s=%s: want true or false", key, v)
				      : 0;
}

static int set_push(struct build_output *o, const char *v, struct err *err)
{
	return set_bool("push", v, &o->push, err);
}

static int set_by_digest(struct build_output *o, const char *v, struct err *err)
{
	return set_bool("push-by-digest", v, &o->by_digest, err);
}

static int set_tar(struct build_output *o, const char *v, struct err *err)
{
	bool is_tar = true;
	int rc = set_bool("tar", v, &is_tar, err);

	o->is_dir = !is_tar;
	return rc;
}

static int set_split(struct build_output *o, const char *v, struct err *err)
{
	bool is_split = true;
	int rc = set_bool("platform-split", v, &is_split, err);

	o->is_merged = !is_split;
	return rc;
}

/* What an archive is of follows from its type. */
static int set_types(struct build_output *o, const char *v, struct err *err)
{
	bool is_oci = true;
	int rc = set_bool("oci-mediatypes", v, &is_oci, err);

	if (rc < 0)
		return rc;
	if (o->kind != BUILD_OUT_IMAGE && is_oci != (o->kind == BUILD_OUT_OCI))
		return err_set(err, EINVAL, "oci-mediatypes=%s: take type=%s", v,
			       is_oci ? "oci" : "docker");
	o->docker_types = o->kind == BUILD_OUT_IMAGE && !is_oci;
	return 0;
}

static int set_codec(struct build_output *o, const char *v, struct err *err)
{
	static const char *const codecs[][2] = { { "uncompressed", "none" },
						 { "gzip", "gzip" },
						 { "zstd", "zstd" } };

	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		if (!strcmp(codecs[i][0], v)) {
			free(o->codec);
			o->codec = mem_str(codecs[i][1]);
			return 0;
		}
	return err_set(err, EINVAL, "compression=%s: want uncompressed, gzip or zstd", v);
}

static int set_level(struct build_output *o, const char *v, struct err *err)
{
	uint64_t n;

	if (str_to_u64(v, 10, 22, &n) < 0)
		return err_set(err, EINVAL, "compression-level=%s: want a number", v);
	o->level = (int)n;
	return 0;
}

/* What shale does in any case: layers that are asked for in a codec are all in it, and no file of
 * the build is newer than SOURCE_DATE_EPOCH. */
static int set_true(struct build_output *o, const char *v, struct err *err)
{
	(void)o;
	return strcmp(v, "true") != 0 ? err_set(err, EINVAL, "only true is done") : 0;
}

/* An image here is unpacked, and known by its digest in any case. */
static int set_any(struct build_output *o, const char *v, struct err *err)
{
	bool ignored;

	(void)o;
	return bool_parse(v, &ignored) < 0 ? err_set(err, EINVAL, "want true or false") : 0;
}

enum {
	FOR_LOCAL = 1 << BUILD_OUT_LOCAL,
	FOR_TAR = 1 << BUILD_OUT_TAR,
	FOR_OCI = 1 << BUILD_OUT_OCI,
	FOR_DOCKER = 1 << BUILD_OUT_DOCKER,
	FOR_IMAGE = 1 << BUILD_OUT_IMAGE,
	FOR_FILES = FOR_OCI | FOR_DOCKER,
};
static const struct {
	const char *name;
	unsigned kinds;
	int (*set)(struct build_output *o, const char *v, struct err *err);
} keys[] = {
	{ "dest", FOR_LOCAL | FOR_TAR | FOR_FILES, set_dest },
	{ "name", FOR_FILES | FOR_IMAGE, set_name },
	{ "push", FOR_IMAGE, set_push },
	{ "push-by-digest", FOR_IMAGE, set_by_digest },
	{ "name-canonical", FOR_IMAGE, set_any },
	{ "unpack", FOR_IMAGE, set_any },
	{ "store", FOR_IMAGE, set_true },
	{ "platform-split", FOR_LOCAL, set_split },
	{ "tar", FOR_OCI, set_tar },
	{ "oci-mediatypes", FOR_FILES | FOR_IMAGE, set_types },
	{ "compression", FOR_FILES | FOR_IMAGE, set_codec },
	{ "compression-level", FOR_FILES | FOR_IMAGE, set_level },
	{ "force-compression", FOR_FILES | FOR_IMAGE, set_true },
	{ "rewrite-timestamp", FOR_FILES | FOR_IMAGE, set_true },
};

/* key: "annotation.k", "annotation-manifest.k", "annotation-index.k". */
static int set_annotation(struct build_output *o, const char *key, const char *v, struct err *err)
{
	bool is_index = str_starts(key, "annotation-index.");

	if (o->kind != BUILD_OUT_OCI && o->kind != BUILD_OUT_IMAGE)
		return err_set(err, EINVAL, "annotations are of type=oci, image and registry");
	strv_env_set(is_index ? &o->index_annotations : &o->annotations, strchr(key, '.') + 1, v);
	return 0;
}

static int set_field(struct build_output *o, const char *field, struct err *err)
{
	const char *eq = strchr(field, '=');
	auto_free char *key = eq ? mem_strn(field, (size_t)(eq - field)) : NULL;
	const char *names[ARRAY_LEN(keys) + 1] = { 0 }, *near;

	if (!eq)
		return err_set(err, EINVAL, "%s: want KEY=VALUE", field);
	if (!strcmp(key, "type"))
		return 0;
	if (str_starts(key, "annotation.") || str_starts(key, "annotation-manifest.") ||
	    str_starts(key, "annotation-index."))
		return set_annotation(o, key, eq + 1, err);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		names[i] = keys[i].name;
		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (!(keys[i].kinds & 1U << o->kind))
			return err_set(err, EINVAL, "%s does not go with this type", key);
		return keys[i].set(o, eq + 1, err);
	}
	near = str_nearest(key, names);
	err_set(err, EINVAL, "unknown key %s", key);
	return near ? err_hint(err, "did you mean %s?", near) : -EINVAL;
}

static int check(struct build_output *o, struct err *err)
{
	if ((o->kind == BUILD_OUT_LOCAL || o->is_dir) && !o->dest)
		return err_set(err, EINVAL, "dest= is missing");
	/* As buildx: an archive without a place is for a pipe. */
	if ((o->kind == BUILD_OUT_TAR || o->kind == BUILD_OUT_OCI) && !o->dest)
		o->dest = mem_str("-");
	if (o->by_digest && !o->push)
		return err_set(err, EINVAL, "push-by-digest goes with push=true");
	if (o->dest && !strcmp(o->dest, "-") && (o->kind == BUILD_OUT_LOCAL || o->is_dir))
		return err_set(err, EINVAL, "a directory cannot go to standard output");
	if (o->level && !o->codec)
		return err_set(err, EINVAL, "compression-level goes with compression");
	if (o->docker_types && str_eq(o->codec, "zstd"))
		return err_set(err, EINVAL, "Docker's media types have none for zstd");
	if (o->docker_types && o->annotations.n)
		return err_set(err, EINVAL, "Docker's manifests have no annotations");
	return 0;
}

/* The type first, wherever it stands: what the others may be depends on it. */
static int find_type(struct build_output *o, const struct strv *fields, struct err *err)
{
	for (size_t i = 0; i < fields->n; i++)
		if (str_starts(fields->v[i], "type="))
			return set_type(o, fields->v[i] + strlen("type="), err);
	return err_set(err, EINVAL, "type= is missing");
}

static int parse(const char *text, struct build_output *o, struct err *err)
{
	auto_strv struct strv fields = { 0 };
	int rc = csv_split(text, &fields, err);

	if (rc < 0)
		return rc;
	if (fields.n == 1 && !strchr(text, '=')) {
		o->kind = strcmp(text, "-") != 0 ? BUILD_OUT_LOCAL : BUILD_OUT_TAR;
		return set_dest(o, text, err);
	}
	rc = find_type(o, &fields, err);
	for (size_t i = 0; i < fields.n && rc >= 0; i++)
		rc = set_field(o, fields.v[i], err);
	return rc < 0 ? rc : check(o, err);
}

int build_output_parse(const char *text, struct build_output *ret, struct err *err)
{
	struct build_output o = { 0 };
	int rc = parse(text, &o, err);

	if (rc < 0) {
		build_output_free(&o);
		return err_ctx(err, "--output %.100s", text);
	}
	*ret = o;
	return 0;
}

/* What the words before the colon mean; a key may have colons of its own. */
static int annotation_kinds(const char *words, bool *ret_manifest, bool *ret_index)
{
	auto_strv struct strv v = { 0 };

	strv_split(&v, words, ',');
	for (size_t i = 0; i < v.n; i++) {
		*ret_manifest |= !strcmp(v.v[i], "manifest");
		*ret_index |= !strcmp(v.v[i], "index");
		if (strcmp(v.v[i], "manifest") != 0 && strcmp(v.v[i], "index") != 0)
			return -ENOTSUP;
	}
	return 0;
}

int build_annotation_parse(const char *text, struct build_output *ret, struct err *err)
{
	const char *eq = strchr(text, '='), *colon = strchr(text, ':'), *at = text;
	bool is_manifest = false, is_index = false;
	auto_free char *key = NULL;

	if (eq && colon && colon < eq) {
		auto_free char *words = mem_strn(text, (size_t)(colon - text));

		if (annotation_kinds(words, &is_manifest, &is_index) < 0)
			return err_set(err, ENOTSUP,
				       "--annotation %.100s: want [manifest:|index:]KEY=VALUE",
				       text);
		at = colon + 1;
	}
	if (!eq || eq == at)
		return err_set(err, EINVAL, "--annotation %.100s: want KEY=VALUE", text);
	key = mem_strn(at, (size_t)(eq - at));
	if (is_index)
		strv_env_set(&ret->index_annotations, key, eq + 1);
	if (is_manifest || !is_index)
		strv_env_set(&ret->annotations, key, eq + 1);
	return 0;
}
