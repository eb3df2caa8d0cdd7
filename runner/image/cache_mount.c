/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/layer.h>
#include <shale/store.h>

int image_cache_mount_export(struct runtime *rt, const char *name, struct sink *to, struct err *err)
{
	struct layer_diff_opts o = { .to = to, .table_dir_fd = -1, .no_hash = true };
	struct layer_source src = { -1, -1, -1 };
	auto_cache_held struct cache_held held = CACHE_HELD_INIT;
	struct layer_info info;
	auto_fd int dir = -1;
	int rc = store_cache_share(rt->store, name, &held, err);

	if (rc < 0)
		return rc;
	dir = openat(held.data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open cache/%s/data", name);
	src.upper_fd = dir;
	return layer_diff(&src, &o, &info, err);
}

struct unpack {
	int tar_fd;
	bool done;
};

static int unpack(int data_fd, void *arg, struct err *err)
{
	const struct layer_apply_opts o = { .foreign = true, .parent_fd = -1 };
	struct unpack *u = arg;
	int rc;

	/* What a root without an entry has. */
	if (fchmod(data_fd, 0755) < 0)
		return err_sys(err, "mode of the cache mount");
	rc = layer_apply(u->tar_fd, data_fd, &o, NULL, err);

	u->done = rc >= 0;
	return rc;
}

int image_cache_mount_import(struct runtime *rt, const char *id, bool replace, int tar_fd,
			     struct err *err)
{
	auto_cache_held struct cache_held held = CACHE_HELD_INIT;
	struct unpack u = { .tar_fd = tar_fd };
	const struct cache_want w = {
		.id = id, .sharing = CACHE_SHARED, .fill = unpack, .arg = &u, .user = "cache import"
	};
	int rc = replace ? store_cache_replace(rt->store, &w, err)
			 : store_cache_hold(rt->store, &w, &held, err);

	if (rc < 0)
		return rc;
	return u.done ? 0
		      : err_set(err, EEXIST,
				"there is a cache mount %s already: --force replaces it", id);
}
