/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snap: snapshots on overlayfs, the containerd snapshotter contract.
 *
 * A snapshot is a row and a directory snap/<id>/ with fs/ (the upper, later the layer) and work/.
 * Keys of active snapshots and views and names of committed ones share one namespace. A committed
 * snapshot never changes. Rows are only added after the directory exists, and removed before it
 * goes, so kill -9 leaves garbage directories (snap_sweep) and never a row without files.
 *
 * Mounts are made with the new mount API and stay detached: the host's mount table never changes.
 * An active snapshot is mounted once, under a flock on the directory snap/<id> that the returned
 * struct holds; beyond the life of that struct the kernel is asked whether some overlay still has
 * the upper.
 *
 * One handle a process, used by the main thread only, as its db. Neither it nor a snap_mount may be
 * used on both sides of a fork.
 */
#ifndef SHALE_SNAP_H
#define SHALE_SNAP_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/db.h>
#include <shale/base/err.h>
#include <shale/base/ids.h>
#include <shale/base/mem.h>
#include <shale/base/mount.h>

enum snap_kind { SNAP_VIEW = 1, SNAP_ACTIVE = 2, SNAP_COMMITTED = 3 };
enum snap_flag { /* stored with the row; the first two equal enum layer_flag */
		 SNAP_NEEDS_METACOPY = 1,
		 SNAP_NEEDS_REDIRECT = 2,
};

/*
 * How snapshots are mounted. The layers are the same: an overlayfs upper each. fuse-overlayfs is
 * the program of that name, with a mount as detached as the kernel's. copy binds plain directories:
 * an active snapshot is a full copy of its parent, a layer what differs from it when it is read
 * (snap_fs_fd) or committed. One driver may go on where another stopped.
 */
enum snap_driver { SNAP_OVERLAY, SNAP_FUSE, SNAP_COPY, SNAP_DRIVERS };

struct snap;

struct snap_info {
	int64_t id;
	int64_t parent; /* 0 = none */
	enum snap_kind kind;
	unsigned flags;
	int64_t created_s;
	bool durable;
	char key[160];
};

struct snap_new {
	const char *key;     /* up to 159 bytes; NULL: "<id>" is made up */
	int64_t parent;      /* id of a committed snapshot, 0 = none */
	enum snap_kind kind; /* SNAP_ACTIVE or SNAP_VIEW */
};

/* store_fd stays the caller's and open as long as the handle. */
int snap_open(struct db *db, int store_fd, struct snap **ret, struct err *err);
void snap_close(struct snap *s);
void snap_use(struct snap *s, enum snap_driver d); /* SNAP_OVERLAY until then */
/* "overlay", "fuse-overlayfs", "copy". -EINVAL. */
const char *snap_driver_name(enum snap_driver d);
int snap_driver_find(const char *name, enum snap_driver *ret, struct err *err);
/* What is missing here for the driver to work, or NULL. */
const char *snap_driver_missing(enum snap_driver d);

/* A new active snapshot or view. -EEXIST for a key in use, -ENOENT for a missing parent, -EINVAL
 * for one not committed. */
int snap_prepare(struct snap *s, const struct snap_new *n, struct snap_info *ret, struct err *err);
/* Active -> committed under a new key (NULL keeps it). flags are stored. The upper must be quiet:
 * -EBUSY while a snap_mount of it is open, -EINVAL for one not active, -EEXIST for a name in use.
 */
int snap_commit(struct snap *s, int64_t id, const char *name, unsigned flags, struct err *err);
/*
 * An active snapshot that was made without a parent, and was never mounted, gets one: layers are
 * unpacked side by side and put upon each other afterwards. with_root: its root takes over the
 * attributes of the parent's, as snap_prepare would have done. Before snap_commit.
 */
int snap_rebase(struct snap *s, int64_t id, int64_t parent, bool with_root, struct err *err);
/* A name of its own: whoever gave it answers for it from then on. -EEXIST, -ENOENT. */
int snap_rename(struct snap *s, int64_t id, const char *key, struct err *err);
/*
 * Row first, then the directory goes to trash/. -EBUSY while another snapshot rests on it, naming
 * that one, or a row of another module refers to it. Not inside a transaction of the caller's,
 * whose rollback would leave a row without files: there snap_forget, and snap_discard after the
 * commit (what is not discarded is the sweeper's).
 */
int snap_remove(struct snap *s, int64_t id, struct err *err);
int snap_forget(struct snap *s, int64_t id, struct err *err);
void snap_forget_ready(struct snap *s); /* one will be forgotten soon */
int snap_discard(struct snap *s, int64_t id, struct err *err);
/* The fs/ of two snapshots change places, for a repair: the caller knows that nothing has either of
 * them mounted. -EBUSY while a snap_mount does. */
int snap_exchange(struct snap *s, int64_t a, int64_t b, struct err *err);
int snap_stat(struct snap *s, int64_t id, struct snap_info *ret, struct err *err);
int snap_find(struct snap *s, const char *key, struct snap_info *ret, struct err *err);
int snap_usage(struct snap *s, int64_t id, uint64_t *ret_disk_bytes, uint64_t *ret_inodes,
	       struct err *err);

/* In order of id. fn may change snapshots; a negative result ends the walk and is returned. */
typedef int snap_fn(const struct snap_info *info, void *arg, struct err *err);
int snap_walk(struct snap *s, snap_fn *fn, void *arg, struct err *err);

/*
 * One layer for what id has above base, which it rests on (0: for all of it), without renames and
 * metacopies: into fs/ of the active snapshot to, which was never mounted. Files are shared by
 * hardlinks.
 */
int snap_squash(struct snap *s, int64_t id, int64_t base, int64_t to, struct err *err);

/*
 * What the layers of id above base only say of a file's or directory's attributes, moved into that
 * one of them that has it: first found, then written layer by layer (from 0, the lowest). Together
 * they show the same tree.
 */
struct snap_folded {
	size_t n;             /* layers above base */
	size_t moved;         /* files and directories */
	uint64_t moved_bytes; /* content that is told once less */
	/* What stays where it is: files that have several names in a layer; files and directories
	 * that were renamed as well. */
	size_t linked, renamed;
};
struct snap_fold;
int snap_fold_open(struct snap *s, int64_t id, int64_t base, struct snap_fold **ret,
		   struct snap_folded *ret_what, struct err *err);
void snap_fold_close(struct snap_fold **f);
#define auto_snap_fold cleanup(snap_fold_close)
/* The snapshot that layer i was. */
int64_t snap_fold_layer(const struct snap_fold *f, size_t i);
enum snap_fold_fate { SNAP_FOLD_SAME, SNAP_FOLD_CHANGED, SNAP_FOLD_EMPTY /* nothing is left */ };
enum snap_fold_fate snap_fold_fate(const struct snap_fold *f, size_t i);
/* Into the empty fs/ of an active snapshot that was never mounted. */
int snap_fold_write(struct snap_fold *f, size_t i, int to_fd, struct err *err);

/*
 * What an active snapshot may come to hold, counted by project quota of the store's file system;
 * 0: as much as there is. Once more: another limit. -ENOTSUP where there is no such quota, also
 * from snap_limit_check before anything is made. unlimit: before its files go by another way than
 * snap_discard.
 */
struct snap_limit {
	uint64_t bytes, inodes;
};
int snap_limit_check(struct snap *s, struct err *err);
int snap_limit(struct snap *s, int64_t id, const struct snap_limit *l, struct err *err);
void snap_unlimit(struct snap *s, int64_t id);

/* The chain of id, topmost (id itself) first. The caller owns *ret_ids. -ELOOP beyond 10000. */
int snap_chain(struct snap *s, int64_t id, int64_t **ret_ids, size_t *ret_n, struct err *err);
/* What a mount(8) would need: one overlay entry, or a bind of fs/ (containerd's types.Mount). */
int snap_mounts(struct snap *s, int64_t id, struct mount_list *ret, struct err *err);

/* A mounted snapshot: root_fd is a detached mount (O_PATH; fsmount/open_tree fd), lock_fd holds the
 * flock or -1. */
struct snap_mount {
	int root_fd, lock_fd;
	int64_t id;
	bool is_volatile;
};
#define SNAP_MOUNT_INIT                                                                            \
	{                                                                                          \
		-1, -1, 0, false                                                                   \
	}
#define auto_snap_mount cleanup(snap_mount_close)
void snap_mount_close(struct snap_mount *m);

enum snap_mount_flag {
	SNAP_RDONLY = 1, /* a view, whatever the kind; committed snapshots are always mounted so */
	SNAP_VOLATILE = 2, /* no sync of the upper. A wish: is_volatile tells; never for one without
			      a parent or of an earlier boot */
};
/*
 * Mounts id over its chain; more than 500 layers: the lowest of them merged in a directory that is
 * made once and goes with the layers. id 0 gives an empty read-only directory. -EBUSY when it is
 * mounted already; an overlay that only lingers after its last process is waited for, up to five
 * seconds. -EBADMSG when a machine crash caught it volatile, or it refers to layers that it does
 * not rest on. A snapshot without layers beneath it is a private bind of its fs/, without nosuid,
 * nodev and noexec.
 */
int snap_mount(struct snap *s, int64_t id, unsigned flags, struct snap_mount *ret, struct err *err);
/*
 * A read-only mount of a committed snapshot, which another thread makes: what the rows say is read
 * here. snap_later_mount once, while the handle is open; cleanup drops what nobody has mounted.
 */
struct snap_later;
int snap_later(struct snap *s, int64_t id, struct snap_later **ret, struct err *err);
int snap_later_mount(struct snap_later *l, struct snap_mount *ret, struct err *err);
void snap_later_cleanup(struct snap_later **l);
#define auto_snap_later cleanup(snap_later_cleanup)
/* The same for who sees it from the user namespace of ids (NULL: as above): owners on disk are as
 * ever. -ENOTSUP where the file system or the driver cannot. */
int snap_mount_as(struct snap *s, int64_t id, unsigned flags, const struct ids_range *ids,
		  struct snap_mount *ret, struct err *err);
/*
 * After a volatile mount went away: clears the kernel's mark, work/work/incompat, if the machine
 * did not crash since. Not needed for another snap_mount, which does the same; only others that
 * would mount the upper need it.
 */
int snap_unmounted(struct snap *s, int64_t id, struct err *err);

/* O_PATH fds of snap/<id> and snap/<id>/fs, where fs/ of an active snapshot is made to hold all its
 * changes first (while it is mounted: those of now). */
int snap_dir_fd(struct snap *s, int64_t id, int *ret_dir_fd, struct err *err);
int snap_fs_fd(struct snap *s, int64_t id, int *ret_fs_fd, struct err *err);
/* An O_PATH fd through which to take back what was just written to the mount root_fd of id: the
 * upper where that bears changes beneath a mount, else the mount itself. */
int snap_work_fd(struct snap *s, int64_t id, int root_fd, int *ret_fd, struct err *err);
/* "<store root>/snap/<id>/fs" for inspect. Caller owns it. */
char *snap_path(struct snap *s, int64_t id);

/*
 * Garbage: directories without a row, and everything in trash/ but what is still mounted. Decides
 * inside a write transaction, deletes after. Returns how many it deleted; 0 when another sweeper is
 * at it.
 */
int snap_sweep(struct snap *s, struct err *err);

/*
 * For a database that was lost: rows of all snapshots whose directories are there, from what each
 * has kept of its row; made-up keys. The rows must be empty. ret_lost: lines about those that
 * cannot be brought back. -EBUSY while one is mounted.
 */
struct strv;
int snap_recover(struct snap *s, struct strv *ret_lost, struct err *err);
/* Those of an earlier release have not kept anything. */
int snap_record_all(struct snap *s, struct err *err);

#endif
