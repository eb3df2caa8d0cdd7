/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the host that lead into containers. Who keeps a container holds its ports by sockets
 * that are only bound, so that no program of the host takes them for its own; netavark's rules see
 * to it that nothing comes to these. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

/* HELD_MAX: each is a descriptor of the keeper's; the rest of long ranges is only looked at. */
enum { PORTS_MAX = 1024, HELD_MAX = 256, SOCKETS_MAX = 8 << 20, NAME_MAX_BYTES = 64 };

void network_held_close(struct network_held *h)
{
	for (size_t i = 0; i < h->n; i++)
		close(h->v[i]);
	free(h->v);
	*h = (struct network_held){ 0 };
}

struct claim {
	const struct network_live *l;
	json_t *own;
	struct network_held *held;
};

/* --- whose it is
 * ------------------------------------------------------------------------------------------------
 */

static bool ports_meet(const json_t *m, const struct network_port *p, unsigned port)
{
	const char *address = json_get_str(m, "host_ip");
	int64_t first = json_get_int(m, "host_port", 0), n = json_get_int(m, "range", 1);

	return str_eq(json_get_str(m, "protocol"), p->protocol) && port >= first &&
	       port < first + n &&
	       (!address || !*address || !*p->address || str_eq(address, p->address));
}

/* The container's name, or NULL: none of ours. */
static const char *port_container(const struct claim *x, const struct network_port *p,
				  unsigned port)
{
	const char *id;
	json_t *user, *m;
	size_t i;

	json_array_foreach(x->own, i, m) if (ports_meet(m, p, port)) return "itself";
	json_object_foreach(x->l->users, id, user)
	{
		const json_t *setup = json_object_get(user, "setup");
		json_t *all = json_object_get(setup, "port_mappings");

		json_array_foreach(all, i, m) if (ports_meet(m, p, port)) return json_get_str(
			setup, "container_name");
	}
	return NULL;
}

/* Lines of /proc/net/tcp: "N: ADDRESS:PORT REMOTE STATE QUEUES TIMER RETRIES UID TIMEOUT INODE …",
 * in hex but for the last. A stream's is in the way when it listens. */
static unsigned long long inode_of(const char *line, bool is_stream, unsigned port)
{
	enum { LOCAL = 1, STATE = 3, INODE = 9, LISTEN = 0x0a };
	auto_strv struct strv all = { 0 }, words = { 0 };
	uint64_t inode = 0;
	const char *colon;

	strv_split(&all, line, ' ');
	for (size_t i = 0; i < all.n; i++)
		if (*all.v[i])
			strv_add(&words, all.v[i]);
	colon = words.n > INODE ? strchr(words.v[LOCAL], ':') : NULL;
	if (!colon || strtoul(colon + 1, NULL, 16) != port ||
	    (is_stream && strtoul(words.v[STATE], NULL, 16) != LISTEN) ||
	    str_to_u64(words.v[INODE], 10, UINT64_MAX, &inode) < 0)
		return 0;
	return inode;
}

static unsigned long long find_inode(const struct network_port *p, unsigned port)
{
	bool udp = str_eq(p->protocol, "udp");
	const char *const paths[] = { udp ? "/proc/net/udp" : "/proc/net/tcp",
				      udp ? "/proc/net/udp6" : "/proc/net/tcp6" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		auto_strv struct strv lines = { 0 };
		auto_free char *text = NULL;
		struct err ignored = { 0 };
		size_t len;

		if (fd_read_file(AT_FDCWD, paths[i], SOCKETS_MAX, &text, &len, &ignored) < 0)
			continue;
		strv_split(&lines, text, '\n');
		for (size_t k = 0; k < lines.n; k++) {
			unsigned long long inode = inode_of(lines.v[k], !udp, port);

			if (inode)
				return inode;
		}
	}
	return 0;
}

static bool has_open(const char *pid, const char *socket)
{
	auto_free char *path = mem_fmt("/proc/%s/fd", pid);
	struct dirent *e;
	DIR *d = opendir(path);
	bool found = false;

	while (d && !found && (e = readdir(d))) {
		char to[NAME_MAX_BYTES] = "";

		found = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1) > 0 &&
			str_eq(to, socket);
	}
	if (d)
		closedir(d);
	return found;
}

/* "python3 (process 123)". Caller owns it. */
static char *port_program(const struct network_port *p, unsigned port)
{
	unsigned long long inode = find_inode(p, port);
	auto_free char *socket = mem_fmt("socket:[%llu]", inode);
	auto_strv struct strv all = { 0 };
	struct err ignored = { 0 };

	if (!inode || fs_list(AT_FDCWD, "/proc", &all, &ignored) < 0)
		return mem_str("a program of the host");
	for (size_t i = 0; i < all.n; i++) {
		auto_free char *path = mem_fmt("/proc/%s/comm", all.v[i]), *name = NULL;
		size_t len;

		if (all.v[i][0] < '1' || all.v[i][0] > '9' || !has_open(all.v[i], socket) ||
		    fd_read_file(AT_FDCWD, path, NAME_MAX_BYTES, &name, &len, &ignored) < 0)
			continue;
		return mem_fmt("%s (process %s)", str_trim(name), all.v[i]);
	}
	return mem_str("a program of the host");
}

/* --- taken
 * ------------------------------------------------------------------------------------------------
 */

static int bind_to(int fd, const char *address, bool v6, unsigned port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (!v6) {
		if (*address)
			inet_pton(AF_INET, address, &a.sin_addr);
		return bind(fd, (struct sockaddr *)&a, sizeof(a));
	}
	if (*address)
		inet_pton(AF_INET6, address, &a6.sin6_addr);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int));
	return bind(fd, (struct sockaddr *)&a6, sizeof(a6));
}

static int socket_of(const struct network_port *p, bool v6)
{
	bool udp = str_eq(p->protocol, "udp"), sctp = str_eq(p->protocol, "sctp");
	int type = udp ? SOCK_DGRAM : sctp ? SOCK_SEQPACKET : SOCK_STREAM;

	return socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, sctp ? IPPROTO_SCTP : 0);
}

static int port_of(int fd, unsigned *ret)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*ret = ntohs(a.sin6_port); /* where sin_port is */
	return 0;
}

/* Connections that have ended keep a port from being bound, not from being used. */
static int look(const struct network_port *p, bool v6, unsigned port)
{
	auto_fd int fd = socket_of(p, v6);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	return fd >= 0 && bind_to(fd, p->address, v6, port) == 0 && listen(fd, 1) == 0 ? 0 : -errno;
}

/* port 0: the kernel chooses one. Without IPv6, or SCTP, nobody is there. */
static int take_one(const struct network_port *p, bool v6, unsigned port, unsigned *ret,
		    struct network_held *held)
{
	auto_fd int fd = socket_of(p, v6);

	*ret = port;
	if (fd < 0)
		return port && (errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT ||
				errno == EAFNOSUPPORT)
			       ? 0
			       : -errno;
	if (bind_to(fd, p->address, v6, port) < 0) {
		int rc = -errno;

		return rc == -EADDRINUSE && port && !str_eq(p->protocol, "udp") ? look(p, v6, port)
										: rc;
	}
	if (port_of(fd, ret) < 0)
		return -errno;
	if (held->n < HELD_MAX) {
		mem_room(held->v, held->n, held->cap);
		held->v[held->n++] = fd_take(&fd);
	}
	return 0;
}

/* Without an address it is all of both IPs. */
static int take_port(const struct network_port *p, unsigned port, unsigned *ret,
		     struct network_held *held)
{
	size_t before = held->n;
	unsigned same;
	int rc = take_one(p, network_is_v6(p->address), port, ret, held);

	if (rc >= 0 && !*p->address)
		rc = take_one(p, true, *ret, &same, held);
	while (rc < 0 && held->n > before)
		close(held->v[--held->n]);
	return rc;
}

static int check_port(const struct claim *x, const struct network_port *p, unsigned port,
		      struct err *err)
{
	const char *name = port_container(x, p, port);
	auto_free char *who = name ? mem_fmt("container %s", name) : NULL;
	bool v6 = network_is_v6(p->address);
	int rc = who ? -EADDRINUSE : take_port(p, port, &port, x->held);

	if (rc >= 0)
		return 0;
	if (!who && rc == -EADDRINUSE)
		who = port_program(p, port);
	return err_set(err, -rc, "port %s%s%s%s%u/%s of the host: %s%s", v6 ? "[" : "", p->address,
		       v6 ? "]" : "", *p->address ? ":" : "", port, p->protocol,
		       who ? "in use by " : strerrordesc_np(-rc), who ? who : "");
}

static json_t *mapping(const struct network_port *p, unsigned host, unsigned inner, unsigned n)
{
	return json_pack("{ss,si,si,si,ss}", "host_ip", p->address, "container_port", (int)inner,
			 "host_port", (int)host, "range", (int)n, "protocol", p->protocol);
}

/* Any that is free of those that it names. */
static int one_of_range(const struct claim *x, const struct network_port *p, struct err *err)
{
	for (unsigned i = 0; i < p->n_host; i++) {
		err_clear(err);
		if (check_port(x, p, p->host + i, err) >= 0)
			return json_array_append_new(x->own, mapping(p, p->host + i, p->port, 1));
	}
	return -err->code;
}

static int any_port(const struct claim *x, const struct network_port *p, unsigned inner,
		    struct err *err)
{
	enum { TRIES = 64 };
	unsigned host = 0;
	int rc = -EADDRINUSE;

	for (int tries = 0; rc < 0 && tries < TRIES; tries++) {
		rc = take_port(p, 0, &host, x->held);
		if (rc >= 0 && port_container(x, p, host))
			rc = -EADDRINUSE;
	}
	if (rc < 0)
		return err_set(err, -rc, "no port of the host is free for %u/%s", inner,
			       p->protocol);
	return json_array_append_new(x->own, mapping(p, host, inner, 1));
}

/* --- IPv6
 * ------------------------------------------------------------------------------------------------
 */

/* Then the kernel translates in the bridge already, and drops what has become ::1 as it leaves. */
static bool bridges_filter(void)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	size_t len;

	return fd_read_file(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
			    NAME_MAX_BYTES, &text, &len, &ignored) >= 0 &&
	       !str_starts(text, "0");
}

static int check_v6(const json_t *config, const struct network_port *p, struct err *err)
{
	json_t *all = json_object_get(config, "network_info"), *info;
	const char *name;
	bool has_v6 = false;

	json_object_foreach(all, name, info) has_v6 |= json_get_bool(info, "ipv6_enabled");
	if (!has_v6)
		return err_set(err, EINVAL,
			       "port %u/%s on an address of IPv6: none of its networks has IPv6 "
			       "(network create --ipv6)",
			       p->host, p->protocol);
	if (str_eq(p->address, "::1") && bridges_filter())
		return err_set(
			err, ENOTSUP,
			"port [::1]:%u/%s: with sysctl net.bridge.bridge-nf-call-ip6tables=1 "
			"the kernel drops the answers; set it to 0, or publish on 127.0.0.1 "
			"or another address of the host",
			p->host, p->protocol);
	return 0;
}

int network_ports_route(const json_t *config, struct err *err)
{
	json_t *all = json_object_get(config, "network_info"), *info, *m;
	bool wanted = false;
	const char *name;
	int rc = 0;
	size_t i;

	json_array_foreach(json_object_get(config, "port_mappings"), i, m)
	{
		const char *address = json_get_str(m, "host_ip");

		wanted |= !address || !*address || str_eq(address, "::1");
	}
	json_object_foreach(all, name,
			    info) if (wanted && rc >= 0 && json_get_bool(info, "ipv6_enabled")) rc =
		network_route_loopback(json_get_str(info, "network_interface"), err);
	return rc;
}

static int add_port(const struct claim *x, const struct network_port *p, struct err *err)
{
	int rc = 0;

	if (p->n_host > p->n)
		return one_of_range(x, p, err);
	for (unsigned i = 0; i < p->n && !p->host && rc >= 0; i++)
		rc = any_port(x, p, p->port + i, err);
	for (unsigned i = 0; i < p->n && p->host && rc >= 0; i++)
		rc = check_port(x, p, p->host + i, err);
	if (rc >= 0 && p->host)
		rc = json_array_append_new(x->own, mapping(p, p->host, p->port, p->n));
	return rc;
}

int network_ports_add(const struct network_live *l, json_t *config, const struct network_use *u,
		      struct network_held *held, struct err *err)
{
	json_t *own = json_array();
	struct claim x = { l, own, held };
	int rc = 0;

	json_object_set_new(config, "port_mappings", own);
	if (u->n_ports > PORTS_MAX)
		return err_set(err, EINVAL, "more than %d ports", PORTS_MAX);
	for (size_t i = 0; i < u->n_ports && rc >= 0; i++) {
		if (u->ports[i].is_v6)
			rc = check_v6(config, &u->ports[i], err);
		if (rc >= 0)
			rc = add_port(&x, &u->ports[i], err);
	}
	return rc;
}
