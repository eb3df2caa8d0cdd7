/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/build.h>
#include <shale/container.h>
#include <shale/image.h>

#include "finish.h"
#include "priv.h"

extern const struct command cmd_commit;

struct commit_args {
	struct strv changes;
	const char *message, *author;
	bool pause, sync;
};

#define OFF(field) offsetof(struct commit_args, field)
static const struct opt commit_opts[] = {
	{ 'a', "author", OPT_STR, OFF(author), "TEXT", "author" },
	{ 'c', "change", OPT_STRV, OFF(changes), "INSTRUCTION",
	  "apply a Dockerfile instruction, like 'CMD [\"sh\"]' (repeatable)" },
	{ 'm', "message", OPT_STR, OFF(message), "TEXT", "comment in the history" },
	{ 'p', "pause", OPT_BOOL, OFF(pause), NULL,
	  "its processes stand still meanwhile (the default)" },
	{ 0, "sync", OPT_BOOL, OFF(sync), NULL, "return when the image is on disk" },
	{ 0 },
};
static const struct commit_args commit_defaults = { .pause = true };

static int commit(struct cli *c, const struct commit_args *a, char **argv, char id[DIGEST_STR_MAX],
		  struct err *err)
{
	auto_container struct container *ct = NULL;
	auto_image_config struct image_config *config = NULL;
	auto_free char *tag = NULL;
	struct container_commit o = { .message = a->message,
				      .author = a->author,
				      .pause = a->pause };
	int rc = container_find(&c->rt, argv[0], &ct, err);

	if (rc >= 0 && argv[1])
		rc = image_ref_normalize(argv[1], &tag, err);
	if (rc >= 0)
		rc = container_commit_config(ct, &config, err);
	for (size_t i = 0; rc >= 0 && i < a->changes.n; i++) {
		rc = build_change(config, a->changes.v[i], err);
		if (rc < 0)
			err_ctx(err, "--change");
	}
	if (rc < 0)
		return rc;
	o.config = config;
	o.tag = tag;
	return container_commit(ct, &o, id, err);
}

static int commit_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct commit_args *a = args;
	struct finish finish = FINISH_INIT;
	char id[DIGEST_STR_MAX] = "";
	struct err err = { 0 };
	int code;

	(void)argc;
	if (cli_open(c, &err) < 0 || finish_begin(&finish, c, &err) < 0)
		return cli_fail(c, &err);
	code = commit(c, a, argv, id, &err) < 0 ? cli_fail(c, &err) : 0;
	if (!code) {
		puts(id);
		code = cli_done(c);
	}
	finish_end(&finish, c, a->sync || settings_bool(&c->settings, SETTING_SYNC));
	return code;
}

const struct command cmd_commit = {
	.name = "commit",
	.args = "CONTAINER [NAME[:TAG]]",
	.summary = "Make an image of a container",
	.opts = commit_opts,
	.args_size = sizeof(struct commit_args),
	.main = commit_main,
	.min_args = 1,
	.max_args = 2,
	.complete = complete_containers,
	.defaults = &commit_defaults,
};
