/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer side of save: named files go into a ustar stream or into a directory. Regular files
 * only, names of at most 99 bytes. In a tar the size of a file is known before its bytes, and
 * holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sink.h>

#include "priv.h"

enum { BLOCK = 512, BUFFER_BYTES = 256 << 10, NAME_BYTES = 100 };

static const uint64_t octal_max = 077777777777; /* 8 GiB - 1 */

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a tar header is one block");

struct image_archive {
	struct sink sink; /* first: the sink of the open file */
	int fd;           /* borrowed */
	bool is_dir;
	uid_t uid; /* is_dir: files belong to whom the directory belongs */
	gid_t gid;
	int64_t mtime_s;
	struct strv done;    /* names: one that is there is not written again */
	char *name;          /* of the open file */
	int dir_fd, file_fd; /* is_dir: a file has the name tmp until it is whole */
	char tmp[32];
	uint64_t size, left;
	char *buffer;
	size_t used;
};

static int flush(struct image_archive *a, struct err *err)
{
	int rc = a->used ? fd_write_all(a->fd, a->buffer, a->used, err) : 0;

	a->used = 0;
	return rc;
}

static int put(struct image_archive *a, const void *p, size_t n, struct err *err)
{
	int rc = 0;

	if (a->used + n > BUFFER_BYTES)
		rc = flush(a, err);
	if (rc >= 0 && n > BUFFER_BYTES)
		return fd_write_all(a->fd, p, n, err);
	if (rc >= 0 && n) {
		memcpy(a->buffer + a->used, p, n);
		a->used += n;
	}
	return rc;
}

static int on_bytes(struct sink *to, const void *p, size_t n, struct err *err)
{
	struct image_archive *a = (struct image_archive *)to;

	if (n > a->left)
		return err_set(err, EBADMSG,
			       "%s is longer than the %" PRIu64 " bytes it should have", a->name,
			       a->size);
	a->left -= n;
	return a->is_dir ? fd_write_all(a->file_fd, p, n, err) : put(a, p, n, err);
}

int image_archive_new(int fd, bool is_dir, int64_t mtime_s, struct image_archive **ret,
		      struct err *err)
{
	struct image_archive *a;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat output");
	if (is_dir && !S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "an OCI layout needs a directory");
	a = mem_alloc(sizeof(*a));
	a->sink.write = on_bytes;
	a->fd = fd;
	a->is_dir = is_dir;
	a->uid = st.st_uid;
	a->gid = st.st_gid;
	a->mtime_s = mtime_s > 0 ? mtime_s : 0;
	a->file_fd = a->dir_fd = -1;
	a->buffer = is_dir ? NULL : mem_alloc(BUFFER_BYTES);
	*ret = a;
	return 0;
}

void image_archive_cleanup(struct image_archive **pa)
{
	struct image_archive *a = *pa;

	*pa = NULL;
	if (!a)
		return;
	if (a->file_fd >= 0)
		unlinkat(a->dir_fd, a->tmp, 0);
	fd_close(&a->file_fd);
	fd_close(&a->dir_fd);
	strv_free(&a->done);
	free(a->name);
	free(a->buffer);
	free(a);
}

struct sink *image_archive_sink(struct image_archive *a)
{
	return &a->sink;
}

/* Above 8 GiB: GNU's base-256, which all readers know. */
static void put_size(char field[12], uint64_t v)
{
	if (v <= octal_max) {
		snprintf(field, 12, "%011" PRIo64, v);
		return;
	}
	memset(field, 0, 12);
	field[0] = (char)0x80;
	for (int i = 11; i > 3; i--, v >>= 8)
		field[i] = (char)(v & 0xff);
}

static int put_header(struct image_archive *a, struct err *err)
{
	struct ustar h = { .type = '0', .magic = "ustar", .version = { '0', '0' } };
	unsigned sum = 0;

	snprintf(h.name, sizeof(h.name), "%s", a->name);
	snprintf(h.mode, sizeof(h.mode), "%07o", 0644);
	snprintf(h.uid, sizeof(h.uid), "%07o", 0);
	snprintf(h.gid, sizeof(h.gid), "%07o", 0);
	put_size(h.size, a->size);
	put_size(h.mtime, (uint64_t)a->mtime_s);
	memset(h.sum, ' ', sizeof(h.sum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((const unsigned char *)&h)[i];
	snprintf(h.sum, sizeof(h.sum), "%06o", sum);
	return put(a, &h, sizeof(h), err);
}

/* The user's directory may change under us: no symlink is followed in it. */
static int enter_dir(struct image_archive *a, int dir_fd, const char *name, int *ret,
		     struct err *err)
{
	bool is_new = mkdirat(dir_fd, name, 0755) == 0;
	int fd;

	if (!is_new && errno != EEXIST)
		return err_sys(err, "make directory %s", name);
	fd = fs_open_dir(dir_fd, name, err);
	if (fd < 0)
		return fd;
	*ret = fd;
	if (is_new && fchownat(fd, "", a->uid, a->gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "owner of %s", name);
	return 0;
}

static int open_parent(struct image_archive *a, struct err *err)
{
	auto_free char *copy = mem_str(a->name);
	char *part = copy, *slash;
	int rc = 0;

	fd_close(&a->dir_fd);
	a->dir_fd = fd_dup(a->fd);
	if (a->dir_fd < 0)
		return err_sys(err, "directory");
	for (; rc >= 0 && (slash = strchr(part, '/')); part = slash + 1) {
		auto_fd int sub = -1;

		*slash = 0;
		rc = enter_dir(a, a->dir_fd, part, &sub, err);
		if (rc < 0)
			return rc;
		fd_close(&a->dir_fd);
		a->dir_fd = fd_take(&sub);
	}
	return rc;
}

static int open_file(struct image_archive *a, struct err *err)
{
	char random[17];
	int rc = open_parent(a, err);

	if (rc < 0)
		return rc;
	proc_random_hex(random, 16);
	snprintf(a->tmp, sizeof(a->tmp), ".tmp-%s", random);
	a->file_fd = openat(a->dir_fd, a->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (a->file_fd < 0)
		return err_sys(err, "create %s", a->name);
	if (fchown(a->file_fd, a->uid, a->gid) < 0)
		return err_sys(err, "owner of %s", a->name);
	return 0;
}

int image_archive_begin(struct image_archive *a, const char *name, uint64_t size, struct err *err)
{
	if (strv_has(&a->done, name))
		return 0;
	if (strlen(name) >= NAME_BYTES)
		return err_set(err, EINVAL, "'%s' is too long a name for an archive", name);
	strv_add(&a->done, name);
	free(a->name);
	a->name = mem_str(name);
	a->size = a->left = size;
	if (a->is_dir ? open_file(a, err) < 0 : put_header(a, err) < 0)
		return -err->code;
	return 1;
}

/* The name appears when the file is whole: another may read the layout. */
static int name_file(struct image_archive *a, struct err *err)
{
	fault_point("image.save.file");
	if (renameat(a->dir_fd, a->tmp, a->dir_fd, path_base(a->name)) < 0)
		return err_sys(err, "create %s", a->name);
	fd_close(&a->file_fd);
	return 0;
}

int image_archive_end(struct image_archive *a, struct err *err)
{
	static const char zeros[BLOCK];

	if (a->left)
		return err_set(err, EBADMSG, "%s is %" PRIu64 " bytes short", a->name, a->left);
	if (a->is_dir)
		return name_file(a, err);
	return put(a, zeros, (BLOCK - a->size % BLOCK) % BLOCK, err);
}

int image_archive_add(struct image_archive *a, const char *name, const void *p, size_t n,
		      struct err *err)
{
	int rc = image_archive_begin(a, name, n, err);

	if (rc <= 0)
		return rc;
	rc = on_bytes(&a->sink, p, n, err);
	return rc < 0 ? rc : image_archive_end(a, err);
}

int image_archive_finish(struct image_archive *a, struct err *err)
{
	static const char zeros[2 * BLOCK];
	int rc;

	if (a->is_dir)
		return 0;
	rc = put(a, zeros, sizeof(zeros), err);
	return rc < 0 ? rc : flush(a, err);
}
