/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel takes a millisecond for, beside other work: the making of a network namespace,
 * and the end of a box's mounts, which waits for RCU. By threads that make nothing but system
 * calls: who forks meanwhile finds no lock held.
 */
#include <shale/sandbox.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

struct sandbox_beside {
	pthread_t thread;
	bool is_running;
	int fd;
};

static struct sandbox_beside *beside_new(int fd)
{
	struct sandbox_beside *b = mem_alloc(sizeof(*b));

	*b = (struct sandbox_beside){ .fd = fd };
	return b;
}

static void begin(struct sandbox_beside *b, void *(*main)(void *))
{
	b->is_running = proc_thread(&b->thread, main, b) == 0;
}

static void await(struct sandbox_beside *b)
{
	if (b->is_running)
		pthread_join(b->thread, NULL);
	b->is_running = false;
}

/* --- a network namespace --- */

int sandbox_loopback_up(void)
{
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0 ? -errno : 0;
}

static void *make_net(void *arg)
{
	struct sandbox_beside *b = arg;

	if (unshare(CLONE_NEWNET) == 0 && sandbox_loopback_up() == 0)
		b->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return NULL;
}

struct sandbox_beside *sandbox_net_begin(void)
{
	struct sandbox_beside *b = beside_new(-1);

	begin(b, make_net);
	return b;
}

int sandbox_net_take(struct sandbox_beside *b)
{
	int fd;

	if (!b)
		return -1;
	await(b);
	fd = fd_take(&b->fd);
	free(b);
	return fd;
}

/* --- the end of mounts --- */

static void *let_go(void *arg)
{
	struct sandbox_beside *b = arg;

	fd_close(&b->fd);
	return NULL;
}

struct sandbox_beside *sandbox_mounts_hold(const struct sandbox *sb)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)sandbox_pid(sb));
	return beside_new(open(path, O_RDONLY | O_CLOEXEC));
}

void sandbox_mounts_leave(struct sandbox_beside *b)
{
	if (b && !b->is_running && b->fd >= 0)
		begin(b, let_go);
}

void sandbox_beside_end(struct sandbox_beside *b)
{
	if (!b)
		return;
	await(b);
	fd_close(&b->fd);
	free(b);
}

void sandbox_beside_cleanup(struct sandbox_beside **b)
{
	sandbox_beside_end(*b);
}
