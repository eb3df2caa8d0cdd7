/* SPDX-License-Identifier: Apache-2.0 */
/* Several layers as one: the difference of two trees that are made for it and go again. */
#include <errno.h>
#include <inttypes.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "tree.h"

/* The plain tree of what lies beneath: -1 where nothing does. */
static int open_below(struct snap *s, const struct snap_chain *c, size_t base, int dir_fd,
		      struct err *err)
{
	int rc;

	if (base + 1 == c->n)
		return snap_open_dir(s->snap_fd, SNAP_NAME(c->ids[base], "fs"), err);
	rc = snap_tree_into(s, c, base, dir_fd, "new.parent", err);
	return rc < 0 ? rc : snap_open_dir(dir_fd, "new.parent", err);
}

static int squash(struct snap *s, const struct snap_chain *c, size_t base, int dir_fd,
		  struct err *err)
{
	auto_fd int tree = -1, parent = -1, to = snap_open_dir(dir_fd, "fs", err);
	int rc = to < 0 ? to : snap_tree_into(s, c, 0, dir_fd, "new.tree", err);

	if (rc < 0)
		return rc;
	tree = snap_open_dir(dir_fd, "new.tree", err);
	if (tree < 0)
		return fd_take(&tree);
	if (base < c->n) {
		parent = open_below(s, c, base, dir_fd, err);
		if (parent < 0)
			return fd_take(&parent);
	}
	return snap_difference(
		&(struct snap_difference){ .tree_fd = tree, .parent_fd = parent, .to_fd = to },
		err);
}

int snap_squash(struct snap *s, int64_t id, int64_t base, int64_t to, struct err *err)
{
	static const char *const scratch[] = { "new.tree", "new.parent", "new.hold" };
	auto_snap_chain struct snap_chain c = { 0 };
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	size_t at = 0;
	int rc = snap_chain_load(s, id, &c, err);

	if (rc < 0)
		return rc;
	while (at < c.n && c.ids[at] != base)
		at++;
	if (base && at == c.n)
		return err_set(err, EINVAL, "snapshot %" PRId64 " does not rest on %" PRId64, id,
			       base);
	dir = snap_open_dir(s->snap_fd, SNAP_NAME(to, NULL), err);
	if (dir < 0)
		return fd_take(&dir);
	rc = squash(s, &c, at, dir, err);
	for (size_t i = 0; i < ARRAY_LEN(scratch); i++)
		fs_remove_tree(dir, scratch[i], &ignored);
	return rc < 0 ? err_ctx(err, "squash the layers of snapshot %" PRId64, id) : 0;
}
