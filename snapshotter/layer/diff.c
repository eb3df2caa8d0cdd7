/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upper -> tar stream. The raw upper is walked, not the merged view, so the work is that of the
 * change; three things are read through the merged view: data of metacopied files, directories that
 * were renamed (redirect), and all beneath.
 *
 * A directory stands over the parent's directory of the same path ("over"), or is new: then nothing
 * of the parent shows through and everything beneath is written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "priv.h"

enum { FDS_HELD = 64, RUN_MIN = 8, DONE = 0xff };
/* Writeback is begun early for large files of large layers. That of a small layer is a moment's
 * work for the sync after the prompt, and would compete with the next step. */
enum { WRITEBACK_FILE_MIN = 256 << 10, WRITEBACK_LAYER_MIN = 16 << 20 };

/* A directory on the way down. */
struct level {
	int upper_fd;  /* -1: a renamed directory of which the upper has nothing */
	int parent_fd; /* -1: new */
	int merged_fd; /* -1: read from the upper */
	struct layer_names names;
	struct layer_attrs attrs;
	struct stat st;
	size_t next, path_len;
	bool is_written, is_merged, is_over;
	bool had_upper, had_parent; /* while parked */
};

struct diff {
	const struct layer_source *src;
	const struct layer_diff_opts *o;
	struct layer_tar *tar;
	struct layer_table *table;
	struct level *v;
	size_t n, cap;
	struct str path;
	struct layer_inodes inodes;
	struct layer_attrs attrs, theirs; /* of the entry at hand and its parent's */
	struct layer_ahead *ahead;
	struct layer_file file;
	XXH3_state_t *xxh;
	char *buf; /* LAYER_CHUNK */
	struct layer_info info;
};

static void level_free(struct level *l)
{
	fd_close(&l->upper_fd);
	fd_close(&l->parent_fd);
	fd_close(&l->merged_fd);
	layer_names_free(&l->names);
	layer_attrs_free(&l->attrs);
}

static void diff_free(struct diff *d)
{
	for (size_t i = 0; i < d->n; i++)
		level_free(&d->v[i]);
	free(d->v);
	str_free(&d->path);
	layer_inodes_free(&d->inodes);
	layer_attrs_free(&d->attrs);
	layer_attrs_free(&d->theirs);
	layer_ahead_free(&d->ahead);
	layer_file_free(&d->file);
	layer_tar_free(&d->tar);
	layer_table_free(&d->table);
	XXH3_freeState(d->xxh);
	free(d->buf);
}
#define auto_diff cleanup(diff_free)

static struct layer_row row_of(const struct diff *d, const struct stat *st,
			       const struct layer_attrs *a)
{
	return (struct layer_row){ .kind = layer_kind(st->st_mode),
				   .path = str_get(&d->path),
				   .mode = st->st_mode & 07777,
				   .uid = st->st_uid,
				   .gid = st->st_gid,
				   .rdev = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)
						   ? st->st_rdev
						   : 0,
				   .mtime_s = st->st_mtim.tv_sec,
				   .xattrs = a->kept.s,
				   .xattrs_len = (uint32_t)a->kept.len };
}

/* Into the table, and to whoever wants to see it. */
static int note_row(struct diff *d, const struct layer_row *row, struct err *err)
{
	int rc = d->table ? layer_table_add(d->table, row, err) : 0;

	return rc < 0 || !d->o->on_row ? rc : d->o->on_row(row, d->o->row_arg, err);
}

/* Header and, for what has no content, row. */
static int write_row(struct diff *d, const struct layer_row *row, struct err *err)
{
	int rc = layer_tar_header(d->tar, row, err);

	if (++d->info.entries > LAYER_ENTRIES_MAX)
		return err_set(err, E2BIG, "more than %d entries", LAYER_ENTRIES_MAX);
	if (rc >= 0 && row->kind != LAYER_FILE)
		rc = note_row(d, row, err);
	return rc;
}

/* Entries of the directories on the way, as far as they are not written yet: unpackers need the
 * parents first. */
static int write_dirs(struct diff *d, struct err *err)
{
	char saved;
	int rc = 0;

	for (size_t i = 0; i < d->n && rc >= 0; i++) {
		struct level *l = &d->v[i];
		struct layer_row row;

		if (l->is_written)
			continue;
		l->is_written = true;
		row = row_of(d, &l->st, &l->attrs);
		saved = d->path.s[l->path_len];
		d->path.s[l->path_len] = 0;
		rc = write_row(d, &row, err);
		d->path.s[l->path_len] = saved;
	}
	return rc;
}

static int write_mark(struct diff *d, char kind, struct err *err)
{
	int rc = write_dirs(d, err);

	return rc < 0 ? rc
		      : write_row(d, &(struct layer_row){ .kind = kind, .path = d->path.s }, err);
}

/* --- content --- */

/* For a memo the hash stands for it. */
static int put_data(struct diff *d, const void *p, size_t n, struct err *err)
{
	return d->o->memo ? 0 : layer_tar_data(d->tar, p, n, err);
}

static int put_bytes(struct diff *d, int fd, uint64_t at, uint64_t end, struct err *err)
{
	int rc = 0;

	while (at < end && rc >= 0) {
		size_t want = end - at < LAYER_CHUNK ? (size_t)(end - at) : (size_t)LAYER_CHUNK;
		ssize_t n = pread(fd, d->buf, want, (off_t)at);

		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			return err_set(err, EBADMSG, "the file shrank while it was read");
		if (d->xxh)
			XXH3_128bits_update(d->xxh, d->buf, (size_t)n);
		rc = put_data(d, d->buf, (size_t)n, err);
		at += (uint64_t)n;
	}
	return rc;
}

static int put_hole(struct diff *d, uint64_t len, struct err *err)
{
	static const char zeros[16 << 10];

	for (uint64_t left = d->xxh ? len : 0; left;) {
		size_t n = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

		XXH3_128bits_update(d->xxh, zeros, n);
		left -= n;
	}
	return d->o->memo ? 0 : layer_tar_zeros(d->tar, len, err);
}

static int put_sparse(struct diff *d, int fd, uint64_t size, struct err *err)
{
	uint64_t at = 0;
	int rc = 0;

	while (at < size && rc >= 0) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			return put_bytes(d, fd, at, size, err);
		if (data < 0 || (uint64_t)data > size)
			data = (off_t)size;
		rc = put_hole(d, (uint64_t)data - at, err);
		hole = (uint64_t)data < size ? lseek(fd, data, SEEK_HOLE) : data;
		if (hole < 0 || (uint64_t)hole > size)
			hole = (off_t)size;
		if (rc >= 0)
			rc = put_bytes(d, fd, (uint64_t)data, (uint64_t)hole, err);
		at = (uint64_t)hole;
	}
	return rc;
}

/* A file's content: small ones are in memory, of metacopies it is in another file. */
struct content {
	const char *data;     /* or NULL */
	const uint64_t *hash; /* or NULL: not known yet */
	int fd;
	bool is_sparse, is_elsewhere; /* a layer beneath has it, and its hash */
};

static int put_read(struct diff *d, const struct content *c, const struct layer_row *row,
		    XXH128_hash_t *ret, struct err *err)
{
	int rc;

	if (c->hash) {
		*ret = (XXH128_hash_t){ c->hash[0], c->hash[1] };
		return 0;
	}
	if (c->data) {
		if (d->xxh)
			*ret = XXH3_128bits(c->data, row->size);
		return put_data(d, c->data, row->size, err);
	}
	if (d->xxh)
		XXH3_128bits_reset(d->xxh);
	if (row->size > LAYER_CHUNK)
		posix_fadvise(c->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = c->is_sparse ? put_sparse(d, c->fd, row->size, err)
			  : put_bytes(d, c->fd, 0, row->size, err);
	if (rc >= 0 && d->xxh)
		*ret = XXH3_128bits_digest(d->xxh);
	return rc;
}

static int put_content(struct diff *d, const struct content *c, struct layer_row *row,
		       struct err *err)
{
	XXH128_hash_t h = { 0 };
	int rc = put_read(d, c, row, &h, err);

	if (rc >= 0 && d->o->memo)
		rc = layer_tar_content(d->tar, row->size, (uint64_t[]){ h.low64, h.high64 }, err);
	if (rc >= 0)
		rc = layer_tar_pad(d->tar, row->size, err);
	if (rc < 0)
		return err_ctx(err, "%s", row->path);
	d->info.size_bytes += row->size;
	if (!d->xxh)
		return 0;
	if (!c->is_elsewhere) {
		row->content[0] = h.low64;
		row->content[1] = h.high64;
	}
	return note_row(d, row, err);
}

/* --- entries --- */

/* The parent has something of that name in a directory that shows through. A socket is in no layer.
 */
static bool parent_has(const struct level *l, const char *name, struct stat *ret)
{
	return l->parent_fd >= 0 && fstatat(l->parent_fd, name, ret, AT_SYMLINK_NOFOLLOW) == 0 &&
	       !S_ISSOCK(ret->st_mode);
}

/* Is the entry what the parent has there already (mv foo tmp && mv tmp foo)? fd -1: not a regular
 * file. */
static int is_unchanged(struct diff *d, const struct level *l, const char *name,
			const struct stat *st, int fd, struct err *err)
{
	char ours[PATH_MAX], theirs[PATH_MAX];
	auto_fd int parent = -1;
	struct stat below;
	int rc;

	/* Another name of it may be new, and must not link into a lower layer; one that the
	 * parent's has is not of this file any more. */
	if (st->st_nlink > 1 || !parent_has(l, name, &below) || below.st_nlink > 1 ||
	    !layer_same_stat(st, &below))
		return 0;
	if (fd < 0) {
		rc = layer_attrs_read_at(l->parent_fd, name, &d->theirs, err);
		if (rc < 0 || !layer_same_attrs(&d->attrs, &d->theirs) || !S_ISLNK(st->st_mode))
			return rc < 0 ? rc : layer_same_attrs(&d->attrs, &d->theirs);
		rc = layer_readlink(l->upper_fd, name, ours, err);
		if (rc >= 0)
			rc = layer_readlink(l->parent_fd, name, theirs, err);
		return rc < 0 ? rc : !strcmp(ours, theirs);
	}
	parent = layer_open(l->parent_fd, name, 0);
	if (parent < 0)
		return err_sys(err, "open parent's %s", str_get(&d->path));
	rc = layer_attrs_read(parent, &d->theirs, err);
	if (rc < 0 || !layer_same_attrs(&d->attrs, &d->theirs))
		return rc < 0 ? rc : 0;
	return fs_same_data(fd, parent, (uint64_t)st->st_size, err);
}

/* The inode that tells hardlinks: the upper's, where it has the file, in a renamed directory too.
 */
static const char *first_name(struct diff *d, const struct level *l, const char *name,
			      const struct stat *st)
{
	struct stat raw;

	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return NULL;
	if (l->is_merged && l->upper_fd >= 0 &&
	    fstatat(l->upper_fd, name, &raw, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(raw.st_mode))
		st = &raw;
	return layer_inodes_first(&d->inodes, st, str_get(&d->path));
}

static int write_hardlink(struct diff *d, const struct stat *st, const char *target,
			  struct err *err)
{
	struct layer_row row = row_of(d, st, &d->attrs);

	row.kind = LAYER_HARDLINK;
	row.target = target;
	row.rdev = 0;
	row.xattrs = NULL; /* the first name has carried them */
	row.xattrs_len = 0;
	return write_row(d, &row, err);
}

static int write_file(struct diff *d, const struct level *l, const char *name,
		      const struct content *c, const struct stat *st, struct err *err)
{
	struct layer_row row = row_of(d, st, &d->attrs);
	const char *first = first_name(d, l, name, st);
	int rc = write_dirs(d, err);

	if (rc < 0)
		return rc;
	if (first)
		return write_hardlink(d, st, first, err);
	row.size = (uint64_t)st->st_size;
	rc = write_row(d, &row, err);
	return rc < 0 ? rc : put_content(d, c, &row, err);
}

static int open_merged(const struct diff *d, int flags, struct err *err)
{
	int fd;

	if (d->src->merged_fd < 0)
		return err_set(err, EINVAL, "%s: its content is in a parent that was not given",
			       str_get(&d->path));
	fd = path_open_beneath(d->src->merged_fd, str_get(&d->path),
			       O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | flags, 0, err);
	return fd < 0 ? err_ctx(err, "merged view") : fd;
}

/* The file at hand. When more of its directory follow, they are read ahead from here on. */
static struct layer_file *next_file(struct diff *d, struct level *l, const char *name)
{
	int dir_fd = l->is_merged ? l->merged_fd : l->upper_fd;
	/* Only what the parent might have as well is compared with it. */
	bool keep_fd = l->parent_fd >= 0 && !l->is_merged;
	size_t n = 1;

	if (d->ahead && layer_ahead_has(d->ahead))
		return layer_ahead_next(d->ahead);
	while (l->next - 1 + n < l->names.n && l->names.v[l->next - 1 + n].type == DT_REG)
		n++;
	if (n >= RUN_MIN) {
		if (!d->ahead)
			d->ahead = layer_ahead_new(d->o->memo);
		layer_ahead_begin(d->ahead, dir_fd, &l->names.v[l->next - 1], n, keep_fd);
		return layer_ahead_next(d->ahead);
	}
	err_clear(&d->file.err);
	layer_file_load(&d->file, dir_fd, name, keep_fd, &d->file.err);
	return &d->file;
}

static int visit_file(struct diff *d, struct level *l, const char *name, struct err *err)
{
	struct layer_file *f = next_file(d, l, name);
	struct content c = { .data = f->has_data ? f->data : NULL,
			     .hash = f->has_hash ? f->hash : NULL,
			     .fd = f->fd,
			     .is_sparse = f->st.st_blocks * 512 < f->st.st_size };
	auto_fd int data = -1;
	struct layer_attrs attrs;
	int rc;

	if (f->err.code) {
		*err = f->err;
		return err_ctx(err, "%s", str_get(&d->path));
	}
	/* A swap, so that nothing is copied. */
	attrs = d->attrs;
	d->attrs = f->attrs;
	f->attrs = attrs;
	if (d->attrs.is_metacopy && !l->is_merged) {
		c.fd = data = open_merged(d, 0, err);
		if (data < 0)
			return fd_take(&data);
		c.is_elsewhere = true;
	}
	rc = l->is_merged || l->parent_fd < 0 ? 0 : is_unchanged(d, l, name, &f->st, c.fd, err);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = write_file(d, l, name, &c, &f->st, err);
	if (rc >= 0 && d->o->writeback && data < 0 && !l->is_merged &&
	    f->st.st_size >= WRITEBACK_FILE_MIN && d->info.size_bytes >= WRITEBACK_LAYER_MIN)
		sync_file_range(c.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return rc;
}

/* Symlinks, devices, fifos. */
static int visit_node(struct diff *d, const struct level *l, const char *name, struct err *err)
{
	int dir_fd = l->is_merged ? l->merged_fd : l->upper_fd, rc;
	char target[PATH_MAX];
	const char *first;
	struct layer_row row;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", str_get(&d->path));
	rc = layer_attrs_read_at(dir_fd, name, &d->attrs, err);
	if (rc >= 0 && !l->is_merged)
		rc = is_unchanged(d, l, name, &st, -1, err);
	if (rc)
		return rc < 0 ? err_ctx(err, "%s", str_get(&d->path)) : 0;
	first = first_name(d, l, name, &st);
	rc = write_dirs(d, err);
	if (rc >= 0 && first)
		return write_hardlink(d, &st, first, err);
	row = row_of(d, &st, &d->attrs);
	if (rc >= 0 && S_ISLNK(st.st_mode)) {
		rc = layer_readlink(dir_fd, name, target, err);
		row.target = target;
	}
	return rc < 0 ? rc : write_row(d, &row, err);
}

/* --- directories --- */

/* A mark for a name that is gone, if the parent has it. Sockets are no part of a layer, but may
 * hide something too. */
static int hide(struct diff *d, struct level *l, const char *name, struct err *err)
{
	struct stat below;

	return parent_has(l, name, &below) ? write_mark(d, LAYER_WHITEOUT, err) : 0;
}

static int is_hidden(const struct level *l, const struct layer_name *e, struct layer_attrs *a,
		     struct err *err)
{
	struct stat st;
	int rc;

	if (e->type == DT_SOCK)
		return 1;
	if (l->is_merged || (e->type != DT_CHR && (e->type != DT_REG || l->attrs.opaque != 'x')))
		return 0;
	if (fstatat(l->upper_fd, e->s, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", e->s);
	if (e->type == DT_CHR)
		return layer_is_whiteout(&st);
	if (st.st_size)
		return 0;
	rc = layer_attrs_read_at(l->upper_fd, e->s, a, err);
	return rc < 0 ? rc : a->is_whiteout;
}

static void path_set(struct diff *d, const struct level *l, const char *name)
{
	d->path.len = l->path_len;
	if (l->path_len)
		str_addc(&d->path, '/');
	str_add(&d->path, name);
}

/* Whiteouts come before siblings (image-spec layer.md). */
static int hide_names(struct diff *d, struct err *err)
{
	struct level *l = &d->v[d->n - 1];

	for (size_t i = 0; i < l->names.n; i++) {
		struct layer_name *e = &l->names.v[i];
		int rc = is_hidden(l, e, &d->attrs, err);

		if (rc == 0 && !str_starts(e->s, LAYER_WH_PREFIX))
			continue;
		path_set(d, l, e->s);
		if (rc == 0)
			return err_set(
				err, EINVAL,
				"%s: a layer cannot hold names that start with " LAYER_WH_PREFIX,
				str_get(&d->path));
		e->type = DONE;
		if (rc > 0)
			rc = hide(d, l, e->s, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Is the redirect of the directory at hand back to its own place over the parent? */
static bool leads_home(const struct diff *d, const struct level *up, const char *name,
		       const char *redirect)
{
	if (up->parent_fd < 0)
		return false;
	return *redirect == '/' ? !strcmp(redirect + 1, str_get(&d->path))
				: !strcmp(redirect, name);
}

static int open_parent(struct level *l, const struct level *up, const char *name, struct stat *ret,
		       struct err *err)
{
	if (up->parent_fd < 0)
		return 0;
	l->parent_fd = layer_open(up->parent_fd, name, O_DIRECTORY);
	if (l->parent_fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return err_sys(err, "open parent's %s", name);
	l->is_over = l->parent_fd >= 0;
	if (l->is_over && fstat(l->parent_fd, ret) < 0)
		return err_sys(err, "stat parent's %s", name);
	return 0;
}

/* Fills st and attrs of a level from fd. */
static int level_read(struct level *l, int fd, struct err *err)
{
	if (fstat(fd, &l->st) < 0)
		return err_sys(err, "stat");
	return layer_attrs_read(fd, &l->attrs, err);
}

static int level_open_raw(struct diff *d, struct level *l, const struct level *up, const char *name,
			  struct err *err)
{
	int rc;

	l->upper_fd = layer_open(up->upper_fd, name, O_DIRECTORY);
	if (l->upper_fd < 0)
		return err_sys(err, "open");
	rc = level_read(l, l->upper_fd, err);
	if (rc < 0 || !l->attrs.redirect || d->src->parent_fd < 0 ||
	    leads_home(d, up, name, l->attrs.redirect) || l->attrs.opaque == 'y')
		return rc;
	l->is_merged = true;
	l->merged_fd = open_merged(d, O_DIRECTORY, err);
	return l->merged_fd < 0 ? l->merged_fd : level_read(l, l->merged_fd, err);
}

static int level_open_merged(struct level *l, const struct level *up, const char *name,
			     struct err *err)
{
	l->is_merged = true;
	l->merged_fd = layer_open(up->merged_fd, name, O_DIRECTORY);
	if (l->merged_fd < 0)
		return err_sys(err, "open in merged view");
	/* The upper tells hardlinks only. */
	if (up->upper_fd >= 0)
		l->upper_fd = layer_open(up->upper_fd, name, O_DIRECTORY);
	return level_read(l, l->merged_fd, err);
}

/* Above FDS_HELD levels the higher ones give their fds back, and are opened again on the way up. */
static void park(struct diff *d)
{
	struct level *l = d->n >= FDS_HELD ? &d->v[d->n - 1] : NULL;

	if (!l)
		return;
	l->had_upper = l->upper_fd >= 0;
	l->had_parent = l->parent_fd >= 0;
	fd_close(&l->upper_fd);
	fd_close(&l->parent_fd);
	fd_close(&l->merged_fd);
}

static int unpark(struct diff *d, struct level *l, struct err *err)
{
	const struct {
		bool wanted;
		int root_fd, *fd;
	} v[] = { { l->had_upper, d->src->upper_fd, &l->upper_fd },
		  { l->had_parent, d->src->parent_fd, &l->parent_fd },
		  { l->is_merged, d->src->merged_fd, &l->merged_fd } };

	d->path.len = l->path_len;
	d->path.s[l->path_len] = 0;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		if (!v[i].wanted || *v[i].fd >= 0)
			continue;
		*v[i].fd = path_open_beneath(v[i].root_fd, d->path.s,
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
		if (*v[i].fd < 0)
			return *v[i].fd;
	}
	return 0;
}

static int push(struct diff *d, struct level *l, struct err *err)
{
	int rc;

	if (d->n >= LAYER_DEPTH_MAX || d->path.len >= LAYER_PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%.200s…: too deep for a layer",
			       str_get(&d->path));
	rc = layer_names_read(l->is_merged ? l->merged_fd : l->upper_fd, true, &l->names, err);
	if (rc < 0)
		return err_ctx(err, "%s", str_get(&d->path));
	l->path_len = d->path.len;
	mem_room(d->v, d->n, d->cap);
	d->v[d->n++] = *l;
	*l = (struct level){ .upper_fd = -1, .parent_fd = -1, .merged_fd = -1 };
	return 0;
}

/* The first things of a directory: its entry if it differs, the opaque mark, whiteouts. */
static int begin(struct diff *d, bool is_changed, bool is_cut, struct err *err)
{
	struct level *l = &d->v[d->n - 1];
	int rc = 0;

	l->is_written = !*str_get(&d->path) && !is_changed;
	if (is_changed)
		rc = write_dirs(d, err);
	if (rc >= 0 && is_cut) {
		rc = write_mark(d, LAYER_OPAQUE, err);
		fd_close(&d->v[d->n - 1].parent_fd);
	}
	return rc < 0 ? rc : hide_names(d, err);
}
#define auto_level cleanup(level_free)

static int enter(struct diff *d, const char *name, struct err *err)
{
	auto_level struct level l = { .upper_fd = -1, .parent_fd = -1, .merged_fd = -1 };
	const struct level *up = &d->v[d->n - 1];
	bool is_changed, is_cut;
	struct stat below = { 0 };
	int rc;

	rc = up->is_merged ? level_open_merged(&l, up, name, err)
			   : level_open_raw(d, &l, up, name, err);
	if (rc >= 0)
		rc = open_parent(&l, up, name, &below, err);
	if (rc >= 0 && l.is_over)
		rc = layer_attrs_read(l.parent_fd, &d->theirs, err);
	if (rc < 0)
		return err_ctx(err, "%s", str_get(&d->path));
	is_cut = l.is_over && (l.is_merged || l.attrs.opaque == 'y');
	/* Its time alone counts too: make, fontconfig and others compare it. Not that of "/", which
	 * every mountpoint changes. */
	is_changed = !l.is_over || is_cut || !layer_same_stat(&l.st, &below) ||
		     l.st.st_mtim.tv_sec != below.st_mtim.tv_sec ||
		     !layer_same_attrs(&l.attrs, &d->theirs);
	park(d);
	rc = push(d, &l, err);
	return rc < 0 ? rc : begin(d, is_changed, is_cut, err);
}

static int leave(struct diff *d, struct err *err)
{
	level_free(&d->v[--d->n]);
	return d->n >= FDS_HELD ? unpark(d, &d->v[d->n - 1], err) : 0;
}

static int begin_root(struct diff *d, struct err *err)
{
	auto_level struct level l = { .upper_fd = -1, .parent_fd = -1, .merged_fd = -1 };
	bool is_changed;
	struct stat below = { 0 };
	int rc;

	str_add(&d->path, "");
	l.upper_fd = layer_open(d->src->upper_fd, ".", O_DIRECTORY);
	if (l.upper_fd < 0)
		return err_sys(err, "open upper");
	rc = level_read(&l, l.upper_fd, err);
	if (rc < 0)
		return rc;
	is_changed =
		(l.st.st_mode & 07777) != 0755 || l.st.st_uid || l.st.st_gid || l.attrs.kept.len;
	if (d->src->parent_fd >= 0) {
		l.parent_fd = layer_open(d->src->parent_fd, ".", O_DIRECTORY);
		if (l.parent_fd < 0 || fstat(l.parent_fd, &below) < 0)
			return err_sys(err, "open parent");
		l.is_over = true;
		rc = layer_attrs_read(l.parent_fd, &d->theirs, err);
		is_changed =
			!layer_same_stat(&l.st, &below) || !layer_same_attrs(&l.attrs, &d->theirs);
	}
	if (rc >= 0)
		rc = push(d, &l, err);
	return rc < 0 ? rc
		      : begin(d, is_changed, d->v[0].is_over && d->v[0].attrs.opaque == 'y', err);
}

static int walk(struct diff *d, struct err *err)
{
	int rc = begin_root(d, err);

	while (rc >= 0 && d->n) {
		struct level *l = &d->v[d->n - 1];
		const struct layer_name *e = l->next < l->names.n ? &l->names.v[l->next++] : NULL;

		if (!e) {
			rc = leave(d, err);
			continue;
		}
		if (e->type == DONE)
			continue;
		path_set(d, l, e->s);
		if (e->type == DT_DIR)
			rc = enter(d, e->s, err);
		else if (e->type == DT_REG)
			rc = visit_file(d, l, e->s, err);
		else
			rc = visit_node(d, l, e->s, err);
	}
	return rc;
}

int layer_diff(const struct layer_source *src, const struct layer_diff_opts *o,
	       struct layer_info *ret, struct err *err)
{
	auto_diff struct diff d = { .src = src, .o = o, .file = { .fd = -1, .memo = o->memo } };
	int rc = 0;

	d.tar = layer_tar_new(o->to, !o->no_hash, o->memo);
	d.buf = mem_grow(NULL, LAYER_CHUNK, 1);
	if (o->table_dir_fd >= 0 || o->on_row || o->memo)
		d.xxh = XXH3_createState();
	if (o->table_dir_fd >= 0)
		rc = layer_table_new(o->table_dir_fd, &d.table, err);
	if (rc >= 0)
		rc = walk(&d, err);
	if (rc >= 0)
		rc = layer_tar_end(d.tar, &d.info, err);
	if (rc >= 0 && o->memo)
		d.info.is_same = layer_memo_is_same(o->memo);
	if (rc >= 0 && d.table)
		rc = layer_table_commit(d.table, err);
	if (rc < 0)
		return err_ctx(err, "diff");
	*ret = d.info;
	return 0;
}
