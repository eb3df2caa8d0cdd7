/* SPDX-License-Identifier: Apache-2.0 */
/* sink: where bytes go: a hash, a file, a pipe. The writer does not know. */
#ifndef SHALE_BASE_SINK_H
#define SHALE_BASE_SINK_H

#include <stddef.h>

#include <shale/base/err.h>

struct sink {
	int (*write)(struct sink *to, const void *p, size_t n, struct err *err);
};

/* All into fd, which is the caller's. */
struct sink_fd {
	struct sink sink; /* first: a sink is its fd */
	int fd;
};
int sink_fd_write(struct sink *to, const void *p, size_t n, struct err *err);
#define SINK_FD(to)                                                                                \
	{                                                                                          \
		{ sink_fd_write }, (to)                                                            \
	}

#endif
