/* SPDX-License-Identifier: Apache-2.0 */
/* trash and undo */
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_trash, cmd_undo;

struct trash_args {
	bool empty, quiet;
	const char *format;
};

#define OFF(field) offsetof(struct trash_args, field)
static const struct opt trash_opts[] = {
	{ 0, "empty", OPT_BOOL, OFF(empty), NULL, "delete all that is in it, now" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print only IDs" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "IMAGE ID", "ID", false },
	{ "NAMES", "Names", false },
	{ "REMOVED", "Removed", false },
	{ "SIZE", "Size", false },
	{ "FREES", "UniqueSize", false },
	{ "REMOVED AT", "RemovedAt", true },
	{ 0 },
};

static int add_row(const struct image_trashed *t, void *arg, struct err *err)
{
	json_t *row = out_row_new();
	auto_str struct str names = { 0 };

	(void)err;
	for (size_t i = 0; i < t->tags.n; i++)
		str_addf(&names, "%s%s", i ? ", " : "", t->tags.v[i]);
	out_row_take(row, "ID", out_short_id(t->id));
	out_row_set(row, "Names", names.len ? str_get(&names) : "<none>");
	out_row_take(row, "Removed", out_ago(t->removed_ns / 1000000000));
	out_row_take(row, "RemovedAt", out_time(t->removed_ns / 1000000000));
	out_row_take(row, "Size", out_size(t->size_bytes));
	out_row_take(row, "UniqueSize", out_size(t->unique_bytes));
	json_array_append_new(arg, row);
	return 0;
}

static int empty(struct cli *c, struct err *err)
{
	auto_image_removal struct image_removal r = { 0 };
	int rc = image_trash_empty(&c->rt, 0, 0, &r, err);
	auto_free char *size = out_size(r.freed_bytes);

	if (rc < 0)
		return rc;
	removal_lines(&r, "untagged", "deleted");
	printf("Total reclaimed space: %s\n", size);
	return 0;
}

static int trash_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct trash_args *a = args;
	struct out_list list = { columns, a->format, a->quiet ? "ID" : NULL };
	auto_json json_t *rows = json_array();
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)argc;
	(void)argv;
	if (rc >= 0 && a->empty)
		rc = empty(c, &err);
	else if (rc >= 0)
		rc = image_trash_walk(&c->rt, add_row, rows, &err);
	if (rc >= 0 && !a->empty)
		rc = out_list(&list, rows, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int undo_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_strv struct strv lines = { 0 };
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args;
	if (rc >= 0 && argc == 0)
		rc = image_trash_restore(&c->rt, NULL, &lines, &err);
	for (int i = 0; rc >= 0 && i < argc; i++)
		rc = image_trash_restore(&c->rt, argv[i], &lines, &err);
	for (size_t i = 0; i < lines.n; i++)
		printf("Restored: %s\n", lines.v[i]);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_trash = {
	.name = "trash",
	.args = "",
	.summary = "List removed images that can still be brought back",
	.opts = trash_opts,
	.args_size = sizeof(struct trash_args),
	.main = trash_main,
	.flags = CMD_FREES,
};

const struct command cmd_undo = {
	.name = "undo",
	.args = "[IMAGE...]",
	.summary = "Bring back removed images, or what was removed last",
	.main = undo_main,
	.max_args = -1,
};
