/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build: a Dockerfile becomes an image.
 *
 * dockerfile_parse and plan_make are pure (no file, no store); build_run does the work. FIELD.md a
 * is the language in detail.
 */
#ifndef SHALE_BUILD_H
#define SHALE_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

enum df_kind {
	DF_ADD,
	DF_ARG,
	DF_CMD,
	DF_COPY,
	DF_ENTRYPOINT,
	DF_ENV,
	DF_EXPOSE,
	DF_FROM,
	DF_HEALTHCHECK,
	DF_LABEL,
	DF_MAINTAINER,
	DF_ONBUILD,
	DF_RUN,
	DF_SHELL,
	DF_STOPSIGNAL,
	DF_USER,
	DF_VOLUME,
	DF_WORKDIR,
	DF_KINDS
};

struct df_flag {
	char *name, *value; /* "--chown=1:2": "chown", "1:2"; "--link": "link", NULL */
};

struct df_heredoc {
	char *name;  /* EOF */
	char *body;  /* lines with their ends; tabs stripped for <<- */
	bool expand; /* the word was not quoted */
	bool strip;  /* <<- */
};

/* One instruction as written: unexpanded. */
struct df_inst {
	enum df_kind kind;
	int line, end_line; /* from 1 */
	char *text; /* the original, continuation lines joined by one space, comments removed; what
		       history and messages show */
	struct df_flag *flags;
	size_t n_flags;
	bool is_json;     /* exec form */
	struct strv args; /* words: JSON strings; for shell-form RUN/CMD/ENTRYPOINT one string, the
			     rest of the line; for ENV/LABEL/ARG: pairs as "k=v" raw (ARG without
			     default "k"); else blank-separated words, quotes kept for expansion */
	struct df_heredoc *heredocs;
	size_t n_heredocs;
	struct df_inst *onbuild; /* ONBUILD: the trigger, parsed */
	char *src;               /* its lines as they are in the file, without heredoc bodies */
	char *comment;           /* the comment lines right above, without "#", or NULL */
	int gap_line;            /* an empty line inside, or 0 */
	bool old_form;           /* ENV k v, LABEL k v */
	bool like_json;          /* meant as the exec form, but it is none */
};

struct dockerfile {
	struct df_inst *inst;
	size_t n;
	char escape;          /* '\\' or '`' */
	char *syntax, *check; /* directive values or NULL */
};

/* file_name is for messages ("Dockerfile:3:1: unknown instruction: RUM (did you mean RUN?)\n  3 |
 * RUM x\n    | ^~~"). -EINVAL. */
int dockerfile_parse(const char *file_name, const char *text, size_t len, struct dockerfile **ret,
		     struct err *err);
void dockerfile_free(struct dockerfile *d);
void dockerfile_cleanup(struct dockerfile **d);
#define auto_dockerfile cleanup(dockerfile_cleanup)
/* An instruction made of one line (ONBUILD triggers of a base image, import --change). Caller frees
 * with df_inst_free. */
int dockerfile_parse_line(const char *text, char escape, struct df_inst **ret, struct err *err);
void df_inst_free(struct df_inst *inst);
const char *df_kind_name(enum df_kind kind); /* "ADD" */

/*
 * Word expansion (all of ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p}
 * ${v/p/r} ${v//p/r}, quotes, escapes). lookup returns the value or NULL for unset. expand_word
 * removes quotes; expand_words also splits at unquoted blanks.
 */
typedef const char *expand_fn(const char *name, void *arg);
int expand_word(const char *word, char escape, expand_fn *lookup, void *arg, char **ret,
		struct err *err);
int expand_words(const char *word, char escape, expand_fn *lookup, void *arg, struct strv *ret,
		 struct err *err);
/* Heredoc bodies: variables and escapes only, quotes stay. */
int expand_text(const char *text, char escape, expand_fn *lookup, void *arg, char **ret,
		struct err *err);

/* .dockerignore: moby patternmatcher's MatchesOrParentMatches. */
struct ignore;
int ignore_parse(const char *text, size_t len, struct ignore **ret, struct err *err);
/* One more pattern, *g made when it is NULL; "!" counts when it may negate. */
int ignore_add(struct ignore **g, const char *pattern, bool may_negate, struct err *err);
void ignore_free(struct ignore *g);
bool ignore_match(const struct ignore *g,
		  const char *path);              /* "src/a.c": excluded? NULL g: never */
bool ignore_has_negation(const struct ignore *g); /* a pruned directory may hold kept files */
/* Go's filepath.Match on one whole path: 1, 0, -EINVAL for a bad pattern. */
int glob_match(const char *pattern, const char *path);

/*
 * The stage graph. A stage is built when something that the target needs refers to it; references
 * go to earlier stages only.
 */
enum plan_base { PLAN_SCRATCH, PLAN_IMAGE, PLAN_STAGE, PLAN_CONTEXT };

struct plan_stage {
	char *name; /* lower case, NULL without AS */
	enum plan_base base;
	char *base_ref;    /* PLAN_IMAGE: the reference after expansion of global ARGs;
			      PLAN_CONTEXT: its name */
	size_t base_stage; /* PLAN_STAGE: index */
	char *platform;    /* --platform after expansion, or NULL */
	const struct df_inst *from;
	const struct df_inst *inst; /* those after FROM; point into the dockerfile */
	size_t n_inst;
	bool needed;      /* the target rests on it */
	bool is_replaced; /* a context has its name: its instructions do not count */
};

struct plan_platform {
	char text[64], os[24], arch[24], variant[16]; /* "linux/arm/v7", "linux", "arm", "v7" */
};

struct plan {
	struct plan_platform platform; /* that is built for */
	struct plan_stage *stages;
	size_t n;
	size_t target;           /* index of the stage to deliver */
	struct strv global_args; /* "k=v" of ARGs before the first FROM, build args applied */
};

struct plan_opts {
	const char *target;            /* NULL: the last stage */
	const struct strv *build_args; /* "k=v" */
	const char *platform;          /* of image_platform_text; NULL: this machine's */
	const struct strv *allow;      /* what RUN may ask for; NULL: nothing */
	const struct strv *contexts;   /* names of --build-context; NULL: none */
	const char *network;           /* of a RUN that names none; NULL: the host's */
	const char *file_name;
	bool look_only; /* nothing will be built: what this version does not execute may stand */
};

/* -EINVAL, -ENOENT (target), -ENOTSUP for a flag that is understood but not executed by this
 * version, with its line. d must outlive the plan. */
int plan_make(const struct dockerfile *d, const struct plan_opts *o, struct plan **ret,
	      struct err *err);
void plan_free(struct plan *p);
void plan_cleanup(struct plan **p);
#define auto_plan cleanup(plan_cleanup)
char *plan_text(const struct plan *p); /* for golden files: one line a stage and instruction */
/* An earlier stage by name or index: its index, or -ENOENT. before: only stages with a smaller
 * index count. */
int plan_stage_find(const struct plan *p, const char *name, size_t before);

/* --chmod of COPY and ADD: octal ("755", "0644") or symbolic ("u=rwX,go=rX", "+x"): the new mode of
 * a file that has mode now. -EINVAL. */
int chmod_apply(const char *spec, uint32_t mode, bool is_dir, uint32_t *ret);

/* --- the work
 * -------------------------------------------------------------------------------------------------
 */

struct runtime;
struct image_config;
struct image_pull_opts;
struct image_access;
struct image_transfer_event;
struct sandbox_limit;

enum build_event_kind {
	BUILD_STEP,     /* an instruction begins: text */
	BUILD_CACHED,   /* it was found: id, size_bytes */
	BUILD_DONE,     /* it ran: id, size_bytes, elapsed_ns */
	BUILD_OUTPUT,   /* bytes a RUN wrote (text, len), any length */
	BUILD_WARNING,  /* text */
	BUILD_EXPLAIN,  /* why it is about to run: text */
	BUILD_TRANSFER, /* a layer of the base image is on its way: transfer. What has a text comes
			   as BUILD_OUTPUT as well */
};

struct build_event {
	enum build_event_kind kind;
	size_t step; /* from 1; total steps of the needed stages, ONBUILD triggers counted as they
			appear */
	size_t total;
	const char *text;
	size_t len;
	const char *id; /* step id, 32 hex digits */
	uint64_t size_bytes;
	bool has_layer; /* false: the step changed the config only */
	int64_t elapsed_ns;
	const struct image_transfer_event *transfer;
};
typedef void build_event_fn(const struct build_event *e, void *arg);

/* What is said of the image besides, as in-toto predicates; nothing by default. */
enum build_provenance_mode {
	BUILD_PROVENANCE_NONE,
	BUILD_PROVENANCE_MIN,
	BUILD_PROVENANCE_MAX, /* with build arguments, the Dockerfile and the plan */
};
struct build_attest {
	enum build_provenance_mode provenance;
	bool sbom;
	char builder_id[256]; /* "": ours */
};
#define BUILD_SLSA "https://slsa.dev/provenance/v1"
#define BUILD_SPDX "https://spdx.dev/Document"
/* type "provenance" or "sbom", text "true", "false" or its attributes; type NULL: text begins with
 * it ("type=provenance,mode=min"). Pure. -EINVAL. */
int build_attest_parse(const char *type, const char *text, struct build_attest *ret,
		       struct err *err);

/* What the checks found (BuildKit's rules, FIELD.md a), by line. */
struct check_warning {
	const char *rule, *description;
	char *text;
	char *source; /* the line, numbered, and a mark beneath the word */
	int line, end_line, column;
};
struct check_report {
	struct check_warning *v;
	size_t n, cap;
	bool is_error; /* there are some, and "check=error=true" */
};
void check_report_free(struct check_report *r);

struct build_opts {
	/* A directory, read in place; "-": a Dockerfile or an archive from standard input; the URL
	 * of one of these, or of a git repository. */
	const char *context;
	const char *file;     /* Dockerfile; NULL: context/Dockerfile; "-": standard input */
	struct strv contexts; /* "NAME=DIR|URL|docker-image://REF|oci-layout://DIR[:TAG|@DIGEST]" */
	const char *target;
	const char *platform; /* of image_platform_text; NULL: this machine's, and any base */
	bool user_ns;         /* RUN steps in a user namespace */
	/* For RUN without --network: NULL or "default" (the runtime's), "none", "host", or the name
	 * of a bridge network. */
	const char *network;
	struct strv tags;       /* as the user gave them */
	struct strv build_args; /* "k=v"; "k" takes the environment's value */
	struct strv labels;     /* "k=v" */
	/* What records are read from and left in besides the store: "REF", "type=local,dest=DIR,…".
	 */
	struct strv cache_from, cache_to;
	struct build_leaving *leaving; /* what several builds leave at once; or NULL */
	struct strv volumes;           /* "HOST:CTR[:ro|rw]"; read-only unless rw */
	struct strv secrets;           /* "id=…,src=…", "id=…,env=…" */
	struct strv ssh;               /* "default", "ID=SOCKET", "ID=KEY,KEY" */
	struct strv known_hosts; /* files of host keys for git by ssh; missing ones are skipped */
	const struct build_resume *resume; /* NULL: none */
	struct strv allow; /* network.host, security.insecure, device, device=/dev/NAME */
	/* What every RUN has besides. */
	struct strv cap_add, cap_drop;
	const char *hosts; /* lines for /etc/hosts, or NULL */
	const struct sandbox_limit *limits;
	size_t n_limits;
	uint64_t shm_bytes;                  /* 0: 64 MiB */
	const struct sandbox_cgroup *cgroup; /* limits, and the beginning of its name; NULL: none */
	bool no_cache;
	struct strv no_cache_stages; /* names: these run whole */
	const int64_t *timestamp;    /* of the image and every file that is new in it; NULL: none */
	const char *scope; /* step records and cache mounts of this name only; NULL: of none */
	bool explain;      /* BUILD_EXPLAIN events */
	size_t jobs;       /* RUNs at once; 0: as many as there are cores, at least four */
	/* What bases and COPY --from that are not here are pulled by (access; the rest is ours). */
	const struct image_access *access;
	bool pull_always, pull_never;
	bool squash, fold; /* the image's new layers become one; attributes move into the layer
			      that has the data */
	bool no_image; /* the target is only built: its layers are not hashed, no image is written
			*/
	/* The target's tree (O_PATH), before the image is written. May be NULL. */
	int (*on_tree)(int root_fd, void *arg, struct err *err);
	void *on_tree_arg;
	struct build_attest attest;
	const char *tool; /* what predicates call this version, or NULL */
	build_event_fn *event;
	void *event_arg;
	/* Set by a signal handler: the running step is killed and build_run returns -EINTR. May be
	 * NULL. */
	volatile int *interrupted;
};

enum { BUILD_ID_LEN = 12 };

/* A RUN that failed, as a place to go to. */
struct snap;
/* Snapshots that are the failure's owner's. */
struct build_places {
	int64_t *v;
	size_t n, cap;
};
void build_places_free(struct build_places *p);
/* And with them what they are. */
void build_places_drop(struct build_places *p, struct snap *snap);
struct build_failure {
	/* Until it is somebody's, a prune beside us must not take it: image_lease's, until
	 * build_failure_settled. */
	bool is_leased;
	int lease_fd;
	int64_t snapshot; /* active, with what it wrote: the caller's now. 0: nothing is kept */
	size_t step;
	char *text;               /* the step's */
	char key[DIGEST_STR_MAX]; /* of the step: build_resume knows it by that */
	struct strv env, shell, volumes;
	char *user, *workdir;
	const char *network; /* "host", "none", a bridge network's name; of build_opts or runtime */
	char *hostname;
	bool is_insecure;           /* it ran with --security=insecure */
	struct strv mounts;         /* what it had besides volumes, as container_spec has it: */
	struct build_places places; /* in these */
	struct strv missing;        /* "the secret x": what could not be kept */
};

void build_failure_settled(struct build_failure *f);

/* A step that was repaired by hand: its snapshot is taken as the result of the RUN with this key.
 * Never from or into the cache. */
struct build_resume {
	char key[DIGEST_STR_MAX];
	int64_t snapshot;
	struct strv targets;                      /* of mounts that were made into it since */
	int (*taken)(void *arg, struct err *err); /* it is used now: nobody else's any more */
	void *arg;
};

struct build_result {
	char image_id[DIGEST_STR_MAX]; /* "" without an image */
	char build_id[BUILD_ID_LEN +
		      1]; /* of its record; set on failure too, "" before one was made */
	size_t steps, cached;
	struct build_failure failure;
	bool resumed;              /* build_opts.resume was used */
	json_t *provenance, *sbom; /* predicates of BUILD_SLSA and BUILD_SPDX, or NULL */
};
void build_result_free(struct build_result *r);
#define auto_build_result cleanup(build_result_free)

/* For builds of one command (several platforms) that leave steps in the same places: what they have
 * found is put together, and written by the last one. */
struct build_leaving *build_leaving_new(size_t builds);
void build_leaving_free(struct build_leaving *l);

/*
 * Dockerfile -> image and tags. Must be called from the main thread. Every step that succeeded
 * stays in the cache, also when a later one fails. -ENOENT missing base, file or source; -EINVAL
 * bad input; -EINTR interrupted; -ECHILD a RUN ended with a code that is not 0.
 */
int build_run(struct runtime *rt, const struct build_opts *o, struct build_result *ret,
	      struct err *err);

/* What a context is called in records: a directory's real path, a URL without its user
 * information. The caller owns it. */
char *build_context_name(const char *context);

/* --- what a build delivers --- */

enum build_output_kind {
	BUILD_OUT_LOCAL, /* files in a directory */
	BUILD_OUT_TAR,   /* the same as an archive */
	BUILD_OUT_OCI,
	BUILD_OUT_DOCKER, /* without dest: the image in the store, as ever */
	BUILD_OUT_IMAGE,
	BUILD_OUT_NOTHING, /* cacheonly */
};
struct build_output {
	enum build_output_kind kind;
	char *dest;        /* NULL: none; "-": standard output */
	struct strv names; /* of an image, as given */
	char *codec;       /* "none", "gzip", "zstd"; NULL: not asked */
	int level;
	bool push, is_dir, docker_types;
	bool by_digest, is_merged;     /* no name there; platforms are not kept apart */
	struct strv annotations;       /* "k=v" of the manifest */
	struct strv index_annotations; /* of the index, where there is one */
};
/* -o: "DIR", "-", or CSV "type=oci,dest=FILE,…". Pure. -EINVAL. */
int build_output_parse(const char *text, struct build_output *ret, struct err *err);
void build_output_free(struct build_output *o);
/* --annotation: "[manifest:|index:|manifest,index:]k=v", added to ret's. */
int build_annotation_parse(const char *text, struct build_output *ret, struct err *err);

/*
 * What is in the tree root_fd goes beneath the directory dest_fd: files that are there are
 * replaced, others stay; a directory never gives way to a file (-EISDIR). All of it belongs to uid
 * and gid, so setuid and setgid bits stay behind, and devices and sockets are left out.
 * *ret_left_out: how many. Whoever changes dest_fd meanwhile cannot lead a write outside.
 */
struct build_owner {
	uint32_t uid, gid;
};
int build_tree_write(int root_fd, int dest_fd, const struct build_owner *owner,
		     size_t *ret_left_out, struct err *err);
/* The same as a tar stream, with owners, modes and devices. */
struct sink;
int build_tree_tar(int root_fd, struct sink *to, struct err *err);

/* --- records: every build has a name, and its steps' logs stay whole as long as its record does
 * --- */

enum build_status { /* stored: numbers stay */
		    BUILD_RUNNING = 1,
		    BUILD_COMPLETE = 2,
		    BUILD_FAILED = 3,
		    BUILD_CANCELED = 4,
		    BUILD_LOST = 5, /* its process was killed */
};
const char *build_status_name(enum build_status status);

/* info: "file", "context", "target", "tags", "image" or "error", "total", "cached", and "steps": of
 * each "step" (its number), "text", "id", "cached", "layer", "size", "elapsed_ns", "log", "why"
 * (--explain); of a
 * failed one also "container" and "key" (build_record_keep). */
struct build_record {
	char id[BUILD_ID_LEN + 1];
	enum build_status status;
	int64_t started_ns, finished_ns; /* 0: not yet */
	json_t *info;
};
void build_record_free(struct build_record *r);
#define auto_build_record cleanup(build_record_free)
/* An id, the beginning of one, "@last" or "@N" (the Nth last). -ENOENT, -EINVAL. */
int build_record_find(struct runtime *rt, const char *name, struct build_record *ret,
		      struct err *err);
typedef int build_record_fn(const struct build_record *r, void *arg, struct err *err);
int build_record_walk(struct runtime *rt, build_record_fn *fn, void *arg,
		      struct err *err); /* newest first */
/* What RUN step number step wrote, as an fd. -ENOENT: it wrote none. */
int build_record_log(struct runtime *rt, const struct build_record *r, size_t step,
		     struct err *err);
/* A failed build's place: the container that was made of it, and the key of its step. */
int build_record_keep(struct runtime *rt, const char *id, const char *container, const char *key,
		      struct err *err);
/* With its logs. -EBUSY while it runs. */
int build_record_remove(struct runtime *rt, const struct build_record *r, struct err *err);
/* All but the newest go, and logs that nobody owns. */
int build_record_trim(struct runtime *rt, size_t keep, struct err *err);

/*
 * What docker build --call prints instead of building: the checks' warnings (of all stages unless
 * there is a target; *ret_warnings is their number), what the target takes, or the stages. Nothing
 * is fetched. ret: owned by the caller.
 */
struct build_call {
	enum build_call_kind { BUILD_CALL_CHECK, BUILD_CALL_OUTLINE, BUILD_CALL_TARGETS } kind;
	bool json;
};
int build_call(struct runtime *rt, const struct build_opts *o, const struct build_call *call,
	       char **ret, size_t *ret_warnings, struct err *err);

/* One instruction on a config, as import --change: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL
 * ONBUILD STOPSIGNAL USER VOLUME WORKDIR. */
int build_change(struct image_config *c, const char *line, struct err *err);
/* A file from a web server, fetched without privileges, into to_fd; as much as the store has room
 * for. *ret_shown: the URL without user information, the caller's. */
int build_url_get(struct runtime *rt, const char *url, const struct image_pull_opts *o, int to_fd,
		  char **ret_shown, struct err *err);

#endif
