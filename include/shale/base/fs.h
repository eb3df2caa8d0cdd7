/* SPDX-License-Identifier: Apache-2.0 */
/* fs: operations on shale's own directories and on trees, all beneath fds. */
#ifndef SHALE_BASE_FS_H
#define SHALE_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <shale/base/err.h>

/* mkdirat; an existing directory is fine. */
int fs_mkdir(int dir_fd, const char *name, mode_t mode, struct err *err);
/* mkdir -p of a host path that the administrator named. */
int fs_mkdirs(const char *path, mode_t mode, struct err *err);
/* openat(O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW). Returns the fd. */
int fs_open_dir(int dir_fd, const char *name, struct err *err);
/* rm -rf, never following symlinks nor crossing mounts; a missing name is fine. Deep trees do not
 * recurse on the stack. */
int fs_remove_tree(int dir_fd, const char *name, struct err *err);
/* Written to a temporary name with mode 0600, fsynced when sync, renamed over name. */
int fs_write_atomic(int dir_fd, const char *name, const void *p, size_t n, bool sync,
		    struct err *err);
/* Disk use (st_blocks) and inodes of a tree; hardlinks counted once. */
int fs_usage(int dir_fd, const char *name, uint64_t *ret_bytes, uint64_t *ret_inodes,
	     struct err *err);

/*
 * fsync of every file and directory of a tree, itself included: what others have dirty on the file
 * system stays where it is. left: entries that may be met, counted down; -E2BIG when there are
 * more, and syncfs is the better way.
 */
int fs_sync_tree(int dir_fd, const char *name, unsigned *left, struct err *err);
int fs_sync_file(int dir_fd, const char *name, struct err *err);

/* flock a file of dir_fd, creating it. Returns the fd that holds the lock; -EAGAIN when busy and
 * !wait. */
int fs_lock(int dir_fd, const char *name, bool wait, struct err *err);

/*
 * Bytes of one open file to another: FICLONE, else copy_file_range, holes kept, else read and
 * write. From offset 0 to the end of from_fd.
 */
int fs_copy_data(int from_fd, int to_fd, struct err *err);

/* Same content in two files of size bytes: 1 or 0. */
int fs_same_data(int a_fd, int b_fd, uint64_t size, struct err *err);

/* All xattr names of an fd (O_PATH allowed: goes through /proc/self/fd), NUL-separated; 0 when
 * unsupported. Caller owns. */
int fs_xattr_list(int fd, char **ret_names, size_t *ret_len, struct err *err);
/* One value; -ENODATA when it is not there. Caller owns. */
int fs_xattr_get(int fd, const char *name, char **ret_value, size_t *ret_len, struct err *err);
int fs_xattr_set(int fd, const char *name, const void *value, size_t len, struct err *err);

bool fs_is_dot(const char *name); /* "." or "..", which readdir gives as well */
/* Entries of a directory sorted bytewise, without "." and "..". */
struct strv;
int fs_list(int dir_fd, const char *name, struct strv *ret, struct err *err);

#endif
