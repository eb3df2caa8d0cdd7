/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_diff;

/* As diff(1): scripts ask whether two images are the same. */
enum { EXIT_SAME, EXIT_DIFFERENT, EXIT_TROUBLE };

struct diff_args {
	bool times, read, quiet;
	const char *format;
};

#define OFF(field) offsetof(struct diff_args, field)
static const struct opt diff_opts[] = {
	{ 0, "times", OPT_BOOL, OFF(times), NULL, "also what differs in its time only" },
	{ 0, "read", OPT_BOOL, OFF(read), NULL,
	  "read contents instead of trusting the file tables' checksums" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print nothing" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "json, or a Go template" },
	{ 0 },
};

static void add_list(json_t *row, const char *key, const struct strv *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(list, json_from_str(l->v[i]));
	json_object_set_new(row, key, list);
}

static void set_or_null(json_t *row, const char *key, const char *value)
{
	json_object_set_new(row, key, value ? json_from_str(value) : json_null());
}

static char *line_of(const struct image_change *ch)
{
	auto_str struct str line = { 0 };

	str_add(&line, ch->path ? ch->path : ch->field);
	for (size_t i = 0; i < ch->text.n; i++)
		str_addf(&line, "%s%s", i ? ", " : ch->path ? " (" : ": ", ch->text.v[i]);
	if (ch->path && ch->text.n)
		str_addc(&line, ')');
	return str_take(&line);
}

static int add_change(const struct image_change *ch, void *arg, struct err *err)
{
	const char kind[] = { ch->kind, 0 };
	json_t *rows = arg, *row = out_row_new();

	(void)err;
	out_row_set(row, "Kind", kind);
	set_or_null(row, "Path", ch->path);
	set_or_null(row, "Field", ch->field);
	add_list(row, "Changed", &ch->what);
	set_or_null(row, "Old", ch->old_value);
	set_or_null(row, "New", ch->new_value);
	out_row_take(row, "Text", line_of(ch));
	json_array_append_new(rows, row);
	return 0;
}

static int diff_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct diff_args *a = args;
	struct image_compare_opts o = { .times = a->times, .read = a->read };
	struct out_list list = { .format = a->format ? a->format : "{{.Kind}} {{.Text}}" };
	auto_json json_t *rows = json_array();
	struct err err = { 0 };
	int rc = cli_open(c, &err), differ = 0;

	(void)argc;
	if (rc >= 0)
		rc = differ = image_compare(&c->rt, (const char *const *)argv, &o, add_change, rows,
					    &err);
	if (rc >= 0 && !a->quiet)
		rc = out_list(&list, rows, &err);
	if (rc < 0) {
		cli_fail(c, &err);
		return EXIT_TROUBLE;
	}
	if (cli_done(c))
		return EXIT_TROUBLE;
	return differ ? EXIT_DIFFERENT : EXIT_SAME;
}

const struct command cmd_image_diff = {
	.name = "image-diff",
	.args = "IMAGE IMAGE",
	.summary = "Show what differs between two images; exit 0 the same, 1 different, 2 trouble",
	.opts = diff_opts,
	.args_size = sizeof(struct diff_args),
	.main = diff_main,
	.min_args = 2,
	.max_args = 2,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};
