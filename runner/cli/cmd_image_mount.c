/* SPDX-License-Identifier: Apache-2.0 */
/* image mount, image unmount */
#include <errno.h>

#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_mount, cmd_image_unmount;

struct mount_args {
	const char *format;
};
struct unmount_args {
	bool all, lazy;
};

static const struct opt mount_opts[] = {
	{ 0, "format", OPT_STR, offsetof(struct mount_args, format), "FORMAT",
	  "of the list: table, json, or a Go template" },
	{ 0 },
};
static const struct opt unmount_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct unmount_args, all), NULL, "all that are mounted" },
	{ 'f', "force", OPT_BOOL, offsetof(struct unmount_args, lazy), NULL,
	  "also while files in it are open" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "IMAGE", "Image", false },
	{ "IMAGE ID", "ID", false },
	{ "MOUNTED AT", "Dir", false },
	{ 0 },
};

struct rows {
	struct cli *c;
	json_t *rows;
};

static int add_row(const char *id, const char *dir, void *arg, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	struct rows *r = arg;
	json_t *row = out_row_new();
	int rc = image_tags(&r->c->rt, id, &tags, err);

	out_row_take(row, "Image", tags.n ? image_ref_familiar(tags.v[0]) : mem_str("<none>"));
	out_row_take(row, "ID", out_short_id(id));
	out_row_set(row, "Dir", dir);
	json_array_append_new(r->rows, row);
	return rc;
}

static int list(struct cli *c, const struct mount_args *a, struct err *err)
{
	auto_json json_t *rows = json_array();
	struct rows r = { c, rows };
	struct out_list o = { columns, a->format, NULL };
	int rc = image_mounts(&c->rt, add_row, &r, err);

	return rc < 0 ? rc : out_list(&o, rows, err);
}

static int mount_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_free char *dir = NULL;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	if (rc >= 0 && !argc)
		rc = list(c, args, &err);
	else if (rc >= 0)
		rc = image_mount(&c->rt, argv[0], argv[1], &dir, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (dir)
		puts(dir);
	return cli_done(c);
}

static int unmount_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct unmount_args *a = args;
	auto_strv struct strv dirs = { 0 };
	struct err err = { 0 };
	int code = 0, rc;

	if (a->all != (argc == 0)) {
		err_set(&err, EINVAL, "what to unmount: images, directories, or --all");
		return cli_usage(c, &err);
	}
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc || (a->all && i == 0); i++) {
		rc = image_unmount(&c->rt, argv[i], a->lazy, &dirs, &err);
		if (rc < 0)
			code = cli_fail(c, &err);
	}
	for (size_t i = 0; i < dirs.n; i++)
		puts(dirs.v[i]);
	return code ? code : cli_done(c);
}

const struct command cmd_image_mount = {
	.name = "image-mount",
	.args = "[IMAGE [DIR]]",
	.summary = "Mount an image read-only, or list those mounted",
	.opts = mount_opts,
	.args_size = sizeof(struct mount_args),
	.main = mount_main,
	.max_args = 2,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};

const struct command cmd_image_unmount = {
	.name = "image-unmount",
	.args = "[IMAGE|DIR...]",
	.summary = "Unmount images",
	.opts = unmount_opts,
	.args_size = sizeof(struct unmount_args),
	.main = unmount_main,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};
