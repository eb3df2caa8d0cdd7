/* SPDX-License-Identifier: Apache-2.0 */
/* fiber: what waits lets others run, all in one thread. */
#ifndef SHALE_BUILD_FIBER_H
#define SHALE_BUILD_FIBER_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>

struct fibers;
typedef void fiber_fn(void *arg);

struct fibers *fibers_new(void);
void fibers_free(struct fibers *f); /* none may be under way */
/* fn begins with fibers_run. */
int fibers_add(struct fibers *f, fiber_fn *fn, void *arg, struct err *err);
/* Until all have ended. */
void fibers_run(struct fibers *f);

/* As poll for reading, while others run: > 0 readable, 0 time is over. Outside of a fiber just
 * poll. */
int fiber_wait(struct fibers *f, int fd, int timeout_ms);
/* For who waits for another fiber: comes back when one has moved, or after a moment. */
void fiber_yield(struct fibers *f);

#endif
