/* SPDX-License-Identifier: Apache-2.0 */
/* Inodes with several names: open addressing by device and number. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

void layer_inodes_free(struct layer_inodes *l)
{
	for (size_t i = 0; i < l->cap; i++)
		free(l->v[i].path);
	free(l->v);
	*l = (struct layer_inodes){ 0 };
}

static struct layer_inode *slot(const struct layer_inodes *l, dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ ((uint64_t)dev << 40)) * 0x9e3779b97f4a7c15u;
	size_t i = (size_t)(h >> 20) & (l->cap - 1);

	while (l->v[i].path && (l->v[i].ino != ino || l->v[i].dev != dev))
		i = (i + 1) & (l->cap - 1);
	return &l->v[i];
}

static void grow(struct layer_inodes *l)
{
	struct layer_inodes bigger = { .cap = l->cap ? l->cap * 2 : 64, .n = l->n };

	bigger.v = mem_array(bigger.cap, sizeof(*bigger.v));
	for (size_t i = 0; i < l->cap; i++)
		if (l->v[i].path)
			*slot(&bigger, l->v[i].dev, l->v[i].ino) = l->v[i];
	free(l->v);
	*l = bigger;
}

const char *layer_inodes_first(struct layer_inodes *l, const struct stat *st, const char *path)
{
	struct layer_inode *s;

	if (l->n * 2 >= l->cap)
		grow(l);
	s = slot(l, st->st_dev, st->st_ino);
	if (s->path)
		return s->path;
	*s = (struct layer_inode){ st->st_dev, st->st_ino, mem_str(path) };
	l->n++;
	return NULL;
}

bool layer_inodes_has(const struct layer_inodes *l, const struct stat *st)
{
	return l->n && slot(l, st->st_dev, st->st_ino)->path;
}
