/* SPDX-License-Identifier: Apache-2.0 */
/* Trees and expanded layers: made beside the layer under its lock, published by a rename. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

/* What was made since the machine started. Nothing of it was synced: after a crash it is made
 * again, under another name. */
static const char *of_this_boot(char sub[SNAP_NAME_MAX / 2], const char *what)
{
	snprintf(sub, SNAP_NAME_MAX / 2, "%s.%.8s", what, proc_boot_id());
	return sub;
}

static bool exists(const struct snap *s, const char *name)
{
	return faccessat(s->snap_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int snap_open_dir(int dir_fd, const char *name, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "open %s", name) : fd;
}

/* The lock that readers of a committed snapshot never take: two that want the same tree make it one
 * after the other. */
static int lock(struct snap *s, int64_t id, struct err *err)
{
	auto_fd int fd = snap_open_dir(s->snap_fd, SNAP_NAME(id, NULL), err);

	if (fd < 0)
		return fd_take(&fd);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock snap/%" PRId64, id);
	return fd_take(&fd);
}

static bool is_derived(const char *name)
{
	return str_starts(name, "tree.") || str_starts(name, "expanded.") ||
	       str_starts(name, "new.");
}

/* What an earlier boot or a killed process has left. */
static int drop_stale(int dir_fd, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(dir_fd, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		const char *boot = strchr(names.v[i], '.');

		if (is_derived(names.v[i]) && strncmp(boot + 1, proc_boot_id(), 8) != 0)
			rc = fs_remove_tree(dir_fd, names.v[i], err);
	}
	return rc;
}

int snap_make_new(int dir_fd, const char *name, struct err *err)
{
	int rc = fs_remove_tree(dir_fd, name, err);

	if (rc >= 0)
		rc = fs_mkdir(dir_fd, name, 0700, err);
	return rc < 0 ? rc : snap_open_dir(dir_fd, name, err);
}

static int merge_layer(struct snap *s, const struct snap_chain *c, size_t i,
		       const struct snap_merge *to, const char *from, struct err *err)
{
	auto_fd int layer = snap_open_dir(s->snap_fd, from, err);
	struct snap_merge m = *to;
	int rc;

	if (layer < 0)
		return fd_take(&layer);
	m.layer_fd = layer;
	m.flags = str_ends(from, "/fs") ? c->layer_flags[i] : 0;
	rc = snap_merge(&m, err);
	return rc < 0 ? err_ctx(err, "%s", from) : 0;
}

/* The nearest tree at or beneath i that is there already; what lies beneath all is fs/ itself. */
static size_t nearest(struct snap *s, const struct snap_chain *c, size_t i,
		      char name[SNAP_NAME_MAX])
{
	char sub[SNAP_NAME_MAX / 2];

	for (; i + 1 < c->n; i++)
		if (exists(s, snap_name(name, c->ids[i], of_this_boot(sub, "tree"))))
			return i;
	snap_name(name, c->ids[i], "fs");
	return i;
}

static int fill(struct snap *s, const struct snap_chain *c, size_t i, struct snap_merge *to,
		struct err *err)
{
	char base[SNAP_NAME_MAX];
	size_t at = nearest(s, c, i, base);
	int rc = merge_layer(s, c, at, to, base, err);

	while (rc >= 0 && at-- > i)
		rc = merge_layer(s, c, at, to, SNAP_NAME(c->ids[at], "fs"), err);
	return rc;
}

int snap_tree_into(struct snap *s, const struct snap_chain *c, size_t i, int dir_fd,
		   const char *name, struct err *err)
{
	auto_fd int tree = snap_make_new(dir_fd, name, err), scratch = -1;
	struct snap_merge m = { .tree_fd = tree };

	if (tree < 0)
		return fd_take(&tree);
	scratch = snap_make_new(dir_fd, "new.hold", err);
	if (scratch < 0)
		return fd_take(&scratch);
	m.scratch_fd = scratch;
	return fill(s, c, i, &m, err);
}

static int publish(int dir_fd, const char *from, const char *to, struct err *err)
{
	struct err ignored = { 0 };

	fs_remove_tree(dir_fd, "new.hold", &ignored);
	if (renameat(dir_fd, from, dir_fd, to) < 0)
		return err_sys(err, "publish %s", to);
	return 0;
}

int snap_tree(struct snap *s, const struct snap_chain *c, size_t i, char name[SNAP_NAME_MAX],
	      struct err *err)
{
	char sub[SNAP_NAME_MAX / 2];
	auto_fd int dir = -1;
	int rc;

	if (i + 1 == c->n) {
		snap_name(name, c->ids[i], "fs");
		return 0;
	}
	snap_name(name, c->ids[i], of_this_boot(sub, "tree"));
	if (exists(s, name))
		return 0;
	dir = lock(s, c->ids[i], err);
	if (dir < 0)
		return fd_take(&dir);
	if (exists(s, name))
		return 0;
	rc = drop_stale(dir, err);
	if (rc >= 0)
		rc = snap_tree_into(s, c, i, dir, "new.tree", err);
	if (rc >= 0)
		rc = publish(dir, "new.tree", sub, err);
	return rc < 0 ? err_ctx(err, "merge the layers up to %" PRId64, c->ids[i]) : 0;
}

static int expand(struct snap *s, const struct snap_chain *c, size_t i, int dir_fd, struct err *err)
{
	auto_fd int tree = -1, parent = -1, to = -1;
	char below[SNAP_NAME_MAX];
	int rc = snap_tree(s, c, i + 1, below, err);

	if (rc >= 0)
		rc = snap_tree_into(s, c, i, dir_fd, "new.tree", err);
	if (rc < 0)
		return rc;
	tree = snap_open_dir(dir_fd, "new.tree", err);
	if (tree < 0)
		return fd_take(&tree);
	parent = snap_open_dir(s->snap_fd, below, err);
	if (parent < 0)
		return fd_take(&parent);
	to = snap_make_new(dir_fd, "new.expanded", err);
	if (to < 0)
		return fd_take(&to);
	return snap_difference(
		&(struct snap_difference){ .tree_fd = tree, .parent_fd = parent, .to_fd = to },
		err);
}

int snap_expand(struct snap *s, const struct snap_chain *c, size_t i, char name[SNAP_NAME_MAX],
		struct err *err)
{
	char sub[SNAP_NAME_MAX / 2];
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	int rc;

	snap_name(name, c->ids[i], of_this_boot(sub, "expanded"));
	if (exists(s, name))
		return 0;
	if (i + 1 == c->n)
		return err_set(err, EBADMSG,
			       "snapshot %" PRId64 " refers to layers beneath it, but has none",
			       c->ids[i]);
	dir = lock(s, c->ids[i], err);
	if (dir < 0)
		return fd_take(&dir);
	if (exists(s, name))
		return 0;
	rc = drop_stale(dir, err);
	if (rc >= 0)
		rc = expand(s, c, i, dir, err);
	if (rc >= 0)
		rc = publish(dir, "new.expanded", sub, err);
	fs_remove_tree(dir, "new.tree", &ignored);
	return rc < 0 ? err_ctx(err, "expand layer %" PRId64, c->ids[i]) : 0;
}
