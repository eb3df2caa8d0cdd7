/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/scratch.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

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

/* What a command that was killed has left. */
static void sweep(int tmp_fd)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };

	fs_list(tmp_fd, ".", &names, &ignored);
	for (size_t i = 0; i < names.n; i++) {
		char *end, *rest;
		long pid = strtol(names.v[i], &end, 10);
		uint64_t start = *end == '.' ? strtoull(end + 1, &rest, 10) : 0;

		if (pid > 0 && start && !proc_is_alive((pid_t)pid, start))
			fs_remove_tree(tmp_fd, names.v[i], &ignored);
	}
}

int scratch_open(int store_fd, struct scratch *ret, struct err *err)
{
	struct scratch s = SCRATCH_INIT;
	char random[9];
	int rc = fs_mkdir(store_fd, "tmp", 0700, err);

	if (rc < 0)
		return rc;
	s.tmp_fd = fs_open_dir(store_fd, "tmp", err);
	if (s.tmp_fd < 0)
		return s.tmp_fd;
	sweep(s.tmp_fd);
	proc_random_hex(random, 8);
	snprintf(s.name, sizeof(s.name), "%d.%" PRIu64 ".%s", (int)getpid(),
		 proc_start_time(getpid()), random);
	rc = fs_mkdir(s.tmp_fd, s.name, 0700, err);
	if (rc >= 0) {
		s.fd = openat(s.tmp_fd, s.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
