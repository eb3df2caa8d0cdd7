/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces: made, and reached into. */
#include <shale/network.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

static const char our_ns[] = "/proc/self/ns/net";

int network_ns_make(struct err *err)
{
	auto_fd int here = open(our_ns, O_RDONLY | O_CLOEXEC), made = -1;

	if (here < 0 || unshare(CLONE_NEWNET) < 0)
		return err_sys(err, "make a network namespace");
	made = open(our_ns, O_RDONLY | O_CLOEXEC);
	if (setns(here, CLONE_NEWNET) < 0 || made < 0)
		return err_sys(err, "leave the new network namespace");
	return fd_take(&made);
}

/* The socket stays in the namespace, we do not. */
int network_socket_in(int ns_fd, int family, int type, int protocol)
{
	auto_fd int here = open(our_ns, O_RDONLY | O_CLOEXEC);
	int fd;

	if (here < 0 || setns(ns_fd, CLONE_NEWNET) < 0)
		return -1;
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (setns(here, CLONE_NEWNET) < 0)
		fd_close(&fd);
	return fd;
}

/* /proc/sys/net shows the namespace of who opens it. */
void network_v6_off(int ns_fd, const char *interface)
{
	auto_free char *path = mem_fmt("/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
	auto_fd int here = open(our_ns, O_RDONLY | O_CLOEXEC);
	struct err ignored = { 0 };

	if (here < 0 || setns(ns_fd, CLONE_NEWNET) < 0)
		return;
	fd_write_file(AT_FDCWD, path, "1", 1, 0, &ignored);
	setns(here, CLONE_NEWNET);
}

/* --- rtnetlink(7)
 * ---------------------------------------------------------------------------------------------- */

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct rtmsg route;
	};
	char attrs[128];
};

static struct rtattr *add_attr(struct request *r, unsigned short type, const void *p, size_t n)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), p, n);
	r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static int ask(int fd, const struct request *r, const char *what, struct err *err)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer = { 0 };

	if (send(fd, r, r->head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		return err_sys(err, "netlink");
	if (answer.head.nlmsg_type == NLMSG_ERROR && answer.error.error)
		return err_set(err, -answer.error.error, "%s", what);
	return 0;
}

/* A bridge, since that module is there. */
static int link_make(int fd, const char *name, struct err *err)
{
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = RTM_NEWLINK,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
						      NLM_F_EXCL } };
	auto_free char *what = mem_fmt("interface %s", name);
	struct rtattr *info;

	if (strlen(name) >= IFNAMSIZ)
		return err_set(err, EINVAL, "interface %.40s", name);
	add_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	info = add_attr(&r, IFLA_LINKINFO, NULL, 0);
	add_attr(&r, IFLA_INFO_KIND, "bridge", strlen("bridge"));
	info->rta_len = (unsigned short)((char *)&r + r.head.nlmsg_len - (char *)info);
	return ask(fd, &r, what, err);
}

/*
 * The kernel takes what comes from an interface for ::1, as an answer is again once its translation
 * has been undone, when that interface has the address. lo's own route stays first; what comes
 * for ::1 from without is dropped before anybody translates.
 */
int network_route_loopback(const char *bridge, struct err *err)
{
	enum { AFTER = 1024 };
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
				       .nlmsg_type = RTM_NEWROUTE,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
						      NLM_F_EXCL },
			     .route = { .rtm_family = AF_INET6,
					.rtm_dst_len = 128,
					.rtm_table = RT_TABLE_LOCAL,
					.rtm_protocol = RTPROT_STATIC,
					.rtm_type = RTN_LOCAL } };
	auto_free char *what = mem_fmt("route of ::1 to %s", bridge);
	unsigned index = if_nametoindex(bridge), metric = AFTER;
	int rc;

	if (fd < 0)
		return err_sys(err, "netlink socket");
	add_attr(&r, RTA_DST, &in6addr_loopback, sizeof(in6addr_loopback));
	add_attr(&r, RTA_OIF, &index, sizeof(index));
	add_attr(&r, RTA_PRIORITY, &metric, sizeof(metric));
	rc = ask(fd, &r, what, err);
	if (rc == -EEXIST)
		err_clear(err);
	return rc == -EEXIST ? 0 : rc;
}

int network_links_make(int ns_fd, const struct strv *names, struct err *err)
{
	auto_fd int fd = network_socket_in(ns_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	int rc = 0;

	if (fd < 0)
		return err_sys(err, "netlink socket");
	for (size_t i = 0; i < names->n && rc >= 0; i++)
		rc = link_make(fd, names->v[i], err);
	return rc;
}

/* --- what links there are
 * ------------------------------------------------------------------------------------------------
 */

struct links {
	struct link {
		int index;
		unsigned master;
		char name[IFNAMSIZ];
	} * v;
	size_t n, cap;
};

static void links_free(struct links *l)
{
	free(l->v);
}

static void add_link(struct links *l, struct nlmsghdr *h)
{
	struct ifinfomsg *info = NLMSG_DATA(h);
	int len = (int)IFLA_PAYLOAD(h);
	struct link *to;

	mem_room(l->v, l->n, l->cap);
	to = &l->v[l->n++];
	*to = (struct link){ .index = info->ifi_index };
	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_MASTER)
			memcpy(&to->master, RTA_DATA(a), sizeof(to->master));
		if (a->rta_type == IFLA_IFNAME)
			snprintf(to->name, sizeof(to->name), "%s", (const char *)RTA_DATA(a));
	}
}

/* Of the socket's namespace; as far as they can be read. */
static void links_read(int fd, struct links *ret)
{
	enum { BUFFER = 32 << 10 };
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = RTM_GETLINK,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	auto_free char *buf = mem_alloc(BUFFER);
	bool more = fd >= 0 && send(fd, &r, r.head.nlmsg_len, 0) >= 0;

	while (more) {
		ssize_t n = recv(fd, buf, BUFFER, 0);
		struct nlmsghdr *h = (void *)buf;

		more = n > 0;
		for (; more && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			more = h->nlmsg_type == RTM_NEWLINK;
			if (more)
				add_link(ret, h);
		}
	}
}

int network_bridge_ports(const char *bridge)
{
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	cleanup(links_free) struct links l = { 0 };
	unsigned master = if_nametoindex(bridge);
	int found = 0;

	if (master)
		links_read(fd, &l);
	for (size_t i = 0; i < l.n; i++)
		found += l.v[i].master == master;
	return found;
}

static void link_remove(int fd, int index)
{
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = RTM_DELLINK,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
			     .link = { .ifi_index = index } };
	char answer[512];

	/* Some cannot be: the kernel's own of tunnels. */
	if (send(fd, &r, r.head.nlmsg_len, 0) >= 0 && recv(fd, answer, sizeof(answer), 0) < 0)
		return;
}

static bool is_there(const struct links *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i].name, name))
			return true;
	return false;
}

void network_links_restore(int ns_fd, const struct strv *names)
{
	auto_fd int fd = network_socket_in(ns_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	cleanup(links_free) struct links l = { 0 };
	struct err ignored = { 0 };
	bool whole = true;

	links_read(fd, &l);
	for (size_t i = 0; i < names->n; i++)
		whole &= is_there(&l, names->v[i]);
	for (size_t i = 0; i < l.n && !whole; i++)
		if (!str_eq(l.v[i].name, "lo") && !strv_has(names, l.v[i].name))
			link_remove(fd, l.v[i].index);
	for (size_t i = 0; i < names->n && fd >= 0; i++)
		if (!is_there(&l, names->v[i]))
			link_make(fd, names->v[i], &ignored);
}

void network_links_drop(int ns_fd, const struct strv *names)
{
	auto_fd int fd = network_socket_in(ns_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	cleanup(links_free) struct links l = { 0 };

	links_read(fd, &l);
	for (size_t i = 0; i < l.n; i++)
		if (strv_has(names, l.v[i].name))
			link_remove(fd, l.v[i].index);
}
