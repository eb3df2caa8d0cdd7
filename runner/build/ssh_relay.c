/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket has the owner and mode that were asked for, whoever owns the agent's; and of the
 * agent's protocol only what uses keys goes through, so that nobody can either take the user's keys
 * out of the agent or put his own in (draft-miller-ssh-agent).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "ssh.h"

enum {
	CONNECTIONS_MAX = 32, /* at once */
	MESSAGE_MAX = 256 << 10,
	AGENT_FAILURE = 5,
	AGENT_IDENTITIES = 11,
	AGENT_SIGN = 13,
	AGENT_EXTENSION = 27, /* session-bind of OpenSSH */
};

struct connection {
	struct ssh_relay *relay;
	pthread_t thread;
	int fd;
	bool is_used;
	atomic_bool is_over; /* its thread has no more to do */
};

struct ssh_relay {
	int dir_fd;
	char *name; /* of the socket in it; NULL: not made yet */
	const char *agent;
	int listen_fd, stop_fd, over_fd; /* over_fd: one of the connections has ended */
	bool listening;
	pthread_t listener;
	struct connection conn[CONNECTIONS_MAX];
};

/* Readable before the end of the relay? */
static bool wait_for(const struct ssh_relay *s, int fd, short events)
{
	struct pollfd p[2] = { { fd, events, 0 }, { s->stop_fd, POLLIN, 0 } };

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return !p[1].revents;
}

static bool read_all(const struct ssh_relay *s, int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got;

		if (!wait_for(s, fd, POLLIN))
			return false;
		got = recv(fd, p, n, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

static bool write_all(const struct ssh_relay *s, int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t put;

		if (!wait_for(s, fd, POLLOUT))
			return false;
		put = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (put <= 0)
			return false;
		p += put;
		n -= (size_t)put;
	}
	return true;
}

/* One message with its length in front; 0 at the end. */
static size_t read_message(const struct ssh_relay *s, int fd, uint8_t *buf)
{
	size_t n;

	if (!read_all(s, fd, buf, 4))
		return 0;
	n = (size_t)buf[0] << 24 | (size_t)buf[1] << 16 | (size_t)buf[2] << 8 | buf[3];
	if (!n || n > MESSAGE_MAX || !read_all(s, fd, buf + 4, n))
		return 0;
	return n + 4;
}

static int agent_connect(const struct ssh_relay *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(s->agent) >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, s->agent, strlen(s->agent) + 1);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : fd_take(&fd);
}

static bool is_allowed(uint8_t type)
{
	return type == AGENT_IDENTITIES || type == AGENT_SIGN || type == AGENT_EXTENSION;
}

static void tell(int fd)
{
	const uint64_t one = 1;

	/* One that cannot count any further is readable all the same. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *serve(void *arg)
{
	static const uint8_t refused[] = { 0, 0, 0, 1, AGENT_FAILURE };
	struct connection *c = arg;
	const struct ssh_relay *s = c->relay;
	auto_free uint8_t *buf = mem_alloc(MESSAGE_MAX + 4);
	auto_fd int agent = agent_connect(s);
	size_t n;

	while (agent >= 0 && (n = read_message(s, c->fd, buf)) > 0) {
		if (!is_allowed(buf[4])) {
			if (!write_all(s, c->fd, refused, sizeof(refused)))
				break;
			continue;
		}
		if (!write_all(s, agent, buf, n))
			break;
		n = read_message(s, agent, buf);
		if (!n || !write_all(s, c->fd, buf, n))
			break;
	}
	shutdown(c->fd, SHUT_RDWR);
	atomic_store(&c->is_over, true);
	tell(s->over_fd);
	return NULL;
}

static void connection_end(struct connection *c)
{
	if (!c->is_used)
		return;
	pthread_join(c->thread, NULL);
	close(c->fd);
	c->is_used = false;
}

/* A place for one more, as soon as there is one; NULL at the end. */
static struct connection *place(struct ssh_relay *s)
{
	uint64_t ignored;

	for (;;) {
		for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
			struct connection *c = &s->conn[i];

			if (c->is_used && atomic_load(&c->is_over))
				connection_end(c);
			if (!c->is_used)
				return c;
		}
		if (!wait_for(s, s->over_fd, POLLIN) ||
		    (read(s->over_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN))
			return NULL;
	}
}

static void *listen_main(void *arg)
{
	struct ssh_relay *s = arg;
	struct connection *c;

	while ((c = place(s)) && wait_for(s, s->listen_fd, POLLIN)) {
		c->relay = s;
		c->is_over = false;
		c->fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (c->fd < 0) { /* no fd is free, and it would be asked again at once */
			poll(NULL, 0, 10);
			continue;
		}
		if (pthread_create(&c->thread, NULL, serve, c))
			close(c->fd);
		else
			c->is_used = true;
	}
	return NULL;
}

void ssh_relay_free(struct ssh_relay *s)
{
	if (!s)
		return;
	if (s->stop_fd >= 0)
		tell(s->stop_fd);
	if (s->listening)
		pthread_join(s->listener, NULL);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		connection_end(&s->conn[i]);
	fd_close(&s->listen_fd);
	fd_close(&s->stop_fd);
	fd_close(&s->over_fd);
	if (s->name)
		unlinkat(s->dir_fd, s->name, 0);
	free(s->name);
	free(s);
}

/* By an fd: the path of a store may be longer than an address. */
static int relay_bind(struct ssh_relay *s, const struct ssh_relay_at *at, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[FD_PATH_MAX], own[FD_PATH_MAX];
	auto_fd int fd = -1;
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", fd_path(at->dir_fd, dir),
			 at->name);

	if (n >= (int)sizeof(a.sun_path))
		return err_set(err, ENAMETOOLONG, "socket %s", at->name);
	if (bind(s->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, "socket %s", at->name);
	s->name = mem_str(at->name);
	if (listen(s->listen_fd, CONNECTIONS_MAX) < 0)
		return err_sys(err, "socket %s", at->name);
	/* Others may write to the directory: what is changed is what is there now, and no link. */
	fd = path_open_beneath(at->dir_fd, at->name, O_PATH | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return fd_take(&fd);
	if (fchownat(fd, "", at->uid, at->gid, AT_EMPTY_PATH) < 0 ||
	    chmod(fd_path(fd, own), at->mode & 07777) < 0)
		return err_sys(err, "attributes of %s", at->name);
	return 0;
}

static int relay_start(struct ssh_relay *s, const struct ssh_relay_at *at, struct err *err)
{
	int rc;

	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	s->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->listen_fd < 0 || s->stop_fd < 0 || s->over_fd < 0)
		return err_sys(err, "socket");
	rc = relay_bind(s, at, err);
	if (rc < 0)
		return rc;
	rc = proc_thread(&s->listener, listen_main, s);
	if (rc < 0)
		return err_errno(err, -rc, "start a thread");
	s->listening = true;
	return 0;
}

int ssh_relay_open(const char *agent, const struct ssh_relay_at *at, struct ssh_relay **ret,
		   struct err *err)
{
	struct ssh_relay *s = mem_alloc(sizeof(*s));
	int rc;

	s->dir_fd = at->dir_fd;
	s->agent = agent;
	s->listen_fd = s->stop_fd = s->over_fd = -1;
	rc = relay_start(s, at, err);
	if (rc < 0) {
		ssh_relay_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}
