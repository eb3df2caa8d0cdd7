/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_pull;

struct pull_args {
	const char *platform, *os, *arch, *variant, *progress, *max_layer;
	struct transfer_creds creds;
	bool quiet, all_tags, all_platforms, tls_verify, sync;
};

static const struct pull_args pull_defaults = { .tls_verify = true, .progress = "auto" };

#define OFF(field) offsetof(struct pull_args, field)
static const struct opt pull_opts[] = {
	{ 'a', "all-tags", OPT_BOOL, OFF(all_tags), NULL, "all tags of the repository" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "which image of several (default this machine's)" },
	/* Podman's */
	{ 0, "os", OPT_STR, OFF(os), "OS", NULL },
	{ 0, "arch", OPT_STR, OFF(arch), "ARCH", NULL },
	{ 0, "variant", OPT_STR, OFF(variant), "VARIANT", NULL },
	{ 0, "all-platforms", OPT_BOOL, OFF(all_platforms), NULL,
	  "keep the images for all platforms, to push them on" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print the image ID only" },
	{ 0, "progress", OPT_STR, OFF(progress), "TYPE",
	  "auto (default), tty, plain, json or quiet" },
	TRANSFER_CREDS_OPT(OFF(creds)),
	TRANSFER_AUTHFILE_OPT(OFF(creds)),
	{ 0, "tls-verify", OPT_BOOL, OFF(tls_verify), NULL,
	  "check the registry's certificate (default true)" },
	MAX_LAYER_OPT(OFF(max_layer)),
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the image is on disk" },
	{ 0, "disable-content-trust", OPT_TRUE, 0, NULL, NULL },
	{ 0 },
};

struct pulling {
	struct cli *c;
	const struct pull_args *a;
	enum progress_kind kind;
	struct transfer_access access;
	char *platform; /* NULL: this machine's */
};

static void pulling_free(struct pulling *p)
{
	transfer_access_free(&p->access);
	free(p->platform);
}

static int pull_one(struct pulling *p, const char *full, struct err *err)
{
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct image_pull_opts o = { .access = p->access.access,
				     .platform = p->platform,
				     .all_platforms = p->a->all_platforms,
				     .event = transfer_view_event,
				     .arg = &view,
				     .interrupted = transfer_catch_signals() };
	char id[DIGEST_STR_MAX];
	int rc;

	transfer_view_begin(&view, stdout, p->kind, "Downloading");
	rc = image_pull(&p->c->rt, full, &o, id, err);
	if (rc >= 0 && p->kind == PROGRESS_JSON)
		transfer_view_say(&view, "image", "id", id);
	if (rc >= 0)
		transfer_view_say(&view, "name", "name", p->kind == PROGRESS_QUIET ? id : full);
	return rc;
}

/* full: with a tag that was not given. */
static int pull_repo(struct pulling *p, const char *full, struct err *err)
{
	struct image_pull_opts o = { .access = p->access.access,
				     .interrupted = transfer_catch_signals() };
	auto_strv struct strv tags = { 0 };
	auto_free char *repo = mem_strn(full, strlen(full) - strlen(":latest"));
	int rc = image_remote_tags(full, &o, &tags, err);

	if (rc >= 0 && !tags.n)
		rc = err_set(err, ENOENT, "%s has no tags", repo);
	for (size_t i = 0; rc >= 0 && i < tags.n; i++) {
		auto_free char *name = mem_fmt("%s:%s", repo, tags.v[i]);

		rc = pull_one(p, name, err);
	}
	return rc;
}

static int pull_name(struct pulling *p, const char *given, struct err *err)
{
	const char *name = transfer_name(given);
	auto_free char *full = NULL;
	bool is_untagged;
	int rc = transfer_ref(given, &full, err);

	if (rc >= 0)
		rc = transfer_access_as(&p->access, &p->a->creds, full, err);
	if (rc < 0)
		return rc;
	is_untagged = !strchr(full, '@') && str_ends(full, ":latest") && !str_ends(name, ":latest");
	if (p->a->all_tags && !is_untagged)
		return err_set(err, EINVAL, "--all-tags takes a name without a tag");
	if (p->a->all_tags)
		return pull_repo(p, full, err);
	if (is_untagged && p->kind != PROGRESS_QUIET && p->kind != PROGRESS_JSON)
		puts("Using default tag: latest");
	return pull_one(p, full, err);
}

/* Of --os, --arch and --variant what is not said is this machine's. */
static int take_platform(struct pulling *p, struct err *err)
{
	auto_image_config struct image_config *here = image_config_new();
	const struct pull_args *a = p->a;
	bool parts = a->os || a->arch || a->variant;

	if (a->platform && parts)
		return err_set(err, EINVAL, "--platform goes without --os, --arch and --variant");
	if (a->all_platforms && (a->platform || parts))
		return err_set(err, EINVAL, "--platform and --all-platforms exclude each other");
	if (parts)
		p->platform = mem_fmt("%s/%s%s%s", a->os ? a->os : here->os,
				      a->arch ? a->arch : here->architecture, a->variant ? "/" : "",
				      a->variant ? a->variant : "");
	else if (a->platform)
		p->platform = mem_str(a->platform);
	return 0;
}

static int pull_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct pull_args *a = args;
	cleanup(pulling_free) struct pulling p = { .c = c, .a = a };
	struct finish finish = FINISH_INIT;
	struct err err = { 0 };
	bool wait = a->sync || settings_bool(&c->settings, SETTING_SYNC);
	int code = 0;

	if (take_platform(&p, &err) < 0 || transfer_kind(a->progress, a->quiet, &p.kind, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0 || cli_limit_layers(c, a->max_layer, &err) < 0 ||
	    finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	if (wait)
		finish_early(&finish);
	transfer_access_make(c, a->tls_verify, &p.access);
	for (int i = 0; !code && i < argc; i++)
		if (pull_name(&p, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	if (err.code == EINTR && *transfer_catch_signals())
		code = 128 + *transfer_catch_signals();
	if (!code)
		code = cli_done(c);
	finish_end(&finish, c, wait);
	return code;
}

const struct command cmd_pull = {
	.name = "pull",
	.args = "NAME[:TAG|@DIGEST]...",
	.summary = "Fetch an image from a registry",
	.opts = pull_opts,
	.args_size = sizeof(struct pull_args),
	.main = pull_main,
	.min_args = 1,
	.max_args = -1,
	.defaults = &pull_defaults,
};
