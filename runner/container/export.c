/* SPDX-License-Identifier: Apache-2.0 */
/* docker export: the merged view is a layer that rests on nothing. Needs libcrypto. */
#include <shale/container.h>

#include <fcntl.h>

#include <shale/base/fd.h>
#include <shale/layer.h>

#include "priv.h"

int container_export(struct runtime *rt, const char *name, struct sink *to, struct err *err)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT;
	auto_container struct container *c = NULL;
	struct layer_diff_opts o = { .to = to, .table_dir_fd = -1, .no_hash = true };
	struct layer_source src = { -1, -1, -1 };
	struct layer_info info;
	auto_fd int root = -1;
	int rc;

	rc = container_find(rt, name, &c, err);
	if (rc >= 0)
		rc = snap_mount(rt->snap, c->snapshot, SNAP_RDONLY, &merged, err);
	if (rc < 0)
		return rc;
	root = openat(merged.root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(err, "open the root of %s", name);
	src.upper_fd = root;
	rc = layer_diff(&src, &o, &info, err);
	return rc < 0 ? err_ctx(err, "export %s", name) : 0;
}
