/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of network share: numbers of addresses, the state of this boot, netavark. */
#ifndef SHALE_NETWORK_PRIV_H
#define SHALE_NETWORK_PRIV_H

#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/network.h>

/* --- addresses (address.c): pure
 * ------------------------------------------------------------------------------------------------
 */

struct network_address {
	bool v6;
	unsigned __int128 n; /* as a number: the first byte is the highest */
};
int network_address_parse(const char *text, struct network_address *ret);
void network_address_text(const struct network_address *a, char buf[NETWORK_ADDRESS_MAX]);
bool network_is_v6(const char *text); /* of an address or a subnet */

struct network_range {
	struct network_address base;
	unsigned bits;
};
/* The base's lower bits are 0. -EINVAL. */
int network_range_parse(const char *text, struct network_range *ret);
void network_range_text(const struct network_range *r, char buf[NETWORK_SUBNET_MAX]);
struct network_address network_range_last(const struct network_range *r);
bool network_range_has(const struct network_range *r, const struct network_address *a);
bool network_range_overlaps(const struct network_range *a, const struct network_range *b);
/* Can a host have it? Not the range's own address, nor the one that all hear (IPv4). */
bool network_range_gives(const struct network_range *r, const struct network_address *a);
bool network_mac_valid(const char *mac);

/* --- the state of this boot (live.c)
 * -------------------------------------------------------------------------------------- */

struct network_live {
	int dir_fd, lock_fd;
	json_t *users; /* {id: what its file has} */
};
#define NETWORK_LIVE_INIT                                                                          \
	{                                                                                          \
		-1, -1, NULL                                                                       \
	}
void network_live_close(struct network_live *l);
#define auto_network_live cleanup(network_live_close)
/* Locked; what lost keepers left has been taken back. */
int network_live_open(struct network_live *l, struct err *err);
/* Locked and nothing else. 0: there is no directory, so no user. */
int network_live_peek(struct network_live *l, struct err *err);
/* The same with the lock that somebody has left to us, which becomes l's. */
int network_live_inherit(struct network_live *l, int lock_fd, struct err *err);
int network_live_put(struct network_live *l, const char *id, const json_t *user, struct err *err);
void network_live_drop(struct network_live *l, const char *id);
/* Has somebody a place in the network of that id, or (id NULL) addresses of the range? */
bool network_live_uses(const struct network_live *l, const char *network_id,
		       const struct network_range *range);

/* --- ports (ports.c)
 * ------------------------------------------------------------------------------------------------
 */

/* Those of u, to config, and held. -EADDRINUSE, with who has it. */
int network_ports_add(const struct network_live *l, json_t *config, const struct network_use *u,
		      struct network_held *held, struct err *err);

/* After netavark: the host's own ::1 leads to those of all addresses, or of that one. */
int network_ports_route(const json_t *config, struct err *err);

/* --- netavark (netavark.c)
 * ----------------------------------------------------------------------------------------- */

/* verb "setup" or "teardown"; its answer, which the caller owns, may be NULL. -EINTR: a signal
 * ended it. */
int network_netavark(const char *verb, const json_t *config, int ns_fd, json_t **ret,
		     struct err *err);
/* A new network namespace, which nobody is in. */
int network_ns_make(struct err *err);
/* A socket of that namespace: a descriptor, or -1 and errno. */
int network_socket_in(int ns_fd, int family, int type, int protocol);
/* Its interface hears and says nothing of IPv6, not even to its link (TRAPS T35). */
void network_v6_off(int ns_fd, const char *interface);
/* What the host's ::1 sends to that bridge is answered; the route goes with the bridge. */
int network_route_loopback(const char *bridge, struct err *err);
/* Links of those names in it, of a kind that matters to nobody. -EEXIST when one is there. */
int network_links_make(int ns_fd, const struct strv *names, struct err *err);
void network_links_drop(int ns_fd, const struct strv *names);
/* Before it goes: a container may have renamed or removed its interfaces, and netavark 1.4 leaves
 * bridge and rules when it does not find one. Those names are there afterwards, and if one was
 * missing nothing else. */
void network_links_restore(int ns_fd, const struct strv *names);
/* How many interfaces that bridge has; 0 without one. */
int network_bridge_ports(const char *bridge);
/* What a user has, but for its file. ns_fd -1: its namespace is gone. */
int network_undo(const struct network_live *l, const char *id, int ns_fd, struct err *err);

/* Until the server knows the label, for some seconds at most: names are no reason not to start. */
void network_dns_wait(int ns_fd, const char *server, const char *label);

/* {"name":…,"subnets":[…]}: a network as netavark reads it. */
json_t *network_info_json(const struct network *n);

#endif
