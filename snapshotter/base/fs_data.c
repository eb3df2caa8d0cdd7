/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, xattrs and sizes of trees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/limits.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

enum { COPY_CHUNK = 256 << 10, COPY_SMALL = 64 << 10, XATTR_NAMES_MAX = 64 << 10 };

/* These set *ret to the end of what was written, which is less than `end` of a file that shrank. */
static int copy_by_hand(int from_fd, int to_fd, off_t off, off_t end, off_t *ret, struct err *err)
{
	auto_free char *buf = mem_alloc(COPY_CHUNK);

	for (*ret = off; off < end; *ret = off) {
		size_t want = end - off < COPY_CHUNK ? (size_t)(end - off) : (size_t)COPY_CHUNK;
		ssize_t n = pread(from_fd, buf, want, off);

		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			break;
		if (lseek(to_fd, off, SEEK_SET) < 0)
			return err_sys(err, "seek");
		if (fd_write_all(to_fd, buf, (size_t)n, err) < 0)
			return -err->code;
		off += n;
	}
	return 0;
}

static int copy_extent(int from_fd, int to_fd, off_t off, off_t end, off_t *ret, struct err *err)
{
	off_t in = off, out = off;

	for (*ret = in; in < end; *ret = in) {
		ssize_t n = copy_file_range(from_fd, &in, to_fd, &out, (size_t)(end - in), 0);

		if (n < 0 &&
		    (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
			return copy_by_hand(from_fd, to_fd, in, end, ret, err);
		if (n < 0)
			return err_sys(err, "copy");
		if (n == 0)
			break;
	}
	return 0;
}

/* The most common file: one read, one write. FUSE may give less at once than there is. */
static int copy_small(int from_fd, int to_fd, off_t size, off_t *ret, struct err *err)
{
	char buf[COPY_SMALL];
	ssize_t n = pread(from_fd, buf, sizeof(buf), 0);
	int rc;

	if (n < 0)
		return err_sys(err, "read");
	*ret = n;
	rc = fd_write_all(to_fd, buf, (size_t)n, err);
	return rc < 0 || n == 0 || n >= size ? rc : copy_by_hand(from_fd, to_fd, n, size, ret, err);
}

/* The extents that have data. */
static int copy_sparse(int from_fd, int to_fd, off_t size, off_t *ret, struct err *err)
{
	for (off_t pos = 0; pos < size;) {
		off_t data = lseek(from_fd, pos, SEEK_DATA), hole;
		int rc;

		if (data < 0 && errno == ENXIO)
			break; /* only a hole is left */
		if (data < 0) {
			data = pos;
			hole = size;
		} else {
			hole = lseek(from_fd, data, SEEK_HOLE);
			if (hole < 0)
				hole = size;
		}
		rc = copy_extent(from_fd, to_fd, data, hole, ret, err);
		if (rc < 0)
			return rc;
		pos = hole;
	}
	return 0;
}

int fs_copy_data(int from_fd, int to_fd, struct err *err)
{
	off_t end = 0;
	struct stat st;
	int rc;

	if (fstat(from_fd, &st) < 0)
		return err_sys(err, "stat");
	if (st.st_size == 0 || ioctl(to_fd, FICLONE, from_fd) == 0)
		return 0;
	rc = st.st_size <= COPY_SMALL && st.st_blocks * 512 >= st.st_size
		     ? copy_small(from_fd, to_fd, st.st_size, &end, err)
		     : copy_sparse(from_fd, to_fd, st.st_size, &end, err);
	if (rc < 0 || end == st.st_size)
		return rc;
	/* Behind a hole. Of any other file it would cost more than the writing. */
	return ftruncate(to_fd, st.st_size) < 0 ? err_sys(err, "truncate") : 0;
}

int fs_xattr_list(int fd, char **ret_names, size_t *ret_len, struct err *err)
{
	char path[FD_PATH_MAX];
	char buf[1024];
	ssize_t n = listxattr(fd_path(fd, path), buf, sizeof(buf));
	auto_free char *big = NULL;

	if (n < 0 && errno == ERANGE) {
		big = mem_alloc(XATTR_NAMES_MAX);
		n = listxattr(path, big, XATTR_NAMES_MAX);
	}
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		n = 0;
	if (n < 0)
		return err_sys(err, "list xattrs");
	*ret_names = big ? take(big) : mem_dup(buf, (size_t)n);
	*ret_len = (size_t)n;
	return 0;
}

int fs_xattr_get(int fd, const char *name, char **ret_value, size_t *ret_len, struct err *err)
{
	char path[FD_PATH_MAX];
	char buf[512];
	ssize_t n = getxattr(fd_path(fd, path), name, buf, sizeof(buf));
	auto_free char *big = NULL;

	if (n < 0 && errno == ERANGE) {
		big = mem_alloc(XATTR_SIZE_MAX);
		n = getxattr(path, name, big, XATTR_SIZE_MAX);
	}
	if (n < 0)
		return err_sys(err, "xattr %s", name);
	*ret_value = big ? take(big) : mem_dup(buf, (size_t)n);
	*ret_len = (size_t)n;
	return 0;
}

int fs_xattr_set(int fd, const char *name, const void *value, size_t len, struct err *err)
{
	char path[FD_PATH_MAX];

	if (setxattr(fd_path(fd, path), name, value, len, 0) < 0)
		return err_sys(err, "set xattr %s", name);
	return 0;
}

/* The next offset where either has data, size when none has. */
static uint64_t next_data(int a_fd, int b_fd, uint64_t at, uint64_t size)
{
	off_t a = lseek(a_fd, (off_t)at, SEEK_DATA), b;

	if (a < 0 && errno != ENXIO)
		return at;
	b = a >= 0 && (uint64_t)a == at ? a : lseek(b_fd, (off_t)at, SEEK_DATA);
	if (b < 0 && errno != ENXIO)
		return at;
	a = a < 0 ? (off_t)size : a;
	b = b < 0 ? (off_t)size : b;
	return (uint64_t)(a < b ? a : b);
}

int fs_same_data(int a_fd, int b_fd, uint64_t size, struct err *err)
{
	enum { HALF = 128 << 10 };
	auto_free char *buf = mem_grow(NULL, 2 * (size_t)HALF, 1);
	uint64_t at = 0;

	/* Common holes are not read. */
	while (at < size && (at = next_data(a_fd, b_fd, at, size)) < size) {
		size_t want = size - at < HALF ? (size_t)(size - at) : (size_t)HALF;
		ssize_t a = pread(a_fd, buf, want, (off_t)at),
			b = pread(b_fd, buf + HALF, want, (off_t)at);

		if (a < 0 || b < 0)
			return err_sys(err, "compare");
		if (a == 0 || a != b || memcmp(buf, buf + HALF, (size_t)a) != 0)
			return 0;
		at += (uint64_t)a;
	}
	return 1;
}

/* Inodes with several links, each counted once: a set of inode numbers, open addressing. */
struct seen {
	uint64_t *ino;
	size_t n, cap;
};

static bool seen_add(struct seen *s, uint64_t ino)
{
	size_t i;

	if (s->n * 2 >= s->cap) {
		struct seen big = { .cap = s->cap ? s->cap * 2 : 64 };

		big.ino = mem_array(big.cap, sizeof(*big.ino));
		for (i = 0; i < s->cap; i++)
			if (s->ino[i])
				seen_add(&big, s->ino[i]);
		free(s->ino);
		*s = big;
	}
	for (i = (ino * 0x9e3779b97f4a7c15ull) & (s->cap - 1); s->ino[i];
	     i = (i + 1) & (s->cap - 1))
		if (s->ino[i] == ino)
			return false;
	s->ino[i] = ino;
	s->n++;
	return true;
}

enum { USAGE_DEPTH_MAX = 2048 };

struct usage {
	struct seen seen;
	uint64_t bytes, inodes;
};

static int usage_walk(int fd, struct usage *u, int depth, struct err *err)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!d) {
		close(fd);
		return err_sys(err, "read directory");
	}
	while (rc >= 0 && (e = readdir(d))) {
		struct stat st;
		int sub;

		if (fs_is_dot(e->d_name))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !seen_add(&u->seen, st.st_ino))
			continue;
		u->bytes += (uint64_t)st.st_blocks * 512;
		u->inodes++;
		if (!S_ISDIR(st.st_mode) || depth >= USAGE_DEPTH_MAX)
			continue;
		sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			rc = usage_walk(sub, u, depth + 1, err);
	}
	closedir(d);
	return rc;
}

int fs_usage(int dir_fd, const char *name, uint64_t *ret_bytes, uint64_t *ret_inodes,
	     struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct usage u = { 0 };
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open %s", name);
	u.bytes = (uint64_t)st.st_blocks * 512;
	u.inodes = 1;
	rc = usage_walk(fd, &u, 0, err);
	free(u.seen.ino);
	if (rc < 0)
		return rc;
	*ret_bytes = u.bytes;
	if (ret_inodes)
		*ret_inodes = u.inodes;
	return 0;
}
