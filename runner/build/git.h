/* SPDX-License-Identifier: Apache-2.0 */
/* git, shared by git.c and git_ssh.c. */
#ifndef SHALE_BUILD_GIT_H
#define SHALE_BUILD_GIT_H

#include "remote.h"
#include "ssh.h"
#include "tool.h"

struct git {
	struct tool t;
	const struct remote *r;
	struct ssh_relay *relay; /* of a repository by ssh */
};
/* What ssh needs besides: the keys of --ssh default, by a relay, and the host keys that count. */
int git_ssh_begin(struct git *g, struct err *err);
/* Why name failed, where ssh is the reason in words that say what to do. */
int git_ssh_failed(struct git *g, const char *name, int code, struct err *err);

#endif
