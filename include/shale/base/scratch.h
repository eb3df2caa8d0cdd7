/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: a directory tmp/<pid>.<start>.<random>/ of the store, for what one command unpacks. The
 * name tells whose it is, and a lock that it is in use: what a killed one has left goes when the
 * next one is made.
 */
#ifndef SHALE_BASE_SCRATCH_H
#define SHALE_BASE_SCRATCH_H

#include <shale/base/err.h>
#include <shale/base/mem.h>

#define SCRATCH_NAME_MAX 64
struct scratch {
	int tmp_fd, fd; /* fd: the directory, mode 0700 */
	char name[SCRATCH_NAME_MAX];
};
#define SCRATCH_INIT                                                                               \
	{                                                                                          \
		-1, -1, ""                                                                         \
	}
#define auto_scratch cleanup(scratch_close)
int scratch_open(int store_fd, struct scratch *ret, struct err *err);
void scratch_close(struct scratch *s); /* with all that is in it */
/* What killed commands have left. */
void scratch_sweep(int store_fd);

#endif
