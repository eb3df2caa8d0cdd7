/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_tag, cmd_untag;

/* All names first: none is given when one of them is wrong. */
static int give_names(struct cli *c, const char *from, const char *id, char **names,
		      struct err *err)
{
	auto_strv struct strv full = { 0 };
	int rc = 0;

	for (; rc >= 0 && *names; names++) {
		char *name = NULL;

		rc = image_ref_normalize(*names, &name, err);
		if (rc >= 0)
			strv_add_take(&full, name);
	}
	for (size_t i = 0; rc >= 0 && i < full.n; i++)
		rc = image_tag_again(&c->rt, from, id, full.v[i], err);
	return rc;
}

static int tag(struct cli *c, char **argv, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc = cli_open(c, err);

	if (rc >= 0)
		rc = image_find(&c->rt, argv[0], &img, err);
	/* A build step has to become an image first, which hashes. */
	if (rc >= 0)
		rc = *img->id ? give_names(c, argv[0], img->id, argv + 1, err)
			      : cli_exec_heavy(c, "tag-step", err);
	return rc;
}

static int tag_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };

	(void)args;
	(void)argc;
	return tag(c, argv, &err) < 0 ? cli_fail(c, &err) : cli_done(c);
}

/* Of an image all of its names, or those given, which have to be its own. */
static int names_of(struct cli *c, char **argv, struct strv *ret, struct err *err)
{
	auto_strv struct strv own = { 0 };
	auto_image struct image *img = NULL;
	int rc = image_find(&c->rt, argv[0], &img, err);

	if (rc >= 0 && !*img->id)
		rc = err_set(err, EINVAL, "%s is a build step, not an image", argv[0]);
	if (rc >= 0)
		rc = image_tags(&c->rt, img->id, &own, err);
	if (rc >= 0 && !argv[1])
		strv_copy(ret, &own);
	for (char **name = argv + 1; rc >= 0 && *name; name++) {
		char *full = NULL;

		rc = image_ref_normalize(*name, &full, err);
		if (rc < 0)
			return rc;
		strv_add_take(ret, full);
		if (!strv_has(&own, full))
			rc = err_set(err, ENOENT, "'%.200s' is no name of %.200s", *name, argv[0]);
	}
	return rc;
}

static int untag_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_strv struct strv names = { 0 };
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args;
	(void)argc;
	if (rc >= 0)
		rc = names_of(c, argv, &names, &err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_free char *name = image_ref_familiar(names.v[i]);

		rc = image_untag(&c->rt, names.v[i], &err);
		if (rc >= 0)
			printf("Untagged: %s\n", name);
	}
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_tag = {
	.name = "tag",
	.args = "IMAGE|STEP NAME[:TAG]...",
	.summary = "Give an image, or a build step, a name",
	.main = tag_main,
	.min_args = 2,
	.max_args = -1,
	.complete = complete_images,
};

const struct command cmd_untag = {
	.name = "untag",
	.args = "IMAGE [NAME[:TAG]...]",
	.summary = "Take names away from an image, which stays",
	.main = untag_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_images,
};
