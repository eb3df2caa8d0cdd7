/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of a build step that failed, in the container that it became. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/path.h>

#include "priv.h"

void container_kept_close(struct container_kept *k)
{
	snap_mount_close(&k->tree);
	store_cache_release(&k->cache);
	json_cleanup(&k->j);
}

static int open_tree(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		     struct err *err)
{
	const char *source = json_get_str(k->j, "source");
	int rc = snap_mount_as(c->rt->snap, json_get_int(k->j, "snapshot", 0),
			       m->read_only ? SNAP_RDONLY : 0, k->ids, &k->tree, err);

	if (rc < 0)
		return rc;
	m->in_tree = true;
	m->tree_fd = k->tree.root_fd;
	m->source_fd = path_open_in(k->tree.root_fd, source ? source : "/", O_PATH, 0, err);
	return m->source_fd < 0 ? m->source_fd : 0;
}

static enum cache_sharing sharing_of(const char *text)
{
	return str_eq(text, "locked")    ? CACHE_LOCKED
	       : str_eq(text, "private") ? CACHE_PRIVATE
					 : CACHE_SHARED;
}

/* One that was removed since is made anew, and empty. */
static int open_cache(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		      struct err *err)
{
	const char *source = json_get_str(k->j, "source");
	auto_free char *user = mem_fmt("container %s", c->name);
	const struct path_new sub = { (mode_t)json_get_int(k->j, "mode", 0755),
				      (uid_t)json_get_int(k->j, "uid", 0),
				      (gid_t)json_get_int(k->j, "gid", 0) };
	const struct cache_want w = { .id = json_get_str(k->j, "id"),
				      .seed = json_get_str(k->j, "seed"),
				      .sharing = sharing_of(json_get_str(k->j, "sharing")),
				      .mode = sub.mode,
				      .uid = sub.uid,
				      .gid = sub.gid,
				      .user = user };
	int rc = w.id ? store_cache_hold(c->rt->store, &w, &k->cache, err)
		      : err_set(err, EINVAL, "a cache mount without an id");

	m->is_mapped = true;
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, EBUSY, "cache mount %s is in use%s%s", w.id,
			       k->cache.holder ? " by " : "",
			       k->cache.holder ? k->cache.holder : "");
	m->source_fd = source ? path_mkdirs_in(k->cache.data_fd, source, &sub, err)
			      : fd_dup(k->cache.data_fd);
	if (m->source_fd < 0)
		return source ? m->source_fd : err_sys(err, "open the cache mount");
	return 0;
}

static int open_tmpfs(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		      struct err *err)
{
	(void)c, (void)err;
	m->kind = SANDBOX_TMPFS;
	m->data = json_get_str(k->j, "data");
	return 0;
}

static int open_volume(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		       struct err *err)
{
	const char *name = json_get_str(k->j, "name"), *sub = json_get_str(k->j, "subpath");
	auto_fd int data = -1;

	if (!name)
		return err_set(err, EINVAL, "a volume without a name");
	data = container_volume_open(c, name, m->target,
				     sub || json_get_bool(k->j, "no_copy") ? NULL : k, err);
	if (data < 0)
		return data;
	m->recursive = m->is_mapped = true;
	m->source_fd = sub ? path_open_in(data, sub, O_PATH, 0, err) : fd_take(&data);
	return m->source_fd < 0 ? m->source_fd : 0;
}

static int open_bind(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		     struct err *err)
{
	const char *source = json_get_str(k->j, "source"),
		   *propagation = json_get_str(k->j, "propagation");

	(void)c;
	m->recursive = !json_get_bool(k->j, "flat");
	m->is_mapped = json_get_bool(k->j, "idmap");
	m->nosuid = json_get_bool(k->j, "nosuid");
	m->noexec = json_get_bool(k->j, "noexec");
	if (propagation && container_propagation_find(propagation, &m->propagation) < 0)
		return err_set(err, EINVAL, "propagation %s", propagation);
	m->source_fd = open(source ? source : "", O_PATH | O_CLOEXEC);
	return m->source_fd < 0 ? err_sys(err, "open %s", source ? source : "") : 0;
}

static int open_file(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		     struct err *err)
{
	const char *content = json_get_str(k->j, "content");

	(void)c, (void)err;
	m->kind = SANDBOX_FILE;
	m->content = content ? content : "";
	m->content_len = strlen(m->content);
	m->mode = (uint32_t)json_get_int(k->j, "mode", 0644);
	m->may_exec = m->mode & 0111;
	return 0;
}

static int open_device(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		       struct err *err)
{
	const char *given = json_get_str(k->j, "source"), *source = given ? given : m->target;
	struct stat st;

	(void)c;
	m->source_fd = open(source, O_PATH | O_CLOEXEC);
	if (m->source_fd < 0 || fstat(m->source_fd, &st) < 0)
		return err_sys(err, "device %s", source);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ENODEV, "%s is no device", source);
	return 0;
}

static const struct {
	const char *type;
	int (*open)(const struct container *c, struct container_kept *k, struct sandbox_mount *m,
		    struct err *err);
} kinds[] = { { "tree", open_tree },     { "cache", open_cache }, { "tmpfs", open_tmpfs },
	      { "volume", open_volume }, { "bind", open_bind },   { "file", open_file },
	      { "device", open_device } };

int container_kept_open(const struct container *c, const char *text, struct container_kept *k,
			struct sandbox_mount *m, struct err *err)
{
	int rc;

	*m = (struct sandbox_mount){ .source_fd = -1 };
	rc = json_parse(text, strlen(text), &k->j, err);
	if (rc < 0)
		return rc;
	m->target = json_get_str(k->j, "target");
	m->read_only = json_get_bool(k->j, "read_only");
	if (!m->target)
		return err_set(err, EINVAL, "a mount without a target");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_eq(json_get_str(k->j, "type"), kinds[i].type)) {
			rc = kinds[i].open(c, k, m, err);
			return rc < 0 ? err_ctx(err, "mount %s", m->target) : 0;
		}
	return err_set(err, EINVAL, "mount %s: a type that is not known", m->target);
}

typedef int snapshot_fn(const struct container *c, int64_t id, size_t i, struct err *err);

static int each_snapshot(const struct container *c, snapshot_fn *fn, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < c->spec.mounts.n && rc >= 0; i++) {
		auto_json json_t *j = NULL;
		int64_t id;

		rc = json_parse(c->spec.mounts.v[i], strlen(c->spec.mounts.v[i]), &j, err);
		id = json_get_int(j, "snapshot", 0);
		if (rc >= 0 && id)
			rc = fn(c, id, i, err);
	}
	return rc < 0 ? rc : 0;
}

static int take_one(const struct container *c, int64_t id, size_t i, struct err *err)
{
	auto_free char *key = mem_fmt("container-%s.%zu", c->id, i);

	return snap_rename(c->rt->snap, id, key, err);
}

int container_kept_take(const struct container *c, struct err *err)
{
	return each_snapshot(c, take_one, err);
}

/* A crash of the machine may have taken one. */
static int forget_one(const struct container *c, int64_t id, size_t i, struct err *err)
{
	int rc = snap_forget(c->rt->snap, id, err);

	(void)i;
	if (rc == -ENOENT) {
		err_clear(err);
		rc = 0;
	}
	return rc;
}

int container_kept_forget(const struct container *c, struct err *err)
{
	return each_snapshot(c, forget_one, err);
}
