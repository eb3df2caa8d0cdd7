/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/build.h>
#include <shale/image.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_import;

struct import_args {
	struct strv changes;
	const char *message, *platform, *os, *arch, *variant, *max_layer, *progress;
	bool quiet, sync;
};

static const struct import_args import_defaults = { .progress = "auto" };

#define OFF(field) offsetof(struct import_args, field)
static const struct opt import_opts[] = {
	{ 'c', "change", OPT_STRV, OFF(changes), "INSTRUCTION",
	  "apply a Dockerfile instruction, like 'CMD [\"sh\"]' (repeatable)" },
	{ 'm', "message", OPT_STR, OFF(message), "TEXT", "comment in the history" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "what it is for (default this machine's)" },
	{ 0, "os", OPT_STR, OFF(os), "OS", NULL },
	{ 0, "arch", OPT_STR, OFF(arch), "ARCH", NULL },
	{ 0, "variant", OPT_STR, OFF(variant), "VARIANT", NULL },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "show no progress" },
	PROGRESS_ASIDE_OPT(OFF(progress)),
	MAX_LAYER_OPT(OFF(max_layer)),
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the image is on disk" },
	{ 0 },
};

/* shown: the URL as it may be told to anybody; NULL of a file. */
static int fetch(struct cli *c, const char *url, struct transfer_view *view, char **shown,
		 struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	struct image_pull_opts o = { .event = transfer_view_event,
				     .arg = view,
				     .interrupted = transfer_catch_signals() };
	auto_fd int fd = openat(c->rt.root_fd, "tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return err_sys(err, "create a file for what comes");
	transfer_access_make(c, true, &access);
	o.access = access.access;
	rc = build_url_get(&c->rt, url, &o, fd, shown, err);
	if (rc < 0)
		return rc;
	transfer_leave_signals();
	return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(err, "rewind") : fd_take(&fd);
}

static int open_input(struct cli *c, const char *name, struct transfer_view *view, char **shown,
		      struct err *err)
{
	int fd;

	if (str_eq(name, "-")) {
		if (isatty(STDIN_FILENO))
			return err_set(
				err, EINVAL,
				"standard input is a terminal: an archive must come from it");
		fd = fd_dup(STDIN_FILENO);
		return fd < 0 ? err_sys(err, "standard input") : fd;
	}
	if (!strncasecmp(name, "http://", 7) || !strncasecmp(name, "https://", 8))
		return fetch(c, name, view, shown, err);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? err_sys(err, "open %s", name) : fd;
}

static void set(char **field, const char *value)
{
	if (!value)
		return;
	free(*field);
	*field = mem_str(value);
}

static int set_platform(const struct import_args *a, struct image_config *config, struct err *err)
{
	auto_strv struct strv part = { 0 };
	auto_free char *given = NULL, *text = NULL;

	if (a->platform && (a->os || a->arch || a->variant))
		return err_set(err, EINVAL, "--platform goes without --os, --arch and --variant");
	if (!a->platform && !a->os && !a->arch && !a->variant)
		return 0;
	given = a->platform ? mem_str(a->platform)
			    : mem_fmt("%s/%s%s%s", a->os ? a->os : config->os,
				      a->arch ? a->arch : config->architecture,
				      a->variant ? "/" : "", a->variant ? a->variant : "");
	if (image_platform_text(given, &text, err) < 0)
		return -err->code;
	strv_split(&part, text, '/');
	set(&config->os, part.v[0]);
	set(&config->architecture, part.v[1]);
	mem_cleanup(&config->variant);
	set(&config->variant, part.n > 2 ? part.v[2] : NULL);
	return 0;
}

static int import_from(struct cli *c, const struct import_args *a, char **argv,
		       struct transfer_view *view, char id[DIGEST_STR_MAX], struct err *err)
{
	auto_image_config struct image_config *config = image_config_new();
	struct image_import_opts o = { .config = config, .watch = transfer_watch(view) };
	auto_free char *tag = NULL, *shown = NULL, *from = NULL;
	auto_fd int fd = -1;
	int rc = set_platform(a, config, err);

	if (rc >= 0 && argv[1])
		rc = image_ref_normalize(argv[1], &tag, err);
	for (size_t i = 0; rc >= 0 && i < a->changes.n; i++) {
		rc = build_change(config, a->changes.v[i], err);
		if (rc < 0)
			err_ctx(err, "--change");
	}
	if (rc < 0)
		return rc;
	fd = open_input(c, argv[0], view, &shown, err);
	if (fd < 0)
		return fd_take(&fd);
	from = shown ? mem_fmt("Imported from %s", shown) : NULL;
	o.message = a->message ? a->message : from;
	o.tag = tag;
	return image_import(&c->rt, fd, &o, id, err);
}

static int import_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct import_args *a = args;
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct finish finish = FINISH_INIT;
	char id[DIGEST_STR_MAX] = "";
	struct err err = { 0 };
	int code;

	(void)argc;
	if (transfer_view_aside(&view, a->progress, a->quiet, "Importing", &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0 || cli_limit_layers(c, a->max_layer, &err) < 0 ||
	    finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	code = import_from(c, a, argv, &view, id, &err) < 0 ? cli_fail(c, &err) : 0;
	if (err.code == EINTR && *transfer_catch_signals())
		code = 128 + *transfer_catch_signals();
	if (!code) {
		puts(id);
		code = cli_done(c);
	}
	finish_end(&finish, c, a->sync || settings_bool(&c->settings, SETTING_SYNC));
	return code;
}

const struct command cmd_import = {
	.name = "import",
	.args = "FILE|URL|- [NAME[:TAG]]",
	.summary = "Make an image of a root file system's tar archive",
	.opts = import_opts,
	.args_size = sizeof(struct import_args),
	.main = import_main,
	.min_args = 1,
	.max_args = 2,
	.defaults = &import_defaults,
};
