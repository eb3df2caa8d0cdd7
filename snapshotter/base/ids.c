/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/ids.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <linux/securebits.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

/* After fork, of a process that may have threads: system calls only. What it has made lives as long
 * as it does, or as somebody has an fd of it. */
static void hold_namespace(int sock, const void *arg)
{
	const struct ids_range *in = arg;
	char c = 0;

	/* Who is in there already must not trace it. */
	if ((in && (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setns(in->fd, CLONE_NEWUSER) < 0)) ||
	    unshare(in ? CLONE_NEWNET : CLONE_NEWUSER) < 0)
		c = (char)errno;
	if (write(sock, &c, 1) == 1)
		(void)!read(sock, &c, 1);
}

static int write_map(pid_t pid, const char *name, const char *map, struct err *err)
{
	const ssize_t n = (ssize_t)strlen(map);
	auto_fd int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, map, (size_t)n) != n
		       ? err_sys(err, "%s of the user namespace", name)
		       : 0;
}

int ids_write_maps(pid_t pid, const struct ids_maps *m, struct err *err)
{
	int rc = m->uids ? write_map(pid, "uid_map", m->uids, err) : 0;

	return rc >= 0 && m->gids ? write_map(pid, "gid_map", m->gids, err) : rc;
}

static int open_of(pid_t pid, const char *kind, struct err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "%s", path) : fd;
}

static int map_and_open(pid_t pid, const struct ids_maps *m, struct err *err)
{
	int rc = ids_write_maps(pid, m, err);

	return rc < 0 ? rc : open_of(pid, "user", err);
}

/* A network namespace of i's, or, without one, a user namespace with these maps. */
static int make(const struct ids_range *i, const struct ids_maps *m, struct err *err)
{
	const bool is_net = m == NULL;
	auto_fd int ours = -1;
	pid_t pid = proc_fork_helper(hold_namespace, i, &ours, err);
	struct err ignored;
	int code, rc = 0;
	char c = EPIPE;

	if (pid < 0)
		return (int)pid;
	if (read(ours, &c, 1) != 1 || c)
		rc = err_errno(err, c, "make a %s namespace", is_net ? "network" : "user");
	if (rc >= 0)
		rc = is_net ? open_of(pid, "net", err) : map_and_open(pid, m, err);
	fd_close(&ours);
	proc_wait(pid, &code, &ignored);
	return rc;
}

int ids_open_maps(const struct ids_maps *m, struct err *err)
{
	return make(NULL, m, err);
}

int ids_open(struct ids_range *ret, struct err *err)
{
	struct ids_range i = { -1, ret->root, ret->count };
	char map[64];

	if (!i.count) {
		i.root = IDS_ROOT;
		i.count = IDS_COUNT;
	}
	snprintf(map, sizeof(map), "0 %u %u\n", i.root, i.count);
	i.fd = ids_open_maps(&(struct ids_maps){ map, map }, err);
	if (i.fd < 0)
		return i.fd;
	*ret = i;
	return 0;
}

int ids_open_net(const struct ids_range *i, struct err *err)
{
	return make(i, NULL, err);
}

void ids_close(struct ids_range *i)
{
	fd_close(&i->fd);
	i->root = i->count = 0;
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

	if (!i->root) /* owners are shown as they are */
		return 0;
	return sys_mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

uint32_t ids_inside(const struct ids_range *i, uint32_t id)
{
	enum { NOBODY = 65534 };

	if (!i || !i->root)
		return id;
	return id >= i->root && id - i->root < i->count ? id - i->root : NOBODY;
}
