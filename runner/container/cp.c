/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker cp. A running container is seen as its processes see it, through the root that its
 * process 1 has; one that does not run is mounted for the time, and its volumes are gone to
 * themselves. Needs libcrypto, for archives.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/path.h>
#include <shale/base/scratch.h>
#include <shale/layer.h>

#include "priv.h"

/* One side: a root, and a path beneath it. */
struct side {
	int root_fd;
	struct snap_mount mount;
	struct ids_range ids; /* who sees it */
	char *path;           /* absolute */
	char *shown;          /* for messages */
};
#define SIDE_INIT                                                                                  \
	{                                                                                          \
		-1, SNAP_MOUNT_INIT, IDS_INIT, NULL, NULL                                          \
	}

static void side_close(struct side *s)
{
	fd_close(&s->root_fd);
	snap_mount_close(&s->mount);
	ids_close(&s->ids);
	free(s->path);
	free(s->shown);
}
#define auto_side cleanup(side_close)

/* "/", "." and "/." at its end mean something: the lexical form loses them. */
static bool is_contents(const char *path)
{
	return str_eq(path, ".") || str_ends(path, "/.");
}

static bool wants_dir(const char *path)
{
	return str_ends(path, "/") || is_contents(path);
}

static int host_side(const char *path, struct side *s, struct err *err)
{
	auto_free char *here = getcwd(NULL, 0);

	s->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return err_sys(err, "open /");
	s->shown = mem_str(path);
	s->path = *path == '/' ? mem_str(path) : mem_fmt("%s/%s", here ? here : "", path);
	return 0;
}

struct nearest {
	const char *path; /* clean */
	char *source;
	size_t len;
};

/* Is what is mounted at target the nearest above the path so far? */
static bool is_nearer(const struct nearest *n, const char *target)
{
	size_t len = target ? strlen(target) : 0;

	return len >= n->len && len && strncmp(n->path, target, len) == 0 &&
	       (!n->path[len] || n->path[len] == '/');
}

static void consider(struct nearest *n, const char *target, char *source)
{
	if (is_nearer(n, target)) {
		n->len = strlen(target);
		free(n->source);
		n->source = source;
	} else {
		free(source);
	}
}

static void consider_mount(struct nearest *n, const struct container *c, const char *text)
{
	auto_json json_t *j = NULL;
	struct err ignored;
	const char *type, *name;

	if (json_parse(text, strlen(text), &j, &ignored) < 0)
		return;
	type = json_get_str(j, "type");
	name = json_get_str(j, "name");
	if (str_eq(type, "volume") && name && !json_get_str(j, "subpath"))
		consider(n, json_get_str(j, "target"), container_volume_path(c->rt, name));
	else if (str_eq(type, "bind"))
		consider(n, json_get_str(j, "target"), mem_str(json_get_str(j, "source")));
}

/* Of what is mounted at or above path the nearest, if any; *rest: where in it. */
static int open_volume(const struct container *c, const char *path, int *ret_fd, char **rest,
		       struct err *err)
{
	auto_free char *clean = path_join("/", path), *source = NULL;
	struct nearest n = { .path = clean };

	for (size_t i = 0; i < c->spec.volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };
		struct err ignored;

		if (container_volume_parse(c->spec.volumes.v[i], &v, &ignored) >= 0)
			consider(&n, v.target, take(v.source));
	}
	for (size_t i = 0; i < c->spec.mounts.n; i++)
		consider_mount(&n, c, c->spec.mounts.v[i]);
	source = n.source;
	if (!source)
		return 0;
	*rest = mem_fmt("/%s%s", clean + n.len, is_contents(path) ? "/." : "");
	*ret_fd = open(source, O_PATH | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, "volume %s", source) : 0;
}

static int stopped_side(struct container *c, const char *path, bool writes, struct side *s,
			struct err *err)
{
	auto_free char *rest = NULL;
	auto_fd int volume = -1;
	struct stat st;
	int rc = open_volume(c, path, &volume, &rest, err);

	if (rc < 0)
		return rc;
	if (volume >= 0 && fstat(volume, &st) == 0 && S_ISDIR(st.st_mode)) {
		s->root_fd = fd_take(&volume);
		s->path = take(rest);
		return 0;
	}
	rc = writes ? container_users_at_rest(c, &s->ids, err) : 0;
	if (rc >= 0)
		rc = writes ? container_layer_mount(c, 0, &s->ids, &s->mount, err)
			    : snap_mount(c->rt->snap, c->snapshot, SNAP_RDONLY, &s->mount, err);
	if (rc < 0)
		return rc;
	s->root_fd = fd_dup(s->mount.root_fd);
	s->path = mem_fmt("/%s", path);
	return s->root_fd < 0 ? err_sys(err, "root of container %s", c->name) : 0;
}

static int container_side(struct runtime *rt, const char *name, const char *path, bool writes,
			  struct side *s, struct err *err)
{
	auto_container struct container *c = NULL;
	int rc = container_find(rt, name, &c, err);

	if (rc >= 0)
		rc = container_pid_wait(c, err);
	if (rc < 0)
		return rc;
	s->shown = mem_fmt("%s:%s", name, path);
	if (c->state != CONTAINER_RUNNING)
		return stopped_side(c, path, writes, s, err);
	rc = s->root_fd = container_root(c, err);
	if (rc >= 0)
		rc = container_users_of(c, &s->ids, err);
	s->path = mem_fmt("/%s", path);
	return rc < 0 ? rc : 0;
}

/* --- from --- */

static char *parent_of(const char *path)
{
	return mem_strn(path, (size_t)(path_base(path) - path));
}

/* The path without the slashes at its end, and its last name: "" for a root, "." and "..". */
static void cut(const char *path, char **ret_path, const char **ret_base)
{
	size_t n = strlen(path);
	const char *base;

	while (n > 1 && path[n - 1] == '/')
		n--;
	*ret_path = mem_strn(path, n);
	base = path_base(*ret_path);
	*ret_base = str_eq(base, ".") || str_eq(base, "..") ? "" : base;
}

/* A symlink at its end is itself what is copied, unless it is to be followed. */
static int open_source(const struct side *s, bool follow, struct err *err)
{
	int flags = O_PATH | (wants_dir(s->path) ? O_DIRECTORY : follow ? 0 : O_NOFOLLOW);
	int fd = path_open_in(s->root_fd, s->path, flags, 0, err);

	if (fd == -ENOENT)
		return err_set(err, ENOENT, "%s: no such file or directory", s->shown);
	if (fd == -ENOTDIR)
		return err_set(err, ENOTDIR, "%s is not a directory", s->shown);
	return fd;
}

/* --- to --- */

struct place {
	int dir;    /* where it goes */
	char *name; /* as what; NULL: its contents go straight into dir */
};

static void place_free(struct place *p)
{
	fd_close(&p->dir);
	free(p->name);
}

/* One that is there and a symlink is followed, as cp does; the file it leads to is replaced. */
static int through_link(const struct side *s, const char *path, struct place *ret, struct err *err)
{
	char target[PATH_MAX];
	auto_free char *parent = parent_of(path), *next = NULL, *dir = NULL;
	auto_fd int link = path_try_in(s->root_fd, path, O_PATH | O_NOFOLLOW, 0);
	ssize_t n = link < 0 ? -1 : readlinkat(link, "", target, sizeof(target) - 1);

	if (n < 0)
		return 0;
	target[n] = 0;
	next = path_join(parent, target);
	dir = parent_of(next);
	free(ret->name);
	ret->name = mem_str(path_base(next));
	fd_close(&ret->dir);
	ret->dir = path_open_in(s->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, err);
	return ret->dir < 0 ? ret->dir : 0;
}

static int open_parent(const struct side *s, const char *path, const char *base, struct place *ret,
		       struct err *err)
{
	auto_free char *parent = parent_of(path);

	ret->dir = path_open_in(s->root_fd, parent, O_RDONLY | O_DIRECTORY, 0, err);
	if (ret->dir == -ENOENT || ret->dir == -ENOTDIR)
		return err_set(err, ENOENT, "%s: no such directory", s->shown);
	if (ret->dir < 0)
		return ret->dir;
	ret->name = mem_str(base);
	return through_link(s, path, ret, err);
}

static int open_place(const struct side *s, const char *name, bool is_dir, bool contents,
		      struct place *ret, struct err *err)
{
	auto_free char *path = NULL;
	const char *base;
	struct stat st;
	int there;

	ret->dir = path_try_in(s->root_fd, s->path, O_RDONLY | O_DIRECTORY, 0);
	if (ret->dir >= 0) {
		ret->name = contents ? NULL : mem_str(name);
		return 0;
	}
	cut(s->path, &path, &base);
	there = path_try_in(s->root_fd, path, O_PATH, 0);
	if (there >= 0 && fstat(there, &st) == 0 && is_dir) {
		close(there);
		return err_set(err, ENOTDIR, "%s is no directory: a directory cannot go there",
			       s->shown);
	}
	fd_close(&there);
	if (!*base || (wants_dir(s->path) && !is_dir))
		return err_set(err, ENOENT, "%s: no such directory", s->shown);
	return open_parent(s, path, base, ret, err);
}

/* --- the three ways --- */

/* What is made from here on is made by the root of that side. */
static int be_root_of(const struct side *to, struct err *err)
{
	int rc = ids_enter(&to->ids);

	return rc < 0 ? err_errno(err, -rc, "as the container's root") : 0;
}

static int copy(const struct side *from, const struct side *to, const struct container_cp *o,
		struct container_copy *how, struct err *err)
{
	cleanup(place_free) struct place place = { .dir = -1 };
	auto_fd int source = open_source(from, o->follow, err);
	auto_free char *path = NULL;
	bool is_dir, contents;
	const char *base;
	struct stat st;
	int rc;

	if (source < 0)
		return source;
	if (fstat(source, &st) < 0)
		return err_sys(err, "stat %s", from->shown);
	is_dir = S_ISDIR(st.st_mode);
	cut(from->path, &path, &base);
	contents = is_contents(from->path) || !*base;
	rc = open_place(to, base, is_dir, contents, &place, err);
	if (rc >= 0)
		rc = be_root_of(to, err);
	if (rc < 0)
		return rc;
	return place.name ? container_copy_entry(how, source, place.dir, place.name, err)
			  : container_copy_into(how, source, place.dir, err);
}

/* By way of a directory of ours: what is written as a tar does not change any more. */
static int copy_to_tar(struct runtime *rt, const struct side *from, const struct container_cp *o,
		       struct container_copy *how, struct err *err)
{
	struct sink_fd to = SINK_FD(o->tar_fd);
	struct layer_diff_opts d = { .to = &to.sink, .table_dir_fd = -1, .no_hash = true };
	auto_scratch struct scratch tmp = SCRATCH_INIT;
	auto_fd int source = open_source(from, o->follow, err);
	auto_free char *path = NULL;
	struct layer_info info;
	const char *base;
	int rc;

	if (source < 0)
		return source;
	rc = scratch_open(rt->root_fd, &tmp, err);
	cut(from->path, &path, &base);
	how->archive = how->keep_special = how->with_devices = true;
	if (rc >= 0)
		rc = *base && !is_contents(from->path)
			     ? container_copy_entry(how, source, tmp.fd, base, err)
			     : container_copy_into(how, source, tmp.fd, err);
	/* So the archive has no entry for it: whoever unpacks it keeps his directory's mode. */
	if (rc >= 0 && fchmod(tmp.fd, 0755) < 0)
		rc = err_sys(err, "mode");
	return rc < 0 ? rc : layer_diff(&(struct layer_source){ tmp.fd, -1, -1 }, &d, &info, err);
}

static int copy_from_tar(struct runtime *rt, const struct side *to, const struct container_cp *o,
			 struct container_copy *how, struct err *err)
{
	struct layer_apply_opts a = {
		.foreign = true, .rootfs = true, .max_bytes = rt->max_layer_bytes, .parent_fd = -1
	};
	auto_scratch struct scratch tmp = SCRATCH_INIT;
	auto_fd int dir = path_open_in(to->root_fd, to->path, O_RDONLY | O_DIRECTORY, 0, err);
	int rc = dir;

	if (rc == -ENOENT || rc == -ENOTDIR)
		return err_set(err, -rc, "%s: no such directory", to->shown);
	if (rc >= 0)
		rc = scratch_open(rt->root_fd, &tmp, err);
	if (rc >= 0)
		rc = layer_apply(o->tar_fd, tmp.fd, &a, NULL, err);
	/* An archive says whose its files are. */
	how->archive = true;
	if (rc >= 0)
		rc = be_root_of(to, err);
	return rc < 0 ? rc : container_copy_into(how, tmp.fd, dir, err);
}

int container_cp(struct runtime *rt, const struct container_cp *o, struct container_cp_done *ret,
		 struct err *err)
{
	struct container_copy how = { .archive = o->archive,
				      .keep_special = o->archive || !o->from_name,
				      .with_devices = !o->from_name,
				      .uid = o->uid,
				      .gid = o->gid };
	auto_side struct side from = SIDE_INIT, to = SIDE_INIT;
	int rc = 0;

	if (o->from_name)
		rc = container_side(rt, o->from_name, o->from, false, &from, err);
	else if (o->from)
		rc = host_side(o->from, &from, err);
	if (rc >= 0 && o->to_name)
		rc = container_side(rt, o->to_name, o->to, true, &to, err);
	else if (rc >= 0 && o->to)
		rc = host_side(o->to, &to, err);
	if (rc < 0)
		return rc;
	how.from = &from.ids;
	how.to = &to.ids;
	if (!o->from)
		rc = copy_from_tar(rt, &to, o, &how, err);
	else if (!o->to)
		rc = copy_to_tar(rt, &from, o, &how, err);
	else
		rc = copy(&from, &to, o, &how, err);
	ids_leave(&to.ids);
	if (rc < 0)
		return rc;
	*ret = (struct container_cp_done){ .bytes = how.bytes, .skipped = how.skipped };
	return 0;
}
