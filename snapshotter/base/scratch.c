/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/scratch.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

enum { KEEP_S = 24 * 3600 };

void scratch_close(struct scratch *s)
{
	struct err ignored = { 0 };
	int saved = errno;

	if (s->fd >= 0)
		fs_remove_tree(s->tmp_fd, s->name, &ignored);
	fd_close(&s->fd);
	fd_close(&s->tmp_fd);
	errno = saved;
}

static void scratch_name(char buf[SCRATCH_NAME_MAX])
{
	char random[17];

	proc_random_hex(random, 16);
	snprintf(buf, SCRATCH_NAME_MAX, "%d.%" PRIu64 ".%s", (int)getpid(),
		 proc_start_time(getpid()), random);
}

static int open_locked(int tmp_fd, const char *name, int flags)
{
	auto_fd int fd = openat(tmp_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 || flock(fd, LOCK_EX | flags) < 0 ? -1 : fd_take(&fd);
}

/* What is no directory has no lock, and was made by an earlier release: one that runs in another
 * pid namespace may still use it. */
static bool is_abandoned(int tmp_fd, const char *name)
{
	struct stat st;

	return fstatat(tmp_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
	       st.st_mtim.tv_sec + KEEP_S < proc_now_ns() / 1000000000;
}

static void sweep(int tmp_fd)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };

	fs_list(tmp_fd, ".", &names, &ignored);
	for (size_t i = 0; i < names.n; i++) {
		char *end, *rest;
		long pid = strtol(names.v[i], &end, 10);
		uint64_t start = *end == '.' ? strtoull(end + 1, &rest, 10) : 0;
		auto_fd int fd = -1;

		if (pid <= 0 || !start || proc_is_alive((pid_t)pid, start))
			continue;
		/* A pid is one of its namespace's: the lock tells what lives in another. */
		fd = open_locked(tmp_fd, names.v[i], LOCK_NB);
		if (fd >= 0 || is_abandoned(tmp_fd, names.v[i]))
			fs_remove_tree(tmp_fd, names.v[i], &ignored);
	}
}

void scratch_sweep(int store_fd)
{
	auto_fd int tmp_fd = openat(store_fd, "tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (tmp_fd >= 0)
		sweep(tmp_fd);
}

int scratch_open(int store_fd, struct scratch *ret, struct err *err)
{
	struct scratch s = SCRATCH_INIT;
	int rc = fs_mkdir(store_fd, "tmp", 0700, err);

	if (rc < 0)
		return rc;
	s.tmp_fd = fs_open_dir(store_fd, "tmp", err);
	if (s.tmp_fd < 0)
		return s.tmp_fd;
	sweep(s.tmp_fd);
	scratch_name(s.name);
	rc = fs_mkdir(s.tmp_fd, s.name, 0700, err);
	if (rc >= 0) {
		s.fd = open_locked(s.tmp_fd, s.name, 0);
		if (s.fd < 0)
			rc = err_sys(err, "open tmp/%s", s.name);
	}
	if (rc < 0) {
		fd_close(&s.tmp_fd);
		return rc;
	}
	*ret = s;
	return 0;
}
