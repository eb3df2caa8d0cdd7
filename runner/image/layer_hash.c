/* SPDX-License-Identifier: Apache-2.0 */
/* DiffID, ChainID, sizes and file table of a snapshot. Needs libcrypto. */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/layer.h>
#include <shale/snap.h>

#include "priv.h"

int image_fs_open(struct runtime *rt, int64_t snapshot, int *ret_fd, struct err *err)
{
	auto_fd int path_fd = -1;
	int fd, rc;

	rc = snap_fs_fd(rt->snap, snapshot, &path_fd, err);
	if (rc < 0)
		return rc;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open layer %" PRId64, snapshot);
	*ret_fd = fd;
	return 0;
}

int image_layer_diff(struct runtime *rt, int64_t snapshot, const struct image_diff_opts *o,
		     struct layer_info *ret, struct err *err)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT, parent = SNAP_MOUNT_INIT;
	struct layer_diff_opts opts = {
		.to = o->to, .table_dir_fd = -1, .memo = o->memo, .writeback = o->with_table
	};
	auto_fd int upper = -1, dir = -1;
	struct snap_info info;
	int rc;

	rc = snap_stat(rt->snap, snapshot, &info, err);
	if (rc >= 0)
		rc = image_fs_open(rt, snapshot, &upper, err);
	if (rc >= 0 && o->with_table)
		rc = snap_dir_fd(rt->snap, snapshot, &dir, err);
	if (rc >= 0 && info.parent)
		rc = snap_mount(rt->snap, snapshot, SNAP_RDONLY, &merged, err);
	if (rc >= 0 && info.parent)
		rc = snap_mount(rt->snap, info.parent, SNAP_RDONLY, &parent, err);
	if (rc < 0)
		return err_ctx(err, "layer %" PRId64, snapshot);
	opts.table_dir_fd = dir;
	rc = layer_diff(&(struct layer_source){ upper, merged.root_fd, parent.root_fd }, &opts, ret,
			err);
	return rc < 0 ? err_ctx(err, "layer %" PRId64, snapshot) : 0;
}

/* The parent's ChainID: 1, 0 for a snapshot without parent. */
static int parent_chain(struct runtime *rt, int64_t snapshot, struct digest *ret, struct err *err)
{
	auto_free char *chain = NULL;
	struct snap_info info;
	int rc;

	rc = snap_stat(rt->snap, snapshot, &info, err);
	if (rc < 0 || !info.parent)
		return rc < 0 ? rc : 0;
	rc = db_get_str(rt->db, "SELECT chain_id FROM layers WHERE snapshot=?1",
			DB_ARGS(DB_I(info.parent)), &chain, err);
	if (rc < 0)
		return rc;
	if (!chain)
		return err_set(err, EINVAL, "layer %" PRId64 " is not hashed yet", info.parent);
	rc = digest_parse(chain, ret, err);
	return rc < 0 ? rc : 1;
}

int image_layer_store(struct runtime *rt, int64_t snapshot, const struct layer_info *info,
		      struct err *err)
{
	struct digest parent, chain;
	int rc;

	rc = parent_chain(rt, snapshot, &parent, err);
	if (rc < 0)
		return err_ctx(err, "layer %" PRId64, snapshot);
	hash_chain(rc ? &parent : NULL, &info->diff_id, &chain);
	rc = db_run(
		rt->db,
		"INSERT INTO layers(snapshot,diff_id,chain_id,size,tar_size) VALUES(?1,?2,?3,?4,?5)"
		" ON CONFLICT(snapshot) DO UPDATE SET diff_id=?2,chain_id=?3,size=?4,tar_size=?5",
		DB_ARGS(DB_I(snapshot), DB_T(digest_str(&info->diff_id)), DB_T(digest_str(&chain)),
			DB_I((int64_t)info->size_bytes), DB_I((int64_t)info->tar_bytes)),
		err);
	fault_point("image.layer.row");
	image_layer_record(rt, snapshot, info);
	return rc < 0 ? err_ctx(err, "layer %" PRId64, snapshot) : 0;
}

static int hash_one(struct runtime *rt, int64_t snapshot, struct err *err)
{
	struct layer_info info = { 0 };
	int rc = image_layer_diff(rt, snapshot, &(struct image_diff_opts){ .with_table = true },
				  &info, err);

	return rc < 0 ? rc : image_layer_store(rt, snapshot, &info, err);
}

/* A ChainID needs those of all beneath it: the chain is gone through from the bottom. */
int image_layer_hash(struct runtime *rt, int64_t snapshot, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	size_t n = 0;
	int rc;

	rc = image_layers(rt, snapshot, &l, &n, err);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		if (!l[i].chain_id[0] || !l[i].diff_id[0])
			rc = hash_one(rt, l[i].snapshot, err);
	return rc < 0 ? rc : 0;
}
