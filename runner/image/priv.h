/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of image share. */
#ifndef SHALE_IMAGE_PRIV_H
#define SHALE_IMAGE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/db.h>
#include <shale/image.h>
#include <shale/layer.h>
#include <shale/snap.h>
#include <shale/store.h>

enum { IMAGE_LAYERS_MAX = 10000 }; /* as snap has it; beyond the kernel's 500 it merges */

/* A name without tag and digest: "node", "host:5000/me/app". */
bool image_ref_is_bare(const char *text);

/* A row of images without its config. */
#define IMAGE_SELECT "SELECT id,coalesce(snapshot,0),size,created,history FROM images"
struct image *image_from_row(struct db_stmt *st);
int image_config_load(struct runtime *rt, const char *id, char **ret, struct err *err);

/* A name, or an ID or the beginning of one: the ID, and the normalised name if it was one. -ENOENT.
 */
int image_resolve(struct runtime *rt, const char *name, char **ret_id, char **ret_tag,
		  struct err *err);

/* --- what goes --- */

struct image_gone {
	struct image_gone_layer {
		int64_t snapshot;
		uint64_t size_bytes;
		char diff_id[DIGEST_STR_MAX];
	} * v;
	size_t n, cap;
};
void image_gone_free(struct image_gone *g);
/* What image_forget_chain would take if the image `trashed` (NULL: none) had left the trash. */
int image_unneeded_chain(struct runtime *rt, int64_t snapshot, const char *trashed,
			 struct image_gone *g, struct err *err);
/* Inside a transaction: the rows of snapshot and of those beneath it, up to the first that an
 * image, container, step or other snapshot needs. */
int image_forget_chain(struct runtime *rt, int64_t snapshot, struct image_gone *g, struct err *err);
/* After its commit: their files go to the trash. r may be NULL. */
int image_discard(struct runtime *rt, const struct image_gone *g, struct image_removal *r,
		  struct err *err);
/* The same with the config of an image that left, unless it was written anew meanwhile. */
int image_discard_image(struct runtime *rt, const char *id, const struct image_gone *g,
			struct image_removal *r, struct err *err);

struct image_victim *image_victims_add(struct image_victims *l, const char *id, const char *name,
				       uint64_t bytes);

/* One image a transaction: a long list does not keep others from writing. */
struct image_remove_if {
	bool now;
	int64_t removed_ns;
	int (*is_unused)(struct runtime *rt, const char *id, const void *arg, struct err *err);
	const void *arg;
};
int image_remove_if(struct runtime *rt, const char *id, const struct image_remove_if *o,
		    struct image_removal *ret, struct err *err);

/* Both for one chain. */
int image_release(struct runtime *rt, int64_t snapshot, struct err *err);

/* A blob, counted in *ret_bytes; a missing one is fine, and one of a kept index stays. */
int image_blob_remove(struct runtime *rt, const struct digest *d, uint64_t *ret_bytes,
		      struct err *err);
/* Those that some row needs. */
int image_blob_walk(struct runtime *rt, store_blob_fn *fn, void *arg, struct err *err);
/* Those of them that no row names, inside the caller's transaction. */
int image_blobs_drop(struct runtime *rt, const struct strv *digests, uint64_t *ret_bytes,
		     struct err *err);
/* index_rows.c, the same: indexes that no name was pulled as. */
int image_indexes_drop(struct runtime *rt, uint64_t *ret_bytes, struct err *err);
/* The blob with a foreign layer's own bytes: 1, or 0 when our stream gives them. */
int image_origin_get(struct runtime *rt, int64_t snapshot, struct digest *ret, struct err *err);
int image_origin_set(struct runtime *rt, int64_t snapshot, const struct digest *blob,
		     struct err *err);
int image_origin_drop(struct runtime *rt, int64_t snapshot, const char *diff_id,
		      uint64_t *ret_bytes, struct err *err);

/* remote_rows.c: the compressed forms of a layer that no layer row has any more; what an image had
 * of manifests and repository digests, inside the caller's transaction. */
int image_layer_blobs_drop(struct runtime *rt, const char *diff_id, uint64_t *ret_bytes,
			   struct err *err);
int image_manifests_drop(struct runtime *rt, const char *image, uint64_t *ret_bytes,
			 struct err *err);
/* "name@sha256:…" -> the image that the repository gave for it: 1, or 0. */
int image_repo_digest_get(struct runtime *rt, const char *normalized, char **ret_id,
			  struct err *err);
int image_repo_digest_drop(struct runtime *rt, const char *normalized, const char *id,
			   struct err *err);

/* event.c: told when it is done. id NULL: what is meant is the name; name NULL: it has none. */
void image_event(struct runtime *rt, const char *action, const char *id, const char *normalized);

/* --- [hash] --- */

/* image_write without the config: text becomes the blob as it is. */
struct image_new {
	const char *text;
	size_t len;
	int64_t snapshot, created_s;
	uint64_t size_bytes;
	const char *history;     /* JSON or NULL */
	const struct strv *tags; /* normalised, or NULL */
};
int image_put(struct runtime *rt, const struct image_new *n, char ret_id[DIGEST_STR_MAX],
	      struct err *err);

/* For an undo list: image_release. */
struct image_made {
	struct runtime *rt;
	int64_t snapshot;
};
void image_undo_snapshot(void *arg);

struct sink;

/* What is kept of a layer's row with its file table, for image_recover. */
void image_layer_record(struct runtime *rt, int64_t snapshot, const struct layer_info *info);
/* 1; 0: nothing is kept; -ENOENT: nor is there a file table. */
int image_layer_record_get(struct runtime *rt, int64_t snapshot, struct layer_info *ret);
int image_layer_record_row(struct runtime *rt, int64_t snapshot, struct err *err);

/* A readable fd of the snapshot's own directory. */
int image_fs_open(struct runtime *rt, int64_t snapshot, int *ret_fd, struct err *err);
struct image_diff_opts {
	struct sink *to; /* NULL: only the hash */
	bool with_table; /* write the file table beside fs/ */
	struct layer_memo *memo;
};
/* layer_diff of a snapshot against its parent. */
int image_layer_diff(struct runtime *rt, int64_t snapshot, const struct image_diff_opts *o,
		     struct layer_info *ret, struct err *err);

/* What save writes into: fd is borrowed, a tar stream or a directory. begin: 1, or 0 when that name
 * is there already. */
struct image_archive;
int image_archive_new(int fd, bool is_dir, int64_t mtime_s, struct image_archive **ret,
		      struct err *err);
void image_archive_cleanup(struct image_archive **a);
int image_archive_begin(struct image_archive *a, const char *name, uint64_t size, struct err *err);
struct sink *image_archive_sink(struct image_archive *a); /* of the file begun */
int image_archive_end(struct image_archive *a, struct err *err);
int image_archive_add(struct image_archive *a, const char *name, const void *p, size_t n,
		      struct err *err);
int image_archive_finish(struct image_archive *a, struct err *err);

/* load: one image of an archive or layout of files. Everything in it is
 * hostile. */
struct image_loaded_layer {
	char *path;         /* in it */
	struct digest blob; /* what the file hashes to; zero: not told */
};
struct image_loaded {
	char *config; /* text */
	size_t config_len;
	struct image_loaded_layer *layers; /* bottom first */
	size_t n, cap;
	struct strv tags;        /* normalised */
	char id[DIGEST_STR_MAX]; /* when it is loaded; "": it was passed over */
};
struct image_load {
	struct runtime *rt;
	int dir_fd;                /* of a layout; or */
	int tar_fd;                /* the archive, in which */
	struct layer_index *index; /* tells where its files are; NULL: dir_fd */
	struct image_watch watch;
	bool all_platforms;   /* of an index all that it names is kept */
	const char *platform; /* the only one; NULL: any, and of an index this machine's */
	struct strv *passed;  /* platforms of images that were not it */
	struct strv *lines;
	char *id;                  /* DIGEST_STR_MAX bytes: that of the last image. NULL */
	volatile int *interrupted; /* looked at between layers; NULL */
};
/* id: a digest, of which the user sees the first digits. */
void image_watch_tell(const struct image_watch *w, enum image_transfer_event_kind kind,
		      const char *id, uint64_t done, uint64_t total, const char *text);
struct image_load_file {
	int fd;
	struct layer_range at;
	bool is_part; /* fd is the archive's, borrowed */
};
void image_load_file_close(struct image_load_file *f);
void image_loaded_free(struct image_loaded *l);
void image_loaded_add_layer(struct image_loaded *l, const char *path, const struct digest *blob);
/* A regular file of it, wherever its name leads to there. -ENOENT. */
int image_load_open(const struct image_load *ld, const char *path, struct image_load_file *ret,
		    struct err *err);
/* The file as a blob, by which save can give back what was loaded. */
int image_load_keep(const struct image_load *ld, const struct image_load_file *file,
		    const struct digest *want, struct err *err);
/* Its text, at most JSON_BYTES_MAX. */
int image_load_text(const struct image_load *ld, const char *path, char **ret, size_t *ret_len,
		    struct err *err);
/* Of a layout: what a descriptor names, which has that digest. */
int image_load_blob(const struct image_load *ld, const json_t *desc, char **ret, size_t *ret_len,
		    struct err *err);
/* Those that are not there are unpacked; *snapshot is the topmost that is there then, also after a
 * failure. */
struct image_config;
int image_load_layers(const struct image_load *ld, const struct image_loaded *from,
		      const struct image_config *c, int64_t *snapshot, struct err *err);
/* Layers that are not there are unpacked; row and tags. */
int image_load_one(const struct image_load *ld, struct image_loaded *l, struct err *err);
/* load_index.c: all that an index names, and that the loaded image's name stands for it. */
int image_load_index(const struct image_load *ld, const json_t *desc, const struct image_loaded *l,
		     struct err *err);
int image_load_docker(const struct image_load *ld, struct err *err);
int image_load_oci(const struct image_load *ld, struct err *err);

/* --- verify [hash]: jobs opened by the main thread, read by others --- */

struct image_job {
	enum image_damaged_kind kind;
	int64_t snapshot, parent; /* of a layer */
	char id[DIGEST_STR_MAX];  /* DiffID or "", or the blob's digest */
	bool is_foreign;          /* the DiffID is of another stream than ours */
	int fs_fd, dir_fd;        /* dir_fd: the blob, where it is one */
	struct snap_mount merged, below;
	struct image_damaged found; /* what is wrong with it */
	uint64_t bytes;
	struct image_job *next;
};
struct image_pool;
struct image_pool *image_pool_new(void);
void image_pool_cleanup(struct image_pool **p); /* ends the threads, frees what they had */
/* The job is the pool's from here on, opened: waits while it has enough of them. */
int image_pool_add(struct image_pool *p, struct image_job *j, struct err *err);
/* A finished job, in any order: waits up to timeout_ms for one. NULL: none yet, or none left. */
struct image_job *image_pool_next(struct image_pool *p, int timeout_ms);
bool image_pool_is_full(struct image_pool *p);
bool image_pool_is_empty(struct image_pool *p); /* neither running nor finished ones */

struct image_job *image_job_new(enum image_damaged_kind kind);
void image_job_free(struct image_job *j);
int image_job_open(struct runtime *rt, struct image_job *j, struct err *err);
void image_job_run(struct image_job *j); /* in any thread */
void image_fault_add(struct image_damaged *d, const char *path, const char *what);
void image_damaged_free(struct image_damaged *d);
/* Which images, containers and steps rest on it. */
int image_users(struct runtime *rt, struct image_damaged *d, struct err *err);

#endif
