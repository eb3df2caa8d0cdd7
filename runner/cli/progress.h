/* SPDX-License-Identifier: Apache-2.0 */
/* progress: what a build shows. Events in, lines out; to stderr, and the image ID to stdout when
 * quiet. */
#ifndef SHALE_CLI_PROGRESS_H
#define SHALE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/str.h>
#include <shale/build.h>

enum progress_kind { PROGRESS_PLAIN, PROGRESS_TTY, PROGRESS_QUIET, PROGRESS_JSON };

struct progress_part {
	size_t step;
	struct str text;
};

/* auto, tty, plain, quiet, json (rawjson); auto: whether fd is a terminal. -EINVAL. */
int progress_parse(const char *name, int fd, enum progress_kind *ret, struct err *err);

struct live;
struct progress {
	enum progress_kind kind;
	struct live *live; /* on a terminal, from the first event on */
	bool is_buffered;  /* a line at a time, where stderr would go a character at a time */
	int64_t start_ns;
	struct progress_part *parts; /* output of the running steps: lines without their ends yet */
	size_t n, cap;
	struct str tail; /* quiet: the last output, shown when a step fails */
};

/* name: as progress_parse has it. -EINVAL. */
int progress_begin(struct progress *p, const char *name, struct err *err);
void progress_event(const struct build_event *e, void *progress);
/* r NULL: the build failed. Frees. */
void progress_end(struct progress *p, const struct build_result *r);

#endif
