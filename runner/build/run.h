/* SPDX-License-Identifier: Apache-2.0 */
/* What a RUN needs: the process (run.c), its mounts and the stubs they leave (run_mounts.c). */
#ifndef SHALE_BUILD_RUN_H
#define SHALE_BUILD_RUN_H

#include <shale/sandbox.h>

#include "priv.h"

#define RUN_SCRIPT_DIR "/dev/pipes"

struct run {
	struct build *b;
	const struct image_config *config;
	struct strv argv, env, visible;
	struct strv targets; /* where mounts go inside */
	struct sandbox_mount *mounts;
	size_t n_mounts, cap_mounts;
	enum sandbox_net net;
	const char *net_name, *cache_dir;
	char *script;      /* of a heredoc with a shebang, or NULL */
	char *script_name; /* its file beneath the store while the step runs */
};
int run_mounts(struct run *r, const struct df_inst *i, struct err *err);
void run_free(struct run *r);

/*
 * Mount points that the image does not have are made in the upper; they are no part of the layer.
 * Noted before, they are removed after the step if they are still empty and the same kind (TRAPS
 * T22).
 */
struct run_stub {
	char *path, *parent;
	struct timespec parent_mtime;
};
struct run_stubs {
	struct run_stub *v;
	size_t n, cap;
};
void run_stubs_note(struct run_stubs *s, int root_fd, const struct strv *targets);
int run_stubs_remove(struct run_stubs *s, struct snap *snap, int64_t snapshot, int root_fd,
		     struct err *err);
void run_stubs_free(struct run_stubs *s);

#endif
