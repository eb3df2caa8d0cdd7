/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar stream -> upper. Everything is resolved beneath the root fd as a process chrooted there would
 * (openat2), so symlinks that the archive itself has made lead nowhere else (TRAPS T16). Whiteouts
 * hide the parents' names only, wherever in the archive they stand; a directory that comes where a
 * middle layer has whited out a lower one needs no mark: overlayfs stops there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "priv.h"

/* What is no content: headers, names, attributes; so many for each entry, and besides. */
enum { LINKS_MAX = 40, DROPPED_MAX = 1 << 16, OVERHEAD_ENTRY = 16 << 10 };
#define OVERHEAD_MAX (UINT64_C(1) << 30)

static void apply_free(struct layer_apply *a)
{
	layer_times_free(&a->times);
	layer_untar_free(&a->tar);
	layer_stream_free(&a->tar.from);
	str_free(&a->path);
	str_free(&a->target);
	str_free(&a->dir_path);
	layer_inodes_free(&a->dropped);
	XXH3_freeState(a->xxh);
	fd_close(&a->dir_fd);
	fd_close(&a->root_fd);
}
#define auto_layer_apply cleanup(apply_free)

int layer_clean(const struct str *path, struct str *ret, struct err *err)
{
	unsigned depth = 0;

	str_reset(ret);
	str_add(ret, "");
	for (const char *p = str_get(path); *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			char *slash;

			if (!ret->len)
				return err_set(err, EPERM, "a path that leaves the root");
			slash = memrchr(ret->s, '/', ret->len);
			ret->len = slash ? (size_t)(slash - ret->s) : 0;
			ret->s[ret->len] = 0;
			depth--;
		} else if (n && (n != 1 || *p != '.')) {
			/* The name that a whiteout hides may be of full length. */
			size_t max = str_starts(p, LAYER_WH_PREFIX)
					     ? NAME_MAX + strlen(LAYER_WH_PREFIX)
					     : NAME_MAX;

			if (n > max || ++depth > LAYER_DEPTH_MAX)
				return err_set(err, ENAMETOOLONG, "name too long or too deep");
			str_addf(ret, "%s%.*s", ret->len ? "/" : "", (int)n, p);
		}
		p += n + (p[n] == '/');
	}
	return 0;
}

void layer_time_add(struct layer_apply *a, const char *path, int64_t mtime_s)
{
	layer_times_add(&a->times, a->root_fd, path, mtime_s);
}

static struct stat path_id(const char *path)
{
	return (struct stat){ .st_ino = XXH3_64bits(path, strlen(path)) };
}

int layer_drop(struct layer_apply *a, const char *path, struct err *err)
{
	struct stat id = path_id(path);

	if (a->dropped.n >= DROPPED_MAX)
		return err_set(err, E2BIG, "more than %d devices 0:0", DROPPED_MAX);
	layer_inodes_first(&a->dropped, &id, "");
	return 0;
}

bool layer_is_dropped(const struct layer_apply *a, const char *path)
{
	struct stat id = path_id(path);

	return layer_inodes_has(&a->dropped, &id);
}

/* --- directories that the archive does not have --- */

static int copy_dir_attrs(struct layer_apply *a, int dir_fd, const char *name, const char *path,
			  struct err *err)
{
	auto_layer_attrs struct layer_attrs attrs = { 0 };
	struct layer_entry e = { .kind = LAYER_DIR, .mode = 0755 };
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
		    from = -1;
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return err_sys(err, "open directory");
	a->info.seen |= LAYER_MISSES_DIRS;
	if (a->o->parent_fd >= 0)
		from = path_try_in(a->o->parent_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (from >= 0 && fstat(from, &st) == 0) {
		rc = layer_attrs_read(from, &attrs, err);
		e.mode = st.st_mode & 07777;
		e.uid = st.st_uid;
		e.gid = st.st_gid;
		e.mtime_s = st.st_mtim.tv_sec;
		e.xattrs = attrs.kept;
	}
	if (rc >= 0)
		rc = layer_write_attrs(a, fd, &e, true, err);
	/* 1970 where nothing tells: the same archive gives the same tree. */
	if (rc >= 0)
		layer_time_add(a, path, e.mtime_s);
	return rc;
}

/*
 * A root file system's archive may go through a symlink that only the parents have, /lib say: it is
 * copied up, and what it leads to is made.
 */
static int copy_symlink(struct layer_apply *a, int dir_fd, const char *name, const char *path,
			struct err *err)
{
	auto_fd int from = -1, made = -1;
	auto_free char *dir = NULL, *rooted = NULL, *to = NULL;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (!a->o->rootfs || a->o->parent_fd < 0)
		return 0;
	from = path_try_in(a->o->parent_fd, path, O_PATH | O_NOFOLLOW, 0);
	if (from < 0 || fstat(from, &st) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	n = readlinkat(from, "", target, sizeof(target) - 1);
	if (n < 0 || ++a->n_links > LINKS_MAX)
		return n < 0 ? err_sys(err, "read link") : err_set(err, ELOOP, "%.200s", path);
	target[n] = 0;
	if (symlinkat(target, dir_fd, name) < 0 ||
	    fchownat(dir_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(dir_fd, name, (struct timespec[2]){ { .tv_nsec = UTIME_OMIT }, st.st_mtim },
		      AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "copy symlink");
	dir = mem_strn(path, strlen(path) - strlen(name));
	rooted = mem_fmt("/%s", dir);
	to = path_join(rooted, target);
	made = layer_make_parents(a, to + 1, err);
	return made < 0 ? made : 1;
}

static int make_parent(struct layer_apply *a, int dir_fd, const char *name, const char *path,
		       struct err *err)
{
	bool is_hidden = false;
	struct stat st;
	int rc;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!layer_is_whiteout(&st))
			return err_set(err, EPERM, "%.200s is in the way, which is no directory",
				       path);
		is_hidden = true;
		if (unlinkat(dir_fd, name, 0) < 0)
			return err_sys(err, "remove whiteout");
	}
	rc = is_hidden ? 0 : copy_symlink(a, dir_fd, name, path, err);
	if (rc)
		return rc < 0 ? rc : 0;
	if (mkdirat(dir_fd, name, 0700) < 0)
		return err_sys(err, "make directory");
	if (is_hidden) {
		auto_fd int fd =
			openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return err_sys(err, "open directory");
		rc = layer_set_opaque(fd, err);
	}
	return rc < 0 ? rc : copy_dir_attrs(a, dir_fd, name, path, err);
}

/* From the top, each time from the root, so that symlinks on the way are seen as a chrooted process
 * sees them. */
int layer_make_parents(struct layer_apply *a, char *path, struct err *err)
{
	auto_fd int dir = path_try_in(a->root_fd, "", O_PATH | O_DIRECTORY, 0);
	char *name = *path ? path : NULL;

	if (dir < 0)
		return err_sys(err, "open root");
	while (name) {
		char *slash = strchr(name, '/');
		int next, rc;

		if (slash)
			*slash = 0;
		next = path_try_in(a->root_fd, path, O_PATH | O_DIRECTORY, 0);
		if (next < 0 && (errno == ENOENT || errno == ENOTDIR)) {
			rc = make_parent(a, dir, name, path, err);
			if (rc < 0)
				return rc;
			next = path_try_in(a->root_fd, path, O_PATH | O_DIRECTORY, 0);
		}
		if (next < 0)
			return err_sys(err, "open directory %.200s", path);
		fd_close(&dir);
		dir = next;
		if (slash)
			*slash = '/';
		name = slash ? slash + 1 : NULL;
	}
	return fd_take(&dir);
}

int layer_enter(struct layer_apply *a, struct err *err)
{
	const char *slash = strrchr(a->path.s, '/');
	size_t len = slash ? (size_t)(slash - a->path.s) : 0;
	auto_free char *dir = NULL;
	int fd;

	if (a->dir_fd >= 0 && !a->is_stale && a->dir_path.len == len &&
	    !memcmp(str_get(&a->dir_path), a->path.s, len))
		return 0;
	dir = mem_strn(a->path.s, len);
	a->n_links = 0;
	fd = path_try_in(a->root_fd, dir, O_PATH | O_DIRECTORY, 0);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		fd = layer_make_parents(a, dir, err);
	else if (fd < 0)
		return err_sys(err, "open directory");
	if (fd < 0)
		return fd;
	fd_close(&a->dir_fd);
	a->dir_fd = fd;
	str_reset(&a->dir_path);
	str_addn(&a->dir_path, dir, len);
	a->is_stale = false;
	return 0;
}

/* --- whiteouts --- */

static int apply_whiteout(int dir_fd, const char *name, struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;

	/* ".wh.." would be this directory and ".wh..." the one above. */
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(err, EPERM, "a whiteout of nothing");
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? layer_whiteout(dir_fd, name, err) : err_sys(err, "stat");
	/* What this layer has put there hides the parents' already; but a directory would be merged
	 * with theirs. */
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open");
	return layer_set_opaque(fd, err);
}

/* 0 no such name, 1 done with it. */
static int apply_mark(struct layer_apply *a, const char *name, struct err *err)
{
	int rc = 0;

	if (!str_starts(name, LAYER_WH_PREFIX))
		return 0;
	if (a->o->rootfs)
		return err_set(err, EINVAL, "a whiteout in what is no layer");
	if (!str_starts(name, LAYER_WH_META) || !strcmp(name, LAYER_WH_OPAQUE))
		rc = layer_enter(a, err);
	if (rc >= 0 && !strcmp(name, LAYER_WH_OPAQUE)) {
		a->is_root_cut |= !a->dir_path.len;
		rc = layer_set_opaque(a->dir_fd, err);
	}
	if (rc >= 0 && !str_starts(name, LAYER_WH_META))
		rc = apply_whiteout(a->dir_fd, name + strlen(LAYER_WH_PREFIX), err);
	return rc < 0 ? rc : 1;
}

/* --- entries --- */

/* ".wh." above the last component: aufs's own, which is passed over, or nonsense. */
static int check_dirs(const struct layer_apply *a, struct err *err)
{
	for (const char *p = a->path.s, *slash; (slash = strchr(p, '/')); p = slash + 1) {
		if (!str_starts(p, LAYER_WH_PREFIX))
			continue;
		if (!a->o->rootfs && str_starts(p, LAYER_WH_META))
			return 1;
		return err_set(err, EINVAL, "a whiteout that is a directory");
	}
	return 0;
}

static int apply_root(struct layer_apply *a, struct err *err)
{
	int rc;

	if (a->tar.e.kind != LAYER_DIR)
		return err_set(err, EPERM, "the root must be a directory");
	a->info.seen |= LAYER_SAW_ROOT;
	/* A plain tree's root is the directory it is put into, as docker import and ADD have it. */
	if (a->o->rootfs)
		return 0;
	rc = layer_write_attrs(a, a->root_fd, &a->tar.e, false, err);
	if (rc >= 0)
		layer_time_add(a, "", a->tar.e.mtime_s);
	return rc;
}

static int apply_entry(struct layer_apply *a, struct err *err)
{
	const struct layer_entry *e = &a->tar.e;
	const char *name;
	int rc;

	if (!e->path.len)
		return err_set(err, EBADMSG, "an entry without name");
	rc = layer_clean(&e->path, &a->path, err);
	if (rc < 0)
		return rc;
	if (!a->path.len)
		return apply_root(a, err);
	rc = check_dirs(a, err);
	if (rc)
		return rc < 0 ? rc : 0;
	name = path_base(a->path.s);
	rc = apply_mark(a, name, err);
	if (rc)
		return rc < 0 ? rc : 0;
	/* A 0:0 device is a whiteout in disguise. */
	if (e->kind == LAYER_CHAR && !e->major && !e->minor)
		return a->o->foreign ? layer_drop(a, a->path.s, err)
				     : err_set(err, EPERM, "a device 0:0");
	rc = layer_enter(a, err);
	return rc < 0 ? rc : layer_write(a, name, err);
}

/* overlayfs merges the roots of its layers whatever mark they have: each name of the parents' is
 * hidden by its own. */
static int cut_root(struct layer_apply *a, struct err *err)
{
	auto_layer_names struct layer_names names = { 0 };
	auto_fd int parent = -1;
	int rc;

	if (a->is_root_cut)
		a->info.seen |= LAYER_CUTS_ROOT;
	if (!a->is_root_cut || a->o->parent_fd < 0)
		return 0;
	parent = openat(a->o->parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(err, "open parent");
	rc = layer_names_read(parent, false, &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++)
		rc = apply_whiteout(a->root_fd, names.v[i].s, err);
	return rc;
}

static int set_time(const char *path, int64_t mtime_s, void *arg, struct err *err)
{
	const struct layer_apply *a = arg;
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = mtime_s } };
	auto_fd int fd = path_try_in(a->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	/* A later entry may have taken its place. */
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	return fd < 0 || futimens(fd, ts) < 0 ? err_sys(err, "set time of %.200s", path) : 0;
}

/* Bytes that are read and thrown away cost time alone, but that without end. */
static int check_overhead(const struct layer_apply *a, struct err *err)
{
	uint64_t bytes = layer_stream_bytes(a->tar.from), skipped = bytes - a->stored;

	if (skipped > OVERHEAD_MAX + a->info.entries * OVERHEAD_ENTRY)
		return err_set(err, EFBIG, "the archive has more headers than content");
	return 0;
}

static int run(struct layer_apply *a, struct err *err)
{
	int rc;

	while ((rc = layer_untar_next(&a->tar, err)) > 0) {
		if (++a->info.entries > LAYER_ENTRIES_MAX)
			return err_set(err, E2BIG, "more than %d entries", LAYER_ENTRIES_MAX);
		if (a->o->stop && *a->o->stop)
			return err_set(err, EINTR, "interrupted");
		if (a->o->owner) {
			a->tar.e.uid = a->o->owner[0];
			a->tar.e.gid = a->o->owner[1];
		}
		rc = check_overhead(a, err);
		if (rc >= 0)
			rc = apply_entry(a, err);
		if (rc < 0)
			return err_ctx(err, "%.300s", str_get(&a->tar.e.path));
	}
	return rc;
}

static int prepare(struct layer_apply *a, int tar_fd, int dir_fd, struct err *err)
{
	struct statfs fs;
	struct stat st;
	int rc;

	a->root_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->root_fd < 0 || fstat(a->root_fd, &st) < 0 || fstatfs(a->root_fd, &fs) < 0)
		return err_sys(err, "open the directory to unpack into");
	a->limit = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (a->o->max_bytes && a->o->max_bytes < a->limit)
		a->limit = a->o->max_bytes;
	a->has_default_acl = fgetxattr(a->root_fd, LAYER_ACL_DEFAULT, NULL, 0) >= 0;
	/* Unless an entry says otherwise, the root keeps the time it had. */
	layer_time_add(a, "", st.st_mtim.tv_sec);
	rc = layer_stream_range(tar_fd, a->o->range,
				a->o->rootfs ? LAYER_HASHED : LAYER_HASHED | LAYER_NARROW,
				&a->tar.from, err);
	if (rc < 0)
		return rc;
	layer_stream_watch(a->tar.from, a->o->progress, a->o->progress_arg);
	if (a->o->memo) {
		layer_memo_begin(a->o->memo);
		layer_stream_note(a->tar.from, a->o->memo);
		a->xxh = XXH3_createState();
		if (!a->xxh)
			return err_set(err, ENOMEM, "memo of a layer");
	}
	return 0;
}

int layer_apply(int tar_fd, int dir_fd, const struct layer_apply_opts *o, struct layer_info *ret,
		struct err *err)
{
	auto_layer_apply struct layer_apply a = { .o = o, .root_fd = -1, .dir_fd = -1 };
	int rc = prepare(&a, tar_fd, dir_fd, err);

	if (rc >= 0)
		rc = run(&a, err);
	if (rc >= 0)
		rc = layer_stream_end(a.tar.from, OVERHEAD_MAX, &a.info, err);
	if (rc >= 0)
		rc = cut_root(&a, err);
	/* Creating entries changes the times of the directory they are in: theirs come last. */
	if (rc >= 0)
		rc = layer_times_each(&a.times, set_time, &a, err);
	if (rc < 0)
		return err_ctx(err, "unpack");
	if (o->memo)
		layer_memo_end(o->memo);
	a.info.size_bytes = a.bytes;
	if (ret)
		*ret = a.info;
	return 0;
}

int layer_is_tar(int fd, struct err *err)
{
	auto_layer_stream struct layer_stream *s = NULL;
	struct err why = { 0 };
	char block[LAYER_TAR_BLOCK];
	ssize_t n = -1;
	int rc;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	/* Damaged compressed data is no tar: it is copied as the file it is. */
	rc = layer_stream_new(fd, 0, &s, &why);
	if (rc >= 0)
		n = layer_stream_read(s, block, sizeof(block), &why);
	if ((rc < 0 || n < 0) && why.code != EBADMSG)
		return err_set(err, why.code, "%s", why.msg);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	return n == sizeof(block) && layer_untar_probe(block);
}
