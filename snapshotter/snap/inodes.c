/* SPDX-License-Identifier: Apache-2.0 */
/* Inode number -> path: which name of a file came first, and where a directory was. Open
 * addressing.
 */
#include <stdlib.h>

#include "tree.h"

static size_t slot(const struct snap_inodes *m, uint64_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15ull >> 20) & (m->cap - 1);

	while (m->v[i].path && m->v[i].ino != ino)
		i = (i + 1) & (m->cap - 1);
	return i;
}

static void grow(struct snap_inodes *m)
{
	struct snap_inodes big = { .n = m->n, .cap = m->cap ? m->cap * 2 : 256 };

	big.v = mem_array(big.cap, sizeof(*big.v));
	for (size_t i = 0; i < m->cap; i++)
		if (m->v[i].path)
			big.v[slot(&big, m->v[i].ino)] = m->v[i];
	free(m->v);
	*m = big;
}

const char *snap_inodes_find(const struct snap_inodes *m, uint64_t ino)
{
	return m->cap ? m->v[slot(m, ino)].path : NULL;
}

void snap_inodes_add(struct snap_inodes *m, uint64_t ino, const char *path)
{
	size_t i;

	if (m->n * 2 >= m->cap)
		grow(m);
	i = slot(m, ino);
	if (m->v[i].path)
		return;
	m->v[i].ino = ino;
	m->v[i].path = mem_str(path);
	m->n++;
}

void snap_inodes_free(struct snap_inodes *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->v[i].path);
	free(m->v);
	*m = (struct snap_inodes){ 0 };
}
