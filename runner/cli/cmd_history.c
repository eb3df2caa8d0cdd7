/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include <shale/image.h>

#include "member.h"

extern const struct command cmd_history;

enum { CREATED_BY_MAX = 45 };

#define OFF(field) offsetof(struct history_args, field)
const struct opt history_opts[] = {
	{ 'H', "human", OPT_BOOL, OFF(human), NULL, "sizes and dates for people (=false: exact)" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL,
	  "whole IDs and instructions, and the layers' digests" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print only IDs" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "of the image for it, of all that pull --all-platforms kept" },
	{ 0 },
};
const struct history_args history_defaults = { .human = true };

static const struct out_column columns[] = {
	{ "IMAGE", "ID", false },
	{ "CREATED", "CreatedSince", false },
	{ "CREATED BY", "CreatedBy", false },
	{ "SIZE", "Size", false },
	{ "COMMENT", "Comment", true },
	{ "CREATED AT", "CreatedAt", true },
	{ "LAYER", "Layer", true },
	{ 0 },
};
static const struct out_column columns_whole[] = {
	{ "IMAGE", "ID", false },
	{ "CREATED", "CreatedSince", false },
	{ "CREATED BY", "CreatedBy", false },
	{ "SIZE", "Size", false },
	{ "LAYER", "Layer", false },
	{ "COMMENT", "Comment", true },
	{ "CREATED AT", "CreatedAt", true },
	{ 0 },
};

struct history {
	struct cli *c;
	const struct history_args *a;
	const struct image *img;
	const char *name;
	struct image_config *config;
	const struct image_layer *layers;
	size_t n_layers;
	json_t *steps, *rows;
};

static void history_free(struct history *h)
{
	image_config_free(h->config);
	json_decref(h->steps);
	json_decref(h->rows);
}

static int load(struct history *h, struct err *err)
{
	int rc = image_config_parse(h->img->config, strlen(h->img->config), &h->config, err);

	if (rc >= 0 && h->img->history)
		return json_parse(h->img->history, strlen(h->img->history), &h->steps, err);
	if (rc >= 0 && !*h->img->id)
		rc = steps_of(h->c, h->name, h->config->n_history, &h->steps, err);
	return rc;
}

/* Does the image end with that row, as the base of this one does? */
static bool ends_with(const struct image_config *c, size_t n, const struct image_history *row)
{
	const struct image_history *last = c->n_history ? &c->history[c->n_history - 1] : NULL;

	return last && c->n_history == n && last->created_s == row->created_s &&
	       str_eq(last->created_by, row->created_by) && str_eq(last->comment, row->comment);
}

struct base_search {
	struct runtime *rt;
	int64_t snapshot;
	size_t n; /* rows up to here */
	const struct image_history *row;
	char id[DIGEST_STR_MAX];
};

static int match_base(const struct image *img, void *arg, struct err *err)
{
	auto_image_config struct image_config *config = NULL;
	auto_image struct image *full = NULL;
	struct base_search *b = arg;
	int rc;

	if (*b->id || img->snapshot != b->snapshot)
		return 0;
	rc = image_get(b->rt, img->id, &full, err);
	if (rc >= 0)
		rc = image_config_parse(full->config, strlen(full->config), &config, err);
	if (rc >= 0 && ends_with(config, b->n, b->row))
		snprintf(b->id, sizeof(b->id), "%s", img->id);
	return rc;
}

/*
 * What to call row i: the step that made it; else the image that ends there (the base); else,
 * inside an image that came from elsewhere, the layer. layer: of this row, or of the nearest below.
 */
static char *row_id(struct history *h, size_t i, const struct image_layer *layer)
{
	const struct image_history *row = &h->config->history[i];
	const char *step = json_string_value(json_array_get(h->steps, i));
	const char *next = json_string_value(json_array_get(h->steps, i + 1));
	struct base_search b = { &h->c->rt, layer ? layer->snapshot : 0, i + 1, row, "" };
	struct err ignored = { 0 };
	bool is_last = i + 1 == h->config->n_history;

	if (step && *step)
		return mem_str(step);
	if (is_last && *h->img->id)
		return mem_str(h->img->id);
	if ((next && *next) || !row->empty_layer)
		image_walk(&h->c->rt, match_base, &b, &ignored);
	if (*b.id)
		return mem_str(b.id);
	return mem_str(layer && *layer->diff_id ? layer->diff_id : h->img->id);
}

/* Layers that the history does not tell of, or rows that no layer is left for: what others build
 * may have either. Every layer gets a row, on top of those that are told of. */
static void complete(struct history *h)
{
	struct image_config *c = h->config;
	size_t n = 0;

	for (size_t i = 0; i < c->n_history; i++) {
		if (c->history[i].empty_layer)
			continue;
		c->history[i].empty_layer = n == h->n_layers;
		n += n < h->n_layers;
	}
	for (; n < h->n_layers; n++)
		image_config_add_history(c, c->created_s, NULL, false);
}

static const char *first_text(const char *a, const char *b, const char *c)
{
	if (a && *a)
		return a;
	return b && *b ? b : c;
}

static void add_row(struct history *h, size_t i, const struct image_layer *layer)
{
	const struct image_history *row = &h->config->history[i];
	const char *by = first_text(row->created_by, row->comment, "(not recorded)");
	int64_t created_s = row->created_s ? row->created_s : h->config->created_s;
	uint64_t size = row->empty_layer || !layer ? 0 : layer->size_bytes;
	auto_free char *id = row_id(h, i, layer);
	json_t *r = out_row_new();

	out_row_take(r, "ID", h->a->no_trunc ? mem_str(id) : out_short_id(id));
	out_row_take(r, "CreatedAt", out_time(created_s));
	out_row_take(r, "CreatedSince", h->a->human ? out_ago(created_s) : out_time(created_s));
	out_row_take(r, "CreatedBy",
		     h->a->no_trunc ? mem_str(by) : out_shortened(by, CREATED_BY_MAX));
	out_row_take(r, "Size", h->a->human ? out_size(size) : mem_fmt("%" PRIu64, size));
	out_row_set(r, "Comment", row->comment);
	out_row_set(r, "Layer", row->empty_layer || !layer ? "" : layer->diff_id);
	json_array_insert_new(h->rows, 0, r);
}

static int show(struct history *h, struct err *err)
{
	const struct history_args *a = h->a;
	struct out_list o = { a->no_trunc ? columns_whole : columns, a->format,
			      a->quiet ? "ID" : NULL };
	size_t layer = 0;
	int rc = load(h, err);

	if (rc < 0)
		return rc;
	complete(h);
	for (size_t i = 0; i < h->config->n_history; i++) {
		if (!h->config->history[i].empty_layer)
			layer++;
		add_row(h, i, layer ? &h->layers[layer - 1] : NULL);
	}
	return out_list(&o, h->rows, err);
}

int history_show(struct cli *c, const struct history_args *a, const char *name,
		 const struct image_member *m, struct err *err)
{
	cleanup(history_free) struct history h = {
		.c = c, .a = a, .name = name, .img = m->img, .layers = m->layers, .n_layers = m->n
	};

	h.rows = json_array();
	return show(&h, err);
}

static int history_of(struct cli *c, const struct history_args *a, const char *name,
		      struct err *err)
{
	auto_free struct image_layer *layers = NULL;
	auto_image struct image *img = NULL;
	size_t n = 0;
	int rc;

	/* Its manifest is checked, which hashes. */
	if (a->platform)
		return cli_exec_heavy(c, "history-platform", err);
	rc = cli_open(c, err);
	if (rc >= 0)
		rc = image_find(&c->rt, name, &img, err);
	if (rc >= 0)
		rc = image_layers(&c->rt, img->snapshot, &layers, &n, err);
	return rc < 0 ? rc
		      : history_show(c, a, name, &(struct image_member){ img, layers, n, "" }, err);
}

static int history_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };

	(void)argc;
	return history_of(c, args, argv[0], &err) < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_history = {
	.name = "history",
	.args = "IMAGE",
	.summary = "Show the steps that made an image",
	.opts = history_opts,
	.args_size = sizeof(struct history_args),
	.main = history_main,
	.min_args = 1,
	.max_args = 1,
	.complete = complete_images,
	.defaults = &history_defaults,
};
