/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image or a container mounted where the host sees it, nosuid and nodev, an image read-only.
 * First the detached mount, then the note of it, then it is attached in a transaction that has
 * looked at its row once more, as rmi looks for mounts in its own: whoever is killed leaves a note
 * without a mount, which the next one clears away.
 *
 * libmount (2.38) would hand the layers to mount(2) in one page of options, which hundreds of them
 * do not fit into: it takes mounts away and reads the table, the mount itself is snap's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/mount.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "mounted.h"
#include "priv.h"

enum { TRIES = 100 };

/* Notes of dead mounts go, with the directories that were made for them. */
static int clear_dead(const struct image_note *n, void *arg, struct err *err)
{
	const int *dir_fd = arg;

	(void)err;
	if (n->is_live)
		return 0;
	if (n->is_own_dir && n->dir)
		rmdir(n->dir);
	unlinkat(*dir_fd, n->name, 0);
	return 0;
}

/* The directory of the notes, locked: those who write there take turns. */
struct notes {
	char *path;
	int fd;
};

static void notes_close(struct notes *n)
{
	bool was_open = n->fd >= 0;

	fd_close(&n->fd);
	free(n->path);
	if (was_open)
		image_mounts_tidy();
}
#define NOTES_INIT                                                                                 \
	{                                                                                          \
		NULL, -1                                                                           \
	}

/* 0 when somebody has taken it away meanwhile. */
static int try_notes(struct notes *n, struct err *err)
{
	struct stat st;
	int rc = fs_mkdirs(n->path, 0700, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	n->fd = open(n->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (n->fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", n->path);
	if (flock(n->fd, LOCK_EX) < 0 || fstat(n->fd, &st) < 0)
		return err_sys(err, "lock %s", n->path);
	if (st.st_nlink)
		return 1;
	fd_close(&n->fd);
	return 0;
}

static int notes_open(struct runtime *rt, struct notes *n, struct err *err)
{
	int rc = 0;

	n->path = image_mounts_dir(rt);
	for (int i = 0; rc == 0 && i < TRIES; i++)
		rc = try_notes(n, err);
	if (rc == 0)
		return err_set(err, EAGAIN, "%s comes and goes", n->path);
	if (rc < 0)
		return rc;
	err_clear(err);
	return image_notes_walk(n->fd, clear_dead, &n->fd, err);
}

/* --- mount --- */

struct target {
	char *path; /* canonical */
	int fd;
	bool is_own;
};

static void target_free(struct target *t)
{
	free(t->path);
	fd_close(&t->fd);
}

/* A directory of the run state with its id, or the one that was asked for. */
static int open_target(struct runtime *rt, const struct image_show *s, const char *dir,
		       struct target *t, struct err *err)
{
	auto_free char *notes = image_mounts_dir(rt);
	const char *colon = strchr(s->id, ':');
	auto_free char *own = mem_fmt("../%ss/%.12s", s->kind, colon ? colon + 1 : s->id);
	auto_free char *made = path_join(notes, own), *root = NULL;
	int rc = dir ? 0 : fs_mkdirs(made, 0700, err);
	size_t len;

	if (rc < 0)
		return rc;
	t->is_own = !dir;
	t->path = realpath(dir ? dir : made, NULL);
	if (t->path)
		t->fd = open(t->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!t->path || t->fd < 0)
		return err_sys(err, "%s", dir ? dir : made);
	root = realpath(rt->root, NULL);
	len = root ? strlen(root) : 0;
	if (root && strncmp(t->path, root, len) == 0 && strchr("/", t->path[len]))
		return err_set(err, EINVAL, "%s is inside the store", t->path);
	return 0;
}

static int write_note(int notes_fd, const char *name, const struct image_show *s,
		      const struct target *t, int mount_fd, struct err *err)
{
	auto_json json_t *o = json_object();
	auto_free char *text = NULL;
	struct stat st;

	if (fstat(mount_fd, &st) < 0)
		return err_sys(err, "stat the mount");
	json_set_str(o, s->kind, s->id);
	json_set_str(o, "dir", t->path);
	if (!str_eq(json_get_str(o, "dir"), t->path))
		return err_set(err, EINVAL, "%s: the name is not UTF-8", t->path);
	json_object_set_new(o, "device", json_integer((json_int_t)st.st_dev));
	json_object_set_new(o, "own", json_boolean(t->is_own));
	text = json_text(o);
	return fs_write_atomic(notes_fd, name, text, strlen(text), false, err);
}

/* In one transaction: rmi, rm and prune are either done with it or see the mount. */
static int attach(struct runtime *rt, const struct image_show *s, int mount_fd,
		  const struct target *t, struct err *err)
{
	struct mount_attr attr = { .attr_set = (s->writable ? 0 : MOUNT_ATTR_RDONLY) |
					       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
				   .attr_clr = s->writable ? MOUNT_ATTR_RDONLY : 0 };
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);

	if (rc >= 0)
		rc = s->check(s->arg, err);
	if (rc < 0)
		return rc;
	if (sys_mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "nosuid, nodev");
	if (sys_move_mount(mount_fd, "", t->fd, "",
			   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, "mount at %s", t->path);
	fault_point("image.mount.attached");
	return 0;
}

/* -EALREADY: it is there; -EBUSY: another one. */
struct place {
	const struct image_show *s;
	const struct target *t;
};

static int check_place(const struct image_note *n, void *arg, struct err *err)
{
	const struct place *p = arg;

	if (!n->is_live || !str_eq(n->dir, p->t->path))
		return 0;
	if (str_eq(n->id, p->s->id))
		return err_set(err, EALREADY, "it is mounted");
	return err_set(err, EBUSY, "%s %.19s is mounted at %s", n->kind, n->id, n->dir);
}

static int show_at(struct runtime *rt, const struct image_show *s, const struct target *t,
		   int notes_fd, struct err *err)
{
	auto_fd int fd = -1;
	char name[17];
	int rc = s->open(s->arg, &fd, err);

	proc_random_hex(name, 16);
	if (rc >= 0)
		rc = write_note(notes_fd, name, s, t, fd, err);
	if (rc < 0)
		return rc;
	fault_point("image.mount.noted");
	rc = attach(rt, s, fd, t, err);
	if (rc < 0)
		unlinkat(notes_fd, name, 0);
	return rc;
}

int image_show(struct runtime *rt, const struct image_show *s, const char *dir, char **ret_dir,
	       struct err *err)
{
	cleanup(target_free) struct target t = { .fd = -1 };
	cleanup(notes_close) struct notes notes = NOTES_INIT;
	struct place p = { s, &t };
	int rc = notes_open(rt, &notes, err);

	if (rc >= 0)
		rc = open_target(rt, s, dir, &t, err);
	if (rc < 0)
		return rc;
	rc = image_notes_walk(notes.fd, check_place, &p, err);
	if (rc == -EALREADY)
		err_clear(err);
	else if (rc >= 0)
		rc = show_at(rt, s, &t, notes.fd, err);
	if (rc < 0 && rc != -EALREADY) {
		if (t.is_own)
			rmdir(t.path); /* not while something is mounted there */
		return rc;
	}
	*ret_dir = take(t.path);
	return 0;
}

struct shown_image {
	struct runtime *rt;
	const struct image *img;
};

static int open_image(void *arg, int *ret_fd, struct err *err)
{
	const struct shown_image *i = arg;
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = snap_mount(i->rt->snap, i->img->snapshot, SNAP_RDONLY, &m, err);

	if (rc >= 0)
		*ret_fd = fd_take(&m.root_fd);
	return rc;
}

static int check_image(void *arg, struct err *err)
{
	const struct shown_image *i = arg;
	int64_t one;
	int rc = db_get_int(i->rt->db, "SELECT 1 FROM images WHERE id=?1",
			    DB_ARGS(DB_T(i->img->id)), &one, err);

	return rc == 0 ? err_set(err, ENOENT, "image %.19s was removed meanwhile", i->img->id) : rc;
}

int image_mount(struct runtime *rt, const char *name, const char *dir, char **ret_dir,
		struct err *err)
{
	auto_image struct image *img = NULL;
	struct shown_image i = { .rt = rt };
	struct image_show s = {
		.kind = "image", .open = open_image, .check = check_image, .arg = &i
	};
	int rc = image_find(rt, name, &img, err);

	if (rc >= 0 && !*img->id)
		rc = err_set(err, EINVAL, "%.80s is a build step: tag it first", name);
	if (rc < 0)
		return rc;
	i.img = img;
	s.id = img->id;
	return image_show(rt, &s, dir, ret_dir, err);
}

/* --- unmount, list --- */

struct unmounting {
	const struct image_hide *h;
	int notes_fd;
	struct strv *done;
};

static int unmount_one(const struct image_note *n, void *arg, struct err *err)
{
	struct unmounting *u = arg;
	const struct image_hide *h = u->h;
	int rc;

	if (!n->is_live || !str_eq(n->kind, h->kind) || (h->id && !str_eq(h->id, n->id)) ||
	    (h->dir && !str_eq(h->dir, n->dir)))
		return 0;
	rc = mount_remove(n->dir, h->lazy, err);
	if (rc < 0)
		return rc;
	fault_point("image.unmount.gone");
	unlinkat(u->notes_fd, n->name, 0);
	if (n->is_own_dir)
		rmdir(n->dir);
	strv_add(u->done, n->dir);
	return 0;
}

int image_hide(struct runtime *rt, const struct image_hide *h, struct strv *ret_dirs,
	       struct err *err)
{
	cleanup(notes_close) struct notes notes = NOTES_INIT;
	struct unmounting u = { .h = h, .done = ret_dirs };
	size_t before = ret_dirs->n;
	int rc = notes_open(rt, &notes, err);

	u.notes_fd = notes.fd;
	if (rc >= 0)
		rc = image_notes_walk(notes.fd, unmount_one, &u, err);
	if (rc >= 0 && (h->id || h->dir) && ret_dirs->n == before)
		rc = err_set(err, ENOENT, "%.80s is not mounted", h->dir ? h->dir : h->id);
	return rc;
}

int image_unmount(struct runtime *rt, const char *which, bool lazy, struct strv *ret_dirs,
		  struct err *err)
{
	auto_free char *id = NULL, *tag = NULL, *dir = NULL;
	struct image_hide h = { .kind = "image", .lazy = lazy };
	int rc = 0;

	if (which && strchr("/.", *which))
		dir = realpath(which, NULL);
	if (which && !dir)
		rc = image_resolve(rt, which, &id, &tag, err);
	if (rc < 0)
		return rc;
	h.id = id;
	h.dir = dir;
	rc = image_hide(rt, &h, ret_dirs, err);
	return rc == -ENOENT && which ? err_set(err, ENOENT, "%s is not mounted", which) : rc;
}

struct listing {
	const char *kind;
	image_mount_fn *fn;
	void *arg;
};

static int list_one(const struct image_note *n, void *arg, struct err *err)
{
	const struct listing *l = arg;

	return n->is_live && str_eq(n->kind, l->kind) ? l->fn(n->id, n->dir, l->arg, err) : 0;
}

int image_shows(struct runtime *rt, const char *kind, image_mount_fn *fn, void *arg,
		struct err *err)
{
	struct listing l = { kind, fn, arg };
	cleanup(notes_close) struct notes notes = NOTES_INIT;
	int rc = notes_open(rt, &notes, err);

	return rc < 0 ? rc : image_notes_walk(notes.fd, list_one, &l, err);
}

int image_mounts(struct runtime *rt, image_mount_fn *fn, void *arg, struct err *err)
{
	return image_shows(rt, "image", fn, arg, err);
}
