/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include <shale/image.h>

#include "images.h"

extern const struct command cmd_images;

#define OFF(field) offsetof(struct images_args, field)
const struct opt images_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "same list: build steps are no images here" },
	{ 'f', "filter", OPT_STRV, OFF(filters), "FILTER",
	  "dangling=, reference=, id=, label=, label!=, before=, since=, until=" },
	{ 0, "digests", OPT_BOOL, OFF(digests), NULL, "with the digests of manifests" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL, "print whole IDs" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print only IDs" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0, "sort", OPT_STR, OFF(sort), "KEY", "created (default), id, repository, size or tag" },
	{ 'n', "noheading", OPT_BOOL, OFF(no_heads), NULL, "a table without its first line" },
	{ 0, "tree", OPT_BOOL, OFF(tree), NULL, "with the platforms that each name stands for" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "REPOSITORY", "Repository", false },
	{ "TAG", "Tag", false },
	{ "IMAGE ID", "ID", false },
	{ "CREATED", "CreatedSince", false },
	{ "SIZE", "Size", false },
	{ "CREATED AT", "CreatedAt", true },
	{ "DIGEST", "Digest", true },
	{ "CONTAINERS", "Containers", true },
	{ "SHARED SIZE", "SharedSize", true },
	{ "UNIQUE SIZE", "UniqueSize", true },
	{ "VIRTUAL SIZE", "VirtualSize", true },
	{ 0 },
};
static const struct out_column columns_digests[] = {
	{ "REPOSITORY", "Repository", false }, { "TAG", "Tag", false },
	{ "DIGEST", "Digest", false },         { "IMAGE ID", "ID", false },
	{ "CREATED", "CreatedSince", false },  { "SIZE", "Size", false },
	{ "CREATED AT", "CreatedAt", true },   { 0 },
};

static const struct out_column columns_tree[] = {
	{ "IMAGE", "Image", false },
	{ "ID", "ID", false },
	{ "SIZE", "Size", false },
	{ "CONTENT SIZE", "ContentSize", false },
	{ 0 },
};

struct listing {
	struct cli *c;
	images_tree_fn *tree; /* NULL: a row a name */
	const struct images_args *a;
	struct strv references;      /* any of them */
	struct strv labels, without; /* all, none of them */
	int dangling;                /* -1: either */
	int64_t until_s;             /* 0: any time */
	struct strv before, since;   /* image IDs */
	size_t n_before, n_since;    /* those that the walk, from new to old, has passed */
	struct strv ids;             /* any of these beginnings */
	json_t *rows;
	uint64_t *sizes; /* of the rows */
	size_t n_sizes, cap_sizes;
};

static void listing_free(struct listing *l)
{
	strv_free(&l->references);
	strv_free(&l->labels);
	strv_free(&l->without);
	strv_free(&l->before);
	strv_free(&l->since);
	strv_free(&l->ids);
	json_decref(l->rows);
	free(l->sizes);
}

/* --- filters
 * ------------------------------------------------------------------------------------------ */

static int set_dangling(struct listing *l, const char *value, struct err *err)
{
	bool yes;
	int rc = filter_bool("dangling", value, &yes, err);

	l->dangling = yes;
	return rc;
}

/* A pattern that can match nothing is a mistake, as it is to docker. */
static int set_reference(struct listing *l, const char *value, struct err *err)
{
	const char *s = value;

	while (*s) {
		if (*s == '[')
			s = strchr(s, ']');
		else if (*s == '\\')
			s++;
		if (!s || !*s)
			return err_set(err, EINVAL, "filter reference: \"%.100s\" is no pattern",
				       value);
		s++;
	}
	strv_add(&l->references, value);
	return 0;
}

static int set_label(struct listing *l, const char *value, struct err *err)
{
	(void)err;
	strv_add(&l->labels, value);
	return 0;
}

static int set_without(struct listing *l, const char *value, struct err *err)
{
	(void)err;
	strv_add(&l->without, value);
	return 0;
}

static int find_id(struct listing *l, const char *name, struct strv *ret, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc = image_find(&l->c->rt, name, &img, err);

	if (rc < 0)
		return rc;
	if (!*img->id)
		return err_set(err, EINVAL, "%s is a build step, not an image", name);
	if (!strv_has(ret, img->id))
		strv_add(ret, img->id);
	return 0;
}

static int set_before(struct listing *l, const char *value, struct err *err)
{
	return find_id(l, value, &l->before, err);
}

static int set_since(struct listing *l, const char *value, struct err *err)
{
	return find_id(l, value, &l->since, err);
}

static int set_until(struct listing *l, const char *value, struct err *err)
{
	return filter_until(value, &l->until_s, err);
}

static int set_id(struct listing *l, const char *value, struct err *err)
{
	(void)err;
	strv_add(&l->ids, str_starts(value, "sha256:") ? strchr(value, ':') + 1 : value);
	return 0;
}

/* after is Podman's word for since. */
static const struct {
	const char *name;
	int (*set)(struct listing *l, const char *value, struct err *err);
} filters[] = {
	{ "dangling", set_dangling }, { "reference", set_reference }, { "label", set_label },
	{ "label!", set_without },    { "before", set_before },       { "since", set_since },
	{ "until", set_until },       { "after", set_since },         { "id", set_id },
};

static int set_filter(struct listing *l, const char *text, struct err *err)
{
	const char *value = strchr(text, '=');
	size_t len = value ? (size_t)(value - text) : strlen(text);

	for (size_t i = 0; value && i < ARRAY_LEN(filters); i++)
		if (strlen(filters[i].name) == len && memcmp(filters[i].name, text, len) == 0)
			return filters[i].set(l, value + 1, err);
	return err_set(
		err, EINVAL,
		"filter %s: not one of dangling=, reference=, id=, label=, label!=, before=, since=, until=",
		text);
}

/* As docker matches: the familiar form, whole or without tag and digest; and the same in full. */
static bool is_wanted(const struct listing *l, const char *normalized)
{
	auto_free char *name = image_ref_familiar(normalized), *repo = NULL, *tag = NULL;
	auto_free char *full_repo = NULL;
	const char *forms[] = { name, normalized, NULL, NULL };

	image_ref_split(normalized, &repo, &tag);
	full_repo = mem_strn(normalized, strlen(normalized) - (strlen(name) - strlen(repo)));
	forms[2] = repo;
	forms[3] = full_repo;
	for (size_t i = 0; i < l->references.n; i++)
		for (size_t k = 0; k < ARRAY_LEN(forms); k++)
			if (fnmatch(l->references.v[i], forms[k], FNM_PATHNAME) == 0)
				return true;
	return !l->references.n;
}

/* --- rows
 * -----------------------------------------------------------------------------------------------
 */

struct row_name {
	const char *repo, *tag, *digest;
};

static void add_row(struct listing *l, const struct image *img, const struct row_name *n)
{
	json_t *row = out_row_new();

	out_row_set(row, "Repository", n->repo);
	out_row_set(row, "Tag", n->tag);
	out_row_take(row, "ID", l->a->no_trunc ? mem_str(img->id) : out_short_id(img->id));
	out_row_take(row, "CreatedSince", out_ago(img->created_s));
	out_row_take(row, "CreatedAt", out_time(img->created_s));
	out_row_take(row, "Size", out_size(img->size_bytes));
	out_row_take(row, "VirtualSize", out_size(img->size_bytes));
	out_row_set(row, "Digest", n->digest);
	out_row_set(row, "Containers", "N/A");
	out_row_set(row, "SharedSize", "N/A");
	out_row_set(row, "UniqueSize", "N/A");
	json_array_append_new(l->rows, row);
	mem_room(l->sizes, l->n_sizes, l->cap_sizes);
	l->sizes[l->n_sizes++] = img->size_bytes;
}

struct names {
	struct strv tags, digests;
};

static void names_free(struct names *n)
{
	strv_free(&n->tags);
	strv_free(&n->digests);
}

static bool is_same_repo(const char *a, const char *b)
{
	auto_free char *repo_a = NULL, *repo_b = NULL, *tag_a = NULL, *tag_b = NULL;

	image_ref_split(a, &repo_a, &tag_a);
	image_ref_split(b, &repo_b, &tag_b);
	return str_eq(repo_a, repo_b);
}

/* A row for each of the name's digests where these are shown, else one. */
static void add_name(struct listing *l, const struct image *img, const struct names *n,
		     const char *name)
{
	auto_free char *repo = NULL, *tag = NULL;
	bool any = false;

	image_ref_split(name, &repo, &tag);
	for (size_t i = 0; i < n->digests.n && (!any || l->a->digests); i++) {
		if (!is_same_repo(name, n->digests.v[i]))
			continue;
		any = true;
		add_row(l, img, &(struct row_name){ repo, tag, strchr(n->digests.v[i], '@') + 1 });
	}
	if (!any)
		add_row(l, img, &(struct row_name){ repo, tag, "<none>" });
}

/* Has digest i a row already: that of a tag, or of another digest of its repository? */
static bool is_shown(const struct listing *l, const struct names *n, size_t i)
{
	for (size_t k = 0; k < n->tags.n; k++)
		if (is_same_repo(n->tags.v[k], n->digests.v[i]))
			return true;
	return !l->a->digests && i && is_same_repo(n->digests.v[i - 1], n->digests.v[i]);
}

static int add_tree(struct listing *l, const struct image *img, const char *name, struct err *err)
{
	auto_free char *shown = name ? image_ref_familiar(name) : mem_str("<none>");
	json_t *row = out_row_new();

	out_row_set(row, "Image", shown);
	out_row_take(row, "ID", l->a->no_trunc ? mem_str(img->id) : out_short_id(img->id));
	out_row_take(row, "Size", out_size(img->size_bytes));
	out_row_set(row, "ContentSize", "");
	json_array_append_new(l->rows, row);
	return l->tree(l->c, l->a, img, name, l->rows, err);
}

static int add_trees(struct listing *l, const struct image *img, const struct names *n,
		     struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < n->tags.n; i++)
		if (is_wanted(l, n->tags.v[i]))
			rc = add_tree(l, img, n->tags.v[i], err);
	if (!n->tags.n && !l->references.n)
		rc = add_tree(l, img, NULL, err);
	return rc;
}

/* Repositories that know it by a digest only have a row as well; an image without a name has one.
 */
static void add_rows(struct listing *l, const struct image *img, const struct names *n)
{
	static const struct row_name none = { "<none>", "<none>", "<none>" };

	for (size_t i = 0; i < n->tags.n; i++)
		if (is_wanted(l, n->tags.v[i]))
			add_name(l, img, n, n->tags.v[i]);
	for (size_t i = 0; i < n->digests.n; i++) {
		auto_free char *repo = NULL, *tag = NULL;

		if (is_shown(l, n, i) || !is_wanted(l, n->digests.v[i]))
			continue;
		image_ref_split(n->digests.v[i], &repo, &tag);
		add_row(l, img, &(struct row_name){ repo, tag, strchr(n->digests.v[i], '@') + 1 });
	}
	if (!n->tags.n && !n->digests.n && !l->references.n)
		add_row(l, img, &none);
}

static bool is_one_of(const struct strv *ids, const char *id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (str_starts(id + strlen("sha256:"), ids->v[i]))
			return true;
	return !ids->n;
}

/* before= those older than each of them, since= those newer. */
static bool is_in_span(struct listing *l, const struct image *img)
{
	bool in = l->n_before == l->before.n && !l->n_since && is_one_of(&l->ids, img->id);

	l->n_before += strv_has(&l->before, img->id);
	l->n_since += strv_has(&l->since, img->id);
	return in && !l->n_since && (!l->until_s || img->created_s < l->until_s);
}

static int add_image(const struct image *img, void *arg, struct err *err)
{
	cleanup(names_free) struct names n = { 0 };
	struct listing *l = arg;
	int rc;

	if (!is_in_span(l, img))
		return 0;
	rc = image_tags(&l->c->rt, img->id, &n.tags, err);
	if (rc >= 0)
		rc = image_repo_digests(&l->c->rt, img->id, &n.digests, err);
	if (rc < 0)
		return rc;
	if (l->dangling >= 0 && l->dangling != (n.tags.n == 0))
		return 0;
	rc = image_has_labels(&l->c->rt, img->id, &l->labels, &l->without, err);
	if (rc > 0 && l->tree)
		return add_trees(l, img, &n, err);
	if (rc > 0)
		add_rows(l, img, &n);
	return rc < 0 ? rc : 0;
}

/* --- their order --- */

struct sorted {
	json_t *row;
	uint64_t size;
	size_t i; /* from new to old */
	const char *key;
};

static int by_text(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	int d = strcmp(json_get_str(x->row, x->key), json_get_str(y->row, y->key));

	return d ? d : (x->i > y->i) - (x->i < y->i);
}

static int by_size(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	int d = (x->size > y->size) - (x->size < y->size);

	return d ? d : (x->i > y->i) - (x->i < y->i);
}

static int sort_rows(struct listing *l, struct err *err)
{
	static const struct {
		const char *name, *key;
	} keys[] = {
		{ "id", "ID" }, { "repository", "Repository" }, { "size", NULL }, { "tag", "Tag" }
	};
	size_t n = json_array_size(l->rows), k = 0;
	auto_free struct sorted *v = mem_array(n + 1, sizeof(*v));
	json_t *rows;

	if (!l->a->sort || str_eq(l->a->sort, "created"))
		return 0;
	while (k < ARRAY_LEN(keys) && !str_eq(keys[k].name, l->a->sort))
		k++;
	if (k == ARRAY_LEN(keys))
		return err_set(err, EINVAL,
			       "--sort: \"%s\" is not created, id, repository, size or tag",
			       l->a->sort);
	for (size_t i = 0; i < n; i++)
		v[i] = (struct sorted){ json_array_get(l->rows, i), l->sizes[i], i, keys[k].key };
	if (n)
		qsort(v, n, sizeof(*v), keys[k].key ? by_text : by_size);
	rows = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append(rows, v[i].row);
	json_decref(l->rows);
	l->rows = rows;
	return 0;
}

static int list(struct listing *l, const char *name, struct err *err)
{
	const struct images_args *a = l->a;
	struct out_list o = { a->digests ? columns_digests : columns, a->format,
			      a->quiet ? "ID" : NULL, a->no_heads };
	int rc = 0;

	if (l->tree)
		o.cols = columns_tree;
	if (l->tree && (a->sort || a->digests))
		return err_set(err, EINVAL, "--tree goes without --sort and --digests");
	if (name)
		rc = set_reference(l, name, err);
	for (size_t i = 0; rc >= 0 && i < a->filters.n; i++)
		rc = set_filter(l, a->filters.v[i], err);
	if (rc >= 0)
		rc = image_walk(&l->c->rt, add_image, l, err);
	if (rc >= 0)
		rc = sort_rows(l, err);
	return rc < 0 ? rc : out_list(&o, l->rows, err);
}

int images_show(struct cli *c, const struct images_args *a, const char *name, images_tree_fn *tree)
{
	cleanup(listing_free) struct listing l = { .c = c, .a = a, .tree = tree, .dangling = -1 };
	struct err err = { 0 };

	l.rows = json_array();
	if (cli_open(c, &err) < 0 || list(&l, name, &err) < 0)
		return cli_fail(c, &err);
	return cli_done(c);
}

static int images_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct images_args *a = args;
	struct err err = { 0 };

	(void)argc;
	/* Manifests are checked, which hashes. */
	if (a->tree && cli_exec_heavy(c, "images-tree", &err) < 0)
		return cli_fail(c, &err);
	return images_show(c, a, argv[0], NULL);
}

const struct command cmd_images = {
	.name = "images",
	.args = "[REPOSITORY[:TAG]]",
	.summary = "List images",
	.opts = images_opts,
	.args_size = sizeof(struct images_args),
	.main = images_main,
	.max_args = 1,
	.complete = complete_images,
};
