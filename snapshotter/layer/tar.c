/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing tar: POSIX ustar headers, with a PAX header before them only where a value does not fit.
 * The same row always gives the same bytes: the DiffID depends on it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <shale/base/hash.h>

#include "priv.h"

enum { BUF_BYTES = 64 << 10, ID_MAX = 07777777, NAME_LEN = 100, PREFIX_LEN = 155 };
#define SIZE_OCTAL_MAX 077777777777LL

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], type;
	char linkname[100], magic[6], version[2], uname[32], gname[32], major[8], minor[8];
	char prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == LAYER_TAR_BLOCK, "a tar block");

struct layer_tar {
	struct sink *to;
	struct hash *hash;
	struct layer_memo *memo;
	uint64_t bytes;
	size_t n;
	struct str pax, path;
	char buf[BUF_BYTES];
};

static const char zeros[BUF_BYTES];

struct layer_tar *layer_tar_new(struct sink *to, bool with_hash, struct layer_memo *memo)
{
	struct layer_tar *t = mem_alloc(sizeof(*t));

	t->to = to;
	t->hash = with_hash && !memo ? hash_new() : NULL;
	t->memo = memo;
	return t;
}

void layer_tar_free(struct layer_tar **t)
{
	if (!*t)
		return;
	hash_free((*t)->hash);
	str_free(&(*t)->pax);
	str_free(&(*t)->path);
	free(*t);
	*t = NULL;
}

static int put(struct layer_tar *t, const void *p, size_t n, struct err *err)
{
	if (t->memo)
		layer_memo_bytes(t->memo, p, n);
	if (t->hash)
		hash_add(t->hash, p, n);
	return t->to ? t->to->write(t->to, p, n, err) : 0;
}

static int flush(struct layer_tar *t, struct err *err)
{
	int rc = t->n ? put(t, t->buf, t->n, err) : 0;

	t->n = 0;
	return rc < 0 ? rc : 0;
}

int layer_tar_data(struct layer_tar *t, const void *p, size_t n, struct err *err)
{
	int rc = 0;

	t->bytes += n;
	if (t->n + n > sizeof(t->buf))
		rc = flush(t, err);
	if (rc < 0)
		return rc;
	if (n >= sizeof(t->buf))
		return put(t, p, n, err);
	memcpy(t->buf + t->n, p, n);
	t->n += n;
	return 0;
}

int layer_tar_content(struct layer_tar *t, uint64_t size, const uint64_t hash[2], struct err *err)
{
	int rc = flush(t, err);

	t->bytes += size;
	layer_memo_content(t->memo, hash);
	return rc;
}

int layer_tar_zeros(struct layer_tar *t, uint64_t n, struct err *err)
{
	int rc = 0;

	for (; n && rc >= 0; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		rc = layer_tar_data(t, zeros, n < sizeof(zeros) ? n : sizeof(zeros), err);
	return rc;
}

int layer_tar_pad(struct layer_tar *t, uint64_t size, struct err *err)
{
	return layer_tar_zeros(t, -size % LAYER_TAR_BLOCK, err);
}

int layer_tar_end(struct layer_tar *t, struct layer_info *ret, struct err *err)
{
	int rc = layer_tar_zeros(t, (uint64_t)2 * LAYER_TAR_BLOCK, err);

	if (rc >= 0)
		rc = flush(t, err);
	if (rc < 0)
		return rc;
	if (t->hash)
		hash_end(t->hash, &ret->diff_id);
	ret->tar_bytes = t->bytes;
	return 0;
}

/* Its own length is part of what a PAX record's length counts. */
static void pax_add(struct str *pax, const char *key, const void *value, size_t len)
{
	size_t rest = strlen(key) + len + 3, total = rest, digits = 0;

	while (digits != (size_t)snprintf(NULL, 0, "%zu", total)) {
		digits = (size_t)snprintf(NULL, 0, "%zu", total);
		total = rest + digits;
	}
	str_addf(pax, "%zu %s=", total, key);
	str_addn(pax, value, len);
	str_addc(pax, '\n');
}

static void pax_number(struct str *pax, const char *key, int64_t v)
{
	char text[24];

	pax_add(pax, key, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)v));
}

static void octal(char *field, size_t width, uint64_t v)
{
	field[--width] = 0;
	while (width--) {
		field[width] = (char)('0' + (v & 7));
		v >>= 3;
	}
}

static void checksum(struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;

	memset(h->chksum, ' ', sizeof(h->chksum));
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += p[i];
	octal(h->chksum, 7, sum); /* six digits, NUL, and the space stays */
}

static void common(struct header *h, char type)
{
	*h = (struct header){ .type = type };
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
}

/* Into name, or split at a slash into prefix and name. */
static bool path_fits(struct header *h, const char *path, size_t len)
{
	if (len <= NAME_LEN) {
		memcpy(h->name, path, len);
		return true;
	}
	for (size_t i = len - 1; i-- > 1;) {
		if (path[i] != '/')
			continue;
		if (len - i - 1 > NAME_LEN)
			return false;
		if (i <= PREFIX_LEN) {
			memcpy(h->prefix, path, i);
			memcpy(h->name, path + i + 1, len - i - 1);
			return true;
		}
	}
	return false;
}

/* What stands in the header for tools that know no PAX. */
static void path_cut(struct header *h, const char *path, size_t len)
{
	memcpy(h->name, path, len < NAME_LEN ? len : NAME_LEN);
}

/* How many bytes more belong to it; 4 where none may begin so. */
static unsigned utf8_more(unsigned char lead)
{
	if (lead < 0x80)
		return 0;
	return lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : 4;
}

/* Long forms, surrogates and what is beyond Unicode are none. */
static bool is_code_point(uint32_t v, unsigned more)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

	return v >= least[more] && v <= 0x10ffff && (v < 0xd800 || v >= 0xe000);
}

static bool is_utf8(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n;

	while (p < end) {
		unsigned more = utf8_more(*p), left = more;
		uint32_t v = more ? *p & (0x3fu >> more) : *p;

		if (more > 3 || more >= (size_t)(end - p))
			return false;
		for (p++; left && *p >> 6 == 2; p++, left--)
			v = v << 6 | (*p & 0x3f);
		if (left || !is_code_point(v, more))
			return false;
	}
	return true;
}

static uint64_t or_pax(struct str *pax, const char *key, uint64_t v, uint64_t max)
{
	if (v <= max)
		return v;
	pax_number(pax, key, (int64_t)v);
	return 0;
}

/* tar programs read ACLs from records of their own, container engines from the xattr's. */
static void pax_acl(struct str *pax, const char *name, const void *value, uint32_t len)
{
	auto_str struct str text = { 0 };
	const char *key = !strcmp(name, LAYER_ACL_ACCESS)    ? "SCHILY.acl.access"
			  : !strcmp(name, LAYER_ACL_DEFAULT) ? "SCHILY.acl.default"
							     : NULL;

	if (key && layer_acl_text(value, len, &text))
		pax_add(pax, key, text.s, text.len);
}

static int pax_xattrs(struct str *pax, const struct layer_row *row, struct err *err)
{
	const char *name;
	const void *value;
	uint32_t len;
	size_t at = 0;

	while (layer_attrs_next(row->xattrs, row->xattrs_len, &at, &name, &value, &len)) {
		char key[300];

		/* The first "=" ends a PAX keyword: such a name would come out as another. */
		if (strchr(name, '='))
			return err_set(err, EINVAL, "%s: a layer cannot hold xattr %s", row->path,
				       name);
		snprintf(key, sizeof(key), "SCHILY.xattr.%s", name);
		pax_add(pax, key, value, len);
		pax_acl(pax, name, value, len);
	}
	return 0;
}

static int write_pax(struct layer_tar *t, struct err *err)
{
	struct header h;
	int rc;

	if (t->pax.len > LAYER_PAX_MAX)
		return err_set(err, E2BIG, "%s: more than 1 MiB of attributes", str_get(&t->path));
	common(&h, 'x');
	memcpy(h.name, "PaxHeaders", 11);
	octal(h.mode, sizeof(h.mode), 0644);
	octal(h.uid, sizeof(h.uid), 0);
	octal(h.gid, sizeof(h.gid), 0);
	octal(h.size, sizeof(h.size), t->pax.len);
	octal(h.mtime, sizeof(h.mtime), 0);
	checksum(&h);
	rc = layer_tar_data(t, &h, sizeof(h), err);
	if (rc >= 0)
		rc = layer_tar_data(t, t->pax.s, t->pax.len, err);
	return rc < 0 ? rc : layer_tar_pad(t, t->pax.len, err);
}

/* The name as the stream has it; whiteouts get their prefix here. */
static void stream_path(struct str *to, const struct layer_row *row)
{
	const char *slash = strrchr(row->path, '/');
	const char *base = slash ? slash + 1 : row->path;

	str_reset(to);
	switch (row->kind) {
	case LAYER_WHITEOUT:
		str_addn(to, row->path, (size_t)(base - row->path));
		str_addf(to, LAYER_WH_PREFIX "%s", base);
		break;
	case LAYER_OPAQUE:
		str_addf(to, "%s%s" LAYER_WH_OPAQUE, row->path, *row->path ? "/" : "");
		break;
	case LAYER_DIR:
		str_addf(to, "%s/", *row->path ? row->path : ".");
		break;
	default:
		str_add(to, row->path);
	}
}

static char type_flag(char kind)
{
	static const char flags[][2] = { { LAYER_HARDLINK, '1' }, { LAYER_SYMLINK, '2' },
					 { LAYER_CHAR, '3' },     { LAYER_BLOCK, '4' },
					 { LAYER_DIR, '5' },      { LAYER_FIFO, '6' } };

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i][0] == kind)
			return flags[i][1];
	return '0';
}

/* Those that fit no header. A PAX text is UTF-8 unless the header says otherwise, for readers who
 * convert it. */
static void put_names(struct layer_tar *t, struct header *h, const char *target)
{
	size_t link_len = strlen(target);
	bool path_is_long = !path_fits(h, t->path.s, t->path.len),
	     link_is_long = link_len > NAME_LEN;

	memcpy(h->linkname, target, link_is_long ? NAME_LEN : link_len);
	if ((path_is_long && !is_utf8(t->path.s, t->path.len)) ||
	    (link_is_long && !is_utf8(target, link_len)))
		pax_add(&t->pax, "hdrcharset", "BINARY", 6);
	if (path_is_long) {
		path_cut(h, t->path.s, t->path.len);
		pax_add(&t->pax, "path", t->path.s, t->path.len);
	}
	if (link_is_long)
		pax_add(&t->pax, "linkpath", target, link_len);
}

int layer_tar_header(struct layer_tar *t, const struct layer_row *row, struct err *err)
{
	uint64_t size = row->kind == LAYER_FILE ? row->size : 0;
	struct header h;
	int rc;

	common(&h, type_flag(row->kind));
	str_reset(&t->pax);
	stream_path(&t->path, row);
	put_names(t, &h, row->target ? row->target : "");
	octal(h.mode, sizeof(h.mode), row->mode & 07777);
	octal(h.uid, sizeof(h.uid), or_pax(&t->pax, "uid", row->uid, ID_MAX));
	octal(h.gid, sizeof(h.gid), or_pax(&t->pax, "gid", row->gid, ID_MAX));
	octal(h.size, sizeof(h.size), or_pax(&t->pax, "size", size, SIZE_OCTAL_MAX));
	/* A negative time is a huge unsigned number: it goes to PAX as well. */
	octal(h.mtime, sizeof(h.mtime),
	      or_pax(&t->pax, "mtime", (uint64_t)row->mtime_s, SIZE_OCTAL_MAX));
	octal(h.major, sizeof(h.major),
	      or_pax(&t->pax, "SCHILY.devmajor", major(row->rdev), ID_MAX));
	octal(h.minor, sizeof(h.minor),
	      or_pax(&t->pax, "SCHILY.devminor", minor(row->rdev), ID_MAX));
	checksum(&h);
	rc = pax_xattrs(&t->pax, row, err);
	if (rc >= 0 && t->pax.len)
		rc = write_pax(t, err);
	return rc < 0 ? rc : layer_tar_data(t, &h, sizeof(h), err);
}
