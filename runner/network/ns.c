/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces: made, and reached into. */
#include <shale/network.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
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
	struct ifinfomsg link;
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

/* A bridge, since that module is there. */
static int link_make(int fd, const char *name, struct err *err)
{
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = RTM_NEWLINK,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
						      NLM_F_EXCL } };
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer = { 0 };
	struct rtattr *info;

	if (strlen(name) >= IFNAMSIZ)
		return err_set(err, EINVAL, "interface %.40s", name);
	add_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	info = add_attr(&r, IFLA_LINKINFO, NULL, 0);
	add_attr(&r, IFLA_INFO_KIND, "bridge", strlen("bridge"));
	info->rta_len = (unsigned short)((char *)&r + r.head.nlmsg_len - (char *)info);
	if (send(fd, &r, r.head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		return err_sys(err, "netlink");
	if (answer.head.nlmsg_type == NLMSG_ERROR && answer.error.error)
		return err_set(err, -answer.error.error, "interface %s", name);
	return 0;
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

/* Those of one message of a dump; -1: it was the last. */
static int count_in(const char *buf, ssize_t n, unsigned master)
{
	int found = 0;

	for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct ifinfomsg *link = NLMSG_DATA(h);
		int len = (int)IFLA_PAYLOAD(h);
		unsigned of;

		if (h->nlmsg_type != RTM_NEWLINK)
			return -1;
		for (const struct rtattr *a = IFLA_RTA(link); RTA_OK(a, len);
		     a = RTA_NEXT(a, len)) {
			if (a->rta_type != IFLA_MASTER)
				continue;
			memcpy(&of, RTA_DATA(a), sizeof(of));
			found += of == master;
		}
	}
	return found;
}

int network_bridge_ports(const char *bridge)
{
	enum { BUFFER = 32 << 10 };
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct request r = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = RTM_GETLINK,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	auto_free char *buf = mem_alloc(BUFFER);
	unsigned master = if_nametoindex(bridge);
	int found = 0, more = 0;

	if (!master || fd < 0 || send(fd, &r, r.head.nlmsg_len, 0) < 0)
		return 0;
	while (more >= 0) {
		ssize_t n = recv(fd, buf, BUFFER, 0);

		more = n <= 0 ? -1 : count_in(buf, n, master);
		found += more > 0 ? more : 0;
	}
	return found;
}
