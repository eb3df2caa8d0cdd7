/* SPDX-License-Identifier: Apache-2.0 */
/* image prune: which images nobody uses, and why that is said of them. */
#include <shale/image.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/proc.h>
#include <shale/snap.h>

#include "priv.h"

void image_victims_free(struct image_victims *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].id);
		free(l->v[i].name);
		free(l->v[i].reason);
	}
	free(l->v);
	*l = (struct image_victims){ 0 };
}

struct image_victim *image_victims_add(struct image_victims *l, const char *id, const char *name,
				       uint64_t bytes)
{
	struct image_victim *v;

	mem_room(l->v, l->n, l->cap);
	v = &l->v[l->n++];
	*v = (struct image_victim){ .id = mem_str(id), .name = mem_str(name), .bytes = bytes };
	l->bytes += bytes;
	return v;
}

static bool has_label(const struct strv *have, const char *want)
{
	size_t len = strlen(want);

	for (size_t i = 0; i < have->n; i++)
		if (str_starts(have->v[i], want) &&
		    (have->v[i][len] == '\0' || (!strchr(want, '=') && have->v[i][len] == '=')))
			return true;
	return false;
}

int image_has_labels(struct runtime *rt, const char *id, const struct strv *with,
		     const struct strv *without, struct err *err)
{
	auto_image_config struct image_config *config = NULL;
	auto_image struct image *img = NULL;
	bool fits = true;
	int rc;

	if (!with->n && !without->n)
		return 1;
	rc = image_get(rt, id, &img, err);
	if (rc >= 0)
		rc = image_config_of(img, &config, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < with->n; i++)
		fits = fits && has_label(&config->labels, with->v[i]);
	for (size_t i = 0; i < without->n; i++)
		fits = fits && !has_label(&config->labels, without->v[i]);
	return fits;
}

static int is_unused(struct runtime *rt, const char *id, const void *arg, struct err *err)
{
	static const char sql[] =
		"SELECT 1 FROM images i WHERE id=?1 AND pinned=0"
		" AND NOT EXISTS(SELECT 1 FROM containers WHERE image=i.id)"
		" AND (?2 OR NOT EXISTS(SELECT 1 FROM tags WHERE image=i.id)) AND (?3=0 OR created<?3)";
	static const struct strv none = { 0 };
	const struct image_prune_opts *o = arg;
	auto_free char *dir = NULL;
	int64_t one;
	int rc = db_get_int(rt->db, sql, DB_ARGS(DB_T(id), DB_I(o->all), DB_I(o->before_s)), &one,
			    err);

	if (rc <= 0)
		return rc;
	rc = image_shown(rt, "image", id, &dir, err);
	if (rc)
		return rc < 0 ? rc : 0;
	return image_has_labels(rt, id, o->labels ? o->labels : &none,
				o->without_labels ? o->without_labels : &none, err);
}

/* Newest first: what rests on others goes before them, so that the bytes of each are its own. */
static int all_ids(struct runtime *rt, struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, "SELECT id FROM images ORDER BY created DESC,id", NULL, &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(ret, db_col_str(st, 0));
	return rc;
}

static int describe(struct runtime *rt, const char *id, struct image_victims *ret, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	auto_free char *name = NULL;
	struct image_victim *v;
	int64_t size = 0;
	int rc = image_tags(rt, id, &tags, err);

	if (rc >= 0)
		rc = db_get_int(rt->db, "SELECT size FROM images WHERE id=?1", DB_ARGS(DB_T(id)),
				&size, err);
	if (rc < 0)
		return rc;
	name = tags.n ? image_ref_familiar(tags.v[0]) : NULL;
	v = image_victims_add(ret, id, name, (uint64_t)size);
	v->reason = mem_str(name ? "no container uses it"
				 : "dangling: no name, and no container uses it");
	return 0;
}

int image_prune_plan(struct runtime *rt, const struct image_prune_opts *o,
		     struct image_victims *ret, struct err *err)
{
	auto_strv struct strv ids = { 0 };
	int rc = all_ids(rt, &ids, err);

	for (size_t i = 0; rc >= 0 && i < ids.n; i++) {
		rc = is_unused(rt, ids.v[i], o, err);
		if (rc > 0)
			rc = describe(rt, ids.v[i], ret, err);
	}
	return rc < 0 ? rc : 0;
}

int image_prune(struct runtime *rt, const struct image_prune_opts *o, struct image_removal *ret,
		struct err *err)
{
	struct image_remove_if r = {
		.now = o->now, .removed_ns = proc_now_ns(), .is_unused = is_unused, .arg = o
	};
	auto_strv struct strv ids = { 0 };
	int rc = all_ids(rt, &ids, err);

	for (size_t i = 0; rc >= 0 && i < ids.n; i++)
		rc = image_remove_if(rt, ids.v[i], &r, ret, err);
	if (rc >= 0 && ret->freed_bytes)
		rc = snap_sweep(rt->snap, err);
	return rc < 0 ? rc : 0;
}

int image_pin(struct runtime *rt, const char *which, bool pinned, struct err *err)
{
	auto_free char *id = NULL, *tag = NULL;
	int rc = db_run(rt->db, "UPDATE steps SET pinned=?2 WHERE id=?1",
			DB_ARGS(DB_T(which), DB_I(pinned)), err);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = image_resolve(rt, which, &id, &tag, err);
	if (rc >= 0)
		rc = db_run(rt->db, "UPDATE images SET pinned=?2 WHERE id=?1",
			    DB_ARGS(DB_T(id), DB_I(pinned)), err);
	return rc < 0 ? rc : 0;
}
