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
#include <shale/base/sink.h>
#include <shale/base/str.h>
#include <shale/layer.h>
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
/* "pkg:docker/node@latest?platform=linux%2Famd64", as BuildKit calls it; platform may be NULL.
 * Caller owns it. */
char *image_ref_purl(const char *normalized, const char *platform);

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
	char *cache; /* build records for --cache-from (JSON), or NULL. Never read from a config. */
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
/* RFC 3339, UTC; nothing for what is no year of four digits or so. */
void image_time_set(json_t *obj, const char *key, int64_t seconds);
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
/* "arm64", "linux/arm": what the rest of the world calls it, "linux/arm64", "linux/arm/v7". The
 * caller owns *ret. -EINVAL. */
int image_platform_text(const char *text, char **ret, struct err *err);
/* The image of that name for a platform: itself, or one of the index that it was pulled as, which
 * is unpacked then. -ENOENT. [hash] */
int image_find_platform(struct runtime *rt, const char *name, const char *platform,
			struct image **ret, struct err *err);
/* Any image; of layers that are not unpacked snapshot and chain_id are missing. */
struct image_layer;
struct image_member {
	struct image *img;
	struct image_layer *layers;
	size_t n;
	char named[DIGEST_STR_MAX]; /* the image whose name it was found by; "": itself */
};
void image_member_free(struct image_member *m);
/* The same image, which stays as it is. [hash] */
int image_look_platform(struct runtime *rt, const char *name, const char *platform,
			struct image_member *ret, struct err *err);
/* Those that a name stands for by the index that it was pulled as: none when there is no such
 * index. [hash] */
struct image_variant {
	const char *platform;    /* "linux/arm64/v8" */
	char id[DIGEST_STR_MAX]; /* "": its manifest is not here */
	uint64_t blob_bytes;     /* of its layers */
	const struct image *img; /* NULL: not unpacked */
};
typedef int image_variant_fn(const struct image_variant *v, void *arg, struct err *err);
int image_variants(struct runtime *rt, const char *normalized, const char *id, image_variant_fn *fn,
		   void *arg, struct err *err);
bool image_is_named(struct runtime *rt, const char *normalized);
/* Its config as a draft, the history rows with the step ids that the image's row has. */
int image_config_of(const struct image *img, struct image_config **ret, struct err *err);
/* Exactly an image row. */
int image_get(struct runtime *rt, const char *id, struct image **ret, struct err *err);
typedef int image_fn(const struct image *img, void *arg, struct err *err);    /* config is NULL */
int image_walk(struct runtime *rt, image_fn *fn, void *arg, struct err *err); /* newest first */

/* Tags: name normalised. set is one transaction. */
int image_tag(struct runtime *rt, const char *id, const char *normalized, struct err *err);
/* The same where the image was found by the name source: what that was pulled as, an index of
 * several platforms say, normalized stands for as well. */
int image_tag_again(struct runtime *rt, const char *source, const char *id, const char *normalized,
		    struct err *err);
/* The image stays, also without a name. */
int image_untag(struct runtime *rt, const char *normalized, struct err *err);
/* Normalised names of an image, sorted. */
int image_tags(struct runtime *rt, const char *id, struct strv *ret, struct err *err);
/* By what repositories it is known, sorted: "docker.io/library/node@sha256:…". */
int image_repo_digests(struct runtime *rt, const char *id, struct strv *ret, struct err *err);
/* Does it have all labels of the one list and none of the other: "k" or "k=v". 1 or 0. */
int image_has_labels(struct runtime *rt, const char *id, const struct strv *with,
		     const struct strv *without, struct err *err);

/* What a removal did or why it did not: lines for the user. */
struct image_removal {
	struct strv untagged; /* familiar names */
	struct strv deleted;  /* "sha256:…" image id first, then layers' DiffIDs, topmost first */
	uint64_t freed_bytes; /* disk */
	uint64_t trash_bytes; /* content of what went to the trash and is freed when that is emptied
			       */
	uint64_t kept_bytes;  /* disk of layers that stay as build cache */
	size_t kept_layers;
};
void image_removal_free(struct image_removal *r);
#define auto_image_removal cleanup(image_removal_free)
enum image_remove_flag {
	IMAGE_FORCE = 1,
	IMAGE_NOW = 2, /* not by way of the trash: df shows the space when it returns */
};
/*
 * docker rmi: a name untags, and removes the image with its last tag; an id removes with all its
 * tags (force when several); a repository's digest takes that away, and the image if it has no
 * other name. -EBUSY names the container that uses it: such an image is never deleted. With force
 * its last name is taken away and it stays dangling; by id force does not help. Layers that build
 * steps refer to stay as cache (kept_*). The image goes to the trash: its row and its names, while
 * the layers stay where they are.
 */
int image_remove(struct runtime *rt, const char *name, unsigned flags, struct image_removal *ret,
		 struct err *err);

struct image_prune_opts {
	bool all; /* also tagged ones that no container uses */
	bool now;
	int64_t before_s;                           /* only what is older; 0 = any age */
	const struct strv *labels, *without_labels; /* "k" or "k=v"; NULL */
};
/* What a prune would take, and why. */
struct image_victim {
	char *id, *name, *reason; /* name may be NULL */
	uint64_t bytes;           /* of content (images), of disk (steps): what going frees */
	int64_t snapshot;         /* of a step */
};
struct image_victims {
	struct image_victim *v;
	size_t n, cap;
	uint64_t bytes;
	size_t steps_left; /* image_cache_plan: what stays */
	uint64_t bytes_left;
};
void image_victims_free(struct image_victims *l);
#define auto_image_victims cleanup(image_victims_free)
/* Untagged images that no container uses, or all such; never pinned ones. */
int image_prune_plan(struct runtime *rt, const struct image_prune_opts *o,
		     struct image_victims *ret, struct err *err);
/* Each looked at again under the lock. */
int image_prune(struct runtime *rt, const struct image_prune_opts *o, struct image_removal *ret,
		struct err *err);

/*
 * The build cache: steps that no image or container rests on. A policy of all zeros takes all of
 * them; otherwise the least recently used go first: those not used for keep_s, those above
 * max_used_bytes, and as long as the file system has less than min_free_bytes. The last
 * reserved_bytes stay in any case. Pinned steps and what they rest on stay.
 */
struct image_cache_policy {
	int64_t keep_s;
	uint64_t reserved_bytes, max_used_bytes, min_free_bytes;
	int64_t before_s; /* only what was not used since; 0 = any */
};
int image_cache_plan(struct runtime *rt, const struct image_cache_policy *p,
		     struct image_victims *ret, struct err *err);
/* deleted: the steps' ids, then DiffIDs. Also what killed builds left. -EBUSY while a lease is
 * held. */
int image_cache_prune(struct runtime *rt, const struct image_cache_policy *p,
		      struct image_removal *ret, struct err *err);

/*
 * For a build whose step found the disk full: the trash goes, and if no other build runs all of the
 * cache but what this build stands on. lease_fd is the build's own; in_use are the snapshots that
 * its stages stand on.
 */
struct image_room {
	int lease_fd;
	int64_t now_s;
	const int64_t *in_use;
	size_t n_in_use;
};
int image_make_room(struct runtime *rt, const struct image_room *o, struct image_removal *ret,
		    struct err *err);

/* --- trash: removed images, newest first --- */

struct image_trashed {
	const char *id;
	struct strv tags; /* familiar */
	int64_t removed_ns, created_s;
	uint64_t size_bytes, unique_bytes; /* content; what going for good frees of it */
};
typedef int image_trash_fn(const struct image_trashed *t, void *arg, struct err *err);
int image_trash_walk(struct runtime *rt, image_trash_fn *fn, void *arg, struct err *err);
/* Back with those of its names that nobody took meanwhile. which: a name, an id or the beginning of
 * one; NULL: what was removed last. ret_lines: "name" or "sha256:…". -ENOENT. */
int image_trash_restore(struct runtime *rt, const char *which, struct strv *ret_lines,
			struct err *err);
/* What is older than keep_s goes for good, then the oldest until at most max_bytes are left. */
int image_trash_empty(struct runtime *rt, int64_t keep_s, uint64_t max_bytes,
		      struct image_removal *ret, struct err *err);

/* Never pruned. which: an image's name or id, or a step's id. */
int image_pin(struct runtime *rt, const char *which, bool pinned, struct err *err);

/* --- du: every byte of the store and whose it is --- */

enum image_part {
	IMAGE_PART_IMAGES,     /* layers and configs of images */
	IMAGE_PART_CONTAINERS, /* writable layers, logs, records */
	IMAGE_PART_VOLUMES,
	IMAGE_PART_CACHE,      /* layers of build steps that are no image's */
	IMAGE_PART_MOUNTS,     /* cache mounts */
	IMAGE_PART_LOGS,       /* of builds */
	IMAGE_PART_TRASH,      /* removed images that can be brought back */
	IMAGE_PART_UNFINISHED, /* what a running build makes or a killed one left, and what is being
				  deleted */
	IMAGE_PART_OTHER,      /* database, context indexes, locks, directories */
	IMAGE_PART_ORPHANS,    /* what no row knows */
	IMAGE_PART_COUNT
};
struct image_audit_part {
	size_t count, active, layers;
	uint64_t bytes, oci_bytes, reclaimable_bytes; /* disk; content of the layers; disk */
};
struct image_audit {
	struct image_audit_part part[IMAGE_PART_COUNT];
	uint64_t total_bytes; /* of all parts: what du(1) counts */
	struct strv orphans;  /* paths within the store */
};
void image_audit_free(struct image_audit *a);
#define auto_image_audit cleanup(image_audit_free)
int image_audit(struct runtime *rt, struct image_audit *ret, struct err *err);
/* Blobs that image_audit calls orphans go: a removal that was killed left them. Does nothing while
 * a build, import or load runs. */
int image_sweep(struct runtime *rt, struct err *err);

/* Disk use of a layer's directory: walked once, then known. */
int image_layer_disk(struct runtime *rt, int64_t snapshot, uint64_t *ret_bytes, struct err *err);

/*
 * Held (an fd, closed to let go) by whoever makes snapshots that no row refers to yet, as a build
 * does from its first step to image_write: image_cache_prune is -EBUSY meanwhile. Shared; waits for
 * a running prune.
 */
int image_lease(struct runtime *rt, struct err *err);
/* The only one, else -EBUSY. Needs no database. */
int image_lease_exclusive(struct runtime *rt, struct err *err);

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

/* What is told while layers come and go. */
enum image_transfer_event_kind {
	IMAGE_TRANSFER_TEXT,     /* text: a line of its own */
	IMAGE_TRANSFER_BEGIN,    /* id, total_bytes: a layer is on its way */
	IMAGE_TRANSFER_PROGRESS, /* done_bytes; also while unpacking */
	IMAGE_TRANSFER_EXISTS,   /* it is there already; text says it */
	IMAGE_TRANSFER_DONE,     /* text: "Pull complete", "Pushed" */
	IMAGE_TRANSFER_RETRY,    /* text: why */
};
struct image_transfer_event {
	enum image_transfer_event_kind kind;
	const char *id; /* 12 digits */
	const char *text;
	uint64_t done_bytes, total_bytes;
};
typedef void image_transfer_fn(const struct image_transfer_event *e, void *arg);
struct image_watch {
	image_transfer_fn *event; /* NULL: nobody listens */
	void *arg;
};

struct image_import_opts {
	const char *message;
	struct image_config
		*config; /* made by the caller (--change applied); history row is added here */
	const char *tag; /* normalised or NULL */
	struct image_watch watch;
};
/* docker import: a root file system tar from fd becomes an image of one layer. */
int image_import(struct runtime *rt, int tar_fd, const struct image_import_opts *o,
		 char ret_id[DIGEST_STR_MAX], struct err *err);

/* How images leave. Layers: not asked, as they came or in the usual way of where they go. */
struct image_pack {
	bool is_asked;
	enum layer_codec codec;
	int level;
	bool docker_types;              /* a registry gets Docker's media types, not OCI's */
	const struct strv *annotations; /* "k=v" of the manifest; NULL: none */
};
/* codec: "none", "gzip", "zstd", NULL: none asked for; level 0: the codec's default, which is gzip
 * where only a level is given. -EINVAL. */
int image_pack_parse(const char *codec, int level, struct image_pack *ret, struct err *err);

enum image_format { IMAGE_DOCKER_ARCHIVE, IMAGE_OCI_ARCHIVE, IMAGE_OCI_DIR };
struct image_save_opts {
	enum image_format format;
	struct image_pack pack;
	char *ret_digest; /* DIGEST_STR_MAX bytes: the last image's manifest in OCI's formats. NULL
			   */
	const char *platform; /* of names that stand for several the image for it alone; NULL */
	struct image_watch watch;
};
/*
 * Archives to out_fd (a file or pipe), or an OCI layout into the directory out_fd, whose owner gets
 * the files. names as given by the user: a repository without tag means all of its tags. Where no
 * compression is asked for, layers are uncompressed, but those from elsewhere, whose bytes are
 * given back as they came: in OCI's formats, an image that was pulled keeps its manifest. -EBADMSG
 * when a layer is not what it was.
 */
int image_save(struct runtime *rt, const struct image_save_opts *o, const struct strv *names,
	       int out_fd, struct err *err);
/*
 * docker-archive and oci-archive from in_fd (tar, compressed or not), or in_fd is a directory with
 * what these hold. Lines "Loaded image: …" are added to ret_lines. The config is kept byte for
 * byte, so the id stays. -EBADMSG for content of another digest; nothing of that image stays then.
 * o may be NULL. -ENOENT: nothing for that platform is in it.
 */
struct image_load_opts {
	struct image_watch watch;
	bool all_platforms;   /* keep what an index names, all of it */
	const char *platform; /* which image of several; others are passed over. NULL: of an index
				 this machine's */
};
int image_load(struct runtime *rt, int in_fd, const struct image_load_opts *o,
	       struct strv *ret_lines, struct err *err);
/*
 * One image of an OCI layout, without a name. which: the digest of its manifest or index, or a tag;
 * NULL: "latest", or the only one that there is. Who calls this holds a lease. -ENOENT.
 */
int image_load_layout(struct runtime *rt, int dir_fd, const char *which,
		      char ret_id[DIGEST_STR_MAX], struct err *err);

/* --- registries [hash] --- */

/* Whence credentials, certificates and exceptions for registries come. All zero: the usual files.
 */
struct image_trust {
	const char *fallback; /* "accept" (or NULL), "reject": where no rule fits */
	/* Prefixes in full, "docker.io/library"; signed_by: "PREFIX=/KEYFILE"; pin:
	 * "NAME[:TAG]=sha256:…". */
	const struct strv *accept, *reject, *signed_by, *pin;
};
struct image_access {
	const char *home;                /* of whom the credentials are; NULL: of $HOME */
	uint32_t uid, gid;               /* who runs credential helpers */
	const struct strv *insecure;     /* "host[:port]": plain http, or any certificate */
	const struct strv *mirrors;      /* "docker.io=mirror.example:5000/prefix" */
	bool skip_verify;                /* --tls-verify=false: as if the registry was insecure */
	const char *auth_file;           /* instead of all that are looked into; NULL */
	const char *creds, *creds_for;   /* "user:password" for that registry alone; NULL */
	const struct image_trust *trust; /* what may be pulled; NULL: all */
};

struct image_pull_opts {
	struct image_access access;
	const char *platform;   /* NULL: this machine's */
	bool untagged;          /* pull: the name goes on meaning what it does */
	bool all_platforms;     /* pull: keep what an index names, all of it */
	struct image_pack pack; /* push */
	bool by_digest;         /* push: the name gets no tag there */
	const char *source;     /* push: the image that goes there; NULL: what has that name */
	image_transfer_fn *event;
	void *arg;
	volatile int *interrupted; /* -EINTR when set. May be NULL. */
};
/*
 * normalized: a tag or digest. Nothing is fetched that is there. A pull that was cut off goes on
 * where it ended. -ENOENT: no such image there; -EACCES; -EBADMSG: not what its digest says;
 * -ENOTSUP: a format that is refused.
 */
int image_pull(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
	       char ret_id[DIGEST_STR_MAX], struct err *err);
/* The tags of a repository; normalized has any. -ENOENT. */
int image_remote_tags(const char *normalized, const struct image_pull_opts *o, struct strv *ret,
		      struct err *err);
/* Is the image what ref is pinned to, by what its repository calls it or by its ID? -EACCES. */
int image_trust_pinned(struct runtime *rt, const struct image_access *a, const char *ref,
		       const struct image *img, struct err *err);
/* As build, run and create do: missing (NULL), always, never. 1 when it was pulled. -EINVAL. */
int image_pull_policy(const char *text, bool *ret_always, bool *ret_never, struct err *err);

/* name as the user gave it; its manifest's digest comes back. */
int image_push(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
	       char ret_digest[DIGEST_STR_MAX], struct err *err);

/*
 * Depots: what build records and their layers are kept in outside of a store. An OCI layout in a
 * directory, or a repository's tag; in either the records are one document, which is the config of
 * a manifest of its own media type, and the layers are ordinary ones. What the document says is the
 * build module's business (depot.h there). A depot is as foreign as any registry: digests are
 * computed here, a layer that is fetched has the DiffID that was asked for or is refused.
 */
#define IMAGE_DEPOT_TYPE  "application/vnd.shale.cache.v1+json"
#define IMAGE_DEPOT_FIELD "vnd.shale.cache.v1" /* of an image's config: inline */
struct image_depot {
	char *dir; /* a layout, */
	char *tag; /* and which of its manifests; or */
	char *ref; /* normalised */
};
struct image_depot_layer {
	struct digest diff_id, blob;
	uint64_t size_bytes; /* of the blob */
	char *media_type;
};
struct image_depot_doc {
	char *text; /* the document, or the config of an image */
	size_t len;
	bool is_image;
	struct image_depot_layer *layers; /* as the manifest has them; without DiffIDs */
	size_t n;
	int lock_fd; /* the layers of a directory stay until this is closed; -1 */
};
void image_depot_free(struct image_depot *d);
void image_depot_doc_free(struct image_depot_doc *d);
/* -ENOENT: there is none. No layer is asked for. */
int image_depot_read(struct runtime *rt, const struct image_depot *d,
		     const struct image_pull_opts *o, struct image_depot_doc *ret, struct err *err);
/* Layers upon each other and upon the snapshot below (0: none); those that the store has by now are
 * not fetched. *ret_top is the last one's snapshot. The caller holds a lease. */
struct image_depot_want {
	int64_t below;
	const struct image_depot_layer *const *layers;
	size_t n;
};
int image_depot_fetch(struct runtime *rt, const struct image_depot *d,
		      const struct image_depot_want *want, const struct image_pull_opts *o,
		      int64_t *ret_top, struct err *err);
/*
 * text and the layers of n snapshots, which are hashed, in the form that o->pack asks for. A
 * directory is made where it is missing, written by one at a time, and what none of its manifests
 * names goes; readers see the old manifest or the new one. -EINTR.
 */
struct image_depot_new {
	const char *text;
	const int64_t *snapshots;
	size_t n;
};
int image_depot_write(struct runtime *rt, const struct image_depot *d,
		      const struct image_depot_new *what, const struct image_pull_opts *o,
		      struct err *err);

/*
 * Manifest lists, as docker manifest has them. Names are normalised. Members are images that are
 * here by that very name, or else in a registry. create: -EEXIST without amend.
 */
struct image_list_platform {
	const char *os, *architecture, *variant, *os_version; /* NULL: as it is */
	const struct strv *os_features;
};
int image_list_create(struct runtime *rt, const char *list, const struct strv *refs, bool amend,
		      const struct image_pull_opts *o, struct err *err);
int image_list_annotate(struct runtime *rt, const char *list, const char *ref,
			const struct image_list_platform *p, struct err *err);
int image_list_push(struct runtime *rt, const char *list, const struct image_pull_opts *o,
		    char ret_digest[DIGEST_STR_MAX], struct err *err);
int image_list_remove(struct runtime *rt, const char *list, struct err *err);
/* A list that is being made, or what a registry has, or the manifest of an image that is here
 * alone; list: ref is one of its members. */
struct image_list_query {
	const char *list, *ref; /* list may be NULL */
	bool is_verbose;
};
int image_list_inspect(struct runtime *rt, const struct image_list_query *q,
		       const struct image_pull_opts *o, json_t **ret, struct err *err);

/* A list of what sources (in registries, normalised) are or have in them, under each of the names;
 * of one source that is a list its very bytes. *ret is the document, and nothing is sent with
 * is_dry. */
struct image_combine {
	const struct strv *names, *sources;
	bool is_append; /* to what the first name is there */
	bool is_dry;
};
int image_combine(struct runtime *rt, const struct image_combine *w,
		  const struct image_pull_opts *o, char **ret, char ret_digest[DIGEST_STR_MAX],
		  struct err *err);
/* What a registry has under a name, as it is; the caller frees both. */
int image_raw(const char *normalized, const struct image_pull_opts *o, char **ret, char **ret_type,
	      char ret_digest[DIGEST_STR_MAX], struct err *err);

/*
 * An index of images that are here, for push and save: each in the form in which it leaves, and
 * what is attested of it, as BuildKit has it (manifests of an unknown platform that refer to the
 * image's). The names stand for it from now on, and here for the image `first`; without a name its
 * ID does. [hash]
 */
struct image_statement {
	const char *predicate_type; /* "https://slsa.dev/provenance/v1" */
	const json_t *predicate;
};
struct image_index_member {
	char id[DIGEST_STR_MAX];
	const struct image_statement *statements;
	size_t n_statements;
};
struct image_index_new {
	const struct image_index_member *members;
	size_t n, first;
	const struct strv *annotations; /* "k=v" of the index; NULL: none */
	const struct image_pack *pack;
	const struct strv *tags; /* normalised */
};
int image_index_write(struct runtime *rt, const struct image_index_new *n,
		      char ret_digest[DIGEST_STR_MAX], struct err *err);

/* Credentials that the registry takes are kept (user NULL: those known are only tried). *ret_where:
 * the file, when they are in it unencrypted. -EACCES. */
int image_login(const struct image_access *a, const char *registry, const char *user,
		const char *password, char **ret_where, struct err *err);
/* 1, or 0 when there were none. */
int image_logout(const struct image_access *a, const char *registry, struct err *err);

/* --- mounted where the host sees it --- */

/* dir NULL: one of the run state is made. *ret_dir: where; the caller owns it. An image that is
 * there already stays. -EBUSY: another image is mounted at dir. */
int image_mount(struct runtime *rt, const char *name, const char *dir, char **ret_dir,
		struct err *err);
/* which: an image, a directory, NULL for all. ret_dirs: those that are free again. -ENOENT,
 * -EBUSY. */
int image_unmount(struct runtime *rt, const char *which, bool lazy, struct strv *ret_dirs,
		  struct err *err);
typedef int image_mount_fn(const char *id, const char *dir, void *arg, struct err *err);
int image_mounts(struct runtime *rt, image_mount_fn *fn, void *arg, struct err *err);

/* The same for whatever has an id: kind "image" or "container". */
struct image_show {
	const char *kind, *id;
	bool writable;
	/* The detached mount, the callee's; a note of it is written before it is attached. */
	int (*open)(void *arg, int *ret_mount_fd, struct err *err);
	/* Is it still there? In the transaction in which it is attached. */
	int (*check)(void *arg, struct err *err);
	void *arg;
};
int image_show(struct runtime *rt, const struct image_show *s, const char *dir, char **ret_dir,
	       struct err *err);
/* By id, or by directory; neither: all of the kind. */
struct image_hide {
	const char *kind, *id, *dir;
	bool lazy;
};
int image_hide(struct runtime *rt, const struct image_hide *h, struct strv *ret_dirs,
	       struct err *err);
int image_shows(struct runtime *rt, const char *kind, image_mount_fn *fn, void *arg,
		struct err *err);
/* mounted.c: 1 and where it is (the caller's), or 0. */
int image_shown(struct runtime *rt, const char *kind, const char *id, char **ret_dir,
		struct err *err);
/* A clone of that mount, detached; -ENOENT: it is gone. */
int image_shown_clone(struct runtime *rt, const char *kind, const char *id, int *ret_fd,
		      struct err *err);
/* Detached at once, also while files in it are open. Nothing there is fine. */
void image_shown_drop(struct runtime *rt, const char *kind, const char *id);
/* Of every store that nothing is of mounted any more its directory in the run state goes. */
void image_mounts_tidy(void);

/* --- two images [hash] --- */

struct image_change {
	char kind;                         /* 'A' only the second has it, 'D' only the first, 'C' */
	const char *path;                  /* "/etc/passwd"; NULL: it is of the config */
	const char *field;                 /* "Env.PATH", "architecture" */
	const char *old_value, *new_value; /* of a field; NULL: not set */
	struct strv what; /* of a path: type size content target device mode owner xattrs time */
	struct strv text; /* the same for people: "mode 0644 -> 0600" */
};
typedef int image_change_fn(const struct image_change *ch, void *arg, struct err *err);
struct image_compare_opts {
	bool times; /* also what differs in its mtime only */
	bool read;  /* contents are read; else the tables' checksums (no proof) tell where they can
		     */
};
/* Of images or build steps. The config's fields first, then paths in order. 1 when something
 * differs, else 0. */
int image_compare(struct runtime *rt, const char *const names[2],
		  const struct image_compare_opts *o, image_change_fn *fn, void *arg,
		  struct err *err);

/* A file from a web server, fetched by the same unprivileged program. */
struct image_url {
	const char *url;             /* http or https, without user information */
	const char *user, *password; /* or NULL */
	const char *authorization;   /* instead of them: the header's value; or NULL */
	char *etag, *modified;       /* in: what is known, or NULL; out: what the server says */
	int64_t modified_s;          /* -1: it does not say */
	bool is_same;                /* it is what was known: nothing was written */
};
void image_url_free(struct image_url *u); /* etag and modified */
#define auto_image_url cleanup(image_url_free)
/* Into to_fd, a file, at most max_bytes. The caller hashes it. Credentials go to the URL's own
 * scheme, host and port, wherever that redirects to. Codes as for image_pull. */
int image_url_get(struct image_url *u, const struct image_pull_opts *o, int to_fd,
		  uint64_t max_bytes, struct err *err);

/* --- verify --- */

enum image_damaged_kind { IMAGE_DAMAGED_LAYER, IMAGE_DAMAGED_CONFIG, IMAGE_DAMAGED_BLOB };
struct image_fault {
	char *path; /* "/etc/passwd"; NULL: the thing as a whole */
	char *what; /* "content changed, mode 0600 instead of 0644" */
};
struct image_damaged {
	enum image_damaged_kind kind;
	int64_t snapshot;        /* of a layer, else 0 */
	char id[DIGEST_STR_MAX]; /* DiffID, image ID, digest; "" for a layer not hashed yet */
	struct image_fault *faults;
	size_t n, cap, more; /* more: faults beyond those kept */
	struct strv used_by; /* "image app:latest", "container web", "step 3f2a…" */
	bool is_table;       /* only the file table is missing or damaged, the content is right */
	bool is_repaired;
	char *advice; /* what was done, or what to do; NULL without repair */
};
struct image_verified {
	struct image_damaged *v; /* layers from the bottom, configs, other blobs */
	size_t n, cap;
	size_t images, bad_images, layers, bad_layers;
	uint64_t bytes; /* of layer streams and blobs */
};
void image_verified_free(struct image_verified *r);
#define auto_image_verified cleanup(image_verified_free)
typedef void image_verify_fn(size_t done, size_t total, uint64_t bytes, void *arg);
struct image_verify_opts {
	const struct strv *names;  /* images; NULL or empty: everything in the store */
	image_verify_fn *progress; /* called five times a second, or NULL */
	void *arg;
};
/*
 * Reads layers (against DiffID and file table), configs and other blobs again, side by side on all
 * cores. Damage is a result, not a failure; what is removed meanwhile is passed over. Committed
 * layers that have neither DiffID nor file table yet only have to be there.
 */
int image_verify(struct runtime *rt, const struct image_verify_opts *o, struct image_verified *ret,
		 struct err *err);

/*
 * What can be put right of that: a layer from the blob that it was loaded as, a file table from a
 * layer whose content is right. Of layers that cannot, the build steps above are forgotten, so that
 * the next build runs them anew. Each thing gets its advice. -EBUSY while a build, import or load
 * runs.
 */
int image_repair(struct runtime *rt, struct image_verified *v, struct err *err);

/* --- without a database --- */

struct image_recovered {
	size_t layers, images, names, nameless; /* nameless: images without a name */
	struct strv lost;                       /* a line for each thing that is not brought back */
};
void image_recovered_free(struct image_recovered *r);
#define auto_image_recovered cleanup(image_recovered_free)
/*
 * rt has a new, empty database: the rows of snapshots, layers, images, manifests and tags, from the
 * files of the store. -EBUSY while a snapshot is mounted.
 */
int image_recover(struct runtime *rt, struct image_recovered *ret, struct err *err);
/* What image_recover reads of layers, for a store of an earlier release. */
int image_record_all(struct runtime *rt, struct err *err);

/*
 * Cache mounts as archives (store.h has the rest; these need libcrypto). export: the same bytes for
 * the same content; -EBUSY while a step has it locked. import: a new one; -EEXIST when the id has
 * one, unless that is to be replaced, which happens when the archive has been unpacked.
 */
int image_cache_mount_export(struct runtime *rt, const char *name, struct sink *to,
			     struct err *err);
int image_cache_mount_import(struct runtime *rt, const char *id, bool replace, int tar_fd,
			     struct err *err);

#endif
