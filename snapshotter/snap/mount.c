/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted over what: the plan, and the mount of a snapshot with its lock. */
#include <shale/snap.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "driver.h"

int snap_plan_make(const struct snap_chain *c, unsigned flags, struct snap_plan *ret,
		   struct err *err)
{
	bool writable = c->kind == SNAP_ACTIVE && !(flags & SNAP_RDONLY);
	/* The fs/ of a view holds nothing, that of a writable snapshot is the upper. */
	size_t skip = c->n > 1 && (writable || c->kind == SNAP_VIEW) ? 1 : 0;
	struct snap_plan p = { .rdonly = !writable,
			       .lower = c->ids + skip,
			       .n_lower = c->n - skip };

	/* The fewest whole steps of the lowest layers that make the rest and their merge fit. */
	if (p.n_lower > SNAP_LOWERS_MAX) {
		size_t over = p.n_lower + 1 - SNAP_LOWERS_MAX;
		size_t steps = (over + SNAP_MERGE_STEP - 1) / SNAP_MERGE_STEP;

		p.n_lower -= steps * SNAP_MERGE_STEP - 1;
		p.merged = p.lower[p.n_lower - 1];
	}
	if (writable && c->n > 1) {
		p.kind = SNAP_PLAN_OVERLAY;
		p.upper = c->ids[0];
		/*
		 * A machine crash leaves the kernel's mark of a volatile mount, and the boot id of
		 * the row tells crash and kill apart. Where the row is older than this boot it
		 * could not, so that one is synced as usual.
		 */
		p.is_volatile = (flags & SNAP_VOLATILE) && c->this_boot;
	} else if (p.n_lower > 1) {
		p.kind = SNAP_PLAN_OVERLAY;
	} else {
		/* overlayfs wants two directories. */
		p.kind = SNAP_PLAN_BIND;
		p.upper = p.lower[0];
		if (c->flags & (SNAP_NEEDS_METACOPY | SNAP_NEEDS_REDIRECT))
			return err_set(err, EBADMSG,
				       "snapshot %" PRId64
				       " refers to layers beneath it, but has none",
				       p.upper);
	}
	*ret = p;
	return 0;
}

const char *snap_plan_lower(const struct snap_plan *p, size_t i, char buf[SNAP_NAME_MAX])
{
	char tree[SNAP_NAME_MAX / 2];

	if (!p->merged || i + 1 < p->n_lower)
		return snap_name(buf, p->lower[i], "fs");
	snprintf(tree, sizeof(tree), "tree.%.8s", proc_boot_id());
	return snap_name(buf, p->merged, tree);
}

static int plan_chain(struct snap *s, const struct snap_chain *c, unsigned flags,
		      struct snap_plan *ret, struct err *err)
{
	char name[SNAP_NAME_MAX];
	int rc = snap_plan_make(c, flags, ret, err);

	if (rc < 0 || !ret->merged)
		return rc;
	return snap_tree(s, c, (size_t)(ret->lower - c->ids) + ret->n_lower - 1, name, err);
}

int snap_plan_load(struct snap *s, int64_t id, unsigned flags, struct snap_chain *c,
		   struct snap_plan *ret, struct err *err)
{
	int rc = snap_chain_load(s, id, c, err);

	return rc < 0 ? rc : plan_chain(s, c, flags, ret, err);
}

void snap_mount_close(struct snap_mount *m)
{
	/* The mount before its lock: who gets the lock next finds the upper free. */
	fd_close(&m->root_fd);
	fd_close(&m->lock_fd);
}

/* The pid that flocked fd, as the kernel lists it; 0 when it does not tell. */
static long lock_holder(int fd)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	char inode[64];
	struct stat st;

	if (fstat(fd, &st) < 0 ||
	    fd_read_file(AT_FDCWD, "/proc/locks", 1 << 20, &text, NULL, &ignored) < 0)
		return 0;
	snprintf(inode, sizeof(inode), " %02x:%02x:%" PRIu64 " ", major(st.st_dev),
		 minor(st.st_dev), (uint64_t)st.st_ino);
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		const char *pid;

		*end = 0;
		if (!strstr(line, inode) || !strstr(line, " FLOCK "))
			continue;
		pid = strstr(line, "WRITE");
		return pid ? strtol(pid + 5, NULL, 10) : 0;
	}
	return 0;
}

/*
 * flock of snap/<id> itself. It goes with its process, even when that is killed, and it tells apart
 * those who mount at the same time; it says nothing of a detached container, whose overlay outlives
 * the command that mounted it. settle() does.
 */
int snap_lock_dir(struct snap *s, int64_t id, struct err *err)
{
	auto_fd int fd = openat(s->snap_fd, SNAP_NAME(id, NULL),
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	long pid;

	if (fd < 0)
		return err_sys(err, "open snap/%" PRId64, id);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd_take(&fd);
	if (errno != EWOULDBLOCK)
		return err_sys(err, "lock snap/%" PRId64, id);
	pid = lock_holder(fd);
	err_set(err, EBUSY, "snapshot %" PRId64 " is mounted already", id);
	return pid > 0 ? err_hint(err, "by process %ld", pid) : -EBUSY;
}

/* An overlay dies shortly after the last process that saw it. Until then a second one over the same
 * upper would damage it. */
static int wait_free(struct snap *s, int64_t id, int dir_fd, struct err *err)
{
	for (int pause_ms = 1, waited_ms = 0;; waited_ms += pause_ms, pause_ms *= 2) {
		int rc = snap_upper_in_use(dir_fd, err);

		if (rc <= 0)
			return rc;
		if (waited_ms >= s->busy_wait_ms)
			return err_set(err, EBUSY, "snapshot %" PRId64 " is mounted already", id);
		if (pause_ms > 200)
			pause_ms = 200;
		nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000L }, NULL);
	}
}

static int clear_volatile(int dir_fd, struct err *err)
{
	auto_fd int work =
		openat(dir_fd, "work/work", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (work < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open work/work");
	return fs_remove_tree(work, "incompat", err);
}

/* For an upper that was mounted before, which the kernel's own directory in work/ tells: a new one
 * costs no more than this look. */
static int settle(struct snap *s, int64_t id, int dir_fd, bool this_boot, struct err *err)
{
	int rc;

	if (faccessat(dir_fd, "work/work", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	rc = wait_free(s, id, dir_fd, err);
	if (rc < 0)
		return rc;
	if (faccessat(dir_fd, "work/work/incompat/volatile", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!this_boot)
		return err_set(err, EBADMSG,
			       "snapshot %" PRId64
			       " was in use without syncing when the machine went down: "
			       "its files may be damaged",
			       id);
	rc = clear_volatile(dir_fd, err);
	return rc < 0 ? err_ctx(err, "snapshot %" PRId64, id) : 0;
}

static int bind_mapped(struct snap *s, int dir_fd, const char *name, bool rdonly, int *ret_fd,
		       struct err *err)
{
	int rc = snap_bind(dir_fd, name, rdonly, ret_fd, err);

	if (rc >= 0 && s->ids && ids_map(s->ids, *ret_fd) < 0)
		return err_sys(err, "owners by a user namespace");
	return rc;
}

static int mount_layers(struct snap *s, const struct snap_chain *c, unsigned flags,
			struct snap_mount *m, struct err *err)
{
	struct snap_plan p = { 0 };
	int rc = plan_chain(s, c, flags, &p, err);

	if (rc < 0)
		return rc;
	if (p.kind == SNAP_PLAN_BIND)
		return bind_mapped(s, s->snap_fd, SNAP_NAME(p.upper, "fs"), p.rdonly, &m->root_fd,
				   err);
	m->is_volatile = p.is_volatile;
	if (s->ids)
		return snap_overlay_helper(s, &p, &m->root_fd, err);
	return s->driver == SNAP_FUSE ? snap_fuse(s, c, &p, &m->root_fd, err)
				      : snap_overlay(s, &p, &m->root_fd, err);
}

/* The lock of one that is to be written to, and its directories as the driver wants them. */
static int open_upper(struct snap *s, const struct snap_chain *c, struct snap_mount *m,
		      struct err *err)
{
	int rc = m->lock_fd = snap_lock_dir(s, c->ids[0], err);

	if (rc < 0 || c->n == 1)
		return rc;
	rc = settle(s, c->ids[0], m->lock_fd, c->this_boot, err);
	return rc < 0 ? rc : snap_settle_for(s, c->ids[0], m->lock_fd, err);
}

static int mount_chain(struct snap *s, int64_t id, unsigned flags, struct snap_mount *m,
		       struct err *err)
{
	auto_snap_chain struct snap_chain c = { 0 };
	int rc = snap_chain_load(s, id, &c, err);
	bool writable = c.kind == SNAP_ACTIVE && !(flags & SNAP_RDONLY);

	if (rc >= 0 && writable)
		rc = open_upper(s, &c, m, err);
	if (rc < 0)
		return rc;
	if (s->ids && s->driver != SNAP_OVERLAY)
		return err_set(err, ENOTSUP, "the driver knows no user namespaces");
	if (c.n > 1 && (s->driver == SNAP_COPY || (c.kind == SNAP_ACTIVE && snap_has_copy(s, id))))
		return snap_mount_plain(s, &c, flags, m, err);
	if (c.kind == SNAP_ACTIVE && !writable)
		rc = snap_settle(s, id, err);
	return rc < 0 ? rc : mount_layers(s, &c, flags, m, err);
}

int snap_mount(struct snap *s, int64_t id, unsigned flags, struct snap_mount *ret, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = 0;

	if (id == 0)
		rc = fs_mkdir(s->store_fd, "empty", 0755, err);
	if (id == 0 && rc >= 0)
		rc = bind_mapped(s, s->store_fd, "empty", true, &m.root_fd, err);
	if (id)
		rc = mount_chain(s, id, flags, &m, err);
	if (rc < 0)
		return err_ctx(err, "mount snapshot %" PRId64, id);
	*ret = (struct snap_mount){ fd_take(&m.root_fd), fd_take(&m.lock_fd), id, m.is_volatile };
	return 0;
}

struct snap_later {
	struct snap s; /* as the handle was; without its db */
	struct snap_chain c;
	struct snap_mount made; /* what could not wait */
	bool is_made;
};

/* Where the kernel's ways are known and no tree has to be merged first, a mount asks for nothing
 * but the chain. */
static int may_wait(const struct snap_later *l, struct err *err)
{
	struct snap_plan p = { 0 };
	int rc = snap_plan_make(&l->c, SNAP_RDONLY, &p, err);

	if (rc < 0)
		return rc;
	return l->c.kind == SNAP_COMMITTED && l->s.driver == SNAP_OVERLAY && !p.merged &&
	       (p.kind == SNAP_PLAN_BIND || (l->s.how_known && l->s.how != SNAP_HOW_HELPER));
}

int snap_later(struct snap *s, int64_t id, struct snap_later **ret, struct err *err)
{
	auto_snap_later struct snap_later *l = mem_alloc(sizeof(*l));
	int rc = snap_chain_load(s, id, &l->c, err);

	l->made = (struct snap_mount)SNAP_MOUNT_INIT;
	l->s = *s;
	l->s.db = NULL;
	l->s.ids = NULL;
	if (rc >= 0)
		rc = may_wait(l, err);
	if (rc < 0)
		return err_ctx(err, "mount snapshot %" PRId64, id);
	l->is_made = !rc;
	if (l->is_made)
		rc = snap_mount(s, id, SNAP_RDONLY, &l->made, err);
	if (rc >= 0)
		*ret = take(l);
	return rc < 0 ? rc : 0;
}

int snap_later_mount(struct snap_later *l, struct snap_mount *ret, struct err *err)
{
	int rc = 0;

	if (!l->is_made)
		rc = mount_layers(&l->s, &l->c, SNAP_RDONLY, &l->made, err);
	if (rc < 0)
		return err_ctx(err, "mount snapshot %" PRId64, l->c.ids[0]);
	*ret = l->made;
	l->made = (struct snap_mount)SNAP_MOUNT_INIT;
	return 0;
}

void snap_later_cleanup(struct snap_later **l)
{
	if (!*l)
		return;
	snap_mount_close(&(*l)->made);
	snap_chain_free(&(*l)->c);
	free(*l);
	*l = NULL;
}

int snap_mount_as(struct snap *s, int64_t id, unsigned flags, const struct ids_range *ids,
		  struct snap_mount *ret, struct err *err)
{
	int rc;

	s->ids = ids && ids->root ? ids : NULL;
	rc = snap_mount(s, id, flags, ret, err);
	s->ids = NULL;
	return rc;
}

int snap_unmounted(struct snap *s, int64_t id, struct err *err)
{
	auto_free char *boot = NULL;
	auto_fd int dir = -1;
	int rc;

	rc = db_get_str(s->db, "SELECT boot FROM snapshots WHERE id=?1", DB_ARGS(DB_I(id)), &boot,
			err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no snapshot %" PRId64, id);
	if (!str_eq(boot, proc_boot_id()))
		return 0; /* it was not mounted volatile since, and an older mark must stay */
	dir = openat(s->snap_fd, SNAP_NAME(id, NULL),
		     O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open snap/%" PRId64, id);
	return clear_volatile(dir, err);
}
