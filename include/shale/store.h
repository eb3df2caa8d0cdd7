/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: blobs by digest, and tags.
 *
 * A blob is a file blobs/sha256/<hex> that never changes: configs, manifests, compressed layers.
 * While it is written it has no name, so kill -9 leaves nothing behind. A blob without a row that
 * mentions it is garbage; which ones those are, the modules above know. Nothing is synced here: who
 * publishes a row that must last does that for all of its files.
 *
 * A tag is a name and the id of the image it means. Reading blobs, and tags, needs no libcrypto
 * (store.c, tags.c); writing blobs does (blob.c). One handle a process, for the main thread, as its
 * db; a struct blob may be written in one other thread.
 */
#ifndef SHALE_STORE_H
#define SHALE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/db.h>
#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/sink.h>

struct store;
struct blob;

/* store_fd stays the caller's and open as long as the handle. Costs no system call. */
int store_open(struct db *db, int store_fd, struct store **ret, struct err *err);
void store_close(struct store *st);

/* The fd of a blob, for reading; its content is not checked. -ENOENT. */
int store_blob_open(struct store *st, const struct digest *d, int *ret_fd, struct err *err);
bool store_blob_exists(struct store *st, const struct digest *d);
/* A missing one is fine. */
int store_blob_remove(struct store *st, const struct digest *d, struct err *err);

/* All blobs, in order of their digest. mtime tells how long ago one was written: a new one may not
 * have its row yet. */
struct blob_info {
	struct digest digest;
	uint64_t size_bytes;
	int64_t mtime_s;
};
typedef int store_blob_fn(const struct blob_info *info, void *arg, struct err *err);
int store_blob_walk(struct store *st, store_blob_fn *fn, void *arg, struct err *err);

/* A new blob: bytes go into its sink, are hashed on the way, and get their name at the commit. */
#define auto_blob cleanup(store_blob_cleanup)
void store_blob_cleanup(struct blob **b);
void store_blob_free(struct blob *b); /* what is not committed is gone */
int store_blob_new(struct store *st, struct blob **ret, struct err *err);
struct sink *store_blob_sink(struct blob *b); /* the blob's */
uint64_t store_blob_size(const struct blob *b);
/*
 * Once a blob. want (may be NULL): -EBADMSG when the bytes have another digest, and nothing is
 * stored. ret may be NULL. A blob that is there already stays as it is, unless its size shows that
 * it is damaged.
 */
int store_blob_commit(struct blob *b, const struct digest *want, struct digest *ret,
		      struct err *err);
/* A file of this store that the caller has hashed becomes a blob: dir_fd/name is renamed, or the
 * nameless fd linked (name NULL). */
int store_blob_adopt(struct store *st, int fd, int dir_fd, const char *name, const struct digest *d,
		     struct err *err);
/* The same in one call; writes nothing when it is there already. */
int store_blob_put(struct store *st, const void *p, size_t n, struct digest *ret, struct err *err);

/*
 * Tags, on disk when the call returns (or the caller's transaction commits). Names are taken as
 * they are, up to 512 bytes: the image module makes them canonical. set: -ENOENT for an image
 * without a row; moves an existing tag, which remembers the last durable image that it meant. get,
 * remove: -ENOENT. The caller owns *ret_image.
 */
int store_tag_set(struct store *st, const char *name, const char *image, struct err *err);
int store_tag_get(struct store *st, const char *name, char **ret_image, struct err *err);
int store_tag_remove(struct store *st, const char *name, struct err *err);

struct tag_info {
	const char *name, *image;
	int64_t updated_s;
};
/* In order of name; of one image, or of all (NULL). fn may change tags; a negative result ends the
 * walk and is returned. */
typedef int store_tag_fn(const struct tag_info *tag, void *arg, struct err *err);
int store_tag_walk(struct store *st, const char *image, store_tag_fn *fn, void *arg,
		   struct err *err);

/*
 * Cache mounts: directories that outlive the steps that use them, found by an id. cache/<name>/data
 * is what is mounted; the name is random, so nobody's text becomes part of a path (TRAPS T28). Who
 * uses one holds a flock on cache/<name>: shared, or alone. Needs no libcrypto.
 */
enum cache_sharing {
	CACHE_SHARED,  /* with all who share it */
	CACHE_PRIVATE, /* alone: another one of the id where this is in use */
	CACHE_LOCKED,  /* alone: the others wait */
};
typedef int cache_fill_fn(int data_fd, void *arg, struct err *err);
struct cache_want {
	const char *id;
	const char
		*seed; /* what a new one is filled from; NULL: it is empty. Part of its identity */
	enum cache_sharing sharing;
	uint32_t mode, uid, gid; /* of a new one's directory */
	const char *user;        /* what to tell those who wait */
	cache_fill_fn *fill;     /* fills a new one; may be NULL */
	void *arg;
};
enum { CACHE_NAME_LEN = 32 };
struct cache_held {
	int lock_fd, data_fd; /* data_fd: O_PATH */
	char name[CACHE_NAME_LEN + 1];
	char *holder; /* when it is not to be had: who has it, or NULL */
};
#define CACHE_HELD_INIT                                                                            \
	{                                                                                          \
		-1, -1, "", NULL                                                                   \
	}
#define auto_cache_held cleanup(store_cache_release)
/* 1: held until released. 0: somebody else has it; ask again. */
int store_cache_hold(struct store *st, const struct cache_want *w, struct cache_held *ret,
		     struct err *err);
void store_cache_release(struct cache_held *h);
/* A new one, filled, takes the place of the one that has the id, if there is one; who holds that
 * goes on with it. When it cannot be filled, all is as it was. */
int store_cache_replace(struct store *st, const struct cache_want *w, struct err *err);

struct cache_info {
	const char *name, *id, *seed; /* seed "": none */
	int64_t created_s, used_s, part;
	bool in_use;
};
typedef int store_cache_fn(const struct cache_info *info, void *arg, struct err *err);
/* In order of id. fn may remove the one that it is shown. */
int store_cache_walk(struct store *st, store_cache_fn *fn, void *arg, struct err *err);
/* The row goes, then the directory goes to trash/. -EBUSY while somebody holds it. */
int store_cache_remove(struct store *st, const char *name, struct err *err);
/* Directories that no row names go to trash/: what a killed process was about to make. */
int store_cache_sweep(struct store *st, struct err *err);
/* One that is there, with all who share it. -EBUSY while somebody has it locked. */
int store_cache_share(struct store *st, const char *name, struct cache_held *ret, struct err *err);
/* By id, or by the beginning of its name: the caller owns *ret_names, which may be several (seeds
 * and private ones). -ENOENT. */
struct strv;
int store_cache_find(struct store *st, const char *text, struct strv *ret_names, struct err *err);
/* Bytes on disk. */
int store_cache_usage(struct store *st, const char *name, uint64_t *ret_bytes, struct err *err);

/*
 * For a database that was lost, all tags stand in the file names as well: a line for each change.
 * tidy: made where it is missing, written anew where it has become long. recover: into a database
 * with images and without tags; ret_lost: lines about those whose image is not there.
 */
struct strv;
int store_names_tidy(struct store *st, struct err *err);
int store_recover_tags(struct store *st, struct strv *ret_lost, struct err *err);

#endif
