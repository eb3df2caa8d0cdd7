/* SPDX-License-Identifier: Apache-2.0 */
/* Which driver, and what becomes of an active snapshot when another one has written to it. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

static const char *const names[SNAP_DRIVERS] = {
	[SNAP_OVERLAY] = "overlay",
	[SNAP_FUSE] = "fuse-overlayfs",
	[SNAP_COPY] = "copy",
};

const char *snap_driver_name(enum snap_driver d)
{
	return names[d];
}

int snap_driver_find(const char *name, enum snap_driver *ret, struct err *err)
{
	for (unsigned i = 0; i < SNAP_DRIVERS; i++)
		if (str_eq(names[i], name)) {
			*ret = (enum snap_driver)i;
			return 0;
		}
	return err_set(err, EINVAL, "no driver '%s': overlay, fuse-overlayfs and copy are known",
		       name);
}

const char *snap_driver_missing(enum snap_driver d)
{
	if (d != SNAP_FUSE)
		return NULL;
	if (!snap_fuse_program())
		return "the package fuse-overlayfs is not installed";
	return access("/dev/fuse", R_OK | W_OK) == 0 ? NULL : "there is no /dev/fuse";
}

void snap_use(struct snap *s, enum snap_driver d)
{
	s->driver = d;
}

static bool has(struct snap *s, int64_t id, const char *sub)
{
	return faccessat(s->snap_fd, SNAP_NAME(id, sub), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Quiet, and locked by the caller. */
static int clean_fuse(struct snap *s, int64_t id, struct err *err)
{
	auto_fd int fs = openat(s->snap_fd, SNAP_NAME(id, "fs"),
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc;

	if (fs < 0)
		return err_sys(err, "open snap/%" PRId64 "/fs", id);
	rc = snap_fuse_clean(fs, err);
	if (rc < 0)
		return err_ctx(err, "snapshot %" PRId64, id);
	unlinkat(s->snap_fd, SNAP_NAME(id, "fuse"), 0);
	return 0;
}

int snap_settle(struct snap *s, int64_t id, struct err *err)
{
	bool has_copy = snap_has_copy(s, id), is_quiet;
	auto_fd int lock = -1;

	if (!has_copy && !has(s, id, "fuse"))
		return 0;
	lock = openat(s->snap_fd, SNAP_NAME(id, NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return err_sys(err, "open snap/%" PRId64, id);
	is_quiet = flock(lock, LOCK_EX | LOCK_NB) == 0;
	if (has_copy)
		return snap_copy_harvest(s, id, is_quiet, err);
	return is_quiet ? clean_fuse(s, id, err) : 0;
}

int snap_settle_for(struct snap *s, int64_t id, int dir_fd, struct err *err)
{
	int rc = 0;

	if (s->driver != SNAP_COPY && snap_has_copy(s, id)) {
		rc = snap_copy_harvest(s, id, true, err);
		if (rc >= 0)
			rc = snap_copy_finish(s, id, false, err);
	}
	if (rc >= 0 && s->driver != SNAP_FUSE && has(s, id, "fuse"))
		rc = clean_fuse(s, id, err);
	if (rc >= 0 && s->driver == SNAP_FUSE)
		rc = fd_write_file(dir_fd, "fuse", "", 0, 0600, err);
	return rc;
}

int snap_settle_commit(struct snap *s, int64_t id, struct err *err)
{
	int rc;

	if (has(s, id, "fuse"))
		return clean_fuse(s, id, err);
	if (!snap_has_copy(s, id))
		return 0;
	rc = snap_copy_harvest(s, id, true, err);
	return rc < 0 ? rc : snap_copy_finish(s, id, true, err);
}

int snap_mount_plain(struct snap *s, const struct snap_chain *c, unsigned flags,
		     struct snap_mount *m, struct err *err)
{
	bool rdonly = c->kind != SNAP_ACTIVE || flags & SNAP_RDONLY;
	char name[SNAP_NAME_MAX];
	int rc = 0;

	if (c->kind == SNAP_ACTIVE) {
		auto_fd int lock = -1;

		snap_name(name, c->ids[0], "copy");
		if (rdonly && !snap_has_copy(s, c->ids[0]))
			rc = lock = snap_lock_dir(s, c->ids[0], err);
		if (rc >= 0 && (!rdonly || lock >= 0))
			rc = snap_copy_open(s, c, rdonly ? lock : m->lock_fd, flags & SNAP_VOLATILE,
					    err);
	} else {
		/* A view has nothing of its own. */
		rc = snap_tree(s, c, c->kind == SNAP_VIEW ? 1 : 0, name, err);
	}
	return rc < 0 ? rc : snap_bind(s->snap_fd, name, rdonly, &m->root_fd, err);
}

int snap_work_fd(struct snap *s, int64_t id, int root_fd, int *ret_fd, struct err *err)
{
	bool is_raw = s->driver == SNAP_OVERLAY;
	int fd = openat(is_raw ? s->snap_fd : root_fd, is_raw ? SNAP_NAME(id, "fs") : ".",
			O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open snap/%s", SNAP_NAME(id, "fs"));
	*ret_fd = fd;
	return 0;
}
