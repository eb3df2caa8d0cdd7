/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. */
#ifndef SHALE_TESTS_FUZZ_H
#define SHALE_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(int is_true)
{
	if (!is_true)
		abort();
}

/* A failure has its story, and a story is a failure. */
static inline void must_tell(int rc, const struct err *err)
{
	must((rc < 0) == (err->code != 0) && (rc >= 0 || (rc == -err->code && err->msg[0])));
}

#endif
