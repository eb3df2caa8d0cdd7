/* SPDX-License-Identifier: Apache-2.0 */
/* A folded layer on disk: files are linked to those it is taken from, but where attributes come
 * from one layer and data from another. */
#include "fold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

struct write {
	const struct snap_fold *f;
	size_t layer;
	int to_fd;
};

static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? mem_strn(path, (size_t)(slash - path)) : mem_str("");
}

static int open_source(const struct write *w, size_t layer, const char *dir, struct err *err)
{
	return snap_open_sub(w->f->layers[layer].fd, dir, err);
}

static int copy_mark(int from_fd, int to_fd, const char *name, struct err *err)
{
	auto_free char *value = NULL;
	struct err none = { 0 };
	size_t n = 0;
	int rc = fs_xattr_get(from_fd, name, &value, &n, &none);

	if (rc < 0 && none.code != ENODATA && none.code != EOPNOTSUPP) {
		*err = none;
		return rc;
	}
	return rc < 0 ? 0 : fs_xattr_set(to_fd, name, value, n, err);
}

static int make_dir(const struct write *w, const struct snap_fold_entry *e, int dir_fd,
		    struct err *err)
{
	auto_fd int from = open_source(w, w->layer, e->path, err), to = -1;
	int rc;

	if (from < 0)
		return fd_take(&from);
	rc = fs_mkdir(dir_fd, path_base(e->path), 0700, err);
	if (rc < 0)
		return rc;
	to = snap_open_dir(dir_fd, path_base(e->path), err);
	if (to < 0)
		return fd_take(&to);
	rc = copy_mark(from, to, "trusted.overlay.opaque", err);
	return rc < 0 ? rc : copy_mark(from, to, "trusted.overlay.redirect", err);
}

static int make_file(const struct write *w, const struct snap_fold_entry *e, int dir_fd,
		     struct err *err)
{
	auto_free char *dir = dir_of(e->path);
	auto_fd int from = open_source(w, e->data, dir, err), attrs = -1, data = -1;
	const char *name = path_base(e->path);

	if (from < 0)
		return fd_take(&from);
	if (e->data == e->attrs)
		return linkat(from, name, dir_fd, name, 0) < 0 ? err_sys(err, "link %s", e->path)
							       : 0;
	attrs = open_source(w, e->attrs, dir, err);
	if (attrs < 0)
		return fd_take(&attrs);
	data = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (data < 0)
		return err_sys(err, "open %s", e->path);
	return snap_copy_entry(attrs, name, dir_fd, data, err);
}

static int make(const struct write *w, const struct snap_fold_entry *e, struct err *err)
{
	auto_free char *dir = dir_of(e->path);
	auto_fd int fd = snap_open_sub(w->to_fd, dir, err);

	if (fd < 0)
		return fd_take(&fd);
	return S_ISDIR(e->mode) ? make_dir(w, e, fd, err) : make_file(w, e, fd, err);
}

static int set_attrs(const struct write *w, const char *path, size_t from_layer, struct err *err)
{
	auto_fd int from = open_source(w, from_layer, path, err), to = -1;
	struct stat st;

	if (from < 0)
		return fd_take(&from);
	to = snap_open_sub(w->to_fd, path, err);
	if (to < 0)
		return fd_take(&to);
	return fstat(from, &st) < 0 ? err_sys(err, "stat %s", path)
				    : snap_copy_attrs(from, to, &st, err);
}

int snap_fold_write(struct snap_fold *f, size_t i, int to_fd, struct err *err)
{
	const struct snap_fold_layer *l = &f->layers[i];
	auto_fd int to = openat(to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct write w = { .f = f, .layer = i, .to_fd = to };
	int rc = to < 0 ? err_sys(err, "open a layer") : 0;

	for (size_t k = 0; rc >= 0 && k < l->n; k++)
		if (!l->v[k].is_gone)
			rc = make(&w, &l->v[k], err);
	/* Whatever is put into a directory changes its times. */
	for (size_t k = l->n; rc >= 0 && k-- > 0;)
		if (!l->v[k].is_gone && S_ISDIR(l->v[k].mode))
			rc = set_attrs(&w, l->v[k].path, l->v[k].attrs, err);
	return rc < 0 ? rc : set_attrs(&w, "", i, err);
}
