/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random changes to a tree of few names, so that they meet: most do something to what an earlier
 * one has made. Names are looked up beneath the root and links not followed.
 */
#include "prop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/capability.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

enum {
	DEPTH_MAX = 5,
	NAME_BYTES = 256,
	PATH_BYTES = DEPTH_MAX * NAME_BYTES,
	DATA_BYTES = 96 << 10
};

unsigned dice_roll(struct dice *d, unsigned n)
{
	d->x ^= d->x << 13;
	d->x ^= d->x >> 7;
	d->x ^= d->x << 17;
	return (unsigned)((d->x >> 11) % n);
}

static uint32_t any_id(struct dice *d)
{
	static const uint32_t ids[] = { 0, 0, 1, 1000, 65534, 2097151, 2097152, 4294967294u };

	return ids[dice_roll(d, ARRAY_LEN(ids))];
}

static const char *part(struct dice *d)
{
	static char longest[NAME_BYTES], middle[161];
	unsigned r = dice_roll(d, 40);

	if (!*longest) {
		memset(longest, 'L', sizeof(longest) - 1);
		memset(middle, 'm', sizeof(middle) - 1);
	}
	switch (r) {
	case 0:
		return longest;
	case 1:
		return middle;
	case 2:
		return "\xc3\xa9 \xe2\x82\xac";
	case 3:
		return "\xff\xfe\n\\";
	case 4:
		return "a-";
	default:
		return (const char *const[]){ "a", "b", "c", "d" }[r & 3];
	}
}

/* Something that is there, "" when nothing is. */
static void any_thing(int root, struct dice *d, bool is_dir, char buf[PATH_BYTES])
{
	auto_fd int at = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t len = 0;

	*buf = 0;
	for (unsigned depth = 0; depth < DEPTH_MAX && at >= 0; depth++) {
		auto_strv struct strv names = { 0 };
		struct err ignored;
		const char *name;
		int next;

		if (fs_list(at, ".", &names, &ignored) < 0 || !names.n)
			return;
		name = names.v[dice_roll(d, (unsigned)names.n)];
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && is_dir)
			return;
		len += (size_t)snprintf(buf + len, PATH_BYTES - len, "%s%s", len ? "/" : "", name);
		fd_close(&at);
		at = dice_roll(d, 2) ? next : -1;
		if (at != next)
			fd_close(&next);
	}
}

/* A name that may be new, most often in a directory that is there. */
static void any_path(int root, struct dice *d, char buf[PATH_BYTES])
{
	size_t n;

	any_thing(root, d, true, buf);
	n = strlen(buf);
	if (!dice_roll(d, 3))
		*buf = 0, n = 0;
	if (n + NAME_BYTES < PATH_BYTES)
		snprintf(buf + n, PATH_BYTES - n, "%s%s", n ? "/" : "", part(d));
}

/* For calls that have no *at form. */
static void proc_path(int root, const char *path, struct str *ret)
{
	str_reset(ret);
	str_addf(ret, "/proc/self/fd/%d/%s", root, path);
}

static int open_file(int root, const char *path, int flags)
{
	return openat(root, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0644);
}

static const void *any_data(struct dice *d, size_t n)
{
	static uint64_t buf[DATA_BYTES / sizeof(uint64_t)];
	uint64_t seed = dice_roll(d, 1 << 30) | 1;

	for (size_t i = 0; i * sizeof(*buf) < n; i++)
		buf[i] = seed * (i + 1) | 1;
	return buf;
}

/* --- operations: each does one thing with the one or two paths it is given --- */

struct op_args {
	int root;
	struct dice *d;
	const char *a, *b;
};

static int op_mkdir(const struct op_args *o)
{
	return mkdirat(o->root, o->a, 0700 | dice_roll(o->d, 0100));
}

static int op_create(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, O_CREAT | O_TRUNC);
	size_t n = dice_roll(o->d, 3) ? dice_roll(o->d, 600) : dice_roll(o->d, 20000);

	return fd < 0 ? -1 : (int)write(fd, any_data(o->d, n), n);
}

static int op_write(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, dice_roll(o->d, 4) ? 0 : O_CREAT);
	size_t n = 1 + dice_roll(o->d, DATA_BYTES);

	return fd < 0 ? -1 : (int)pwrite(fd, any_data(o->d, n), n, dice_roll(o->d, 30000));
}

static int op_append(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, O_APPEND);
	size_t n = dice_roll(o->d, 5000);

	return fd < 0 ? -1 : (int)write(fd, any_data(o->d, n), n);
}

static int op_sparse(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, O_CREAT);
	unsigned parts = 1 + dice_roll(o->d, 3);
	int rc = 0;

	for (unsigned i = 0; i < parts && fd >= 0 && rc >= 0; i++) {
		size_t n = 1 + dice_roll(o->d, 9000);

		rc = (int)pwrite(fd, any_data(o->d, n), n, dice_roll(o->d, 2 << 20));
	}
	if (fd >= 0 && dice_roll(o->d, 2))
		rc = ftruncate(fd, dice_roll(o->d, 3 << 20));
	return fd < 0 ? -1 : rc;
}

static int op_punch(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, 0);
	int mode = dice_roll(o->d, 3) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;

	return fd < 0 ? -1
		      : fallocate(fd, mode, dice_roll(o->d, 100000), 1 + dice_roll(o->d, 100000));
}

static int op_zeros(const struct op_args *o)
{
	static const char zeros[40000];
	auto_fd int fd = open_file(o->root, o->a, O_CREAT);

	return fd < 0 ? -1
		      : (int)pwrite(fd, zeros, 1 + dice_roll(o->d, sizeof(zeros)),
				    dice_roll(o->d, 9000));
}

static int op_truncate(const struct op_args *o)
{
	auto_fd int fd = open_file(o->root, o->a, 0);

	return fd < 0 ? -1 : ftruncate(fd, dice_roll(o->d, 12000));
}

static int op_unlink(const struct op_args *o)
{
	return unlinkat(o->root, o->a, 0);
}

static int op_remove(const struct op_args *o)
{
	struct err ignored;

	return fs_remove_tree(o->root, o->a, &ignored);
}

static int op_rename(const struct op_args *o)
{
	return renameat(o->root, o->a, o->root, o->b);
}

static int op_exchange(const struct op_args *o)
{
	return renameat2(o->root, o->a, o->root, o->b, RENAME_EXCHANGE);
}

static int op_there_and_back(const struct op_args *o)
{
	if (renameat2(o->root, o->a, o->root, o->b, RENAME_NOREPLACE) < 0)
		return -1;
	return renameat(o->root, o->b, o->root, o->a);
}

static int op_link(const struct op_args *o)
{
	struct stat st;

	/* GNU tar writes links of files and symlinks only. */
	if (o->d->for_tools && (fstatat(o->root, o->a, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
				(!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))))
		return -1;
	return linkat(o->root, o->a, o->root, o->b, 0);
}

static int op_symlink(const struct op_args *o)
{
	return symlinkat(o->b, o->root, o->a);
}

static int op_chmod(const struct op_args *o)
{
	struct stat st;

	if (fstatat(o->root, o->a, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISLNK(st.st_mode))
		return -1;
	return fchmodat(o->root, o->a, dice_roll(o->d, 010000) | 0400, 0);
}

static int op_chown(const struct op_args *o)
{
	return fchownat(o->root, o->a, any_id(o->d), any_id(o->d), AT_SYMLINK_NOFOLLOW);
}

/* chown to what it is: copied up, and setuid bits and capabilities are gone. */
static int op_touch_owner(const struct op_args *o)
{
	struct stat st;

	if (fstatat(o->root, o->a, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return fchownat(o->root, o->a, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
}

static int chown_tree(int dir, const char *name, uid_t uid, unsigned depth)
{
	auto_strv struct strv names = { 0 };
	auto_fd int fd = -1;
	struct err ignored;
	int rc = fchownat(dir, name, uid, uid, AT_SYMLINK_NOFOLLOW);

	fd = depth ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0 || fs_list(fd, ".", &names, &ignored) < 0)
		return rc;
	for (size_t i = 0; i < names.n; i++)
		rc = chown_tree(fd, names.v[i], uid, depth - 1);
	return rc;
}

static int op_chown_tree(const struct op_args *o)
{
	return chown_tree(o->root, o->a, any_id(o->d), 2 * DEPTH_MAX);
}

static int op_utimes(const struct op_args *o)
{
	static const int64_t seconds[] = { -7, 0, 1, 1000000000, 1700000000, 5000000000 };
	/* bsdtar writes no times before 1970 to GNU archives. */
	unsigned first = o->d->for_tools ? 1 : 0;
	struct timespec t = { .tv_sec =
				      seconds[first + dice_roll(o->d, ARRAY_LEN(seconds) - first)],
			      .tv_nsec = dice_roll(o->d, 2) ? 0 : dice_roll(o->d, 1000000000) };

	return utimensat(o->root, o->a, (struct timespec[2]){ t, t }, AT_SYMLINK_NOFOLLOW);
}

static int op_xattr(const struct op_args *o)
{
	static const char *const names[] = { "user.a",
					     "user.b",
					     "user.%25 x",
					     "user.overlay.x",
					     "trusted.t",
					     "security.ima",
					     "trusted.overlay.opaque",
					     "trusted.overlay.redirect",
					     "trusted.overlay.metacopy" };
	unsigned n_names = o->d->is_plain ? ARRAY_LEN(names) - 3 : ARRAY_LEN(names);
	unsigned which = dice_roll(o->d, n_names);
	/* GNU tar reads "%25" in a name as "%", bsdtar writes it for "%". */
	const char *name = o->d->for_tools && which == 2 ? "user.c" : names[which];
	auto_str struct str at = { 0 };
	size_t n = dice_roll(o->d, 3) ? dice_roll(o->d, 40) : dice_roll(o->d, 1500);

	if (o->d->for_tools && !n)
		n = 1;
	proc_path(o->root, o->a, &at);
	if (!dice_roll(o->d, 4))
		return lremovexattr(at.s, name);
	if (str_starts(name, "trusted.overlay."))
		return lsetxattr(at.s, name, "y", 1, 0);
	return lsetxattr(at.s, name, any_data(o->d, n), n, 0);
}

static int op_capability(const struct op_args *o)
{
	struct vfs_ns_cap_data v = {
		.magic_etc = VFS_CAP_REVISION_2 | (dice_roll(o->d, 2) ? VFS_CAP_FLAGS_EFFECTIVE : 0)
	};
	auto_str struct str at = { 0 };
	size_t n = XATTR_CAPS_SZ_2;

	v.data[0].permitted = 1u << dice_roll(o->d, 30);
	v.data[1].inheritable = dice_roll(o->d, 8);
	if (dice_roll(o->d, 2)) {
		v.magic_etc += VFS_CAP_REVISION_3 - VFS_CAP_REVISION_2;
		v.rootid = dice_roll(o->d, 2) ? 100000 : 0;
		n = XATTR_CAPS_SZ_3;
	}
	proc_path(o->root, o->a, &at);
	return lsetxattr(at.s, "security.capability", &v, n, 0);
}

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

static int op_acl(const struct op_args *o)
{
	const char *name =
		dice_roll(o->d, 2) ? "system.posix_acl_access" : "system.posix_acl_default";
	struct {
		uint32_t version;
		struct acl_entry e[6];
	} acl = { 2,
		  { { 1, 7, UINT32_MAX },
		    { 2, (uint16_t)dice_roll(o->d, 8), 1000 + dice_roll(o->d, 2) },
		    { 4, (uint16_t)dice_roll(o->d, 8), UINT32_MAX },
		    { 8, (uint16_t)dice_roll(o->d, 8), 5 },
		    { 16, (uint16_t)dice_roll(o->d, 8), UINT32_MAX },
		    { 32, (uint16_t)dice_roll(o->d, 8), UINT32_MAX } } };
	auto_str struct str at = { 0 };
	struct stat st;

	if (fstatat(o->root, o->a, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISLNK(st.st_mode))
		return -1;
	proc_path(o->root, o->a, &at);
	return dice_roll(o->d, 4) ? lsetxattr(at.s, name, &acl, sizeof(acl), 0)
				  : lremovexattr(at.s, name);
}

static int op_fifo(const struct op_args *o)
{
	return mknodat(o->root, o->a, S_IFIFO | dice_roll(o->d, 01000), 0);
}

static int op_device(const struct op_args *o)
{
	return mknodat(o->root, o->a,
		       (dice_roll(o->d, 2) ? S_IFCHR : S_IFBLK) | dice_roll(o->d, 01000),
		       makedev(1 + dice_roll(o->d, 4094),
			       dice_roll(o->d, o->d->for_tools ? 1 << 18 : 1 << 20)));
}

static int op_socket(const struct op_args *o)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	auto_fd int fd = -1;

	if (o->d->for_tools || snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s",
					o->root, o->a) >= (int)sizeof(a.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static int op_file_to_dir(const struct op_args *o)
{
	struct err ignored;
	auto_str struct str sub = { 0 };
	int rc = fs_remove_tree(o->root, o->a, &ignored);

	if (rc < 0 || mkdirat(o->root, o->a, 0755) < 0)
		return -1;
	str_addf(&sub, "%s/%s", o->a, part(o->d));
	return op_create(&(struct op_args){ o->root, o->d, sub.s, NULL });
}

static int op_dir_to_file(const struct op_args *o)
{
	struct err ignored;

	return fs_remove_tree(o->root, o->a, &ignored) < 0 ? -1 : op_create(o);
}

static const struct op {
	const char *name;
	int (*fn)(const struct op_args *o);
	unsigned weight;
	bool is_new; /* its first name need not be there */
} ops[] = {
	{ "mkdir", op_mkdir, 8, true },
	{ "create", op_create, 8, true },
	{ "write", op_write, 3 },
	{ "append", op_append, 2 },
	{ "sparse", op_sparse, 2, true },
	{ "punch", op_punch, 1 },
	{ "zeros", op_zeros, 1 },
	{ "truncate", op_truncate, 1 },
	{ "unlink", op_unlink, 3 },
	{ "rm -r", op_remove, 2 },
	{ "rename", op_rename, 9 },
	{ "exchange", op_exchange, 3 },
	{ "back", op_there_and_back, 2 },
	{ "link", op_link, 6 },
	{ "symlink", op_symlink, 3, true },
	{ "chmod", op_chmod, 3 },
	{ "chown", op_chown, 3 },
	{ "chown same", op_touch_owner, 2 },
	{ "chown -R", op_chown_tree, 2 },
	{ "utimes", op_utimes, 3 },
	{ "xattr", op_xattr, 4 },
	{ "setcap", op_capability, 2 },
	{ "setfacl", op_acl, 3 },
	{ "mkfifo", op_fifo, 1, true },
	{ "mknod", op_device, 2, true },
	{ "socket", op_socket, 1, true },
	{ "file to dir", op_file_to_dir, 2 },
	{ "dir to file", op_dir_to_file, 2 },
};

static const struct op *any_op(struct dice *d)
{
	unsigned all = 0, r;

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		all += ops[i].weight;
	r = dice_roll(d, all);
	for (size_t i = 0;; i++) {
		if (r < ops[i].weight)
			return &ops[i];
		r -= ops[i].weight;
	}
}

static void any_paths(int root, struct dice *d, bool is_new, char a[PATH_BYTES], char b[PATH_BYTES])
{
	any_thing(root, d, false, a);
	any_thing(root, d, false, b);
	if (is_new || !*a || !dice_roll(d, 5))
		any_path(root, d, a);
	if (!*b || dice_roll(d, 2))
		any_path(root, d, b);
}

static void note(struct dice *d, const struct op *op, const char *a, const char *b, int code)
{
	if (d->log)
		str_addf(d->log, "%s %.60s %.60s%s%s\n", op->name, a, b, code ? ": " : "",
			 code ? strerror(code) : "");
}

int ops_run(int root, struct dice *d, unsigned n, struct err *err)
{
	char a[PATH_BYTES], b[PATH_BYTES];

	for (unsigned i = 0; i < n; i++) {
		const struct op *op = any_op(d);
		int code;

		any_paths(root, d, op->is_new, a, b);
		errno = 0;
		code = op->fn(&(struct op_args){ root, d, a, b }) < 0 ? errno : 0;
		note(d, op, a, b, code);
		/* These are not the sequence's doing. */
		if (code == ENOSPC || code == EIO || code == EROFS || code == EMFILE)
			return err_errno(err, code, "%s %.100s", op->name, a);
	}
	return 0;
}
