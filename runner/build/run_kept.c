/* SPDX-License-Identifier: Apache-2.0 */
/* What a RUN that failed had mounted. Trees and caches stay for who enters the place; what was in
 * memory alone went with the step, and is named instead (TRAPS T34). */
#include <errno.h>
#include <string.h>

#include "run.h"

void build_places_drop(struct build_places *p, struct snap *snap)
{
	struct err ignored;

	for (size_t i = 0; i < p->n; i++)
		snap_remove(snap, p->v[i], &ignored);
	build_places_free(p);
}

void build_places_free(struct build_places *p)
{
	free(p->v);
	*p = (struct build_places){ 0 };
}

void run_kept_drop(struct run *r)
{
	build_places_drop(&r->kept.places, r->b->rt->snap);
	strv_free(&r->kept.mounts);
	strv_free(&r->kept.missing);
}

static json_t *entry(const char *type, const char *target, bool read_only)
{
	json_t *j = json_object();

	json_set_str(j, "type", type);
	json_set_str(j, "target", target);
	if (read_only)
		json_object_set_new(j, "read_only", json_true());
	return j;
}

static void add(struct run *r, const json_t *j)
{
	strv_add_take(&r->kept.mounts, json_text(j));
}

static void keep_file(struct run *r, const char *target, const char *content, uint32_t mode)
{
	auto_json json_t *j = entry("file", target, true);

	json_object_set_new(j, "content", json_from_str(content));
	json_object_set_new(j, "mode", json_integer(mode));
	add(r, j);
}

/* Its own snapshot, with what it wrote, or a view that keeps the tree from being removed. */
static int place_of(struct run *r, struct run_source *s, int64_t *ret, struct err *err)
{
	const struct snap_new n = { .parent = s->tree.snapshot, .kind = SNAP_VIEW };
	struct snap_info info;
	int rc = 0;

	*ret = s->snapshot;
	s->snapshot = 0;
	if (!*ret) {
		rc = snap_prepare(r->b->rt->snap, &n, &info, err);
		*ret = info.id;
	}
	return rc;
}

static void keep_tree(struct run *r, struct run_source *s)
{
	auto_json json_t *j = entry("tree", s->m.target, s->m.read_only);
	struct build_places *p = &r->kept.places;
	struct err err;
	int64_t id;

	if (place_of(r, s, &id, &err) < 0) {
		strv_addf(&r->kept.missing, "%s (%.200s)", s->m.target, err.msg);
		return;
	}
	mem_room(p->v, p->n, p->cap);
	p->v[p->n++] = id;
	json_object_set_new(j, "snapshot", json_integer(id));
	json_set_str(j, "source", source_path(s));
	add(r, j);
}

static void keep_cache(struct run *r, const struct run_source *s)
{
	static const char *const sharing[] = { [SHARING_SHARED] = "shared",
					       [SHARING_PRIVATE] = "private",
					       [SHARING_LOCKED] = "locked" };
	auto_json json_t *j = entry("cache", s->m.target, s->m.read_only);
	auto_free char *id = cache_source_id(r, s), *seed = cache_source_seed(s);

	json_set_str(j, "id", id);
	json_set_str(j, "seed", seed);
	json_set_str(j, "sharing", sharing[s->m.sharing]);
	if (!seed)
		json_set_str(j, "source", s->m.source);
	json_object_set_new(j, "mode", json_integer(s->m.mode));
	json_object_set_new(j, "uid", json_integer(s->m.uid));
	json_object_set_new(j, "gid", json_integer(s->m.gid));
	add(r, j);
}

static void keep_tmpfs(struct run *r, const struct run_source *s)
{
	auto_json json_t *j = entry("tmpfs", s->m.target, s->m.read_only);

	json_set_str(j, "data", s->content);
	add(r, j);
	strv_addf(&r->kept.missing, "what the tmpfs %s held", s->m.target);
}

static void keep_source(struct run *r, struct run_source *s)
{
	switch (s->m.type) {
	case MOUNT_BIND:
		keep_tree(r, s);
		break;
	case MOUNT_CACHE:
		keep_cache(r, s);
		break;
	case MOUNT_TMPFS:
		keep_tmpfs(r, s);
		break;
	case MOUNT_SECRET:
		if (s->content)
			strv_addf(&r->kept.missing, "the secret %s", s->m.id);
		break;
	default:
		if (s->relay)
			strv_addf(&r->kept.missing, "the ssh agent %s", s->m.id);
		break;
	}
}

void run_keep(struct run *r)
{
	run_kept_drop(r);
	if (r->b->o->hosts && r->hosts)
		keep_file(r, "/etc/hosts", r->hosts, 0644);
	if (r->script)
		keep_file(r, r->argv.v[0], r->script, 0755);
	for (size_t i = 0; i < r->devices.n; i++) {
		auto_json json_t *j = entry("device", r->devices.v[i], false);

		json_set_str(j, "source", r->device_sources.v[i]);
		add(r, j);
	}
	for (size_t i = 0; i < r->n_sources; i++)
		keep_source(r, &r->sources[i]);
}
