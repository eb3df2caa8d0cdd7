/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/path.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/str.h>
#include <shale/base/sys.h>

enum { EAGAIN_TRIES = 64 };

static int try_open(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;

	/* EAGAIN: a rename raced with ".." in the walk; openat2(2) asks to try again. */
	for (int i = 0; i < EAGAIN_TRIES; i++) {
		fd = sys_openat2(dir_fd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd;
}

int path_try_in(int root_fd, const char *path, int flags, mode_t mode)
{
	return try_open(root_fd, *path ? path : ".", flags, mode, RESOLVE_IN_ROOT);
}

int path_open_in(int root_fd, const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = path_try_in(root_fd, path, flags, mode);

	return fd < 0 ? err_sys(err, "open %s", path) : fd;
}

int path_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = try_open(dir_fd, *path ? path : ".", flags, mode, RESOLVE_BENEATH);

	return fd < 0 ? err_sys(err, "open %s", path) : fd;
}

int path_try_plain(int dir_fd, const char *path, int flags)
{
	return try_open(dir_fd, *path ? path : ".", flags, 0,
			RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* Makes name in dir_fd unless it is there; what it is is for the open after it to find out. */
static int make_one(int dir_fd, const char *name, const struct path_new *n)
{
	auto_fd int fd = -1;

	if (mkdirat(dir_fd, name, n->mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, n->uid, n->gid) < 0 || fchmod(fd, n->mode) < 0)
		return -errno;
	return 1;
}

/* path inside the root as an O_PATH directory; made in parent when it is missing. From the root
 * each time, so that a symlink on the way is seen as a chrooted process sees it. */
static int enter_or_make(int root_fd, int parent_fd, const char *path, const struct path_new *n)
{
	int fd = path_try_in(root_fd, path, O_PATH | O_DIRECTORY, 0);
	int rc;

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	rc = make_one(parent_fd, path_base(path), n);
	if (rc < 0)
		return rc;
	fd = path_try_in(root_fd, path, O_PATH | O_DIRECTORY, 0);
	return fd >= 0 ? fd : -errno;
}

int path_mkdirs_in(int root_fd, const char *path, const struct path_new *n, struct err *err)
{
	auto_free char *clean = path_join("/", path);
	auto_fd int dir = path_try_in(root_fd, "/", O_PATH | O_DIRECTORY, 0);

	if (dir < 0)
		return err_sys(err, "open the root");
	for (char *at = clean; at && at[1];) {
		char *slash = strchr(at + 1, '/');
		int next;

		if (slash)
			*slash = 0;
		next = enter_or_make(root_fd, dir, clean, n);
		if (next < 0)
			return err_errno(err, -next, "directory %s", clean);
		fd_close(&dir);
		dir = next;
		if (slash)
			*slash = '/';
		at = slash;
	}
	return fd_take(&dir);
}

char *path_clean(const char *path)
{
	bool abs = *path == '/';
	struct str out = { 0 };
	struct strv parts = { 0 };
	char *ret;

	strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.n;) {
		const char *p = parts.v[i];

		bool up = str_eq(p, "..");

		if (up && i > 0 && !str_eq(parts.v[i - 1], "..")) {
			strv_remove(&parts, i);
			strv_remove(&parts, --i);
		} else if (!*p || str_eq(p, ".") || (up && abs)) {
			strv_remove(&parts, i);
		} else {
			i++;
		}
	}
	for (size_t i = 0; i < parts.n; i++)
		str_addf(&out, "%s%s", abs || i ? "/" : "", parts.v[i]);
	strv_free(&parts);
	ret = str_take(&out);
	if (*ret)
		return ret;
	mem_cleanup(&ret);
	return mem_str(abs ? "/" : ".");
}

char *path_join(const char *dir, const char *path)
{
	auto_free char *both = NULL;

	if (*path == '/')
		return path_clean(path);
	both = mem_fmt("%s/%s", dir, path);
	return path_clean(both);
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
