/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_image: an image or a build step as docker inspect prints an image, and where its layers
 * are. */
#include <string.h>

#include <shale/image.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "member.h"

/* Fields that docker prints even when they are empty; templates rely on them. */
static void set_missing(json_t *obj, const char *key, json_t *(*make)(void))
{
	if (!json_object_get(obj, key))
		json_object_set_new(obj, key, make());
}

static json_t *make_empty(void)
{
	return json_string("");
}

static json_t *config_json(const json_t *text)
{
	static const char *const texts[] = { "User", "WorkingDir" };
	static const char *const lists[] = { "ExposedPorts", "Env",     "Cmd",   "Volumes",
					     "Entrypoint",   "OnBuild", "Labels" };
	json_t *config = json_deep_copy(json_object_get(text, "config"));

	if (!json_is_object(config)) {
		json_decref(config);
		config = json_object();
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		set_missing(config, texts[i], make_empty);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		set_missing(config, lists[i], json_null);
	return config;
}

static json_t *layers_json(struct cli *c, const struct image_layer *l, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		auto_free char *dir = l[i].snapshot ? snap_path(c->rt.snap, l[i].snapshot) : NULL;
		json_t *o = json_object();

		out_row_set(o, "DiffID", l[i].diff_id);
		out_row_set(o, "ChainID", l[i].chain_id);
		out_row_set(o, "Dir", dir);
		json_object_set_new(o, "Size", json_integer((json_int_t)l[i].size_bytes));
		json_array_append_new(list, o);
	}
	return list;
}

/* As the overlay2 driver names them: the topmost layer, and those beneath from the top. Of what is
 * not unpacked there are none. */
static json_t *driver_json(struct cli *c, const struct image_layer *l, size_t n)
{
	json_t *driver = json_object(), *data = json_object();
	auto_str struct str lower = { 0 };

	for (size_t i = n; i-- > 0 && l[i].snapshot;) {
		auto_free char *dir = snap_path(c->rt.snap, l[i].snapshot);

		if (i + 1 == n)
			out_row_set(data, "UpperDir", dir);
		else
			str_addf(&lower, "%s%s", lower.len ? ":" : "", dir);
	}
	if (lower.len)
		out_row_set(data, "LowerDir", str_get(&lower));
	out_row_set(driver, "Name", "overlayfs");
	json_object_set_new(driver, "Data", data);
	return driver;
}

static json_t *rootfs_json(const struct image_layer *l, size_t n)
{
	json_t *rootfs = json_object(), *ids = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(ids, json_from_str(l[i].diff_id));
	out_row_set(rootfs, "Type", "layers");
	json_object_set_new(rootfs, "Layers", ids);
	return rootfs;
}

static json_t *familiar_json(const struct strv *names)
{
	json_t *list = json_array();

	for (size_t i = 0; i < names->n; i++) {
		auto_free char *name = image_ref_familiar(names->v[i]);

		json_array_append_new(list, json_from_str(name));
	}
	return list;
}

struct tags {
	struct strv names;
	int64_t last_s;
};

static int add_tag(const struct tag_info *t, void *arg, struct err *err)
{
	struct tags *tags = arg;

	(void)err;
	strv_add(&tags->names, t->name);
	tags->last_s = t->updated_s > tags->last_s ? t->updated_s : tags->last_s;
	return 0;
}

/* named: the image that the names are of. */
static int set_tags(struct cli *c, const char *named, json_t *o, struct err *err)
{
	auto_strv struct strv digests = { 0 };
	struct tags tags = { 0 };
	json_t *metadata = json_object();
	int rc = 0;

	if (*named)
		rc = store_tag_walk(c->rt.store, named, add_tag, &tags, err);
	if (rc >= 0 && *named)
		rc = image_repo_digests(&c->rt, named, &digests, err);
	json_object_set_new(o, "RepoTags", familiar_json(&tags.names));
	json_object_set_new(o, "RepoDigests", familiar_json(&digests));
	out_row_take(metadata, "LastTagTime",
		     tags.names.n ? out_time(tags.last_s) : mem_str("0001-01-01T00:00:00Z"));
	json_object_set_new(o, "Metadata", metadata);
	strv_free(&tags.names);
	return rc;
}

static void set_config(const json_t *text, const struct image *img, json_t *o)
{
	static const struct {
		const char *key, *from;
	} fields[] = { { "Author", "author" },
		       { "Architecture", "architecture" },
		       { "Variant", "variant" },
		       { "Os", "os" } };

	out_row_set(o, "Parent", "");
	out_row_set(o, "Comment", json_get_str(text, "comment"));
	out_row_set(o, "DockerVersion", "");
	out_row_take(o, "Created", out_time(img->created_s));
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		out_row_set(o, fields[i].key, json_get_str(text, fields[i].from));
	json_object_set_new(o, "Config", config_json(text));
	json_object_set_new(o, "Size", json_integer((json_int_t)img->size_bytes));
}

int inspect_member(struct cli *c, const struct image_member *m, json_t **ret, struct err *err)
{
	auto_json json_t *o = json_object(), *text = NULL;
	int rc = json_parse(m->img->config, strlen(m->img->config), &text, err);

	if (rc < 0)
		return rc;
	out_row_set(o, "Id", m->img->id);
	rc = set_tags(c, *m->named ? m->named : m->img->id, o, err);
	if (rc < 0)
		return rc;
	set_config(text, m->img, o);
	json_object_set_new(o, "GraphDriver", driver_json(c, m->layers, m->n));
	json_object_set_new(o, "RootFS", rootfs_json(m->layers, m->n));
	json_object_set_new(o, "Layers", layers_json(c, m->layers, m->n));
	*ret = take(o);
	return 0;
}

int inspect_image(struct cli *c, const char *name, json_t **ret, struct err *err)
{
	struct image_member m = { 0 };
	auto_image struct image *img = NULL;
	auto_free struct image_layer *layers = NULL;
	int rc = image_find(&c->rt, name, &img, err);

	if (rc >= 0)
		rc = image_layers(&c->rt, img->snapshot, &layers, &m.n, err);
	m.img = img;
	m.layers = layers;
	return rc < 0 ? rc : inspect_member(c, &m, ret, err);
}
