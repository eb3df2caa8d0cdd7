/* SPDX-License-Identifier: Apache-2.0 */
/* gc: the store within the limits that its administrator set. */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/scratch.h>
#include <shale/build.h>
#include <shale/container.h>
#include <shale/image.h>
#include <shale/network.h>
#include <shale/store.h>

#include "failed.h"
#include "priv.h"

/* As much as SQLite's log may want for the rows of a long prune. */
enum { RESERVE_BYTES = 4 << 20 };

static uint64_t free_bytes(int root_fd)
{
	struct statvfs vfs;

	return fstatvfs(root_fd, &vfs) < 0 ? 0 : (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

void gc_reserve(int root_fd, bool give_up)
{
	auto_fd int fd = -1;

	if (give_up) {
		if (free_bytes(root_fd) < RESERVE_BYTES)
			unlinkat(root_fd, "reserve", 0);
		return;
	}
	if (faccessat(root_fd, "reserve", F_OK, 0) == 0 ||
	    free_bytes(root_fd) < (uint64_t)4 * RESERVE_BYTES)
		return;
	fd = openat(root_fd, "reserve", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	fault_point("gc.reserve.made");
	if (fd >= 0 && fallocate(fd, 0, 0, RESERVE_BYTES) < 0)
		unlinkat(root_fd, "reserve", 0); /* nothing is better than half of it */
}

void gc_policy(const struct cli *c, struct image_cache_policy *ret)
{
	const struct settings *s = &c->settings;
	int fd = c->rt.root_fd;

	*ret = (struct image_cache_policy){
		.keep_s = settings_seconds(s, SETTING_GC_KEEP),
		.reserved_bytes = settings_space(s, SETTING_GC_RESERVED, fd),
		.max_used_bytes = settings_space(s, SETTING_GC_MAX_USED, fd),
		.min_free_bytes = settings_space(s, SETTING_GC_MIN_FREE, fd),
	};
}

/* So that a plan, a removal and du need not walk the layers. */
static int weigh_layers(struct cli *c, struct err *err)
{
	uint64_t bytes;
	int64_t id = 0;
	int rc;

	while ((rc = db_get_int(c->rt.db,
				"SELECT snapshot FROM layers WHERE disk IS NULL AND snapshot>?1"
				" ORDER BY snapshot LIMIT 1",
				DB_ARGS(DB_I(id)), &id, err)) > 0) {
		struct err gone = { 0 }; /* meanwhile */

		image_layer_disk(&c->rt, id, &bytes, &gone);
	}
	return rc;
}

/* What recover would need, for a store of a release that did not keep it. Its names come last, by
 * which it is seen that all is there. */
static int keep_records(struct cli *c, struct err *err)
{
	int rc = 0;

	if (faccessat(c->rt.root_fd, "names", F_OK, 0) < 0) {
		rc = image_record_all(&c->rt, err);
		if (rc >= 0)
			rc = container_record_all(&c->rt, err);
	}
	if (rc >= 0 && faccessat(c->rt.root_fd, "networks", F_OK, 0) < 0)
		rc = network_note_all(&c->rt, err);
	return rc < 0 ? rc : store_names_tidy(c->rt.store, err);
}

static int prune_mounts(struct cli *c, int64_t before_s, struct image_removal *ret, struct err *err)
{
	auto_strv struct strv names = { 0 };

	return cache_mounts_prune(c, before_s, false, &names, &ret->freed_bytes, err);
}

int gc_run(struct cli *c, struct image_removal *ret, struct err *err)
{
	struct image_cache_policy policy;
	int rc;

	rc = cli_open(c, err);
	if (rc < 0)
		return rc;
	/* What was thrown away goes before what may be of use. */
	rc = image_trash_empty(&c->rt, settings_seconds(&c->settings, SETTING_TRASH_KEEP),
			       settings_space(&c->settings, SETTING_TRASH_MAX, c->rt.root_fd), ret,
			       err);
	if (rc >= 0)
		rc = failed_trim(c, settings_count(&c->settings, SETTING_GC_FAILED), err);
	if (rc >= 0)
		rc = build_record_trim(&c->rt, settings_count(&c->settings, SETTING_GC_BUILDS),
				       err);
	if (rc >= 0)
		rc = weigh_layers(c, err);
	if (rc >= 0)
		rc = keep_records(c, err);
	if (rc < 0)
		return rc;
	image_mounts_tidy();
	gc_policy(c, &policy);
	rc = image_cache_prune(&c->rt, &policy, ret, err);
	if (rc == -EBUSY) { /* a build runs: it will do this at its end */
		err_clear(err);
		rc = 0;
	}
	if (rc >= 0 && policy.keep_s > 0)
		rc = prune_mounts(c, proc_now_ns() / 1000000000 - policy.keep_s, ret, err);
	gc_reserve(c->rt.root_fd, false);
	scratch_sweep(c->rt.root_fd);
	return rc;
}

static bool is_due(struct cli *c)
{
	int64_t keep_s = settings_seconds(&c->settings, SETTING_TRASH_KEEP), one;
	uint64_t max = settings_space(&c->settings, SETTING_TRASH_MAX, c->rt.root_fd);
	struct err ignored;

	return db_get_int(c->rt.db,
			  "SELECT 1 FROM trash WHERE removed_ns<?1 UNION ALL"
			  " SELECT 1 FROM (SELECT sum(size) s FROM trash) WHERE s>?2",
			  DB_ARGS(DB_I(proc_now_ns() - keep_s * 1000000000),
				  DB_I((int64_t)(max < INT64_MAX ? max : INT64_MAX))),
			  &one, &ignored) > 0;
}

void gc_later(struct cli *c)
{
	char name[] = "shale", root[] = "--root", command[] = "gc", quiet[] = "--quiet";
	auto_free char *store = mem_str(c->root);
	char *argv[] = { name, root, store, command, quiet, NULL };
	struct err ignored;

	if (c->opened && is_due(c))
		proc_spawn_detached("/proc/self/exe", argv, (int[3]){ -1, -1, -1 }, -1, &ignored);
}
