/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_images;

struct images_args {
	bool all, quiet, no_trunc, digests;
	const char *format;
	struct strv filters;
};

#define OFF(field) offsetof(struct images_args, field)
static const struct opt images_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "same list: build steps are no images here" },
	{ 'f', "filter", OPT_STRV, OFF(filters), "FILTER",
	  "dangling=true|false, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE" },
	{ 0, "digests", OPT_BOOL, OFF(digests), NULL, "with the digests of manifests" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL, "print whole IDs" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print only IDs" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
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

struct listing {
	struct cli *c;
	const struct images_args *a;
	struct strv references, labels; /* any of the first, all of the second */
	int dangling;                   /* -1: either */
	char *before, *since;           /* image IDs */
	bool is_before, is_since;       /* the walk goes from new to old */
	json_t *rows;
};

static void listing_free(struct listing *l)
{
	strv_free(&l->references);
	strv_free(&l->labels);
	free(l->before);
	free(l->since);
	json_decref(l->rows);
}

/* --- filters
 * ------------------------------------------------------------------------------------------ */

static int filter_dangling(struct listing *l, const char *value, struct err *err)
{
	bool yes = str_eq(value, "true") || str_eq(value, "1");

	if (!yes && !str_eq(value, "false") && !str_eq(value, "0"))
		return err_set(err, EINVAL, "filter dangling: \"%s\" is not true or false", value);
	l->dangling = yes;
	return 0;
}

static int filter_reference(struct listing *l, const char *value, struct err *err)
{
	(void)err;
	strv_add(&l->references, value);
	return 0;
}

static int filter_label(struct listing *l, const char *value, struct err *err)
{
	(void)err;
	strv_add(&l->labels, value);
	return 0;
}

static int find_id(struct listing *l, const char *name, char **ret, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc = image_find(&l->c->rt, name, &img, err);

	if (rc < 0)
		return rc;
	if (!*img->id)
		return err_set(err, EINVAL, "%s is a build step, not an image", name);
	free(*ret);
	*ret = mem_str(img->id);
	return 0;
}

static int filter_before(struct listing *l, const char *value, struct err *err)
{
	return find_id(l, value, &l->before, err);
}

static int filter_since(struct listing *l, const char *value, struct err *err)
{
	return find_id(l, value, &l->since, err);
}

static const struct {
	const char *name;
	int (*set)(struct listing *l, const char *value, struct err *err);
} filters[] = {
	{ "dangling", filter_dangling }, { "reference", filter_reference },
	{ "label", filter_label },       { "before", filter_before },
	{ "since", filter_since },
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
		"filter %s: not one of dangling=, reference=, label=, before=, since=", text);
}

static bool is_wanted_name(const struct listing *l, const char *name, const char *repo)
{
	for (size_t i = 0; i < l->references.n; i++)
		if (fnmatch(l->references.v[i], name, FNM_PATHNAME) == 0 ||
		    fnmatch(l->references.v[i], repo, FNM_PATHNAME) == 0)
			return true;
	return !l->references.n;
}

static bool has_label(const struct strv *have, const char *want)
{
	const char *eq = strchr(want, '=');
	auto_free char *name = mem_strn(want, strcspn(want, "="));
	const char *value = strv_env_get(have, name);

	return value && (!eq || str_eq(value, eq + 1));
}

static int has_labels(struct listing *l, const struct image *img, struct err *err)
{
	auto_image_config struct image_config *config = NULL;
	auto_image struct image *full = NULL;
	int rc;

	if (!l->labels.n)
		return 1;
	rc = image_get(&l->c->rt, img->id, &full, err);
	if (rc >= 0)
		rc = image_config_parse(full->config, strlen(full->config), &config, err);
	for (size_t i = 0; rc >= 0 && i < l->labels.n; i++)
		if (!has_label(&config->labels, l->labels.v[i]))
			return 0;
	return rc < 0 ? rc : 1;
}

/* --- rows
 * -----------------------------------------------------------------------------------------------
 */

static void add_row(struct listing *l, const struct image *img, const char *repo, const char *tag)
{
	json_t *row = out_row_new();

	out_row_set(row, "Repository", repo);
	out_row_set(row, "Tag", tag);
	out_row_take(row, "ID", l->a->no_trunc ? mem_str(img->id) : out_short_id(img->id));
	out_row_take(row, "CreatedSince", out_ago(img->created_s));
	out_row_take(row, "CreatedAt", out_time(img->created_s));
	out_row_take(row, "Size", out_size(img->size_bytes));
	out_row_take(row, "VirtualSize", out_size(img->size_bytes));
	out_row_set(row, "Digest", "<none>");
	out_row_set(row, "Containers", "N/A");
	out_row_set(row, "SharedSize", "N/A");
	out_row_set(row, "UniqueSize", "N/A");
	json_array_append_new(l->rows, row);
}

static void add_rows(struct listing *l, const struct image *img, const struct strv *tags)
{
	if (!tags->n && !l->references.n)
		add_row(l, img, "<none>", "<none>");
	for (size_t i = 0; i < tags->n; i++) {
		auto_free char *name = image_ref_familiar(tags->v[i]);
		auto_free char *repo = NULL, *tag = NULL;

		image_ref_split(tags->v[i], &repo, &tag);
		if (is_wanted_name(l, name, repo))
			add_row(l, img, repo, tag);
	}
}

/* before= those older than it, since= those newer. */
static bool is_in_span(struct listing *l, const struct image *img)
{
	bool in = (!l->before || l->is_before) && (!l->since || !l->is_since);

	if (str_eq(img->id, l->before))
		l->is_before = true;
	if (str_eq(img->id, l->since)) {
		l->is_since = true;
		in = false;
	}
	return in;
}

static int add_image(const struct image *img, void *arg, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	struct listing *l = arg;
	int rc;

	if (!is_in_span(l, img))
		return 0;
	rc = image_tags(&l->c->rt, img->id, &tags, err);
	if (rc < 0)
		return rc;
	if (l->dangling >= 0 && l->dangling != (tags.n == 0))
		return 0;
	rc = has_labels(l, img, err);
	if (rc > 0)
		add_rows(l, img, &tags);
	return rc < 0 ? rc : 0;
}

static int list(struct listing *l, const char *name, struct err *err)
{
	const struct images_args *a = l->a;
	struct out_list o = { a->digests ? columns_digests : columns, a->format,
			      a->quiet ? "ID" : NULL };
	int rc = 0;

	if (name)
		strv_add(&l->references, name);
	for (size_t i = 0; rc >= 0 && i < a->filters.n; i++)
		rc = set_filter(l, a->filters.v[i], err);
	if (rc >= 0)
		rc = image_walk(&l->c->rt, add_image, l, err);
	return rc < 0 ? rc : out_list(&o, l->rows, err);
}

static int images_main(struct cli *c, void *args, int argc, char **argv)
{
	cleanup(listing_free) struct listing l = { .c = c, .a = args, .dangling = -1 };
	struct err err = { 0 };

	(void)argc;
	l.rows = json_array();
	if (cli_open(c, &err) < 0 || list(&l, argv[0], &err) < 0)
		return cli_fail(c, &err);
	return cli_done(c);
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
