/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --cache-to and --cache-from: step records that leave the store and come back elsewhere.
 *
 * A record of this store is found by a key that names the parent's result by the random id which
 * that got when it ran, so a key means nothing outside. What leaves is found by a portable key:
 * SHA-256 over the same ingredients in one order, where each result is called by its ChainID, and a
 * step without a layer by its own portable key; the platform is an ingredient, the scope is none.
 * The ChainID is known of what comes from an image, from a depot or from a hit, and of what ran
 * anew only once it is hashed: such a step makes later ones miss, as everywhere in the cache.
 *
 * A record says: who has this key has this layer upon that ChainID. Whether the layer is right for
 * the key nobody can check: a depot is believed because the user names it, and what comes from it
 * is recorded in the build's own scope only. But the layer is known by its DiffID, from which and
 * from the ChainID beneath its own ChainID follows: a record cannot put other bytes where an honest
 * one is expected. Nothing but hashes, sizes and times leaves besides the layers: neither
 * instructions nor variables nor secrets.
 *
 * The trail is what this build's steps were, in order. A hit in a depot whose layer is not here
 * has no snapshot: the stage goes on without (lazy), and only who mounts the tree, or makes an
 * image of it, has the layers fetched (stage_whole). Then the rows are written as well, and the
 * next build finds the step here.
 *
 * With mode=min the layers of other stages stay behind, but not their records (absent): they say
 * what COPY --from and RUN --mount have read, so nothing of it need be made again. Where somebody
 * does need such a tree, the steps from the lowest absent layer on run after all, each from the
 * state that its stage was in before it (stage_again), and give the entry its snapshot.
 */
#ifndef SHALE_BUILD_DEPOT_H
#define SHALE_BUILD_DEPOT_H

#include "priv.h"

/* --- the document: pure, foreign bytes --- */

enum {
	DEPOT_RECORDS_MAX = 16384,
	TRAIL_KEYS_MAX = 6, /* of a step: by name and by content, and as many as a depot knew */
};

struct depot_layer {
	struct digest diff_id, below, chain; /* chain: computed */
	bool has_below;
	uint64_t size_bytes; /* of its files: for people */
};
struct depot_record {
	struct digest key;
	bool has_layer, is_absent;
	size_t layer; /* index in layers, or in absent */
	int64_t created_s;
};
struct depot_doc {
	struct depot_layer *layers, *absent; /* absent: without diff_id */
	struct depot_record *records;        /* by key */
	size_t n_layers, n_absent, n_records;
};
/* The document, or (is_image) the config of an image with records in it; of one without them none
 * come. -EINVAL. */
int depot_doc_parse(const char *text, size_t len, bool is_image, struct depot_doc *ret,
		    struct err *err);
void depot_doc_free(struct depot_doc *d);
/* The first with that key, or NULL. */
const struct depot_record *depot_doc_find(const struct depot_doc *d, const struct digest *key);
const struct depot_layer *depot_doc_layer(const struct depot_doc *d, const struct depot_record *r);
char *depot_doc_text(const struct depot_doc *d);    /* caller owns */
char *depot_doc_records(const struct depot_doc *d); /* what an image has of it */

/* --- what the command line names --- */

struct depot_spec {
	struct image_depot at;
	char *text; /* for messages */
	bool is_inline, is_max, ignore_error;
	struct image_pack pack;
};
void depot_spec_free(struct depot_spec *s);
/* "REF", "type=local,dest=DIR,mode=max". -EINVAL, -ENOTSUP. */
int depot_spec_parse(const char *text, bool is_to, struct depot_spec *ret, struct err *err);

/* --- one build's --- */

struct depot_source {
	struct depot_spec spec;
	struct image_depot_doc at;
	struct depot_doc doc;
};

struct trail_step {
	char id[STEP_ID_LEN + 1];
	char name[DIGEST_STR_MAX + 8]; /* as portable keys call its result; "": not known yet */
	json_t *ingredients, *content; /* content: those of its second key, or NULL */
	char *platform;
	bool has_layer, in_target, is_tainted, is_kept; /* is_kept: it has its row */
	int64_t created_s;
	uint64_t size_bytes;
	size_t below;          /* has_layer: the step whose layer is beneath, from 1; 0: */
	int64_t base;          /* the snapshot that is */
	int64_t snapshot;      /* has_layer: 0 while it is not here */
	size_t on;             /* !has_layer: the step whose layer it stands on, from 1, or 0 */
	struct depot_layer at; /* has_layer, found elsewhere: what it is there */
	struct digest *keys;   /* under which it is known there besides */
	size_t n_keys;
	/* of a lazy one */
	const struct depot_source *source;
	size_t layer; /* of the source */
	bool is_absent;
	const struct df_inst *inst; /* is_absent, or upon one: the step may have to run */
	struct stage_state *before;
	bool is_busy, is_replaced; /* it is running; a later entry has what came of it */
	struct digest key, alias;
	bool has_alias;
	char *parent, *text, *config;
};

/* A document in the making: snapshots[i] is the layer of layers[i]. */
struct depot_draft {
	struct depot_doc doc;
	int64_t *snapshots;
};
struct build_leaving {
	size_t builds;         /* that are still to come */
	struct depot_draft *v; /* one for each that the command line names */
	size_t n;
};

struct depots {
	struct depot_source *from;
	size_t n_from;
	struct depot_spec *to;
	size_t n_to;
	struct trail_step *v;
	size_t n, cap;
};

int depots_parse(struct build *b, struct err *err);
/* Sources are read; one that is missing or damaged is a warning. */
int depots_open(struct build *b, struct err *err);
void depots_close_sources(struct build *b);
void depots_free(struct build *b);
/* A step that was found or ran; its snapshot is the one that st stands on next. */
void trail_add(struct step_run *r, const struct step *s, bool has_layer);
/* A step that no store row may be written for yet. */
void trail_defer(struct step_run *r, const struct step *s, bool has_layer);
/* What keys that leave call the result `name`, or NULL. */
const char *trail_name(const struct build *b, const char *name);
/* 1, or 0 when the step is not one that leaves. */
int trail_key(const struct build *b, json_t *ingredients, const char *platform, struct digest *ret);
int trail_key_of(const struct build *b, json_t *ingredients, const struct image_config *c,
		 struct digest *ret);
/* The name of an entry whose snapshot is hashed by now. */
int trail_settle(struct build *b, struct trail_step *t, struct err *err);
/* So that entry number i (from 1) has its snapshot, of which no layer is absent. */
int trail_fetch(struct build *b, size_t i, struct err *err);
/* The entry has its snapshot: rows that waited for it. */
int trail_arrived(struct build *b, size_t i, int64_t snapshot, uint64_t size_bytes,
		  struct err *err);
/* depot_again.c: is there an absent layer in that tree? */
bool trail_is_absent(const struct depots *d, size_t i);
/* The steps of absent layers run. */
int trail_again(struct build *b, size_t i, struct err *err);

/* Before the image is written, its layers hashed: records for its config, if they are asked for. */
int depots_inline(struct build *b, struct stage_state *st, struct err *err);
/* When it is. */
int depots_write(struct build *b, struct err *err);

#endif
