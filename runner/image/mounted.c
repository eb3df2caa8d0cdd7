/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images and containers that the host sees mounted. The kernel's mount is the truth; a note in the
 * run state says what it is of. A note whose mount is gone counts for nothing, as after a reboot or
 * umount(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/sys.h>

#include "mounted.h"
#include "priv.h"

enum { NOTE_MAX = 8192 };

char *image_mounts_dir(struct runtime *rt)
{
	struct stat st = { 0 };

	fstat(rt->root_fd, &st);
	return mem_fmt(IMAGE_RUN_DIR "/%" PRIx64 ".%" PRIu64 "/mounts", (uint64_t)st.st_dev,
		       (uint64_t)st.st_ino);
}

/* DEVICE.INODE of a store's root. */
static bool is_of_store(const char *name)
{
	size_t n = strspn(name, "0123456789abcdef");

	return n && name[n] == '.' && name[n + 1] &&
	       !name[n + 1 + strspn(name + n + 1, "0123456789")];
}

/* Whoever holds the lock is about to mount something. */
static void tidy_store(int run_fd, const char *name)
{
	static const char *const parts[] = { "images", "containers", "mounts" };
	auto_free char *notes = mem_fmt("%s/mounts", name);
	auto_fd int fd = openat(run_fd, notes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(parts); i++) {
		auto_free char *path = mem_fmt("%s/%s", name, parts[i]);

		unlinkat(run_fd, path, AT_REMOVEDIR);
	}
	unlinkat(run_fd, name, AT_REMOVEDIR);
}

void image_mounts_tidy(void)
{
	auto_fd int fd = open(IMAGE_RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };

	if (fd >= 0)
		fs_list(fd, ".", &names, &ignored);
	for (size_t i = 0; i < names.n; i++)
		if (is_of_store(names.v[i]))
			tidy_store(fd, names.v[i]);
}

void image_note_free(struct image_note *n)
{
	free(n->kind);
	free(n->id);
	free(n->dir);
	*n = (struct image_note){ 0 };
}

/* The mount that the note is of is what stands there now. */
static bool is_live(const struct image_note *n)
{
	struct statx st;

	return statx(AT_FDCWD, n->dir, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
		     &st) == 0 &&
	       st.stx_attributes & STATX_ATTR_MOUNT_ROOT &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == n->dev;
}

/* 1, or 0 for a note of a mount that is no more. */
static int read_note(int dir_fd, const char *name, struct image_note *ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_json json_t *o = NULL;
	size_t len;
	int rc = fd_read_file(dir_fd, name, NOTE_MAX, &text, &len, err);

	if (rc == -ENOENT) {
		err_clear(err); /* unmounted this moment */
		return 0;
	}
	if (rc >= 0)
		rc = json_parse(text, len, &o, err);
	if (rc < 0)
		return err_ctx(err, "note of a mount");
	ret->kind = mem_str(json_get_str(o, "image") ? "image" : "container");
	ret->id = mem_str(json_get_str(o, ret->kind));
	ret->dir = mem_str(json_get_str(o, "dir"));
	ret->dev = (uint64_t)json_get_int(o, "device", 0);
	ret->is_own_dir = json_get_bool(o, "own");
	return ret->id && ret->dir && is_live(ret);
}

int image_notes_walk(int dir_fd, image_note_fn *fn, void *arg, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(dir_fd, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		cleanup(image_note_free) struct image_note n = { .name = names.v[i] };

		rc = read_note(dir_fd, names.v[i], &n, err);
		n.is_live = rc > 0;
		if (rc >= 0)
			rc = fn(&n, arg, err);
	}
	return rc < 0 ? rc : 0;
}

struct search {
	const char *kind, *id;
	int (*found)(const struct image_note *n, struct search *s, struct err *err);
	int notes_fd;
	char *dir;
	int fd;
};

static int match(const struct image_note *n, void *arg, struct err *err)
{
	struct search *s = arg;

	return n->is_live && str_eq(n->kind, s->kind) && str_eq(n->id, s->id) ? s->found(n, s, err)
									      : 0;
}

static int search(struct runtime *rt, struct search *s, struct err *err)
{
	auto_free char *path = image_mounts_dir(rt);
	auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "open %s", path);
	s->notes_fd = fd;
	return image_notes_walk(fd, match, s, err);
}

static int take_dir(const struct image_note *n, struct search *s, struct err *err)
{
	(void)err;
	if (!s->dir)
		s->dir = mem_str(n->dir);
	return 0;
}

int image_shown(struct runtime *rt, const char *kind, const char *id, char **ret_dir,
		struct err *err)
{
	struct search s = { .kind = kind, .id = id, .found = take_dir };
	int rc = search(rt, &s, err);

	if (rc < 0 || !s.dir) {
		free(s.dir);
		return rc < 0 ? rc : 0;
	}
	*ret_dir = s.dir;
	return 1;
}

/* Of the very mount: what has taken its place since has another device. */
static int take_clone(const struct image_note *n, struct search *s, struct err *err)
{
	auto_fd int fd =
		s->fd >= 0
			? -1
			: sys_open_tree(AT_FDCWD, n->dir,
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	struct stat st;

	if (s->fd >= 0)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "mount at %s", n->dir);
	if ((uint64_t)st.st_dev == n->dev)
		s->fd = fd_take(&fd);
	return 0;
}

int image_shown_clone(struct runtime *rt, const char *kind, const char *id, int *ret_fd,
		      struct err *err)
{
	struct search s = { .kind = kind, .id = id, .found = take_clone, .fd = -1 };
	int rc = search(rt, &s, err);

	if (rc >= 0 && s.fd < 0)
		return err_set(err, ENOENT, "%s %.12s is not mounted", kind, id);
	if (rc < 0)
		fd_close(&s.fd);
	else
		*ret_fd = s.fd;
	return rc;
}

static int drop(const struct image_note *n, struct search *s, struct err *err)
{
	(void)err;
	if (umount2(n->dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return 0;
	fault_point("container.unmount.gone");
	unlinkat(s->notes_fd, n->name, 0);
	if (n->is_own_dir)
		rmdir(n->dir);
	return 0;
}

void image_shown_drop(struct runtime *rt, const char *kind, const char *id)
{
	struct search s = { .kind = kind, .id = id, .found = drop, .notes_fd = -1 };
	struct err ignored = { 0 };

	search(rt, &s, &ignored);
	if (s.notes_fd >= 0)
		image_mounts_tidy();
}
