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

/* Makes name in dir_fd unless it is there; what it is is for the open after it to find out. */
static int make_one(int dir_fd, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
	auto_fd int fd = -1;

	if (mkdirat(dir_fd, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
		return -errno;
	return 1;
}

int path_mkdirs_in(int root_fd, const char *path, mode_t mode, uid_t uid, gid_t gid, int *ret_made,
		   struct err *err)
{
	auto_free char *clean = path_join("/", path);
	auto_fd int dir = -1;
	int made = 0;

	for (char *end = clean; end; end = strchr(end + 1, '/')) {
		char *slash = strchr(end + 1, '/');
		const char *name = end + 1;
		int next, rc;

		if (slash)
			*slash = 0;
		/* From the root each time, so that a symlink on the way is seen as a chrooted
		 * process sees it. */
		next = path_try_in(root_fd, clean, O_PATH | O_DIRECTORY, 0);
		if (next < 0 && errno == ENOENT && dir >= 0 && *name) {
			rc = make_one(dir, name, mode, uid, gid);
			if (rc < 0)
				return err_errno(err, -rc, "make directory %s", clean);
			made += rc;
			next = path_try_in(root_fd, clean, O_PATH | O_DIRECTORY, 0);
		}
		if (next < 0)
			return err_sys(err, "directory %s", clean);
		fd_close(&dir);
		dir = next;
		if (!slash)
			break;
		*slash = '/';
		if (end == clean && !*name)
			break;
	}
	if (ret_made)
		*ret_made = made;
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

		if (!*p || !strcmp(p, ".")) {
			strv_remove(&parts, i);
		} else if (!strcmp(p, "..") && i > 0 && strcmp(parts.v[i - 1], "..")) {
			strv_remove(&parts, i);
			strv_remove(&parts, --i);
		} else if (!strcmp(p, "..") && abs) {
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
