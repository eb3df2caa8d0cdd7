/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a layer that goes out to registries: the one it came as, or one that is made once and
 * kept. Needs libcrypto. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/layer.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"

enum { GZIP_LEVEL = 6, COPY_BYTES = 256 << 10 };

static int gzip_fd(int fd, struct sink *to, struct digest *ret, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(COPY_BYTES);
	ssize_t n;
	int rc = 0;

	while (rc >= 0 && (n = fd_read_full(fd, buf, COPY_BYTES, err)) != 0) {
		if (n < 0)
			return (int)n;
		hash_add(h, buf, (size_t)n);
		rc = to->write(to, buf, (size_t)n, err);
	}
	hash_end(h, ret);
	return rc;
}

/* From the directory, or where that would give other bytes from those the layer came with. */
static int write_gzip(struct runtime *rt, const struct image_layer *l, int origin_fd,
		      struct sink *to, struct err *err)
{
	cleanup(layer_gzip_cleanup) struct layer_gzip *g = NULL;
	struct layer_info info = { 0 };
	int rc = layer_gzip_new(GZIP_LEVEL, to, &g, err);

	if (rc < 0)
		return rc;
	if (origin_fd >= 0)
		rc = gzip_fd(origin_fd, layer_gzip_sink(g), &info.diff_id, err);
	else
		rc = image_layer_diff(rt, l->snapshot,
				      &(struct image_diff_opts){ .to = layer_gzip_sink(g) }, &info,
				      err);
	if (rc >= 0)
		rc = layer_gzip_end(g, err);
	if (rc >= 0 && !str_eq(digest_str(&info.diff_id), l->diff_id))
		rc = err_set(err, EBADMSG, "its content is %.19s now: it was changed on disk",
			     digest_str(&info.diff_id));
	return rc;
}

static int compress(struct runtime *rt, const struct image_layer *l, int origin_fd,
		    struct image_layer_blob *ret, struct err *err)
{
	auto_blob struct blob *b = NULL;
	auto_db_tx struct db *tx = NULL;
	int rc = store_blob_new(rt->store, &b, err);

	*ret = (struct image_layer_blob){ .codec = "gzip", .level = GZIP_LEVEL };
	snprintf(ret->media_type, sizeof(ret->media_type), OCI_LAYER "+gzip");
	if (rc >= 0)
		rc = write_gzip(rt, l, origin_fd, store_blob_sink(b), err);
	if (rc < 0)
		return rc;
	ret->size = store_blob_size(b);
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_blob_commit(b, NULL, &ret->digest, err);
	if (rc >= 0)
		rc = image_layer_blob_put(rt, l->diff_id, ret, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* A loaded layer's own bytes may be compressed already: then they are its form. 1, or 0. */
static int from_origin(struct runtime *rt, const struct image_layer *l, int *ret_fd,
		       struct image_layer_blob *ret, struct err *err)
{
	static const struct {
		const char *magic, *type;
	} known[] = { { "\x1f\x8b", OCI_LAYER "+gzip" },
		      { "\x28\xb5\x2f\xfd", OCI_LAYER "+zstd" } };
	auto_fd int fd = -1;
	char head[8] = { 0 };
	struct stat st;
	int rc = image_origin_get(rt, l->snapshot, &ret->digest, err);

	if (rc <= 0)
		return rc;
	rc = store_blob_open(rt->store, &ret->digest, &fd, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0 || pread(fd, head, sizeof(head), 0) < 0)
		return err_sys(err, "read blob");
	ret->size = (uint64_t)st.st_size;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!memcmp(head, known[i].magic, strlen(known[i].magic))) {
			snprintf(ret->media_type, sizeof(ret->media_type), "%s", known[i].type);
			return 1;
		}
	*ret_fd = fd_take(&fd);
	return 0;
}

/* Docker's names of what an OCI manifest calls otherwise. */
static const char *oci_type(const char *type)
{
	if (str_ends(type, "zstd"))
		return OCI_LAYER "+zstd";
	return str_ends(type, "gzip") ? OCI_LAYER "+gzip" : OCI_LAYER;
}

int image_layer_form(struct runtime *rt, const struct image_layer *l, struct image_layer_blob *ret,
		     struct err *err)
{
	auto_fd int origin = -1;
	int rc = image_layer_blob_get(rt, l->diff_id, NULL, ret, err);

	if (rc == 0)
		rc = from_origin(rt, l, &origin, ret, err);
	if (rc == 0)
		rc = compress(rt, l, origin, ret, err);
	if (rc < 0)
		return err_ctx(err, "layer %.19s", l->diff_id);
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", oci_type(ret->media_type));
	return 0;
}
