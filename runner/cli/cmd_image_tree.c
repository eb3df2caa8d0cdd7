/* SPDX-License-Identifier: Apache-2.0 */
/* image tree: which layers are shared by which images. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_tree;

struct tree_args {
	const char *format;
};

static const struct opt tree_opts[] = {
	{ 0, "format", OPT_STR, offsetof(struct tree_args, format), "FORMAT",
	  "json (a layer a line), or a Go template" },
	{ 0 },
};

#define NONE SIZE_MAX

struct layer {
	struct image_layer l;
	int64_t parent_snapshot;
	size_t parent, child, last, next; /* NONE; children in order */
	size_t used_by;                   /* images that rest on it */
	bool is_wanted;
	struct strv images; /* that end here */
};

struct tree {
	struct cli *c;
	struct layer *v; /* by snapshot */
	size_t n, cap;
	struct strv bare; /* images without layers */
	size_t images;
	uint64_t bytes, shared_bytes;
};

static void tree_free(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		strv_free(&t->v[i].images);
	free(t->v);
	strv_free(&t->bare);
}

static int compare(const void *a, const void *b)
{
	const struct layer *x = a, *y = b;

	return (x->l.snapshot > y->l.snapshot) - (x->l.snapshot < y->l.snapshot);
}

static struct layer *find(const struct tree *t, int64_t snapshot)
{
	struct layer key = { .l.snapshot = snapshot };

	return bsearch(&key, t->v, t->n, sizeof(*t->v), compare);
}

/* --- gathering --- */

/* Those of one image, which may be there already. */
static int add_layers(const struct image *img, void *arg, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	struct tree *t = arg;
	size_t n = 0, known = t->n;
	int rc = image_layers(&t->c->rt, img->snapshot, &l, &n, err);

	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct layer key = { .l = l[i],
				     .parent_snapshot = i ? l[i - 1].snapshot : 0,
				     .parent = NONE,
				     .child = NONE,
				     .last = NONE,
				     .next = NONE };

		if (known && bsearch(&key, t->v, known, sizeof(*t->v), compare))
			continue;
		mem_room(t->v, t->n, t->cap);
		t->v[t->n++] = key;
	}
	if (t->n > known)
		qsort(t->v, t->n, sizeof(*t->v), compare);
	return rc;
}

static void link_layers(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct layer *l = &t->v[i];
		struct layer *above = l->parent_snapshot ? find(t, l->parent_snapshot) : NULL;

		if (!above)
			continue;
		l->parent = (size_t)(above - t->v);
		if (above->last == NONE)
			above->child = i;
		else
			t->v[above->last].next = i;
		above->last = i;
	}
}

static void add_names(struct strv *to, const struct image *img, const struct strv *tags)
{
	for (size_t i = 0; i < tags->n; i++)
		strv_add_take(to, image_ref_familiar(tags->v[i]));
	if (!tags->n)
		strv_add_take(to, out_short_id(img->id));
}

static int add_image(const struct image *img, void *arg, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	struct tree *t = arg;
	struct layer *top = img->snapshot ? find(t, img->snapshot) : NULL;
	int rc = image_tags(&t->c->rt, img->id, &tags, err);

	if (rc < 0)
		return rc;
	t->images++;
	add_names(top ? &top->images : &t->bare, img, &tags);
	for (size_t i = top ? (size_t)(top - t->v) : NONE; i != NONE; i = t->v[i].parent)
		t->v[i].used_by++;
	return 0;
}

/* All that rests on the bottom layer of a named image. */
static int want(struct tree *t, const char *name, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc = image_find(&t->c->rt, name, &img, err);
	const struct layer *top = rc >= 0 ? find(t, img->snapshot) : NULL;
	size_t i = top ? (size_t)(top - t->v) : NONE;

	while (i != NONE && t->v[i].parent != NONE)
		i = t->v[i].parent;
	if (i != NONE)
		t->v[i].is_wanted = true;
	return rc;
}

/* Parents have smaller numbers than what rests on them. */
static int choose(struct tree *t, char **names, struct err *err)
{
	bool all = !*names;
	int rc = 0;

	for (; rc >= 0 && *names; names++)
		rc = want(t, *names, err);
	for (size_t i = 0; rc >= 0 && i < t->n; i++) {
		struct layer *l = &t->v[i];

		l->is_wanted =
			all || (l->parent == NONE ? l->is_wanted : t->v[l->parent].is_wanted);
		if (!l->is_wanted)
			continue;
		t->bytes += l->l.size_bytes;
		t->shared_bytes += l->used_by > 1 ? l->l.size_bytes : 0;
	}
	return rc;
}

static int gather(struct tree *t, char **names, struct err *err)
{
	int rc = image_walk(&t->c->rt, add_layers, t, err);

	if (rc < 0)
		return rc;
	link_layers(t);
	rc = image_walk(&t->c->rt, add_image, t, err);
	return rc < 0 ? rc : choose(t, names, err);
}

/* --- printing --- */

static void print_layer(const struct layer *l, const char *lead)
{
	auto_free char *id = out_short_id(l->l.diff_id);
	auto_free char *size = out_size(l->l.size_bytes);
	auto_free char *count = l->used_by > 1 ? mem_fmt("%zu images", l->used_by) : mem_str("");

	printf("%7s  %-9s  %s%s", size, count, lead, id);
	for (size_t i = 0; i < l->images.n; i++)
		printf("%s%s", i ? ", " : "  ", l->images.v[i]);
	putchar('\n');
}

static void print_children(const struct tree *t, size_t i, struct str *lead);

/* A layer and those above it up to where they part: one below the other. first, rest: what stands
 * before them. */
static void print_chain(const struct tree *t, size_t i, struct str *lead, const char *first,
			const char *rest)
{
	size_t len = lead->len;

	str_add(lead, first);
	print_layer(&t->v[i], str_get(lead));
	lead->len = len;
	str_add(lead, rest);
	while (t->v[i].child != NONE && t->v[i].child == t->v[i].last) {
		i = t->v[i].child;
		print_layer(&t->v[i], str_get(lead));
	}
	print_children(t, i, lead);
	lead->len = len;
	if (lead->s)
		lead->s[len] = 0;
}

static void print_children(const struct tree *t, size_t i, struct str *lead)
{
	for (size_t k = t->v[i].child; k != NONE; k = t->v[k].next) {
		bool is_last = t->v[k].next == NONE;

		print_chain(t, k, lead, is_last ? "└─ " : "├─ ", is_last ? "   " : "│  ");
	}
}

static void print_tree(const struct tree *t, bool all)
{
	auto_str struct str lead = { 0 };
	auto_free char *bytes = out_size(t->bytes), *shared = out_size(t->shared_bytes);
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		n += t->v[i].is_wanted;
		if (t->v[i].parent == NONE && t->v[i].is_wanted)
			print_chain(t, i, &lead, "", "");
	}
	for (size_t i = 0; all && i < t->bare.n; i++)
		printf("%7s  %-9s  (no layers)  %s\n", "0B", "", t->bare.v[i]);
	printf("%zu layer%s, %s, of which images share %s\n", n, out_plural(n), bytes, shared);
}

static int print_rows(const struct tree *t, const char *format, struct err *err)
{
	struct out_list list = { .format = format };
	auto_json json_t *rows = json_array();

	for (size_t i = 0; i < t->n; i++) {
		const struct layer *l = &t->v[i];
		json_t *row = out_row_new(), *images = json_array();

		for (size_t k = 0; k < l->images.n; k++)
			json_array_append_new(images, json_from_str(l->images.v[k]));
		out_row_set(row, "Layer", l->l.diff_id);
		out_row_set(row, "ChainID", l->l.chain_id);
		out_row_set(row, "Parent", l->parent == NONE ? "" : t->v[l->parent].l.chain_id);
		json_object_set_new(row, "Size", json_integer((json_int_t)l->l.size_bytes));
		json_object_set_new(row, "UsedBy", json_integer((json_int_t)l->used_by));
		json_object_set_new(row, "Images", images);
		if (l->is_wanted)
			json_array_append(rows, row);
		json_decref(row);
	}
	return out_list(&list, rows, err);
}

static int tree_main(struct cli *c, void *args, int argc, char **argv)
{
	cleanup(tree_free) struct tree t = { .c = c };
	const struct tree_args *a = args;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	if (rc >= 0)
		rc = gather(&t, argv, &err);
	if (rc >= 0 && a->format)
		rc = print_rows(&t, a->format, &err);
	else if (rc >= 0)
		print_tree(&t, argc == 0);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_image_tree = {
	.name = "image-tree",
	.args = "[IMAGE...]",
	.summary = "Show which layers are shared by which images",
	.opts = tree_opts,
	.args_size = sizeof(struct tree_args),
	.main = tree_main,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};
