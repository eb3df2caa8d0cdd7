/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two images' configs: every field that either has, known to us or not. */
#include <string.h>

#include "compare.h"

enum { DEPTH_MAX = 2 }; /* Labels.x, Healthcheck.Test */

struct fields {
	image_change_fn *fn;
	void *arg;
	size_t n;
};

/* Docker writes null, "", [] and {} for what is not set. What stands in a list of names (Labels,
 * ExposedPorts) is set by being there. */
static char *text_of(const json_t *v, int depth)
{
	bool is_empty = !v || json_is_null(v) || (json_is_string(v) && !*json_string_value(v)) ||
			(json_is_object(v) && !json_object_size(v));

	if (is_empty)
		return v && !json_is_null(v) && depth ? mem_str("") : NULL;
	return json_is_string(v) ? mem_str(json_string_value(v)) : json_text(v);
}

static int tell(struct fields *f, const char *name, const char *old, const char *new,
		struct err *err)
{
	const char *one = old ? old : new;
	cleanup(image_change_free) struct image_change ch = { .field = name,
							      .old_value = old,
							      .new_value = new };

	if (str_eq(old, new))
		return 0;
	f->n++;
	ch.kind = image_change_kind(old != NULL, new != NULL);
	if (old && new)
		strv_addf(&ch.text, "%s -> %s", old, new);
	else if (one && *one)
		strv_add(&ch.text, one);
	return f->fn(&ch, f->arg, err);
}

struct place;
static int tell_object(struct fields *f, const struct place *p, json_t *const pair[2],
		       struct err *err);

/* Where one has an object and the other nothing else, their keys are compared. */
static bool is_object_pair(const json_t *x, const json_t *y)
{
	bool fits = (!x || json_is_null(x) || json_is_object(x)) &&
		    (!y || json_is_null(y) || json_is_object(y));

	return fits && json_object_size(x) + json_object_size(y) > 0;
}

/* A place in the config: what is before the key, and how deep. */
struct place {
	const char *prefix;
	int depth;
};

static int tell_key(struct fields *f, const struct place *p, const char *key, json_t *const pair[2],
		    struct err *err)
{
	auto_free char *name = mem_fmt("%s%s%s", p->prefix, *p->prefix ? "." : "", key);
	auto_free char *old = NULL, *new = NULL;
	json_t *x = json_object_get(pair[0], key), *y = json_object_get(pair[1], key);

	if (p->depth < DEPTH_MAX && is_object_pair(x, y))
		return tell_object(f, &(struct place){ name, p->depth + 1 },
				   (json_t *const[2]){ x, y }, err);
	old = text_of(x, p->depth);
	new = text_of(y, p->depth);
	return tell(f, name, old, new, err);
}

static int tell_object(struct fields *f, const struct place *p, json_t *const pair[2],
		       struct err *err)
{
	const char *key;
	json_t *v;
	int rc = 0;

	json_object_foreach(pair[0], key, v)
	{
		if (rc >= 0)
			rc = tell_key(f, p, key, pair, err);
	}
	json_object_foreach(pair[1], key, v)
	{
		if (rc >= 0 && !json_object_get(pair[0], key))
			rc = tell_key(f, p, key, pair, err);
	}
	return rc;
}

/* ["A=b"] -> {"A": "b"}, so that one variable is one field. */
static void split_env(json_t *config)
{
	const json_t *list = json_object_get(config, "Env"), *v;
	json_t *map;
	size_t i;

	if (!json_is_array(list))
		return;
	map = json_object();
	json_array_foreach(list, i, v)
	{
		const char *s = json_is_string(v) ? json_string_value(v) : "";
		auto_free char *name = mem_strn(s, strcspn(s, "="));

		if (strchr(s, '='))
			json_object_set_new(map, name, json_from_str(strchr(s, '=') + 1));
	}
	json_object_set_new(config, "Env", map);
}

/* The layers and what made them are told by files, and by shale history. */
static int read_config(const struct image *img, json_t **ret_top, json_t **ret_config,
		       struct err *err)
{
	int rc = json_parse(img->config, strlen(img->config), ret_top, err);

	if (rc < 0)
		return err_ctx(err, "config of image %.19s", img->id);
	*ret_config = json_incref(json_object_get(*ret_top, "config"));
	split_env(*ret_config);
	json_object_del(*ret_top, "config");
	json_object_del(*ret_top, "rootfs");
	json_object_del(*ret_top, "history");
	return 0;
}

int image_compare_configs(const struct image *a, const struct image *b, image_change_fn *fn,
			  void *arg, size_t *ret_n, struct err *err)
{
	auto_json json_t *top_a = NULL, *top_b = NULL, *config_a = NULL, *config_b = NULL;
	static const struct place top = { "", 0 };
	struct fields f = { fn, arg, 0 };
	int rc = read_config(a, &top_a, &config_a, err);

	if (rc >= 0)
		rc = read_config(b, &top_b, &config_b, err);
	if (rc >= 0)
		rc = tell_object(&f, &top, (json_t *const[2]){ top_a, top_b }, err);
	if (rc >= 0)
		rc = tell_object(&f, &top, (json_t *const[2]){ config_a, config_b }, err);
	*ret_n = f.n;
	return rc;
}
