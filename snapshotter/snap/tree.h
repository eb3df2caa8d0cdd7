/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees: the merged view of a chain as a plain directory, for drivers and kernels that cannot mount
 * it, and a layer made anew from two of them.
 *
 * What is made from layers, snap/<id>/tree.<boot> and expanded.<boot>, shares their files by
 * hardlinks, is never written to and holds for this boot only: nothing syncs it. It goes with the
 * snapshot's directory.
 *
 * The copy driver's snap/<id>/copy is no such thing: it is the container's own files until commit,
 * and fs/, the layer, is made of what in it differs from the parent's tree. What tells is never
 * content but the kernel's record of change: a file whose ctime is older than the copy's end, whose
 * stat is its parent's, in a directory that still is the one of that path (copy.dirs lists their
 * inodes), was not touched. All else goes into fs/; what turns out to be the same there, the
 * differ of layers leaves out.
 */
#ifndef SHALE_SNAP_TREE_H
#define SHALE_SNAP_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

#include "priv.h"

/* --- inodes.c --- */

struct snap_inodes {
	struct snap_inode {
		uint64_t ino;
		char *path; /* NULL: a free slot */
	} * v;
	size_t n, cap;
};
#define auto_snap_inodes cleanup(snap_inodes_free)
void snap_inodes_free(struct snap_inodes *m);
const char *snap_inodes_find(const struct snap_inodes *m, uint64_t ino);     /* NULL: not there */
void snap_inodes_add(struct snap_inodes *m, uint64_t ino, const char *path); /* the first stays */

/* --- attrs.c --- */

/* Owner, extended attributes, mode and times of the file or directory from_fd onto to_fd, which may
 * have attributes of its own: they go. */
int snap_copy_attrs(int from_fd, int to_fd, const struct stat *from, struct err *err);
/* A copy of any entry but a directory. data_fd: where a file's content is read, -1: itself. */
int snap_copy_entry(int from_fd, const char *name, int to_fd, int data_fd, struct err *err);
/* Whiteout: the char device 0:0. */
bool snap_is_whiteout(const struct stat *st);
/* Beneath root_fd, path "" being the root; for reading. */
int snap_open_sub(int root_fd, const char *path, struct err *err);
/* "a" + "b" -> "a/b", "" + "b" -> "b". Caller owns it. */
char *snap_join(const char *dir, const char *name);

/* The same extended attributes, listed in the same order: 1, 0 or an error. */
int snap_same_xattrs(int a_fd, int b_fd, struct err *err);

/* --- merge.c --- */

struct snap_merge {
	int tree_fd;    /* a plain tree of our own */
	int layer_fd;   /* what goes over it, with the overlay's marks */
	int scratch_fd; /* an empty directory of the same file system, empty again afterwards */
	bool copy;      /* files are copied, by reflink where that works; else hardlinked */
	unsigned flags; /* of the layer: enum snap_flag */
};
int snap_merge(const struct snap_merge *m, struct err *err);

/* --- moved.c --- */

/* For snap_merge: what renamed directories and files without data of their own refer to is put
 * aside in the scratch directory, as d<inode> and f<inode> of the layer's. */
int snap_merge_hold(const struct snap_merge *m, struct err *err);

/* --- difference.c --- */

struct snap_difference {
	int tree_fd, parent_fd; /* plain trees; parent_fd -1: none */
	int to_fd;              /* empty: becomes a layer without renames and metacopies */
	const struct snap_inodes
		*dirs;        /* of the tree as it was made, or NULL: same inode, same file */
	struct timespec made; /* when; files of that ctime or later are new */
};
int snap_difference(const struct snap_difference *d, struct err *err);

/* --- tree.c --- */

/* For reading; and an empty one, whatever was there. */
int snap_open_dir(int dir_fd, const char *name, struct err *err);
int snap_make_new(int dir_fd, const char *name, struct err *err);

/* "<id>/tree.<boot>", or "<id>/fs" for one without a parent; made where it is missing. i counts in
 * the chain, topmost first. */
int snap_tree(struct snap *s, const struct snap_chain *c, size_t i, char name[SNAP_NAME_MAX],
	      struct err *err);
/* The tree of layer i as dir_fd/name, which is made; what was put aside for it stays in
 * dir_fd/new.hold. */
int snap_tree_into(struct snap *s, const struct snap_chain *c, size_t i, int dir_fd,
		   const char *name, struct err *err);
/* Layer i of the chain without renames and metacopies. */
int snap_expand(struct snap *s, const struct snap_chain *c, size_t i, char name[SNAP_NAME_MAX],
		struct err *err);

/* --- copy.c: an active snapshot of the copy driver --- */

bool snap_has_copy(struct snap *s, int64_t id);
/* The copy is there, and written to from now on. The caller holds the lock, dir_fd, of snap/<id>.
 */
int snap_copy_open(struct snap *s, const struct snap_chain *c, int dir_fd, bool is_volatile,
		   struct err *err);
/* fs/ becomes what differs. is_quiet: nobody writes, and it holds until the next snap_copy_open. */
int snap_copy_harvest(struct snap *s, int64_t id, bool is_quiet, struct err *err);
/* After a quiet harvest: the copy is the committed snapshot's tree, or goes away. */
int snap_copy_finish(struct snap *s, int64_t id, bool is_committed, struct err *err);

#endif
