/* SPDX-License-Identifier: Apache-2.0 */
/* Which images a save takes, by what they are called. Needs libcrypto. */
#include "save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/store.h>

#include "priv.h"
#include "remote.h"

void image_save_free(struct save *s)
{
	for (size_t i = 0; i < s->n; i++) {
		image_free(s->v[i].img);
		image_config_free(s->v[i].config);
		free(s->v[i].layers);
		strv_free(&s->v[i].tags);
	}
	free(s->v);
	image_archive_cleanup(&s->out);
}

static int add_image(struct save *s, const char *id, struct saved **ret, struct err *err)
{
	auto_image struct image *img = NULL;
	struct saved *v;
	int rc;

	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].img->id, id)) {
			*ret = &s->v[i];
			return 0;
		}
	rc = image_get(s->rt, id, &img, err);
	if (rc < 0)
		return rc;
	mem_room(s->v, s->n, s->cap);
	v = &s->v[s->n++];
	*v = (struct saved){ .img = take(img) };
	rc = image_config_parse(v->img->config, strlen(v->img->config), &v->config, err);
	if (rc >= 0 && v->img->snapshot)
		rc = image_layer_hash(s->rt, v->img->snapshot, err);
	if (rc >= 0)
		rc = image_layers(s->rt, v->img->snapshot, &v->layers, &v->n, err);
	if (rc < 0)
		return rc;
	*ret = v;
	return 0;
}

/* name: the tag where there is one. What is unpacked for this is not there otherwise. */
static int add_platform(struct save *s, const char *name, const char *tag, struct err *err)
{
	cleanup(image_member_free) struct image_member m = { 0 };
	auto_image struct image *there = NULL, *img = NULL;
	struct err ignored = { 0 };
	struct saved *v = NULL;
	int rc = image_look_platform(s->rt, name, s->o->platform, &m, err);

	if (rc >= 0 && !*m.img->id)
		rc = err_set(err, EINVAL, "a build step is no image: tag it first");
	if (rc < 0)
		return rc;
	image_get(s->rt, m.img->id, &there, &ignored);
	rc = image_find_platform(s->rt, name, s->o->platform, &img, err);
	if (rc >= 0)
		rc = add_image(s, img->id, &v, err);
	if (rc < 0)
		return rc;
	v->is_passing |= !there;
	if (tag && !strv_has(&v->tags, tag))
		strv_add(&v->tags, tag);
	return 0;
}

void image_save_drop(struct save *s)
{
	for (size_t i = 0; i < s->n; i++) {
		auto_image_removal struct image_removal gone = { 0 };
		auto_strv struct strv tags = { 0 };
		struct err ignored = { 0 };
		const char *id = s->v[i].img->id;

		if (s->v[i].is_passing && image_tags(s->rt, id, &tags, &ignored) >= 0 && !tags.n)
			image_remove(s->rt, id, IMAGE_NOW, &gone, &ignored);
	}
}

static int add_named(struct save *s, const char *id, const char *name, const char *tag,
		     struct err *err)
{
	struct saved *v = NULL;
	int rc;

	if (s->o->platform)
		return add_platform(s, name, tag, err);
	rc = add_image(s, id, &v, err);
	if (rc >= 0 && tag && !strv_has(&v->tags, tag))
		strv_add(&v->tags, tag);
	return rc;
}

struct repo_walk {
	char *prefix; /* "docker.io/library/node:" */
	struct strv tags, ids;
};

static void repo_walk_free(struct repo_walk *w)
{
	free(w->prefix);
	strv_free(&w->tags);
	strv_free(&w->ids);
}

static int note_of_repo(const struct tag_info *t, void *arg, struct err *err)
{
	struct repo_walk *w = arg;

	(void)err;
	if (str_starts(t->name, w->prefix)) {
		strv_add(&w->tags, t->name);
		strv_add(&w->ids, t->image);
	}
	return 0;
}

/* A repository without a tag means all of its tags, as for Docker: 1, or 0 if there is none. */
static int add_repo(struct save *s, const char *name, struct err *err)
{
	cleanup(repo_walk_free) struct repo_walk w = { 0 };
	auto_free char *full = NULL;
	struct err ignored = { 0 };
	int rc;

	if (!image_ref_is_bare(name) || image_ref_normalize(name, &full, &ignored) < 0)
		return 0;
	w.prefix = mem_strn(full, strlen(full) - strlen("latest"));
	rc = store_tag_walk(s->rt->store, NULL, note_of_repo, &w, err);
	for (size_t i = 0; rc >= 0 && i < w.tags.n; i++)
		rc = add_named(s, w.ids.v[i], w.tags.v[i], w.tags.v[i], err);
	return rc < 0 ? rc : w.tags.n > 0;
}

int image_save_add(struct save *s, const char *name, struct err *err)
{
	auto_free char *id = NULL, *tag = NULL;
	int rc = add_repo(s, name, err);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = image_resolve(s->rt, name, &id, &tag, err);
	return rc < 0 ? rc : add_named(s, id, name, tag, err);
}
