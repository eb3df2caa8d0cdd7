/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker diff: the merged view against the parents', led by the raw upper. Where the upper's
 * directory lies over the parent's, only the upper's names can have changed; where it hides it
 * (opaque, renamed), all names of both are compared.
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

enum { FDS_HELD = 64, N_SIDES = 3 };
enum side { UPPER, MERGED, PARENT };

struct level {
	int fd[N_SIDES];   /* -1: not there */
	bool had[N_SIDES]; /* while the fds are given back */
	struct layer_names names;
	size_t next, path_len;
	bool is_shown; /* as changed */
};

struct changes {
	const int *root; /* by side */
	layer_change_fn *fn;
	void *arg;
	struct level *v;
	size_t n, cap;
	struct str path;
	struct layer_attrs ours, theirs;
};

static void level_free(struct level *l)
{
	for (int i = 0; i < N_SIDES; i++)
		fd_close(&l->fd[i]);
	layer_names_free(&l->names);
}
#define auto_level cleanup(level_free)

static void changes_free(struct changes *c)
{
	for (size_t i = 0; i < c->n; i++)
		level_free(&c->v[i]);
	free(c->v);
	str_free(&c->path);
	layer_attrs_free(&c->ours);
	layer_attrs_free(&c->theirs);
}
#define auto_changes cleanup(changes_free)

/* The directories on the way count as changed. */
static int show_dirs(struct changes *c, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < c->n && rc >= 0; i++) {
		struct level *l = &c->v[i];
		char saved = c->path.s[l->path_len];

		if (l->is_shown)
			continue;
		l->is_shown = true;
		c->path.s[l->path_len] = 0;
		rc = c->fn('C', c->path.s, c->arg, err);
		c->path.s[l->path_len] = saved;
	}
	return rc;
}

static int show(struct changes *c, char what, struct err *err)
{
	int rc = show_dirs(c, err);

	return rc < 0 ? rc : c->fn(what, c->path.s, c->arg, err);
}

/* --- which names --- */

static void names_merge(struct layer_names *a, const struct layer_names *b)
{
	struct layer_names both = { 0 };

	for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
		int order = i == a->n ? 1 : k == b->n ? -1 : strcmp(a->v[i].s, b->v[k].s);

		mem_room(both.v, both.n, both.cap);
		both.v[both.n++] = order <= 0 ? a->v[i] : b->v[k];
		i += order <= 0;
		k += order >= 0;
	}
	free(a->v);
	a->v = both.v;
	a->n = both.n;
	a->cap = both.cap;
}

/* The second list's names go on living in the first one's text. */
static int list_both(struct level *l, struct err *err)
{
	auto_layer_names struct layer_names theirs = { 0 };
	size_t at = 0, len;
	int rc = layer_names_read(l->fd[MERGED], true, &l->names, err);

	if (rc >= 0 && l->fd[PARENT] >= 0)
		rc = layer_names_read(l->fd[PARENT], true, &theirs, err);
	if (rc < 0 || !theirs.n)
		return rc;
	len = l->names.text.len;
	for (size_t i = 0; i < l->names.n; i++)
		l->names.v[i].s = (const char *)(uintptr_t)(l->names.v[i].s - l->names.text.s);
	str_addn(&l->names.text, theirs.text.s, theirs.text.len);
	for (size_t i = 0; i < l->names.n; i++)
		l->names.v[i].s = l->names.text.s + (uintptr_t)l->names.v[i].s;
	for (; at < theirs.n; at++)
		theirs.v[at].s = l->names.text.s + len + (theirs.v[at].s - theirs.text.s);
	names_merge(&l->names, &theirs);
	return 0;
}

/* --- comparing --- */

static int same_file(struct changes *c, const struct level *l, const char *name, uint64_t size,
		     struct err *err)
{
	auto_fd int a = layer_open(l->fd[MERGED], name, 0), b = layer_open(l->fd[PARENT], name, 0);

	if (a < 0 || b < 0)
		return err_sys(err, "open %s", c->path.s);
	return fs_same_data(a, b, size, err);
}

static int same_link(const struct level *l, const char *name, struct err *err)
{
	char a[PATH_MAX], b[PATH_MAX];
	int rc = layer_readlink(l->fd[MERGED], name, a, err);

	if (rc >= 0)
		rc = layer_readlink(l->fd[PARENT], name, b, err);
	return rc < 0 ? rc : !strcmp(a, b);
}

static int is_same(struct changes *c, const struct level *l, const char *name, const struct stat *a,
		   const struct stat *b, struct err *err)
{
	int rc;

	if (!layer_same_stat(a, b))
		return 0;
	if (S_ISLNK(a->st_mode)) {
		rc = same_link(l, name, err);
		if (rc <= 0)
			return rc;
	}
	rc = layer_attrs_read_at(l->fd[MERGED], name, &c->ours, err);
	if (rc >= 0)
		rc = layer_attrs_read_at(l->fd[PARENT], name, &c->theirs, err);
	if (rc < 0 || !layer_same_attrs(&c->ours, &c->theirs))
		return rc < 0 ? rc : 0;
	return S_ISREG(a->st_mode) ? same_file(c, l, name, (uint64_t)a->st_size, err) : 1;
}

/* --- directories --- */

/* Does the upper's directory lie over the parent's of the same path, so that its names lead? */
static int leads(struct changes *c, const struct level *l, const char *name, struct err *err)
{
	const char *to;
	int rc;

	if (l->fd[UPPER] < 0 || l->fd[PARENT] < 0)
		return 0;
	rc = layer_attrs_read(l->fd[UPPER], &c->ours, err);
	if (rc < 0)
		return rc;
	to = c->ours.redirect;
	if (c->ours.opaque == 'y')
		return 0;
	return !to || !strcmp(to, *to == '/' ? c->path.s : name);
}

static int open_sides(struct changes *c, struct level *l, const char *name, bool is_led,
		      struct err *err)
{
	for (int i = 0; i < N_SIDES; i++) {
		int from = c->n ? c->v[c->n - 1].fd[i] : c->root[i];

		/* Beneath a directory that is not led by the upper, its names say nothing of the
		 * parent's. */
		if (from < 0 || (i == UPPER && !is_led))
			continue;
		l->fd[i] = layer_open(from, name, O_DIRECTORY);
		if (l->fd[i] < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			return err_sys(err, "open %s", c->path.s);
	}
	return l->fd[MERGED] < 0 ? err_set(err, ENOENT, "open %s: it is gone", c->path.s) : 0;
}

static void park(struct level *l)
{
	for (int i = 0; i < N_SIDES; i++) {
		l->had[i] = l->fd[i] >= 0;
		fd_close(&l->fd[i]);
	}
}

static int enter(struct changes *c, const char *name, bool is_shown, struct err *err)
{
	auto_level struct level l = { .fd = { -1, -1, -1 },
				      .path_len = c->path.len,
				      .is_shown = is_shown };
	int rc, led;

	if (c->n >= LAYER_DEPTH_MAX)
		return err_set(err, ENAMETOOLONG, "%.200s…: too deep", c->path.s);
	rc = open_sides(c, &l, name, c->n == 0 || c->v[c->n - 1].fd[UPPER] >= 0, err);
	led = rc < 0 ? rc : leads(c, &l, name, err);
	if (led < 0)
		return led;
	if (!led)
		fd_close(&l.fd[UPPER]);
	rc = led ? layer_names_read(l.fd[UPPER], true, &l.names, err) : list_both(&l, err);
	if (rc < 0)
		return rc;
	if (c->n >= FDS_HELD)
		park(&c->v[c->n - 1]);
	mem_room(c->v, c->n, c->cap);
	c->v[c->n++] = l;
	l = (struct level){ .fd = { -1, -1, -1 } };
	return 0;
}

static int leave(struct changes *c, struct err *err)
{
	struct level *l;

	level_free(&c->v[--c->n]);
	if (c->n < FDS_HELD)
		return 0;
	l = &c->v[c->n - 1];
	c->path.len = l->path_len;
	c->path.s[l->path_len] = 0;
	for (int i = 0; i < N_SIDES; i++) {
		if (!l->had[i])
			continue;
		l->fd[i] = path_open_beneath(c->root[i], c->path.s + 1, O_RDONLY | O_DIRECTORY, 0,
					     err);
		if (l->fd[i] < 0)
			return l->fd[i];
	}
	return 0;
}

static int visit(struct changes *c, const char *name, struct err *err)
{
	const struct level *l = &c->v[c->n - 1];
	struct stat ours, theirs;
	bool has = fstatat(l->fd[MERGED], name, &ours, AT_SYMLINK_NOFOLLOW) == 0;
	bool had = l->fd[PARENT] >= 0 &&
		   fstatat(l->fd[PARENT], name, &theirs, AT_SYMLINK_NOFOLLOW) == 0;
	int rc, same = 0;

	/* Where no view hides them, in a layer without parents, a whiteout is nothing as well. */
	has = has && !layer_is_whiteout(&ours);
	if (!has)
		return had ? show(c, 'D', err) : 0;
	if (had)
		same = is_same(c, l, name, &ours, &theirs, err);
	rc = same ? same : show(c, had ? 'C' : 'A', err);
	if (rc < 0 || !S_ISDIR(ours.st_mode))
		return rc;
	return enter(c, name, !same, err);
}

int layer_changes(const struct layer_source *src, layer_change_fn *fn, void *arg, struct err *err)
{
	/* Without parents there is no merged view: the upper is one. */
	const int root[N_SIDES] = { src->upper_fd,
				    src->merged_fd >= 0 ? src->merged_fd : src->upper_fd,
				    src->merged_fd >= 0 ? src->parent_fd : -1 };
	auto_changes struct changes c = { .root = root, .fn = fn, .arg = arg, .cap = 16 };
	int rc;

	c.v = mem_array(c.cap, sizeof(*c.v));
	str_add(&c.path, "");
	rc = enter(&c, ".", true, err);
	while (rc >= 0 && c.n) {
		struct level *l = &c.v[c.n - 1];

		if (l->next == l->names.n) {
			rc = leave(&c, err);
			continue;
		}
		c.path.len = l->path_len;
		str_addf(&c.path, "/%s", l->names.v[l->next].s);
		rc = visit(&c, l->names.v[l->next++].s, err);
	}
	return rc < 0 ? err_ctx(err, "changes") : 0;
}
