/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where others come in to a running program: a socket in containers/<id>, which nobody but root
 * reaches (TRAPS T32). One packet a message, its first byte says what it is.
 *
 * A reader that is slow holds the program up, as a pipe's does: nothing of what it wrote is lost.
 */
#include <shale/container.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { BACKLOG = 16, FLUSH_MS = 2000 };

static const char socket_name[] = "attach";

void container_doors_init(struct container_doors *d)
{
	*d = (struct container_doors){ .listen_fd = -1 };
	for (size_t i = 0; i < DOORS_MAX; i++)
		d->guest[i].fd = -1;
}

static void show_out(struct door_guest *g)
{
	fd_close(&g->fd);
	str_free(&g->queue);
}

void container_doors_close(struct container_doors *d)
{
	for (size_t i = 0; i < DOORS_MAX; i++)
		show_out(&d->guest[i]);
	fd_close(&d->listen_fd);
}

static int address(int dir_fd, struct sockaddr_un *ret)
{
	char path[FD_PATH_MAX];

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", fd_path(dir_fd, path),
			socket_name);
}

int container_doors_open(struct container_doors *d, int dir_fd, struct err *err)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	address(dir_fd, &a);
	/* That of an earlier run: there is one keeper at a time. */
	if (unlinkat(dir_fd, socket_name, 0) < 0 && errno != ENOENT)
		return err_sys(err, "socket of the container before");
	/* Before it has a name, so that it never was anybody's (CVE-2020-15257, TRAPS T32). */
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_sys(err, "socket of the container");
	d->listen_fd = fd_take(&fd);
	return 0;
}

int container_doors_connect(int dir_fd, struct err *err)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	address(dir_fd, &a);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, "connect");
	return fd_take(&fd);
}

int container_doors_add(struct container_doors *d, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	for (size_t i = 0; i < DOORS_MAX; i++) {
		if (d->guest[i].fd >= 0)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.uid != geteuid())
			break;
		d->guest[i] = (struct door_guest){ .fd = fd };
		return 0;
	}
	close(fd);
	return -1;
}

/* --- what goes out --- */

static void queue_add(struct door_guest *g, char kind, const char *p, size_t n)
{
	uint32_t len = (uint32_t)n + 1;

	str_addn(&g->queue, &len, sizeof(len));
	str_addc(&g->queue, kind);
	str_addn(&g->queue, p, n);
}

/* As much as goes without waiting. */
static void queue_send(struct door_guest *g)
{
	size_t at = 0;

	while (g->fd >= 0 && at < g->queue.len) {
		uint32_t len;

		memcpy(&len, g->queue.s + at, sizeof(len));
		if (send(g->fd, g->queue.s + at + sizeof(len), len, MSG_NOSIGNAL | MSG_DONTWAIT) <
		    0) {
			if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
				break;
			show_out(g);
			return;
		}
		at += sizeof(len) + len;
	}
	if (at) {
		memmove(g->queue.s, g->queue.s + at, g->queue.len - at);
		g->queue.len -= at;
	}
}

void container_doors_send(struct container_doors *d, int stream, const char *p, size_t n)
{
	for (size_t i = 0; i < DOORS_MAX; i++) {
		struct door_guest *g = &d->guest[i];

		if (g->fd < 0)
			continue;
		queue_add(g, stream ? DOOR_STDERR : DOOR_STDOUT, p, n);
		queue_send(g);
	}
}

bool container_doors_are_full(const struct container_doors *d)
{
	for (size_t i = 0; i < DOORS_MAX; i++)
		if (d->guest[i].fd >= 0 && d->guest[i].queue.len)
			return true;
	return false;
}

/* The program has ended: what is left goes out, but a reader that is stopped is not waited for. */
void container_doors_flush(struct container_doors *d)
{
	for (size_t i = 0; i < DOORS_MAX; i++) {
		struct door_guest *g = &d->guest[i];

		while (g->fd >= 0 && g->queue.len) {
			struct pollfd p = { g->fd, POLLOUT, 0 };

			if (poll(&p, 1, FLUSH_MS) <= 0)
				show_out(g);
			else
				queue_send(g);
		}
	}
}

/* --- what comes in --- */

size_t container_doors_poll(const struct container_doors *d, bool want_input, struct pollfd *fds)
{
	for (size_t i = 0; i < DOORS_MAX; i++) {
		const struct door_guest *g = &d->guest[i];
		short in = (short)(want_input ? POLLIN : 0);

		fds[i] = (struct pollfd){ g->fd, (short)(in | (g->queue.len ? POLLOUT : 0)), 0 };
	}
	fds[DOORS_MAX] = (struct pollfd){ d->listen_fd, POLLIN, 0 };
	return DOORS_MAX + 1;
}

static void resize(int master, const char *p, size_t n)
{
	struct winsize w;

	if (master < 0 || n != sizeof(w))
		return;
	memcpy(&w, p, sizeof(w));
	ioctl(master, TIOCSWINSZ, &w);
}

/* One message. Bytes for the program's input: how many, in buf. */
static size_t receive(struct container_doors *d, struct door_guest *g, struct sandbox *sb,
		      char buf[DOOR_INPUT_MAX])
{
	char message[DOOR_INPUT_MAX + 1];
	ssize_t n = recv(g->fd, message, sizeof(message), MSG_DONTWAIT);
	struct err ignored = { 0 };

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		/* The terminal of a process that has no other is gone. */
		if (d->is_private && !g->has_left)
			sandbox_signal(sb, SIGHUP, &ignored);
		show_out(g);
		return 0;
	}
	switch (message[0]) {
	case DOOR_INPUT:
		memcpy(buf, message + 1, (size_t)n - 1);
		return (size_t)n - 1;
	case DOOR_SIZE:
		resize(sandbox_terminal_fd(sb), message + 1, (size_t)n - 1);
		break;
	case DOOR_SIGNAL:
		if (n == 2)
			sandbox_signal(sb, (unsigned char)message[1], &ignored);
		break;
	case DOOR_LEAVE:
		g->has_left = true;
		break;
	default:
		break;
	}
	return 0;
}

/* Input is taken of one guest at a time: *ret_n bytes. */
void container_doors_run(struct container_doors *d, const struct pollfd *fds, struct sandbox *sb,
			 char buf[DOOR_INPUT_MAX], size_t *ret_n)
{
	*ret_n = 0;
	for (size_t i = 0; i < DOORS_MAX; i++) {
		struct door_guest *g = &d->guest[i];

		if (g->fd < 0 || fds[i].fd != g->fd)
			continue;
		if (fds[i].revents & POLLOUT)
			queue_send(g);
		/* A hang-up is told in any case: it is looked at when input is wanted. */
		if (g->fd >= 0 && fds[i].events & POLLIN && fds[i].revents & (POLLIN | POLLHUP) &&
		    !*ret_n)
			*ret_n = receive(d, g, sb, buf);
		else if (g->fd >= 0 && fds[i].revents & (POLLERR | POLLHUP) &&
			 !(fds[i].revents & POLLIN))
			show_out(g);
	}
	if (fds[DOORS_MAX].revents & POLLIN) {
		int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			container_doors_add(d, fd);
	}
}

/* Before the program runs: how large the terminal is that is waiting for it. */
void container_doors_prepare(struct container_doors *d, struct sandbox *sb)
{
	char buf[DOOR_INPUT_MAX];

	for (size_t i = 0; i < DOORS_MAX; i++) {
		char kind;

		if (d->guest[i].fd >= 0 &&
		    recv(d->guest[i].fd, &kind, 1, MSG_PEEK | MSG_DONTWAIT) == 1 &&
		    kind == DOOR_SIZE)
			receive(d, &d->guest[i], sb, buf);
	}
}
