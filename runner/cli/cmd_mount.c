/* SPDX-License-Identifier: Apache-2.0 */
/* image mount, image unmount, and the same of containers */
#include <errno.h>

#include <shale/container.h>
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_mount, cmd_image_unmount, cmd_container_mount,
	cmd_container_unmount;

struct mount_args {
	const char *format;
	bool whole;
};
struct unmount_args {
	bool all, lazy;
};

static const struct opt mount_opts[] = {
	{ 0, "format", OPT_STR, offsetof(struct mount_args, format), "FORMAT",
	  "of the list: table, json, or a Go template" },
	{ 0, "notruncate", OPT_BOOL, offsetof(struct mount_args, whole), NULL, NULL },
	{ 0, "no-trunc", OPT_BOOL, offsetof(struct mount_args, whole), NULL, "whole IDs" },
	{ 0 },
};
static const struct opt unmount_opts[] = {
	{ 'a', "all", OPT_BOOL, offsetof(struct unmount_args, all), NULL, "all that are mounted" },
	{ 'f', "force", OPT_BOOL, offsetof(struct unmount_args, lazy), NULL,
	  "also while files in it are open" },
	{ 0 },
};

static const struct out_column image_columns[] = {
	{ "IMAGE", "Image", false },
	{ "IMAGE ID", "ID", false },
	{ "MOUNTED AT", "Dir", false },
	{ 0 },
};
static const struct out_column container_columns[] = {
	{ "CONTAINER", "Container", false },
	{ "CONTAINER ID", "ID", false },
	{ "MOUNTED AT", "Dir", false },
	{ 0 },
};

struct rows {
	struct cli *c;
	bool whole;
	json_t *rows;
};

static void add_row(struct rows *r, const char *key, char *name, const char *id, const char *dir)
{
	json_t *row = out_row_new();

	out_row_take(row, key, name);
	out_row_take(row, "ID", r->whole ? mem_str(id) : out_short_id(id));
	out_row_set(row, "Dir", dir);
	json_array_append_new(r->rows, row);
}

static int add_image(const char *id, const char *dir, void *arg, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	struct rows *r = arg;
	int rc = image_tags(&r->c->rt, id, &tags, err);

	add_row(r, "Image", tags.n ? image_ref_familiar(tags.v[0]) : mem_str("<none>"), id, dir);
	return rc;
}

static int add_container(const char *id, const char *dir, void *arg, struct err *err)
{
	auto_container struct container *ct = NULL;
	struct rows *r = arg;
	int rc = container_find(&r->c->rt, id, &ct, err);

	if (rc == -ENOENT) { /* it goes this moment */
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		add_row(r, "Container", mem_str(ct->name), id, dir);
	return rc;
}

static const struct kind {
	const struct out_column *columns;
	int (*mount)(struct runtime *rt, const char *name, const char *dir, char **ret_dir,
		     struct err *err);
	int (*unmount)(struct runtime *rt, const char *which, bool lazy, struct strv *ret_dirs,
		       struct err *err);
	int (*mounts)(struct runtime *rt, image_mount_fn *fn, void *arg, struct err *err);
	image_mount_fn *add;
} of_images = { image_columns, image_mount, image_unmount, image_mounts, add_image },
  of_containers = { container_columns, container_mount, container_unmount, container_mounts,
		    add_container };

static int list(struct cli *c, const struct kind *k, const struct mount_args *a, struct err *err)
{
	auto_json json_t *rows = json_array();
	struct rows r = { c, a->whole, rows };
	struct out_list o = { k->columns, a->format, NULL };
	int rc = k->mounts(&c->rt, k->add, &r, err);

	return rc < 0 ? rc : out_list(&o, rows, err);
}

static int mount_one(struct cli *c, const struct kind *k, void *args, int argc, char **argv)
{
	auto_free char *dir = NULL;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	if (rc >= 0 && !argc)
		rc = list(c, k, args, &err);
	else if (rc >= 0)
		rc = k->mount(&c->rt, argv[0], argv[1], &dir, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (dir)
		puts(dir);
	return cli_done(c);
}

static int unmount_some(struct cli *c, const struct kind *k, void *args, int argc, char **argv)
{
	const struct unmount_args *a = args;
	auto_strv struct strv dirs = { 0 };
	struct err err = { 0 };
	int code = 0, rc;

	if (a->all != (argc == 0)) {
		err_set(&err, EINVAL, "what to unmount: names, directories, or --all");
		return cli_usage(c, &err);
	}
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc || (a->all && i == 0); i++) {
		rc = k->unmount(&c->rt, argv[i], a->lazy, &dirs, &err);
		if (rc < 0)
			code = cli_fail(c, &err);
	}
	for (size_t i = 0; i < dirs.n; i++)
		puts(dirs.v[i]);
	return code ? code : cli_done(c);
}

static int image_mount_main(struct cli *c, void *args, int argc, char **argv)
{
	return mount_one(c, &of_images, args, argc, argv);
}

static int image_unmount_main(struct cli *c, void *args, int argc, char **argv)
{
	return unmount_some(c, &of_images, args, argc, argv);
}

static int container_mount_main(struct cli *c, void *args, int argc, char **argv)
{
	return mount_one(c, &of_containers, args, argc, argv);
}

static int container_unmount_main(struct cli *c, void *args, int argc, char **argv)
{
	return unmount_some(c, &of_containers, args, argc, argv);
}

const struct command cmd_container_mount = {
	.name = "container-mount",
	.args = "[CONTAINER [DIR]]",
	.summary = "Mount a container's file system, or list those mounted",
	.opts = mount_opts,
	.args_size = sizeof(struct mount_args),
	.main = container_mount_main,
	.max_args = 2,
	.flags = CMD_HIDDEN,
	.complete = complete_containers,
};

const struct command cmd_container_unmount = {
	.name = "container-unmount",
	.args = "[CONTAINER|DIR...]",
	.summary = "Unmount containers",
	.opts = unmount_opts,
	.args_size = sizeof(struct unmount_args),
	.main = container_unmount_main,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_containers,
};

const struct command cmd_image_mount = {
	.name = "image-mount",
	.args = "[IMAGE [DIR]]",
	.summary = "Mount an image read-only, or list those mounted",
	.opts = mount_opts,
	.args_size = sizeof(struct mount_args),
	.main = image_mount_main,
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
	.main = image_unmount_main,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
};
