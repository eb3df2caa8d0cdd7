/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chown -R after COPY: the upper layer has no data of its own, but in an archive it has all of it
 * once more. Here is found what can be told by the layer that has the data. Nothing is changed.
 */
#include "fold.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/str.h>

/* --- reading the layers --- */

static bool has_xattr(int fd, const char *name)
{
	return fgetxattr(fd, name, NULL, 0) >= 0;
}

static int read_file_marks(int dir_fd, const char *name, struct snap_fold_entry *e, struct err *err)
{
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open %s", name);
	e->is_metacopy = has_xattr(fd, "trusted.overlay.metacopy");
	e->is_moved = has_xattr(fd, "trusted.overlay.redirect");
	return 0;
}

static int add(struct snap_fold *f, size_t layer, int dir_fd, const char *dir, const char *name,
	       struct err *err)
{
	struct snap_fold_layer *l = &f->layers[layer];
	struct snap_fold_entry e = { .data = layer, .attrs = layer };
	struct stat st;
	int rc = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	e.mode = st.st_mode;
	e.ino = st.st_ino;
	e.nlink = st.st_nlink;
	e.rdev = st.st_rdev;
	e.size = st.st_size;
	e.is_whiteout = snap_is_whiteout(&st);
	if (S_ISREG(st.st_mode) && l->flags & SNAP_NEEDS_METACOPY)
		rc = read_file_marks(dir_fd, name, &e, err);
	if (rc < 0)
		return rc;
	e.path = snap_join(dir, name);
	mem_room(l->v, l->n, l->cap);
	l->v[l->n++] = e;
	return 0;
}

static int read_dir(struct snap_fold *f, size_t layer, size_t at, struct err *err)
{
	struct snap_fold_layer *l = &f->layers[layer];
	auto_free char *path = mem_str(at == SIZE_MAX ? "" : l->v[at].path);
	auto_fd int fd = snap_open_sub(l->fd, path, err);
	auto_strv struct strv names = { 0 };
	char opaque[2];
	int rc;

	if (fd < 0)
		return fd_take(&fd);
	if (at != SIZE_MAX) {
		l->v[at].is_opaque =
			fgetxattr(fd, "trusted.overlay.opaque", opaque, 2) == 1 && *opaque == 'y';
		l->v[at].is_moved = has_xattr(fd, "trusted.overlay.redirect");
	}
	rc = fs_list(fd, ".", &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		rc = add(f, layer, fd, path, names.v[i], err);
	return rc;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct snap_fold_entry *)a)->path,
		      ((const struct snap_fold_entry *)b)->path);
}

static int by_inode(const void *a, const void *b)
{
	ino_t x = (*(struct snap_fold_entry *const *)a)->ino;
	ino_t y = (*(struct snap_fold_entry *const *)b)->ino;

	return (x > y) - (x < y);
}

/* st_nlink counts what other layers and trees have as well. */
static void mark_links(struct snap_fold_layer *l)
{
	auto_free struct snap_fold_entry **many =
		mem_array(l->n + 1, sizeof(struct snap_fold_entry *));
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		if (!S_ISDIR(l->v[i].mode) && !l->v[i].is_whiteout && l->v[i].nlink > 1)
			many[n++] = &l->v[i];
	if (n)
		qsort(many, n, sizeof(struct snap_fold_entry *), by_inode);
	for (size_t i = 1; i < n; i++)
		if (many[i]->ino == many[i - 1]->ino)
			many[i]->is_linked = many[i - 1]->is_linked = true;
}

struct snap_fold_entry *snap_fold_find(const struct snap_fold_layer *l, const char *path)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(l->v[mid].path, path);

		if (!c)
			return &l->v[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* NULL: the root. */
static struct snap_fold_entry *parent_of(const struct snap_fold_layer *l, const char *path)
{
	const char *slash = strrchr(path, '/');
	auto_free char *dir = slash ? mem_strn(path, (size_t)(slash - path)) : NULL;

	return dir ? snap_fold_find(l, dir) : NULL;
}

static int read_layer(struct snap_fold *f, size_t layer, struct err *err)
{
	struct snap_fold_layer *l = &f->layers[layer];
	int rc;

	l->fd = snap_open_dir(f->s->snap_fd, SNAP_NAME(l->id, "fs"), err);
	if (l->fd < 0)
		return l->fd;
	rc = read_dir(f, layer, SIZE_MAX, err);
	for (size_t i = 0; rc >= 0 && i < l->n; i++)
		if (S_ISDIR(l->v[i].mode))
			rc = read_dir(f, layer, i, err);
	if (rc < 0)
		return err_ctx(err, "layer %" PRId64, l->id);
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_path);
	mark_links(l);
	for (size_t i = 0; i < l->n; i++) {
		struct snap_fold_entry *p = parent_of(l, l->v[i].path);

		if (p)
			p->left++;
	}
	return 0;
}

/* --- what moves --- */

enum cut { CUT_NO, CUT_HIDDEN, CUT_MOVED };

/* Does the layer hide what those beneath it have at path, or show there what is elsewhere? */
static enum cut is_cut(const struct snap_fold_layer *l, const char *path)
{
	auto_free char *dir = mem_str(path);

	for (char *slash = dir; (slash = strchr(slash, '/')); slash++) {
		const struct snap_fold_entry *e;

		*slash = 0;
		e = snap_fold_find(l, dir);
		*slash = '/';
		if (!e)
			return CUT_NO;
		if (e->is_moved)
			return CUT_MOVED;
		if (!S_ISDIR(e->mode) || e->is_opaque)
			return CUT_HIDDEN;
	}
	return CUT_NO;
}

/* The entry that the layers beneath show there, if one of them made it. */
static struct snap_fold_entry *below(const struct snap_fold *f, size_t layer, const char *path)
{
	while (layer-- > 0) {
		struct snap_fold_entry *e = snap_fold_find(&f->layers[layer], path);

		if (e && !e->is_gone)
			return e;
		if (!e && is_cut(&f->layers[layer], path) != CUT_NO)
			return NULL;
	}
	return NULL;
}

static int open_data(const struct snap_fold *f, size_t layer, const char *path, struct err *err)
{
	return path_open_beneath(f->layers[layer].fd, path,
				 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0, err);
}

static int same_data(const struct snap_fold *f, const struct snap_fold_entry *e,
		     const struct snap_fold_entry *p, struct err *err)
{
	auto_fd int a = open_data(f, e->data, e->path, err), b = -1;

	if (a < 0)
		return fd_take(&a);
	b = open_data(f, p->data, p->path, err);
	return b < 0 ? fd_take(&b) : fs_same_data(a, b, (uint64_t)e->size, err);
}

static int same_target(const struct snap_fold *f, const struct snap_fold_entry *e,
		       const struct snap_fold_entry *p)
{
	char a[PATH_MAX], b[PATH_MAX];
	auto_fd int x = path_try_in(f->layers[e->data].fd, e->path, O_PATH | O_NOFOLLOW, 0);
	auto_fd int y = path_try_in(f->layers[p->data].fd, p->path, O_PATH | O_NOFOLLOW, 0);
	ssize_t n = x < 0 ? -1 : readlinkat(x, "", a, sizeof(a));
	ssize_t m = y < 0 ? -1 : readlinkat(y, "", b, sizeof(b));

	return n > 0 && n == m && !memcmp(a, b, (size_t)n);
}

/* 1: p takes over what e says. */
static int fold_file(struct snap_fold *f, struct snap_fold_entry *e, struct snap_fold_entry *p,
		     struct err *err)
{
	const struct snap_fold_entry *data = snap_fold_find(&f->layers[p->data], p->path);
	int rc;

	if (e->is_moved || p->is_moved || data->is_moved) {
		f->what.renamed++;
		return 0;
	}
	if (e->size != p->size || (!e->is_metacopy && data->is_metacopy))
		return 0;
	rc = e->is_metacopy ? 1 : same_data(f, e, p, err);
	if (rc <= 0)
		return rc;
	if (e->is_linked || p->is_linked || data->is_linked) {
		f->what.linked++;
		return 0;
	}
	/* A metacopy finds the data of another one as well as its own. */
	if (!e->is_metacopy || data->is_metacopy)
		p->data = e->data;
	p->attrs = e->data;
	f->what.moved_bytes += (uint64_t)e->size;
	return 1;
}

static int fold_node(struct snap_fold *f, struct snap_fold_entry *e, struct snap_fold_entry *p)
{
	bool is_same = S_ISLNK(e->mode) ? same_target(f, e, p) : e->rdev == p->rdev;

	if (!is_same)
		return 0;
	if (e->is_linked || p->is_linked) {
		f->what.linked++;
		return 0;
	}
	p->data = p->attrs = e->data;
	return 1;
}

static int fold_entry(struct snap_fold *f, size_t layer, struct snap_fold_entry *e, struct err *err)
{
	struct snap_fold_entry *p = below(f, layer, e->path);

	if (!p || e->is_whiteout || p->is_whiteout || (e->mode & S_IFMT) != (p->mode & S_IFMT))
		return 0;
	if (S_ISREG(e->mode))
		return fold_file(f, e, p, err);
	if (!S_ISDIR(e->mode))
		return fold_node(f, e, p);
	if (e->is_opaque || e->is_moved || e->left)
		return 0;
	p->attrs = e->data;
	return 1;
}

static void note(struct snap_fold *f, struct snap_fold_layer *l, struct snap_fold_entry *e)
{
	struct snap_fold_entry *parent = parent_of(l, e->path);

	e->is_gone = true;
	if (parent)
		parent->left--;
	l->gone++;
	l->is_changed = true;
	f->what.moved++;
}

static int fold_layer(struct snap_fold *f, size_t layer, struct err *err)
{
	struct snap_fold_layer *l = &f->layers[layer];

	/* From the end: what is in a directory before the directory. */
	for (size_t i = l->n; i-- > 0;) {
		struct snap_fold_entry *e = &l->v[i];
		enum cut cut = is_cut(l, e->path);
		int rc;

		if (cut == CUT_MOVED)
			f->what.renamed++;
		if (cut != CUT_NO)
			continue;
		rc = fold_entry(f, layer, e, err);
		if (rc < 0)
			return err_ctx(err, "%s", e->path);
		if (rc > 0)
			note(f, l, e);
	}
	return 0;
}

/* A layer begins with its parent's root. */
static int look_at_root(struct snap_fold *f, size_t layer, struct err *err)
{
	struct snap_fold_layer *l = &f->layers[layer];
	struct stat a, b;
	int rc = 1;

	if (fstat(l->fd, &a) < 0 || fstat(f->layers[layer - 1].fd, &b) < 0)
		return err_sys(err, "stat a layer");
	if (a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid)
		rc = !snap_same_xattrs(l->fd, f->layers[layer - 1].fd, err);
	if (rc >= 0)
		l->is_root_changed = rc;
	return rc;
}

/* Whoever takes something from above changes too. */
static void mark_takers(struct snap_fold *f)
{
	for (size_t i = 0; i < f->n; i++)
		for (size_t k = 0; k < f->layers[i].n; k++)
			if (!f->layers[i].v[k].is_gone && f->layers[i].v[k].attrs != i)
				f->layers[i].is_changed = true;
}

static int load(struct snap_fold *f, int64_t id, int64_t base, struct err *err)
{
	auto_snap_chain struct snap_chain c = { 0 };
	size_t n = 0;
	int rc = snap_chain_load(f->s, id, &c, err);

	if (rc < 0)
		return rc;
	while (n < c.n && c.ids[n] != base)
		n++;
	if (base && n == c.n)
		return err_set(err, EINVAL, "snapshot %" PRId64 " does not rest on %" PRId64, id,
			       base);
	f->layers = mem_array(n + 1, sizeof(*f->layers));
	for (size_t i = 0; i < n; i++)
		f->layers[i] = (struct snap_fold_layer){ .id = c.ids[n - 1 - i],
							 .flags = c.layer_flags[n - 1 - i],
							 .fd = -1 };
	f->n = f->what.n = n;
	return 0;
}

int snap_fold_open(struct snap *s, int64_t id, int64_t base, struct snap_fold **ret,
		   struct snap_folded *ret_what, struct err *err)
{
	auto_snap_fold struct snap_fold *f = mem_alloc(sizeof(*f));
	int rc;

	f->s = s;
	rc = load(f, id, base, err);
	for (size_t i = 0; rc >= 0 && i < f->n; i++)
		rc = read_layer(f, i, err);
	for (size_t i = 1; rc >= 0 && i < f->n; i++)
		rc = fold_layer(f, i, err);
	for (size_t i = 1; rc >= 0 && i < f->n; i++)
		rc = look_at_root(f, i, err);
	if (rc < 0)
		return rc;
	mark_takers(f);
	*ret_what = f->what;
	*ret = take(f);
	return 0;
}

void snap_fold_close(struct snap_fold **f)
{
	for (size_t i = 0; *f && i < (*f)->n; i++) {
		struct snap_fold_layer *l = &(*f)->layers[i];

		for (size_t k = 0; k < l->n; k++)
			free(l->v[k].path);
		free(l->v);
		fd_close(&l->fd);
	}
	if (*f)
		free((*f)->layers);
	mem_cleanup(f);
}

int64_t snap_fold_layer(const struct snap_fold *f, size_t i)
{
	return f->layers[i].id;
}

enum snap_fold_fate snap_fold_fate(const struct snap_fold *f, size_t i)
{
	const struct snap_fold_layer *l = &f->layers[i];

	if (l->gone && l->gone == l->n && !l->is_root_changed)
		return SNAP_FOLD_EMPTY;
	return l->is_changed ? SNAP_FOLD_CHANGED : SNAP_FOLD_SAME;
}
