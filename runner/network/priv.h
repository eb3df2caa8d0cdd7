/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of network share: numbers of addresses, the state of this boot, netavark. */
#ifndef SHALE_NETWORK_PRIV_H
#define SHALE_NETWORK_PRIV_H

#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/network.h>

/* --- addresses (address.c): pure, in the host's byte order
 * ---------------------------------------------------------------- */

struct network_range {
	uint32_t base;
	unsigned bits;
};
int network_address_parse(const char *text, uint32_t *ret);
void network_address_text(uint32_t a, char buf[NETWORK_ADDRESS_MAX]);
/* The base's lower bits are 0. -EINVAL. */
int network_range_parse(const char *text, struct network_range *ret);
uint32_t network_range_last(const struct network_range *r);
bool network_range_has(const struct network_range *r, uint32_t a);
bool network_range_overlaps(const struct network_range *a, const struct network_range *b);
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
/* Links of those names in it, of a kind that matters to nobody. */
int network_links_make(int ns_fd, const struct strv *names, struct err *err);
/* What a user has, but for its file. */
int network_undo(const json_t *user, int ns_fd, struct err *err);

/* Until the server knows the label, for some seconds at most: names are no reason not to start. */
void network_dns_wait(int ns_fd, const char *server, const char *label);

/* {"name":…,"subnets":[…]}: a network as netavark reads it. */
json_t *network_info_json(const struct network *n);

#endif
