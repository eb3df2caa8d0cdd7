/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <shale/store.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_push;

struct push_args {
	const char *progress, *platform, *compression, *digest_file;
	struct transfer_creds creds;
	int level;
	bool quiet, all_tags, tls_verify;
};

static const struct push_args push_defaults = { .tls_verify = true, .progress = "auto" };

#define OFF(field) offsetof(struct push_args, field)
static const struct opt push_opts[] = {
	{ 'a', "all-tags", OPT_BOOL, OFF(all_tags), NULL, "all tags of the repository" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "the image for it alone, of all that pull --all-platforms kept" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print the name only" },
	{ 0, "progress", OPT_STR, OFF(progress), "TYPE",
	  "auto (default), tty, plain, json or quiet" },
	{ 0, "compression", OPT_STR, OFF(compression), "CODEC",
	  "none, gzip or zstd (default: as layers came, else gzip)" },
	{ 0, "compression-format", OPT_STR, OFF(compression), "CODEC", NULL },
	{ 0, "compression-level", OPT_INT, OFF(level), "N", "gzip 1 to 12 (7), zstd 1 to 19 (3)" },
	{ 0, "digestfile", OPT_STR, OFF(digest_file), "FILE",
	  "write the manifest's digest to FILE" },
	TRANSFER_CREDS_OPT(OFF(creds)),
	TRANSFER_AUTHFILE_OPT(OFF(creds)),
	{ 0, "tls-verify", OPT_BOOL, OFF(tls_verify), NULL,
	  "check the registry's certificate (default true)" },
	{ 0, "disable-content-trust", OPT_TRUE, 0, NULL, NULL },
	/* Podman's: signatures are never sent along. */
	{ 0, "remove-signatures", OPT_TRUE, 0, NULL, NULL },
	{ 0 },
};

struct pushing {
	struct cli *c;
	const struct push_args *a;
	enum progress_kind kind;
};

static int push_one(const struct pushing *p, const char *full, const char *source, struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct image_pull_opts o = { .platform = p->a->platform,
				     .source = source,
				     .event = transfer_view_event,
				     .arg = &view,
				     .interrupted = transfer_catch_signals() };
	char digest[DIGEST_STR_MAX];
	int rc;

	if (image_pack_parse(p->a->compression, p->a->level, &o.pack, err) < 0)
		return err_ctx(err, "--compression");
	transfer_access_make(p->c, p->a->tls_verify, &access);
	if (transfer_access_as(&access, &p->a->creds, full, err) < 0)
		return -err->code;
	o.access = access.access;
	transfer_view_begin(&view, stdout, p->kind, "Pushing");
	rc = image_push(&p->c->rt, full, &o, digest, err);
	if (rc >= 0 && p->kind == PROGRESS_QUIET)
		puts(full);
	if (rc >= 0 && p->kind == PROGRESS_JSON)
		transfer_view_say(&view, "digest", "digest", digest);
	if (rc >= 0 && p->a->digest_file)
		rc = out_write_file("--digestfile", p->a->digest_file, digest, err);
	return rc;
}

struct tag_walk {
	char *prefix; /* "docker.io/library/node:" */
	struct strv names;
};

static int add_tag(const struct tag_info *t, void *arg, struct err *err)
{
	struct tag_walk *w = arg;

	(void)err;
	if (str_starts(t->name, w->prefix))
		strv_add(&w->names, t->name);
	return 0;
}

static int push_repo(const struct pushing *p, const char *name, const char *full, struct err *err)
{
	auto_free char *prefix = NULL;
	struct tag_walk w = { 0 };
	int rc;

	if (!str_ends(full, ":latest") || str_ends(name, ":latest"))
		return err_set(err, EINVAL, "--all-tags takes a name without a tag");
	prefix = mem_strn(full, strlen(full) - strlen("latest"));
	w.prefix = prefix;
	rc = store_tag_walk(p->c->rt.store, NULL, add_tag, &w, err);
	if (rc >= 0 && !w.names.n)
		rc = err_set(err, ENOENT, "no image '%s'", name);
	for (size_t i = 0; rc >= 0 && i < w.names.n; i++)
		rc = push_one(p, w.names.v[i], NULL, err);
	strv_free(&w.names);
	return rc;
}

/* to: where, if not by its own name. */
static int push_name(const struct pushing *p, const char *name, const char *to, struct err *err)
{
	auto_free char *full = NULL;
	int rc = transfer_ref(to ? to : name, &full, err);

	if (rc < 0)
		return rc;
	if (p->a->all_tags && (to || p->a->digest_file))
		return err_set(err, EINVAL, "--all-tags takes no destination and no --digestfile");
	if (to)
		return push_one(p, full, name, err);
	if (p->a->all_tags)
		return push_repo(p, name, full, err);
	if (p->kind != PROGRESS_QUIET && p->kind != PROGRESS_JSON && str_ends(full, ":latest") &&
	    !str_ends(name, ":latest"))
		puts("Using default tag: latest");
	return push_one(p, full, NULL, err);
}

static int push_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct push_args *a = args;
	struct pushing p = { .c = c, .a = a };
	struct finish finish = FINISH_INIT;
	struct err err = { 0 };
	int code = 0;

	if (transfer_kind(a->progress, a->quiet, &p.kind, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0 || finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	if (push_name(&p, argv[0], argc > 1 ? argv[1] : NULL, &err) < 0)
		code = cli_fail(c, &err);
	if (err.code == EINTR && *transfer_catch_signals())
		code = 128 + *transfer_catch_signals();
	if (!code)
		code = cli_done(c);
	finish_end(&finish, c, settings_bool(&c->settings, SETTING_SYNC));
	return code;
}

const struct command cmd_push = {
	.name = "push",
	.args = "NAME[:TAG] [DESTINATION]",
	.summary = "Send an image to a registry",
	.opts = push_opts,
	.args_size = sizeof(struct push_args),
	.main = push_main,
	.min_args = 1,
	.max_args = 2,
	.complete = complete_images,
	.defaults = &push_defaults,
};
