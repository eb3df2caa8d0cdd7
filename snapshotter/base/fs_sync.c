/* SPDX-License-Identifier: Apache-2.0 */
/* To disk, file by file: fsync(2) makes a file durable, its name only that of the directory does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/str.h>

int fs_sync_file(int dir_fd, const char *name, struct err *err)
{
	auto_fd int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open %s", name);
	return fsync(fd) < 0 ? err_sys(err, "fsync %s", name) : 0;
}

/* d_type is of no help on file systems that leave it out. */
static bool is_type(int dir_fd, const struct dirent *e, unsigned char type, mode_t mode)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == type;
	return fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & S_IFMT) == mode;
}

static int sync_entry(int dir_fd, const char *path, const struct dirent *e, struct strv *todo,
		      struct err *err)
{
	if (is_type(dir_fd, e, DT_DIR, S_IFDIR))
		strv_addf(todo, "%s/%s", path, e->d_name);
	else if (is_type(dir_fd, e, DT_REG, S_IFREG))
		return fs_sync_file(dir_fd, e->d_name, err);
	return 0;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int sync_dir(int top_fd, const char *path, struct strv *todo, unsigned *left,
		    struct err *err)
{
	cleanup(close_dir) DIR *d = NULL;
	int fd = path_try_plain(top_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct dirent *e;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		rc = err_sys(err, "open %s", path);
		fd_close(&fd);
		return rc;
	}
	while (rc >= 0 && (errno = 0, e = readdir(d))) {
		if (fs_is_dot(e->d_name))
			continue;
		if (!*left)
			return err_set(err, E2BIG, "more files than are synced one by one");
		--*left;
		rc = sync_entry(fd, path, e, todo, err);
	}
	if (rc >= 0 && errno)
		return err_sys(err, "read %s", path);
	if (rc >= 0 && fsync(fd) < 0)
		rc = err_sys(err, "fsync %s", path);
	return rc;
}

int fs_sync_tree(int dir_fd, const char *name, unsigned *left, struct err *err)
{
	auto_strv struct strv todo = { 0 };
	int rc = 0;

	strv_add(&todo, name);
	for (size_t i = 0; rc >= 0 && i < todo.n; i++)
		rc = sync_dir(dir_fd, todo.v[i], &todo, left, err);
	return rc;
}
