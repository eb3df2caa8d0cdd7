/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option U of volumes: what is mounted becomes the container's user's. Others may change the
 * tree meanwhile: each object is opened once, by its name in a directory that is held, through no
 * symlink and within one mount, and what becomes another's is that object (TRAPS T1).
 */
#include <shale/container.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { DEPTH_MAX = 400, ANCESTORS_MAX = 4096, PASSWD_MAX = 1 << 20, PEOPLE = 1000, NOBODY = 65534 };

struct chown {
	uid_t uid;
	gid_t gid;
	int depth;
};

/* --- what nobody gives away by an option
 * ------------------------------------------------------------------------------------------------
 */

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_at(const struct stat *st, const char *path)
{
	struct stat other;

	return stat(path, &other) == 0 && is_same(st, &other);
}

static bool is_system(const struct stat *st)
{
	static const char *const paths[] = {
		"/",          "/bin",        "/boot",     "/dev",        "/etc",
		"/home",      "/lib",        "/lib32",    "/lib64",      "/media",
		"/mnt",       "/opt",        "/proc",     "/root",       "/run",
		"/sbin",      "/srv",        "/sys",      "/tmp",        "/usr",
		"/var",       "/var/lib",    "/var/log",  "/var/tmp",    "/usr/bin",
		"/usr/lib",   "/usr/local",  "/usr/sbin", "/etc/passwd", "/etc/shadow",
		"/etc/group", "/etc/gshadow"
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (is_at(st, paths[i]))
			return true;
	return false;
}

/* A person's, or root's, as the host's file of users has them: "name:x:uid:gid:name:home:shell". */
static bool is_home(const struct stat *st)
{
	enum { UID = 2, HOME = 5 };
	auto_strv struct strv lines = { 0 };
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	size_t len;
	bool found = false;

	if (fd_read_file(AT_FDCWD, "/etc/passwd", PASSWD_MAX, &text, &len, &ignored) < 0)
		return false;
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n && !found; i++) {
		auto_strv struct strv words = { 0 };
		uint64_t uid;

		strv_split(&words, lines.v[i], ':');
		found = words.n > HOME && *words.v[HOME] == '/' &&
			str_to_u64(words.v[UID], 10, UINT32_MAX, &uid) >= 0 &&
			(!uid || uid >= PEOPLE) && uid != NOBODY && is_at(st, words.v[HOME]);
	}
	return found;
}

/* Is dir the directory, or above it? */
static bool is_within(int dir, const struct stat *above)
{
	auto_fd int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st, last = { 0 };

	for (int i = 0; i < ANCESTORS_MAX && at >= 0 && fstat(at, &st) == 0; i++) {
		int up;

		if (is_same(&st, above))
			return true;
		if (i && is_same(&st, &last))
			return false; /* the root */
		last = st;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd_close(&at);
		at = up;
	}
	return false;
}

/* Of a file its directory, by the name that it was opened by. */
static bool is_beneath(int fd, const struct stat *st, const struct stat *above)
{
	char path[FD_PATH_MAX], name[PATH_MAX];
	auto_fd int dir = -1;
	ssize_t n;

	if (S_ISDIR(st->st_mode))
		return is_within(fd, above);
	n = readlink(fd_path(fd, path), name, sizeof(name) - 1);
	if (n <= 0 || *name != '/')
		return false;
	name[n] = 0;
	*strrchr(name, '/') = 0;
	dir = open(*name ? name : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir >= 0 && is_within(dir, above);
}

int container_chown_check(const struct runtime *rt, int fd, const char *path, struct err *err)
{
	struct stat st, store;
	const char *what = NULL;

	if (fstat(fd, &st) < 0 || fstat(rt->root_fd, &store) < 0)
		return err_sys(err, "stat %s", path);
	if (is_system(&st))
		what = "it is the system's";
	else if (is_home(&st))
		what = "it is somebody's home";
	else if (container_is_kernels(fd))
		what = "it is the kernel's";
	else if (is_beneath(fd, &st, &store) || is_within(rt->root_fd, &st))
		what = "it is shale's store";
	return what ? err_set(err, EPERM, "option U does not change the owner of %s: %s", path,
			      what)
		    : 0;
}

/* --- the tree
 * ------------------------------------------------------------------------------------------------
 */

static int give(struct chown *c, int fd, const char *name, struct err *err);

/* 1: it is another mount, or gone. */
static int open_entry(int dir, const char *name, int *ret, struct err *err)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_MAGICLINKS };

	do
		*ret = sys_openat2(dir, name, &how, sizeof(how));
	while (*ret < 0 && errno == EAGAIN);
	if (*ret < 0)
		return errno == ENOENT || errno == EXDEV ? 1 : err_sys(err, "open %s", name);
	return 0;
}

static int give_entries(struct chown *c, int dir, struct err *err)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!d) {
		rc = err_sys(err, "read a directory");
		fd_close(&fd);
		return rc;
	}
	if (++c->depth > DEPTH_MAX)
		rc = err_set(err, ELOOP, "more than %d directories deep", DEPTH_MAX);
	while (rc >= 0 && (e = readdir(d))) {
		auto_fd int entry = -1;

		if (fs_is_dot(e->d_name))
			continue;
		rc = open_entry(dir, e->d_name, &entry, err);
		if (rc == 0)
			rc = give(c, entry, e->d_name, err);
		if (rc < 0)
			err_ctx(err, "%s", e->d_name);
	}
	c->depth--;
	closedir(d);
	return rc < 0 ? rc : 0;
}

static int give(struct chown *c, int fd, const char *name, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", name);
	if ((st.st_uid != c->uid || st.st_gid != c->gid) &&
	    fchownat(fd, "", c->uid, c->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "owner");
	return S_ISDIR(st.st_mode) ? give_entries(c, fd, err) : 0;
}

int container_chown(int fd, uid_t uid, gid_t gid, struct err *err)
{
	struct chown c = { uid, gid, 0 };

	return give(&c, fd, "it", err);
}
