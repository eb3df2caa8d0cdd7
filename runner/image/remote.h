/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's side of shale-transfer: a process without privileges that talks to registries and
 * hands bytes over pipes. Nothing that it says is believed: digests are computed here. One thread.
 */
#ifndef SHALE_IMAGE_REMOTE_H
#define SHALE_IMAGE_REMOTE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/image.h>
#include <shale/layer.h>

struct image_transfer;

/* interrupted (may be NULL): waiting ends with -EINTR when it is set. */
int image_transfer_start(volatile int *interrupted, struct image_transfer **ret, struct err *err);
void image_transfer_cleanup(struct image_transfer **t); /* ends the process */
#define auto_image_transfer cleanup(image_transfer_cleanup)

/* request is the caller's; it gets its id. fd (-1: none) stays the caller's too. Returns the id. */
int image_transfer_send(struct image_transfer *t, json_t *request, int fd, struct err *err);
/* The answer of that request: 1, or 0 when it is not there yet. Events in between go to the event
 * function. An answer of failure is a failure. ret may be NULL. */
int image_transfer_answer(struct image_transfer *t, int id, json_t **ret, struct err *err);
/* Both, waiting for the answer. */
int image_transfer_call(struct image_transfer *t, json_t *request, int fd, json_t **ret,
			struct err *err);
/* Waits until there is something to read, or other_fd (-1: none) is readable, or the time is over.
 */
int image_transfer_wait(struct image_transfer *t, int other_fd, int timeout_ms, struct err *err);
/* While a request runs: why it begins anew, or (retry NULL) how much of an upload is sent. */
typedef void image_remote_event_fn(int id, const char *retry, uint64_t bytes, void *arg);
void image_transfer_on_event(struct image_transfer *t, image_remote_event_fn *fn, void *arg);
/* The names of the files that its tokens go to. */
void image_transfer_keep_tokens(struct image_transfer *t, const struct strv *names);

/* --- a repository of a registry --- */

struct image_remote {
	struct image_transfer *t;
	int handle;
	char *registry; /* "docker.io", "127.0.0.1:5000" */
	char *path;     /* "library/node" */
	char *repo;     /* "docker.io/library/node" */
	char *tag;      /* NULL with a digest */
	char *digest;   /* or NULL */
};
void image_remote_free(struct image_remote *r);
#define auto_image_remote cleanup(image_remote_free)
void image_remote_names_free(struct image_remote *r);
/* The names only: no process yet. normalized is what image_ref_normalize made. */
void image_remote_name(const char *normalized, struct image_remote *ret);
/* Starts the process, with the credentials and certificates of that registry. */
int image_remote_open(const struct image_access *a, bool is_push, volatile int *interrupted,
		      struct image_remote *r, struct err *err);
/* What it asks with: request may have push, user and password already. */
int image_remote_open_request(const struct image_access *a, const struct image_remote *r,
			      json_t *request, struct err *err);
json_t *image_remote_request(const struct image_remote *r, const char *op);
void image_remote_accept(json_t *request); /* manifests and indexes of all kinds */
/* A manifest or index by tag or digest, whole; *ret_digest is computed from the bytes, which are
 * those of ref if that is a digest. */
struct image_document {
	char *text;
	size_t len;
	char *media_type;
	struct digest digest;
};
void image_document_free(struct image_document *d);
int image_remote_manifest(struct image_remote *r, const char *ref, struct image_document *ret,
			  struct err *err);
/* A small blob: checked. */
int image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size, char **ret,
		      size_t *ret_len, struct err *err);

/* What names that manifest as its subject: an array of descriptors, as the registry wrote them.
 * -ENOENT also where it keeps no such list. */
int image_remote_referrers(struct image_remote *r, const char *digest, json_t **ret,
			   struct err *err);

/* auth.c: what is known of the registry goes into the request: user, password, identity_token. */
int image_auth_add(const struct image_access *a, const char *registry, json_t *request,
		   struct err *err);
/* What config.json calls the registry; that file; a file of the kind, *ret stays NULL without it.
 */
const char *image_auth_key(const char *registry);
const char *image_auth_only(const struct image_access *a); /* the one file that counts, or NULL */
char *image_auth_docker_file(const struct image_access *a);
int image_auth_read(const char *path, json_t **ret, struct err *err);
/* docker-credential-HELPER VERB, input on its standard input. The caller owns *ret, also when it
 * failed. */
int image_auth_helper(const struct image_access *a, const char *helper, const char *verb,
		      const char *input, char **ret, struct err *err);
/* tokens.c: what is kept for the registry and its mirrors goes into the request; one name for each
 * of them, in shale-transfer's order. What it tells is kept; all of it is forgotten. */
void image_tokens_offer(json_t *request, struct strv *ret_names);
void image_tokens_keep(const struct strv *names, const json_t *event);
void image_tokens_forget(void);
/* certs.c: ca, cert and key of certs.d. Returns 1 when there is a directory for it. */
int image_certs_add(const char *registry, json_t *request, struct err *err);
/* registries.c: is plain http or an unknown certificate allowed, and where else to look. */
struct image_registry_rules {
	bool plain_http, insecure; /* plain_http: so long as there is no CA for it */
	struct strv mirrors;       /* "host[:port][/prefix]", with "http://" where insecure */
};
void image_registry_rules_free(struct image_registry_rules *r);
int image_registry_rules(const struct image_access *a, const char *registry,
			 struct image_registry_rules *ret, struct err *err);

/* --- manifests --- */

enum image_doc { IMAGE_DOC_OTHER, IMAGE_DOC_MANIFEST, IMAGE_DOC_INDEX };
struct image_descriptor {
	struct digest digest;
	uint64_t size;
	char *media_type;
};
struct image_manifest {
	struct image_descriptor config, *layers;
	size_t n;
};
void image_manifest_free(struct image_manifest *m);
/* What it is, by its content and what it was said to be. -EBADMSG when these disagree (T18),
 * -ENOTSUP for schema 1 and what is no image. */
int image_doc_kind(const struct image_document *d, json_t **ret, enum image_doc *ret_kind,
		   struct err *err);
/* index_walk.c: the documents that an index names, itself first, are read and put into the store;
 * blob is called once for each other blob that is not there. */
struct image_index_walk {
	struct runtime *rt;
	struct strv *named; /* gets the digests of all that it is made of */
	int (*read)(void *arg, const struct image_descriptor *d, struct image_document *ret,
		    struct err *err);
	int (*blob)(void *arg, const struct image_descriptor *d, struct err *err);
	void *arg;
	json_t *seen; /* the walk's own: named, to look up */
	size_t docs;
};
int image_index_walk(struct image_index_walk *w, const struct image_document *top, struct err *err);
int image_manifest_parse(const json_t *doc, struct image_manifest *ret, struct err *err);
/* What a document names, of whatever type: manifests, or the config and the layers. */
struct image_descriptors {
	struct image_descriptor *v;
	size_t n;
};
void image_descriptors_free(struct image_descriptors *l);
int image_doc_descriptors(const json_t *doc, enum image_doc kind, struct image_descriptors *ret,
			  struct err *err);
/* One that is in the store, whole. */
bool image_document_load(struct runtime *rt, const struct digest *d, const char *media_type,
			 struct image_document *ret);
struct image_platform {
	char *os, *architecture, *variant;
};
void image_platform_free(struct image_platform *p);
/* "linux/arm64/v8", "arm64"; NULL: this machine. -EINVAL. */
int image_platform_parse(const char *text, struct image_platform *ret, struct err *err);
bool image_platform_fits(const struct image_platform *want, const char *os, const char *arch,
			 const char *variant);
bool image_platform_is(const struct image_platform *want, const char *os, const char *arch,
		       const char *variant);
/* The entry of an index for it, and its media type, which is the document's (may be NULL). -ENOENT
 * names those that there are. */
int image_index_choose(const json_t *doc, const struct image_platform *want, struct digest *ret,
		       const char **ret_type, struct err *err);
bool image_is_attestation(const json_t *desc);
/* The first entry that is an image. -ENOENT. */
int image_index_first(const json_t *doc, struct digest *ret, struct err *err);

/* --- blobs on their way to a repository --- */

struct image_send_blob {
	struct digest digest;
	uint64_t size, sent;
	char id[13]; /* what the user sees; "": nothing is said of it */
	char *mount; /* the repository that it is mounted from */
	enum { IMAGE_SEND_ASKED, IMAGE_SEND_MOUNTING, IMAGE_SEND_SENDING, IMAGE_SEND_DONE } state;
	int request, feed; /* feed: to the registry that it comes from */
};
struct image_send {
	struct runtime *rt;
	const struct image_pull_opts *o;
	struct image_remote *to, *from; /* from: has what the store has not; NULL: is found */
	struct image_remote found;
	struct image_send_blob *v;
	size_t n, cap, first; /* first: all before are done */
	json_t *seen;         /* their digests, to look up */
};
/* rt, o, to and from are set, and stand still. Events of `to` come here from now on. */
void image_send_begin(struct image_send *s);
void image_send_free(struct image_send *s);
int image_send_add(struct image_send *s, const struct digest *d, uint64_t size, const char *id,
		   struct err *err);
int image_send_advance(struct image_send *s, struct err *err); /* how many are not there yet */
int image_send_wait(struct image_send *s, struct err *err);    /* until all are */
/* ref NULL: by digest. */
int image_send_manifest(struct image_send *s, const struct image_document *d, const char *ref,
			struct err *err);
/* A file in memory with that text. */
int image_memory_file(const char *text, size_t len, struct err *err);

/* The manifest that an image came with, if its layers' blobs are here, or may_miss: of several the
 * one with the digest rather (may be NULL). 1, or 0. */
struct image_kept {
	const char *rather; /* the caller's */
	bool may_miss;
	int missing; /* blobs: their layers are here in another form */
	struct image_document doc;
	struct image_manifest manifest;
};
void image_kept_free(struct image_kept *k);
int image_manifest_kept(struct runtime *rt, const char *id, const struct image_layer *layers,
			size_t n, struct image_kept *ret, struct err *err);

/* --- form.c: how a layer leaves --- */

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG   "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER    "application/vnd.oci.image.layer.v1.tar"
#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"

struct image_layer_blob;
/* Not asked: as it came, else compressed by gzip. Made where it is not there yet; media_type is
 * OCI's. */
int image_layer_form(struct runtime *rt, const struct image_layer *l, const struct image_pack *o,
		     struct image_layer_blob *ret, struct err *err);
/* Of n layers and, behind them, the config. */
void image_manifest_write(const struct image_descriptor *desc, size_t n, const struct image_pack *p,
			  struct image_document *ret);
/* Is a manifest asked for that is not the one that the image came with? */
bool image_pack_is_other(const struct image_pack *p);
void image_annotate(json_t *manifest, const struct strv *annotations);
/* The one that a push of that name would send. */
int image_manifest_local(struct runtime *rt, const char *name, const struct image *img,
			 const struct image_pack *pack, struct image_document *ret,
			 struct err *err);
/* By the bytes there: 1 when it is compressed; the type is NULL where OCI has none for it. */
int image_blob_codec(int fd, uint64_t at, const char **ret_type, struct err *err);
/* The blob of a layer whose bytes our stream does not give: 1, or 0. */
int image_layer_origin(struct runtime *rt, const struct image_layer *l, struct digest *ret,
		       int *ret_fd, struct err *err);
/* The uncompressed bytes, from there (-1: from the directory). -EBADMSG when they are not those of
 * the DiffID. */
int image_layer_stream(struct runtime *rt, const struct image_layer *l, int origin_fd,
		       struct sink *to, struct err *err);

/* --- depots --- */

/* What a name means there, config and all, and no layer of it. */
struct image_look {
	char *config;
	size_t config_len;
	struct image_manifest manifest;
	int lock_fd; /* of a layout: it stays as it is until this is closed; -1 */
};
void image_look_free(struct image_look *l);
int image_pull_look(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
		    struct image_look *ret, struct err *err);
/* A chain from the bottom up: desc of what is here already is not read. Media types are others'. */
struct image_chain {
	struct strv diff_ids;
	struct image_descriptor *desc;
};
/* Those of its layers that are not here. */
int image_pull_layers(struct runtime *rt, const char *normalized, const struct image_pull_opts *o,
		      const struct image_chain *c, int64_t *ret_top, struct err *err);
/* depot_dir.c: the same of a layout. */
int image_layout_look(struct runtime *rt, const struct image_depot *d,
		      const struct image_pull_opts *o, struct image_look *ret, struct err *err);
int image_layout_layers(struct runtime *rt, const struct image_depot *d,
			const struct image_pull_opts *o, const struct image_chain *c,
			int64_t *ret_top, struct err *err);
/* desc: n layers and, behind them, the document text. */
struct image_layout_new {
	const struct image_descriptor *desc;
	size_t n;
	const char *text;
	const struct image_document *manifest;
};
int image_layout_write(struct runtime *rt, const struct image_depot *d,
		       const struct image_layout_new *w, const struct image_pull_opts *o,
		       struct err *err);

/* --- indexes that are kept whole --- */

/* All that top names comes into the store; ret_blobs are the digests, top's own among them. */
int image_index_fetch(struct runtime *rt, struct image_remote *remote,
		      const struct image_document *top, const struct image_pull_opts *o,
		      struct strv *ret_blobs, struct err *err);
/* Its rows, in the caller's transaction. -ENOENT: a blob went meanwhile, fetch again. */
int image_index_put(struct runtime *rt, const struct image_document *d, const struct strv *blobs,
		    struct err *err);
int image_index_blobs(struct runtime *rt, const char *index, struct strv *ret, struct err *err);
int image_index_has(struct runtime *rt, const char *digest, struct err *err); /* 1, or 0 */
/* The manifest or index that a name was pulled as: 1, or 0 when it is not known. */
int image_tag_doc_put(struct runtime *rt, const char *name, const char *image, const char *digest,
		      struct err *err);
int image_tag_doc_get(struct runtime *rt, const char *name, const char *image, char **ret,
		      struct err *err);

/* --- one layer on its way: fetched and unpacked by threads of its own --- */

struct image_fetch {
	/* the main thread's */
	const struct image_descriptor *desc;
	struct digest diff_id;
	uint64_t max_bytes; /* of its files; 0: no limit */
	int64_t snapshot;   /* active, without parent, until it is published */
	int request;        /* to shale-transfer; 0: the blob is here */
	bool is_started, is_done, is_published, is_local, is_named;
	/* the threads', while they run; fs_fd -1: it is not unpacked */
	int net_fd, part_fd, fs_fd, done_fd;
	bool has_range; /* is_local: of part_fd it is */
	struct layer_range range;
	uint64_t have; /* bytes of part_fd that an earlier pull fetched */
	pthread_t worker;
	pthread_mutex_t lock;
	pthread_cond_t more;
	uint64_t there; /* of part_fd, for who unpacks it */
	bool is_over;   /* no more of it comes */
	struct layer_memo *memo;
	struct layer_info stream;
	struct err err, pump_err;
	bool is_short, is_wrong; /* the bytes ended too early; have another digest */
	_Atomic uint64_t done_bytes;
	_Atomic bool stop, is_finished;
};
/* Nothing of it is open; done_fd is written to when its threads end. */
void image_fetch_init(struct image_fetch *f, int done_fd);
/* The file that its bytes go to, with what an earlier pull got. */
int image_fetch_part(struct runtime *rt, struct image_fetch *f, struct err *err);
/* Takes the partial file's name away (wrong bytes), or gives it the blob's. */
void image_fetch_part_remove(struct runtime *rt, struct image_fetch *f);
int image_fetch_part_keep(struct runtime *rt, struct image_fetch *f, struct err *err);
void image_fetch_sweep(struct runtime *rt); /* partial files that nobody came back for */
/* Asks for what is missing of it. */
int image_fetch_ask(struct image_fetch *f, struct image_remote *r, struct err *err);
/* When it is finished: how it went, in the registry's words if it has any. */
int image_fetch_settle(struct runtime *rt, struct image_fetch *f, struct image_remote *r,
		       struct err *err);
int image_fetch_start(struct image_fetch *f, struct err *err);
void image_fetch_join(struct image_fetch *f);
void image_fetch_close(struct image_fetch *f); /* what the threads had, but part_fd */
long image_fetch_at_once(void);                /* so many may run */
/* Finished without failure: its snapshot comes upon the parent (0: none), is committed and read as
 * we would write it. */
int image_fetch_put_upon(struct runtime *rt, struct image_fetch *f, int64_t parent,
			 struct layer_info *ret, struct err *err);

/* --- rows: which blobs and digests belong to what --- */

struct image_layer_blob {
	struct digest digest;
	uint64_t size;
	char media_type[96], codec[16];
	int level;
};
int image_layer_blob_put(struct runtime *rt, const char *diff_id, const struct image_layer_blob *b,
			 struct err *err);
/* The kept form of a layer: of that codec ("": as it came; NULL: any) and level. 1, or 0. */
int image_layer_blob_get(struct runtime *rt, const char *diff_id, const char *codec, int level,
			 struct image_layer_blob *ret, struct err *err);
/* That very blob, if it is one of the layer. */
int image_layer_blob_find(struct runtime *rt, const struct digest *blob, const char *diff_id,
			  struct err *err);
/* The blob is there already. */
int image_manifest_put(struct runtime *rt, const char *image, const char *media_type,
		       const struct digest *d, struct err *err);
int image_repo_digest_put(struct runtime *rt, const char *repo, const char *digest,
			  const char *image, struct err *err);
int image_remote_blob_note(struct runtime *rt, const char *repo, const char *digest,
			   struct err *err);
/* Some repositories that have or had it, but for that one. */
int image_remote_blob_repos(struct runtime *rt, const struct digest *blob, const char *but,
			    struct strv *ret, struct err *err);

#endif
