/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "run.h"

static void add_bind(struct run *r, int fd, const char *target, bool read_only)
{
	mem_room(r->mounts, r->n_mounts, r->cap_mounts);
	strv_add(&r->targets, target);
	r->mounts[r->n_mounts++] = (struct sandbox_mount){
		.kind = SANDBOX_BIND, .source_fd = fd, .read_only = read_only, .recursive = true
	};
}

/* "HOST:CTR[:ro|rw]", read-only unless rw. */
static int add_volume(struct run *r, const char *text, struct err *err)
{
	auto_strv struct strv part = { 0 };
	bool rw;
	int fd;

	strv_split(&part, text, ':');
	rw = part.n == 3 && !strcmp(part.v[2], "rw");
	if (part.n < 2 || part.n > 3 || (part.n == 3 && !rw && strcmp(part.v[2], "ro") != 0) ||
	    *part.v[1] != '/')
		return err_set(err, EINVAL, "-v %s: want HOST:/PATH[:ro|rw]", text);
	fd = open(part.v[0], O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "-v %s: %s", text, part.v[0]);
	add_bind(r, fd, part.v[1], !rw);
	return 0;
}

/* The host's resolver and names, where the step can reach the network at all. */
static void add_etc(struct run *r)
{
	static const char *const files[] = { "/etc/resolv.conf", "/etc/hosts" };

	if (r->net == SANDBOX_NET_NONE)
		return;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int fd = open(files[i], O_PATH | O_CLOEXEC);

		if (fd >= 0)
			add_bind(r, fd, files[i], true);
	}
}

static int add_script(struct run *r, const struct df_inst *i, struct err *err)
{
	auto_free char *target = mem_fmt(RUN_SCRIPT_DIR "/%s", i->heredocs[0].name);
	auto_fd int fd = openat(r->b->rt->root_fd, "tmp", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0755);
	char path[FD_PATH_MAX], name[48], rnd[17];
	int rc;

	if (fd < 0)
		return err_sys(err, "create the script");
	rc = fd_write_str(fd, r->script, err);
	if (rc < 0)
		return rc;
	/* A bind needs a linked file, and exec one that nobody has open for writing: link, open
	 * again, unlink. */
	proc_random_hex(rnd, 16);
	snprintf(name, sizeof(name), "tmp/script-%s", rnd);
	if (fchmod(fd, 0755) < 0 ||
	    linkat(AT_FDCWD, fd_path(fd, path), r->b->rt->root_fd, name, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(err, "link the script");
	fd_close(&fd);
	fd = openat(r->b->rt->root_fd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open the script");
	r->script_name = mem_str(name);
	add_bind(r, fd_take(&fd), target, true);
	return 0;
}

int run_mounts(struct run *r, const struct df_inst *i, struct err *err)
{
	int rc = 0;

	add_etc(r);
	for (size_t n = 0; n < r->b->o->volumes.n && rc >= 0; n++)
		rc = add_volume(r, r->b->o->volumes.v[n], err);
	if (rc >= 0 && r->script)
		rc = add_script(r, i, err);
	/* The list of targets moved while it grew: point into it now. */
	for (size_t n = 0; n < r->n_mounts; n++)
		r->mounts[n].target = r->targets.v[n];
	return rc;
}

/* path is missing in the root: it and the time of its parent are kept. */
static void note_missing(struct run_stubs *s, int root_fd, const char *path)
{
	struct run_stub *st;
	struct stat parent;
	auto_fd int fd = -1;
	char *cut;

	mem_room(s->v, s->n, s->cap);
	st = &s->v[s->n++];
	st->path = mem_str(path + 1);
	st->parent = mem_str(path + 1);
	cut = strrchr(st->parent, '/');
	*(cut ? cut : st->parent) = 0;
	fd = path_try_in(root_fd, st->parent, O_PATH, 0);
	st->parent_mtime = (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (fd >= 0 && fstat(fd, &parent) == 0)
		st->parent_mtime = parent.st_mtim;
}

/* Every directory on the way to path, and path itself. */
static void note(struct run_stubs *s, int root_fd, const char *path)
{
	auto_free char *p = path_join("/", path);

	for (char *at = p; at && at[1];) {
		char *slash = strchr(at + 1, '/');
		auto_fd int fd = -1;

		if (slash)
			*slash = 0;
		fd = path_try_in(root_fd, p, O_PATH | O_NOFOLLOW, 0);
		if (fd < 0 && errno == ENOENT)
			note_missing(s, root_fd, p);
		if (slash)
			*slash = '/';
		at = slash;
	}
}

void run_stubs_note(struct run_stubs *s, int root_fd, const struct strv *targets)
{
	static const char *const always[] = { "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		note(s, root_fd, always[i]);
	for (size_t i = 0; i < targets->n; i++)
		if (!str_starts(targets->v[i], "/dev/"))
			note(s, root_fd, targets->v[i]);
}

static bool is_empty_dir(int fd)
{
	auto_strv struct strv names = { 0 };
	struct err ignored;

	return fs_list(fd, ".", &names, &ignored) >= 0 && names.n == 0;
}

static void remove_one(int fs_fd, const struct run_stub *st)
{
	const char *name = path_base(st->path);
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, st->parent_mtime };
	struct err ignored;
	auto_fd int dir = path_open_beneath(fs_fd, st->parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
					    0, &ignored);
	struct stat sb;

	if (dir < 0 || fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(sb.st_mode))
		unlinkat(dir, name, AT_REMOVEDIR); /* what the step put there stays, and so does the
						      directory */
	else if (S_ISREG(sb.st_mode) && sb.st_size == 0 && sb.st_nlink == 1)
		unlinkat(dir, name, 0);
	/* A parent that was copied up for the stub alone shall look as it did. */
	if (t[1].tv_nsec != UTIME_OMIT && is_empty_dir(dir))
		futimens(dir, t);
}

int run_stubs_remove(struct run_stubs *s, struct snap *snap, int64_t snapshot, int root_fd,
		     struct err *err)
{
	auto_fd int fd = -1;
	int rc;

	if (!s->n)
		return 0;
	rc = snap_work_fd(snap, snapshot, root_fd, &fd, err);
	for (size_t i = s->n; rc >= 0 && i-- > 0;)
		remove_one(fd, &s->v[i]);
	return rc < 0 ? rc : 0;
}

void run_stubs_free(struct run_stubs *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].path);
		free(s->v[i].parent);
	}
	free(s->v);
	*s = (struct run_stubs){ 0 };
}
