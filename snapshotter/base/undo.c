/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/undo.h>

#include <assert.h>
#include <errno.h>

void undo_push(struct undo *u, undo_fn fn, void *arg)
{
	assert(u->n < UNDO_MAX);
	u->step[u->n].fn = fn;
	u->step[u->n].arg = arg;
	u->n++;
}

void undo_done(struct undo *u)
{
	u->n = 0;
}

void undo_run(struct undo *u)
{
	int saved = errno;

	while (u->n) {
		u->n--;
		u->step[u->n].fn(u->step[u->n].arg);
	}
	errno = saved;
}
