/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/image.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_load;

struct load_args {
	const char *input, *platform, *max_layer, *progress;
	bool quiet, all_platforms, sync;
};

static const struct load_args load_defaults = { .progress = "auto" };

#define OFF(field) offsetof(struct load_args, field)
static const struct opt load_opts[] = {
	{ 'i', "input", OPT_STR, OFF(input), "FILE",
	  "archive, or directory of an OCI layout (default standard input)" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "only images for it (else all; of an index this machine's)" },
	{ 0, "all-platforms", OPT_BOOL, OFF(all_platforms), NULL,
	  "keep the images for all platforms, to push or save them" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "print nothing but the names" },
	PROGRESS_ASIDE_OPT(OFF(progress)),
	MAX_LAYER_OPT(OFF(max_layer)),
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the images are on disk" },
	{ 0 },
};

static int load_from(struct cli *c, const char *input, const struct image_load_opts *o,
		     struct strv *lines, struct err *err)
{
	auto_fd int fd = -1;

	if (!input && isatty(STDIN_FILENO))
		return err_set(
			err, EINVAL,
			"standard input is a terminal: an archive must come from it, or by -i FILE");
	fd = input ? open(input, O_RDONLY | O_CLOEXEC | O_NOCTTY) : fd_dup(STDIN_FILENO);
	if (fd < 0)
		return err_sys(err, "open %s", input ? input : "standard input");
	return image_load(&c->rt, fd, o, lines, err);
}

static int load_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct load_args *a = args;
	auto_strv struct strv lines = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct finish finish = FINISH_INIT;
	struct image_load_opts o = { .platform = a->platform, .all_platforms = a->all_platforms };
	struct err err = { 0 };
	bool wait = a->sync || settings_bool(&c->settings, SETTING_SYNC);
	int code = 0;

	(void)argc;
	(void)argv;
	if (a->all_platforms && a->platform)
		err_set(&err, EINVAL, "--platform and --all-platforms exclude each other");
	if (err.code || transfer_view_aside(&view, a->progress, a->quiet, "Loading", &err) < 0)
		return cli_usage(c, &err);
	o.watch = transfer_watch(&view);
	if (cli_open(c, &err) < 0 || cli_limit_layers(c, a->max_layer, &err) < 0 ||
	    finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	if (wait)
		finish_early(&finish);
	/* What was loaded before a failure stays, and is said. */
	if (load_from(c, a->input, &o, &lines, &err) < 0)
		code = cli_fail(c, &err);
	for (size_t i = 0; i < lines.n; i++)
		puts(lines.v[i]);
	if (!code)
		code = cli_done(c);
	finish_end(&finish, c, wait);
	return code;
}

const struct command cmd_load = {
	.name = "load",
	.args = "",
	.summary = "Load images from an archive",
	.opts = load_opts,
	.args_size = sizeof(struct load_args),
	.main = load_main,
	.defaults = &load_defaults,
};
