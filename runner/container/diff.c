/* SPDX-License-Identifier: Apache-2.0 */
/* What a container, or an image's topmost layer, changed. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/image.h>
#include <shale/layer.h>

#include "priv.h"

struct change {
	char what;
	bool is_hidden;
	char *path;
};

struct changes {
	struct change *v;
	size_t n, cap;
};

static void changes_free(struct changes *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
}
#define auto_changes cleanup(changes_free)

static int collect(char what, const char *path, void *arg, struct err *err)
{
	struct changes *l = arg;

	(void)err;
	mem_room(l->v, l->n, l->cap);
	l->v[l->n++] = (struct change){ what, false, mem_str(path) };
	return 0;
}

/* Where a start mounts something: an empty file or directory that the user did not make. */
static void mount_points(const struct container *c, struct strv *ret)
{
	static const char *const always[] = { "/dev", "/proc", "/sys" };

	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		strv_add(ret, always[i]);
	for (int i = 0; i < CONTAINER_ETC_N; i++)
		strv_addf(ret, "/etc/%s", container_etc[i]);
	for (size_t i = 0; i < c->spec.volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };
		struct err ignored = { 0 };

		if (container_volume_parse(c->spec.volumes.v[i], &v, &ignored) >= 0)
			strv_add(ret, v.target);
	}
	for (size_t i = 0; i < c->spec.tmpfs.n; i++) {
		auto_free char *target = NULL, *data = NULL;
		struct err ignored = { 0 };

		if (container_tmpfs_parse(c->spec.tmpfs.v[i], &target, &data, &ignored) >= 0)
			strv_add_take(ret, take(target));
	}
}

static bool is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static bool leads_to(const char *path, const struct strv *points)
{
	for (size_t i = 0; i < points->n; i++)
		if (str_eq(points->v[i], path) || is_beneath(points->v[i], path))
			return true;
	return false;
}

/* The list is in lexical order, parents first; seen from its end, what is beneath a directory has
 * been judged. */
static void hide_mount_points(struct changes *l, const struct strv *points)
{
	for (size_t i = l->n; i-- > 0;) {
		struct change *ch = &l->v[i];
		bool shown_beneath = false;

		if (ch->what == 'D' || !leads_to(ch->path, points))
			continue;
		for (size_t k = i + 1; k < l->n && !shown_beneath; k++)
			shown_beneath = !l->v[k].is_hidden && is_beneath(l->v[k].path, ch->path);
		/* A changed file that a mount hid, hosts of the image say, is one the user changed.
		 */
		ch->is_hidden = !shown_beneath && !(ch->what == 'C' && strv_has(points, ch->path));
	}
}

static int changes_of(struct runtime *rt, int64_t id, struct changes *ret, struct err *err)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT, parent = SNAP_MOUNT_INIT;
	struct layer_source src = { -1, -1, -1 };
	struct snap_info info;
	auto_fd int upper = -1;
	int rc;

	rc = snap_stat(rt->snap, id, &info, err);
	if (rc >= 0)
		rc = snap_fs_fd(rt->snap, id, &upper, err);
	if (rc >= 0 && info.parent) {
		rc = snap_mount(rt->snap, id, SNAP_RDONLY, &merged, err);
		if (rc >= 0)
			rc = snap_mount(rt->snap, info.parent, SNAP_RDONLY, &parent, err);
	}
	if (rc < 0)
		return rc;
	src = (struct layer_source){ upper, merged.root_fd, parent.root_fd };
	return layer_changes(&src, collect, ret, err);
}

int container_diff(struct runtime *rt, const char *name, container_diff_fn *fn, void *arg,
		   struct err *err)
{
	auto_changes struct changes l = { 0 };
	auto_container struct container *c = NULL;
	auto_image struct image *img = NULL;
	auto_strv struct strv points = { 0 };
	int64_t id;
	int rc;

	rc = container_find(rt, name, &c, err);
	if (rc == -ENOENT) {
		err_clear(err);
		rc = image_find(rt, name, &img, err);
		if (rc == -ENOENT)
			return err_set(err, ENOENT, "no such container, image or build step: %s",
				       name);
	}
	if (rc < 0)
		return rc;
	id = c ? c->snapshot : img ? img->snapshot : 0;
	rc = id ? changes_of(rt, id, &l, err) : 0;
	if (rc >= 0 && c) {
		mount_points(c, &points);
		hide_mount_points(&l, &points);
	}
	for (size_t i = 0; rc >= 0 && i < l.n; i++)
		if (!l.v[i].is_hidden)
			rc = fn(l.v[i].what, l.v[i].path, arg, err);
	return rc < 0 ? rc : 0;
}
