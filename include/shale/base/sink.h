/* SPDX-License-Identifier: Apache-2.0 */
/* sink: where bytes go: a hash, a file, a pipe. The writer does not know. */
#ifndef SHALE_BASE_SINK_H
#define SHALE_BASE_SINK_H

#include <stddef.h>

#include <shale/base/err.h>

struct sink {
	int (*write)(struct sink *to, const void *p, size_t n, struct err *err);
};

#endif
