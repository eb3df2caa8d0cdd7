/* SPDX-License-Identifier: Apache-2.0 */
/* zstd: the input is a stream of frames, and once more the content of two, which must come back. */
#include <zstd.h>

#include "stream.h"

static void there_and_back(const uint8_t *data, size_t size)
{
	size_t room = ZSTD_compressBound(size), n;
	auto_free uint8_t *out = mem_alloc(2 * room);
	int rc;

	n = ZSTD_compress(out, room, data, size, 1 + (int)(size % 5));
	must(!ZSTD_isError(n));
	memcpy(out + n, out, n);
	must(stream_run(stream_fd("", 0, out, 2 * n), &rc) == 2 * size && rc >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
	bool is_whole =
		size >= 4 && (!memcmp(data, magic, 4) || !memcmp(data + 1, "\x2a\x4d\x18", 3));
	int rc;

	stream_run(stream_fd(magic, is_whole ? 0 : 4, data, size), &rc);
	if (size <= 2048)
		there_and_back(data, size);
	return 0;
}
