/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RUN --mount=type=ssh: a socket for the step and a thread a connection between it and the agent.
 * The socket has the owner and mode that were asked for, whoever owns the agent's; and of the
 * agent's protocol only what uses keys goes through, so that a step can neither take the user's
 * keys out of the agent nor put its own in (draft-miller-ssh-agent).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/scratch.h>

#include "run.h"

enum {
	CONNECTIONS_MAX =
		32, /* at once and in all of a step's life: each has its thread until then */
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
};

struct ssh_relay {
	struct runtime *rt;
	char *name;        /* of the socket beneath the store */
	const char *agent; /* outlives this */
	int listen_fd, stop_fd;
	bool listening;
	pthread_t listener;
	struct connection conn[CONNECTIONS_MAX];
	size_t n;
};

/* Readable before the end of the step? */
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
	return NULL;
}

static void *listen_main(void *arg)
{
	struct ssh_relay *s = arg;

	while (s->n < CONNECTIONS_MAX && wait_for(s, s->listen_fd, POLLIN)) {
		struct connection *c = &s->conn[s->n];

		c->relay = s;
		c->fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (c->fd < 0)
			continue;
		if (pthread_create(&c->thread, NULL, serve, c))
			close(c->fd);
		else
			s->n++;
	}
	return NULL;
}

void ssh_relay_free(struct ssh_relay *s)
{
	const uint64_t one = 1;
	ssize_t ignored;

	if (!s)
		return;
	if (s->stop_fd >= 0)
		ignored = write(s->stop_fd, &one, sizeof(one));
	(void)ignored;
	if (s->listening)
		pthread_join(s->listener, NULL);
	for (size_t i = 0; i < s->n; i++) {
		pthread_join(s->conn[i].thread, NULL);
		close(s->conn[i].fd);
	}
	fd_close(&s->listen_fd);
	fd_close(&s->stop_fd);
	if (s->name)
		unlinkat(s->rt->root_fd, s->name, 0);
	free(s->name);
	free(s);
}

/* By the store's fd: the path of a store may be longer than an address. */
static int relay_bind(struct ssh_relay *s, const struct run_mount *m, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char root[FD_PATH_MAX], own[SCRATCH_NAME_MAX];

	scratch_name(own);
	s->name = mem_fmt("tmp/%s", own);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", fd_path(s->rt->root_fd, root), s->name);
	if (bind(s->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(s->listen_fd, CONNECTIONS_MAX) < 0)
		return err_sys(err, "socket %s", s->name);
	if (fchownat(s->rt->root_fd, s->name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(s->rt->root_fd, s->name, m->mode & 07777, 0) < 0)
		return err_sys(err, "attributes of %s", s->name);
	return 0;
}

static int relay_start(struct ssh_relay *s, const struct run_mount *m, struct err *err)
{
	int rc;

	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (s->listen_fd < 0 || s->stop_fd < 0)
		return err_sys(err, "socket");
	rc = relay_bind(s, m, err);
	if (rc < 0)
		return rc;
	rc = pthread_create(&s->listener, NULL, listen_main, s);
	if (rc)
		return err_errno(err, rc, "start a thread");
	s->listening = true;
	return 0;
}

int ssh_source_open(struct run *r, struct run_source *s, struct err *err)
{
	const struct given *g = givens_find(&r->b->ssh, s->m.id);
	int rc;

	if (!g)
		return s->m.required
			       ? err_set(err, ENOENT, "no ssh agent %s: give it with --ssh %s",
					 s->m.id, s->m.id)
			       : 0;
	s->relay = mem_alloc(sizeof(*s->relay));
	s->relay->rt = r->b->rt;
	s->relay->agent = g->path;
	s->relay->listen_fd = s->relay->stop_fd = -1;
	rc = relay_start(s->relay, &s->m, err);
	if (rc < 0)
		return rc;
	s->fd = openat(r->b->rt->root_fd, s->relay->name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return err_sys(err, "open %s", s->relay->name);
	if (!strv_env_get(&r->secret_env, "SSH_AUTH_SOCK"))
		strv_addf(&r->secret_env, "SSH_AUTH_SOCK=%s", s->m.target);
	return 1;
}
