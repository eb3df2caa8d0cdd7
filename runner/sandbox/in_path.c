/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths inside the root, in the child: no allocation. The kernel resolves what exists (openat2,
 * RESOLVE_IN_ROOT); what is missing is made by a walk of our own that looks at each name with
 * O_NOFOLLOW and so never leaves the root, whoever races (TRAPS T1).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "priv.h"

enum { LINKS_MAX = 40, ROUNDS_MAX = 4096, DIR_MODE = 0755, FILE_MODE = 0644, PROC_MAGIC = 0x9fa0 };

struct walk {
	int root_fd;
	char done[PATH_MAX]; /* "a/b": real directories only, made or found */
	char rest[PATH_MAX]; /* what is still to walk */
	int links;
};

/* The next name of rest into name; false at the end. */
static bool next_name(struct walk *w, char name[NAME_MAX + 1], bool *ret_last)
{
	size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/"), tail;

	if (!n || n > NAME_MAX)
		return false;
	memcpy(name, w->rest + skip, n);
	name[n] = 0;
	tail = skip + n;
	tail += strspn(w->rest + tail, "/");
	*ret_last = !w->rest[tail];
	memmove(w->rest, w->rest + tail, strlen(w->rest + tail) + 1);
	return true;
}

static bool is_proc(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_MAGIC;
}

/*
 * A symlink: its target goes before the rest, an absolute one starts at the root. Of proc's own
 * links "self" is relative; the magic ones (cwd, root, fd/N) show a path or "pipe:[1]" and must not
 * be walked by their text.
 */
static int follow(struct walk *w, int dir, const char *name)
{
	char both[PATH_MAX];
	ssize_t n = readlinkat(dir, name, both, sizeof(both) - 1);
	size_t rest = strlen(w->rest);

	if (n <= 0)
		return n < 0 ? -errno : -ENOENT;
	if (++w->links > LINKS_MAX || (both[0] == '/' && is_proc(dir)))
		return -ELOOP;
	if ((size_t)n + rest + 2 > sizeof(both))
		return -ENAMETOOLONG;
	both[n] = '/';
	memcpy(both + n + 1, w->rest, rest + 1);
	memcpy(w->rest, both, (size_t)n + rest + 2);
	if (both[0] == '/')
		w->done[0] = 0;
	return 0;
}

static int enter(struct walk *w, const char *name)
{
	size_t at = strlen(w->done), n = strlen(name);

	if (at + n + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	if (at)
		w->done[at++] = '/';
	memcpy(w->done + at, name, n + 1);
	return 0;
}

static void leave(struct walk *w)
{
	char *slash = strrchr(w->done, '/');

	*(slash ? slash : w->done) = 0;
}

/* Makes name in dir; somebody else's making it meanwhile is fine, it is looked at again. */
static int make(int dir, const char *name, bool is_dir)
{
	int fd;

	if (is_dir)
		return mkdirat(dir, name, DIR_MODE) < 0 && errno != EEXIST ? -errno : 0;
	fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	close(fd);
	return 0;
}

/* One name. 1: *ret_fd is the end; 0: go on. */
static int step(struct walk *w, const char *name, bool last, bool is_dir, int *ret_fd)
{
	auto_fd int dir = path_try_in(w->root_fd, w->done, O_PATH | O_DIRECTORY, 0);
	auto_fd int fd = -1;
	struct stat st;
	int rc;

	if (dir < 0)
		return -errno;
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !is_proc(dir)) {
		rc = make(dir, name, !last || is_dir);
		if (rc < 0)
			return rc;
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return follow(w, dir, name);
	if (last && (S_ISDIR(st.st_mode) == is_dir)) {
		*ret_fd = fd_take(&fd);
		return 1;
	}
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return last ? -EISDIR : enter(w, name);
}

static int walk_and_make(int root_fd, const char *path, bool is_dir)
{
	struct walk w = { .root_fd = root_fd };
	char name[NAME_MAX + 1];
	bool last = false;
	int fd = -1, rc = 0;

	if (strlen(path) >= sizeof(w.rest))
		return -ENAMETOOLONG;
	memcpy(w.rest, path, strlen(path) + 1);
	for (int i = 0; i < ROUNDS_MAX && rc == 0 && next_name(&w, name, &last); i++) {
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, ".."))
			leave(&w);
		else
			rc = step(&w, name, last, is_dir, &fd);
	}
	if (rc < 0)
		return rc;
	if (rc == 1)
		return fd;
	/* The last name was "." or "..", or a link ended in a slash. */
	fd = is_dir ? path_try_in(root_fd, w.done, O_PATH | O_DIRECTORY, 0) : -1;
	return fd < 0 ? -ENOENT : fd;
}

int sandbox_make_path(int root_fd, const char *path, bool is_dir)
{
	int fd = path_try_in(root_fd, path, O_PATH | (is_dir ? O_DIRECTORY : 0), 0);

	if (fd >= 0)
		return fd;
	return errno == ENOENT ? walk_and_make(root_fd, path, is_dir) : -errno;
}
