/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finish: what follows the prompt of a command that made layers: their bytes go to disk, then their
 * rows say so.
 *
 * The fd of the store is opened before the first byte is written, since syncfs reports only the
 * errors that came after the open. Until the rows say so, a power cut may take the image back,
 * whole.
 */
#ifndef SHALE_CLI_FINISH_H
#define SHALE_CLI_FINISH_H

#include <pthread.h>
#include <stdbool.h>

#include "priv.h"

struct finish {
	int store_fd;
	int early_fd, stop_fd; /* the thread's that syncs meanwhile */
	pthread_t early;
	bool is_early;
};
#define FINISH_INIT                                                                                \
	{                                                                                          \
		.store_fd = -1, .early_fd = -1, .stop_fd = -1                                      \
	}

int finish_begin(struct finish *f, struct cli *c, struct err *err);
/* For a command that writes much and waits for the disk: it is written meanwhile, so that little is
 * left to wait for. Only the sync at the end counts. */
void finish_early(struct finish *f);
/* Closes the store. wait: in this process (--sync), else in a detached child with its standard fds
 * on /dev/null. */
void finish_end(struct finish *f, struct cli *c, bool wait);

#endif
