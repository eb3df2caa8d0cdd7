/* SPDX-License-Identifier: Apache-2.0 */
/* build, shared inside the module. First the front half (pure: text in, data out), then the back
 * half. */
#ifndef SHALE_BUILD_PRIV_H
#define SHALE_BUILD_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/str.h>
#include <shale/build.h>

/* --- front half
 * ------------------------------------------------------------------------------------------------
 */

/* Limits on text that comes from a Dockerfile, an ignore file or an image's ONBUILD triggers. */
enum {
	DF_BYTES_MAX = 1 << 20,
	DF_INST_MAX = 10000,
	DF_HEREDOC_MAX = 100,
	EXPAND_BYTES_MAX = 1 << 20,
	EXPAND_DEPTH_MAX = 32,
	ARG_BYTES_MAX =
		4 << 20, /* all values of a scope together: each may double the one before */
	PATTERN_BYTES_MAX = 1024,       /* p in ${v#p} */
	PATTERN_VALUE_MAX = 128 * 1024, /* v in ${v#p} */
	GLOB_BYTES_MAX = 4096,
};

/* Where in a Dockerfile a message points. file NULL: a single line, the message has no place. */
struct df_where {
	const char *file;
	int line;
	const char *src; /* the source from the start of that line, maybe several lines, not
			    terminated; NULL: none */
	size_t src_len;
};
struct df_spot {
	int line;
	const char *s; /* the line, not terminated */
	size_t n, at, len;
};
/* The word where the source has it, else the first word of the first line. */
void df_locate(const struct df_where *w, const char *word, struct df_spot *ret);
int df_spot_column(const struct df_spot *p); /* characters, from 1 */
char *df_spot_text(const struct df_spot *p); /* "  LINE | source\n       |  ^~~~" */
struct df_where df_where_inst(const char *file, const struct df_inst *i);

/* "FILE:LINE:COLUMN: text\n  LINE | source\n       | ^~~~". Returns -code. */
int df_fail(const struct df_where *w, int code, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, the word marked. */
int df_fail_word(const struct df_where *w, const char *word, int code, struct err *err,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The same for an instruction that was parsed before. */
int df_fail_inst(const char *file, const struct df_inst *i, int code, struct err *err,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int df_fail_inst_word(const char *file, const struct df_inst *i, const char *word, int code,
		      struct err *err, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Control characters become '?': a message must not drive the terminal. */
void text_safe(char *s);

/* One instruction: raw is the joined line, text the same for people. Fills heredoc names, not their
 * bodies. */
struct inst_ctx {
	struct df_where at;
	char escape;
	bool trigger; /* after ONBUILD */
};
int inst_parse(const struct inst_ctx *x, const char *raw, const char *text, struct df_inst *ret,
	       struct err *err);
void inst_clear(struct df_inst *i);

/* word is "--name" or "--name=value": checked and added. */
int flag_parse(const struct inst_ctx *x, struct df_inst *i, const char *word, struct err *err);
/* The flag as given, or NULL. */
const struct df_flag *inst_flag(const struct df_inst *i, const char *name);
/* Of a flag that is true or false: fallback when it is not given. */
int inst_flag_bool(const struct df_inst *i, const char *name, int fallback);
/* Understood by the parser but not executed by this version? */
bool inst_flag_is_executed(enum df_kind kind, const struct df_flag *f);
/* What an ONBUILD row of an image config holds: the trigger with its heredocs. The caller owns it.
 */
char *inst_trigger_text(const struct df_inst *onbuild);
/* ADD sources that are fetched: http(s)://, git@…, ssh://, git://. */
bool inst_add_is_remote(const char *src);
/* COPY and ADD: is this word of args a heredoc (the n-th of them belongs to heredocs[n])? */
bool inst_is_heredoc_word(const struct df_inst *i, const char *word);

/* "80", "80/TCP", "8000-8002/udp", after expansion: appends "80/tcp" …. */
int expose_parse(const char *word, struct strv *ret, struct err *err);

/* words: 1 a JSON array of strings, 0 no JSON array, -EINVAL an array that holds something else. */
int words_json(const char *s, struct strv *ret);
void words_blank(const char *s, struct strv *ret);
/* Blanks inside quotes or after escape do not split; quotes and escapes stay. */
void words_quoted(const char *s, char escape, struct strv *ret);
/* "--a=b" words at the start, quotes removed; returns the rest. */
const char *words_flags(const char *s, struct strv *ret);
/* "<<EOF", "3<<-'EOF'": fills ret but for its body. */
bool words_heredoc(const char *word, struct df_heredoc *ret);
bool words_is_blank(char c);

/* ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}: * ? and \ escapes. */
int pattern_trim(const char *value, const char *pattern, bool suffix, bool longest, char **ret,
		 struct err *err);
int pattern_replace(const char *value, const char *pattern, const char *with, bool all, char **ret,
		    struct err *err);

/* UTF-8 to code points; a byte that is none becomes UTF8_RAW + byte, so that nothing is lost. n_max
 * 0: no limit. */
enum { UTF8_RAW = 0x110000 };
size_t utf8_decode(const char *s, int32_t *ret); /* bytes used, >= 1 unless *s is 0 */
void utf8_add(struct str *b, int32_t c);

/* Compiled path patterns. dstar: "**" crosses directories as in .dockerignore. */
struct glob;
int glob_compile(const char *pattern, bool dstar, struct glob **ret); /* or -EINVAL */
void glob_free(struct glob *g);
bool glob_run(const struct glob *g, const char *path);

/* What --build-context calls a name of an image or a stage: "busybox" for
 * docker.io/library/busybox:latest. NULL: it is no name. The caller owns it. */
char *plan_context_name(const char *ref);
/* The index of the one that ref means, or -ENOENT. */
int plan_context_find(const struct strv *contexts, const char *ref);

/* NULL: this machine's. */
void plan_platform_set(struct plan_platform *p, const char *text);
bool plan_platform_is_host(const char *text);
/* Platform and stage variables that need no default (TARGETPLATFORM …), or NULL. target: of
 * plan_opts; p: what is built for, NULL: this machine. */
const char *plan_builtin_arg(const char *name, const char *target, const struct plan_platform *p);

/* --- back half: what touches files, rows and processes ------------------------------------------
 */

#include <shale/base/scratch.h>
#include <shale/image.h>
#include <shale/layer.h>
#include <shale/runtime.h>
#include <shale/snap.h>

enum { STEP_ID_LEN = 32 };

/* Variables of a stage: its ENV (in the config) before its ARGs, then global and predefined ones.
 */
struct scope {
	const struct image_config *config;
	struct strv args;              /* "k=v" declared in this stage */
	struct strv unset;             /* ARGs declared without a value */
	const struct strv *build_args; /* from the command line */
	const struct strv *global_args;
	const char *target;
	const struct plan_platform *platform;
	size_t bytes;
};
void scope_free(struct scope *sc);
const char *scope_lookup(const char *name, void *arg);
/* ARG name[=default]; *ret_pair ("k=v", or "k") is what the step prints and hashes; the caller owns
 * it. */
int scope_arg(struct scope *sc, const char *word, char escape, char **ret_pair, struct err *err);
/* ARGs and proxies as a RUN sees them, then ENV: the whole environment. visible: without proxies
 * that no ARG names (for the key). */
void scope_env(const struct scope *sc, struct strv *ret_env, struct strv *ret_visible);

/* How words are expanded. */
struct vars {
	char escape;
	expand_fn *lookup;
	void *arg;
};
/* A metadata instruction, its words expanded, on a config. what gets the expanded text. */
int config_apply(struct image_config *c, const struct df_inst *i, const struct vars *vars,
		 struct str *what, struct err *err);

/* The build context: one walk, read in place, with a stat index of digests. */
struct context_file {
	char *path;    /* "src/a.c" */
	uint32_t mode; /* with type */
	uint32_t uid, gid, nlink;
	uint64_t dev, ino, size, rdev;
	int64_t mtime_ns, ctime_ns;
	char *link; /* symlink target */
	struct digest digest;
	struct digest xattrs; /* of those that a copy keeps; zero: none */
	bool has_digest;      /* both are known */
};
struct build;
struct context;
int context_open(struct runtime *rt, const char *dir, struct context **ret, struct err *err);
void context_close(struct context *c); /* writes the index if it learned something */
void context_cleanup(struct context **c);
#define auto_context cleanup(context_cleanup)
int context_fd(const struct context *c);
/* Sorted by path; walked on first use, the ignore rules applied. */
int context_files(struct context *c, struct context_file **ret, size_t *ret_n, struct err *err);
/* The rules, before the walk: those beside the Dockerfile (a name beneath dir_fd; NULL: there is
 * none), else .dockerignore. */
int context_ignore(struct context *c, int dir_fd, const char *dockerfile, struct err *err);
/* The whole of a regular file beneath dir_fd, which nobody need have been kind to. -ENOENT. */
int context_read(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
		 struct err *err);
/* The same of an O_PATH fd. */
int context_read_fd(int at_fd, size_t limit, char **ret, size_t *ret_len, struct err *err);
const struct ignore *context_rules(const struct context *c); /* NULL: none */
/* Makes sure that each of the n files has its digest: from the index, else read, by two threads. */
int context_digest(struct context *c, struct context_file *files, size_t n, struct err *err);
/* Whether fd, of a file that has just been read, is still what f says of it. */
bool context_is_same(const struct context *c, int fd, const struct context_file *f);
/* What the needed stages will copy is read by a thread of its own while a RUN runs; what it has
 * done when a digest is wanted is taken over, and it ends. */
void context_read_ahead(struct build *b);

/* A tree of which nothing is remembered: one that is unpacked for this build, or a stage's view,
 * of which only what is asked for is walked (context_walk_beneath). root_fd stays the caller's. */
int context_open_tree(struct runtime *rt, int root_fd, struct context **ret, struct err *err);
int context_walk_beneath(struct context *c, const char *path, struct err *err);
/* path alone, without what is in it. 0 when it is no directory. */
int context_add_dir(struct context *c, const char *path, struct err *err);
/* The files beneath "dir/" (dir "" is all) among those walked: a slice. */
void context_slice(const struct context *c, const char *dir, size_t *ret_first, size_t *ret_n);
struct context_file *context_find(const struct context *c, const char *path);
struct context_file *context_at(const struct context *c, size_t i);

/*
 * COPY and ADD. First the sources become items (wildcards and symlinks resolved beneath the root),
 * then the items give a digest for the key, then, on a miss, they are written into the mounted
 * snapshot.
 */
struct remote;
struct copy_item {
	struct context *from;
	char *path;                /* beneath the root, no symlink in it; "" is the root itself */
	char *name;                /* base name at the destination */
	bool is_dir, is_owned;     /* is_owned: the source's owners and devices count */
	struct context_file *file; /* !is_dir */
	struct ignore *only;       /* --parents: what of a directory is meant; NULL: all */
	struct remote *remote; /* ADD of a URL or repository: from is its tree, once it is there */
	bool unpack;           /* an archive is unpacked */
	bool *keep; /* for each file of the directory's slice: is it copied? NULL: all are */
};
struct copy_job {
	const struct df_inst *inst;
	struct context *from;
	bool is_tree;            /* a stage or image: owners and devices count */
	bool unpack;             /* archives are unpacked */
	uint64_t max_bytes;      /* of an archive's files; 0: no limit */
	bool parents, link;      /* the flags */
	struct strv sources;     /* expanded words that are no heredocs */
	struct remote **remotes; /* for each source; NULL for one that is here, or NULL for all */
	char *dest;              /* expanded; relative ones start at workdir */
	const char *workdir;
	char *chown, *chmod, *checksum; /* expanded or NULL */
	struct strv excludes;           /* expanded */
	struct ignore *exclude;
	struct strv doc_names, doc_bodies;
	struct copy_item *items;
	size_t n_items, cap_items;
	bool many;     /* dest must be a directory */
	char *changed; /* a file that was another when it was read than when it was looked at */
};
void copy_job_free(struct copy_job *j);
#define auto_copy_job cleanup(copy_job_free)
int copy_resolve(struct copy_job *j,
		 struct err *err); /* -ENOENT for a source that matches nothing */
int copy_digest(struct copy_job *j, struct digest *ret, struct err *err);
/* On a miss, before the write: what the remote sources have. */
int copy_fetch(struct build *b, struct copy_job *j, struct err *err);
/* upper_fd: where what is written to dest_fd ends up, or -1. */
int copy_write(struct copy_job *j, int dest_fd, int upper_fd, struct err *err);
/* What was found, kept beside the layer for --explain. */
int sources_write(struct snap *snap, const struct copy_job *j, int64_t snapshot, struct err *err);
/* path with every symlink in it resolved beneath root_fd, without a leading slash; what is missing
 * stays as it is. */
int copy_canonical(int root_fd, const char *path, char **ret, struct err *err);
/* What a --link layer holds, once more. */
int copy_layer(struct runtime *rt, int64_t snapshot, int dest_fd, struct err *err);
/* Does a copy have this attribute of its source? */
bool copy_keeps_xattr(const char *name);

/* Step records. */
struct step {
	char id[STEP_ID_LEN + 1];
	int64_t snapshot;
	uint64_t size_bytes;
	int64_t created_s, used_s;
	char *config;
	bool tainted; /* made by hand, or of files that changed meanwhile: no build may find it */
	const char *why; /* tainted: for the history, or NULL */
};
void step_free(struct step *s);
#define auto_step cleanup(step_free)
struct key {
	struct digest digest;
	struct hash *h;
	json_t *ingredients;
};
struct build;
void key_begin(struct key *k, const struct build *b, const char *kind, const char *parent);
void key_add(struct key *k, const char *name, const char *value); /* NULL differs from "" */
void key_addv(struct key *k, const char *name, const struct strv *v);
void key_end(struct key *k);
void key_free(struct key *k);
#define auto_key cleanup(key_free)
/* Alone with the step of this key until *ret_fd is closed: 1 when another had to be waited for,
 * whose record may be there now. */
int step_claim(struct build *b, const struct key *k, int *ret_fd, struct err *err);
/* 1 found, 0 not. */
int cache_find(struct runtime *rt, const struct key *k, struct step *ret, struct err *err);
/* A new record, found by k unless the step is tainted. */
int cache_put(struct runtime *rt, const struct key *k, const char *parent, const char *instruction,
	      struct step *s, struct err *err);
/* Another key for a record that is there. */
int cache_alias(struct runtime *rt, const struct key *k, const char *id, struct err *err);
/* The time of use. */
int cache_touch(struct runtime *rt, const char *id, struct err *err);
/*
 * Builds share a step that they have come to by different ENVs, so its draft config is that of the
 * first one. Who finds it with another config (in *ret) is shown a row with that config, upon the
 * row `shown`. Keys go on naming the step itself.
 */
int cache_face(struct runtime *rt, const struct step *s, const char *shown, const char *instruction,
	       struct step *ret, struct err *err);

/* Threads that turn frozen uppers into DiffIDs while the next steps run. */
struct workers;
struct workers *workers_new(struct runtime *rt);
void workers_free(struct workers *w); /* joins; results not stored are dropped */
void workers_cleanup(struct workers **w);
#define auto_workers cleanup(workers_cleanup)
int workers_add(struct workers *w, int64_t snapshot, struct err *err);
/* Joins and stores the rows of those that the image needs, bottom first. */
int workers_finish(struct workers *w, struct err *err);

/* What the row of a build is made of. */
struct record {
	char id[BUILD_ID_LEN + 1];
	int64_t started_ns;
	json_t *steps;
	size_t text_bytes;
	bool stored;
};
enum { RECORD_LOG_NAME = 64 };
void record_open(struct build *b);
void record_close(struct build *b);
void record_event(struct build *b, const struct build_event *e);
/* The log of the step that is under way, beneath the store: from now on it has an owner. */
int record_log_name(struct build *b, char ret[RECORD_LOG_NAME], struct err *err);
/* failure NULL: r is what came out. */
void record_end(struct build *b, const struct build_result *r, const struct err *failure);

/* One build. */
enum { STAGE_LAZY = -1 };
struct stage_state {
	struct build *b;
	size_t index; /* in the plan */
	bool begun, built;
	bool is_image;  /* its layers are the image's */
	bool no_cache;  /* every step of it runs */
	bool in_target; /* its layers would be the image's, if one was made */
	/* depot.h: the last step with a layer in the trail, from 1. While its layer is not here,
	 * and until somebody needs it, snapshot is STAGE_LAZY. */
	size_t fs_step;
	int64_t snapshot;
	size_t depth; /* layers */
	size_t step;  /* the running one's number */
	char fs_parent[DIGEST_STR_MAX +
		       8]; /* id of the last result that a file system step rests on */
	char parent[DIGEST_STR_MAX + 8]; /* id of the last step of any kind */
	char shown[DIGEST_STR_MAX + 8];  /* the same as people know it: cache_face */
	/* --explain: the earlier records that stand where these two do */
	char like[STEP_ID_LEN + 1], like_fs[STEP_ID_LEN + 1];
	char *platform; /* "linux/arm64"; NULL: nobody said any */
	/* depot_again.c: a copy of this, as it was before the step that is under way; NULL: that
	 * cannot run later. again: this is such a copy, and the step's id. */
	struct stage_state *before;
	char again[STEP_ID_LEN + 1];
	/* What its FROM, or that of the stage at the bottom, began with. */
	int64_t base;
	size_t base_depth, base_rows;
	struct image_config *config;
	struct scope scope;
	struct strv seen; /* for messages */
};
/* --secret and --ssh: what the steps of this build may be given. */
struct ssh_agent;
struct given {
	char *id, *path, *env;   /* path or env */
	struct strv keys;        /* of --ssh: files, instead of path */
	struct ssh_agent *agent; /* that has them, once someone wants it */
};
struct givens {
	struct given *v;
	size_t n, cap;
};
int givens_secrets(const struct strv *texts, struct givens *ret, struct err *err);
int givens_ssh(const struct strv *texts, struct givens *ret, struct err *err);
const struct given *givens_find(const struct givens *g, const char *id);
/* What a secret says, with a NUL after it; the caller owns it, and wipes it. -EFBIG. */
int given_read(const struct given *g, char **ret, size_t *ret_len, struct err *err);
/* The same as one line, trimmed. -EINVAL: no HTTP header can hold it. */
int given_line(const struct given *g, char **ret, struct err *err);
void givens_free(struct givens *g);

/* Parts of the context that steps of this build mount: copied once, gone with the build. */
struct mounted {
	struct digest content;
	int64_t snapshot;
};
void build_unmount(struct build *b);

/* origin.c: where a build context comes from. */
struct origin {
	char *name; /* for people and records: without user information */
	bool is_dir, is_stdin;
	struct context *tree;
	char *text; /* a Dockerfile was given instead of a tree, which is empty then; else NULL */
	size_t text_len;
	struct scratch dir;
	struct remote *remote;
};
#define ORIGIN_INIT                                                                                \
	{                                                                                          \
		.dir = SCRATCH_INIT                                                                \
	}
int origin_open(struct build *b, const char *text, struct origin *ret, struct err *err);
void origin_close(struct origin *o);
/* The Dockerfile that the build means, and with it the context's ignore rules. */
int origin_dockerfile(struct build *b, char **ret, size_t *ret_len, struct err *err);

/* named.c: --build-context. */
enum named_kind { NAMED_TREE, NAMED_IMAGE, NAMED_LAYOUT };
struct named {
	enum named_kind kind;
	char *value;          /* as origin_open takes it; a reference; a layout's directory */
	char *which;          /* of a layout: tag or digest, or NULL */
	struct origin origin; /* of a tree, once something has asked for it */
	bool opening;
	char id[DIGEST_STR_MAX]; /* of a layout: the image, once it is loaded */
};
struct nameds {
	struct strv names; /* as plan_context_name makes them, one for each of v */
	struct named *v;
	size_t n, cap;
};
int nameds_parse(const struct strv *texts, struct nameds *ret, struct err *err);
void nameds_free(struct nameds *l);
struct named *named_find(struct build *b, const char *name); /* NULL: there is none */
int named_tree(struct build *b, struct named *n, struct context **ret, struct err *err);
int named_layout(struct build *b, struct named *n, struct image **ret, struct err *err);

struct build {
	struct runtime *rt;
	struct origin origin;
	struct nameds contexts;
	struct givens secrets, ssh;
	struct mounted *mounted;
	size_t n_mounted, cap_mounted;
	const struct build_opts *o;
	const struct dockerfile *d;
	const struct plan *plan;
	const char *file_name;
	char *target_name;
	char *text;              /* of the Dockerfile */
	struct strv materials;   /* attest.h */
	struct context *context; /* of origin */
	struct workers *workers;
	struct stage_state *stages;
	struct strv build_args;
	struct depots *depots; /* NULL: neither --cache-from nor --cache-to */
	struct record record;
	size_t step, total, cached; /* step: the last number given */
	struct fibers *fibers;
	struct stage_state *at; /* the stage that is under way right now; NULL: none */
	size_t boxes;           /* RUNs that run */
	struct err err;         /* of the stage that failed first; code 0: none has */
	bool told_depth, resumed;
	struct build_failure *failure; /* of the result */
	int64_t now_s;                 /* of images and history: at most the epoch */
	int64_t explain_before; /* rows of steps from here on are this build's; 0: not asked yet */
	int64_t wall_s;         /* when the build began: for what is least recently used */
	const int64_t *epoch;   /* SOURCE_DATE_EPOCH: nothing is newer; NULL: it is not set */
	int64_t epoch_s;
	const char *epoch_text;
	char timestamp_text[32];
	int self_exe, lease_fd;
	const char *network; /* of RUNs that name none: "host", "none", a bridge network */
	struct build_net {
		bool is_made;
		int fd;
		char id[72];
	} net;                /* run_net.c: of all steps that are in a bridge network */
	struct ids_range ids; /* --userns: opened by the first RUN that runs */
	struct ids_range
		tool_ids; /* of the first tool; count 0: there was none, fd -1: the host's */
};
/* Sets b->network. look_only: whether it exists is of no interest. -ENOENT, -EINVAL. */
int build_net_choose(struct build *b, bool look_only, struct err *err);
void build_net_close(struct build *b);
/* An image by what a Dockerfile calls it, pulled where that is wanted: its progress is the running
 * step's output. */
struct image;
int build_find_image(struct build *b, const char *ref, const char *platform, struct image **ret,
		     struct err *err);
/* Builds all that the target needs: stages that do not need each other side by side. */
int stages_build(struct build *b, struct err *err);
/* In a stage that needs another one: until that is built. */
int stage_wait(struct build *b, size_t index, struct err *err);
/* Other stages go on until fd is readable (1) or the time is over (0); fd -1: for a moment. */
int build_wait(struct build *b, int fd, int timeout_ms);
/* What --from names: a context, a stage before this one, which is built when it was not yet, or an
 * image.
 * result: what its tree is called in keys. */
struct build_tree {
	struct stage_state *stage; /* or NULL: an image */
	int64_t snapshot;          /* of a stage: after build_tree_whole */
	char result[DIGEST_STR_MAX + 8];
	struct context *context; /* a named context, read in place: nothing else is set */
};
int build_find_tree(struct build *b, struct stage_state *st, const char *name,
		    struct build_tree *ret, struct err *err);
/* Before the tree is mounted: layers that a step was found with, but that are not here, come. */
int build_tree_whole(struct build *b, struct build_tree *t, struct err *err);
bool stage_is_lazy(const struct stage_state *st);
int stage_whole(struct build *b, struct stage_state *st, struct err *err);
/* Does the tree need steps to run whose layers nobody has? */
bool stage_is_absent(const struct build *b, const struct stage_state *st);
/* Before a step of a file that --cache-from may have: so that it can run later. */
void stage_before(struct build *b, struct stage_state *st, const struct df_inst *i);
/* An instruction of a stage. */
int stage_run_inst(struct build *b, struct stage_state *st, const struct df_inst *i,
		   struct err *err);
/* The snapshot of this store that it rests on. */
int64_t stage_rests_on(const struct build *b, const struct stage_state *st);
/* Transfers for a step are its output. */
void build_transfer_opts(struct build *b, struct image_pull_opts *ret);
void stage_state_free(struct stage_state *s);
void build_emit(struct build *b, struct build_event *e);
bool build_is_interrupted(const struct build *b);
uint64_t build_room(const struct build *b); /* free bytes of the store */

/* A record of a depot, or the row that one has become (is_row). */
struct depot_hit {
	const struct depot_source *source;
	const struct depot_record *record;
	int64_t snapshot; /* with a layer: where it is here, or 0 */
	struct key
		alias; /* what the row of a step that a record was found for is found by besides */
	bool is_row;
};

/* The moments of a step that makes a layer: begin (or a hit), then the work on a mounted snapshot,
 * then end. */
struct step_run {
	struct build *b;
	struct stage_state *st;
	const struct df_inst *inst;
	struct key *key, *content_key; /* content_key: NULL or a second key to look under */
	bool link;     /* the layer is made in an empty directory and needs no parent */
	bool own_root; /* link: and its root is no copy of the parent's */
	int64_t reads; /* another snapshot that the work needs, or 0 */
	int64_t reuse; /* link: a layer of the same content upon another parent, or 0 */
	const char *text;
	int64_t started_ns;
	bool was_full;               /* the file system, when the work went wrong */
	int64_t kept;                /* the snapshot of a program that failed, or 0 */
	const struct copy_job *copy; /* COPY and ADD: resolved, with its digests */
	struct depot_hit hit;
	const struct ids_range *ids; /* whose namespace the work is done from, or NULL */
};
/* What --cache-from has for the key of a step with or without a layer: 1, or 0. */
int depots_find(struct step_run *r, const struct key *k, bool has_layer, struct err *err);
/* Whether steps leave without the stages that they read: then they are found by what they read. */
bool depots_want_content(const struct build *b);
int run_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err);
int copy_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err);
int workdir_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err);
int meta_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err);

typedef int step_work_fn(int root_fd, int64_t snapshot, void *arg, struct err *err);
/* Looks under the key; on a miss makes a snapshot, lets work fill it, freezes, commits and records
 * it. */
int step_layer(struct step_run *r, step_work_fn *work, void *arg, struct err *err);
/* The same for a step that changes the config only. */
int step_config(struct step_run *r, struct err *err);
void step_begin(struct step_run *r);
/* --explain: why this step is about to run. */
int explain_step(struct step_run *r, struct err *err);
/* reshape.c: --squash, --fold, once the target is built; 0 when there is nothing of it to do. */
int build_reshape(struct build *b, struct stage_state *st, struct err *err);
/* What a step of a cache's record costs or gains: made known. */
/* A record was used: for the least recently used to go first. */
int step_use(const struct build *b, const struct step *s, struct err *err);
void step_announce(struct step_run *r, const struct step *s, bool hit, bool has_layer);
int step_freeze(struct step_run *r, int64_t id, struct layer_info *ret, struct err *err);
/* resume.c: is this the step that was repaired; its snapshot, ready to be frozen. */
bool step_is_resumed(const struct step_run *r);
#define STEP_REPAIRED "repaired by hand: shale build --resume" /* why it ran */
int step_resume(struct step_run *r, int64_t *ret_snapshot, struct err *err);

#endif
