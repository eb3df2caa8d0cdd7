/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.json of docker save:
 * [{"Config":"<hex>.json","RepoTags":["node:latest"],"Layers":["<hex>/layer.tar"]}] */
#include <errno.h>
#include <string.h>

#include "priv.h"

enum { IMAGES_MAX = 1000, TAGS_MAX = 1000 };

static int add_tags(const json_t *list, struct image_loaded *l, struct err *err)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) > TAGS_MAX)
		return err_set(err, EINVAL, "an image of %zu names", json_array_size(list));
	json_array_foreach(list, i, v)
	{
		char *name = NULL;
		int rc;

		if (!json_is_string(v))
			return err_set(err, EINVAL, "a name that is no string");
		rc = image_ref_normalize(json_string_value(v), &name, err);
		if (rc < 0)
			return rc;
		strv_add_take(&l->tags, name);
		/* Before anything is written: it would be refused at the end. */
		if (strchr(name, '@'))
			return err_set(err, EINVAL,
				       "'%.200s': a name with a digest cannot be given to an image",
				       name);
	}
	return 0;
}

static int add_layers(const json_t *list, struct image_loaded *l, struct err *err)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) > IMAGE_LAYERS_MAX)
		return err_set(err, EINVAL, "%zu layers, at most %d can be used",
			       json_array_size(list), IMAGE_LAYERS_MAX);
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v))
			return err_set(err, EINVAL, "a layer that is no string");
		image_loaded_add_layer(l, json_string_value(v), NULL);
	}
	return 0;
}

static int load_entry(const struct image_load *ld, const json_t *o, struct err *err)
{
	cleanup(image_loaded_free) struct image_loaded l = { 0 };
	const char *config = json_get_str(o, "Config");
	int rc;

	if (!config)
		return err_set(err, EINVAL, "an image without 'Config'");
	rc = image_load_text(ld, config, &l.config, &l.config_len, err);
	if (rc >= 0)
		rc = add_tags(json_object_get(o, "RepoTags"), &l, err);
	if (rc >= 0)
		rc = add_layers(json_object_get(o, "Layers"), &l, err);
	return rc < 0 ? rc : image_load_one(ld, &l, err);
}

int image_load_docker(const struct image_load *ld, struct err *err)
{
	auto_json json_t *list = NULL;
	auto_free char *text = NULL;
	const json_t *o;
	size_t len, i;
	int rc;

	rc = image_load_text(ld, "manifest.json", &text, &len, err);
	if (rc >= 0)
		rc = json_parse(text, len, &list, err);
	if (rc < 0)
		return err_ctx(err, "manifest.json");
	if (json_is_object(list))
		return err_set(
			err, ENOTSUP,
			"manifest.json is that of one image in a directory (dir:, docker-dir), which is not read: save it as an archive or as oci-dir");
	if (!json_array_size(list) || json_array_size(list) > IMAGES_MAX)
		return err_set(err, EINVAL, "manifest.json: a list of %zu images",
			       json_array_size(list));
	json_array_foreach(list, i, o)
	{
		rc = load_entry(ld, o, err);
		if (rc < 0)
			return err_ctx(err, "manifest.json: image %zu", i + 1);
	}
	return 0;
}
