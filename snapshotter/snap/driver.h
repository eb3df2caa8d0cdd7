/* SPDX-License-Identifier: Apache-2.0 */
/* The other drivers, for mount.c and those that read fs/. */
#ifndef SHALE_SNAP_DRIVER_H
#define SHALE_SNAP_DRIVER_H

#include "priv.h"
#include "tree.h"

/* --- fuse.c, fuse_clean.c --- */

/* Where fuse-overlayfs is, or NULL. */
const char *snap_fuse_program(void);
/* p of c, as snap_overlay; layers that it cannot follow are expanded. */
int snap_fuse(struct snap *s, const struct snap_chain *c, const struct snap_plan *p, int *ret_fd,
	      struct err *err);
/* An upper that fuse-overlayfs has written becomes one of overlayfs. */
int snap_fuse_clean(int fs_fd, struct err *err);

/* --- driver.c --- */

/* fs/ of an active snapshot shall be what another driver made of it. Those in use: as far as that
 * can be without a change to what is mounted. */
int snap_settle(struct snap *s, int64_t id, struct err *err);
/* The same with the lock, dir_fd, held by the caller, who goes on with this handle's driver. */
int snap_settle_for(struct snap *s, int64_t id, int dir_fd, struct err *err);
/* The same for one that is about to be committed. */
int snap_settle_commit(struct snap *s, int64_t id, struct err *err);
/* A plain directory bound: for the copy driver, and for others where there is a copy. */
int snap_mount_plain(struct snap *s, const struct snap_chain *c, unsigned flags,
		     struct snap_mount *m, struct err *err);

#endif
