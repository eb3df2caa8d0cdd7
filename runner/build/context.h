/* SPDX-License-Identifier: Apache-2.0 */
/* The build context's two halves: the walk (context.c) and the stat index (context_index.c). */
#ifndef SHALE_BUILD_CONTEXT_H
#define SHALE_BUILD_CONTEXT_H

#include "priv.h"

struct context_index {
	const char *map; /* the whole file, or NULL */
	size_t len;
	size_t n;
	int64_t written_ns; /* when its walk began: files as new as this are read again, as git does
			       ("racy") */
};

struct context {
	struct runtime *rt;
	int fd;
	char *name; /* real path */
	struct ignore *ignore;
	struct context_file *files;
	size_t n, cap;
	bool walked, learned, is_tree;
	int64_t walk_ns; /* when the walk began */
	struct context_index index;
};

int context_compare(const void *a, const void *b); /* context_file by path */
void context_index_write(struct context *c);
void context_index_close(struct context_index *ix);

#endif
