/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_pull;

struct pull_args {
	const char *platform;
	bool quiet, all_tags, tls_verify, no_trust, sync;
};

static const struct pull_args pull_defaults = { .tls_verify = true };

#define OFF(field) offsetof(struct pull_args, field)
static const struct opt pull_opts[] = {
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "which image of several (default this machine's)" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print the image ID only" },
	{ 0, "tls-verify", OPT_BOOL, OFF(tls_verify), NULL,
	  "check the registry's certificate (default true)" },
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the image is on disk" },
	{ 0, "disable-content-trust", OPT_BOOL, OFF(no_trust), NULL, NULL },
	{ 0 },
};

static int pull_one(struct cli *c, const struct pull_args *a, const char *name, struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct image_pull_opts o = { .platform = a->platform,
				     .event = transfer_view_event,
				     .arg = &view,
				     .interrupted = transfer_catch_signals() };
	auto_free char *full = NULL;
	char id[DIGEST_STR_MAX];
	int rc = image_ref_normalize(name, &full, err);

	if (rc < 0)
		return rc;
	transfer_access_make(c, a->tls_verify, &access);
	o.access = access.access;
	transfer_view_begin(&view, stdout, a->quiet);
	if (!a->quiet && strrchr(full, ':') && str_ends(full, ":latest") &&
	    !str_ends(name, ":latest"))
		puts("Using default tag: latest");
	rc = image_pull(&c->rt, full, &o, id, err);
	if (rc >= 0)
		puts(a->quiet ? id : full);
	return rc;
}

static int pull_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct pull_args *a = args;
	struct finish finish = FINISH_INIT;
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0 || finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; !code && i < argc; i++)
		if (pull_one(c, a, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	if (err.code == EINTR && *transfer_catch_signals())
		code = 128 + *transfer_catch_signals();
	if (!code)
		code = cli_done(c);
	finish_end(&finish, c, a->sync || settings_bool(&c->settings, SETTING_SYNC));
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
