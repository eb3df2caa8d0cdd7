/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an archive was and what of it was written where, so that the tree that came of it can be
 * compared with it without reading its files again. Of the stream there is one XXH3-128 with a
 * secret of its own, which whoever makes archives cannot know: over all bytes but content, and
 * the hash of each content where that stood. A file is known by its inode; where anything was
 * removed, whose number another may get, what is known so far is forgotten.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "priv.h"

/* Notes of all layers that are on their way, in bytes. */
enum { NOTES_MAX = 8 << 20, NOTES_FIRST = 256 };

struct note {
	uint64_t ino, size; /* ino 0: none */
	uint64_t hash[2];
};

struct layer_memo {
	XXH3_state_t *stream;
	XXH128_hash_t theirs;
	bool is_whole;
	struct note *v; /* by ino, open addressing */
	size_t n, cap;  /* cap: a power of two, or 0 */
	unsigned char secret[XXH3_SECRET_SIZE_MIN];
};

static atomic_size_t held;

static void drop_notes(struct layer_memo *m)
{
	atomic_fetch_sub(&held, m->cap * sizeof(*m->v));
	free(m->v);
	m->v = NULL;
	m->n = m->cap = 0;
}

int layer_memo_new(struct layer_memo **ret, struct err *err)
{
	cleanup(layer_memo_cleanup) struct layer_memo *m = mem_alloc(sizeof(*m));

	m->stream = XXH3_createState();
	if (!m->stream)
		return err_set(err, ENOMEM, "memo of a layer");
	if (getrandom(m->secret, sizeof(m->secret), 0) != (ssize_t)sizeof(m->secret))
		return err_sys(err, "random bytes");
	*ret = take(m);
	return 0;
}

void layer_memo_cleanup(struct layer_memo **mp)
{
	struct layer_memo *m = *mp;
	int saved = errno;

	*mp = NULL;
	if (!m)
		return;
	drop_notes(m);
	XXH3_freeState(m->stream);
	free(m);
	errno = saved;
}

static void restart(struct layer_memo *m)
{
	XXH3_128bits_reset_withSecret(m->stream, m->secret, sizeof(m->secret));
}

void layer_memo_begin(struct layer_memo *m)
{
	drop_notes(m);
	m->is_whole = false;
	restart(m);
}

void layer_memo_bytes(struct layer_memo *m, const void *p, size_t n)
{
	XXH3_128bits_update(m->stream, p, n);
}

void layer_memo_content(struct layer_memo *m, const uint64_t hash[2])
{
	XXH3_128bits_update(m->stream, hash, 2 * sizeof(*hash));
}

void layer_memo_end(struct layer_memo *m)
{
	m->theirs = XXH3_128bits_digest(m->stream);
	m->is_whole = true;
	restart(m);
}

bool layer_memo_is_same(struct layer_memo *m)
{
	XXH128_hash_t ours = XXH3_128bits_digest(m->stream);

	restart(m);
	return m->is_whole && XXH128_isEqual(ours, m->theirs);
}

/* --- files --- */

/* Its place, or a free one. */
static struct note *place(const struct layer_memo *m, uint64_t ino)
{
	size_t i = (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (m->cap - 1);

	while (m->v[i].ino && m->v[i].ino != ino)
		i = (i + 1) & (m->cap - 1);
	return &m->v[i];
}

static bool grow(struct layer_memo *m)
{
	size_t cap = m->cap ? m->cap * 2 : NOTES_FIRST, more = (cap - m->cap) * sizeof(*m->v);
	struct layer_memo bigger = { .cap = cap };

	if (atomic_fetch_add(&held, more) + more > NOTES_MAX) {
		atomic_fetch_sub(&held, more);
		return false;
	}
	bigger.v = mem_array(cap, sizeof(*bigger.v));
	for (size_t i = 0; i < m->cap; i++)
		if (m->v[i].ino)
			*place(&bigger, m->v[i].ino) = m->v[i];
	free(m->v);
	m->v = bigger.v;
	m->cap = cap;
	return true;
}

void layer_memo_file(struct layer_memo *m, const struct stat *st, const uint64_t hash[2])
{
	struct note *note;

	if (m->n >= m->cap / 2 && !grow(m))
		return;
	note = place(m, st->st_ino);
	m->n += !note->ino;
	*note = (struct note){ st->st_ino, (uint64_t)st->st_size, { hash[0], hash[1] } };
}

void layer_memo_void(struct layer_memo *m)
{
	drop_notes(m);
}

bool layer_memo_find(const struct layer_memo *m, const struct stat *st, uint64_t ret_hash[2])
{
	const struct note *note = m->cap ? place(m, st->st_ino) : NULL;

	if (!note || !note->ino || note->size != (uint64_t)st->st_size)
		return false;
	ret_hash[0] = note->hash[0];
	ret_hash[1] = note->hash[1];
	return true;
}
