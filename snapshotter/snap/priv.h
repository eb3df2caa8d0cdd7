/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of snap share: the handle, a loaded chain, the plan of a mount. */
#ifndef SHALE_SNAP_PRIV_H
#define SHALE_SNAP_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/str.h>
#include <shale/snap.h>

/* How the kernel takes layers; the later ones are for older kernels. Found by trying, kept for the
 * life of the handle. */
enum snap_how {
	SNAP_HOW_FD,     /* lowerdir+ by fd, Linux 6.13 */
	SNAP_HOW_PATH,   /* lowerdir+ by path, Linux 6.7 */
	SNAP_HOW_HELPER, /* mount(2) in a child with its own mount namespace */
	SNAP_HOW_N,
};

struct snap {
	struct db *db;
	int store_fd, snap_fd; /* store_fd is borrowed */
	enum snap_how how;
	bool how_known;
	enum snap_driver driver;
	const struct ids_range *ids; /* of the mount that is being made, or NULL */
	int busy_wait_ms;            /* for the superblock of an earlier mount to go */
};

/* Of the kernel: OVL_MAX_STACK. What is beyond is merged in steps of SNAP_MERGE_STEP layers, so
 * that a growing chain does not need another merge at every layer. */
enum { SNAP_LOWERS_MAX = 500, SNAP_MERGE_STEP = 250, SNAP_CHAIN_MAX = 10000 };
enum { SNAP_BUSY_WAIT_MS = 5000, SNAP_NAME_MAX = 48 };

/* "<id>" or "<id>/<sub>", for one expression. */
const char *snap_name(char buf[SNAP_NAME_MAX], int64_t id, const char *sub);
#define SNAP_NAME(id, sub) snap_name((char[SNAP_NAME_MAX]){ 0 }, (id), (sub))

/* The host's path of snap/. Caller owns it. */
char *snap_root(struct snap *s);

struct snap_chain {
	int64_t *ids; /* topmost first */
	unsigned *layer_flags;
	size_t n;
	enum snap_kind kind; /* of the topmost */
	unsigned flags;      /* of all */
	bool this_boot;      /* the topmost was made since the machine started */
};
#define auto_snap_chain cleanup(snap_chain_free)
void snap_chain_free(struct snap_chain *c);
int snap_chain_load(struct snap *s, int64_t id, struct snap_chain *ret, struct err *err);

/* What is to be mounted. Pure data, made from a chain. */
struct snap_plan {
	enum { SNAP_PLAN_BIND, SNAP_PLAN_OVERLAY } kind;
	bool rdonly, is_volatile;
	int64_t upper;        /* overlay: 0 = none; bind: the one directory */
	const int64_t *lower; /* points into the chain */
	size_t n_lower;
	int64_t merged; /* the last lower is the tree of this one, 0: no such */
};
/* "<id>/fs", or the merged one's tree. */
const char *snap_plan_lower(const struct snap_plan *p, size_t i, char buf[SNAP_NAME_MAX]);
#define SNAP_LOWER(p, i) snap_plan_lower((p), (i), (char[SNAP_NAME_MAX]){ 0 })
int snap_plan_make(const struct snap_chain *c, unsigned flags, struct snap_plan *ret,
		   struct err *err);
/* p points into c. */
int snap_plan_load(struct snap *s, int64_t id, unsigned flags, struct snap_chain *c,
		   struct snap_plan *ret, struct err *err);

/* Options every overlay gets, since kernels and distributions differ in their defaults. Ends with a
 * NULL key. */
struct snap_option {
	const char *key, *value;
};
extern const struct snap_option snap_options[];

int snap_overlay(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err);
int snap_overlay_helper(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err);
int snap_bind(int dir_fd, const char *name, bool rdonly, int *ret_fd, struct err *err);
/*
 * 1 while some superblock, of whatever process or namespace, has fs/ of the directory as its upper,
 * else 0. The caller holds the directory's flock.
 */
int snap_upper_in_use(int dir_fd, struct err *err);

/* What the row says, kept with the directory. */
void snap_record(struct snap *s, const struct snap_info *info);

/* The flock of snap/<id>; -EBUSY names who has it. */
int snap_lock_dir(struct snap *s, int64_t id, struct err *err);

/* Limits of directories that are about to be deleted, and those of no directory (limit.c). */
void snap_unlimit_dir(struct snap *s, int dir_fd, const char *name);
void snap_limit_tidy(struct snap *s);

/* snap/<id> -> trash/snap-<id>.<random>; fine if it is gone already. */
int snap_to_trash(struct snap *s, int64_t id, struct err *err);

#endif
