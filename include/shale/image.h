/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: references, configs, and the rows that say which snapshots make an image.
 *
 * Image ID = SHA-256 of the config's bytes (OCI image-spec config.md). An image is a row that
 * points to its topmost snapshot; the chain of snapshots is its layers. Functions marked [hash]
 * need libcrypto and live in files that the small program does not link.
 */
#ifndef SHALE_IMAGE_H
#define SHALE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/runtime.h>

/* --- references
 * ------------------------------------------------------------------------------------------- */

/* "node" -> docker.io/library/node:latest, as Docker normalises (distribution/reference). -EINVAL.
 * Caller owns *ret. */
int image_ref_normalize(const char *text, char **ret, struct err *err);
/* The familiar form: "node:latest". Caller owns it. */
char *image_ref_familiar(const char *normalized);
/* The parts of the familiar form: "node", "latest". Caller owns both. */
void image_ref_split(const char *normalized, char **ret_repo, char **ret_tag);

/* --- configs: the draft that a build changes and the JSON that is stored
 * --------------------------------------- */

struct image_health {
	bool set;         /* HEALTHCHECK was given (also NONE) */
	struct strv test; /* "NONE", or "CMD-SHELL", … */
	int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
	int64_t retries;
};

struct image_history {
	int64_t created_s;
	char *created_by, *comment, *author;
	bool empty_layer;
	char *step_id; /* id of the build step, where built here; NULL else. Not part of the config.
			*/
};

struct image_config {
	char *architecture, *os, *variant, *author;
	int64_t created_s;
	struct strv env, entrypoint, cmd, volumes, exposed, onbuild, shell;
	bool cmd_set, entrypoint_set; /* [] differs from none */
	struct strv labels;           /* "k=v" */
	char *user, *workdir, *stop_signal;
	struct image_health health;
	struct strv diff_ids; /* "sha256:…", bottom first */
	struct image_history *history;
	size_t n_history, cap_history;
};

struct image_config *image_config_new(void); /* this machine's architecture, linux */
struct image_config *image_config_copy(const struct image_config *c);
void image_config_free(struct image_config *c);
void image_config_cleanup(struct image_config **c);
#define auto_image_config cleanup(image_config_cleanup)
struct image_history *image_config_add_history(struct image_config *c, int64_t created_s,
					       const char *created_by, bool empty_layer);
/* OCI image config JSON, deterministic (fixed key order). Caller owns. */
char *image_config_text(const struct image_config *c);
/* Unknown fields are ignored; limits apply. -EINVAL. */
int image_config_parse(const char *text, size_t len, struct image_config **ret, struct err *err);

/* --- images
 * -------------------------------------------------------------------------------------------------
 */

struct image {
	char id[DIGEST_STR_MAX]; /* "sha256:…" */
	int64_t snapshot;        /* topmost, 0 for an image without layers */
	uint64_t size_bytes;     /* content of all layers */
	int64_t created_s;
	char *history; /* JSON array of step ids, one per history row ("" where unknown), or NULL */
	char *config;  /* text as stored */
};
void image_free(struct image *img);
void image_cleanup(struct image **img);
#define auto_image cleanup(image_cleanup)

/* A name, a name with tag, an id or a unique prefix of one ("sha256:" optional), or a step's id
 * (resolved to the draft image of that step: then id is "" and config and snapshot are the step's).
 * -ENOENT, -EINVAL (ambiguous). ret->config is loaded. */
int image_find(struct runtime *rt, const char *name, struct image **ret, struct err *err);
/* Its config as a draft, the history rows with the step ids that the image's row has. */
int image_config_of(const struct image *img, struct image_config **ret, struct err *err);
/* Exactly an image row. */
int image_get(struct runtime *rt, const char *id, struct image **ret, struct err *err);
typedef int image_fn(const struct image *img, void *arg, struct err *err);    /* config is NULL */
int image_walk(struct runtime *rt, image_fn *fn, void *arg, struct err *err); /* newest first */

/* Tags: name normalised. set is one transaction. */
int image_tag(struct runtime *rt, const char *id, const char *normalized, struct err *err);
/* Normalised names of an image, sorted. */
int image_tags(struct runtime *rt, const char *id, struct strv *ret, struct err *err);

/* What a removal did or why it did not: lines for the user. */
struct image_removal {
	struct strv untagged; /* familiar names */
	struct strv deleted;  /* "sha256:…" image id first, then layers' DiffIDs, topmost first */
	uint64_t freed_bytes; /* disk */
	uint64_t kept_bytes;  /* disk of layers that stay as build cache */
	size_t kept_layers;
};
void image_removal_free(struct image_removal *r);
#define auto_image_removal cleanup(image_removal_free)
/*
 * docker rmi: a name untags, and removes the image with its last tag; an id removes with all its
 * tags (force when several). -EBUSY names the container that uses it: such an image is never
 * deleted. With force its last name is taken away and it stays dangling; by id force does not help.
 * Layers that build steps refer to stay as cache (kept_*).
 */
int image_remove(struct runtime *rt, const char *name, bool force, struct image_removal *ret,
		 struct err *err);
/* Untagged images that no container uses; all: also tagged unused ones. */
int image_prune(struct runtime *rt, bool all, struct image_removal *ret, struct err *err);
/* builder prune: step records that no image or container rests on go, and the snapshots that
 * nothing needs then. deleted: the steps' ids, then DiffIDs. -EBUSY while a lease is held. */
int image_prune_cache(struct runtime *rt, struct image_removal *ret, struct err *err);

/*
 * Held (an fd, closed to let go) by whoever makes snapshots that no row refers to yet, as a build
 * does from its first step to image_write: image_prune_cache is -EBUSY meanwhile. Shared; waits for
 * a running prune.
 */
int image_lease(struct runtime *rt, struct err *err);

/* Layer rows of a snapshot chain, bottom first. diff_id may be "" while it is not hashed yet. */
struct image_layer {
	int64_t snapshot;
	char diff_id[DIGEST_STR_MAX], chain_id[DIGEST_STR_MAX];
	uint64_t size_bytes, tar_bytes;
};
int image_layers(struct runtime *rt, int64_t snapshot, struct image_layer **ret, size_t *ret_n,
		 struct err *err);

/* --- heavy: [hash]
 * -------------------------------------------------------------------------------------------------
 */

/* Computes what is missing of DiffID, ChainID, size and file table of one committed snapshot and
 * stores the row. */
int image_layer_hash(struct runtime *rt, int64_t snapshot, struct err *err);
struct layer_info;
/* The same from a result that a worker has computed. parent's ChainID must be known. */
int image_layer_store(struct runtime *rt, int64_t snapshot, const struct layer_info *info,
		      struct err *err);
/* The committed snapshot with this ChainID, or 0. */
int64_t image_layer_find(struct runtime *rt, const struct digest *chain);

/* Config (its diff_ids are filled from the snapshot's layers, which are hashed where needed) ->
 * blob, image row; and tags, in one transaction. step ids come from the history rows. *ret_id is
 * "sha256:…". */
int image_write(struct runtime *rt, struct image_config *c, int64_t snapshot,
		const struct strv *tags, char ret_id[DIGEST_STR_MAX], struct err *err);

struct image_import_opts {
	const char *message;
	struct image_config
		*config; /* made by the caller (--change applied); history row is added here */
	const char *tag; /* normalised or NULL */
};
/* docker import: a root file system tar from fd becomes an image of one layer. */
int image_import(struct runtime *rt, int tar_fd, const struct image_import_opts *o,
		 char ret_id[DIGEST_STR_MAX], struct err *err);

enum image_format { IMAGE_DOCKER_ARCHIVE, IMAGE_OCI_ARCHIVE, IMAGE_OCI_DIR };
/*
 * Archives to out_fd (a file or pipe), or an OCI layout into the directory out_fd, whose owner gets
 * the files. names as given by the user: a repository without tag means all of its tags. Layers are
 * uncompressed, but those loaded from elsewhere, whose bytes are given back as they came. -EBADMSG
 * when a layer is not what it was.
 */
int image_save(struct runtime *rt, enum image_format fmt, const struct strv *names, int out_fd,
	       struct err *err);
/*
 * docker-archive and oci-archive from in_fd (tar, compressed or not), or in_fd is a directory with
 * what these hold. Lines "Loaded image: …" are added to ret_lines. The config is kept byte for
 * byte, so the id stays. -EBADMSG for content of another digest; nothing of that image stays then.
 */
int image_load(struct runtime *rt, int in_fd, struct strv *ret_lines, struct err *err);

#endif
