/* SPDX-License-Identifier: Apache-2.0 */
/* manifest create, annotate, push, inspect, rm: lists of images for several platforms. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer.h"

extern const struct command cmd_manifest_annotate, cmd_manifest_create, cmd_manifest_inspect,
	cmd_manifest_push, cmd_manifest_rm;

struct manifest_args {
	bool amend, insecure, purge, verbose;
	struct image_list_platform platform;
	struct strv os_features;
	const char *progress;
};

static const struct manifest_args manifest_defaults = { .progress = "auto" };

#define OFF(field) offsetof(struct manifest_args, field)
#define INSECURE                                                                                   \
	{                                                                                          \
		0, "insecure", OPT_BOOL, OFF(insecure), NULL,                                      \
			"do not check the registry's certificate"                                  \
	}
static const struct opt create_opts[] = {
	{ 'a', "amend", OPT_BOOL, OFF(amend), NULL, "add to a list that is there" },
	INSECURE,
	{ 0 },
};
static const struct opt annotate_opts[] = {
	{ 0, "arch", OPT_STR, OFF(platform.architecture), "ARCH", "set the architecture" },
	{ 0, "os", OPT_STR, OFF(platform.os), "OS", "set the operating system" },
	{ 0, "os-features", OPT_STRV, OFF(os_features), "FEATURE", "set the features it needs" },
	{ 0, "os-version", OPT_STR, OFF(platform.os_version), "VERSION",
	  "set the operating system's version" },
	{ 0, "variant", OPT_STR, OFF(platform.variant), "VARIANT", "set the variant" },
	{ 0 },
};
static const struct opt inspect_opts[] = {
	{ 'v', "verbose", OPT_BOOL, OFF(verbose), NULL, "with the manifests of its members" },
	INSECURE,
	{ 0 },
};
static const struct opt push_opts[] = {
	{ 'p', "purge", OPT_BOOL, OFF(purge), NULL, "forget the list when it is pushed" },
	{ 0, "progress", OPT_STR, OFF(progress), "TYPE",
	  "auto (default), tty, plain, json or quiet" },
	INSECURE,
	{ 0 },
};

/* argv's names, normalised. */
static int open_names(struct cli *c, int argc, char **argv, struct strv *ret, struct err *err)
{
	int rc = cli_open(c, err);

	for (int i = 0; rc >= 0 && i < argc; i++) {
		char *full = NULL;

		rc = image_ref_normalize(argv[i], &full, err);
		if (rc >= 0)
			strv_add_take(ret, full);
	}
	return rc;
}

struct work {
	struct transfer_access access;
	struct image_pull_opts o;
};

static void work_free(struct work *w)
{
	transfer_access_free(&w->access);
}

static void work_make(struct cli *c, const struct manifest_args *a, struct work *w)
{
	transfer_access_make(c, !a->insecure, &w->access);
	w->o.access = w->access.access;
	w->o.interrupted = transfer_catch_signals();
}

static int create_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct manifest_args *a = args;
	cleanup(work_free) struct work w = { 0 };
	auto_strv struct strv names = { 0 }, members = { 0 };
	struct err err = { 0 };
	int rc = open_names(c, argc, argv, &names, &err);

	for (size_t i = 1; i < names.n; i++)
		strv_add(&members, names.v[i]);
	work_make(c, a, &w);
	if (rc >= 0)
		rc = image_list_create(&c->rt, names.v[0], &members, a->amend, &w.o, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	printf("Created manifest list %s\n", names.v[0]);
	return cli_done(c);
}

static int annotate_main(struct cli *c, void *args, int argc, char **argv)
{
	struct manifest_args *a = args;
	auto_strv struct strv names = { 0 };
	struct err err = { 0 };
	int rc = open_names(c, argc, argv, &names, &err);

	a->platform.os_features = &a->os_features;
	if (rc >= 0)
		rc = image_list_annotate(&c->rt, names.v[0], names.v[1], &a->platform, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int inspect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct manifest_args *a = args;
	cleanup(work_free) struct work w = { 0 };
	auto_strv struct strv names = { 0 };
	auto_json json_t *o = NULL;
	auto_free char *text = NULL;
	struct err err = { 0 };
	int rc = open_names(c, argc, argv, &names, &err);

	work_make(c, a, &w);
	if (rc >= 0)
		rc = image_list_inspect(
			&c->rt,
			&(struct image_list_query){ .list = argc > 1 ? names.v[0] : NULL,
						    .ref = names.v[argc - 1],
						    .is_verbose = a->verbose },
			&w.o, &o, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	text = json_text_indent(o);
	puts(str_trim(text));
	return cli_done(c);
}

static int push_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct manifest_args *a = args;
	cleanup(work_free) struct work w = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	auto_strv struct strv names = { 0 };
	enum progress_kind kind = PROGRESS_PLAIN;
	char digest[DIGEST_STR_MAX];
	struct err err = { 0 };
	int rc;

	if (transfer_kind(a->progress, false, &kind, &err) < 0)
		return cli_usage(c, &err);
	rc = open_names(c, argc, argv, &names, &err);
	work_make(c, a, &w);
	transfer_view_begin(&view, stdout, kind, "Pushing");
	w.o.event = transfer_view_event;
	w.o.arg = &view;
	if (rc >= 0)
		rc = image_list_push(&c->rt, names.v[0], &w.o, digest, &err);
	if (rc >= 0 && a->purge)
		rc = image_list_remove(&c->rt, names.v[0], &err);
	if (rc < 0)
		return cli_fail(c, &err);
	transfer_view_say(&view, "digest", "digest", digest);
	return cli_done(c);
}

static int rm_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_strv struct strv names = { 0 };
	struct err err = { 0 };
	int rc = open_names(c, argc, argv, &names, &err);

	(void)args;
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		rc = image_list_remove(&c->rt, names.v[i], &err);
		if (rc >= 0)
			puts(names.v[i]);
	}
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

#define MANIFEST(id, word, what, text, fn, list, min, max)                                         \
	const struct command id = {                                                                \
		.name = (word),                                                                    \
		.args = (what),                                                                    \
		.summary = (text),                                                                 \
		.opts = (list),                                                                    \
		.args_size = sizeof(struct manifest_args),                                         \
		.main = (fn),                                                                      \
		.min_args = (min),                                                                 \
		.max_args = (max),                                                                 \
		.flags = CMD_HIDDEN,                                                               \
		.complete = complete_images,                                                       \
		.defaults = &manifest_defaults,                                                    \
	}
MANIFEST(cmd_manifest_annotate, "manifest-annotate", "LIST MANIFEST",
	 "Say for which platform an image of a manifest list is", annotate_main, annotate_opts, 2,
	 2);
MANIFEST(cmd_manifest_create, "manifest-create", "LIST MANIFEST...",
	 "Make a manifest list of images", create_main, create_opts, 2, -1);
MANIFEST(cmd_manifest_inspect, "manifest-inspect", "[LIST] MANIFEST",
	 "Print a manifest or a manifest list", inspect_main, inspect_opts, 1, 2);
MANIFEST(cmd_manifest_push, "manifest-push", "LIST", "Send a manifest list to a registry",
	 push_main, push_opts, 1, 1);
MANIFEST(cmd_manifest_rm, "manifest-rm", "LIST...", "Forget manifest lists", rm_main, NULL, 1, -1);
