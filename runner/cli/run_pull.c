/* SPDX-License-Identifier: Apache-2.0 */
/* run and create of an image that is not here: shale-build fetches it, in a process of its own. */
#include <errno.h>

#include <shale/base/proc.h>
#include <shale/image.h>

#include "run_spec.h"

/* What it says goes to stderr: stdout is the container's. */
static int pull(struct cli *c, const struct run_args *a, const char *image, struct err *err)
{
	const int fds[3] = { -1, a->quiet ? -1 : 2, 2 };
	auto_strv struct strv words = { 0 };
	int code = 0, rc;

	strv_add(&words, "pull");
	if (a->platform)
		strv_addf(&words, "--platform=%s", a->platform);
	if (a->quiet)
		strv_add(&words, "--quiet");
	strv_add(&words, "--");
	strv_add(&words, image);
	rc = cli_spawn_heavy(c, &words, fds, &code, err);
	if (rc >= 0 && code)
		rc = err_set(err, ENOENT, "the image %.200s was not pulled", image);
	return rc;
}

static int policy(struct cli *c, const struct run_args *a, bool *always, bool *never,
		  struct err *err)
{
	return image_pull_policy(a->pull ? a->pull : c->settings.v[SETTING_REGISTRY_PULL].value,
				 always, never, err);
}

int run_pull_first(struct cli *c, const struct run_args *a, const char *image, struct err *err)
{
	bool always, never;
	int rc = policy(c, a, &always, &never, err);

	return rc < 0 || !always ? rc : pull(c, a, image, err);
}

int run_pull_missing(struct cli *c, const struct run_args *a, const char *image, struct err *err)
{
	auto_image struct image *img = NULL;
	auto_free char *full = NULL, *name = NULL;
	struct err why = { 0 };
	bool always, never;
	int rc = policy(c, a, &always, &never, &why);

	if (rc < 0 || never || image_find(&c->rt, image, &img, &why) != -ENOENT ||
	    image_ref_normalize(image, &full, &why) < 0)
		return -err->code;
	name = image_ref_familiar(full);
	if (!a->quiet)
		fprintf(stderr, "Unable to find image '%s' locally\n", name);
	rc = pull(c, a, image, &why);
	if (rc < 0) {
		*err = why;
		return rc;
	}
	err_clear(err);
	return 1;
}
