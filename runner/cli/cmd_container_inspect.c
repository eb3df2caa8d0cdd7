/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_container_inspect;

struct inspect_args {
	const char *format;
};

static const struct opt inspect_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct inspect_args, format), "FORMAT",
	  "json or a Go template" },
	{ 0 },
};

int inspect_container(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc < 0)
		return rc;
	*ret = container_inspect(ct);
	return 0;
}

/* Those found are printed although others are missing, as Docker does. */
static int print_all(const char *format, const json_t *all, struct err *err)
{
	auto_free char *text = NULL;
	int rc = 0;

	if (!format) {
		text = json_text_indent(all);
		puts(text);
		return 0;
	}
	for (size_t i = 0; rc >= 0 && i < json_array_size(all); i++)
		rc = out_value(format, json_array_get(all, i), err);
	return rc;
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct inspect_args *a = args;
	auto_json json_t *all = json_array();
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++) {
		json_t *one = NULL;

		if (inspect_container(c, argv[i], &one, &err) < 0)
			code = cli_fail(c, &err);
		else
			json_array_append_new(all, one);
	}
	if (print_all(a->format, all, &err) < 0)
		code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_container_inspect = {
	.name = "container-inspect",
	.args = "CONTAINER...",
	.summary = "Show all about containers",
	.opts = inspect_opts,
	.args_size = sizeof(struct inspect_args),
	.main = inspect_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_containers,
};
