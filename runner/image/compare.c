/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two images: their files, by the file tables of their layers. One tree of
 * names holds both; what the layers that both rest on bring is there once. Contents that no table
 * tells (a layer that only changed a file's owner leaves its data to those beneath) are read
 * through detached mounts, which are only made then. Needs libcrypto.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/layer.h>
#include <shale/snap.h>

#include "compare.h"
#include "priv.h"

enum { CHUNK = 256 << 10, A = 1, B = 2 };

struct entry {
	char kind;
	uint32_t mode, uid, gid, xattrs_len;
	uint64_t size, rdev, content[2];
	int64_t mtime_s;
	char *target, *xattrs;
};

/* A name in a directory, and what each image has there: NULL for nothing, one entry for both where
 * it is of a layer of both. */
struct node {
	char *name;
	struct entry *side[2];
	struct node **kid; /* sorted */
	size_t n, cap;
};

struct compare {
	struct runtime *rt;
	const struct image_compare_opts *o;
	image_change_fn *fn;
	void *arg;
	const struct image *img[2];
	struct snap_mount mount[2];
	bool is_mounted;
	struct node root;
	unsigned sides;  /* that the layer at hand belongs to */
	struct str path; /* while the result is walked */
	size_t found;
};

/* --- the tree --- */

static void entry_free(struct entry *e)
{
	if (!e)
		return;
	free(e->target);
	free(e->xattrs);
	free(e);
}

static void node_set(struct node *n, unsigned sides, struct entry *e)
{
	struct entry *a = n->side[0], *b = n->side[1];

	if (sides & A)
		n->side[0] = e;
	if (sides & B)
		n->side[1] = e;
	if (a != n->side[0] && a != n->side[1])
		entry_free(a);
	if (b != a && b != n->side[0] && b != n->side[1])
		entry_free(b);
}

static void node_free(struct node *n)
{
	node_set(n, A | B, NULL);
	for (size_t i = 0; i < n->n; i++) {
		node_free(n->kid[i]);
		free(n->kid[i]);
	}
	free(n->kid);
	free(n->name);
}

static void compare_free(struct compare *c)
{
	node_free(&c->root);
	str_free(&c->path);
	snap_mount_close(&c->mount[0]);
	snap_mount_close(&c->mount[1]);
}

/* Everything beneath goes from those sides. */
static void clear(struct node *n, unsigned sides)
{
	for (size_t i = 0; i < n->n; i++) {
		node_set(n->kid[i], sides, NULL);
		clear(n->kid[i], sides);
	}
}

/* Where the name is, or belongs: names come in order, so that the end is looked at first. */
static size_t kid_place(const struct node *n, const char *name, size_t len, bool *ret_found)
{
	size_t from = 0, to = n->n;

	*ret_found = false;
	while (from < to) {
		size_t mid = to == n->n && from == 0 ? to - 1 : from + (to - from) / 2;
		int order = strncmp(n->kid[mid]->name, name, len);

		if (order == 0 && n->kid[mid]->name[len])
			order = 1;
		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static struct node *kid(struct node *n, const char *name, size_t len, bool make)
{
	struct node *new;
	bool found;
	size_t at = kid_place(n, name, len, &found);

	if (found)
		return n->kid[at];
	if (!make)
		return NULL;
	new = mem_alloc(sizeof(*new));
	new->name = mem_strn(name, len);
	if (n->n == n->cap) {
		n->cap = n->cap ? n->cap * 2 : 8;
		n->kid = mem_grow(n->kid, n->cap, sizeof(struct node *));
	}
	for (size_t i = n->n; i > at; i--)
		n->kid[i] = n->kid[i - 1];
	n->kid[at] = new;
	n->n++;
	return new;
}

static struct node *find(struct compare *c, const char *path, bool make)
{
	struct node *n = &c->root;

	while (n && *path) {
		size_t len = strcspn(path, "/");

		if (len)
			n = kid(n, path, len, make);
		path += len + (path[len] == '/');
	}
	return n;
}

/* --- layers --- */

static struct entry *entry_of(const struct layer_row *r)
{
	struct entry *e = mem_alloc(sizeof(*e));

	*e = (struct entry){ .kind = r->kind,
			     .mode = r->mode,
			     .uid = r->uid,
			     .gid = r->gid,
			     .size = r->size,
			     .rdev = r->rdev,
			     .content = { r->content[0], r->content[1] },
			     .mtime_s = r->mtime_s,
			     .xattrs_len = r->xattrs_len,
			     .target = mem_str(r->target),
			     .xattrs = r->xattrs_len ? mem_dup(r->xattrs, r->xattrs_len) : NULL };
	return e;
}

/* A second name is as good as the first, which came before it in the same layer. */
static struct entry *hardlink_of(struct compare *c, const struct layer_row *r)
{
	const struct node *first = find(c, r->target ? r->target : "", false);
	const struct entry *to = first ? first->side[c->sides & A ? 0 : 1] : NULL;
	struct entry *e;

	if (!to)
		return entry_of(r);
	e = mem_dup(to, sizeof(*to));
	e->target = mem_str(to->target);
	e->xattrs = to->xattrs_len ? mem_dup(to->xattrs, to->xattrs_len) : NULL;
	return e;
}

static int apply_row(const struct layer_row *r, void *arg, struct err *err)
{
	struct compare *c = arg;
	bool hides = r->kind == LAYER_WHITEOUT || r->kind == LAYER_OPAQUE;
	struct node *n = find(c, r->path, !hides);

	(void)err;
	if (!n)
		return 0;
	if (r->kind == LAYER_WHITEOUT)
		node_set(n, c->sides, NULL);
	else if (!hides)
		node_set(n, c->sides, r->kind == LAYER_HARDLINK ? hardlink_of(c, r) : entry_of(r));
	if (r->kind != LAYER_DIR)
		clear(n, c->sides);
	return 0;
}

static int apply_layer(struct compare *c, int64_t snapshot, unsigned sides, struct err *err)
{
	auto_fd int dir = -1;
	int rc = snap_dir_fd(c->rt->snap, snapshot, &dir, err);

	c->sides = sides;
	if (rc >= 0)
		rc = layer_table_walk(dir, apply_row, c, err);
	if (rc < 0)
		err_ctx(err, "layer %" PRId64, snapshot);
	return rc == -ENOENT || rc == -EBADMSG ? err_hint(err, "shale verify --repair") : rc;
}

static int apply_layers(struct compare *c, struct err *err)
{
	auto_free struct image_layer *a = NULL, *b = NULL;
	size_t n_a = 0, n_b = 0, shared = 0;
	int rc = 0;

	/* A build step's layers may not be hashed yet. */
	for (int i = 0; rc >= 0 && i < 2; i++)
		rc = image_layer_hash(c->rt, c->img[i]->snapshot, err);
	if (rc >= 0)
		rc = image_layers(c->rt, c->img[0]->snapshot, &a, &n_a, err);
	if (rc >= 0)
		rc = image_layers(c->rt, c->img[1]->snapshot, &b, &n_b, err);
	if (rc < 0)
		return rc;
	while (shared < n_a && shared < n_b && str_eq(a[shared].chain_id, b[shared].chain_id))
		shared++;
	for (size_t i = 0; rc >= 0 && i < n_a; i++)
		rc = apply_layer(c, a[i].snapshot, i < shared ? A | B : A, err);
	for (size_t i = shared; rc >= 0 && i < n_b; i++)
		rc = apply_layer(c, b[i].snapshot, B, err);
	return rc;
}

/* --- contents that no table tells --- */

static int open_mounts(struct compare *c, struct err *err)
{
	int rc = 0;

	for (int i = 0; rc >= 0 && !c->is_mounted && i < 2; i++)
		rc = snap_mount(c->rt->snap, c->img[i]->snapshot, SNAP_RDONLY, &c->mount[i], err);
	c->is_mounted = c->is_mounted || rc >= 0;
	return rc;
}

static int same_bytes(int a, int b, const char *path, struct err *err)
{
	auto_free char *buf = mem_alloc(2 * (size_t)CHUNK);

	for (;;) {
		ssize_t n = fd_read_full(a, buf, CHUNK, err);
		ssize_t m = n < 0 ? n : fd_read_full(b, buf + CHUNK, CHUNK, err);

		if (m < 0)
			return err_ctx(err, "%s", path);
		if (n != m || memcmp(buf, buf + CHUNK, (size_t)n) != 0)
			return 0;
		if (n < CHUNK)
			return 1;
	}
}

static int read_both(struct compare *c, struct err *err)
{
	const char *path = str_get(&c->path);
	auto_fd int a = -1, b = -1;
	int rc = open_mounts(c, err);

	if (rc >= 0)
		rc = a = path_open_in(c->mount[0].root_fd, path,
				      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0, err);
	if (rc >= 0)
		rc = b = path_open_in(c->mount[1].root_fd, path,
				      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0, err);
	return rc < 0 ? rc : same_bytes(a, b, path, err);
}

static bool is_told(const struct entry *e)
{
	return e->content[0] || e->content[1];
}

static int same_content(struct compare *c, const struct entry *a, const struct entry *b,
			struct err *err)
{
	if (a->kind != LAYER_FILE || !a->size)
		return 1;
	if (c->o->read || !is_told(a) || !is_told(b))
		return read_both(c, err);
	return a->content[0] == b->content[0] && a->content[1] == b->content[1];
}

/* --- the result --- */

static const char *kind_name(char kind)
{
	static const struct {
		char kind;
		const char *name;
	} kinds[] = { { LAYER_FILE, "file" },         { LAYER_DIR, "directory" },
		      { LAYER_SYMLINK, "symlink" },   { LAYER_HARDLINK, "file" },
		      { LAYER_FIFO, "fifo" },         { LAYER_CHAR, "character device" },
		      { LAYER_BLOCK, "block device" } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "file";
}

static void note(struct image_change *ch, const char *what, char *text)
{
	strv_add(&ch->what, what);
	strv_add_take(&ch->text, text);
}

static int note_changes(struct compare *c, const struct entry *a, const struct entry *b,
			struct image_change *ch, struct err *err)
{
	int same;

	if (a->kind != b->kind) {
		note(ch, "type", mem_fmt("%s -> %s", kind_name(a->kind), kind_name(b->kind)));
		return 0;
	}
	same = a->size != b->size ? 0 : same_content(c, a, b, err);
	if (same < 0)
		return same;
	if (a->size != b->size)
		note(ch, "size", mem_fmt("size %" PRIu64 " -> %" PRIu64, a->size, b->size));
	else if (!same)
		note(ch, "content", mem_str("content"));
	if (!str_eq(a->target, b->target))
		note(ch, "target", mem_fmt("target %s -> %s", a->target, b->target));
	if (a->rdev != b->rdev)
		note(ch, "device",
		     mem_fmt("device %u:%u -> %u:%u", major(a->rdev), minor(a->rdev),
			     major(b->rdev), minor(b->rdev)));
	if (a->mode != b->mode)
		note(ch, "mode", mem_fmt("mode %04o -> %04o", a->mode, b->mode));
	if (a->uid != b->uid || a->gid != b->gid)
		note(ch, "owner", mem_fmt("owner %u:%u -> %u:%u", a->uid, a->gid, b->uid, b->gid));
	if (a->xattrs_len != b->xattrs_len ||
	    (a->xattrs_len && memcmp(a->xattrs, b->xattrs, a->xattrs_len) != 0))
		note(ch, "xattrs", mem_str("xattrs"));
	if (c->o->times && a->mtime_s != b->mtime_s)
		note(ch, "time", mem_fmt("time %" PRId64 " -> %" PRId64, a->mtime_s, b->mtime_s));
	return 0;
}

void image_change_free(struct image_change *ch)
{
	strv_free(&ch->what);
	strv_free(&ch->text);
}

char image_change_kind(bool has_a, bool has_b)
{
	if (!has_a)
		return 'A';
	return has_b ? 'C' : 'D';
}

static int tell(struct compare *c, const struct node *n, struct err *err)
{
	cleanup(image_change_free) struct image_change ch = { .path = str_get(&c->path) };
	const struct entry *a = n->side[0], *b = n->side[1];
	int rc = 0;

	if (a == b)
		return 0;
	ch.kind = image_change_kind(a != NULL, b != NULL);
	if (a && b)
		rc = note_changes(c, a, b, &ch, err);
	if (rc < 0 || (a && b && !ch.what.n))
		return rc;
	c->found++;
	return c->fn(&ch, c->arg, err);
}

static int walk(struct compare *c, const struct node *n, struct err *err)
{
	size_t len = c->path.len;
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < n->n; i++) {
		str_addf(&c->path, "/%s", n->kid[i]->name);
		rc = tell(c, n->kid[i], err);
		if (rc >= 0)
			rc = walk(c, n->kid[i], err);
		c->path.len = len;
		c->path.s[len] = 0;
	}
	return rc;
}

static int tell_files(struct compare *c, struct err *err)
{
	int rc = apply_layers(c, err);

	if (rc < 0)
		return rc;
	str_addc(&c->path, '/');
	rc = tell(c, &c->root, err);
	str_reset(&c->path);
	return rc < 0 ? rc : walk(c, &c->root, err);
}

static int compare_found(struct compare *c, struct err *err)
{
	size_t fields = 0;
	int rc = image_compare_configs(c->img[0], c->img[1], c->fn, c->arg, &fields, err);

	if (rc >= 0)
		rc = tell_files(c, err);
	return rc < 0 ? rc : c->found + fields > 0;
}

int image_compare(struct runtime *rt, const char *const names[2],
		  const struct image_compare_opts *o, image_change_fn *fn, void *arg,
		  struct err *err)
{
	cleanup(compare_free) struct compare c = { .rt = rt,
						   .o = o,
						   .fn = fn,
						   .arg = arg,
						   .mount = { SNAP_MOUNT_INIT, SNAP_MOUNT_INIT } };
	auto_image struct image *a = NULL, *b = NULL;
	int rc = image_find(rt, names[0], &a, err);

	if (rc >= 0)
		rc = image_find(rt, names[1], &b, err);
	if (rc < 0)
		return rc;
	c.img[0] = a;
	c.img[1] = b;
	return compare_found(&c, err);
}
