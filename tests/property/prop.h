/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers as a property: whatever is done in a mount over the layers so far comes back the same
 * after commit, diff and unpacking, by us and by others. A sequence is its seed: the same seed
 * does the same.
 */
#ifndef PROPERTY_PROP_H
#define PROPERTY_PROP_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/db.h>
#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/layer.h>
#include <shale/snap.h>

enum { LAYERS_MAX = 6 };

/* --- ops.c --- */

struct dice {
	uint64_t x;
	bool is_plain; /* without an overlay beneath: what would be a mark of its own is left out */
	bool for_tools;  /* nothing that other programs are known not to carry */
	struct str *log; /* what was done, or NULL */
};

unsigned dice_roll(struct dice *d, unsigned n);
/* So many random changes to the tree at root; those that fail are changes too. */
int ops_run(int root, struct dice *d, unsigned n, struct err *err);

/* --- tree.c --- */

enum tree_flag {
	TREE_WHOLE_SECONDS = 1, /* an mtime with a fraction is an error */
	TREE_COMPACT = 2,       /* so is a block of zeros that takes room */
	TREE_RAW = 4,           /* an upper, where char 0:0 is a whiteout: left out */
	TREE_NO_ACL = 8,
	TREE_NO_XATTRS = 16,
	TREE_NO_ROOT = 32,  /* the root itself */
	TREE_BY_LAYER = 64, /* see struct origins */
};
/* Which layer has a path last: names of one file are linked in an archive only within a layer. */
struct origins {
	struct origin {
		char *path;
		unsigned layer;
	} * v;
	size_t n, cap;
};
void origins_add(struct origins *o, const char *path, unsigned layer);
void origins_free(struct origins *o);

/* The tree as text, one line a thing with all that a layer carries, so that two are compared as
 * strings. o may be NULL. */
int tree_text(int root, unsigned flags, const struct origins *o, struct str *ret, struct err *err);
/* The first lines in which two trees differ. */
void tree_differences(const char *a, const char *b, struct str *ret);

/* --- main.c: one sequence --- */

struct prop {
	char path[128];
	int fd;
	struct db *db;
	struct snap *snap;
	struct layer_memo *memo;
	struct origins origins;
	uint64_t layers, entries, bytes; /* what was gone through */
};

struct made {
	int64_t ours, theirs; /* snapshots: as it was made, and as it was unpacked */
	int tar_fd;
	struct layer_info info;
};

int prop_view(struct prop *p, int64_t id, unsigned flags, struct str *ret, struct err *err);
int prop_same(const char *want, const char *got, const char *what, struct err *err);

/* --- tools.c: the same tars through other programs --- */

/* Those of a sequence that made n layers. */
int tools_check(struct prop *p, const struct made *m, unsigned n, struct err *err);
/* Archives that they make of its last tree, through us. */
int tools_back(struct prop *p, const struct made *m, unsigned n, struct err *err);

#endif
