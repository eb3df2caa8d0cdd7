/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from elsewhere: files from web servers (by shale-transfer) and git repositories (by
 * git, as nobody, in a directory of its own). First one looks what it is, which costs little and
 * gives the key; then, on a miss, it is fetched. No credential is kept: not in keys, records, logs
 * or a .git that stays (TRAPS T25).
 */
#ifndef SHALE_BUILD_REMOTE_H
#define SHALE_BUILD_REMOTE_H

#include <shale/base/scratch.h>

#include "priv.h"

/* --- source_url.c --- */
struct source_url {
	bool is_git, is_ssh;
	char *url;                     /* without user information; of git: what git is given */
	char *user, *password;         /* decoded, or NULL */
	char *ref, *subdir, *checksum; /* git: asked for, or NULL */
	int keep_git;                  /* -1: not said */
	bool no_submodules;
};
void source_url_free(struct source_url *u);
/* 1, or 0 for what is no URL. -EINVAL. */
int source_url_parse(const char *text, struct source_url *ret, struct err *err);
/* text without the user information of the URLs in it. The caller owns it. */
char *source_url_scrub(const char *text);
/* The last part of its path, decoded; "__unnamed__" without one. The caller owns it. */
char *source_url_file(const char *url);

/* --- remote.c, git.c --- */
struct remote {
	struct source_url u;
	char *checksum; /* asked for: "sha256:…" or the beginning of a commit; NULL */
	bool keep_git;
	char id[DIGEST_STR_MAX + 8]; /* "sha256:…", or the commit */
	struct context_file file;    /* of a URL: what is in the tree, once it is fetched */
	char *name;                  /* of a URL: as the path has it */
	struct scratch dir;
	struct context *tree; /* NULL: not fetched yet */
};
struct remote *remote_new(struct source_url *take_u);
void remote_free(struct remote *r);
int remote_look(struct build *b, struct remote *r, struct err *err);
int remote_fetch(struct build *b, struct remote *r, struct err *err);
/* Both at once, for what is wanted in any case. */
int remote_take(struct build *b, struct remote *r, struct err *err);

int git_look(struct build *b, struct remote *r, struct err *err);
/* *ret_fd: the directory that is meant (subdir). */
int git_fetch(struct build *b, struct remote *r, int *ret_fd, struct err *err);

#endif
