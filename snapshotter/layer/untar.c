/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading tar: V7, ustar, PAX, GNU (long names, base-256, sparse files in all their forms). Read
 * here and not by libarchive since names must stay the bytes that they are (it converts character
 * sets), a type that nobody knows is an error (it makes a file of it), and every length has a limit
 * of ours.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { EXTENSIONS_MAX = 64, EXTENSIONS_BYTES = 4 << 20 };

static const char zero_block[LAYER_TAR_BLOCK];

static int damaged(struct err *err, const char *why)
{
	return err_set(err, EBADMSG, "damaged tar: %s", why);
}

void layer_untar_free(struct layer_untar *u)
{
	str_free(&u->e.path);
	str_free(&u->e.target);
	str_free(&u->e.xattrs);
	free(u->e.parts);
	free(u->buf);
}

static bool checksum_is_right(const struct layer_block *h)
{
	const unsigned char *p = (const unsigned char *)h;
	uint64_t want, sum = 0;
	int64_t signed_sum = 0; /* some old tars added signed characters */

	for (size_t i = 0; i < sizeof(*h); i++) {
		bool is_sum = i >= offsetof(struct layer_block, chksum) &&
			      i < offsetof(struct layer_block, chksum) + sizeof(h->chksum);

		sum += is_sum ? ' ' : p[i];
		signed_sum += is_sum ? ' ' : (signed char)p[i];
	}
	return layer_tar_octal(h->chksum, sizeof(h->chksum), &want) &&
	       (want == sum || (int64_t)want == signed_sum);
}

bool layer_untar_probe(const void *block)
{
	const struct layer_block *h = block;

	return memcmp(block, zero_block, LAYER_TAR_BLOCK) != 0 && checksum_is_right(h);
}

int layer_untar_block(struct layer_untar *u, void *ret, struct err *err)
{
	ssize_t n = layer_stream_read(u->from, ret, LAYER_TAR_BLOCK, err);

	if (n < 0)
		return (int)n;
	if (n && n < LAYER_TAR_BLOCK)
		return damaged(err, "cut short");
	return n > 0;
}

/* The next header: 1, or 0 at the end, which is two zero blocks or, as some writers leave it, that
 * of the bytes. */
static int next_header(struct layer_untar *u, struct layer_block *h, struct err *err)
{
	int rc = layer_untar_block(u, h, err);

	if (rc <= 0)
		return rc;
	if (memcmp(h, zero_block, sizeof(*h)) != 0)
		return checksum_is_right(h) ? 1 : damaged(err, "a header's checksum is wrong");
	rc = layer_untar_block(u, h, err);
	if (rc > 0 && memcmp(h, zero_block, sizeof(*h)) != 0)
		return damaged(err, "a lone block of zeros");
	return rc < 0 ? rc : 0;
}

static int skip_rest(struct layer_untar *u, struct err *err)
{
	uint64_t left = u->left + u->pad;

	if (left && layer_stream_can_skip(u->from)) {
		u->left = u->pad = 0;
		return layer_stream_skip(u->from, left, err);
	}
	while (left) {
		size_t want = left < LAYER_CHUNK ? (size_t)left : (size_t)LAYER_CHUNK;
		ssize_t n = layer_stream_read(u->from, u->buf, want, err);

		if (n < 0)
			return (int)n;
		if ((size_t)n < want)
			return damaged(err, "cut short");
		left -= want;
	}
	u->left = u->pad = 0;
	return 0;
}

static int read_body(struct layer_untar *u, const struct layer_block *h, struct str *ret,
		     struct err *err)
{
	uint64_t size;

	if (!layer_tar_number(h->size, sizeof(h->size), &size))
		return damaged(err, "a size");
	if (size > LAYER_PAX_MAX)
		return err_set(err, E2BIG, "a tar header of more than 1 MiB");
	str_reset(ret);
	str_add(ret, ""); /* also of an empty one there is a text */
	u->left = size;
	u->pad = -size % LAYER_TAR_BLOCK;
	while (u->left) {
		size_t want = u->left < LAYER_CHUNK ? (size_t)u->left : (size_t)LAYER_CHUNK;
		ssize_t n = layer_stream_read(u->from, u->buf, want, err);

		if (n < 0)
			return (int)n;
		if ((size_t)n < want)
			return damaged(err, "cut short");
		str_addn(ret, u->buf, want);
		u->left -= want;
	}
	return skip_rest(u, err);
}

/* GNU's long names are blocks of their own, ended by NUL. */
static int long_name(struct layer_untar *u, const struct layer_block *h, struct str *ret,
		     struct err *err)
{
	int rc = read_body(u, h, ret, err);

	if (rc >= 0 && ret->len)
		ret->len = strnlen(ret->s, ret->len);
	return rc;
}

static void fixed(struct str *ret, const char *field, size_t width)
{
	str_addn(ret, field, strnlen(field, width));
}

static void header_path(struct layer_entry *e, const struct layer_block *h)
{
	/* GNU keeps other things where ustar has the prefix. */
	if (!memcmp(h->magic,
		    "ustar\0"
		    "00",
		    8) &&
	    h->prefix[0]) {
		fixed(&e->path, h->prefix, sizeof(h->prefix));
		str_addc(&e->path, '/');
	}
	fixed(&e->path, h->name, sizeof(h->name));
}

static int header_numbers(struct layer_entry *e, const struct layer_block *h, struct err *err)
{
	uint64_t mode, uid, gid, major, minor;
	int64_t mtime;

	if (!layer_tar_number(h->mode, sizeof(h->mode), &mode) ||
	    !layer_tar_number(h->uid, sizeof(h->uid), &uid) ||
	    !layer_tar_number(h->gid, sizeof(h->gid), &gid) ||
	    !layer_tar_number(h->size, sizeof(h->size), &e->size) ||
	    !layer_tar_signed(h->mtime, sizeof(h->mtime), &mtime))
		return damaged(err, "a number in a header");
	if (uid > LAYER_ID_MAX || gid > LAYER_ID_MAX)
		return err_set(err, EINVAL, "a uid or gid that is too large");
	e->mode = (uint32_t)mode & 07777;
	e->uid = (uint32_t)uid;
	e->gid = (uint32_t)gid;
	e->mtime_s = mtime;
	if (h->type != '3' && h->type != '4')
		return 0;
	if (!layer_tar_number(h->major, sizeof(h->major), &major) ||
	    !layer_tar_number(h->minor, sizeof(h->minor), &minor) || major > UINT32_MAX ||
	    minor > UINT32_MAX)
		return damaged(err, "a device number");
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	return 0;
}

static int set_kind(struct layer_entry *e, char type, struct err *err)
{
	/* V7 knows directories by the slash at the end only; '7' is a contiguous file, 'S' GNU's
	 * sparse one. */
	static const char kinds[][2] = { { '\0', LAYER_FILE },    { '0', LAYER_FILE },
					 { '7', LAYER_FILE },     { 'S', LAYER_FILE },
					 { '1', LAYER_HARDLINK }, { '2', LAYER_SYMLINK },
					 { '3', LAYER_CHAR },     { '4', LAYER_BLOCK },
					 { '5', LAYER_DIR },      { '6', LAYER_FIFO } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i][0] != type)
			continue;
		e->kind = kinds[i][1];
		if (type == '\0' && e->path.len && e->path.s[e->path.len - 1] == '/')
			e->kind = LAYER_DIR;
		return 0;
	}
	return err_set(err, ENOTSUP, "%.200s: tar entry of unknown type %#x", str_get(&e->path),
		       (unsigned char)type);
}

static void entry_reset(struct layer_untar *u)
{
	struct layer_entry *e = &u->e;

	str_reset(&e->path);
	str_reset(&e->target);
	str_reset(&e->xattrs);
	e->kind = 0;
	e->mode = e->uid = e->gid = e->major = e->minor = 0;
	e->size = 0;
	e->mtime_s = 0;
	e->n_parts = 0;
	u->part = 0;
	u->part_done = 0;
}

/* The headers before the one of the entry: what they say is kept until it comes. */
static int extensions(struct layer_untar *u, struct layer_block *h, struct layer_pax *x,
		      struct err *err)
{
	auto_str struct str body = { 0 };
	uint64_t from = layer_stream_bytes(u->from);
	unsigned n = 0;
	int rc;

	while ((rc = next_header(u, h, err)) > 0) {
		if (h->type == 'x' || h->type == 'X') {
			rc = read_body(u, h, &body, err);
			if (rc >= 0)
				rc = layer_pax_parse(x, &body, err);
		} else if (h->type == 'g') {
			rc = read_body(u, h, &body, err); /* TRAPS b: ignored */
		} else if (h->type == 'L') {
			rc = long_name(u, h, &x->path, err);
		} else if (h->type == 'K') {
			rc = long_name(u, h, &x->target, err);
		} else {
			return 1;
		}
		if (rc < 0)
			return rc;
		if (++n > EXTENSIONS_MAX || layer_stream_bytes(u->from) - from > EXTENSIONS_BYTES)
			return damaged(err, "headers without end");
	}
	return rc == 0 && n ? damaged(err, "a header without its entry") : rc;
}

/* Names: no NUL within, not endless. */
static int check_names(const struct layer_entry *e, struct err *err)
{
	if ((e->path.len && strlen(e->path.s) != e->path.len) ||
	    (e->target.len && strlen(e->target.s) != e->target.len))
		return damaged(err, "a name with NUL");
	if (e->path.len > LAYER_PATH_MAX || e->target.len > LAYER_PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%.200s…: name too long", str_get(&e->path));
	return 0;
}

/* Bytes in the archive: only files have any, whatever size says (a hardlink's is that of the file).
 */
static int set_data(struct layer_untar *u, const struct layer_block *h, const struct layer_pax *x,
		    struct err *err)
{
	struct layer_entry *e = &u->e;
	uint64_t size = e->kind == LAYER_FILE ? e->size : 0;

	if (size > INT64_MAX - LAYER_TAR_BLOCK)
		return damaged(err, "a size");
	if (e->kind != LAYER_FILE)
		e->size = 0;
	u->left = size;
	u->pad = -size % LAYER_TAR_BLOCK;
	if (e->kind == LAYER_FILE && (h->type == 'S' || x->is_sparse))
		return layer_untar_sparse(u, h, x, err);
	mem_room(e->parts, e->n_parts, e->parts_cap);
	e->parts[e->n_parts++] = (struct layer_part){ 0, size };
	return 0;
}

static int make_entry(struct layer_untar *u, const struct layer_block *h, struct layer_pax *x,
		      struct err *err)
{
	struct layer_entry *e = &u->e;
	int rc;

	header_path(e, h);
	fixed(&e->target, h->linkname, sizeof(h->linkname));
	rc = header_numbers(e, h, err);
	layer_pax_apply(x, e);
	if (rc >= 0)
		rc = set_kind(e, h->type, err);
	if (rc >= 0)
		rc = check_names(e, err);
	return rc < 0 ? rc : set_data(u, h, x, err);
}

int layer_untar_next(struct layer_untar *u, struct err *err)
{
	auto_layer_pax struct layer_pax x = { 0 };
	struct layer_block h;
	int rc;

	if (!u->buf)
		u->buf = mem_grow(NULL, LAYER_CHUNK + LAYER_TAR_BLOCK, 1);
	rc = skip_rest(u, err);
	entry_reset(u);
	if (rc >= 0)
		rc = extensions(u, &h, &x, err);
	if (rc <= 0)
		return rc;
	rc = make_entry(u, &h, &x, err);
	return rc < 0 ? rc : 1;
}

ssize_t layer_untar_data(struct layer_untar *u, const void **ret, uint64_t *ret_at, struct err *err)
{
	const struct layer_part *p;
	uint64_t want;
	ssize_t n;

	while (u->part < u->e.n_parts && u->part_done == u->e.parts[u->part].len) {
		u->part++;
		u->part_done = 0;
	}
	if (u->part == u->e.n_parts)
		return 0;
	p = &u->e.parts[u->part];
	want = p->len - u->part_done;
	if (want > u->left)
		return damaged(err, "a sparse file's map is longer than its data");
	if (want > LAYER_CHUNK)
		want = LAYER_CHUNK;
	n = layer_stream_content(u->from, u->buf, (size_t)want, err);
	if (n < 0)
		return n;
	if ((uint64_t)n < want)
		return damaged(err, "cut short");
	*ret = u->buf;
	*ret_at = p->at + u->part_done;
	u->part_done += want;
	u->left -= want;
	return n;
}
