/* SPDX-License-Identifier: Apache-2.0 */
#include "platforms.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "one_build.h"

enum { PLATFORMS_MAX = 32 };

int platforms_parse(const struct strv *given, struct strv *ret, struct err *err)
{
	for (size_t i = 0; i < given->n; i++) {
		auto_strv struct strv words = { 0 };

		strv_split(&words, given->v[i], ',');
		for (size_t k = 0; k < words.n; k++) {
			auto_free char *text = NULL;
			int rc = image_platform_text(words.v[k], &text, err);

			if (rc < 0)
				return rc;
			if (!strv_has(ret, text))
				strv_add(ret, text);
		}
	}
	if (ret->n > PLATFORMS_MAX)
		return err_set(err, EINVAL, "--platform: at most %d", PLATFORMS_MAX);
	return 0;
}

bool platforms_is_index(const struct build_opts *o, const struct strv *platforms)
{
	return platforms->n > 1 || o->attest.provenance || o->attest.sbom;
}

struct results {
	struct build_result *v;
	size_t n;
};

static void results_free(struct results *l)
{
	for (size_t i = 0; i < l->n; i++)
		build_result_free(&l->v[i]);
	free(l->v);
}

static bool is_same(const struct strv *a, const struct strv *b)
{
	for (size_t i = 0; i < a->n && a->n == b->n; i++)
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	return a->n == b->n;
}

/* The first output's that has any; the others' are the same. */
static int annotations_of(const struct deliver *d, bool is_index, const struct strv **ret,
			  struct err *err)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct strv *v = is_index ? &d->v[i].index_annotations : &d->v[i].annotations;

		if (*ret && v->n && !is_same(*ret, v))
			return err_set(err, EINVAL,
				       "outputs of one index have the same annotations");
		if (v->n)
			*ret = v;
	}
	return 0;
}

/* Compression is that of the outputs that say any: the index has one form. */
static int pack_of(const struct deliver *d, struct image_pack *ret, struct err *err)
{
	const struct build_output *codec = NULL;
	int rc = annotations_of(d, false, &ret->annotations, err);

	for (size_t i = 0; i < d->n && rc >= 0; i++) {
		const struct build_output *o = &d->v[i];

		if (codec && (o->codec || o->level) &&
		    (!str_eq(codec->codec, o->codec) || codec->level != o->level))
			return err_set(err, EINVAL,
				       "outputs of one index are compressed in the same way");
		if (o->codec || o->level)
			codec = o;
	}
	if (codec && rc >= 0) {
		const struct strv *annotations = ret->annotations;

		rc = image_pack_parse(codec->codec, codec->level, ret, err);
		ret->annotations = annotations;
	}
	return rc;
}

/* What the index holds by itself now, unless somebody has a name for it. */
static void drop_image(struct cli *c, const char *id)
{
	auto_image_removal struct image_removal gone = { 0 };
	auto_strv struct strv tags = { 0 };
	struct err ignored = { 0 };

	if (image_tags(&c->rt, id, &tags, &ignored) >= 0 && !tags.n)
		image_remove(&c->rt, id, IMAGE_NOW, &gone, &ignored);
}

struct said {
	struct image_statement v[2];
};

/* The predicates stay the result's. */
static void take_statements(const struct build_result *r, struct said *s,
			    struct image_index_member *m)
{
	size_t n = 0;

	if (r->sbom)
		s->v[n++] = (struct image_statement){ BUILD_SPDX, r->sbom };
	if (r->provenance)
		s->v[n++] = (struct image_statement){ BUILD_SLSA, r->provenance };
	m->statements = s->v;
	m->n_statements = n;
}

static int write_index(struct deliver *d, const struct results *l, size_t first, struct err *err)
{
	auto_free struct image_index_member *m = mem_array(l->n, sizeof(*m));
	auto_free struct said *said = mem_array(l->n, sizeof(*said));
	auto_strv struct strv tags = { 0 };
	struct image_pack pack = { 0 };
	struct image_index_new n = {
		.members = m, .n = l->n, .first = first, .pack = &pack, .tags = &tags
	};
	int rc = pack_of(d, &pack, err);

	if (rc >= 0)
		rc = annotations_of(d, true, &n.annotations, err);
	for (size_t i = 0; i < l->n; i++) {
		memcpy(m[i].id, l->v[i].image_id, sizeof(m[i].id));
		take_statements(&l->v[i], &said[i], &m[i]);
	}
	for (size_t i = 0; rc >= 0 && i < d->names.n; i++) {
		char *full = NULL;

		rc = image_ref_normalize(d->names.v[i], &full, err);
		if (rc >= 0)
			strv_add_take(&tags, full);
	}
	if (rc >= 0)
		rc = image_index_write(&d->c->rt, &n, d->digest, err);
	d->is_index = rc >= 0;
	for (size_t i = 0; rc >= 0 && i < l->n; i++)
		if (!str_eq(l->v[i].image_id, l->v[first].image_id))
			drop_image(d->c, l->v[i].image_id);
	return rc;
}

/* The platform as a directory's name, for -o local. */
static char *dir_name(const char *platform)
{
	char *name = mem_str(platform);

	for (char *at = name; (at = strchr(at, '/'));)
		*at = '_';
	return name;
}

static int check_outputs(const struct deliver *d, const struct build_opts *o,
			 const struct strv *platforms, struct err *err)
{
	for (size_t i = 0; i < d->n; i++) {
		if (d->v[i].kind == BUILD_OUT_TAR && platforms->n > 1)
			return err_set(err, EINVAL,
				       "-o type=tar is of one platform, type=local of several");
		if (d->v[i].kind == BUILD_OUT_DOCKER && d->v[i].dest)
			return err_set(err, EINVAL, "-o type=docker holds no index: take type=oci");
		if (d->v[i].docker_types)
			return err_set(err, EINVAL, "an index is of OCI's media types");
	}
	return platforms->n > 1 && (o->resume || str_eq(o->file, "-") || str_eq(o->context, "-"))
		       ? err_set(err, EINVAL,
				 "several platforms: not with --resume, nor from standard input")
		       : 0;
}

static void leaving_cleanup(struct build_leaving **l)
{
	build_leaving_free(*l);
}

int platforms_run(struct deliver *d, const struct build_opts *o, const struct strv *platforms,
		  const char *progress, struct build_result *r, struct err *err)
{
	cleanup(results_free) struct results l = { mem_array(platforms->n + 1, sizeof(*l.v)), 0 };
	struct build_opts one = *o;
	size_t count = platforms->n ? platforms->n : 1;
	cleanup(leaving_cleanup) struct build_leaving *leaving = build_leaving_new(count);
	auto_free char *here = NULL;
	size_t first = 0;
	int rc = image_platform_text(NULL, &here, err);

	one.leaving = leaving;
	one.tags = (struct strv){ 0 }; /* the names are the index's */
	if (rc >= 0)
		rc = check_outputs(d, o, platforms, err);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		auto_free char *dir = platforms->n > 1 ? dir_name(platforms->v[i]) : NULL;

		d->sub = dir;
		one.platform = platforms->n ? platforms->v[i] : NULL;
		l.n = i + 1;
		rc = one_build_run(
			&d->c->rt, &one,
			&(struct one_build){ .progress = progress, .title = one.platform }, &l.v[i],
			err);
		if (rc < 0 && one.platform)
			err_ctx(err, "%s", one.platform);
		d->sub = NULL;
		if (str_eq(one.platform, here))
			first = i;
	}
	if (rc < 0 && l.n)
		first = l.n - 1;
	else if (rc >= 0 && !o->no_image)
		rc = write_index(d, &l, first, err);
	if (l.n) {
		*r = l.v[first];
		l.v[first] = (struct build_result){ 0 };
	}
	if (rc >= 0 && d->is_index)
		fprintf(stderr, "%s is the index\n", d->digest);
	if (rc >= 0 && str_eq(progress, "quiet") && !o->no_image)
		printf("%s\n", r->image_id);
	return rc;
}
