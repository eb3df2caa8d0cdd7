/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files of an archive are: one pass over its headers, the bytes between are not read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/mem.h>

#include "priv.h"

/* Above so many an archive of images is none. */
enum { ENTRIES_MAX = 100000, LINKS_MAX = 40 };

struct item {
	char *path, *target; /* target: of a link, from the root */
	char kind;
	size_t order;
	struct layer_range at;
};

struct layer_index {
	struct item *v;
	size_t n, cap;
};

void layer_index_cleanup(struct layer_index **pix)
{
	struct layer_index *ix = *pix;

	*pix = NULL;
	for (size_t i = 0; ix && i < ix->n; i++) {
		free(ix->v[i].path);
		free(ix->v[i].target);
	}
	free(ix ? ix->v : NULL);
	free(ix);
}

/* A symlink's target is from the directory that it is in. NULL when it leads out of the archive. */
static void link_target(const struct layer_entry *e, const char *path, char **ret)
{
	auto_str struct str raw = { 0 }, clean = { 0 };
	const char *slash = strrchr(path, '/'), *to = str_get(&e->target);
	struct err ignored = { 0 };

	if (e->kind == LAYER_SYMLINK && *to != '/' && slash)
		str_addn(&raw, path, (size_t)(slash - path) + 1);
	str_add(&raw, to);
	if (layer_clean(&raw, &clean, &ignored) >= 0)
		*ret = mem_str(str_get(&clean));
}

static int add(struct layer_index *ix, struct layer_untar *u, struct err *err)
{
	auto_str struct str path = { 0 };
	const struct layer_entry *e = &u->e;
	struct item *it;
	int rc = layer_clean(&e->path, &path, err);

	if (rc < 0 ||
	    (e->kind != LAYER_FILE && e->kind != LAYER_SYMLINK && e->kind != LAYER_HARDLINK))
		return rc;
	if (e->kind == LAYER_FILE && (e->n_parts != 1 || e->parts[0].at || u->left != e->size))
		return err_set(err, ENOTSUP, "a sparse file");
	if (ix->n == ENTRIES_MAX)
		return err_set(err, E2BIG, "more than %d files", ENTRIES_MAX);
	mem_room(ix->v, ix->n, ix->cap);
	it = &ix->v[ix->n];
	*it = (struct item){ .path = mem_str(str_get(&path)),
			     .kind = e->kind,
			     .order = ix->n++,
			     .at = { layer_stream_bytes(u->from), e->size, false } };
	if (e->kind != LAYER_FILE)
		link_target(e, it->path, &it->target);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int rc = strcmp(x->path, y->path);

	return rc ? rc : x->order < y->order ? 1 : -1;
}

/* The last of a name holds. */
static void sort(struct layer_index *ix)
{
	size_t n = 0;

	if (ix->n)
		qsort(ix->v, ix->n, sizeof(*ix->v), compare);
	for (size_t i = 0; i < ix->n; i++) {
		if (n && !strcmp(ix->v[n - 1].path, ix->v[i].path)) {
			free(ix->v[i].path);
			free(ix->v[i].target);
		} else {
			ix->v[n++] = ix->v[i];
		}
	}
	ix->n = n;
}

int layer_index_new(int fd, uint64_t size, struct layer_index **ret, struct err *err)
{
	cleanup(layer_index_cleanup) struct layer_index *ix = mem_alloc(sizeof(*ix));
	cleanup(layer_stream_free) struct layer_stream *from = NULL;
	auto_layer_untar struct layer_untar u = { 0 };
	struct layer_range all = { 0, size, false };
	int rc = layer_stream_range(fd, &all, 0, &from, err);

	if (rc >= 0 && !layer_stream_can_skip(from))
		rc = err_set(err, ENOTSUP, "it is compressed");
	u.from = from;
	while (rc >= 0 && (rc = layer_untar_next(&u, err)) > 0) {
		rc = add(ix, &u, err);
		if (rc < 0)
			err_ctx(err, "%.300s", str_get(&u.e.path));
	}
	if (rc < 0)
		return rc;
	sort(ix);
	*ret = take(ix);
	return 0;
}

static int by_path(const void *path, const void *item)
{
	return strcmp(path, ((const struct item *)item)->path);
}

int layer_index_find(const struct layer_index *ix, const char *path, struct layer_range *ret,
		     struct err *err)
{
	auto_str struct str raw = { 0 }, clean = { 0 };
	const char *name;
	int rc;

	str_add(&raw, path);
	rc = layer_clean(&raw, &clean, err);
	name = str_get(&clean);
	for (int i = 0; rc >= 0 && i < LINKS_MAX; i++) {
		const struct item *it =
			ix->n ? bsearch(name, ix->v, ix->n, sizeof(*ix->v), by_path) : NULL;

		if (!it)
			return err_set(err, ENOENT, "%.200s: no such file in the archive", path);
		if (it->kind == LAYER_FILE) {
			*ret = it->at;
			return 0;
		}
		name = it->target;
		if (!name)
			return err_set(err, EPERM, "%.200s: a link out of the archive", path);
	}
	return rc < 0 ? rc : err_set(err, ELOOP, "%.200s: links without end", path);
}
