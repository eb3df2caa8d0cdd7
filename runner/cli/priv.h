/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: from words to calls. A command is a table of options and a function (cmd_<name>.c) that
 * calls modules; it holds no logic of theirs.
 *
 * Results go to stdout, everything else to stderr. A command returns its exit code; a failure is a
 * struct err that cli_fail prints once. Positional words stay where main got them; what an option
 * took into a struct strv is freed after the command returned.
 */
#ifndef SHALE_CLI_PRIV_H
#define SHALE_CLI_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/base/str.h>
#include <shale/runtime.h>
#include <shale/snap.h>

#include "settings.h"

/* --- opt: one table feeds the parser, --help and completion
 * ------------------------------------------------------- */

enum opt_type {
	OPT_BOOL,     /* bool; also --name=true|false */
	OPT_TRUE,     /* no field: what it says is always so; --name=false is an error */
	OPT_STR,      /* const char *, NULL: not given */
	OPT_STRV,     /* struct strv, may be repeated */
	OPT_INT,      /* int */
	OPT_U64,      /* uint64_t */
	OPT_BYTES,    /* uint64_t: "512", "64k", "1g" */
	OPT_SECONDS,  /* int, milliseconds; a negative number gives -1 */
	OPT_DURATION, /* int64_t, nanoseconds: "1h30m" */
};

struct opt {
	char letter;      /* 0: none */
	const char *name; /* NULL ends the table */
	enum opt_type type;
	size_t offset;     /* in the command's args */
	const char *value; /* how --help names it: "SECONDS"; NULL for flags */
	const char *help;  /* NULL: accepted but not shown */
	const char *words; /* of a value that may be missing ("true" then): the next word is it only
			      when it is one of these, blank-separated. NULL: it may not */
	const char *refused; /* why what other tools have is not done here, told to whoever asks
				for more than words, which change nothing; type: OPT_STR or
				OPT_TRUE. NULL: it is done */
};

#define OPT_REFUSED(name, words, why)                                                              \
	{                                                                                          \
		0, name, OPT_STR, 0, "VALUE", NULL, words, why                                     \
	}
#define OPT_REFUSED_FLAG(name, why)                                                                \
	{                                                                                          \
		0, name, OPT_TRUE, 0, NULL, NULL, "false 0", why                                   \
	}

/*
 * Options of argv go into args, other words to the front of argv: *ret_argc of them, then NULL.
 * stop_at_arg: the first other word ends the options (run, exec). "--" always does. --help sets
 * *ret_help. -EINVAL.
 */
struct opt_parse {
	const struct opt *opts; /* NULL: none */
	void *args;
	bool stop_at_arg;
	bool help; /* set when --help, or a -h that is no option of this command, was seen */
};
int opt_parse(struct opt_parse *p, int *argc, char **argv, struct err *err);
/* Whose value would come after these words: NULL when an option or a positional word would.
 * *ret_args: how many of the positional there are. */
const struct opt *opt_awaits(const struct opt_parse *p, char *const *words, int *ret_args);
/* Frees what OPT_STRV options hold. */
void opt_free(const struct opt *opts, void *args);
/* The options as --help shows them, aligned. */
void opt_help(const struct opt *opts, struct str *out);

/* --- commands
 * -------------------------------------------------------------------------------------------------------
 */

struct cli;

enum command_flag {
	CMD_STOP_AT_ARG =
		1, /* options end at the first positional word: what follows is the program's */
	CMD_EXIT_125 =
		2, /* failures of shale's own are 125, as Docker's run, create, start and exec */
	CMD_HIDDEN = 4, /* not in help and completion */
	CMD_ANYONE = 8, /* needs no root */
	CMD_HEAVY = 16, /* a row of name and summary only: shale-build runs it */
	CMD_FREES = 32, /* makes room: may use what is kept in reserve for that on a full disk */
};

struct command {
	const char *name;    /* "stop" */
	const char *args;    /* "CONTAINER..." */
	const char *summary; /* "Stop containers" */
	const struct opt *opts;
	size_t args_size;
	/* argv: argc positional words and a NULL. Returns the exit code. */
	int (*main)(struct cli *c, void *args, int argc, char **argv);
	int min_args, max_args; /* max -1: any number */
	unsigned flags;
	void (*complete)(struct cli *c, const char *prefix); /* prints what a word may be
								(complete_images below); or NULL */
	const void *defaults; /* args start as a copy of this (args_size bytes); NULL: zeroed */
};

/* commands.c, for shale: name sorted, NULL-terminated. commands_heavy.c, for shale-build. */
extern const struct command *const cli_commands[];
extern const struct command *const cli_commands_heavy[];

/* Other spellings, in alias.c: "image ls" -> "images", "rmi" ... */
struct alias {
	const char *group; /* "image"; NULL: a single word */
	const char *name;  /* "ls" */
	const char *command;
};
extern const struct alias cli_aliases[];

/* --- main
 * ----------------------------------------------------------------------------------------------------------
 */

struct cli {
	struct runtime rt; /* valid after cli_open */
	bool opened;
	const struct command *const *commands; /* of this program */
	const struct command *command;
	struct settings settings;
	const char *root; /* of settings */
	enum snap_driver driver;
	bool debug;
	char **words; /* the command's words as given, without its name; for cli_exec_heavy */
};

int cli_main(const struct command *const *commands, int argc, char **argv);
extern const struct opt cli_globals[];

/* The command that words begin with, also spelled in Docker's groups. -EINVAL with what may have
 * been meant. */
struct command_found {
	const struct command *command; /* NULL: nothing, or a group's name alone */
	const char *group;             /* NULL: not spelled in a group */
	int n_words;                   /* how many words that took */
};
int cli_resolve(const struct command *const *commands, char **words, struct command_found *ret,
		struct err *err);

/* help.c, to stdout */
void help_all(const struct command *const *commands, const char *group);
void help_command(const struct command *cmd);
/* The row of "image prune" for those that are spelled in a group only, else NULL. */
const struct alias *help_spelling(const struct command *cmd);
/* As it is typed: "stop", "image prune". Caller owns it. */
char *help_name(const struct command *cmd);

/* Opens the store (made where missing). Nothing happens the second time. */
int cli_open(struct cli *c, struct err *err);
/* After it: what --max-layer-size said, if it was given. */
int cli_limit_layers(struct cli *c, const char *text, struct err *err);
#define MAX_LAYER_OPT(at)                                                                          \
	{                                                                                          \
		0, "max-layer-size", OPT_STR, at, "SIZE",                                          \
			"refuse a layer that unpacks to more (10GB, 10%, none)"                    \
	}
/* "shale: <msg>" to stderr; the exit code: 1, or 125 for CMD_EXIT_125. */
int cli_fail(struct cli *c, const struct err *err);
/* The same for bad usage, with the hint to --help: 2, or 125. */
int cli_usage(struct cli *c, const struct err *err);
/* The flush and check that every successful command ends with: 0, or an exit code when stdout could
 * not be written. */
int cli_done(struct cli *c);
/* This command line again, as command name of shale-build. Returns only on failure. */
int cli_exec_heavy(struct cli *c, const char *name, struct err *err);
/* words as arguments of shale-build, in a process of its own that is waited for. */
int cli_spawn_heavy(struct cli *c, const struct strv *words, const int fds[3], int *ret_code,
		    struct err *err);
/* Asks "y/N" on the terminal for what --force skips: true to go on. */
bool cli_confirm(const char *question);

/* version.c */
extern const char shale_version[];

/* runtime.c */
int runtime_open(struct runtime *ret, const char *root, struct err *err);
void runtime_close(struct runtime *rt);

/* --- out: tables, templates, sizes
 * ------------------------------------------------------------------------------------ */

struct out_column {
	const char *header; /* "IMAGE ID" */
	const char *key;    /* of the row's object: "ID" */
	bool hidden;        /* only by --format */
};

/*
 * rows (an array of objects) to stdout. format: NULL or "table" the shown columns aligned; "json"
 * one object a line; "table {{.X}}\t…"; or a Go template a row. quiet_key: just that value, one a
 * line. cols ends with a NULL header. -EINVAL for a bad template.
 */
struct out_list {
	const struct out_column *cols;
	const char *format;
	const char *quiet_key;
	bool no_heads;
};
int out_list(const struct out_list *o, const json_t *rows, struct err *err);
/* One value by format ("json" or a template). */
int out_value(const char *format, const json_t *value, struct err *err);
/* Foreign text without control characters; in a cell neither line ends nor tabs. */
void out_clean(FILE *to, const char *s, bool is_cell);
/* "2 hours ago", "About a minute ago". Caller owns it. */
char *out_ago(int64_t then_s);
/* "2026-01-02T03:04:05Z"; Caller owns it. */
char *out_time(int64_t t_s);
/* "s" but for one. */
const char *out_plural(size_t n);
/* As much of it as has room; "…" stands for the rest. Caller owns it. */
char *out_shortened(const char *text, size_t room);
/* "45.6MB". Caller owns it. */
char *out_size(uint64_t bytes);
/* "sha256:0123456789ab…" -> "0123456789ab"; caller owns it. */
char *out_short_id(const char *id);
/* String members of an object that becomes a row. */
/* The same without rows, for long lists: lines of cells, each ended by a tab but the last one. */
void out_heads(const struct out_column *cols, struct strv *lines);
void out_cell(struct str *line, const char *text); /* without tabs of its own */
void out_aligned(struct strv *lines);              /* which it cuts up */
json_t *out_row_new(void);
void out_row_set(json_t *row, const char *key, const char *value);
void out_row_take(json_t *row, const char *key, char *value); /* frees value */
/* A file for the user: created or truncated; a new one belongs, under sudo, to the user who called
 * it. Returns the fd. */
int out_create_file(const char *path, struct err *err);
/* The text becomes the file that an option names. */
int out_write_file(const char *option, const char *path, const char *text, struct err *err);
/* A file gets its name when it is whole: the one that was there stays until then. path and fd -1
 * are set before. What is no regular file (a device, a pipe) is written in place. */
struct output {
	const char *path;
	char *target, *tmp;
	int fd;
};
#define auto_output cleanup(output_cleanup)
void output_cleanup(struct output *o);
int output_open(struct output *o, struct err *err);
int output_commit(struct output *o, struct err *err);
/* Whose the files are that are written for the user: under sudo of who called it (true), else ours.
 */
bool out_user(uint32_t *ret_uid, uint32_t *ret_gid);
/* Under sudo, what fd is of becomes that user's. */
int out_give_to_user(int fd, struct err *err);

/* --- template: Go's text/template over a JSON value
 * ------------------------------------------------------------------ */

/*
 * Fields, variables, pipelines, if, else if, range, with; the functions of template_func.c. A name
 * in upper case that an object lacks is an error, as a struct's would be; in lower case (a label, a
 * port) it is the empty string, as a map's.
 */
struct template;
int template_parse(const char *text, struct template **ret, struct err *err); /* -EINVAL */
int template_run(const struct template *t, const json_t *value, struct str *out, struct err *err);
void template_free(struct template *t);
void template_cleanup(struct template **t);
#define auto_template cleanup(template_cleanup)

enum expr_kind {
	EXPR_DOT,   /* . */
	EXPR_VAR,   /* $name, "" for $ */
	EXPR_VALUE, /* a literal */
	EXPR_PIPE,  /* ( ... ) */
	EXPR_FUNC,
};
struct template_pipe;
struct template_expr {
	enum expr_kind kind;
	char *name;
	json_t *value;
	struct template_pipe *pipe;
	struct strv fields; /* .A.B after it */
};
struct template_command {
	struct template_expr *args;
	size_t n, cap;
};
struct template_pipe {
	struct strv vars; /* $i, $v := */
	bool assign;      /* = */
	struct template_command *commands;
	size_t n, cap;
};
enum node_kind { NODE_TEXT, NODE_PRINT, NODE_IF, NODE_RANGE, NODE_WITH };
struct template_list {
	struct template_node *v;
	size_t n, cap;
};
struct template_node {
	enum node_kind kind;
	char *text;
	struct template_pipe pipe;
	struct template_list body, other; /* other: else */
};
struct template
{
	struct template_list list;
};
/* template_func.c. args are borrowed; *ret is the caller's. */
int template_call(const char *name, json_t *const *args, size_t n, json_t **ret, struct err *err);
bool template_has_func(const char *name);
bool template_is_true(const json_t *v);
void template_print(const json_t *v, struct str *out);

/* complete_images.c, complete_containers.c: names that begin with prefix, one a line; nothing when
 * the store is not readable. */
void complete_images(struct cli *c, const char *prefix);
void complete_containers(struct cli *c, const char *prefix);
void complete_builds(struct cli *c, const char *prefix);
/* complete_networks.c */
void complete_networks(struct cli *c, const char *prefix);
void complete_volumes(struct cli *c, const char *prefix);
void complete_caches(struct cli *c, const char *prefix);
void complete_objects(struct cli *c, const char *prefix); /* both */

/* --- pieces that commands share
 * ---------------------------------------------------------------------------------------- */

/* cmd_container_inspect.c: *ret is one object as docker inspect prints it; -ENOENT when there is no
 * such container. */
int inspect_container(struct cli *c, const char *name, json_t **ret, struct err *err);
int inspect_container_sized(struct cli *c, const char *name, json_t **ret, struct err *err);
/* inspect_image.c: the same of an image or a build step. */
int inspect_image(struct cli *c, const char *name, json_t **ret, struct err *err);
/* cmd_inspect.c: what find gives for each name, indented or by format; those found are printed
 * although others are missing, as Docker does. The command's exit code. The store is open. */
typedef int inspect_fn(struct cli *c, const char *name, json_t **ret, struct err *err);
int inspect_show(struct cli *c, inspect_fn *find, const char *format, char **names);
/* The second half of it; code: of the first. */
int inspect_print(struct cli *c, const json_t *all, const char *format, int code);

/* steps.c: the ids of a build step and those before it as the last of n history rows: an array, ""
 * where there is none. */
int steps_of(struct cli *c, const char *step, size_t n, json_t **ret, struct err *err);

/* build_logs.c: what RUN steps wrote, all of them with a line "#N instruction" before each, or one
 * ("3", "#3") as it is. follow: until the build ends. The exit code. The store is open. */
int logs_of_build(struct cli *c, const char *build, const char *step, bool follow);

/* prune_limits.c: what --filter narrows a prune to. */
struct prune_limits {
	struct strv labels, without; /* "k" or "k=v" */
	int64_t before_s;            /* until=; 0: any time */
	const char *type;            /* of what builds leave: "exec.cachemount"; NULL: all */
};
/* Cache mounts that nobody holds and that were not used since before_s (0: all). plan: only listed.
 * The names go to ret, what they take on disk is added to *ret_bytes. */
int cache_mounts_prune(struct cli *c, int64_t before_s, bool plan, struct strv *ret,
		       uint64_t *ret_bytes, struct err *err);
void prune_limits_free(struct prune_limits *l);
int prune_limits_parse(const struct strv *filters, struct prune_limits *ret, struct err *err);
/* "24h" ago, seconds since the epoch, or a date as docker takes it. -EINVAL. */
int filter_until(const char *text, int64_t *ret_s, struct err *err);
/* cmd_logs.c: a time, or how long ago, in nanoseconds since the epoch. -EINVAL. */
int cli_when(const char *s, int64_t *ret_ns, struct err *err);
/* "true", "1", "false", "0" of a filter. -EINVAL. */
int filter_bool(const char *name, const char *text, bool *ret, struct err *err);

/* removal.c: what rmi and the prunes say. */
struct image_removal;
struct image_victims;
void removal_lines(const struct image_removal *r, const char *untagged, const char *deleted);
void removal_kept(const struct image_removal *r, bool trashed);
void removal_trash(const struct image_removal *r);
/* --dry-run: a table of what would go, its size and why. what: "image", "build step". */
int removal_plan(const struct image_victims *l, const char *what, struct err *err);
/* The same by its rows. name may be NULL. */
void plan_add(json_t *rows, const char *id, const char *name, uint64_t bytes, const char *reason);
int plan_print(const json_t *rows, const char *what, uint64_t bytes, struct err *err);

/* cmd_container_prune.c: those that do not run go, or a table says which would; and how many. */
struct containers_gone {
	size_t n;
	uint64_t bytes;
};
int containers_prune(struct cli *c, int64_t before_s, bool dry_run, struct containers_gone *ret,
		     struct err *err);

/* gc.c: what keeps the store within its limits, after a build and from a timer. */
struct image_cache_policy;
void gc_policy(const struct cli *c, struct image_cache_policy *ret);
int gc_run(struct cli *c, struct image_removal *ret, struct err *err);
/* After a removal: a detached gc when the trash holds what is due. */
void gc_later(struct cli *c);
/* The file that a full disk's rm and prune live on: made where there is room, given up where there
 * is none. */
void gc_reserve(int root_fd, bool give_up);

#endif
