/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that the host sees mounted. The kernel's mount is the truth; a note in the run state says
 * what it is of: "id dir device". A note whose mount is gone counts for nothing, as after a reboot
 * or umount(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

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

void image_note_free(struct image_note *n)
{
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
	ret->id = mem_str(json_get_str(o, "image"));
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
	const char *id;
	char *dir;
};

static int match(const struct image_note *n, void *arg, struct err *err)
{
	struct search *s = arg;

	(void)err;
	if (n->is_live && !s->dir && str_eq(n->id, s->id))
		s->dir = mem_str(n->dir);
	return 0;
}

int image_mounted(struct runtime *rt, const char *id, char **ret_dir, struct err *err)
{
	auto_free char *path = image_mounts_dir(rt);
	auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct search s = { .id = id };
	int rc;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "open %s", path);
	rc = image_notes_walk(fd, match, &s, err);
	if (rc < 0 || !s.dir) {
		free(s.dir);
		return rc < 0 ? rc : 0;
	}
	*ret_dir = s.dir;
	return 1;
}
