/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or a tree from one place to another while a hostile process may change both: every object
 * is opened once, by its name in a directory that is held, never through a symlink, and what it is
 * is asked of the fd (TRAPS T1). Nothing of the container is run or loaded (T2, T3).
 */
#include <shale/container.h>

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum { DEPTH_MAX = 400, TRIES = 8, XATTRS_MAX = 64 << 10 };

/* What the kernel shows of itself is nobody's to copy: proc, sysfs, cgroups, devpts, mqueue. */
static const long kernels_own[] = { 0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x19800202 };

bool container_is_kernels(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kernels_own); i++)
		if (fs.f_type == kernels_own[i])
			return true;
	return false;
}

/* The object behind an O_PATH fd once more, for its content. /proc is the host's. */
static int reopen(int fd, int flags)
{
	char path[FD_PATH_MAX];

	return open(fd_path(fd, path), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static bool is_wanted(const char *xattr)
{
	return str_starts(xattr, "user.") || str_eq(xattr, "security.capability") ||
	       str_starts(xattr, "system.posix_acl_");
}

/* What the range does not have would be somebody else's on the host. */
static int map_id(const struct ids_range *to, const char *what, uint32_t inside, uint32_t *ret,
		  struct err *err)
{
	uint32_t base = to ? to->root : 0;

	if (base && inside >= to->count)
		return err_set(err, EINVAL, "%s %u is beyond the %u users of the container", what,
			       inside, to->count);
	*ret = base + inside;
	return 0;
}

static bool is_known(const struct ids_range *from, uint32_t id)
{
	return !from || !from->count || (id >= from->root && id - from->root < from->count);
}

/* The bytes of acl(5) as the kernel has them. Who is nobody's user where it comes from gets no
 * rights where it goes. */
static int map_acl(const struct container_copy *c, char *acl, size_t *len, struct err *err)
{
	enum { USER = 2, GROUP = 8 };
	struct posix_acl_xattr_entry e;
	size_t at = sizeof(struct posix_acl_xattr_header), to = at;

	for (; at + sizeof(e) <= *len; at += sizeof(e)) {
		uint32_t id;
		bool named;

		memcpy(&e, acl + at, sizeof(e));
		id = le32toh(e.e_id);
		named = le16toh(e.e_tag) == USER || le16toh(e.e_tag) == GROUP;
		if (named && !is_known(c->from, id))
			continue;
		if (named && map_id(c->to, "ACL: id", ids_inside(c->from, id), &id, err) < 0)
			return -err->code;
		e.e_id = htole32(id);
		memcpy(acl + to, &e, sizeof(e));
		to += sizeof(e);
	}
	*len = to;
	return 0;
}

static int copy_xattrs(const struct container_copy *c, int from, int to, struct err *err)
{
	auto_free char *names = NULL;
	size_t len = 0;
	int rc = fs_xattr_list(from, &names, &len, err);

	if (rc < 0 || len > XATTRS_MAX)
		return rc < 0 ? rc
			      : err_set(err, E2BIG, "more than %d bytes of attributes", XATTRS_MAX);
	for (size_t at = 0; rc >= 0 && at < len; at += strlen(names + at) + 1) {
		auto_free char *value = NULL;
		size_t n = 0;

		if (!is_wanted(names + at))
			continue;
		rc = fs_xattr_get(from, names + at, &value, &n, err);
		if (rc >= 0 && str_starts(names + at, "system.posix_acl_"))
			rc = map_acl(c, value, &n, err);
		if (rc >= 0)
			rc = fs_xattr_set(to, names + at, value, n, err);
		if (rc == -ENODATA || rc == -ENOTSUP) {
			err_clear(err);
			rc = 0;
		}
	}
	return rc;
}

static int set_owner(const struct container_copy *c, int to, const struct stat *st, struct err *err)
{
	uint32_t uid = c->archive ? ids_inside(c->from, st->st_uid) : c->uid;
	uint32_t gid = c->archive ? ids_inside(c->from, st->st_gid) : c->gid;

	if (map_id(c->to, "owner", uid, &uid, err) < 0 ||
	    map_id(c->to, "group", gid, &gid, err) < 0)
		return -err->code;
	return fchownat(to, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0
		       ? err_sys(err, "owner")
		       : 0;
}

/* The owner first: a change of it takes setuid bits and capabilities away. */
static int copy_attributes(struct container_copy *c, int from, int to, const struct stat *st,
			   struct err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };
	mode_t mode = st->st_mode & (c->keep_special ? 07777 : 01777);
	char path[FD_PATH_MAX];
	int rc = set_owner(c, to, st, err);

	if (rc >= 0 && c->archive && !S_ISLNK(st->st_mode))
		rc = copy_xattrs(c, from, to, err);
	if (rc < 0)
		return rc;
	if (!S_ISLNK(st->st_mode) && chmod(fd_path(to, path), mode) < 0)
		return err_sys(err, "mode");
	if (!S_ISLNK(st->st_mode) && utimensat(AT_FDCWD, fd_path(to, path), times, 0) < 0)
		return err_sys(err, "time");
	return 0;
}

/* --- files --- */

/* The name is free now, but not a directory's. */
static int make_room_for(int dir, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "%s", name);
	if (S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "%s: a directory cannot be replaced by something else",
			       name);
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, "replace %s", name);
	return 0;
}

/* A file that something is bound over cannot be replaced, but written to. */
static int open_bound(int dir, const char *name, struct err *err)
{
	auto_fd int fd = openat(
		dir, name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EBUSY, "%s is in use and cannot be replaced", name);
	return fd_take(&fd);
}

static int open_new(int dir, const char *name, struct err *err)
{
	for (int i = 0; i < TRIES; i++) {
		int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				0600);
		int rc;

		if (fd >= 0 || errno != EEXIST)
			return fd < 0 ? err_sys(err, "make %s", name) : fd;
		rc = make_room_for(dir, name, err);
		if (rc == -EBUSY) {
			err_clear(err);
			return open_bound(dir, name, err);
		}
		if (rc < 0)
			return rc;
	}
	return err_set(err, EBUSY, "%s comes and goes", name);
}

static int copy_file(struct container_copy *c, int from, const struct stat *st, int dir,
		     const char *name, struct err *err)
{
	auto_fd int in = reopen(from, O_RDONLY), out = -1;
	int rc;

	if (in < 0)
		return err_sys(err, "open %s", name);
	out = open_new(dir, name, err);
	if (out < 0)
		return out;
	fault_point("container.copy.made");
	rc = fs_copy_data(in, out, err);
	fault_point("container.copy.data");
	c->bytes += (uint64_t)st->st_size;
	return rc < 0 ? rc : copy_attributes(c, from, out, st, err);
}

/* --- links and special files --- */

static int copy_link(struct container_copy *c, int from, const struct stat *st, int dir,
		     const char *name, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, "", target, sizeof(target) - 1);
	auto_fd int made = -1;
	struct stat now;

	if (n < 0)
		return err_sys(err, "read the link %s", name);
	target[n] = 0;
	for (int i = 0; symlinkat(target, dir, name) < 0; i++) {
		if (errno != EEXIST || i == TRIES)
			return err_sys(err, "make %s", name);
		if (make_room_for(dir, name, err) < 0)
			return -err->code;
	}
	made = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (made < 0 || fstat(made, &now) < 0)
		return err_sys(err, "%s", name);
	if (!S_ISLNK(now.st_mode))
		return err_set(err, EBUSY, "%s was changed meanwhile", name);
	return copy_attributes(c, from, made, st, err);
}

static int copy_special(struct container_copy *c, int from, const struct stat *st, int dir,
			const char *name, struct err *err)
{
	auto_fd int made = -1;
	struct stat now;

	/* A device that a container made opens the host's; sockets mean nothing elsewhere. */
	if (S_ISSOCK(st->st_mode) || (!S_ISFIFO(st->st_mode) && !c->with_devices)) {
		c->skipped++;
		return 0;
	}
	if (make_room_for(dir, name, err) < 0)
		return -err->code;
	if (mknodat(dir, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
		return err_sys(err, "make %s", name);
	made = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (made < 0 || fstat(made, &now) < 0)
		return err_sys(err, "%s", name);
	if ((now.st_mode & S_IFMT) != (st->st_mode & S_IFMT) || now.st_rdev != st->st_rdev)
		return err_set(err, EBUSY, "%s was changed meanwhile", name);
	return copy_attributes(c, from, made, st, err);
}

/* --- directories --- */

static int copy_entries(struct container_copy *c, int from, dev_t dev, int to, struct err *err)
{
	int fd = reopen(from, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	dev_t before = c->dev;
	struct dirent *e;
	int rc = 0;

	if (!d) {
		rc = err_sys(err, "read a directory");
		fd_close(&fd);
		return rc;
	}
	c->dev = dev;
	c->depth++;
	while (rc >= 0 && (e = readdir(d))) {
		auto_fd int entry = -1;

		if (fs_is_dot(e->d_name))
			continue;
		entry = openat(from, e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (entry < 0 && errno == ENOENT)
			continue; /* gone since */
		rc = entry < 0 ? err_sys(err, "%s", e->d_name)
			       : container_copy_entry(c, entry, to, e->d_name, err);
		if (rc < 0)
			rc = err_ctx(err, "%s", e->d_name);
	}
	c->dev = before;
	c->depth--;
	closedir(d);
	return rc;
}

static int copy_dir(struct container_copy *c, int from, const struct stat *st, int dir,
		    const char *name, struct err *err)
{
	auto_fd int to = -1;
	bool is_new = mkdirat(dir, name, 0700) == 0;
	int rc;

	if (c->depth >= DEPTH_MAX)
		return err_set(err, ELOOP, "more than %d directories deep", DEPTH_MAX);
	if (!is_new && errno != EEXIST)
		return err_sys(err, "make %s", name);
	to = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return errno == ENOTDIR || errno == ELOOP
			       ? err_set(err, ENOTDIR,
					 "%s is there and no directory: it cannot become one", name)
			       : err_sys(err, "open %s", name);
	rc = copy_entries(c, from, st->st_dev, to, err);
	return rc < 0 || !is_new ? rc : copy_attributes(c, from, to, st, err);
}

int container_copy_entry(struct container_copy *c, int from, int dir, const char *name,
			 struct err *err)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return err_sys(err, "stat %s", name);
	if (c->dev && st.st_dev != c->dev && container_is_kernels(from))
		return 0;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return copy_file(c, from, &st, dir, name, err);
	case S_IFDIR:
		return copy_dir(c, from, &st, dir, name, err);
	case S_IFLNK:
		return copy_link(c, from, &st, dir, name, err);
	default:
		return copy_special(c, from, &st, dir, name, err);
	}
}

int container_copy_into(struct container_copy *c, int from, int to, struct err *err)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return err_sys(err, "stat");
	return copy_entries(c, from, st.st_dev, to, err);
}
