/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool: programs of the host that meet what is foreign (git, ssh-agent, ssh-add). They run as
 * nobody of a user namespace, who is a user of the host's that nothing else runs as: whatever is
 * nobody there neither reads their environment nor stops them, and getpwuid has a name for them.
 * (Without user namespaces they are the host's nobody.) In mount and pid namespaces of their own
 * the one directory they may write to stands at /tmp; they have the environment they are given and
 * no other, and end with this process.
 */
#ifndef SHALE_BUILD_TOOL_H
#define SHALE_BUILD_TOOL_H

#include <shale/base/scratch.h>

#include "priv.h"

struct tool {
	struct build *b;
	int dir_fd; /* its /tmp */
	struct strv env;
	struct str out, said; /* standard output; standard error, its beginning */
};
#define auto_tool cleanup(tool_cleanup)
void tool_cleanup(struct tool *t); /* wipes what the environment held */

/* "ssh": whether the host has it; else -ENOENT, which names the package. */
int tool_check(const char *name, const char *package, struct err *err);
/* A directory that it may write to; one that is open stays. */
int tool_dir(struct build *b, struct scratch *s, struct err *err);
/* After it: whose its directory is, and its group's id. */
uint32_t tool_uid(const struct build *b);
/* What every tool has, whoever calls us. */
void tool_env(struct tool *t);

/* args: the program's name, its arguments. in_fd: its standard input, or -1. The exit code. */
int tool_run(struct tool *t, struct strv *args, int in_fd, struct err *err);
/* It goes on until it is stopped. */
int tool_start(struct tool *t, struct strv *args, pid_t *ret, struct err *err);
void tool_stop(pid_t pid);
/* What it said of its failure, made fit for a terminal, behind what it was doing. */
int tool_failed(struct tool *t, const char *what, int code, struct err *err);

#endif
