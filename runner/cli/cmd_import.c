/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/build.h>
#include <shale/image.h>

#include "finish.h"
#include "transfer.h"

extern const struct command cmd_import;

struct import_args {
	struct strv changes;
	const char *message, *max_layer, *progress;
	bool sync;
};

static const struct import_args import_defaults = { .progress = "auto" };

#define OFF(field) offsetof(struct import_args, field)
static const struct opt import_opts[] = {
	{ 'c', "change", OPT_STRV, OFF(changes), "INSTRUCTION",
	  "apply a Dockerfile instruction, like 'CMD [\"sh\"]' (repeatable)" },
	{ 'm', "message", OPT_STR, OFF(message), "TEXT", "comment in the history" },
	PROGRESS_ASIDE_OPT(OFF(progress)),
	MAX_LAYER_OPT(OFF(max_layer)),
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the image is on disk" },
	{ 0 },
};

static int open_input(const char *name, struct err *err)
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
	if (str_starts(name, "http://") || str_starts(name, "https://"))
		return err_set(err, ENOTSUP, "import reads files only: download %s first", name);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? err_sys(err, "open %s", name) : fd;
}

static int import_from(struct cli *c, const struct import_args *a, char **argv,
		       struct transfer_view *view, char id[DIGEST_STR_MAX], struct err *err)
{
	auto_image_config struct image_config *config = image_config_new();
	struct image_import_opts o = { .message = a->message,
				       .config = config,
				       .watch = transfer_watch(view) };
	auto_free char *tag = NULL;
	auto_fd int fd = -1;
	int rc = 0;

	if (argv[1])
		rc = image_ref_normalize(argv[1], &tag, err);
	for (size_t i = 0; rc >= 0 && i < a->changes.n; i++) {
		rc = build_change(config, a->changes.v[i], err);
		if (rc < 0)
			err_ctx(err, "--change");
	}
	if (rc < 0)
		return rc;
	fd = open_input(argv[0], err);
	if (fd < 0)
		return fd_take(&fd);
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
	if (transfer_view_aside(&view, a->progress, false, "Importing", &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0 || cli_limit_layers(c, a->max_layer, &err) < 0 ||
	    finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	code = import_from(c, a, argv, &view, id, &err) < 0 ? cli_fail(c, &err) : 0;
	if (!code) {
		puts(id);
		code = cli_done(c);
	}
	finish_end(&finish, c, a->sync || settings_bool(&c->settings, SETTING_SYNC));
	return code;
}

const struct command cmd_import = {
	.name = "import",
	.args = "FILE|- [NAME[:TAG]]",
	.summary = "Make an image of a root file system's tar archive",
	.opts = import_opts,
	.args_size = sizeof(struct import_args),
	.main = import_main,
	.min_args = 1,
	.max_args = 2,
	.defaults = &import_defaults,
};
