/* SPDX-License-Identifier: Apache-2.0 */
/* undo: outside effects (snapshot, cgroup, process, mount) taken back by a list, last first. */
#ifndef SHALE_BASE_UNDO_H
#define SHALE_BASE_UNDO_H

#include <stddef.h>

#include <shale/base/mem.h>

typedef void (*undo_fn)(void *arg);

enum { UNDO_MAX = 16 };

struct undo {
	struct {
		undo_fn fn;
		void *arg;
	} step[UNDO_MAX];
	size_t n;
};

#define auto_undo cleanup(undo_run)
void undo_push(struct undo *u, undo_fn fn, void *arg); /* right after that step has succeeded */
void undo_done(struct undo *u);                        /* all is durable: keep it */
void undo_run(struct undo *u);

#endif
