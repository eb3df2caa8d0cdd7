/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build checks: BuildKit's rules, each a pure function over the Dockerfile, its plan and what is
 * known of its variables (check_facts.c). "# check=" at the top of the file, or right above an
 * instruction, says which of them count.
 */
#ifndef SHALE_BUILD_CHECK_H
#define SHALE_BUILD_CHECK_H

#include "priv.h"

/* What a stage's image brings along. env NULL: it is not here, so nothing is known. */
struct check_base {
	const struct strv *env;
	const char *os, *arch;
	bool has_shell;
};

struct check_opts {
	const char *file_name;
	const struct strv *build_args;  /* or NULL */
	const struct ignore *ignore;    /* or NULL */
	const struct check_base *bases; /* one a stage of the plan, or NULL */
	bool all_stages;                /* else those that the target needs */
};

/* What one instruction finds and gets wrong, its words expanded. */
struct check_fact {
	bool reached;              /* part of a stage that is looked at */
	bool shell_set;            /* by a SHELL before it or by the image */
	bool workdir_set;          /* by a WORKDIR before it */
	struct strv words;         /* args after expansion */
	struct strv missing, near; /* variables that are not there; what they may be meant for, or
				      "" */
};

struct check_config {
	bool skip_all, experimental_all, error;
	struct strv skip, experimental;
};

struct check {
	const struct dockerfile *d;
	const struct plan *p;
	const struct check_opts *o;
	struct check_config config;
	struct check_fact *facts; /* one an instruction of d */
	const struct check_rule *rule;
	struct check_report *report;
};

struct check_rule {
	const char *name, *description;
	bool experimental; /* off unless asked for */
	void (*run)(struct check *c);
};
extern const struct check_rule check_form_rules[], check_value_rules[];

/* Adds the running rule's warning about an instruction, word marked; unless it is skipped. */
void check_warn(struct check *c, const struct df_inst *i, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool check_is_full(const struct check *c); /* no more warnings are taken */
void check_facts_make(struct check *c);
void check_facts_free(struct check *c);
#define check_fact_of(c, i) (&(c)->facts[(i) - (c)->d->inst])

/* "skip=A,B;experimental=all;error=true". -EINVAL with the text of the message. */
int check_config_parse(const char *text, struct check_config *ret, struct err *err);
void check_config_free(struct check_config *c);
#define auto_check_config cleanup(check_config_free)

/* Appends to ret, by line. -EINVAL for options that are none. */
int check_run(const struct dockerfile *d, const struct plan *p, const struct check_opts *o,
	      struct check_report *ret, struct err *err);

/* "Rule: text (line N)\n" and the source. */
char *check_warning_text(const struct check_warning *w);
char *check_report_rules(const struct check_report *r); /* "A, B" */

/* Of a build: with what is here of its images. all_stages: also those that nothing needs. */
int build_check(struct build *b, bool all_stages, struct check_report *ret, struct err *err);
/* With error=true, warnings end the build before its first step. */
int build_check_before(struct build *b, struct err *err);
void build_check_after(struct build *b);
void build_warn(struct build *b, const struct check_report *r);

/* Text and JSON as docker build --call prints them. */
char *call_check(const struct check_report *r, const char *file_name, bool json);
char *call_outline(const struct dockerfile *d, const struct plan *p, bool json);
char *call_targets(const struct dockerfile *d, const struct plan *p, bool json);

#endif
