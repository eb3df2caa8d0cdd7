/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip by ISA-L, told from what zlib's rules allow: the input is a gzip stream, and once more the
 * content that libdeflate makes one of, which must come back.
 */
#include <libdeflate.h>

#include "stream.h"

static void there_and_back(const uint8_t *data, size_t size)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(1 + (int)(size % 12));
	size_t room = libdeflate_gzip_compress_bound(c, size), n;
	auto_free uint8_t *out = mem_alloc(2 * room);
	int rc;

	n = libdeflate_gzip_compress(c, data, size, out, room);
	must(n > 0);
	memcpy(out + n, out, n);
	must(stream_run(stream_fd("", 0, out, 2 * n), &rc) == 2 * size && rc >= 0);
	libdeflate_free_compressor(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char magic[] = "\x1f\x8b\x08";
	bool is_whole = size >= 3 && !memcmp(data, magic, 3);
	int rc;

	stream_run(stream_fd(magic, is_whole ? 0 : 3, data, size), &rc);
	if (size <= 2048)
		there_and_back(data, size);
	return 0;
}
