/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of an archive to one thing on disk, beneath a directory fd, the last component never
 * followed. The order is create, data, chown, chmod, xattrs, times: writing and chown take
 * capabilities and setuid bits away; chmod would change an ACL's mask, which libarchive's headers
 * do not have in the mode.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "priv.h"

enum { HOLE_BLOCK = 4096, ASK_BYTES = 16 << 20 };

static int clear_way(struct layer_apply *a, const char *name, struct err *err)
{
	int rc = fs_remove_tree(a->dir_fd, name, err);

	if (a->o->memo)
		layer_memo_void(a->o->memo);
	/* What was removed may have been on the way to the cached directory: look it up anew. */
	a->is_stale = true;
	return rc;
}

/* fd may be O_PATH. */
static int set_xattrs(struct layer_apply *a, int fd, const struct layer_entry *e, struct err *err)
{
	bool takes_user = e->kind == LAYER_FILE || e->kind == LAYER_DIR;
	const char *name;
	const void *value;
	uint32_t len;
	size_t at = 0;

	while (layer_attrs_next(e->xattrs.s, e->xattrs.len, &at, &name, &value, &len)) {
		char cap[64];
		int rc;

		/* Not trusted.*, nor user.overlay.*: crafted ones would read any file of a layer
		 * beneath (TRAPS a). */
		if (!layer_attr_is_kept(name) || (!takes_user && str_starts(name, "user.")))
			continue;
		if (!strcmp(name, "security.capability") && len <= sizeof(cap)) {
			memcpy(cap, value, len);
			len = (uint32_t)layer_plain_capability(cap, len);
			value = cap;
		}
		rc = fs_xattr_set(fd, name, value, len, err);
		if (rc < 0)
			return rc;
		a->has_default_acl |= !strcmp(name, LAYER_ACL_DEFAULT);
	}
	return 0;
}

/* What an earlier entry of the same path had, and what a directory's default ACL gave to a new one.
 */
static int drop_xattrs(int fd, struct err *err)
{
	auto_free char *names = NULL;
	char path[FD_PATH_MAX];
	size_t len = 0;
	int rc = fs_xattr_list(fd, &names, &len, err);

	for (char *p = names; rc >= 0 && p < names + len; p += strlen(p) + 1)
		if (layer_attr_is_kept(p) && removexattr(fd_path(fd, path), p) < 0 &&
		    errno != ENODATA)
			rc = err_sys(err, "remove xattr %s", p);
	return rc;
}

static int replace_xattrs(struct layer_apply *a, int fd, const struct layer_entry *e, bool is_new,
			  struct err *err)
{
	int rc = is_new && !a->has_default_acl ? 0 : drop_xattrs(fd, err);

	return rc >= 0 && e->xattrs.len ? set_xattrs(a, fd, e, err) : rc;
}

int layer_write_attrs(struct layer_apply *a, int fd, const struct layer_entry *e, bool is_new,
		      struct err *err)
{
	const struct stat *st = &a->made;
	bool is_theirs, has_mode;

	if (is_new && fstat(fd, &a->made) < 0)
		return err_sys(err, "stat");
	/* Most belong to root, as what is made here does; a chown to the same costs as much. */
	is_theirs = is_new && st->st_uid == e->uid && st->st_gid == e->gid;
	/* A setuid bit is never there yet, and a chown takes none of the others. */
	has_mode = is_new && (st->st_mode & 07777) == e->mode;
	if (!is_theirs && fchown(fd, e->uid, e->gid) < 0)
		return err_sys(err, "chown");
	if (!has_mode && fchmod(fd, e->mode) < 0)
		return err_sys(err, "chmod");
	return replace_xattrs(a, fd, e, is_new, err);
}

static int set_time(int dir_fd, const char *name, int64_t mtime_s, struct err *err)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = mtime_s } };

	if (utimensat(dir_fd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "set time");
	return 0;
}

/* --- files --- */

static int pwrite_all(int fd, const char *p, size_t n, uint64_t at, struct err *err)
{
	while (n) {
		ssize_t k = pwrite(fd, p, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(err, "write");
		p += k;
		n -= (size_t)k;
		at += (uint64_t)k;
	}
	return 0;
}

static bool is_zero(const char *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* A layer's tar has zeros where the file has holes: blocks of zeros become holes again. *end is
 * where the last of the rest ends. */
static int write_blocks(int fd, const char *p, size_t n, uint64_t at, uint64_t *end,
			struct err *err)
{
	size_t from = 0, i = 0;
	int rc = 0;

	while (i < n && rc >= 0) {
		size_t k = HOLE_BLOCK - (at + i) % HOLE_BLOCK;

		k = k < n - i ? k : n - i;
		if (is_zero(p + i, k)) {
			rc = pwrite_all(fd, p + from, i - from, at + from, err);
			from = i + k;
		} else {
			*end = at + i + k;
		}
		i += k;
	}
	return rc < 0 ? rc : pwrite_all(fd, p + from, n - from, at + from, err);
}

/* Holes count: whoever reads the layer reads them. */
static int check_size(struct layer_apply *a, struct err *err)
{
	if (a->tar.e.size <= a->limit - a->bytes)
		return 0;
	if (a->limit == a->o->max_bytes)
		return err_set(err, EFBIG,
			       "the archive's content is larger than the limit of %" PRIu64
			       " bytes",
			       a->limit);
	return err_set(err, EFBIG, "the archive's content is larger than the free space");
}

/* n bytes were written, and left are still to come: others write as well, several layers maybe. */
static int check_room(struct layer_apply *a, int fd, uint64_t n, uint64_t left, struct err *err)
{
	struct statfs fs;

	if (a->o->stop && *a->o->stop)
		return err_set(err, EINTR, "interrupted");
	a->unasked += n;
	if (a->unasked < ASK_BYTES)
		return 0;
	a->unasked = 0;
	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, "free space");
	if (left / (uint64_t)fs.f_bsize > (uint64_t)fs.f_bavail)
		return err_set(err, EFBIG, "the archive's content is larger than the free space");
	return 0;
}

/* A sparse file's hash would be that of its holes as well: it is read again. */
static bool is_whole(const struct layer_entry *e)
{
	return e->n_parts == 1 && e->parts[0].at == 0 && e->parts[0].len == e->size;
}

static bool is_noted(const struct layer_apply *a)
{
	return a->o->memo && is_whole(&a->tar.e);
}

static void note_file(struct layer_apply *a)
{
	XXH128_hash_t h = XXH3_128bits_digest(a->xxh);
	uint64_t hash[2] = { h.low64, h.high64 };

	layer_memo_content(a->o->memo, hash);
	layer_memo_file(a->o->memo, &a->made, hash);
}

static int write_data(struct layer_apply *a, int fd, struct err *err)
{
	uint64_t at = 0, end = 0, size = a->tar.e.size;
	const void *p;
	ssize_t n;
	bool is_hashed = is_noted(a);
	int rc = check_size(a, err);

	if (rc < 0)
		return rc;
	a->bytes += size;
	if (is_hashed)
		XXH3_128bits_reset(a->xxh);
	while ((n = layer_untar_data(&a->tar, &p, &at, err)) > 0) {
		a->stored += (uint64_t)n;
		if (is_hashed)
			XXH3_128bits_update(a->xxh, p, (size_t)n);
		rc = write_blocks(fd, p, (size_t)n, at, &end, err);
		if (rc >= 0)
			rc = check_room(a, fd, (uint64_t)n, size - at - (uint64_t)n, err);
		if (rc < 0)
			return rc;
	}
	if (n < 0)
		return (int)n;
	if (end < size && ftruncate(fd, (off_t)size) < 0)
		return err_sys(err, "truncate");
	return 0;
}

static int create(struct layer_apply *a, const char *name, struct err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	mode_t mode = a->tar.e.mode & 0777; /* no setuid bit while it is written */
	int fd = openat(a->dir_fd, name, flags, mode), rc;

	if (fd < 0 && errno == EEXIST) {
		rc = clear_way(a, name, err);
		if (rc < 0)
			return rc;
		fd = openat(a->dir_fd, name, flags, mode);
	}
	return fd < 0 ? err_sys(err, "create") : fd;
}

static int write_file(struct layer_apply *a, const char *name, struct err *err)
{
	auto_fd int fd = create(a, name, err);
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = a->tar.e.mtime_s } };
	int rc = fd < 0 ? fd : write_data(a, fd, err);

	if (rc >= 0)
		rc = layer_write_attrs(a, fd, &a->tar.e, true, err);
	if (rc >= 0 && is_noted(a))
		note_file(a);
	if (rc >= 0 && futimens(fd, ts) < 0)
		rc = err_sys(err, "set time");
	return rc;
}

/* --- directories --- */

/* 1 when it was there, 0 when it was made. is_replaced: it took the place of something else. */
static int make_dir(struct layer_apply *a, const char *name, bool *is_replaced, struct err *err)
{
	struct stat st;
	int rc;

	*is_replaced = false;
	if (mkdirat(a->dir_fd, name, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(err, "make directory");
	if (fstatat(a->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat");
	if (S_ISDIR(st.st_mode))
		return 1;
	rc = clear_way(a, name, err);
	if (rc < 0)
		return rc;
	*is_replaced = true;
	return mkdirat(a->dir_fd, name, 0700) < 0 ? err_sys(err, "make directory") : 0;
}

static int write_dir(struct layer_apply *a, const char *name, struct err *err)
{
	auto_fd int fd = -1;
	bool is_replaced;
	int rc = make_dir(a, name, &is_replaced, err), was_there = rc;

	if (rc < 0)
		return rc;
	fd = openat(a->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open directory");
	/* A whiteout or a file in its place hid the parent's directory: it stays hidden. */
	if (is_replaced)
		rc = layer_set_opaque(fd, err);
	if (rc >= 0)
		rc = layer_write_attrs(a, fd, &a->tar.e, !was_there, err);
	if (rc >= 0)
		layer_time_add(a, a->path.s, a->tar.e.mtime_s);
	return rc;
}

/* --- the rest --- */

static int write_symlink(struct layer_apply *a, const char *name, struct err *err)
{
	const struct layer_entry *e = &a->tar.e;
	int rc = 0;

	if (!e->target.len)
		return err_set(err, EBADMSG, "a symlink without target");
	if (symlinkat(e->target.s, a->dir_fd, name) < 0) {
		rc = errno == EEXIST ? clear_way(a, name, err) : err_sys(err, "symlink");
		if (rc >= 0 && symlinkat(e->target.s, a->dir_fd, name) < 0)
			rc = err_sys(err, "symlink");
	}
	if (rc < 0)
		return rc;
	if (fchownat(a->dir_fd, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "chown");
	if (e->xattrs.len) {
		auto_fd int fd = openat(a->dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		rc = fd < 0 ? err_sys(err, "open symlink") : set_xattrs(a, fd, e, err);
	}
	return rc < 0 ? rc : set_time(a->dir_fd, name, e->mtime_s, err);
}

struct target {
	int dir_fd;
	const char *base;
	struct stat st;
};

static void target_free(struct target *t)
{
	fd_close(&t->dir_fd);
}
#define auto_target cleanup(target_free)

/* As a chrooted process would find it, its last component not followed: a link to a symlink links
 * that. */
static int look_up(struct layer_apply *a, struct target *t)
{
	char *slash = strrchr(a->target.s, '/');

	t->base = slash ? slash + 1 : a->target.s;
	if (slash)
		*slash = 0;
	fd_close(&t->dir_fd);
	t->dir_fd = path_try_in(a->root_fd, slash ? a->target.s : "", O_PATH | O_DIRECTORY, 0);
	if (slash)
		*slash = '/';
	return t->dir_fd < 0 ? -1 : fstatat(t->dir_fd, t->base, &t->st, AT_SYMLINK_NOFOLLOW);
}

/* 1 found, 0 it was dropped, and the link is too. */
static int find_target(struct layer_apply *a, struct target *t, struct err *err)
{
	int rc = layer_clean(&a->tar.e.target, &a->target, err);

	if (rc < 0)
		return rc;
	if (look_up(a, t) < 0) {
		if (errno != ENOENT)
			return err_sys(err, "link to %.200s", a->target.s);
		if (layer_is_dropped(a, a->target.s))
			return layer_drop(a, a->path.s, err);
		rc = layer_copy_up(a, a->target.s, err);
		if (rc < 0)
			return rc;
		if (look_up(a, t) < 0)
			return err_sys(err, "link to %.200s", a->target.s);
	}
	if (S_ISDIR(t->st.st_mode) || layer_is_whiteout(&t->st))
		return err_set(err, EPERM, "link to %.200s, which is no file", a->target.s);
	return 1;
}

static int write_hardlink(struct layer_apply *a, const char *name, struct err *err)
{
	auto_target struct target t = { .dir_fd = -1 };
	struct stat here;
	int rc = find_target(a, &t, err);

	if (rc <= 0)
		return rc;
	if (linkat(t.dir_fd, t.base, a->dir_fd, name, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(err, "link to %.200s", a->target.s);
	/* A link to itself must not take the only name away. */
	if (fstatat(a->dir_fd, name, &here, AT_SYMLINK_NOFOLLOW) == 0 &&
	    here.st_ino == t.st.st_ino && here.st_dev == t.st.st_dev)
		return 0;
	rc = clear_way(a, name, err);
	if (rc >= 0 && linkat(t.dir_fd, t.base, a->dir_fd, name, 0) < 0)
		rc = err_sys(err, "link to %.200s", a->target.s);
	return rc;
}

static int write_node(struct layer_apply *a, const char *name, struct err *err)
{
	const struct layer_entry *e = &a->tar.e;
	mode_t type = e->kind == LAYER_FIFO ? S_IFIFO : e->kind == LAYER_CHAR ? S_IFCHR : S_IFBLK;
	dev_t dev = e->kind == LAYER_FIFO ? 0 : makedev(e->major, e->minor);
	auto_fd int fd = -1;
	char path[FD_PATH_MAX];
	struct stat st;
	int rc = 0;

	if (mknodat(a->dir_fd, name, type | 0600, dev) < 0) {
		rc = errno == EEXIST ? clear_way(a, name, err) : err_sys(err, "make node");
		if (rc >= 0 && mknodat(a->dir_fd, name, type | 0600, dev) < 0)
			rc = err_sys(err, "make node");
	}
	if (rc < 0)
		return rc;
	/* chmod has no form that does not follow: through the inode that was made and no other. */
	fd = openat(a->dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open node");
	if ((st.st_mode & S_IFMT) != type)
		return err_set(err, EPERM, "another thing is in its place");
	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "chown");
	if (chmod(fd_path(fd, path), e->mode) < 0)
		return err_sys(err, "chmod");
	rc = replace_xattrs(a, fd, e, true, err);
	return rc < 0 ? rc : set_time(a->dir_fd, name, e->mtime_s, err);
}

int layer_write(struct layer_apply *a, const char *name, struct err *err)
{
	switch (a->tar.e.kind) {
	case LAYER_FILE:
		return write_file(a, name, err);
	case LAYER_DIR:
		return write_dir(a, name, err);
	case LAYER_SYMLINK:
		return write_symlink(a, name, err);
	case LAYER_HARDLINK:
		return write_hardlink(a, name, err);
	default:
		return write_node(a, name, err);
	}
}
