/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snap/<id>/sources: what a COPY or ADD found, file by file, so that a later miss can name those
 * that changed. A head, then of each file its attributes and its path with a NUL. Only a memory: a
 * damaged or missing one costs the names, nothing else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>

#include "explain.h"

enum { SOURCES_BYTES_MAX = 1 << 30, NAMED_MAX = 5, PATH_SHOWN = 200 };

static const char magic[8] = "shalesf1";
static const char file_name[] = "sources";

struct entry {
	uint32_t mode, uid, gid, path_bytes; /* with its NUL */
	struct digest digest;                /* of the content, or of a symlink's target */
};

struct source {
	struct entry e;
	const char *path;
};

struct sources {
	char *text; /* what the paths point into */
	struct source *v;
	size_t n, cap;
};

static void sources_free(struct sources *s)
{
	free(s->text);
	free(s->v);
}

/* As copy_digest sees it: of a context the owners do not count. */
static struct entry entry_of(const struct copy_item *item, const struct context_file *f)
{
	struct entry e = { .mode = f->mode, .path_bytes = (uint32_t)strlen(f->path) + 1 };

	if (item->is_owned) {
		e.uid = f->uid;
		e.gid = f->gid;
	}
	if (S_ISREG(f->mode))
		e.digest = f->digest;
	else if (f->link)
		hash_bytes(f->link, strlen(f->link), &e.digest);
	return e;
}

typedef void source_fn(const struct entry *e, const char *path, void *arg);

/* What a URL has is known by its name and checksum. */
static void each_source(const struct copy_job *j, source_fn *fn, void *arg)
{
	for (size_t i = 0; i < j->n_items; i++) {
		const struct copy_item *item = &j->items[i];
		size_t first = 0, n = 0;
		struct entry e;

		if (item->remote)
			continue;
		if (!item->is_dir) {
			e = entry_of(item, item->file);
			fn(&e, item->file->path, arg);
			continue;
		}
		context_slice(item->from, item->path, &first, &n);
		for (size_t k = 0; k < n; k++) {
			const struct context_file *f = context_at(item->from, first + k);

			if (item->keep && !item->keep[k])
				continue;
			e = entry_of(item, f);
			fn(&e, f->path, arg);
		}
	}
}

static void add_text(const struct entry *e, const char *path, void *arg)
{
	str_addn(arg, e, sizeof(*e));
	str_addn(arg, path, e->path_bytes);
}

int sources_write(struct snap *snap, const struct copy_job *j, int64_t snapshot, struct err *err)
{
	auto_str struct str text = { 0 };
	auto_fd int dir = -1;
	int rc;

	if (!j->n_items)
		return 0;
	str_addn(&text, magic, sizeof(magic));
	each_source(j, add_text, &text);
	rc = snap_dir_fd(snap, snapshot, &dir, err);
	return rc < 0 ? rc : fd_write_file(dir, file_name, text.s, text.len, 0600, err);
}

static void add_source(struct sources *s, const struct entry *e, const char *path)
{
	mem_room(s->v, s->n, s->cap);
	s->v[s->n++] = (struct source){ *e, path };
}

static void add_now(const struct entry *e, const char *path, void *arg)
{
	add_source(arg, e, path);
}

static int damaged(struct err *err)
{
	return err_set(err, EBADMSG, "%s is damaged", file_name);
}

static int read_sources(struct snap *snap, int64_t snapshot, struct sources *ret, struct err *err)
{
	auto_fd int dir = -1;
	size_t len, at = sizeof(magic);
	int rc = snap_dir_fd(snap, snapshot, &dir, err);

	if (rc >= 0)
		rc = fd_read_file(dir, file_name, SOURCES_BYTES_MAX, &ret->text, &len, err);
	if (rc < 0)
		return rc;
	if (len < at || memcmp(ret->text, magic, sizeof(magic)) != 0)
		return damaged(err);
	while (at < len) {
		struct entry e;

		if (len - at < sizeof(e))
			return damaged(err);
		memcpy(&e, ret->text + at, sizeof(e));
		at += sizeof(e);
		if (!e.path_bytes || e.path_bytes > len - at || ret->text[at + e.path_bytes - 1])
			return damaged(err);
		add_source(ret, &e, ret->text + at);
		at += e.path_bytes;
	}
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct source *)a)->path, ((const struct source *)b)->path);
}

static void sort(struct sources *s)
{
	if (s->n > 1)
		qsort(s->v, s->n, sizeof(*s->v), by_path);
}

static bool is_same(const struct entry *a, const struct entry *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       digest_eq(&a->digest, &b->digest);
}

static void tell_changed(struct str *what, const struct entry *old, const struct entry *now)
{
	if ((old->mode & S_IFMT) != (now->mode & S_IFMT)) {
		str_add(what, " type");
		return;
	}
	if (!digest_eq(&old->digest, &now->digest))
		str_add(what, S_ISLNK(now->mode) ? " target" : " content");
	if (old->mode != now->mode)
		str_addf(what, " mode %o->%o", old->mode & 07777, now->mode & 07777);
	if (old->uid != now->uid || old->gid != now->gid)
		str_addf(what, " owner %u:%u->%u:%u", old->uid, old->gid, now->uid, now->gid);
}

static void tell(struct reasons *r, size_t *told, const char *path, const char *what)
{
	auto_free char *line = NULL;

	if (++*told > NAMED_MAX)
		return;
	line = mem_fmt("%.*s%s", PATH_SHOWN, path, what);
	reasons_add(r, line);
}

static void tell_pair(struct reasons *r, size_t *told, const struct source *old,
		      const struct source *now)
{
	auto_str struct str what = { 0 };

	if (is_same(&old->e, &now->e))
		return;
	tell_changed(&what, &old->e, &now->e);
	tell(r, told, now->path, str_get(&what));
}

int sources_compare(const struct copy_job *j, struct snap *snap, int64_t snapshot,
		    struct reasons *r, struct err *err)
{
	cleanup(sources_free) struct sources old = { 0 }, now = { 0 };
	size_t told = 0, a = 0, b = 0;
	int rc = read_sources(snap, snapshot, &old, err);

	if (rc < 0)
		return rc;
	each_source(j, add_now, &now);
	sort(&old);
	sort(&now);
	while (a < old.n || b < now.n) {
		int cmp = a == old.n ? 1 : b == now.n ? -1 : strcmp(old.v[a].path, now.v[b].path);

		if (cmp == 0)
			tell_pair(r, &told, &old.v[a], &now.v[b]);
		else if (cmp < 0)
			tell(r, &told, old.v[a].path, " removed");
		else
			tell(r, &told, now.v[b].path, " added");
		a += cmp <= 0;
		b += cmp >= 0;
	}
	reasons_more(r, told, NAMED_MAX);
	return told != 0;
}
