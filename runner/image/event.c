/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <shale/base/event.h>

#include "priv.h"

static void tell(void *arg, const char *text)
{
	struct runtime *rt = arg;
	struct str line = { 0 };

	str_add(&line, text);
	event_append(rt->root_fd, &line);
	str_free(&line);
}

/* Docker's names it by what was asked for, others by the image. */
void image_event(struct runtime *rt, const char *action, const char *id, const char *normalized)
{
	auto_free char *name = normalized && *normalized ? image_ref_familiar(normalized) : NULL;
	auto_image_config struct image_config *c = NULL;
	auto_image struct image *img = NULL;
	auto_json json_t *attributes = json_object();
	struct str line = { 0 };
	struct err ignored = { 0 };

	if (id && image_find(rt, id, &img, &ignored) >= 0 &&
	    image_config_parse(img->config, strlen(img->config), &c, &ignored) >= 0)
		for (size_t i = 0; i < c->labels.n; i++) {
			const char *label = c->labels.v[i], *eq = strchr(label, '=');
			auto_free char *key = mem_strn(label, strcspn(label, "="));

			json_set_str(attributes, key, eq ? eq + 1 : "");
		}
	if (name)
		json_set_str(attributes, "name", name);
	event_add(&line, "image", id ? id : name, action, attributes);
	/* Of what is rolled back, or never committed, nothing is told. */
	db_after_commit(rt->db, tell, rt, str_take(&line));
}
