/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path: paths that come from an image, a context, an archive or a container.
 *
 * They are never joined into a string and opened: everything goes through openat2(RESOLVE_IN_ROOT)
 * beneath an fd, so that "..", absolute paths and symlinks stay inside whoever races with us (TRAPS
 * T1, T6).
 */
#ifndef SHALE_BASE_PATH_H
#define SHALE_BASE_PATH_H

#include <stdbool.h>
#include <sys/types.h>

#include <shale/base/err.h>

/*
 * Opens path inside root_fd as a process chrooted there would: absolute paths and symlinks start at
 * the root. O_NOFOLLOW in flags stops at a final symlink. Magic links are refused (ELOOP). Returns
 * the fd. Callers may test ENOENT, ENOTDIR, ELOOP, EACCES.
 */
int path_open_in(int root_fd, const char *path, int flags, mode_t mode, struct err *err);

/* The same, but path must not use symlinks that leave dir_fd, nor "..": RESOLVE_BENEATH |
 * NO_MAGICLINKS. */
int path_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, struct err *err);

/* The same as path_open_in without a message: fd or -1 and errno. */
int path_try_in(int root_fd, const char *path, int flags, mode_t mode);
/* The same beneath dir_fd and through no symlink at all, -1 and ELOOP where there is one. */
int path_try_plain(int dir_fd, const char *path, int flags);

/*
 * mkdir -p inside root_fd, through symlinks as a chrooted process would see them. New directories
 * get the attributes of n. Returns an O_PATH fd of the directory.
 */
struct path_new {
	mode_t mode;
	uid_t uid, gid;
};
int path_mkdirs_in(int root_fd, const char *path, const struct path_new *n, struct err *err);

/* Lexical: "a//b/./c/../d" -> "a/b/d"; keeps a leading "/"; "" -> "."; ".." never climbs above "/".
 * Caller owns it. */
char *path_clean(const char *path);
/* path_clean(dir + "/" + path), or path_clean(path) if it is absolute. */
char *path_join(const char *dir, const char *path);
const char *path_base(const char *path); /* after the last slash, inside path */

#endif
