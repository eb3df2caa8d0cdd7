/* SPDX-License-Identifier: Apache-2.0 */
/* --cache-to and --cache-from as docker buildx reads them: a reference, or a line of CSV. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "depot.h"
#include "mount.h"

void depot_spec_free(struct depot_spec *s)
{
	image_depot_free(&s->at);
	free(s->text);
	*s = (struct depot_spec){ 0 };
}

enum {
	LOCAL = 1,
	REGISTRY = 2,
	INLINE = 4,
	FROM = 8,
	TO = 16,
};
static const struct {
	const char *name;
	unsigned type;
} types[] = { { "local", LOCAL }, { "registry", REGISTRY }, { "inline", INLINE } };

/* What is collected before it is put together. */
struct fields {
	unsigned type; /* and the direction */
	const char *codec;
	int level;
};

static int set_dir(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)f;
	if (!*v)
		return err_set(err, EINVAL, "the directory has no name");
	free(s->at.dir);
	s->at.dir = mem_str(v);
	return 0;
}

static int set_tag(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)f;
	if (!*v || strlen(v) > 128 ||
	    v[strspn(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			"0123456789._-")])
		return err_set(err, EINVAL, "tag=%.130s: want letters, digits, dots, _ and -", v);
	free(s->at.tag);
	s->at.tag = mem_str(v);
	return 0;
}

static int set_ref(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)f;
	mem_cleanup(&s->at.ref);
	return image_ref_normalize(v, &s->at.ref, err);
}

static int set_mode(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)f;
	s->is_max = !strcmp(v, "max");
	return s->is_max || !strcmp(v, "min")
		       ? 0
		       : err_set(err, EINVAL, "mode=%.20s: want min or max", v);
}

static int set_ignore(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)f;
	return bool_parse(v, &s->ignore_error) < 0
		       ? err_set(err, EINVAL, "ignore-error=%.20s: want true or false", v)
		       : 0;
}

static int set_codec(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)s;
	f->codec = !strcmp(v, "uncompressed") ? "none" : v;
	return strcmp(v, "uncompressed") != 0 && strcmp(v, "gzip") != 0 && strcmp(v, "zstd") != 0
		       ? err_set(err, EINVAL, "compression=%.20s: want uncompressed, gzip or zstd",
				 v)
		       : 0;
}

static int set_level(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	uint64_t n;

	(void)s;
	if (str_to_u64(v, 10, 22, &n) < 0)
		return err_set(err, EINVAL, "compression-level=%.20s: want a number", v);
	f->level = (int)n;
	return 0;
}

/* What is so in any case: OCI's types, a manifest of its own, one codec where one is asked for. */
static int set_true(struct depot_spec *s, struct fields *f, const char *v, struct err *err)
{
	(void)s;
	(void)f;
	return strcmp(v, "true") != 0 ? err_set(err, EINVAL, "only true is done") : 0;
}

static const struct {
	const char *name;
	unsigned types, ways;
	int (*set)(struct depot_spec *s, struct fields *f, const char *v, struct err *err);
} keys[] = {
	{ "src", LOCAL, FROM, set_dir },
	{ "dest", LOCAL, TO, set_dir },
	{ "tag", LOCAL, FROM | TO, set_tag },
	{ "ref", REGISTRY, FROM | TO, set_ref },
	{ "mode", LOCAL | REGISTRY | INLINE, TO, set_mode },
	{ "ignore-error", LOCAL | REGISTRY, TO, set_ignore },
	{ "compression", LOCAL | REGISTRY, TO, set_codec },
	{ "compression-level", LOCAL | REGISTRY, TO, set_level },
	{ "force-compression", LOCAL | REGISTRY, TO, set_true },
	{ "oci-mediatypes", LOCAL | REGISTRY, TO, set_true },
	{ "image-manifest", LOCAL | REGISTRY, TO, set_true },
};

static int set_field(struct depot_spec *s, struct fields *f, const char *field, struct err *err)
{
	const char *eq = strchr(field, '='), *names[ARRAY_LEN(keys) + 1] = { 0 }, *near;
	auto_free char *key = eq ? mem_strn(field, (size_t)(eq - field)) : NULL;

	if (!eq)
		return err_set(err, EINVAL, "%.100s: want KEY=VALUE", field);
	if (!strcmp(key, "type"))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		names[i] = keys[i].name;
		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (!(keys[i].types & f->type) || !(keys[i].ways & f->type))
			return err_set(err, EINVAL, "%s does not go with this type", key);
		return keys[i].set(s, f, eq + 1, err);
	}
	near = str_nearest(key, names);
	err_set(err, EINVAL, "unknown key %.100s", key);
	return near ? err_hint(err, "did you mean %s?", near) : -EINVAL;
}

static int find_type(const struct strv *fields, struct fields *f, struct err *err)
{
	for (size_t i = 0; i < fields->n; i++) {
		const char *v = fields->v[i] + strlen("type=");

		if (!str_starts(fields->v[i], "type="))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(types); k++)
			if (!strcmp(types[k].name, v)) {
				f->type |= types[k].type;
				return 0;
			}
		return err_set(err, ENOTSUP, "type=%.20s: want local, registry or inline", v);
	}
	return err_set(err, EINVAL, "type= is missing");
}

static int check(struct depot_spec *s, const struct fields *f, struct err *err)
{
	if (f->type & LOCAL && !s->at.dir)
		return err_set(err, EINVAL, "%s is missing", f->type & TO ? "dest=" : "src=");
	if (f->type & REGISTRY && !s->at.ref)
		return err_set(err, EINVAL, "ref= is missing");
	if (f->type & INLINE && !(f->type & TO))
		return err_set(err, EINVAL,
			       "inline records are read with the image: give its name");
	if (f->type & INLINE && s->is_max)
		return err_set(err, EINVAL, "an image has no layers but its own: mode=min");
	if (f->type & LOCAL && !s->at.tag)
		s->at.tag = mem_str("latest");
	s->is_inline = (f->type & INLINE) != 0;
	return image_pack_parse(f->codec, f->level, &s->pack, err);
}

static int parse(const char *text, struct depot_spec *s, struct fields *f, struct err *err)
{
	auto_strv struct strv fields = { 0 };
	int rc = csv_split(text, &fields, err);

	if (rc >= 0 && fields.n == 1 && !strchr(text, '=')) {
		f->type |= REGISTRY;
		rc = set_ref(s, f, text, err);
		return rc < 0 ? rc : check(s, f, err);
	}
	if (rc >= 0)
		rc = find_type(&fields, f, err);
	for (size_t i = 0; i < fields.n && rc >= 0; i++)
		rc = set_field(s, f, fields.v[i], err);
	/* f->codec points into the fields. */
	return rc < 0 ? rc : check(s, f, err);
}

int depot_spec_parse(const char *text, bool is_to, struct depot_spec *ret, struct err *err)
{
	struct depot_spec s = { .text = mem_str(text) };
	struct fields f = { .type = is_to ? TO : FROM };
	int rc = parse(text, &s, &f, err);

	if (rc < 0) {
		depot_spec_free(&s);
		return err_ctx(err, "--cache-%s %.100s", is_to ? "to" : "from", text);
	}
	*ret = s;
	return 0;
}
