/* SPDX-License-Identifier: Apache-2.0 */
/* tag of a build step: the step becomes an image. shale's own tag sends it here. */
#include <stdlib.h>
#include <string.h>

#include <shale/image.h>

#include "finish.h"
#include "priv.h"

extern const struct command cmd_tag_step;

static int write_step(struct cli *c, const char *step, char **names, struct err *err)
{
	auto_image_config struct image_config *config = NULL;
	auto_image struct image *img = NULL;
	auto_strv struct strv tags = { 0 };
	auto_json json_t *steps = NULL;
	char id[DIGEST_STR_MAX];
	int rc = 0;

	for (; rc >= 0 && *names; names++) {
		char *full = NULL;

		rc = image_ref_normalize(*names, &full, err);
		if (rc >= 0)
			strv_add_take(&tags, full);
	}
	if (rc >= 0)
		rc = image_find(&c->rt, step, &img, err);
	if (rc >= 0)
		rc = image_config_parse(img->config, strlen(img->config), &config, err);
	if (rc >= 0)
		rc = steps_of(c, step, config->n_history, &steps, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < config->n_history; i++) {
		free(config->history[i].step_id);
		config->history[i].step_id = mem_str(json_string_value(json_array_get(steps, i)));
	}
	return image_write(&c->rt, config, img->snapshot, &tags, id, err);
}

static int tag_step_main(struct cli *c, void *args, int argc, char **argv)
{
	struct finish finish = FINISH_INIT;
	struct err err = { 0 };

	(void)args;
	(void)argc;
	if (cli_open(c, &err) < 0 || finish_begin(&finish, c, &err) < 0 ||
	    write_step(c, argv[0], argv + 1, &err) < 0)
		return cli_fail(c, &err);
	finish_end(&finish, c, false);
	return 0;
}

const struct command cmd_tag_step = {
	.name = "tag-step",
	.args = "STEP NAME[:TAG]...",
	.summary = "Make an image of a build step",
	.main = tag_step_main,
	.min_args = 2,
	.max_args = -1,
	.flags = CMD_HIDDEN,
};
