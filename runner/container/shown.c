/* SPDX-License-Identifier: Apache-2.0 */
/* A container's file system where the host sees it, writable; whether it runs or not. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/image.h>

#include "priv.h"

#define KIND "container"

/* What keeps the host safe from the files is none of the container's business. */
static int clone_shown(const struct container *c, int *ret_fd, struct err *err)
{
	struct mount_attr attr = { .attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
				   .propagation = MS_PRIVATE };
	auto_fd int fd = -1;
	int rc = image_shown_clone(c->rt, KIND, c->id, &fd, err);

	if (rc < 0)
		return rc;
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "suid, dev");
	*ret_fd = fd_take(&fd);
	return 0;
}

/* What is mounted already is what it gets: an upper has one overlay at a time. Who mounts it where
 * the host sees it may have been faster, and then the lock was free. */
int container_layer_mount(const struct container *c, unsigned flags, const struct ids_range *ids,
			  struct snap_mount *ret, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	struct err missing = { 0 };
	int fd = -1, rc = 0;

	if (clone_shown(c, &fd, &missing) < 0) {
		rc = snap_mount_as(c->rt->snap, c->snapshot, flags, ids, &m, err);
		if ((rc >= 0 || rc == -EBUSY) && clone_shown(c, &fd, &missing) >= 0) {
			err_clear(err);
			rc = 0;
		}
	}
	if (rc < 0)
		return rc;
	if (fd < 0)
		*ret = (struct snap_mount){ fd_take(&m.root_fd), fd_take(&m.lock_fd), m.id,
					    m.is_volatile };
	else
		*ret = (struct snap_mount){ fd, -1, c->snapshot, false };
	return 0;
}

/* Its lock is held until it is where others find it. */
struct shown {
	struct container *c;
	struct snap_mount m;
};

static void shown_close(struct shown *s)
{
	snap_mount_close(&s->m);
}

static int open_layer(void *arg, int *ret_fd, struct err *err)
{
	struct shown *s = arg;
	cleanup(container_namespaces_close) struct container_namespaces spaces =
		CONTAINER_NAMESPACES_INIT;
	int rc;

	if (s->c->state == CONTAINER_RUNNING) {
		rc = container_clone_mount(s->c, "/", err);
		if (rc >= 0)
			*ret_fd = rc;
		return rc;
	}
	rc = container_users_at_rest(s->c, &spaces.ids, err);
	if (rc >= 0)
		rc = container_layer_mount(s->c, 0, &spaces.ids, &s->m, err);
	if (rc >= 0)
		*ret_fd = fd_take(&s->m.root_fd);
	return rc;
}

static int check_row(void *arg, struct err *err)
{
	const struct container *c = ((const struct shown *)arg)->c;
	int64_t one;
	int rc = db_get_int(c->rt->db, "SELECT 1 FROM containers WHERE id=?1 AND state<>4",
			    DB_ARGS(DB_T(c->id)), &one, err);

	if (rc == 0)
		return err_set(err, ENOENT, "container %s was removed meanwhile", c->name);
	/* Its next start would mount it anew. */
	if (rc >= 0 && c->state == CONTAINER_RUNNING && !proc_is_alive(c->pid, c->start_time))
		return err_set(err, EBUSY, "container %s has ended meanwhile", c->name);
	return rc;
}

int container_mount(struct runtime *rt, const char *name, const char *dir, char **ret_dir,
		    struct err *err)
{
	auto_container struct container *c = NULL;
	cleanup(shown_close) struct shown shown = { NULL, SNAP_MOUNT_INIT };
	auto_free char *there = NULL;
	struct image_show s = {
		.kind = KIND, .writable = true, .open = open_layer, .check = check_row
	};
	int rc = container_find(rt, name, &c, err);

	if (rc >= 0)
		rc = container_pid_wait(c, err);
	if (rc >= 0 && !dir)
		rc = image_shown(rt, KIND, c->id, &there, err);
	if (rc < 0)
		return rc;
	if (there) {
		*ret_dir = take(there);
		return 0;
	}
	s.id = c->id;
	s.arg = &shown;
	shown.c = c;
	rc = image_show(rt, &s, dir, ret_dir, err);
	if (rc >= 0)
		container_event(c, "mount", NULL, NULL);
	return rc;
}

int container_unmount(struct runtime *rt, const char *which, bool lazy, struct strv *ret_dirs,
		      struct err *err)
{
	auto_container struct container *c = NULL;
	auto_free char *dir = which && strchr("/.", *which) ? realpath(which, NULL) : NULL;
	struct image_hide h = { .kind = KIND, .dir = dir, .lazy = lazy };
	int rc = which && !dir ? container_find(rt, which, &c, err) : 0;

	if (rc < 0)
		return rc;
	h.id = c ? c->id : NULL;
	rc = image_hide(rt, &h, ret_dirs, err);
	if (rc >= 0 && c)
		container_event(c, "unmount", NULL, NULL);
	return rc == -ENOENT && which ? err_set(err, ENOENT, "%.80s is not mounted", which) : rc;
}

int container_mounts(struct runtime *rt, container_mounts_fn *fn, void *arg, struct err *err)
{
	return image_shows(rt, KIND, fn, arg, err);
}

void container_unmount_all(const struct container *c)
{
	image_shown_drop(c->rt, KIND, c->id);
}
