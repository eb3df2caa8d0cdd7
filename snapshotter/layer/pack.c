/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression in blocks of a fixed size, each a gzip member or zstd frame of its own, so that the
 * bytes depend on input, codec and level alone and several threads can make them. Whoever writes
 * into the sink compresses as well while it would have to wait, and hands the results on in order.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libdeflate.h>
#include <zstd.h>

#include <shale/base/mem.h>
#include <shale/base/proc.h>

#include "priv.h"

/* A gzip window is 32 KiB, zstd's as large as the frame at most: what smaller blocks would cost. */
enum { GZIP_BLOCK = 2 << 20, ZSTD_BLOCK = 2 << 20, THREADS_MAX = 6, SLOTS_MAX = THREADS_MAX + 1 };

struct codec {
	const char *name;
	int level, level_max; /* level: where none is asked for */
	size_t block;
	void *(*open)(int level); /* NULL: no memory */
	void (*close)(void *c);
	size_t (*bound)(size_t n);
	size_t (*compress)(void *c, const void *in, size_t n, void *out,
			   size_t room); /* 0: failed */
};

/* --- codecs --- */

/* What is compressed already takes as long as text and gains nothing: a block of which no probe
 * shrinks is only wrapped. Up to the levels that are asked for whatever they cost. */
enum {
	GZIP_PROBE = 8 << 10,
	GZIP_PROBE_EACH = 64 << 10,
	GZIP_PROBE_LEVEL = 1,
	GZIP_PROBED_MAX = 9
};

struct gzip {
	struct libdeflate_compressor *full, *probe, *wrap; /* probe, wrap: NULL above that level */
};

static void gzip_close(void *c)
{
	struct gzip *g = c;

	if (!g)
		return;
	libdeflate_free_compressor(g->full);
	libdeflate_free_compressor(g->probe);
	libdeflate_free_compressor(g->wrap);
	free(g);
}

static void *gzip_open(int level)
{
	struct gzip *g = mem_alloc(sizeof(*g));
	bool is_probed = level <= GZIP_PROBED_MAX;

	g->full = libdeflate_alloc_compressor(level);
	g->probe = is_probed ? libdeflate_alloc_compressor(GZIP_PROBE_LEVEL) : NULL;
	g->wrap = is_probed ? libdeflate_alloc_compressor(0) : NULL;
	if (g->full && (!is_probed || (g->probe && g->wrap)))
		return g;
	gzip_close(g);
	return NULL;
}

static bool is_dense(const struct gzip *g, const char *in, size_t n)
{
	char out[GZIP_PROBE];

	if (!g->probe || n < GZIP_PROBE_EACH)
		return false;
	for (size_t at = 0; at + GZIP_PROBE <= n; at += GZIP_PROBE_EACH)
		if (libdeflate_deflate_compress(g->probe, in + at, GZIP_PROBE, out,
						GZIP_PROBE - GZIP_PROBE / 64))
			return false;
	return true;
}

static size_t gzip_bound(size_t n)
{
	return libdeflate_gzip_compress_bound(NULL, n);
}

static size_t gzip_compress(void *c, const void *in, size_t n, void *out, size_t room)
{
	const struct gzip *g = c;

	return libdeflate_gzip_compress(is_dense(g, in, n) ? g->wrap : g->full, in, n, out, room);
}

static void *zstd_open(int level)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (!c)
		return NULL;
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
	/* useRowMatchFinder: the default is another where the library was built without SIMD. */
	ZSTD_CCtx_setParameter(c, ZSTD_c_experimentalParam14, 1);
	return c;
}

static void zstd_close(void *c)
{
	ZSTD_freeCCtx(c);
}

static size_t zstd_bound(size_t n)
{
	return ZSTD_compressBound(n);
}

static size_t zstd_compress(void *c, const void *in, size_t n, void *out, size_t room)
{
	size_t rc = ZSTD_compress2(c, out, room, in, n);

	return ZSTD_isError(rc) ? 0 : rc;
}

static const struct codec codecs[] = {
	[LAYER_GZIP] = { "gzip", 7, 12, GZIP_BLOCK, gzip_open, gzip_close, gzip_bound,
			 gzip_compress },
	[LAYER_ZSTD] = { "zstd", 3, 19, ZSTD_BLOCK, zstd_open, zstd_close, zstd_bound,
			 zstd_compress },
};

const char *layer_codec_name(enum layer_codec c)
{
	return c == LAYER_PLAIN ? "none" : codecs[c].name;
}

int layer_codec_find(const char *name, enum layer_codec *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++)
		if (str_eq(name, layer_codec_name((enum layer_codec)i))) {
			*ret = (enum layer_codec)i;
			return 0;
		}
	return err_set(err, EINVAL, "compression '%.60s' is not none, gzip or zstd", name);
}

int layer_codec_level(enum layer_codec c, int *level, struct err *err)
{
	if (c == LAYER_PLAIN) {
		if (*level)
			return err_set(err, EINVAL, "without compression there is no level");
		return 0;
	}
	if (!*level)
		*level = codecs[c].level;
	if (*level < 1 || *level > codecs[c].level_max)
		return err_set(err, EINVAL, "%s has the levels 1 to %d, not %d", codecs[c].name,
			       codecs[c].level_max, *level);
	return 0;
}

/* --- blocks --- */

struct slot {
	char *in, *out;
	size_t n_in, n_out;
	bool is_done;
};

struct layer_pack {
	struct sink sink; /* first: a sink is its pack */
	struct sink *to;
	const struct codec *codec;
	int level;
	size_t room, n_slots;
	void *own; /* the writer's compressor */
	bool is_begun;
	pthread_mutex_t lock;
	pthread_cond_t more, ready;
	pthread_t thread[THREADS_MAX];
	int n_threads, threads_wanted;
	bool is_closing, is_wanted;
	/* blocks so far: handed out, begun, handed on; between them is a ring of slots */
	size_t filled, taken, sent;
	struct slot slot[SLOTS_MAX];
};

/* With the lock, which is let go meanwhile. */
static void compress_next(struct layer_pack *p, void *c)
{
	struct slot *s = &p->slot[p->taken++ % p->n_slots];

	pthread_mutex_unlock(&p->lock);
	s->n_out = c ? p->codec->compress(c, s->in, s->n_in, s->out, p->room) : 0;
	pthread_mutex_lock(&p->lock);
	s->is_done = true;
}

static void *work(void *arg)
{
	struct layer_pack *p = arg;
	void *c = p->codec->open(p->level);

	pthread_mutex_lock(&p->lock);
	while (!p->is_closing) {
		if (p->taken == p->filled) {
			pthread_cond_wait(&p->more, &p->lock);
			continue;
		}
		compress_next(p, c);
		if (p->is_wanted)
			pthread_cond_signal(&p->ready);
	}
	pthread_mutex_unlock(&p->lock);
	p->codec->close(c);
	return NULL;
}

/* With fewer threads all works as well. */
static void start_threads(struct layer_pack *p)
{
	while (p->n_threads < p->threads_wanted &&
	       proc_thread(&p->thread[p->n_threads], work, p) == 0)
		p->n_threads++;
	p->threads_wanted = p->n_threads;
}

static int send_oldest(struct layer_pack *p, struct err *err)
{
	struct slot *s = &p->slot[p->sent % p->n_slots];

	pthread_mutex_lock(&p->lock);
	while (!s->is_done) {
		if (p->taken < p->filled) {
			compress_next(p, p->own);
			continue;
		}
		p->is_wanted = true;
		pthread_cond_wait(&p->ready, &p->lock);
		p->is_wanted = false;
	}
	pthread_mutex_unlock(&p->lock);
	s->is_done = false;
	s->n_in = 0;
	p->sent++;
	if (!s->n_out)
		return err_set(err, EIO, "%s", p->codec->name);
	return p->to->write(p->to, s->out, s->n_out, err);
}

/* The block at hand goes to whoever is free, and there is room for another one. */
static int hand_out(struct layer_pack *p, struct err *err)
{
	p->is_begun = true;
	pthread_mutex_lock(&p->lock);
	p->filled++;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	if (p->n_threads < p->threads_wanted)
		start_threads(p);
	return p->filled - p->sent == p->n_slots ? send_oldest(p, err) : 0;
}

static int pack_write(struct sink *sink, const void *data, size_t n, struct err *err)
{
	struct layer_pack *p = (struct layer_pack *)sink;
	const char *from = data;
	int rc = 0;

	while (n && rc >= 0) {
		struct slot *s = &p->slot[p->filled % p->n_slots];
		size_t k = p->codec->block - s->n_in;

		if (!s->in) {
			s->in = mem_grow(NULL, p->codec->block, 1);
			s->out = mem_grow(NULL, p->room, 1);
		}
		k = k < n ? k : n;
		memcpy(s->in + s->n_in, from, k);
		s->n_in += k;
		from += k;
		n -= k;
		if (s->n_in == p->codec->block)
			rc = hand_out(p, err);
	}
	return rc;
}

static int threads_for(int wanted)
{
	long cores = wanted ? wanted : sysconf(_SC_NPROCESSORS_ONLN);

	cores = cores < 1 ? 1 : cores;
	return cores > THREADS_MAX ? THREADS_MAX : (int)cores;
}

int layer_pack_new(const struct layer_pack_opts *o, struct sink *to, struct layer_pack **ret,
		   struct err *err)
{
	const struct codec *codec = &codecs[o->codec];
	int threads = threads_for(o->threads), level = o->level, rc;
	struct layer_pack *p;
	void *own;

	rc = layer_codec_level(o->codec, &level, err);
	if (rc < 0)
		return rc;
	if (o->codec == LAYER_PLAIN)
		return err_set(err, EINVAL, "no compression");
	own = codec->open(level);
	if (!own)
		return err_set(err, ENOMEM, "%s", codec->name);
	p = mem_alloc(sizeof(*p));
	p->sink.write = pack_write;
	p->to = to;
	p->codec = codec;
	p->level = level;
	p->own = own;
	p->room = codec->bound(codec->block);
	p->threads_wanted = threads - 1;
	p->n_slots = threads == 1 ? 1 : (size_t)threads + 1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	pthread_cond_init(&p->ready, NULL);
	*ret = p;
	return 0;
}

struct sink *layer_pack_sink(struct layer_pack *p)
{
	return &p->sink;
}

int layer_pack_end(struct layer_pack *p, struct err *err)
{
	struct slot *s = &p->slot[p->filled % p->n_slots];
	int rc = 0;

	/* Nothing is an empty member. */
	if (!p->is_begun && !s->in) {
		s->in = mem_grow(NULL, 1, 1);
		s->out = mem_grow(NULL, p->room, 1);
	}
	if (s->n_in || !p->is_begun)
		rc = hand_out(p, err);
	while (rc >= 0 && p->sent < p->filled)
		rc = send_oldest(p, err);
	return rc;
}

void layer_pack_cleanup(struct layer_pack **pp)
{
	struct layer_pack *p = *pp;
	int saved = errno;

	*pp = NULL;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->is_closing = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->n_threads; i++)
		pthread_join(p->thread[i], NULL);
	for (size_t i = 0; i < p->n_slots; i++) {
		free(p->slot[i].in);
		free(p->slot[i].out);
	}
	p->codec->close(p->own);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->more);
	pthread_cond_destroy(&p->ready);
	free(p);
	errno = saved;
}
