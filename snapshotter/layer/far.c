/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers are read side by side, and what each looks back on is memory that its archive asks for.
 * What looks back far is read one at a time in a process, so that a pull's memory is that of one
 * such layer. A wait ends in any case: who has the turn might wait for who wants it.
 */
#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "priv.h"

enum { NEAR_BYTES = 8 << 20, WAIT_S = 60, ZSTD_MAGIC_BYTES = 4, ZSTD_HEADER_MIN = 6 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t free;
	bool is_taken;
} turn = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

void layer_far_take(bool *has)
{
	struct timespec until;
	int rc = 0;

	if (*has)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&turn.lock);
	while (turn.is_taken && rc == 0)
		rc = pthread_cond_timedwait(&turn.free, &turn.lock, &until);
	*has = !turn.is_taken;
	turn.is_taken = true;
	pthread_mutex_unlock(&turn.lock);
}

void layer_far_give(bool *has)
{
	if (!*has)
		return;
	*has = false;
	pthread_mutex_lock(&turn.lock);
	turn.is_taken = false;
	pthread_cond_signal(&turn.free);
	pthread_mutex_unlock(&turn.lock);
}

/* RFC 8878, 3.1.1.1: a frame's window, or its content's size where it has one segment. */
bool layer_far_zstd(const uint8_t *p, size_t n)
{
	static const uint8_t magic[ZSTD_MAGIC_BYTES] = { 0x28, 0xb5, 0x2f, 0xfd };
	static const size_t dict_len[] = { 0, 1, 2, 4 }, size_len[] = { 1, 2, 4, 8 };
	uint64_t size = 0;
	size_t at, len;

	if (n < ZSTD_HEADER_MIN)
		return true; /* who knows */
	if (memcmp(p, magic, sizeof(magic)) != 0)
		return false; /* one that is skipped, or damage */
	if (!(p[4] & 0x20)) {
		size = UINT64_C(1) << (10 + (p[5] >> 3));
		return size + size / 8 * (p[5] & 7) > NEAR_BYTES;
	}
	at = 5 + dict_len[p[4] & 3];
	len = size_len[p[4] >> 6];
	if (n < at + len)
		return true;
	memcpy(&size, p + at, len);
	return le64toh(size) + (len == 2 ? 256 : 0) > NEAR_BYTES;
}
