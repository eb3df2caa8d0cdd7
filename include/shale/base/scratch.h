/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: a directory tmp/<pid>.<start>.<random>/ of the store, for what one command unpacks. The
 * name tells whose it is: what a killed one has left goes when the next one is made.
 */
#ifndef SHALE_BASE_SCRATCH_H
#define SHALE_BASE_SCRATCH_H

#include <shale/base/err.h>
#include <shale/base/mem.h>

struct scratch {
	int tmp_fd, fd; /* fd: the directory, mode 0700 */
	char name[64];
};
#define SCRATCH_INIT                                                                               \
	{                                                                                          \
		-1, -1, ""                                                                         \
	}
#define auto_scratch cleanup(scratch_close)
int scratch_open(int store_fd, struct scratch *ret, struct err *err);
void scratch_close(struct scratch *s); /* with all that is in it */

#endif
