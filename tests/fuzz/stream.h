/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's compressed bytes, read in pieces of odd sizes: it ends, with all bytes or an error. */
#ifndef SHALE_TESTS_FUZZ_STREAM_H
#define SHALE_TESTS_FUZZ_STREAM_H

#include <sys/mman.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "../../snapshotter/layer/priv.h"
#include "fuzz.h"

static inline int stream_fd(const void *head, size_t head_len, const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("input", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, head, head_len, 0) != (ssize_t)head_len ||
	    pwrite(fd, data, size, (off_t)head_len) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

/* The bytes that came out. */
static inline uint64_t stream_run(int fd, int *ret_rc)
{
	enum { OUT_MAX = 1 << 20 };
	static char buf[128 << 10];
	auto_layer_stream struct layer_stream *s = NULL;
	struct layer_info info = { 0 };
	struct err err = { 0 };
	uint64_t sum = 0;
	ssize_t n = 1;
	int rc = layer_stream_new(fd, 0, &s, &err);

	for (size_t want = 1; rc >= 0 && n > 0 && sum < OUT_MAX; want = want * 7 % 131071) {
		n = layer_stream_read(s, buf, want, &err);
		must(n <= (ssize_t)want);
		rc = n < 0 ? (int)n : 0;
		sum += n > 0 ? (uint64_t)n : 0;
	}
	if (rc >= 0)
		rc = layer_stream_end(s, OUT_MAX, &info, &err);
	must_tell(rc, &err);
	must(rc < 0 || info.tar_bytes >= sum);
	*ret_rc = rc;
	return rc < 0 ? 0 : info.tar_bytes;
}

#endif
