/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of tar headers and records of PAX headers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

#define XATTR_KEY "SCHILY.xattr."

static int damaged(struct err *err, const char *why)
{
	return err_set(err, EBADMSG, "damaged tar: PAX: %s", why);
}

void layer_pax_free(struct layer_pax *x)
{
	str_free(&x->path);
	str_free(&x->target);
	str_free(&x->xattrs);
	str_free(&x->sparse_name);
	str_free(&x->acl_access);
	str_free(&x->acl_default);
	free(x->parts);
}

bool layer_tar_octal(const char *field, size_t width, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	while (i < width && field[i] == ' ')
		i++;
	for (; i < width && field[i] >= '0' && field[i] <= '7'; i++) {
		if (v >> 61)
			return false;
		v = v << 3 | (uint64_t)(field[i] - '0');
	}
	*ret = v;
	return i == width || field[i] == 0 || field[i] == ' ';
}

bool layer_tar_signed(const char *field, size_t width, int64_t *ret)
{
	const unsigned char *p = (const unsigned char *)field;
	uint64_t v;
	bool is_negative = p[0] == 0xff;

	if (!(p[0] & 0x80)) {
		if (!layer_tar_octal(field, width, &v) || v > INT64_MAX)
			return false;
		*ret = (int64_t)v;
		return true;
	}
	v = is_negative ? UINT64_MAX : p[0] & 0x7f;
	for (size_t i = 1; i < width; i++) {
		/* What is shifted out must be nothing but sign. */
		if (v >> 55 != (is_negative ? UINT64_MAX >> 55 : 0))
			return false;
		v = v << 8 | p[i];
	}
	*ret = (int64_t)v;
	return true;
}

bool layer_tar_number(const char *field, size_t width, uint64_t *ret)
{
	int64_t v;

	if (!layer_tar_signed(field, width, &v) || v < 0)
		return false;
	*ret = (uint64_t)v;
	return true;
}

/* "123.456" or "-1.5": whole seconds, towards minus infinity. */
static int parse_time(const char *s, int64_t *ret)
{
	char digits[24];
	size_t n = strcspn(s, ".");
	bool is_negative = *s == '-';
	uint64_t v;

	s += is_negative;
	n -= is_negative && n;
	if (n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, s, n);
	digits[n] = 0;
	if (str_to_u64(digits, 10, INT64_MAX - 1, &v) < 0)
		return -EINVAL;
	s += n;
	s += *s == '.';
	if (strspn(s, "0123456789") != strlen(s))
		return -EINVAL;
	*ret = is_negative ? -(int64_t)v - (strspn(s, "0") != strlen(s)) : (int64_t)v;
	return 0;
}

static int set_text(struct str *to, const char *value, size_t len)
{
	str_reset(to);
	str_addn(to, value, len);
	return 0;
}

static int set_time(struct layer_pax *x, const char *value)
{
	x->has |= PAX_MTIME;
	return parse_time(value, &x->mtime_s);
}

/* The next of a list, past its comma. In place: a record may hold half a million. */
static int map_number(const char **at, uint64_t *ret)
{
	size_t n = strspn(*at, "0123456789");
	char digits[24];

	if (!n || n >= sizeof(digits) || ((*at)[n] && (*at)[n] != ','))
		return -EINVAL;
	memcpy(digits, *at, n);
	digits[n] = 0;
	*at += n + ((*at)[n] == ',');
	return str_to_u64(digits, 10, INT64_MAX, ret);
}

/* GNU.sparse 0.1: "at,len,at,len". */
static int set_map(struct layer_pax *x, const char *value)
{
	x->is_sparse = true;
	x->n_parts = 0;
	while (*value) {
		struct layer_part p;

		if (map_number(&value, &p.at) < 0 || map_number(&value, &p.len) < 0 ||
		    x->n_parts >= LAYER_PARTS_MAX)
			return -EINVAL;
		mem_room(x->parts, x->n_parts, x->parts_cap);
		x->parts[x->n_parts++] = p;
	}
	return 0;
}

/* GNU.sparse 0.0: a record for each offset and each length. */
static int add_part(struct layer_pax *x, bool is_offset, const char *value)
{
	uint64_t v;

	x->is_sparse = true;
	if (str_to_u64(value, 10, INT64_MAX, &v) < 0)
		return -EINVAL;
	if (!is_offset) {
		if (!x->n_parts)
			return -EINVAL;
		x->parts[x->n_parts - 1].len = v;
		return 0;
	}
	if (x->n_parts >= LAYER_PARTS_MAX)
		return -EINVAL;
	mem_room(x->parts, x->n_parts, x->parts_cap);
	x->parts[x->n_parts++] = (struct layer_part){ v, 0 };
	return 0;
}

static int set_number(struct layer_pax *x, const char *key, const char *value)
{
	const struct {
		const char *key;
		uint64_t *to;
		uint64_t max;
		unsigned has;
	} keys[] = {
		{ "size", &x->size, INT64_MAX, PAX_SIZE },
		{ "uid", &x->uid, LAYER_ID_MAX, PAX_UID },
		{ "gid", &x->gid, LAYER_ID_MAX, PAX_GID },
		{ "SCHILY.devmajor", &x->major, UINT32_MAX, PAX_MAJOR },
		{ "SCHILY.devminor", &x->minor, UINT32_MAX, PAX_MINOR },
		{ "GNU.sparse.size", &x->realsize, INT64_MAX, PAX_REALSIZE },
		{ "GNU.sparse.realsize", &x->realsize, INT64_MAX, PAX_REALSIZE },
		{ "GNU.sparse.major", &x->sparse_version, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(key, keys[i].key) != 0)
			continue;
		x->has |= keys[i].has;
		x->is_sparse |= str_starts(key, "GNU.sparse.");
		return str_to_u64(value, 10, keys[i].max, keys[i].to);
	}
	return 0; /* what nobody knows is passed over */
}

static int set_record(struct layer_pax *x, const char *key, const char *value, size_t len)
{
	if (!strcmp(key, "path"))
		return set_text(&x->path, value, len);
	if (!strcmp(key, "linkpath"))
		return set_text(&x->target, value, len);
	if (!strcmp(key, "GNU.sparse.name"))
		return set_text(&x->sparse_name, value, len);
	if (str_starts(key, XATTR_KEY)) {
		if (len > LAYER_XATTR_MAX || strlen(key) > sizeof(XATTR_KEY) - 1 + 255)
			return -E2BIG;
		if (x->xattrs.len + strlen(key) + len > LAYER_PAX_MAX)
			return -E2BIG;
		layer_attrs_pack(&x->xattrs, key + sizeof(XATTR_KEY) - 1, value, len);
		return 0;
	}
	/* An empty value takes a record back; the rest are numbers and have no NUL. */
	if (!len)
		return 0;
	if (strlen(value) != len)
		return -EINVAL;
	if (!strcmp(key, "SCHILY.acl.access"))
		return layer_acl_parse(value, &x->acl_access);
	if (!strcmp(key, "SCHILY.acl.default"))
		return layer_acl_parse(value, &x->acl_default);
	if (!strcmp(key, "mtime"))
		return set_time(x, value);
	if (!strcmp(key, "GNU.sparse.map"))
		return set_map(x, value);
	if (!strcmp(key, "GNU.sparse.offset") || !strcmp(key, "GNU.sparse.numbytes"))
		return add_part(x, key[11] == 'o', value);
	return set_number(x, key, value);
}

/* "LEN KEY=VALUE\n", where LEN counts all of it. */
int layer_pax_parse(struct layer_pax *x, const struct str *body, struct err *err)
{
	char *p = body->s, *end = body->s + body->len;

	while (p < end && *p) {
		char *space = memchr(p, ' ', (size_t)(end - p) < 12 ? (size_t)(end - p) : 12), *eq;
		uint64_t len;
		int rc;

		if (!space)
			return damaged(err, "a record's length");
		*space = 0;
		if (str_to_u64(p, 10, (uint64_t)(end - p), &len) < 0 ||
		    len < (size_t)(space - p) + 3 || p[len - 1] != '\n')
			return damaged(err, "a record's length");
		p[len - 1] = 0;
		eq = memchr(space + 1, '=', len - (size_t)(space + 1 - p));
		if (!eq)
			return damaged(err, "a record without =");
		*eq = 0;
		rc = set_record(x, space + 1, eq + 1, (size_t)(p + len - 1 - (eq + 1)));
		if (rc < 0)
			return err_set(err, rc == -E2BIG ? E2BIG : EBADMSG,
				       "damaged tar: PAX: %.100s", space + 1);
		p += len;
	}
	return 0;
}

static void replace(struct str *to, const struct str *from)
{
	if (!from->len)
		return;
	str_reset(to);
	str_addn(to, from->s, from->len);
}

/* The xattr's own record goes before the text that says the same. */
static void add_acl(struct layer_entry *e, const char *acl, const struct str *value)
{
	const char *name;
	const void *v;
	uint32_t len;
	size_t at = 0;

	while (layer_attrs_next(e->xattrs.s, e->xattrs.len, &at, &name, &v, &len))
		if (!strcmp(name, acl))
			return;
	if (value->len)
		layer_attrs_pack(&e->xattrs, acl, value->s, value->len);
}

void layer_pax_apply(const struct layer_pax *x, struct layer_entry *e)
{
	replace(&e->path, &x->path);
	replace(&e->path, &x->sparse_name);
	replace(&e->target, &x->target);
	replace(&e->xattrs, &x->xattrs);
	add_acl(e, LAYER_ACL_ACCESS, &x->acl_access);
	add_acl(e, LAYER_ACL_DEFAULT, &x->acl_default);
	if (x->has & PAX_SIZE)
		e->size = x->size;
	if (x->has & PAX_UID)
		e->uid = (uint32_t)x->uid;
	if (x->has & PAX_GID)
		e->gid = (uint32_t)x->gid;
	if (x->has & PAX_MTIME)
		e->mtime_s = x->mtime_s;
	if (x->has & PAX_MAJOR)
		e->major = (uint32_t)x->major;
	if (x->has & PAX_MINOR)
		e->minor = (uint32_t)x->minor;
}
