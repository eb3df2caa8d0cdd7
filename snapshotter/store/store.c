/* SPDX-License-Identifier: Apache-2.0 */
/* The handle and what reads blobs. Nothing here may need libcrypto: the program that starts
 * containers links this file. */
#include <shale/store.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

#include "priv.h"

int store_open(struct db *db, int store_fd, struct store **ret, struct err *err)
{
	struct store *st = mem_alloc(sizeof(*st));

	(void)err;
	st->db = db;
	st->store_fd = store_fd;
	*ret = st;
	return 0;
}

void store_close(struct store *st)
{
	free(st);
}

/* A digest is 32 bytes by the time it comes here: no text of anybody's becomes part of a path. */
const char *store_blob_path(char buf[BLOB_PATH_MAX], const struct digest *d)
{
	snprintf(buf, BLOB_PATH_MAX, BLOB_DIR "/%s", digest_hex(d));
	return buf;
}

int store_blob_open(struct store *st, const struct digest *d, int *ret_fd, struct err *err)
{
	int fd = openat(st->store_fd, BLOB_PATH(d), O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open blob %s", digest_str(d));
	*ret_fd = fd;
	return 0;
}

bool store_blob_exists(struct store *st, const struct digest *d)
{
	return faccessat(st->store_fd, BLOB_PATH(d), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_blob_remove(struct store *st, const struct digest *d, struct err *err)
{
	if (unlinkat(st->store_fd, BLOB_PATH(d), 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove blob %s", digest_str(d));
	fault_point("store.blob.removed");
	return 0;
}

int store_blob_walk(struct store *st, store_blob_fn *fn, void *arg, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc;

	if (faccessat(st->store_fd, BLOB_DIR, F_OK, 0) < 0 && errno == ENOENT)
		return 0; /* none was ever written */
	rc = fs_list(st->store_fd, BLOB_DIR, &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		struct blob_info info;
		struct stat sb;

		if (digest_parse_hex(names.v[i], &info.digest) < 0)
			continue;
		if (fstatat(st->store_fd, BLOB_PATH(&info.digest), &sb, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* removed meanwhile */
		info.size_bytes = (uint64_t)sb.st_size;
		info.mtime_s = sb.st_mtim.tv_sec;
		rc = fn(&info, arg, err);
	}
	return rc < 0 ? rc : 0;
}
