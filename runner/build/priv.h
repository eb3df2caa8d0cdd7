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
	const char *src; /* the source line, not terminated; NULL: none */
	size_t src_len;
};

/* "FILE:LINE: text\n  LINE | source". Returns -code. */
int df_fail(const struct df_where *w, int code, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for an instruction that was parsed before. */
int df_fail_inst(const char *file, const struct df_inst *i, int code, struct err *err,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Control characters become '?': a message must not drive the terminal. */
void text_safe(char *s);

/* One instruction: raw is the joined line, text the same for people. Fills heredoc names, not their
 * bodies. */
struct inst_ctx {
	struct df_where at;
	char escape;
	bool trigger;          /* after ONBUILD */
	struct strv *warnings; /* or NULL */
};
int inst_parse(const struct inst_ctx *x, const char *raw, const char *text, struct df_inst *ret,
	       struct err *err);
void inst_clear(struct df_inst *i);

/* word is "--name" or "--name=value": checked and added. */
int flag_parse(const struct inst_ctx *x, struct df_inst *i, const char *word, struct err *err);
/* The flag as given, or NULL. */
const struct df_flag *inst_flag(const struct df_inst *i, const char *name);
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

/* Platform and stage variables that need no default (TARGETPLATFORM …), or NULL. target: of
 * plan_opts. */
const char *plan_builtin_arg(const char *name, const char *target);

#endif
