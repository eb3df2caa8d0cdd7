/* SPDX-License-Identifier: Apache-2.0 */
/* gzip in members of a fixed size, each by libdeflate on its own: the bytes depend on the input and
 * the level alone. */
#include <errno.h>
#include <stdlib.h>

#include <libdeflate.h>

#include <shale/base/mem.h>

#include "priv.h"

enum { MEMBER_BYTES = 1 << 20 };

struct layer_gzip {
	struct sink sink; /* first: a sink is its gzip */
	struct sink *to;
	struct libdeflate_compressor *c;
	size_t used, room;
	char *in, *out;
};

static int flush(struct layer_gzip *g, struct err *err)
{
	size_t n = libdeflate_gzip_compress(g->c, g->in, g->used, g->out, g->room);

	g->used = 0;
	return n ? g->to->write(g->to, g->out, n, err) : err_set(err, EIO, "gzip");
}

static int gzip_write(struct sink *sink, const void *p, size_t n, struct err *err)
{
	struct layer_gzip *g = (struct layer_gzip *)sink;
	const char *from = p;
	int rc = 0;

	while (n && rc >= 0) {
		size_t k = MEMBER_BYTES - g->used;

		k = k < n ? k : n;
		memcpy(g->in + g->used, from, k);
		g->used += k;
		from += k;
		n -= k;
		if (g->used == MEMBER_BYTES)
			rc = flush(g, err);
	}
	return rc;
}

int layer_gzip_new(int level, struct sink *to, struct layer_gzip **ret, struct err *err)
{
	struct layer_gzip *g = mem_alloc(sizeof(*g));

	g->sink.write = gzip_write;
	g->to = to;
	g->c = libdeflate_alloc_compressor(level);
	if (!g->c) {
		free(g);
		return err_set(err, EINVAL, "gzip level %d", level);
	}
	g->room = libdeflate_gzip_compress_bound(g->c, MEMBER_BYTES);
	g->in = mem_grow(NULL, MEMBER_BYTES, 1);
	g->out = mem_grow(NULL, g->room, 1);
	*ret = g;
	return 0;
}

struct sink *layer_gzip_sink(struct layer_gzip *g)
{
	return &g->sink;
}

int layer_gzip_end(struct layer_gzip *g, struct err *err)
{
	return g->used ? flush(g, err) : 0;
}

void layer_gzip_cleanup(struct layer_gzip **gp)
{
	struct layer_gzip *g = *gp;

	*gp = NULL;
	if (!g)
		return;
	libdeflate_free_compressor(g->c);
	free(g->in);
	free(g->out);
	free(g);
}
