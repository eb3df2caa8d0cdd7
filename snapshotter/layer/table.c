/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file table of a layer: "SHLT", version; a zstd frame of rows, a row of length 0 and the
 * number of rows; XXH3-64 of all before. All numbers little endian. It is written once and renamed
 * into place, so it is whole or absent. Compressed, since a chown -R of many files leaves little
 * else on disk.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum {
	VERSION = 2,
	LEVEL = 1,
	WINDOW_LOG_MAX = 24,
	BUF_BYTES = 128 << 10,
	FIXED = 1 + 3 * 4 + 5 * 8 +
		3 * 4, /* kind; mode uid gid; size rdev mtime content; lengths */
	ROW_MAX = FIXED + 2 * LAYER_PATH_MAX + 2 + 2 * LAYER_PAX_MAX,
};
#define NO_TARGET UINT32_MAX

struct file_header {
	char magic[4];
	uint32_t version;
};

struct layer_table {
	int dir_fd, fd;
	char name[32];
	XXH3_state_t *sum;
	ZSTD_CCtx *zstd;
	uint64_t rows;
	struct str buf; /* rows that are not compressed yet */
	char out[BUF_BYTES];
};

static int put(struct layer_table *t, const void *p, size_t n, struct err *err)
{
	XXH3_64bits_update(t->sum, p, n);
	return n ? fd_write_all(t->fd, p, n, err) : 0;
}

int layer_table_new(int dir_fd, struct layer_table **ret, struct err *err)
{
	auto_layer_table struct layer_table *t = mem_alloc(sizeof(*t));
	struct file_header h = { "SHLT", htole32(VERSION) };
	char random[17];
	int rc;

	proc_random_hex(random, 16);
	snprintf(t->name, sizeof(t->name), "table.%s", random);
	t->dir_fd = dir_fd;
	t->sum = XXH3_createState();
	t->fd = openat(dir_fd, t->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return err_sys(err, "create %s", t->name);
	t->zstd = ZSTD_createCCtx();
	if (!t->sum || !t->zstd)
		return err_set(err, ENOMEM, "file table");
	XXH3_64bits_reset(t->sum);
	ZSTD_CCtx_setParameter(t->zstd, ZSTD_c_compressionLevel, LEVEL);
	rc = put(t, &h, sizeof(h), err);
	if (rc >= 0)
		*ret = take(t);
	return rc < 0 ? rc : 0;
}

void layer_table_free(struct layer_table **tp)
{
	struct layer_table *t = *tp;
	int saved = errno;

	if (!t)
		return;
	if (t->fd >= 0 && t->name[0])
		unlinkat(t->dir_fd, t->name, 0);
	fd_close(&t->fd);
	XXH3_freeState(t->sum);
	ZSTD_freeCCtx(t->zstd);
	str_free(&t->buf);
	free(t);
	*tp = NULL;
	errno = saved;
}

static int flush(struct layer_table *t, ZSTD_EndDirective how, struct err *err)
{
	ZSTD_inBuffer in = { t->buf.s, t->buf.len, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { t->out, sizeof(t->out), 0 };
		int rc;

		left = ZSTD_compressStream2(t->zstd, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(err, EIO, "file table: %s", ZSTD_getErrorName(left));
		rc = put(t, t->out, out.pos, err);
		if (rc < 0)
			return err_ctx(err, "file table");
	} while (in.pos < in.size || (how == ZSTD_e_end && left));
	str_reset(&t->buf);
	return 0;
}

static void add32(struct str *b, uint32_t v)
{
	v = htole32(v);
	str_addn(b, &v, sizeof(v));
}

static void add64(struct str *b, uint64_t v)
{
	v = htole64(v);
	str_addn(b, &v, sizeof(v));
}

int layer_table_add(struct layer_table *t, const struct layer_row *row, struct err *err)
{
	size_t path_len = strlen(row->path), target_len = row->target ? strlen(row->target) : 0;
	size_t len = FIXED + path_len + 1 + (row->target ? target_len + 1 : 0) + row->xattrs_len;
	struct str *b = &t->buf;

	if (len > ROW_MAX)
		return err_set(err, E2BIG, "%s: too long for the file table", row->path);
	add32(b, (uint32_t)len);
	str_addc(b, row->kind);
	add32(b, row->mode);
	add32(b, row->uid);
	add32(b, row->gid);
	add64(b, row->size);
	add64(b, row->rdev);
	add64(b, (uint64_t)row->mtime_s);
	add64(b, row->content[0]);
	add64(b, row->content[1]);
	add32(b, (uint32_t)path_len);
	add32(b, row->target ? (uint32_t)target_len : NO_TARGET);
	add32(b, row->xattrs_len);
	str_addn(b, row->path, path_len + 1);
	if (row->target)
		str_addn(b, row->target, target_len + 1);
	if (row->xattrs_len)
		str_addn(b, row->xattrs, row->xattrs_len);
	t->rows++;
	return b->len < BUF_BYTES ? 0 : flush(t, ZSTD_e_continue, err);
}

int layer_table_commit(struct layer_table *t, struct err *err)
{
	uint64_t sum;
	int rc;

	add32(&t->buf, 0);
	add64(&t->buf, t->rows);
	rc = flush(t, ZSTD_e_end, err);
	if (rc < 0)
		return rc;
	sum = htole64(XXH3_64bits_digest(t->sum));
	rc = fd_write_all(t->fd, &sum, sizeof(sum), err);
	if (rc < 0)
		return err_ctx(err, "file table");
	fault_point("layer.table.written");
	if (renameat(t->dir_fd, t->name, t->dir_fd, "table") < 0)
		return err_sys(err, "rename file table");
	fault_point("layer.table.renamed");
	t->name[0] = 0;
	return 0;
}

/* --- reading: whoever wrote the file, it is checked as if it came from a stranger --- */

struct layer_rows {
	int fd;
	uint64_t left; /* of the file, up to the checksum */
	uint64_t rows;
	ZSTD_DCtx *zstd;
	ZSTD_inBuffer in;
	bool is_at_end; /* of the frame */
	char *row;      /* ROW_MAX + 1 bytes */
	char *buf;      /* BUF_BYTES */
};

void layer_rows_free(struct layer_rows **rp)
{
	struct layer_rows *r = *rp;

	*rp = NULL;
	if (!r)
		return;
	fd_close(&r->fd);
	ZSTD_freeDCtx(r->zstd);
	free(r->row);
	free(r->buf);
	free(r);
}

static int damaged(struct err *err, const char *why)
{
	return err_set(err, EBADMSG, "file table: %s", why);
}

static int check_sum(int fd, uint64_t size, struct err *err)
{
	auto_free char *buf = mem_alloc(BUF_BYTES);
	XXH3_state_t *sum = XXH3_createState();
	uint64_t want, have;
	ssize_t n = 0;

	if (!sum)
		return err_set(err, ENOMEM, "file table");
	XXH3_64bits_reset(sum);
	for (uint64_t left = size - sizeof(want); left; left -= (uint64_t)n) {
		n = fd_read_full(fd, buf, left < BUF_BYTES ? (size_t)left : (size_t)BUF_BYTES, err);
		if (n <= 0)
			break;
		XXH3_64bits_update(sum, buf, (size_t)n);
	}
	have = XXH3_64bits_digest(sum);
	XXH3_freeState(sum);
	if (n >= 0)
		n = fd_read_full(fd, &want, sizeof(want), err);
	if (n < 0)
		return -err->code;
	return n == sizeof(want) && le64toh(want) == have ? 0 : damaged(err, "wrong checksum");
}

static int read_raw(struct layer_rows *r, void *p, size_t n, struct err *err)
{
	ssize_t got = n <= r->left ? fd_read_full(r->fd, p, n, err) : 0;

	if (got < 0)
		return -err->code;
	if ((size_t)got != n)
		return damaged(err, "cut short");
	r->left -= n;
	return 0;
}

static int next_bytes(struct layer_rows *r, void *p, size_t n, struct err *err)
{
	ZSTD_outBuffer out = { p, n, 0 };

	while (out.pos < n) {
		size_t rc;

		if (r->is_at_end)
			return damaged(err, "cut short");
		if (r->in.pos == r->in.size) {
			size_t k = r->left < BUF_BYTES ? (size_t)r->left : (size_t)BUF_BYTES;

			if (k == 0 || read_raw(r, r->buf, k, err) < 0)
				return k ? -err->code : damaged(err, "cut short");
			r->in = (ZSTD_inBuffer){ r->buf, k, 0 };
		}
		rc = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(rc))
			return damaged(err, ZSTD_getErrorName(rc));
		r->is_at_end = rc == 0;
	}
	return 0;
}

static uint32_t get32(const char **p)
{
	uint32_t v;

	memcpy(&v, *p, sizeof(v));
	*p += sizeof(v);
	return le32toh(v);
}

static uint64_t get64(const char **p)
{
	uint64_t v;

	memcpy(&v, *p, sizeof(v));
	*p += sizeof(v);
	return le64toh(v);
}

static int decode(const char *p, size_t len, struct layer_row *ret, struct err *err)
{
	const char *end = p + len;
	uint32_t path_len, target_len;
	uint64_t want;

	ret->kind = *p++;
	ret->mode = get32(&p);
	ret->uid = get32(&p);
	ret->gid = get32(&p);
	ret->size = get64(&p);
	ret->rdev = get64(&p);
	ret->mtime_s = (int64_t)get64(&p);
	ret->content[0] = get64(&p);
	ret->content[1] = get64(&p);
	path_len = get32(&p);
	target_len = get32(&p);
	ret->xattrs_len = get32(&p);
	want = (uint64_t)path_len + 1 + (target_len == NO_TARGET ? 0 : (uint64_t)target_len + 1) +
	       ret->xattrs_len;
	if (want != (uint64_t)(end - p) || !ret->kind || !strchr("fdlhpcbwo", ret->kind))
		return damaged(err, "a row does not add up");
	ret->path = p;
	p += path_len + 1;
	ret->target = target_len == NO_TARGET ? NULL : p;
	if (ret->target)
		p += target_len + 1;
	ret->xattrs = p;
	if (strlen(ret->path) != path_len || (ret->target && strlen(ret->target) != target_len))
		return damaged(err, "a name with NUL");
	return 0;
}

static int check_xattrs(const struct layer_row *row, struct err *err)
{
	const char *name;
	const void *value;
	uint32_t len;
	size_t at = 0;

	while (layer_attrs_next(row->xattrs, row->xattrs_len, &at, &name, &value, &len))
		;
	return at == row->xattrs_len ? 0 : damaged(err, "xattrs do not add up");
}

int layer_rows_next(struct layer_rows *r, struct layer_row *ret, struct err *err)
{
	uint32_t len = 0;
	uint64_t rows = 0;
	int rc = next_bytes(r, &len, sizeof(len), err);

	if (rc < 0)
		return rc;
	len = le32toh(len);
	if (len == 0) {
		rc = next_bytes(r, &rows, sizeof(rows), err);
		if (rc < 0)
			return rc;
		return le64toh(rows) == r->rows ? 0 : damaged(err, "rows are missing");
	}
	if (len <= FIXED || len > ROW_MAX)
		return damaged(err, "a row's length");
	rc = next_bytes(r, r->row, len, err);
	if (rc < 0)
		return rc;
	r->row[len] = 0;
	r->rows++;
	rc = decode(r->row, len, ret, err);
	if (rc >= 0)
		rc = check_xattrs(ret, err);
	return rc < 0 ? rc : 1;
}

static int begin(struct layer_rows *r, uint64_t size, struct err *err)
{
	struct file_header h;
	int rc;

	r->left = size - sizeof(uint64_t);
	r->row = mem_grow(NULL, (size_t)ROW_MAX + 1, 1);
	r->buf = mem_grow(NULL, BUF_BYTES, 1);
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd)
		return err_set(err, ENOMEM, "file table");
	ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	rc = read_raw(r, &h, sizeof(h), err);
	if (rc >= 0 && (memcmp(h.magic, "SHLT", 4) != 0 || le32toh(h.version) != VERSION))
		rc = damaged(err, "not of this version");
	return rc;
}

int layer_rows_open(int dir_fd, struct layer_rows **ret, struct err *err)
{
	auto_layer_rows struct layer_rows *r = mem_alloc(sizeof(*r));
	struct stat st;
	int rc;

	r->fd = openat(dir_fd, "table", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) < 0)
		return err_sys(err, "file table");
	if (!S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size < sizeof(struct file_header) + sizeof(uint64_t))
		return damaged(err, "too short");
	rc = check_sum(r->fd, (uint64_t)st.st_size, err);
	if (rc >= 0 && lseek(r->fd, 0, SEEK_SET) < 0)
		rc = err_sys(err, "file table");
	if (rc >= 0)
		rc = begin(r, (uint64_t)st.st_size, err);
	if (rc < 0)
		return rc;
	*ret = take(r);
	return 0;
}

int layer_table_walk(int dir_fd, layer_row_fn *fn, void *arg, struct err *err)
{
	auto_layer_rows struct layer_rows *r = NULL;
	struct layer_row row = { 0 };
	int rc = layer_rows_open(dir_fd, &r, err);

	while (rc >= 0 && r && (rc = layer_rows_next(r, &row, err)) > 0)
		rc = fn(&row, arg, err);
	return rc < 0 ? rc : 0;
}
