/* SPDX-License-Identifier: Apache-2.0 */
/* fold: what fold.c finds and fold_write.c writes. */
#ifndef SHALE_SNAP_FOLD_H
#define SHALE_SNAP_FOLD_H

#include "tree.h"

struct snap_fold_entry {
	char *path;
	mode_t mode;
	ino_t ino;
	nlink_t nlink;
	dev_t rdev;
	off_t size;
	bool is_whiteout, is_metacopy, is_moved, is_opaque; /* is_moved: it has a redirect */
	bool is_linked;                                     /* the layer has another name of it */
	bool is_gone;                                       /* into a layer beneath */
	size_t left;        /* of a directory: what is in it and stays */
	size_t data, attrs; /* the layers that it is taken from */
};

struct snap_fold_layer {
	int64_t id;
	unsigned flags;
	int fd;
	struct snap_fold_entry *v; /* by path */
	size_t n, cap, gone;
	bool is_changed, is_root_changed;
};

struct snap_fold {
	struct snap *s;
	struct snap_fold_layer *layers; /* lowest first */
	size_t n;
	struct snap_folded what;
};

struct snap_fold_entry *snap_fold_find(const struct snap_fold_layer *l, const char *path);

#endif
