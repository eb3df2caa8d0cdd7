/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/fs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/mem.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

int fs_mkdir(int dir_fd, const char *name, mode_t mode, struct err *err)
{
	if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
		return err_sys(err, "make directory %s", name);
	return 0;
}

int fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
	auto_free char *p = mem_str(path);
	struct stat st;

	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_sys(err, "make directory %s", p);
		*s = '/';
	}
	if (mkdir(p, mode) < 0 && errno != EEXIST)
		return err_sys(err, "make directory %s", p);
	if (stat(p, &st) < 0)
		return err_sys(err, "stat %s", p);
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, ENOTDIR, "%s is no directory", p);
}

int fs_open_dir(int dir_fd, const char *name, struct err *err)
{
	int fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? err_sys(err, "open %s", name) : fd;
}

bool fs_is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Moves a directory found in dir up to top under a fresh name, so that depth never grows. */
static int lift(int top_fd, int dir_fd, const char *name, unsigned *serial)
{
	char fresh[48];

	for (;;) {
		snprintf(fresh, sizeof(fresh), ".rm-%x-%u", (unsigned)getpid(), (*serial)++);
		if (renameat2(dir_fd, name, top_fd, fresh, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

static int clear_dir(int top_fd, int fd, bool is_top, unsigned *serial, struct err *err);

static int remove_entry(int top_fd, DIR *d, struct dirent *e, bool is_top, unsigned *serial)
{
	int fd = dirfd(d);

	if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	return is_top ? 1 : lift(top_fd, fd, e->d_name, serial);
}

/* Empties a subdirectory of top: files go, directories in it are lifted into top. */
static int clear_sub(int top_fd, const char *name, unsigned *serial, struct err *err)
{
	int fd = openat(top_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	return clear_dir(top_fd, fd, false, serial, err);
}

static int clear_dir(int top_fd, int fd, bool is_top, unsigned *serial, struct err *err)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!d) {
		close(fd);
		return err_sys(err, "read directory");
	}
	while (rc >= 0 && (errno = 0, e = readdir(d))) {
		if (fs_is_dot(e->d_name))
			continue;
		rc = remove_entry(top_fd, d, e, is_top, serial);
		if (rc < 0)
			err_errno(err, -rc, "remove %s", e->d_name);
		if (rc <= 0)
			continue;
		rc = clear_sub(top_fd, e->d_name, serial, err);
		if (rc >= 0 && unlinkat(top_fd, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			rc = err_sys(err, "remove %s", e->d_name);
	}
	closedir(d);
	return rc < 0 ? rc : 0;
}

int fs_remove_tree(int dir_fd, const char *name, struct err *err)
{
	unsigned serial = 0;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(err, "remove %s", name);
	/* Lifted directories appear in top while it is read: go round until it is empty. */
	for (;;) {
		auto_fd int top = -1;
		int rc, fd;

		if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return err_sys(err, "remove %s", name);
		top = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd = top < 0 ? -1 : openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "open %s", name);
		rc = clear_dir(top, fd, true, &serial, err);
		if (rc < 0)
			return rc;
	}
}

int fs_write_atomic(int dir_fd, const char *name, const void *p, size_t n, bool sync,
		    struct err *err)
{
	auto_fd int fd = -1;
	char tmp[300], rnd[17];
	int rc;

	proc_random_hex(rnd, 16);
	snprintf(tmp, sizeof(tmp), ".tmp-%s", rnd);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "create %s", name);
	rc = fd_write_all(fd, p, n, err);
	if (rc >= 0 && sync && fsync(fd) < 0)
		rc = err_sys(err, "fsync");
	fault_point("fs.atomic.written");
	if (rc >= 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		rc = err_sys(err, "rename");
	fault_point("fs.atomic.renamed");
	if (rc < 0) {
		unlinkat(dir_fd, tmp, 0);
		return err_ctx(err, "write %s", name);
	}
	return 0;
}

int fs_lock(int dir_fd, const char *name, bool wait, struct err *err)
{
	auto_fd int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return err_sys(err, "open lock %s", name);
	do
		rc = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return err_sys(err, "lock %s", name);
	return fd_take(&fd);
}

int fs_list(int dir_fd, const char *name, struct strv *ret, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent **list = NULL;
	char path[FD_PATH_MAX];
	int n;

	if (fd < 0)
		return err_sys(err, "open %s", name);
	n = scandir(fd_path(fd, path), &list, NULL, NULL);
	close(fd);
	if (n < 0)
		return err_sys(err, "read directory %s", name);
	for (int i = 0; i < n; i++) {
		if (!fs_is_dot(list[i]->d_name))
			strv_add(ret, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	strv_sort(ret);
	return 0;
}
