/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an archive whatever it is compressed with, told by its first bytes. gzip by ISA-L,
 * zstd by libzstd, xz and bzip2 by libarchive's filters. Everything that comes out is hashed: all
 * bytes count for the DiffID, also those after the end of the tar.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>

#include "priv.h"

enum { IN_BYTES = 256 << 10, ZSTD_WINDOW_LOG_MAX = 27 };

struct layer_stream;

/* What a codec does. read gives some bytes, 0 at the end. */
struct codec {
	const char *magic;
	size_t magic_len;
	int (*open)(struct layer_stream *s, struct err *err);
	ssize_t (*read)(struct layer_stream *s, void *p, size_t n, struct err *err);
};

struct layer_stream {
	int fd;
	const struct codec *codec;
	struct hash *hash;
	uint64_t bytes;
	size_t at, n; /* of in */
	bool is_last; /* the source has ended */
	bool is_mid;  /* within a gzip member or zstd frame */
	struct inflate_state *gzip;
	ZSTD_DCtx *zstd;
	struct archive *arc;
	uint8_t in[IN_BYTES];
};

static int damaged(struct err *err, const char *what)
{
	return err_set(err, EBADMSG, "%s", what);
}

/* More input behind what is left; 0 when there is no more. */
static ssize_t fill(struct layer_stream *s, struct err *err)
{
	ssize_t n;

	if (s->at < s->n || s->is_last)
		return (ssize_t)(s->n - s->at);
	n = fd_read_full(s->fd, s->in, sizeof(s->in), err);
	if (n < 0)
		return n;
	s->at = 0;
	s->n = (size_t)n;
	s->is_last = (size_t)n < sizeof(s->in);
	return n;
}

static ssize_t plain_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	size_t k = s->n - s->at;

	if (!k && !s->is_last)
		return fd_read_full(s->fd, p, n, err); /* past the probe, straight into place */
	k = k < n ? k : n;
	memcpy(p, s->in + s->at, k);
	s->at += k;
	return (ssize_t)k;
}

static int gzip_open(struct layer_stream *s, struct err *err)
{
	(void)err;
	s->gzip = mem_alloc(sizeof(*s->gzip));
	return 0;
}

/* Another member may follow; some writers pad with zeros instead. 1, 0 or damage. */
static int gzip_next_member(struct layer_stream *s, struct err *err)
{
	ssize_t n;

	while ((n = fill(s, err)) > 0) {
		if (s->in[s->at] == 0x1f) {
			isal_inflate_init(s->gzip);
			s->gzip->crc_flag = ISAL_GZIP;
			s->is_mid = true;
			return 1;
		}
		if (s->in[s->at++] != 0)
			return damaged(err, "bytes after the end of the gzip data");
	}
	return (int)n;
}

static ssize_t gzip_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	for (;;) {
		int rc = s->is_mid ? 1 : gzip_next_member(s, err);
		ssize_t have = rc > 0 ? fill(s, err) : rc;

		if (rc <= 0 || have < 0)
			return have;
		s->gzip->next_in = s->in + s->at;
		s->gzip->avail_in = (uint32_t)have;
		s->gzip->next_out = p;
		s->gzip->avail_out = (uint32_t)n;
		rc = isal_inflate(s->gzip);
		if (rc != ISAL_DECOMP_OK && rc != ISAL_END_INPUT)
			return damaged(err, "damaged gzip data");
		s->at = s->n - s->gzip->avail_in;
		if (s->gzip->block_state == ISAL_BLOCK_FINISH)
			s->is_mid = false;
		if (s->gzip->avail_out < n)
			return (ssize_t)(n - s->gzip->avail_out);
		if (s->is_mid && !have)
			return damaged(err, "the gzip data is cut short");
	}
}

static int zstd_open(struct layer_stream *s, struct err *err)
{
	s->zstd = ZSTD_createDCtx();
	if (!s->zstd)
		return err_set(err, ENOMEM, "zstd");
	ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	return 0;
}

static ssize_t zstd_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	ZSTD_outBuffer out = { p, n, 0 };

	while (!out.pos) {
		ssize_t have = fill(s, err);
		ZSTD_inBuffer in = { s->in, s->n, s->at };
		size_t rc;

		if (have < 0)
			return have;
		if (!have && !s->is_mid)
			return 0;
		rc = ZSTD_decompressStream(s->zstd, &out, &in);
		if (ZSTD_isError(rc))
			return err_set(err, EBADMSG, "damaged zstd data: %s",
				       ZSTD_getErrorName(rc));
		s->at = in.pos;
		s->is_mid = rc != 0;
		if (!have && !out.pos)
			return damaged(err, "the zstd data is cut short");
	}
	return (ssize_t)out.pos;
}

static la_ssize_t arc_feed(struct archive *a, void *arg, const void **ret)
{
	struct layer_stream *s = arg;
	struct err err = { 0 };
	ssize_t n = fill(s, &err);

	if (n < 0) {
		archive_set_error(a, err.code, "%s", err.msg);
		return -1;
	}
	*ret = s->in + s->at;
	s->at = s->n;
	return n;
}

static int arc_error(struct layer_stream *s, struct err *err)
{
	const char *text = archive_error_string(s->arc);

	return err_set(err, EBADMSG, "damaged compressed data: %s", text ? text : "unknown");
}

static int arc_open(struct layer_stream *s, struct err *err)
{
	struct archive_entry *e;

	s->arc = archive_read_new();
	if (!s->arc)
		return err_set(err, ENOMEM, "libarchive");
	archive_read_support_filter_xz(s->arc);
	archive_read_support_filter_bzip2(s->arc);
	archive_read_support_format_raw(s->arc);
	/* An archive of no bytes at all gives its end here. */
	if (archive_read_open(s->arc, s, NULL, arc_feed, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(s->arc, &e) < ARCHIVE_WARN)
		return arc_error(s, err);
	return 0;
}

static ssize_t arc_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	la_ssize_t k = archive_read_data(s->arc, p, n);

	return k < 0 ? arc_error(s, err) : k;
}

static const struct codec codecs[] = {
	{ "\x1f\x8b\x08", 3, gzip_open, gzip_read },
	{ "\x28\xb5\x2f\xfd", 4, zstd_open, zstd_read },
	{ "\xfd\x37\x7a\x58\x5a\x00", 6, arc_open, arc_read },
	{ "BZh", 3, arc_open, arc_read },
	{ "", 0, NULL, plain_read },
};

/* A zstd stream may begin with a skippable frame, 0x184D2A50 to 5F. */
static bool is_skippable(const struct layer_stream *s)
{
	return s->n >= 4 && (s->in[0] & 0xf0) == 0x50 && !memcmp(s->in + 1, "\x2a\x4d\x18", 3);
}

static const struct codec *codec_of(const struct layer_stream *s)
{
	const struct codec *c = codecs;

	if (is_skippable(s))
		return &codecs[1];
	while (s->n < c->magic_len || memcmp(s->in, c->magic, c->magic_len) != 0)
		c++;
	return c;
}

int layer_stream_new(int fd, bool with_hash, struct layer_stream **ret, struct err *err)
{
	auto_layer_stream struct layer_stream *s = mem_alloc(sizeof(*s));
	int rc;

	s->fd = fd;
	if (with_hash)
		s->hash = hash_new();
	rc = (int)fill(s, err);
	if (rc < 0)
		return rc;
	s->codec = codec_of(s);
	rc = s->codec->open ? s->codec->open(s, err) : 0;
	if (rc < 0)
		return rc;
	*ret = take(s);
	return 0;
}

void layer_stream_free(struct layer_stream **sp)
{
	struct layer_stream *s = *sp;
	int saved = errno;

	if (!s)
		return;
	hash_free(s->hash);
	free(s->gzip);
	ZSTD_freeDCtx(s->zstd);
	if (s->arc)
		archive_read_free(s->arc);
	free(s);
	*sp = NULL;
	errno = saved;
}

ssize_t layer_stream_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = s->codec->read(s, (char *)p + got, n - got, err);

		if (k < 0)
			return k;
		if (k == 0)
			break;
		got += (size_t)k;
	}
	if (s->hash)
		hash_add(s->hash, p, got);
	s->bytes += got;
	return (ssize_t)got;
}

int layer_stream_end(struct layer_stream *s, uint64_t limit, struct layer_info *ret,
		     struct err *err)
{
	auto_free char *buf = mem_alloc(IN_BYTES);
	uint64_t end = s->bytes + limit;
	ssize_t n;

	while ((n = layer_stream_read(s, buf, IN_BYTES, err)) > 0)
		if (s->bytes > end)
			return err_set(err, EFBIG, "too much behind the end of the archive");
	if (n < 0)
		return (int)n;
	if (s->hash)
		hash_end(s->hash, &ret->diff_id);
	ret->tar_bytes = s->bytes;
	return 0;
}
