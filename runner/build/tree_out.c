/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stage's tree into a directory of the user's, who may be changing it meanwhile: every step is
 * taken beneath the fd of the destination, through no symlink, and what is made new gets an owner
 * by its fd only.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { PERMISSIONS = 0777, STICKY = S_ISVTX };

struct made_dir {
	char *path; /* "" is the destination */
	bool is_new;
	mode_t mode;
	struct timespec mtime;
};

struct linked {
	dev_t dev, made_dev;
	ino_t ino, made_ino;
	char *path;
};

struct out {
	int from_fd, to_fd;
	const struct build_owner *owner;
	struct made_dir *dirs; /* those still to be entered are behind at */
	size_t n, cap, at;
	void *links; /* of tsearch: struct linked by dev and ino */
	size_t left_out;
};

/* The entry at hand. */
struct tree_entry {
	int from_dir, to_dir;
	const char *name, *path;
	struct stat st;
	char tmp[32];
};

static int by_inode(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev == y->dev ? 0 : x->dev < y->dev ? -1 : 1;
}

static void linked_free(void *p)
{
	struct linked *l = p;

	free(l->path);
	free(l);
}

static void out_free(struct out *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->dirs[i].path);
	free(t->dirs);
	tdestroy(t->links, linked_free);
}

static int open_sub(int root_fd, const char *path, int flags, struct err *err)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = sys_openat2(root_fd, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? err_sys(err, "open %s", path) : fd;
}

/* Under its final name at once: what had that name stays until then. */
static int place(const struct tree_entry *e, struct err *err)
{
	int rc;

	if (renameat(e->to_dir, e->tmp, e->to_dir, e->name) == 0)
		return 0;
	rc = errno == EISDIR ? err_set(err, EISDIR, "%s is a directory at the destination", e->path)
			     : err_sys(err, "write %s", e->path);
	unlinkat(e->to_dir, e->tmp, 0);
	return rc;
}

/* Only the user's own: others speak of the owner or of the kernel that was. */
static int copy_xattrs(int from_fd, int to_fd, struct err *err)
{
	auto_free char *names = NULL;
	size_t len = 0;
	int rc = fs_xattr_list(from_fd, &names, &len, err);

	for (const char *at = names; rc >= 0 && at && at < names + len; at += strlen(at) + 1) {
		auto_free char *value = NULL;
		size_t n = 0;

		if (!str_starts(at, "user."))
			continue;
		rc = fs_xattr_get(from_fd, at, &value, &n, err);
		if (rc >= 0)
			rc = fs_xattr_set(to_fd, at, value, n, err);
		/* Where the destination cannot have any. */
		if (rc == -EOPNOTSUPP) {
			err_clear(err);
			return 0;
		}
	}
	return rc;
}

static int finish_fd(const struct out *t, int fd, const struct tree_entry *e, struct err *err)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, e->st.st_mtim };

	if (fchown(fd, t->owner->uid, t->owner->gid) < 0 ||
	    fchmod(fd, e->st.st_mode & PERMISSIONS) < 0 || futimens(fd, ts) < 0)
		return err_sys(err, "attributes of %s", e->path);
	return 0;
}

static void remember(struct out *t, const struct tree_entry *e, int fd)
{
	struct linked *l;
	struct stat made;
	void *found;

	if (e->st.st_nlink < 2 || fstat(fd, &made) < 0)
		return;
	l = mem_alloc(sizeof(*l));
	*l = (struct linked){ .dev = e->st.st_dev,
			      .ino = e->st.st_ino,
			      .made_dev = made.st_dev,
			      .made_ino = made.st_ino,
			      .path = mem_str(e->path) };
	found = tsearch(l, &t->links, by_inode);
	if (!found || *(struct linked **)found != l)
		linked_free(l);
}

/* 1 when it was linked; 0 when it has to be copied. */
static int try_link(struct out *t, const struct tree_entry *e, struct err *err)
{
	struct linked key = { .dev = e->st.st_dev, .ino = e->st.st_ino };
	struct linked **l = e->st.st_nlink > 1 ? tfind(&key, &t->links, by_inode) : NULL;
	auto_fd int fd = -1;
	struct stat st;
	int rc;

	if (!l)
		return 0;
	fd = open_sub(t->to_fd, (*l)->path, O_PATH, err);
	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0 || st.st_ino != (*l)->made_ino || st.st_dev != (*l)->made_dev)
		return err_set(err, EBUSY, "%s was changed while it was written", (*l)->path);
	if (linkat(fd, "", e->to_dir, e->tmp, AT_EMPTY_PATH) < 0)
		return 0;
	rc = place(e, err);
	/* A rename of one name of a file to another of it does nothing. */
	if (rc >= 0)
		unlinkat(e->to_dir, e->tmp, 0);
	return rc < 0 ? rc : 1;
}

static int write_file(struct out *t, const struct tree_entry *e, struct err *err)
{
	auto_fd int from = -1, to = -1;
	int rc = try_link(t, e, err);

	if (rc)
		return rc < 0 ? rc : 0;
	from = openat(e->from_dir, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0)
		return err_sys(err, "open %s", e->path);
	to = openat(e->to_dir, e->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, "create %s", e->path);
	rc = fs_copy_data(from, to, err);
	if (rc >= 0)
		rc = copy_xattrs(from, to, err);
	if (rc >= 0)
		rc = finish_fd(t, to, e, err);
	if (rc < 0) {
		unlinkat(e->to_dir, e->tmp, 0);
		return err_ctx(err, "write %s", e->path);
	}
	remember(t, e, to);
	return place(e, err);
}

/* A symlink or a FIFO, by an fd: under its name something else may stand by now. */
static int give_special(const struct out *t, const struct tree_entry *e, struct err *err)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, e->st.st_mtim };
	auto_fd int fd = openat(e->to_dir, e->tmp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open %s", e->path);
	if ((st.st_mode ^ e->st.st_mode) & S_IFMT)
		return err_set(err, EBUSY, "%s was changed while it was written", e->path);
	if (fchownat(fd, "", t->owner->uid, t->owner->gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "owner of %s", e->path);
	utimensat(e->to_dir, e->tmp, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int write_special(struct out *t, const struct tree_entry *e, struct err *err)
{
	char target[PATH_MAX + 1];
	ssize_t len = 0;
	int rc;

	if (S_ISLNK(e->st.st_mode)) {
		len = readlinkat(e->from_dir, e->name, target, PATH_MAX);
		if (len < 0)
			return err_sys(err, "read link %s", e->path);
		target[len] = 0;
		rc = symlinkat(target, e->to_dir, e->tmp);
	} else {
		rc = mknodat(e->to_dir, e->tmp, S_IFIFO | (e->st.st_mode & PERMISSIONS), 0);
	}
	if (rc < 0)
		return err_sys(err, "create %s", e->path);
	rc = give_special(t, e, err);
	if (rc < 0) {
		unlinkat(e->to_dir, e->tmp, 0);
		return rc;
	}
	return place(e, err);
}

static void add_dir(struct out *t, char *path, bool is_new, const struct stat *st)
{
	mem_room(t->dirs, t->n, t->cap);
	t->dirs[t->n++] = (struct made_dir){ .path = path,
					     .is_new = is_new,
					     .mode = st->st_mode & (PERMISSIONS | STICKY),
					     .mtime = st->st_mtim };
}

/* One that is there keeps owner and mode. Only an empty one is given away: a directory that was
 * moved to this name meanwhile may hold what the user must not have. */
static int write_dir(struct out *t, const struct tree_entry *e, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_fd int fd = -1;
	bool is_new = mkdirat(e->to_dir, e->name, 0700) == 0;
	struct stat st;
	int rc = 0;

	if (!is_new && errno == EEXIST &&
	    fstatat(e->to_dir, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)) {
		if (unlinkat(e->to_dir, e->name, 0) < 0)
			return err_sys(err, "remove %s", e->path);
		is_new = mkdirat(e->to_dir, e->name, 0700) == 0;
	}
	if (!is_new && errno != EEXIST)
		return err_sys(err, "make directory %s", e->path);
	fd = openat(e->to_dir, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open directory %s", e->path);
	if (is_new)
		rc = fs_list(fd, ".", &names, err);
	if (rc >= 0 && is_new && !names.n && fchown(fd, t->owner->uid, t->owner->gid) < 0)
		rc = err_sys(err, "owner of %s", e->path);
	if (rc < 0)
		return rc;
	add_dir(t, mem_str(e->path), is_new, &e->st);
	return 0;
}

static int write_entry(struct out *t, struct tree_entry *e, struct err *err)
{
	char random[17];

	if (fstatat(e->from_dir, e->name, &e->st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", e->path);
	proc_random_hex(random, 16);
	snprintf(e->tmp, sizeof(e->tmp), ".shale.%s", random);
	switch (e->st.st_mode & S_IFMT) {
	case S_IFREG:
		return write_file(t, e, err);
	case S_IFDIR:
		return write_dir(t, e, err);
	case S_IFLNK:
	case S_IFIFO:
		return write_special(t, e, err);
	default:
		t->left_out++;
		return 0;
	}
}

static int write_entries(struct out *t, const char *dir, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_fd int from = open_sub(t->from_fd, dir, O_RDONLY | O_DIRECTORY, err), to = -1;
	int rc;

	if (from < 0)
		return fd_take(&from);
	to = open_sub(t->to_fd, dir, O_RDONLY | O_DIRECTORY, err);
	if (to < 0)
		return fd_take(&to);
	rc = fs_list(from, ".", &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		auto_free char *path = mem_fmt("%s%s%s", dir, *dir ? "/" : "", names.v[i]);
		struct tree_entry e = { from, to, names.v[i], path };

		rc = write_entry(t, &e, err);
	}
	return rc;
}

/* From the deepest on: whatever is made in a directory changes its time. */
static int finish_dirs(struct out *t, struct err *err)
{
	for (size_t i = t->n; i-- > 0;) {
		const struct made_dir *d = &t->dirs[i];
		struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, d->mtime };
		auto_fd int fd = -1;
		struct stat st;

		if (!d->is_new)
			continue;
		fd = open_sub(t->to_fd, d->path, O_RDONLY | O_DIRECTORY, err);
		if (fd < 0)
			return fd_take(&fd);
		if (fstat(fd, &st) < 0 || st.st_uid != t->owner->uid)
			return err_set(err, EBUSY, "%s was changed while it was written", d->path);
		if (fchmod(fd, d->mode) < 0 || futimens(fd, ts) < 0)
			return err_sys(err, "attributes of %s", d->path);
	}
	return 0;
}

int build_tree_write(int root_fd, int dest_fd, const struct build_owner *owner,
		     size_t *ret_left_out, struct err *err)
{
	cleanup(out_free) struct out t = { .from_fd = root_fd, .to_fd = dest_fd, .owner = owner };
	int rc = 0;

	add_dir(&t, mem_str(""), false, &(struct stat){ 0 });
	for (; t.at < t.n && rc >= 0; t.at++) {
		auto_free char *dir = mem_str(t.dirs[t.at].path);

		rc = write_entries(&t, dir, err);
	}
	if (rc >= 0)
		rc = finish_dirs(&t, err);
	if (rc >= 0)
		*ret_left_out = t.left_out;
	return rc < 0 ? rc : 0;
}

int build_tree_tar(int root_fd, struct sink *to, struct err *err)
{
	struct layer_diff_opts o = { .to = to, .table_dir_fd = -1, .no_hash = true };
	struct layer_source src = { -1, -1, -1 };
	struct layer_info info;
	auto_fd int root = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_sys(err, "open the tree");
	src.upper_fd = root;
	return layer_diff(&src, &o, &info, err);
}
