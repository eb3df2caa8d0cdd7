/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live: the steps that run, at the foot of the terminal: a line each with its seconds, and below it
 * the last lines of its output, or a bar a layer while a base image comes. It is drawn over ten
 * times a second by a thread of its own; what is to stay is printed between live_lift and
 * live_drop. Nothing of a step's output is obeyed by the terminal.
 */
#ifndef SHALE_CLI_LIVE_H
#define SHALE_CLI_LIVE_H

#include <stdio.h>

#include <shale/build.h>

#include "transfer.h"

struct live_step {
	size_t number, total;
	char *text; /* the instruction */
	int64_t started_ns;
	struct str part, tail; /* a line without its end yet; the last lines, each with its end */
	struct transfer_view transfer;
};

struct live;
struct live *live_new(FILE *to); /* to: stays the caller's */
void live_free(struct live *l);  /* NULL is fine; takes the block away */

/* Takes note of it; what ends a step leaves it until live_over. */
void live_event(struct live *l, const struct build_event *e);

/* The block is off the terminal and nobody draws, until live_drop. */
void live_lift(struct live *l);
void live_drop(struct live *l);

/* Between them: the step (NULL: it does not run), the i-th that runs, and its end. */
const struct live_step *live_find(const struct live *l, size_t number);
const struct live_step *live_at(const struct live *l, size_t i); /* NULL after the last */
void live_over(struct live *l, size_t number);

#endif
