/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/ids.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/securebits.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

/* After fork, of a process that may have threads: system calls only. */
static void hold_namespace(int sock)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER) < 0)
		c = (char)errno;
	if (write(sock, &c, 1) == 1)
		(void)!read(sock, &c, 1);
	_exit(0);
}

static int write_map(pid_t pid, const char *name, struct err *err)
{
	char path[64], map[64];
	int n = snprintf(map, sizeof(map), "0 %u %u\n", (unsigned)IDS_ROOT, (unsigned)IDS_COUNT);
	auto_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, map, (size_t)n) != n ? err_sys(err, "%s", name) : 0;
}

static int make(pid_t pid, int sock, struct ids_range *ret, struct err *err)
{
	char c = EPIPE, path[64];
	int rc;

	if (read(sock, &c, 1) != 1 || c)
		return err_errno(err, c, "make a user namespace");
	rc = write_map(pid, "uid_map", err);
	if (rc >= 0)
		rc = write_map(pid, "gid_map", err);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret->fd < 0)
		return err_sys(err, "%s", path);
	ret->root = IDS_ROOT;
	return 0;
}

int ids_open(struct ids_range *ret, struct err *err)
{
	auto_fd int ours = -1, theirs = -1;
	struct err ignored;
	int pair[2], code, rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0) {
		close(ours); /* so that our end is seen */
		hold_namespace(theirs);
	}
	fd_close(&theirs);
	rc = make(pid, ours, ret, err);
	fd_close(&ours);
	proc_wait(pid, &code, &ignored);
	return rc;
}

void ids_close(struct ids_range *i)
{
	fd_close(&i->fd);
	i->root = 0;
}

/* The kernel takes rights away from who gives up the file system's root, unless told not to. */
int ids_enter(const struct ids_range *i)
{
	if (!i || !i->root)
		return 0;
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		return -errno;
	setfsgid(i->root);
	setfsuid(i->root);
	return 0;
}

void ids_leave(const struct ids_range *i)
{
	if (!i || !i->root)
		return;
	setfsuid(0);
	setfsgid(0);
	prctl(PR_SET_SECUREBITS, 0, 0, 0, 0);
}

int ids_map(const struct ids_range *i, int mount_fd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)i->fd };

	return sys_mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}
