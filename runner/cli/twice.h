/* SPDX-License-Identifier: Apache-2.0 */
/* twice: build --twice: is what comes out the same when nothing of it is taken from the cache? */
#ifndef SHALE_CLI_TWICE_H
#define SHALE_CLI_TWICE_H

#include "priv.h"
#include "progress.h"

/* Two builds as o and progress say; r is the second one's. The tags of o only move when both agree;
 * -EUCLEAN when they do not, after each difference was printed. */
int twice_run(struct cli *c, const struct build_opts *o, const char *progress,
	      struct build_result *r, struct err *err);

#endif
