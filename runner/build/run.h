/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a RUN needs: the process (run.c), its mounts (run_mounts.c), where those of --mount come
 * from (run_source.c, run_cache.c, run_secret.c, run_ssh.c), the stubs they leave (run_stubs.c),
 * and what stays of them when it fails (run_kept.c).
 */
#ifndef SHALE_BUILD_RUN_H
#define SHALE_BUILD_RUN_H

#include <shale/base/scratch.h>
#include <shale/sandbox.h>
#include <shale/store.h>

#include "mount.h"
#include "priv.h"

#define RUN_SCRIPT_DIR "/dev/pipes"

/* One --mount. What stands above the line is known before the step is looked up; what is below is
 * there while it runs. */
struct run_source {
	struct run_mount m;
	struct build_tree tree; /* with from */
	bool of_context;        /* of a build context: */
	struct copy_job copy;   /* what of it, */
	struct digest seen;     /* and what is in it */
	/* --- */
	int64_t snapshot; /* made for this step, dropped after it; 0: none */
	struct snap_mount mount;
	int fd; /* what is bound; -1 */
	struct cache_held held;
	char *content; /* of a secret */
	size_t content_len;
	struct ssh_relay *relay;
};

struct run {
	struct build *b;
	struct stage_state *st;
	const struct image_config *config;
	const char *text; /* for those who wait for a cache mount of ours */
	struct strv argv, env, visible;
	struct strv targets; /* where mounts go inside */
	struct sandbox_mount *mounts;
	size_t n_mounts, cap_mounts;
	struct run_source *sources;
	size_t n_sources;
	struct strv secret_env; /* "k=v": for the step alone, in no key */
	enum sandbox_net net;
	const char *net_name, *cache_dir;
	bool insecure;
	struct strv devices;        /* paths inside */
	struct strv device_sources; /* of the host's, one for each */
	/* Of CDI: what was asked for as its files say it; what of it is environment and binds. */
	struct strv cdi, cdi_env, cdi_volumes;
	char cgroup[256];
	/* Contents of these in /etc, or NULL; and which of mounts they are, in a bridge network. */
	char *hosts, *resolv;
	size_t hosts_mount, resolv_mount;
	char *script; /* of a heredoc with a shebang, or NULL */
	struct run_kept {
		struct strv mounts, missing; /* of build_failure */
		struct build_places places;
	} kept;
	struct scratch own; /* a script and sockets that are bound into the box: run_own_dir */
};
int run_own_dir(struct run *r, struct err *err); /* its fd */
/* run_net.c: which network a step has, and what of that is there when it runs. */
void run_net_choose(struct run *r, const struct df_inst *i);
int run_net_open(struct run *r, struct err *err);
/* resume.c: what stays of one whose program failed. */
void run_failed(struct run *r, const struct step_run *s, struct build_failure *ret);
/* Before the sources close: their mounts, for who enters the place. What an earlier attempt had
 * kept goes. */
void run_keep(struct run *r);
void run_kept_drop(struct run *r);
void run_cdi_env(const struct run *r, struct strv *env);
const char *run_host_name(const struct run *r);
int run_mounts(struct run *r, const struct df_inst *i, struct err *err);
/* --security and --device of the instruction, and what the command line gives to every step. */
int run_rights(struct run *r, const struct df_inst *i, struct err *err);
/* A device of the host's. Missing is fine unless required. */
int run_device_add(struct run *r, const char *source, const char *target, bool required,
		   struct err *err);
/* cdi.c */
int cdi_add(struct run *r, const char *name, bool required, struct err *err);
void run_rights_key(const struct run *r, struct key *key);
void run_rights_spec(struct run *r, struct sandbox_spec *spec);
void run_free(struct run *r);
/* The next of r->mounts; target is copied, and pointed to by run_mounts_point. */
struct sandbox_mount *run_mount_add(struct run *r, const char *target);
void run_mounts_point(struct run *r);
/* text stays the caller's. */
void run_mount_fill(struct run *r, size_t mount, const char *text);

/* Those of the instruction's --mount, and what of them stands in the key. */
int run_sources(struct run *r, const struct df_inst *i, struct err *err);
void run_sources_free(struct run *r);
/* by_content: trees by what is in them rather than by what they are called; *ret_differs when that
 * says something else. */
int run_sources_key(struct run *r, bool by_content, struct strv *ret, bool *ret_differs,
		    struct err *err);
/* For the time of the step. close takes back all that open did. */
int run_sources_open(struct run *r, struct err *err);
void run_sources_close(struct run *r);

/* A cache mount; waits for who has it locked. have: the step holds it already. */
int cache_source_open(struct run *r, struct run_source *s, const struct cache_held *have,
		      struct err *err);
/* The tree of s->tree as it is, at ret. */
int source_tree_mount(struct run *r, struct run_source *s, struct snap_mount *ret, struct err *err);
/* Where in s->mount the source of a bind is. */
const char *source_path(const struct run_source *s);
/* What the store calls the cache mount, and what it was filled from (NULL: nothing). Owned by the
 * caller. */
char *cache_source_id(const struct run *r, const struct run_source *s);
char *cache_source_seed(const struct run_source *s);
/* A job that copies source of the tree (is_tree) or the context; from is set by the caller. */
void source_copy_job(const struct run_mount *m, struct copy_job *j);
/* 1 when the build was given it; 0 when it may be left out. */
int secret_source_open(struct run *r, struct run_source *s, struct err *err);

/* A socket in the step's box whose other end is an agent out here (ssh.h). */
int ssh_source_open(struct run *r, struct run_source *s, struct err *err);

/*
 * Mount points that the image does not have are made in the upper; they are no part of the layer.
 * They are known by their inodes, and removed after the step if they are still empty (TRAPS T22).
 */
struct run_stub {
	char *path, *parent;
	struct timespec parent_mtime;
	dev_t dev;
	ino_t ino;
};
struct run_stubs {
	struct run_stub *v;
	size_t n, cap;
};
int run_stubs_make(struct run_stubs *s, const struct run *r, int64_t snapshot, int root_fd,
		   struct err *err);
int run_stubs_remove(struct run_stubs *s, struct snap *snap, int64_t snapshot, int root_fd,
		     struct err *err);
void run_stubs_free(struct run_stubs *s);

#endif
