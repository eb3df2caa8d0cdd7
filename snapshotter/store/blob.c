/* SPDX-License-Identifier: Apache-2.0 */
/* Writing blobs. */
#include <shale/store.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>

#include "priv.h"

struct blob {
	struct sink sink; /* first: a sink is its blob */
	struct store *st;
	struct hash *hash;
	uint64_t size;
	int fd;
};

static int blob_write(struct sink *to, const void *p, size_t n, struct err *err)
{
	struct blob *b = (struct blob *)to;
	int rc = fd_write_all(b->fd, p, n, err);

	if (rc < 0)
		return err_ctx(err, "write blob");
	hash_add(b->hash, p, n);
	b->size += n;
	return 0;
}

static int make_dir(struct store *st, struct err *err)
{
	int rc = fs_mkdir(st->store_fd, "blobs", 0700, err);

	return rc < 0 ? rc : fs_mkdir(st->store_fd, BLOB_DIR, 0700, err);
}

/* A file without a name, on the file system where it will get one. */
static int open_nameless(struct store *st, struct err *err)
{
	int fd, rc;

	for (int again = 0;; again = 1) {
		fd = openat(st->store_fd, BLOB_DIR, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT || again)
			return err_sys(err, "new blob");
		rc = make_dir(st, err);
		if (rc < 0)
			return rc;
	}
}

int store_blob_new(struct store *st, struct blob **ret, struct err *err)
{
	int fd = open_nameless(st, err);
	struct blob *b;

	if (fd < 0)
		return fd;
	b = mem_alloc(sizeof(*b));
	b->sink.write = blob_write;
	b->st = st;
	b->hash = hash_new();
	b->fd = fd;
	*ret = b;
	return 0;
}

void store_blob_free(struct blob *b)
{
	if (!b)
		return;
	fd_close(&b->fd);
	hash_free(b->hash);
	free(b);
}

void store_blob_cleanup(struct blob **b)
{
	int saved = errno;

	store_blob_free(*b);
	*b = NULL;
	errno = saved;
}

struct sink *store_blob_sink(struct blob *b)
{
	return &b->sink;
}

uint64_t store_blob_size(const struct blob *b)
{
	return b->size;
}

/* By its /proc name: AT_EMPTY_PATH would ask for CAP_DAC_READ_SEARCH. */
static int give_name(struct blob *b, const char *name)
{
	char self[FD_PATH_MAX];

	return linkat(AT_FDCWD, fd_path(b->fd, self), b->st->store_fd, name, AT_SYMLINK_FOLLOW);
}

/* A link cannot replace, so it takes a name of its own first and a rename does. */
static int replace(struct blob *b, const char *path, struct err *err)
{
	char tmp[sizeof(BLOB_DIR) + 32], random[17];

	proc_random_hex(random, 16);
	snprintf(tmp, sizeof(tmp), BLOB_DIR "/tmp.%s", random);
	if (give_name(b, tmp) < 0)
		return err_sys(err, "store blob");
	if (renameat(b->st->store_fd, tmp, b->st->store_fd, path) < 0) {
		int rc = err_sys(err, "store blob");

		unlinkat(b->st->store_fd, tmp, 0);
		return rc;
	}
	return 0;
}

/* One of the same name and size has the same bytes, and unlike ours may be on disk already. A crash
 * leaves files that are short. */
static bool is_stored(struct store *st, const struct digest *d, uint64_t size)
{
	struct stat sb;

	return fstatat(st->store_fd, BLOB_PATH(d), &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(sb.st_mode) && (uint64_t)sb.st_size == size;
}

int store_blob_commit(struct blob *b, const struct digest *want, struct digest *ret,
		      struct err *err)
{
	struct digest d;
	int rc = 0;

	fault_point("store.blob.written");
	hash_end(b->hash, &d);
	if (want && !digest_eq(want, &d))
		return err_set(err, EBADMSG, "digest is %s instead of %s", digest_str(&d),
			       digest_str(want));
	if (give_name(b, BLOB_PATH(&d)) < 0) {
		if (errno != EEXIST)
			rc = err_sys(err, "store blob");
		else if (!is_stored(b->st, &d, b->size))
			rc = replace(b, BLOB_PATH(&d), err);
	}
	fault_point("store.blob.named");
	if (rc >= 0 && ret)
		*ret = d;
	return rc;
}

int store_blob_adopt(struct store *st, int fd, int dir_fd, const char *name, const struct digest *d,
		     struct err *err)
{
	struct blob b = { .st = st, .fd = fd };
	int rc = make_dir(st, err);

	if (rc < 0)
		return rc;
	if (name)
		return renameat(dir_fd, name, st->store_fd, BLOB_PATH(d)) < 0
			       ? err_sys(err, "store blob")
			       : 0;
	if (give_name(&b, BLOB_PATH(d)) == 0)
		return 0;
	return errno == EEXIST ? replace(&b, BLOB_PATH(d), err) : err_sys(err, "store blob");
}

int store_blob_put(struct store *st, const void *p, size_t n, struct digest *ret, struct err *err)
{
	auto_blob struct blob *b = NULL;
	struct digest d;
	int rc;

	hash_bytes(p, n, &d);
	if (!is_stored(st, &d, n)) {
		rc = store_blob_new(st, &b, err);
		if (rc >= 0)
			rc = b->sink.write(&b->sink, p, n, err);
		if (rc >= 0)
			rc = store_blob_commit(b, &d, NULL, err);
		if (rc < 0)
			return rc;
	}
	if (ret)
		*ret = d;
	return 0;
}
