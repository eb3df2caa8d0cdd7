/* SPDX-License-Identifier: Apache-2.0 */
/* imagetools create, inspect: what registries have, put together and looked at without a pull. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "transfer.h"

extern const struct command cmd_imagetools;

struct tools_args {
	struct strv tags;
	bool append, dry_run, raw;
	const char *format, *progress, *builder;
};

#define OFF(field) offsetof(struct tools_args, field)
static const struct opt tools_opts[] = {
	{ 't', "tag", OPT_STRV, OFF(tags), "NAME", "create: what it is called (repeatable)" },
	{ 0, "append", OPT_BOOL, OFF(append), NULL, "create: add to what the first NAME is there" },
	{ 0, "dry-run", OPT_BOOL, OFF(dry_run), NULL, "create: print the list and send nothing" },
	{ 0, "progress", OPT_STR, OFF(progress), "TYPE",
	  "auto (default), tty, plain, json or quiet" },
	{ 0, "raw", OPT_BOOL, OFF(raw), NULL, "inspect: the document as it is" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "inspect: json, or a Go template" },
	{ 0, "builder", OPT_STR, OFF(builder), "NAME", NULL },
	{ 0 },
};
static const struct tools_args tools_defaults = { .progress = "auto" };

static int add_name(struct strv *to, const char *name, struct err *err)
{
	char *full = NULL;
	int rc = transfer_ref(name, &full, err);

	if (rc >= 0)
		strv_add_take(to, full);
	return rc;
}

static int create(struct cli *c, const struct tools_args *a, int argc, char **argv, struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	auto_strv struct strv names = { 0 }, sources = { 0 };
	struct image_combine w = { &names, &sources, a->append, a->dry_run };
	struct image_pull_opts o = { .event = transfer_view_event,
				     .arg = &view,
				     .interrupted = transfer_catch_signals() };
	enum progress_kind kind = PROGRESS_PLAIN;
	auto_free char *text = NULL;
	char digest[DIGEST_STR_MAX];
	int rc = transfer_kind(a->progress, false, &kind, err);

	for (size_t i = 0; rc >= 0 && i < a->tags.n; i++)
		rc = add_name(&names, a->tags.v[i], err);
	for (int i = 0; rc >= 0 && i < argc; i++)
		rc = add_name(&sources, argv[i], err);
	if (rc >= 0 && (!argc || (!names.n && (!a->dry_run || a->append))))
		rc = err_set(err, EINVAL, "imagetools create wants --tag NAME and SOURCE...");
	if (rc < 0)
		return rc;
	transfer_access_make(c, true, &access);
	o.access = access.access;
	transfer_view_begin(&view, stdout, kind, "Pushing");
	rc = image_combine(&c->rt, &w, &o, &text, digest, err);
	if (rc >= 0 && a->dry_run)
		puts(text);
	else if (rc >= 0)
		transfer_view_say(&view, "digest", "digest", digest);
	return rc;
}

static const char *get(const json_t *o, const char *key)
{
	const char *v = json_get_str(o, key);

	return v ? v : "";
}

static void add_member(struct str *to, const char *repo, const json_t *m)
{
	const json_t *p = json_object_get(m, "platform");
	const char *variant = get(p, "variant");

	str_addf(to, "\n  Name:        %s@%s\n  MediaType:   %s\n", repo, get(m, "digest"),
		 get(m, "mediaType"));
	if (p)
		str_addf(to, "  Platform:    %s/%s%s%s\n", get(p, "os"), get(p, "architecture"),
			 *variant ? "/" : "", variant);
}

static void show_all(const char *name, const json_t *manifest)
{
	const json_t *list = json_object_get(manifest, "manifests"), *m;
	auto_free char *repo = mem_strn(name, strcspn(name, "@"));
	char *colon = strrchr(repo, ':');
	auto_str struct str text = { 0 };
	size_t i;

	if (colon && !strchr(colon, '/'))
		*colon = 0;
	str_addf(&text, "Name:      %s\nMediaType: %s\nDigest:    %s\n", name,
		 get(manifest, "mediaType"), get(manifest, "digest"));
	if (json_array_size(list))
		str_add(&text, "\nManifests:\n");
	json_array_foreach(list, i, m) add_member(&text, repo, m);
	out_clean(stdout, str_get(&text), false);
}

/* As it is, but for a terminal. */
static void show_raw(const char *text)
{
	if (isatty(STDOUT_FILENO))
		out_clean(stdout, text, false);
	else
		fputs(text, stdout);
}

static int inspect(struct cli *c, const struct tools_args *a, const char *ref, struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	struct image_pull_opts o = { .interrupted = transfer_catch_signals() };
	auto_free char *name = NULL, *text = NULL, *type = NULL;
	auto_json json_t *doc = NULL, *row = json_object();
	char digest[DIGEST_STR_MAX];
	int rc = transfer_ref(ref, &name, err);

	transfer_access_make(c, true, &access);
	o.access = access.access;
	if (rc >= 0)
		rc = image_raw(name, &o, &text, &type, digest, err);
	if (rc >= 0 && a->raw) {
		show_raw(text);
		return 0;
	}
	if (rc >= 0)
		rc = json_parse(text, strlen(text), &doc, err);
	if (rc < 0)
		return rc;
	json_object_set_new(doc, "mediaType", json_from_str(type));
	json_object_set_new(doc, "digest", json_string(digest));
	json_object_set_new(doc, "size", json_integer((json_int_t)strlen(text)));
	if (!a->format) {
		show_all(name, doc);
		return 0;
	}
	json_object_set_new(row, "name", json_from_str(name));
	json_object_set(row, "manifest", doc);
	return out_value(a->format, row, err);
}

static int tools_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct tools_args *a = args;
	bool is_create = str_eq(argv[0], "create"), is_inspect = str_eq(argv[0], "inspect");
	struct err err = { 0 };
	int rc;

	if ((!is_create && !is_inspect) || (is_inspect && argc != 2)) {
		err_set(&err, EINVAL, "imagetools %.40s: want create SOURCE... or inspect NAME",
			argv[0]);
		return cli_usage(c, &err);
	}
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = is_create ? create(c, a, argc - 1, argv + 1, &err)
			       : inspect(c, a, argv[1], &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_imagetools = {
	.name = "imagetools",
	.args = "create SOURCE... | inspect NAME",
	.summary = "Put together, and look at, what registries have",
	.opts = tools_opts,
	.args_size = sizeof(struct tools_args),
	.main = tools_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_HIDDEN,
	.complete = complete_images,
	.defaults = &tools_defaults,
};
