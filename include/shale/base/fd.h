/* SPDX-License-Identifier: Apache-2.0 */
/* fd: file descriptors with visible ownership, whole reads and writes. Every fd shale opens is
 * O_CLOEXEC. */
#ifndef SHALE_BASE_FD_H
#define SHALE_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

#define auto_fd cleanup(fd_cleanup)
void fd_cleanup(int *fd); /* closes if >= 0, keeps errno */
void fd_close(int *fd);   /* the same, and sets -1 */
int fd_take(int *fd);     /* ownership leaves here: returns *fd, sets -1 */
int fd_dup(int fd);       /* F_DUPFD_CLOEXEC from 3 up; -1 and errno */

int fd_write_all(int fd, const void *p, size_t n, struct err *err);
int fd_write_str(int fd, const char *s, struct err *err);
/* Reads up to n bytes, fewer only at the end: the count. */
ssize_t fd_read_full(int fd, void *p, size_t n, struct err *err);
ssize_t fd_pread_full(int fd, void *p, size_t n, off_t at, struct err *err);

/* One message over a unix socket, with fd unless it is -1. 0, or -1 and errno; system calls only.
 */
int fd_send(int sock, const void *p, size_t n, int fd);
/* Its bytes (less than n: it was short), and *ret_fd, -1 when there came none. */
ssize_t fd_receive(int sock, void *p, size_t n, int *ret_fd);

/* The whole file, NUL-terminated; more than limit bytes is -EFBIG. ret is the caller's. */
int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_len, struct err *err);

/* open(dir_fd, name) and fd_read_all. A missing file is -ENOENT. */
int fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
		 struct err *err);

/* Create or truncate and write; not atomic (fs_write_atomic is). */
int fd_write_file(int dir_fd, const char *name, const void *p, size_t n, mode_t mode,
		  struct err *err);

/* "/proc/self/fd/N" for calls that have no fd form. */
#define FD_PATH_MAX 32
const char *fd_path(int fd, char buf[FD_PATH_MAX]);

#endif
