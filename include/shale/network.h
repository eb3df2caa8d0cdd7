/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network: bridges between containers and to the host, made by netavark and aardvark-dns.
 *
 * A network is a row: a name, a bridge's name and a subnet of IPv4. Who is in it is state of this
 * boot, and of the host, not of one store: /run/shale/networks/<id> has for each user (a container)
 * what netavark was given, and so the addresses and ports that are taken. That file is there before
 * netavark begins and goes after it has taken all back; one whose keeper (a process) is gone is
 * taken back by whoever looks next. All of it under one flock, which nothing else waits in.
 *
 * netavark runs as root outside of any root file system. One thread, the main one.
 */
#ifndef SHALE_NETWORK_H
#define SHALE_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/runtime.h>

/* The network that is there without having been made: at its first use. */
#define NETWORK_DEFAULT "bridge"

/* What ids of users begin with that are builds: such have no row. */
#define NETWORK_BUILD "build-"

enum { NETWORK_ID_LEN = 64, NETWORK_ADDRESS_MAX = 46, NETWORK_SUBNET_MAX = 50 };

struct network {
	char id[NETWORK_ID_LEN + 1];
	char *name;
	char bridge[16];                   /* the host's interface */
	char subnet[NETWORK_SUBNET_MAX];   /* "10.90.0.0/24" */
	char gateway[NETWORK_ADDRESS_MAX]; /* also where names are asked for */
	char subnet6[NETWORK_SUBNET_MAX];  /* the same of IPv6; "": it has none */
	char gateway6[NETWORK_ADDRESS_MAX];
	bool is_internal; /* no way out */
	bool has_dns;
	uint32_t mtu; /* 0: the kernel's */
	struct strv labels;
	int64_t created_ns;
};
void network_free(struct network *n);
void network_cleanup(struct network **n);
#define auto_network cleanup(network_cleanup)

struct network_new {
	const char *name;
	/* At most one of IPv4 and one of IPv6 each; what is not there is one that is free, and its
	 * first address. Or NULL. */
	const struct strv *subnets, *gateways;
	bool has_v6; /* also without a subnet of it */
	bool is_internal, no_dns;
	uint32_t mtu;
	const struct strv *labels; /* "k=v", or NULL */
};
/* -EEXIST, -EINVAL; -EADDRINUSE: another network or a route of the host has such addresses. */
int network_create(const struct runtime *rt, const struct network_new *n, struct network **ret,
		   struct err *err);
/* By name, id or unique prefix of one. -ENOENT, -EINVAL (several). */
int network_find(const struct runtime *rt, const char *name, struct network **ret, struct err *err);
typedef int network_fn(const struct network *n, void *arg, struct err *err);
int network_walk(const struct runtime *rt, network_fn *fn, void *arg,
		 struct err *err); /* by name */
/* -EBUSY: somebody is in it; -EPERM: the default one. */
int network_remove(const struct runtime *rt, const struct network *n, struct err *err);
/* All once more in the file networks, beside the database: for whoever has lost that. create and
 * remove do it; not there in a store of an earlier release until its first gc. */
int network_note_all(const struct runtime *rt, struct err *err);
/* Rows of what that file has, in a new database. */
int network_recover(const struct runtime *rt, size_t *ret_n, struct err *err);

/* "NAME" or "name=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC,alias=NAME…": the place of a
 * container in a network. Pure. */
struct network_join {
	char *network, *ip, *ip6, *mac;
	struct strv aliases;
};
void network_join_free(struct network_join *j);
#define auto_network_join cleanup(network_join_free)
int network_join_parse(const char *text, struct network_join *ret, struct err *err);
char *network_join_text(const struct network_join *j);
bool network_name_valid(const char *name);

/* "[ADDRESS:][[PORT[-PORT]]:]PORT[-PORT][/tcp|udp|sctp]", an address of IPv6 in brackets. host 0:
 * any that is free; n 1 and n_host more: any free one of these. Pure. */
struct network_port {
	char address[NETWORK_ADDRESS_MAX]; /* "": all */
	uint16_t host, n_host, port, n;
	char protocol[5];
	bool is_v6; /* the address is one of IPv6, also all of them */
};
int network_port_parse(const char *text, struct network_port *ret, struct err *err);

struct network_use {
	const char *id, *name;    /* of the container */
	const struct strv *joins; /* in the order of its interfaces, eth0 first */
	const struct network_port *ports;
	size_t n_ports;
	const struct strv *dns;      /* servers for other names than containers', or NULL */
	const struct ids_range *ids; /* whose users have rights in it; NULL, none: the host's */
};
/* Sockets that keep programs of the host from the ports; closed when the network has gone. */
struct network_held {
	int *v;
	size_t n, cap;
};
void network_held_close(struct network_held *h);
#define auto_network_held cleanup(network_held_close)
/* A network namespace with an interface in each network; until network_teardown, which this process
 * is to call. ret_held may be NULL without ports. -ENOENT (network, or netavark), -EADDRINUSE
 * (address or port), -EINVAL. */
int network_setup(const struct runtime *rt, const struct network_use *u,
		  struct network_held *ret_held, int *ret_ns_fd, struct err *err);
/* Nobody there is fine. ns_fd -1: the namespace is gone. */
int network_teardown(const char *id, int ns_fd, struct err *err);
/* The same by a process of its own, which nobody waits for but who needs the lock. */
int network_leave(const char *id, int ns_fd, struct err *err);
/* What that process does. */
int network_left(const char *id, int ns_fd, int lock_fd, struct err *err);
/* For a user that runs: one network more or less. -EEXIST, -ENOENT. */
int network_connect(const struct runtime *rt, const char *id, const char *join, int ns_fd,
		    struct err *err);
int network_disconnect(const struct runtime *rt, const char *id, const char *network, int ns_fd,
		       struct err *err);

/* What is known of a user that has a network now: {"joins":[{"network","id","ip","prefix",
 * "ip6","prefix6","gateway","gateway6","mac","interface","dns","aliases"}],"ports":[{"host_ip",
 * "host_port","container_port","range","protocol"}]}. NULL: it has none. Caller owns it. */
json_t *network_state(const char *id);
/* "0.0.0.0:80", "[::1]:80": of a row of its ports, the i-th of a range. Caller owns it. */
char *network_port_text(const json_t *port, int i);
/* Names, for another network namespace than the host's (is_host: for that one). own: the servers of
 * its networks, which ask the others themselves; servers: instead of the host's; all may be NULL.
 */
struct network_resolv {
	bool is_host;
	const struct strv *own, *servers, *search, *options;
};
void network_resolv_text(const struct network_resolv *r, struct str *to);
void network_hosts_text(struct str *to);
/* Lines of --add-host, whose address may be the word: then the gateway's; NULL: there is none. */
#define NETWORK_HOST_GATEWAY "host-gateway"
void network_hosts_add(struct str *to, const char *lines, const char *gateway);
/* A file of the host's, as far as it can be read. */
void network_host_file(const char *path, struct str *to);

/* What there cannot be networks for: NULL, or the whole sentence. */
const char *network_missing(void);
/* Takes back what lost builds had. For every command: a look into a directory, as a rule. */
void network_tidy(void);

#endif
