/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "priv.h"

extern const struct command cmd_inspect;

struct inspect_args {
	const char *format, *type;
	bool size;
};

#define OFF(field) offsetof(struct inspect_args, field)
static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, OFF(format), "FORMAT", "json, or a Go template" },
	{ 0, "type", OPT_STR, OFF(type), "TYPE", "only a container, or only an image" },
	{ 's', "size", OPT_BOOL, OFF(size), NULL,
	  "of containers: what the layer takes up, and all" },
	{ 0 },
};

/* What no container is called. */
static int find_other(struct cli *c, int rc, const char *name, json_t **ret, struct err *err)
{
	if (rc != -ENOENT)
		return rc;
	err_clear(err);
	rc = inspect_image(c, name, ret, err);
	return rc == -ENOENT ? err_set(err, ENOENT, "no container, image or build step '%s'", name)
			     : rc;
}

static int find_any(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	return find_other(c, inspect_container(c, name, ret, err), name, ret, err);
}

static int find_any_sized(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	return find_other(c, inspect_container_sized(c, name, ret, err), name, ret, err);
}

int inspect_print(struct cli *c, const json_t *all, const char *format, int code)
{
	auto_free char *text = NULL;
	struct err err = { 0 };

	if (!format) {
		text = json_text_indent(all);
		puts(text);
	}
	for (size_t i = 0; format && i < json_array_size(all); i++)
		if (out_value(format, json_array_get(all, i), &err) < 0)
			return cli_fail(c, &err);
	return code ? code : cli_done(c);
}

int inspect_show(struct cli *c, inspect_fn *find, const char *format, char **names)
{
	auto_json json_t *all = json_array();
	struct err err = { 0 };
	int code = 0;

	for (; *names; names++) {
		json_t *one = NULL;

		if (find(c, *names, &one, &err) < 0)
			code = cli_fail(c, &err);
		else
			json_array_append_new(all, one);
	}
	return inspect_print(c, all, format, code);
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	static const struct {
		const char *type;
		inspect_fn *find, *find_sized;
	} types[] = { { NULL, find_any, find_any_sized },
		      { "container", inspect_container, inspect_container_sized },
		      { "image", inspect_image, inspect_image } };
	const struct inspect_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(a->type, types[i].type))
			return inspect_show(c, a->size ? types[i].find_sized : types[i].find,
					    a->format, argv);
	err_set(&err, EINVAL, "--type: \"%s\" is not container or image", a->type);
	return cli_usage(c, &err);
}

const struct command cmd_inspect = {
	.name = "inspect",
	.args = "NAME...",
	.summary = "Show all about containers, images and build steps",
	.opts = inspect_opts,
	.args_size = sizeof(struct inspect_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_objects,
};
