/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY and ADD, the side that writes: into a mounted snapshot, every path resolved beneath its root
 * fd as a chrooted process would, so that neither the image's symlinks nor a race leave it (TRAPS
 * T1, T6).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/sandbox.h>

#include "fresh.h"

enum { HARDLINKS_MAX = 100000 };

struct made {
	char *path; /* a directory made here: it gets its times when all its entries stand */
	int64_t mtime_s;
};

/* A source with several names, and where it stands now. */
struct linked {
	uint64_t dev, ino;
	uint64_t made; /* its inode here */
	char *path;    /* NULL: this place of the table is free */
};

struct writer {
	struct copy_job *j;
	const struct copy_item *item;
	int root_fd;
	uint32_t uid, gid;
	bool own;      /* uid and gid replace the source's */
	mode_t mkdirs; /* mode of directories that are made on the way */
	int dir_fd;    /* the directory written last, and its path */
	char *dir;
	struct made *made;
	size_t n_made, cap_made;
	struct fresh *fresh;
	pthread_mutex_t lock;  /* of j->changed */
	struct linked *linked; /* a hash table of cap_linked places */
	size_t n_linked, cap_linked;
};

static void linked_forget(struct writer *w)
{
	for (size_t i = 0; i < w->cap_linked; i++) {
		free(w->linked[i].path);
		w->linked[i].path = NULL;
	}
	w->n_linked = 0;
}

static void writer_cleanup(struct writer *w)
{
	fd_close(&w->dir_fd);
	free(w->dir);
	for (size_t i = 0; i < w->n_made; i++)
		free(w->made[i].path);
	linked_forget(w);
	free(w->made);
	free(w->linked);
	fresh_free(w->fresh);
	pthread_mutex_destroy(&w->lock);
}

/* The directory of path inside the root, made where it is missing; the last one is remembered. */
static int enter(struct writer *w, const char *path, struct err *err)
{
	const struct path_new n = { w->mkdirs, w->uid, w->gid };
	int fd;

	if (w->dir && !strcmp(w->dir, path))
		return w->dir_fd;
	fd = path_mkdirs_in(w->root_fd, path, &n, err);
	if (fd < 0)
		return fd;
	fd_close(&w->dir_fd);
	free(w->dir);
	w->dir_fd = fd;
	w->dir = mem_str(path);
	return fd;
}

static int source_open(struct writer *w, const struct context_file *f, struct err *err)
{
	auto_fd int fd = path_open_beneath(context_fd(w->item->from), f->path,
					   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, err);
	struct stat st;

	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", f->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s changed while it was copied", f->path);
	return fd_take(&fd);
}

/* After it was read: whether it is still what the key was made of. */
static void note_change(struct writer *w, int fd, const struct context_file *f)
{
	if (context_is_same(w->item->from, fd, f))
		return;
	pthread_mutex_lock(&w->lock);
	if (!w->j->changed)
		w->j->changed = mem_str(f->path);
	pthread_mutex_unlock(&w->lock);
}

/* user.* and file capabilities go along, as with BuildKit. */
bool copy_keeps_xattr(const char *name)
{
	return (str_starts(name, "user.") && !str_starts(name, "user.overlay.")) ||
	       !strcmp(name, "security.capability");
}

/* Ownership first, since chown clears capabilities. */
static int copy_xattrs(int from_fd, int to_fd, struct err *err)
{
	auto_free char *names = NULL;
	size_t len;
	int rc = fs_xattr_list(from_fd, &names, &len, err);

	for (const char *n = names; rc >= 0 && n < names + len; n += strlen(n) + 1) {
		auto_free char *value = NULL;
		size_t size;

		if (!copy_keeps_xattr(n))
			continue;
		rc = fs_xattr_get(from_fd, n, &value, &size, err);
		if (rc >= 0)
			rc = fs_xattr_set(to_fd, n, value, size, err);
	}
	return rc < 0 ? rc : 0;
}

static int final_mode(struct writer *w, const struct context_file *f, uint32_t *ret,
		      struct err *err)
{
	uint32_t mode = f->mode & 07777;

	if (w->j->chmod && chmod_apply(w->j->chmod, mode, S_ISDIR(f->mode), &mode) < 0)
		return err_set(err, EINVAL, "--chmod=%s: want an octal or symbolic mode",
			       w->j->chmod);
	*ret = mode;
	return 0;
}

static struct timespec seconds(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000 };
}

static uint32_t owner(const struct writer *w, uint32_t own, uint32_t source)
{
	return w->own || !w->item->is_owned ? own : source;
}

/* Makes way for a new entry: a directory is never replaced by something else. */
static int clear_way(struct writer *w, int dir_fd, const char *name, struct err *err)
{
	if (unlinkat(dir_fd, name, 0) == 0) {
		/* Perhaps what an earlier source wrote, and its inode's number is free again. */
		if (w->item != w->j->items)
			linked_forget(w);
		return 0;
	}
	if (errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return err_set(err, EISDIR,
			       "%s is a directory in the image and no directory in the source",
			       name);
	return err_sys(err, "replace %s", name);
}

static int finish_file(struct writer *w, int from_fd, int to_fd, const struct context_file *f,
		       const struct fresh_at *at, struct err *err)
{
	struct timespec t[2] = { seconds(f->mtime_ns), seconds(f->mtime_ns) };
	uint32_t uid = owner(w, w->uid, f->uid), gid = owner(w, w->gid, f->gid), mode = 0;
	int rc = final_mode(w, f, &mode, err);
	/* What it had from the start need not be given to it. */
	bool is_ours = at->is_fresh && !uid && !gid && !at->inherits;
	bool has_mode = is_ours && at->mode_kept && !(mode & ~at->mode_kept);

	if (rc < 0)
		return rc;
	if (!is_ours && fchown(to_fd, uid, gid) < 0)
		return err_sys(err, "chown %s", f->path);
	if (!f->has_digest || !digest_is_zero(&f->xattrs))
		rc = copy_xattrs(from_fd, to_fd, err);
	if (rc < 0)
		return rc;
	if ((!has_mode && fchmod(to_fd, mode) < 0) || futimens(to_fd, t) < 0)
		return err_sys(err, "attributes of %s", f->path);
	return 0;
}

static struct linked *linked_at(struct linked *table, size_t cap, uint64_t dev, uint64_t ino)
{
	size_t i = (size_t)((ino ^ dev << 32) * 0x9e3779b97f4a7c15ull) & (cap - 1);

	while (table[i].path && (table[i].ino != ino || table[i].dev != dev))
		i = (i + 1) & (cap - 1);
	return &table[i];
}

static void linked_grow(struct writer *w)
{
	size_t cap = w->cap_linked ? 2 * w->cap_linked : 64;
	struct linked *big = mem_array(cap, sizeof(*big));

	for (size_t i = 0; i < w->cap_linked; i++)
		if (w->linked[i].path)
			*linked_at(big, cap, w->linked[i].dev, w->linked[i].ino) = w->linked[i];
	free(w->linked);
	w->linked = big;
	w->cap_linked = cap;
}

/* f stands at path now; more than HARDLINKS_MAX become files of their own. */
static void linked_note(struct writer *w, const struct context_file *f, int dir_fd,
			const char *name, const char *path)
{
	struct linked *l;
	struct stat st;

	if (f->nlink < 2 || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (2 * w->n_linked >= w->cap_linked)
		linked_grow(w);
	l = linked_at(w->linked, w->cap_linked, f->dev, f->ino);
	if (!l->path && w->n_linked == HARDLINKS_MAX)
		return;
	w->n_linked += !l->path;
	free(l->path);
	*l = (struct linked){ f->dev, f->ino, st.st_ino, mem_str(path) };
}

/* Names of one inode stay one inode. 1 when a link was made. */
static int try_hardlink(struct writer *w, const struct context_file *f, int dir_fd,
			const char *name)
{
	const struct linked *l;
	auto_fd int fd = -1;
	char self[FD_PATH_MAX];
	struct stat st;

	if (f->nlink < 2 || !w->n_linked)
		return 0;
	l = linked_at(w->linked, w->cap_linked, f->dev, f->ino);
	if (!l->path)
		return 0;
	fd = path_try_in(w->root_fd, l->path, O_PATH | O_NOFOLLOW, 0);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == l->made &&
	       (uint64_t)st.st_size == f->size &&
	       linkat(AT_FDCWD, fd_path(fd, self), dir_fd, name, AT_SYMLINK_FOLLOW) == 0;
}

/* By several threads at once. */
static int put_file(const struct context_file *f, const struct fresh_at *at, void *arg,
		    struct err *err)
{
	struct writer *w = arg;
	auto_fd int from = source_open(w, f, err), to = -1;
	uint32_t mode = 0;
	int rc = from < 0 ? from : final_mode(w, f, &mode, err);

	if (rc < 0)
		return rc;
	to = openat(at->dir_fd, at->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    at->mode_kept ? mode & 0777 : 0600);
	if (to < 0)
		return err_sys(err, "create %s", at->name);
	rc = fs_copy_data(from, to, err);
	note_change(w, from, f);
	return rc < 0 ? err_ctx(err, "copy %s", f->path) : finish_file(w, from, to, f, at, err);
}

static int put_special(struct writer *w, const struct context_file *f, int dir_fd, const char *name,
		       struct err *err)
{
	struct timespec t[2] = { seconds(f->mtime_ns), seconds(f->mtime_ns) };
	uint32_t mode = f->mode;
	int rc = S_ISLNK(f->mode) ? 0 : final_mode(w, f, &mode, err);

	if (rc < 0)
		return rc;
	if (S_ISLNK(f->mode))
		rc = symlinkat(f->link, dir_fd, name);
	else if (S_ISFIFO(f->mode) || (w->item->is_owned && (S_ISCHR(f->mode) || S_ISBLK(f->mode))))
		rc = mknodat(dir_fd, name, (f->mode & S_IFMT) | 0600, f->rdev);
	else
		return 0; /* sockets and the host's devices stay behind */
	if (rc < 0)
		return err_sys(err, "create %s", name);
	if (fchownat(dir_fd, name, owner(w, w->uid, f->uid), owner(w, w->gid, f->gid),
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "chown %s", name);
	if (!S_ISLNK(f->mode) && fchmodat(dir_fd, name, mode & 07777, 0) < 0)
		return err_sys(err, "chmod %s", name);
	if (utimensat(dir_fd, name, t, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "times of %s", name);
	return 0;
}

static void time_later(struct writer *w, const char *path, const struct context_file *f)
{
	mem_room(w->made, w->n_made, w->cap_made);
	w->made[w->n_made++] = (struct made){ mem_str(path), f->mtime_ns / 1000000000 };
}

/* One that is there gets the source's attributes as well, as BuildKit has it; what a symlink of the
 * image leads to does not. */
static int put_dir(struct writer *w, const struct context_file *f, int dir_fd, const char *name,
		   const char *path, struct err *err)
{
	bool is_new = mkdirat(dir_fd, name, 0700) == 0;
	auto_fd int fd = -1;
	uint32_t mode = 0;
	int rc;

	if (!is_new && errno != EEXIST)
		return err_sys(err, "make directory %s", path);
	rc = final_mode(w, f, &mode, err);
	if (rc < 0)
		return rc;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && !is_new) {
		fd = path_try_in(w->root_fd, path, O_PATH | O_DIRECTORY, 0);
		return fd >= 0 ? 0 : err_set(err, ENOTDIR, "%s is no directory in the image", path);
	}
	if (fd < 0 || fchown(fd, owner(w, w->uid, f->uid), owner(w, w->gid, f->gid)) < 0 ||
	    fchmod(fd, mode) < 0)
		return err_sys(err, "directory %s", path);
	if (is_new)
		fresh_dir(w->fresh, path, fd);
	time_later(w, path, f);
	return 0;
}

/* One source entry at path inside the root. */
static int put(struct writer *w, const struct context_file *f, const char *path, struct err *err)
{
	auto_free char *parent = path_clean(path);
	char *slash = strrchr(parent, '/');
	const char *name = path + (slash - parent) + 1;
	struct fresh_at at = { .name = name, .path = path };
	int dir_fd, rc;

	/* What has several names is made one after the other. */
	if (S_ISREG(f->mode) && f->nlink < 2 && fresh_file(w->fresh, f, path))
		return 0;
	slash[slash == parent] = 0;
	dir_fd = at.dir_fd = enter(w, parent, err);
	if (dir_fd < 0)
		return dir_fd;
	if (S_ISDIR(f->mode))
		return put_dir(w, f, dir_fd, name, path, err);
	rc = clear_way(w, dir_fd, name, err);
	if (rc < 0 || try_hardlink(w, f, dir_fd, name))
		return rc;
	rc = S_ISREG(f->mode) ? put_file(f, &at, w, err) : put_special(w, f, dir_fd, name, err);
	if (rc >= 0)
		linked_note(w, f, dir_fd, name, path);
	return rc;
}

static int set_times(struct writer *w, struct err *err)
{
	for (size_t i = w->n_made; i-- > 0;) {
		struct timespec t[2] = { { .tv_sec = w->made[i].mtime_s },
					 { .tv_sec = w->made[i].mtime_s } };
		auto_fd int fd =
			path_open_in(w->root_fd, w->made[i].path, O_RDONLY | O_DIRECTORY, 0, err);

		if (fd < 0)
			return fd_take(&fd);
		if (futimens(fd, t) < 0)
			return err_sys(err, "times of %s", w->made[i].path);
		mem_cleanup(&w->made[i].path);
		w->n_made = i;
	}
	return 0;
}

/* The directory dest; what comes into a new one is written at the end. */
static int enter_dest(struct writer *w, const char *dest, struct err *err)
{
	auto_fd int there = path_try_in(w->root_fd, dest, O_PATH | O_DIRECTORY, 0);
	int fd = enter(w, dest, err);

	if (fd >= 0 && there < 0)
		fresh_dir(w->fresh, dest, fd);
	return fd;
}

static int put_tree(struct writer *w, const struct copy_item *item, const char *dest,
		    struct err *err)
{
	size_t first, n, skip = *item->path ? strlen(item->path) + 1 : 0;
	const struct context_file *self = context_find(item->from, item->path);
	int rc = enter_dest(w, dest, err);

	/* As BuildKit has it: of the source directory itself, its time goes along. */
	if (self && !w->j->parents && strcmp(dest, "/") != 0)
		time_later(w, dest, self);
	context_slice(item->from, item->path, &first, &n);
	for (size_t k = 0; k < n && rc >= 0; k++) {
		const struct context_file *f = context_at(item->from, first + k);
		auto_free char *path = NULL;

		if (item->keep && !item->keep[k])
			continue;
		path = path_join(dest, f->path + skip);
		rc = put(w, f, path, err);
	}
	if (rc >= 0)
		rc = fresh_write(w->fresh, put_file, w, err);
	/* Before the next source: what that writes here is seen in the times. */
	return rc < 0 ? rc : set_times(w, err);
}

/* ADD: an archive is unpacked into dest. 1 when it was one. */
static int put_archive(struct writer *w, const struct context_file *f, const char *dest,
		       struct err *err)
{
	struct layer_apply_opts o = {
		.foreign = true, .rootfs = true, .max_bytes = w->j->max_bytes, .parent_fd = -1
	};
	const uint32_t owner[2] = { w->uid, w->gid };
	auto_fd int fd = -1, dir = -1;
	int rc;

	if (!w->item->unpack || !S_ISREG(f->mode))
		return 0;
	fd = source_open(w, f, err);
	if (fd < 0)
		return fd_take(&fd);
	rc = layer_is_tar(fd, err);
	if (rc <= 0)
		return rc;
	w->mkdirs = 0755; /* --chmod is not for archives */
	rc = enter(w, dest, err);
	if (rc < 0)
		return rc;
	dir = openat(w->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", dest);
	/* A symlink of the image on the way (/lib of a merged /usr) is followed, not replaced. */
	o.parent_fd = dir;
	o.owner = w->own ? owner : NULL;
	rc = layer_apply(fd, dir, &o, NULL, err);
	note_change(w, fd, f);
	return rc < 0 ? err_ctx(err, "archive %s", f->path) : 1;
}

static bool dest_is_dir(const struct writer *w, const char *dest)
{
	auto_fd int fd = -1;

	if (w->j->many || str_ends(w->j->dest, "/") || !strcmp(path_base(w->j->dest), ".") ||
	    !*w->j->dest)
		return true;
	fd = path_try_in(w->root_fd, dest, O_PATH | O_DIRECTORY, 0);
	return fd >= 0;
}

/* As BuildKit has it, directories that are made get --chmod too when it is octal. */
static mode_t chmod_of_dirs(const char *chmod)
{
	uint64_t mode;

	return chmod && str_to_u64(chmod, 8, 07777, &mode) == 0 ? (mode_t)mode : 0755;
}

static int put_item(struct writer *w, const struct copy_item *item, const char *dest,
		    struct err *err)
{
	auto_free char *path = NULL;
	int rc;

	w->item = item;
	w->mkdirs = chmod_of_dirs(w->j->chmod);
	if (item->is_dir)
		return put_tree(w, item, dest, err);
	rc = put_archive(w, item->file, dest, err);
	if (rc)
		return rc;
	path = dest_is_dir(w, dest) ? path_join(dest, item->name) : mem_str(dest);
	return put(w, item->file, path, err);
}

static int put_doc(struct writer *w, const char *name, const char *body, const char *dest,
		   struct err *err)
{
	auto_free char *path = dest_is_dir(w, dest) ? path_join(dest, name) : mem_str(dest);
	auto_free char *parent = mem_str(path);
	struct context_file f = { .mode = S_IFREG | 0644 };
	char *slash = strrchr(parent, '/');
	const char *base = path_base(path);
	auto_fd int fd = -1;
	uint32_t mode = 0;
	int rc;

	slash[slash == parent] = 0;
	w->mkdirs = chmod_of_dirs(w->j->chmod);
	rc = enter(w, parent, err);
	if (rc >= 0)
		rc = clear_way(w, w->dir_fd, base, err);
	if (rc >= 0)
		rc = final_mode(w, &f, &mode, err);
	if (rc < 0)
		return rc;
	fd = openat(w->dir_fd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "create %s", path);
	rc = fd_write_str(fd, body, err);
	if (rc < 0)
		return err_ctx(err, "write %s", path);
	if (fchown(fd, w->uid, w->gid) < 0 || fchmod(fd, mode) < 0)
		return err_sys(err, "attributes of %s", path);
	return 0;
}

/* --chown: names from the image's files; a user without a group gives the gid of the same number.
 */
static int find_owner(struct writer *w, struct err *err)
{
	struct sandbox_user u = { 0 };
	int rc;

	if (!w->j->chown)
		return 0;
	rc = sandbox_user_find(w->root_fd, w->j->chown, &u, err);
	if (rc < 0)
		return err_ctx(err, "--chown=%s", w->j->chown);
	w->own = true;
	w->uid = u.uid;
	w->gid = strchr(w->j->chown, ':') ? u.gid : u.uid;
	sandbox_user_free(&u);
	return 0;
}

int copy_write(struct copy_job *j, int dest_fd, int upper_fd, struct err *err)
{
	cleanup(writer_cleanup) struct writer w = { .j = j,
						    .root_fd = dest_fd,
						    .dir_fd = -1,
						    .lock = PTHREAD_MUTEX_INITIALIZER,
						    .fresh = fresh_new(dest_fd, upper_fd) };
	auto_free char *dest = path_join(j->workdir && *j->workdir ? j->workdir : "/", j->dest);
	auto_free char *real = NULL;
	int rc = find_owner(&w, err);

	/* A file goes to what a symlink of its very name leads to. */
	if (rc >= 0)
		rc = copy_canonical(dest_fd, dest, &real, err);
	if (rc < 0)
		return rc;
	free(dest);
	dest = path_join("/", real);
	for (size_t i = 0; i < j->n_items && rc >= 0; i++)
		rc = put_item(&w, &j->items[i], dest, err);
	for (size_t i = 0; i < j->doc_names.n && rc >= 0; i++)
		rc = put_doc(&w, j->doc_names.v[i], j->doc_bodies.v[i], dest, err);
	return rc;
}

/* A layer's own tree is all plain files: what --link made, with its owners and times. */
int copy_layer(struct runtime *rt, int64_t snapshot, int dest_fd, struct err *err)
{
	auto_copy_job struct copy_job j = { .is_tree = true, .dest = mem_str("/") };
	auto_context struct context *tree = NULL;
	auto_fd int fd = -1;
	int rc = snap_fs_fd(rt->snap, snapshot, &fd, err);

	if (rc >= 0)
		rc = context_open_tree(rt, fd, &tree, err);
	if (rc < 0)
		return rc;
	j.from = tree;
	strv_add(&j.sources, "/");
	rc = copy_resolve(&j, err);
	return rc < 0 ? rc : copy_write(&j, dest_fd, dest_fd, err);
}
