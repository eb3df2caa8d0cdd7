/* SPDX-License-Identifier: Apache-2.0 */
/* aardvark-dns reads anew who is there some time after it was told, and hears nothing meanwhile:
 * who has just come asks for himself until he is known. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { WAIT_MS = 2000, ANSWER_MS = 100, PAUSE_MS = 5, DNS_PORT = 53, PACKET_MAX = 512 };

/* RFC 1035, 4: an A question for a name of one label, recursion wished. */
static size_t question(const char *label, unsigned char buf[PACKET_MAX])
{
	static const unsigned char head[12] = { 0x5a, 0x1e, 1, 0, 0, 1 };
	static const unsigned char tail[4] = { 0, 1, 0, 1 };
	size_t n = strlen(label);

	memcpy(buf, head, sizeof(head));
	buf[12] = (unsigned char)n;
	memcpy(buf + 13, label, n + 1);
	memcpy(buf + 14 + n, tail, sizeof(tail));
	return 14 + n + sizeof(tail);
}

/* One packet there, one back that is an answer with an address in it. */
static bool is_known(int fd, const char *label)
{
	unsigned char buf[PACKET_MAX];
	size_t n = question(label, buf);

	if (send(fd, buf, n, MSG_NOSIGNAL) < 0 ||
	    poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, ANSWER_MS) <= 0)
		return false;
	return recv(fd, buf, sizeof(buf), MSG_DONTWAIT) >= 12 && (buf[6] || buf[7]);
}

void network_dns_wait(int ns_fd, const char *server, const char *label)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT) };
	auto_fd int fd = network_socket_in(ns_fd, AF_INET, SOCK_DGRAM, 0);
	int64_t end_ns = proc_mono_ns() + (int64_t)WAIT_MS * 1000000;

	if (fd < 0 || inet_pton(AF_INET, server, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return;
	while (!is_known(fd, label) && proc_mono_ns() < end_ns)
		poll(NULL, 0, PAUSE_MS);
}
