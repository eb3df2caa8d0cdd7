/* SPDX-License-Identifier: Apache-2.0 */
/* search --list-tags: what a registry tells by the distribution protocol. Searching by words is an
 * interface of Docker Hub alone, and no registry's. */
#include <errno.h>
#include <string.h>

#include "transfer.h"

extern const struct command cmd_search;

struct search_args {
	const char *format;
	struct transfer_creds creds;
	int limit;
	bool list_tags, no_trunc, tls_verify;
};

static const struct search_args search_defaults = { .tls_verify = true };

#define OFF(field) offsetof(struct search_args, field)
static const struct opt search_opts[] = {
	{ 0, "list-tags", OPT_BOOL, OFF(list_tags), NULL, "the tags of a repository" },
	{ 0, "limit", OPT_INT, OFF(limit), "N", "no more than N of them" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL, NULL },
	TRANSFER_CREDS_OPT(OFF(creds)),
	TRANSFER_AUTHFILE_OPT(OFF(creds)),
	{ 0, "tls-verify", OPT_BOOL, OFF(tls_verify), NULL,
	  "check the registry's certificate (default true)" },
	{ 0 },
};

static const struct out_column columns[] = { { "NAME", "Name", false },
					     { "TAG", "Tag", false },
					     { 0 } };

static int find_tags(struct cli *c, const struct search_args *a, const char *full, struct strv *ret,
		     struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	struct image_pull_opts o = { .interrupted = transfer_catch_signals() };

	transfer_access_make(c, a->tls_verify, &access);
	if (transfer_access_as(&access, &a->creds, full, err) < 0)
		return -err->code;
	o.access = access.access;
	return image_remote_tags(full, &o, ret, err);
}

static int list_tags(struct cli *c, const struct search_args *a, const char *name, struct err *err)
{
	struct out_list list = { .cols = columns, .format = a->format };
	auto_json json_t *rows = json_array();
	auto_strv struct strv tags = { 0 };
	auto_free char *full = NULL, *repo = NULL, *tag = NULL;
	int rc = transfer_ref(name, &full, err);

	if (rc >= 0)
		rc = find_tags(c, a, full, &tags, err);
	if (rc < 0)
		return rc;
	image_ref_split(full, &repo, &tag);
	for (size_t i = 0; i < tags.n && (!a->limit || i < (size_t)a->limit); i++) {
		json_t *row = out_row_new();

		out_row_set(row, "Name", repo);
		out_row_set(row, "Tag", tags.v[i]);
		json_array_append_new(rows, row);
	}
	return out_list(&list, rows, err);
}

static int search_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct search_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (!a->list_tags)
		err_set(&err, ENOTSUP,
			"no registry can be searched by words, but Docker Hub by its site: "
			"search --list-tags NAME tells the tags of a repository");
	else if (a->limit < 0)
		err_set(&err, EINVAL, "--limit: \"%d\" is less than none", a->limit);
	if (err.code)
		return cli_usage(c, &err);
	return list_tags(c, a, argv[0], &err) < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_search = {
	.name = "search",
	.args = "--list-tags NAME",
	.summary = "List the tags that a registry has of a repository",
	.opts = search_opts,
	.args_size = sizeof(struct search_args),
	.main = search_main,
	.min_args = 1,
	.max_args = 1,
	.defaults = &search_defaults,
};
