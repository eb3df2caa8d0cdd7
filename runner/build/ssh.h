/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh: what steps and git get of --ssh. Nobody meets the agent itself: a relay passes on what uses
 * its keys and nothing else. Key files are in an ssh-agent of the build's own, and nowhere else.
 */
#ifndef SHALE_BUILD_SSH_H
#define SHALE_BUILD_SSH_H

#include "priv.h"

/* --- ssh_agent.c --- */
struct ssh_agent;
/* 1 and where the agent of that --ssh listens, as long as the build lives; 0: it was not given. */
int ssh_agent_find(struct build *b, const char *id, const char **ret_path, struct err *err);
void ssh_agent_free(struct ssh_agent *a);

/* --- ssh_relay.c: a socket, and a thread a connection between it and the agent --- */
struct ssh_relay;
struct ssh_relay_at {
	int dir_fd;       /* outlives the relay */
	const char *name; /* beneath it */
	uint32_t uid, gid, mode;
};
/* agent outlives the relay. */
int ssh_relay_open(const char *agent, const struct ssh_relay_at *at, struct ssh_relay **ret,
		   struct err *err);
void ssh_relay_free(struct ssh_relay *s);

#endif
