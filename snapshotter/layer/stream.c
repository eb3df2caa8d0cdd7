/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an archive whatever it is compressed with, told by its first bytes. gzip by ISA-L,
 * zstd, xz and bzip2 by the libraries of their names. Everything that comes out is hashed: all
 * bytes count for the DiffID, also those after the end of the tar.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>

#include "priv.h"

/*
 * What a codec looks back on is memory that the archive asks for. A layer gets 32 MiB, several
 * being read side by side; what is read alone may be of xz -9, which needs 65.
 */
enum {
	IN_BYTES = 256 << 10,
	ZSTD_WINDOW_LOG_MAX = 25,
	XZ_SMALL_MAX = 34 << 20,
	XZ_MEMORY_MAX = 66 << 20
};

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
	unsigned how;  /* enum layer_how */
	bool is_range; /* of a file: read by pread from pos to end */
	uint64_t pos, end;
	uint64_t (*wait)(uint64_t upto, void *arg); /* of a range; or NULL */
	void *wait_arg;
	const struct codec *codec;
	struct hash *hash, *blob_hash;
	struct layer_memo *memo;
	uint64_t bytes, taken; /* taken: of the source */
	layer_progress_fn *progress;
	void *progress_arg;
	size_t at, n; /* of in */
	bool is_last; /* the source has ended */
	bool is_far;  /* looks back far, and has the turn */
	bool is_mid;  /* within a gzip member, zstd frame, xz or bzip2 stream */
	struct inflate_state *gzip;
	ZSTD_DCtx *zstd;
	lzma_stream *xz;
	bz_stream *bzip2;
	uint8_t in[IN_BYTES];
};

static int damaged(struct err *err, const char *what)
{
	return err_set(err, EBADMSG, "%s", what);
}

/* Up to n bytes of the range, fewer where it ends or no more of it come. */
static ssize_t take_range(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	uint64_t end = s->end - s->pos < n ? s->end : s->pos + n;
	ssize_t got;

	if (s->wait) {
		uint64_t there = s->wait(end, s->wait_arg);

		end = there < end ? there : end;
	}
	n = end > s->pos ? (size_t)(end - s->pos) : 0;
	got = fd_pread_full(s->fd, p, n, (off_t)s->pos, err);
	if (got >= 0 && (size_t)got < n)
		return damaged(err, "cut short");
	s->pos += n;
	return got;
}

/* Bytes of the source, fewer than n only at its end. */
static ssize_t take_in(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	ssize_t got = s->is_range ? take_range(s, p, n, err) : fd_read_full(s->fd, p, n, err);

	if (s->blob_hash && got > 0)
		hash_add(s->blob_hash, p, (size_t)got);
	s->taken += got > 0 ? (uint64_t)got : 0;
	if (s->progress)
		s->progress(s->taken, s->progress_arg);
	return got;
}

/* More input behind what is left; 0 when there is no more. */
static ssize_t fill(struct layer_stream *s, struct err *err)
{
	ssize_t n;

	if (s->at < s->n || s->is_last)
		return (ssize_t)(s->n - s->at);
	n = take_in(s, s->in, sizeof(s->in), err);
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
		return take_in(s, p, n, err); /* past the probe, straight into place */
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

static int zstd_fail(size_t rc, struct err *err)
{
	if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
		return err_set(err, EFBIG, "the zstd data has a window of more than %d MiB",
			       1 << (ZSTD_WINDOW_LOG_MAX - 20));
	return err_set(err, EBADMSG, "damaged zstd data: %s", ZSTD_getErrorName(rc));
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
		if (!s->is_mid && layer_far_zstd(s->in + s->at, (size_t)have))
			layer_far_take(&s->is_far);
		rc = ZSTD_decompressStream(s->zstd, &out, &in);
		if (ZSTD_isError(rc))
			return zstd_fail(rc, err);
		s->at = in.pos;
		s->is_mid = rc != 0;
		if (!have && !out.pos)
			return damaged(err, "the zstd data is cut short");
	}
	return (ssize_t)out.pos;
}

static int xz_max(const struct layer_stream *s)
{
	return s->how & LAYER_NARROW ? XZ_SMALL_MAX : XZ_MEMORY_MAX;
}

static int xz_open(struct layer_stream *s, struct err *err)
{
	if (s->how & LAYER_NARROW)
		layer_far_take(&s->is_far);
	s->xz = mem_alloc(sizeof(*s->xz));
	*s->xz = (lzma_stream)LZMA_STREAM_INIT;
	if (lzma_stream_decoder(s->xz, (uint64_t)xz_max(s), LZMA_CONCATENATED) != LZMA_OK)
		return err_set(err, ENOMEM, "liblzma");
	s->is_mid = true;
	return 0;
}

static ssize_t xz_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	s->xz->next_out = p;
	s->xz->avail_out = n;
	while (s->is_mid && s->xz->avail_out == n) {
		ssize_t have = fill(s, err);
		lzma_ret rc;

		if (have < 0)
			return have;
		s->xz->next_in = s->in + s->at;
		s->xz->avail_in = (size_t)have;
		rc = lzma_code(s->xz, have ? LZMA_RUN : LZMA_FINISH);
		s->at = s->n - s->xz->avail_in;
		if (rc == LZMA_MEMLIMIT_ERROR)
			return err_set(err, EFBIG, "the xz data needs more than %d MiB to be read",
				       xz_max(s) >> 20);
		if (rc == LZMA_BUF_ERROR)
			return damaged(err, "the xz data is cut short");
		if (rc != LZMA_OK && rc != LZMA_STREAM_END)
			return damaged(err, "damaged xz data");
		s->is_mid = rc != LZMA_STREAM_END;
	}
	return (ssize_t)(n - s->xz->avail_out);
}

static int bzip2_open(struct layer_stream *s, struct err *err)
{
	(void)err;
	s->bzip2 = mem_alloc(sizeof(*s->bzip2));
	return 0;
}

/* Another stream may follow, as bzip2 writes for several files and pbzip2 for several blocks. */
static int bzip2_next(struct layer_stream *s, ssize_t have, struct err *err)
{
	BZ2_bzDecompressEnd(s->bzip2);
	*s->bzip2 = (bz_stream){ 0 };
	if (!have)
		return 0;
	if (BZ2_bzDecompressInit(s->bzip2, 0, 0) != BZ_OK)
		return err_set(err, ENOMEM, "libbz2");
	s->is_mid = true;
	return 1;
}

static ssize_t bzip2_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	unsigned room = n < (1U << 30) ? (unsigned)n : 1U << 30, got = 0;

	while (!got) {
		ssize_t have = fill(s, err);
		int rc = have < 0 ? (int)have : s->is_mid ? 1 : bzip2_next(s, have, err);

		if (rc <= 0)
			return rc;
		s->bzip2->next_in = (char *)s->in + s->at;
		s->bzip2->avail_in = (unsigned)have;
		s->bzip2->next_out = p;
		s->bzip2->avail_out = room;
		rc = BZ2_bzDecompress(s->bzip2);
		s->at = s->n - s->bzip2->avail_in;
		got = room - s->bzip2->avail_out;
		if (rc != BZ_OK && rc != BZ_STREAM_END)
			return damaged(err, "damaged bzip2 data");
		if (rc == BZ_OK && !have && !got)
			return damaged(err, "the bzip2 data is cut short");
		s->is_mid = rc == BZ_OK;
	}
	return (ssize_t)got;
}

static const struct codec codecs[] = {
	{ "\x1f\x8b\x08", 3, gzip_open, gzip_read },
	{ "\x28\xb5\x2f\xfd", 4, zstd_open, zstd_read },
	{ "\xfd\x37\x7a\x58\x5a\x00", 6, xz_open, xz_read },
	{ "BZh", 3, bzip2_open, bzip2_read },
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

int layer_stream_new(int fd, unsigned how, struct layer_stream **ret, struct err *err)
{
	return layer_stream_range(fd, NULL, how, ret, err);
}

int layer_stream_range(int fd, const struct layer_range *range, unsigned how,
		       struct layer_stream **ret, struct err *err)
{
	auto_layer_stream struct layer_stream *s = mem_alloc(sizeof(*s));
	int rc;

	s->fd = fd;
	s->how = how;
	if (range) {
		s->is_range = true;
		s->pos = range->at;
		s->end = range->at + range->len;
		s->wait = range->wait;
		s->wait_arg = range->wait_arg;
	}
	if (how & LAYER_HASHED)
		s->hash = hash_new();
	if (range && range->with_digest)
		s->blob_hash = hash_new();
	rc = (int)fill(s, err);
	if (rc < 0)
		return rc;
	s->codec = codec_of(s);
	/* What is not compressed has one digest. */
	if (!s->codec->open)
		hash_cleanup(&s->blob_hash);
	rc = s->codec->open ? s->codec->open(s, err) : 0;
	if (rc < 0)
		return rc;
	*ret = take(s);
	return 0;
}

void layer_stream_watch(struct layer_stream *s, layer_progress_fn *fn, void *arg)
{
	s->progress = fn;
	s->progress_arg = arg;
}

void layer_stream_note(struct layer_stream *s, struct layer_memo *memo)
{
	s->memo = memo;
}

void layer_stream_free(struct layer_stream **sp)
{
	struct layer_stream *s = *sp;
	int saved = errno;

	if (!s)
		return;
	hash_free(s->hash);
	hash_free(s->blob_hash);
	free(s->gzip);
	ZSTD_freeDCtx(s->zstd);
	if (s->xz)
		lzma_end(s->xz);
	free(s->xz);
	if (s->bzip2)
		BZ2_bzDecompressEnd(s->bzip2);
	free(s->bzip2);
	layer_far_give(&s->is_far);
	free(s);
	*sp = NULL;
	errno = saved;
}

ssize_t layer_stream_content(struct layer_stream *s, void *p, size_t n, struct err *err)
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

ssize_t layer_stream_read(struct layer_stream *s, void *p, size_t n, struct err *err)
{
	ssize_t got = layer_stream_content(s, p, n, err);

	if (s->memo && got > 0)
		layer_memo_bytes(s->memo, p, (size_t)got);
	return got;
}

int layer_stream_skip(struct layer_stream *s, uint64_t n, struct err *err)
{
	uint64_t left = n, k = s->n - s->at < n ? s->n - s->at : n;

	s->at += (size_t)k;
	left -= k;
	if (left > s->end - s->pos)
		return damaged(err, "cut short");
	s->pos += left;
	s->bytes += n;
	return 0;
}

bool layer_stream_can_skip(const struct layer_stream *s)
{
	return s->is_range && !s->hash && !s->codec->open;
}

uint64_t layer_stream_bytes(const struct layer_stream *s)
{
	return s->bytes;
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
	ret->blob = ret->diff_id;
	if (s->blob_hash)
		hash_end(s->blob_hash, &ret->blob);
	ret->tar_bytes = s->bytes;
	return 0;
}

int layer_unpack(int fd, struct sink *to, struct layer_info *ret, struct err *err)
{
	auto_layer_stream struct layer_stream *s = NULL;
	auto_free char *buf = mem_alloc(IN_BYTES);
	ssize_t n = 0;
	int rc;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	rc = layer_stream_new(fd, LAYER_HASHED | LAYER_NARROW, &s, err);
	while (rc >= 0 && (n = layer_stream_read(s, buf, IN_BYTES, err)) > 0)
		rc = to->write(to, buf, (size_t)n, err);
	if (rc < 0 || n < 0)
		return -err->code;
	return layer_stream_end(s, 0, ret, err);
}
