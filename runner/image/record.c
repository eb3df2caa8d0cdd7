/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer's row says, once more in an attribute of its file table, for image_recover. */
#include <shale/image.h>

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include <shale/layer.h>
#include <shale/snap.h>

#include "priv.h"

#define RECORD_NAME "trusted.shale.layer"

struct record {
	uint8_t diff_id[DIGEST_LEN];
	uint64_t size, tar_size;
};

static const char *table_path(struct runtime *rt, int64_t snapshot, char *buf, size_t n)
{
	snprintf(buf, n, "/proc/self/fd/%d/snap/%" PRId64 "/table", rt->root_fd, snapshot);
	return buf;
}

void image_layer_record(struct runtime *rt, int64_t snapshot, const struct layer_info *info)
{
	struct record r = { .size = htole64(info->size_bytes),
			    .tar_size = htole64(info->tar_bytes) };
	char path[96];

	memcpy(r.diff_id, info->diff_id.b, sizeof(r.diff_id));
	(void)!setxattr(table_path(rt, snapshot, path, sizeof(path)), RECORD_NAME, &r, sizeof(r),
			0);
}

int image_layer_record_get(struct runtime *rt, int64_t snapshot, struct layer_info *ret)
{
	struct record r;
	char path[96];
	ssize_t n =
		getxattr(table_path(rt, snapshot, path, sizeof(path)), RECORD_NAME, &r, sizeof(r));

	if (n != (ssize_t)sizeof(r))
		return n < 0 && errno == ENOENT ? -ENOENT : 0;
	*ret = (struct layer_info){ .size_bytes = le64toh(r.size),
				    .tar_bytes = le64toh(r.tar_size) };
	memcpy(ret->diff_id.b, r.diff_id, sizeof(r.diff_id));
	return 1;
}

int image_layer_record_row(struct runtime *rt, int64_t snapshot, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	struct layer_info info = { 0 };
	int rc = db_query(rt->db,
			  "SELECT diff_id,size,coalesce(tar_size,0) FROM layers"
			  " WHERE snapshot=?1 AND diff_id NOTNULL",
			  DB_ARGS(DB_I(snapshot)), &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc > 0)
		rc = digest_parse(db_col_str(st, 0), &info.diff_id, err) < 0 ? -err->code : 1;
	if (rc <= 0)
		return rc;
	info.size_bytes = (uint64_t)db_col_int(st, 1);
	info.tar_bytes = (uint64_t)db_col_int(st, 2);
	image_layer_record(rt, snapshot, &info);
	return 0;
}

static int record_layers(struct runtime *rt, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, "SELECT snapshot FROM layers", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		rc = image_layer_record_row(rt, db_col_int(st, 0), err);
	return rc;
}

int image_record_all(struct runtime *rt, struct err *err)
{
	int rc = snap_record_all(rt->snap, err);

	return rc < 0 ? rc : record_layers(rt, err);
}
