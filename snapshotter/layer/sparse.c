/* SPDX-License-Identifier: Apache-2.0 */
/* Maps of sparse files: old GNU, and GNU's three ways in PAX (0.0 and 0.1 in records, 1.0 before
 * the data). */
#include <errno.h>
#include <string.h>

#include "priv.h"

enum {
	OLD_IN_HEADER = 4,
	OLD_IN_BLOCK = 21,
	OLD_AT = 386,
	OLD_MORE = 482,
	OLD_SIZE = 483,
	OLD_BLOCK_MORE = 504
};

struct old_part {
	char at[12], len[12];
};

static int damaged(struct err *err)
{
	return err_set(err, EBADMSG, "damaged tar: map of a sparse file");
}

static int add(struct layer_entry *e, uint64_t at, uint64_t len, struct err *err)
{
	if (e->n_parts >= LAYER_PARTS_MAX)
		return damaged(err);
	mem_room(e->parts, e->n_parts, e->parts_cap);
	e->parts[e->n_parts++] = (struct layer_part){ at, len };
	return 0;
}

static int old_parts(struct layer_entry *e, const char *p, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct old_part *o = (const void *)(p + i * sizeof(*o));
		uint64_t at, len;
		int rc;

		if (!o->len[0])
			break;
		if (!layer_tar_number(o->at, sizeof(o->at), &at) ||
		    !layer_tar_number(o->len, sizeof(o->len), &len))
			return damaged(err);
		rc = add(e, at, len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int old_map(struct layer_untar *u, const struct layer_block *h, struct err *err)
{
	const char *p = (const char *)h;
	char block[LAYER_TAR_BLOCK];
	bool is_more = p[OLD_MORE];
	int rc = old_parts(&u->e, p + OLD_AT, OLD_IN_HEADER, err);

	if (!layer_tar_number(p + OLD_SIZE, 12, &u->e.size))
		return damaged(err);
	while (rc >= 0 && is_more) {
		rc = layer_untar_block(u, block, err);
		if (rc <= 0)
			return rc < 0 ? rc : damaged(err);
		is_more = block[OLD_BLOCK_MORE];
		rc = old_parts(&u->e, block, OLD_IN_BLOCK, err);
	}
	return rc;
}

/* Format 1.0: decimal numbers, each ended by a newline, in whole blocks at the start of the data.
 */
struct lines {
	struct layer_untar *u;
	char block[LAYER_TAR_BLOCK];
	size_t at;
};

static int line(struct lines *l, uint64_t *ret, struct err *err)
{
	uint64_t v = 0;

	for (unsigned digits = 0; digits < 20; digits++) {
		char c;

		if (l->at == sizeof(l->block)) {
			int rc = l->u->left >= LAYER_TAR_BLOCK
					 ? layer_untar_block(l->u, l->block, err)
					 : 0;

			if (rc <= 0)
				return rc < 0 ? rc : damaged(err);
			l->u->left -= LAYER_TAR_BLOCK;
			l->at = 0;
		}
		c = l->block[l->at++];
		if (c == '\n' && digits) {
			*ret = v;
			return 0;
		}
		if (c < '0' || c > '9' || v > INT64_MAX / 10 - 1)
			return damaged(err);
		v = v * 10 + (uint64_t)(c - '0');
	}
	return damaged(err);
}

static int map_in_data(struct layer_untar *u, struct err *err)
{
	struct lines l = { .u = u, .at = sizeof(l.block) };
	uint64_t n = 0, at = 0, len = 0;
	int rc = line(&l, &n, err);

	for (uint64_t i = 0; rc >= 0 && i < n; i++) {
		rc = line(&l, &at, err);
		if (rc >= 0)
			rc = line(&l, &len, err);
		if (rc >= 0)
			rc = add(&u->e, at, len, err);
	}
	return rc;
}

/* In order, within the file, and as many bytes as the archive has. */
static int check(const struct layer_untar *u, struct err *err)
{
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < u->e.n_parts; i++) {
		const struct layer_part *p = &u->e.parts[i];

		if (p->at < end || p->at > u->e.size || p->len > u->e.size - p->at)
			return damaged(err);
		end = p->at + p->len;
		sum += p->len;
	}
	return sum == u->left && u->e.size <= INT64_MAX ? 0 : damaged(err);
}

int layer_untar_sparse(struct layer_untar *u, const struct layer_block *h,
		       const struct layer_pax *x, struct err *err)
{
	int rc = 0;

	if (h->type == 'S') {
		rc = old_map(u, h, err);
	} else {
		if (x->has & PAX_REALSIZE)
			u->e.size = x->realsize;
		if (x->sparse_version == 1)
			rc = map_in_data(u, err);
		for (size_t i = 0; rc >= 0 && x->sparse_version == 0 && i < x->n_parts; i++)
			rc = add(&u->e, x->parts[i].at, x->parts[i].len, err);
	}
	return rc < 0 ? rc : check(u, err);
}
