/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX ACLs: the kernel's bytes (an xattr) and the text that tar programs exchange in PAX records
 * ("user::rwx,user:1000:r--,group::r-x,mask::r-x,other::---").
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { VERSION = 2, ENTRIES_MAX = LAYER_XATTR_MAX / 8, FIELDS_MAX = 4 };

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};

static const struct tag {
	const char *name;
	uint16_t whole, named; /* 0: has none */
} tags[] = {
	{ "user", 0x01, 0x02 }, { "group", 0x04, 0x08 }, { "mask", 0x10, 0 }, { "other", 0x20, 0 }
};

static const struct tag *tag_of(const char *name)
{
	/* "u", "g", "m" and "o" do as well. */
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		if (!strcmp(name, tags[i].name) || (name[0] == tags[i].name[0] && !name[1]))
			return &tags[i];
	return NULL;
}

static const struct tag *tag_by_number(uint16_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		if (n == tags[i].whole || (tags[i].named && n == tags[i].named))
			return &tags[i];
	return NULL;
}

bool layer_acl_text(const void *acl, size_t len, struct str *ret)
{
	const char *p = acl;
	uint32_t version;
	struct entry e;

	str_reset(ret);
	if (len < sizeof(version) + sizeof(e) || len > LAYER_XATTR_MAX ||
	    (len - sizeof(version)) % sizeof(e))
		return false;
	memcpy(&version, p, sizeof(version));
	if (le32toh(version) != VERSION)
		return false;
	for (size_t at = sizeof(version); at < len; at += sizeof(e)) {
		const struct tag *t;
		uint16_t perm;

		memcpy(&e, p + at, sizeof(e));
		t = tag_by_number(le16toh(e.tag));
		perm = le16toh(e.perm);
		if (!t)
			return false;
		str_addf(ret, "%s%s:", ret->len ? "," : "", t->name);
		if (le16toh(e.tag) == t->named)
			str_addf(ret, "%u", le32toh(e.id));
		str_addf(ret, ":%c%c%c", perm & 4 ? 'r' : '-', perm & 2 ? 'w' : '-',
			 perm & 1 ? 'x' : '-');
	}
	return true;
}

static int parse_perm(const char *s, uint16_t *ret)
{
	*ret = 0;
	for (; *s; s++) {
		if (!strchr("rwx-", *s))
			return -EINVAL;
		*ret |= *s == 'r' ? 4 : *s == 'w' ? 2 : *s == 'x' ? 1 : 0;
	}
	return 0;
}

/* 1 an entry, 0 one that means nothing here: a name without a number says who it is only where the
 * archive was made. */
static int parse_entry(char *text, struct entry *ret)
{
	char *f[FIELDS_MAX + 1] = { 0 };
	const struct tag *t;
	uint64_t id = UINT32_MAX;
	uint16_t perm = 0;
	size_t n = 0;

	for (char *p = text; p && n < FIELDS_MAX; n++) {
		f[n] = p;
		p = strchr(p, ':');
		if (p)
			*p++ = 0;
	}
	t = tag_of(f[0]);
	/* "mask:rwx", as some write it. */
	if (n == 2 && t && !t->named) {
		f[2] = f[1];
		f[1] = f[0] + strlen(f[0]);
	}
	if (!t || !f[2] || parse_perm(f[2], &perm) < 0)
		return -EINVAL;
	if (*f[1] && !t->named)
		return -EINVAL;
	if (*f[1] && str_to_u64(f[3] ? f[3] : f[1], 10, LAYER_ID_MAX, &id) < 0)
		return 0;
	*ret = (struct entry){ htole16(*f[1] ? t->named : t->whole), htole16(perm),
			       htole32((uint32_t)id) };
	return 1;
}

/* The kernel wants them in this order. */
static int by_tag(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	uint32_t i = le32toh(x->id), k = le32toh(y->id);

	if (x->tag != y->tag)
		return le16toh(x->tag) < le16toh(y->tag) ? -1 : 1;
	return i < k ? -1 : i > k;
}

int layer_acl_parse(const char *text, struct str *ret)
{
	auto_free char *copy = mem_str(text);
	auto_free struct entry *v = NULL;
	uint32_t version = htole32(VERSION);
	size_t n = 0, cap = 0;
	char *save = copy;

	while (save) {
		char *one = save, *end = strpbrk(save, ",\n");
		int rc;

		save = end ? end + 1 : NULL;
		if (end)
			*end = 0;
		one[strcspn(one, "# \t")] = 0;
		if (str_starts(one, "default:"))
			one += strlen("default:");
		if (!*one)
			continue;
		if (n == ENTRIES_MAX)
			return -E2BIG;
		mem_room(v, n, cap);
		rc = parse_entry(one, &v[n]);
		if (rc < 0)
			return rc;
		n += (size_t)rc;
	}
	str_reset(ret);
	if (!n)
		return 0;
	qsort(v, n, sizeof(*v), by_tag);
	str_addn(ret, &version, sizeof(version));
	str_addn(ret, v, n * sizeof(*v));
	return 0;
}
