/* SPDX-License-Identifier: Apache-2.0 */
/* The build context: its files (context.c), the walk that finds them (context_walk.c) and the stat
 * index (context_index.c). */
#ifndef SHALE_BUILD_CONTEXT_H
#define SHALE_BUILD_CONTEXT_H

#include <stdatomic.h>
#include <sys/stat.h>

#include <shale/base/hash.h>

#include "priv.h"

struct context_index {
	const char *map; /* the whole file, or NULL */
	size_t len;
	size_t n, next;     /* entries; the one behind what was found last */
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
	bool is_read;        /* nothing is left for the thread below */
	int64_t walk_ns;     /* when the walk began */
	struct ahead *ahead; /* the thread that reads what will be copied; NULL: none */
	struct context_index index;
};

/* Takes path. */
struct context_file context_file_of(char *path, const struct stat *st);
int context_read_link(int dir_fd, const char *name, char **ret, struct err *err);
/* Adds what stands in the directory fd, as far as it is not ignored, sorted by path. path: what fd
 * is called; it is in no list itself. Takes fd. */
int context_walk(struct context *c, int fd, const char *path, struct err *err);

/* What a thread hashes with. */
struct reader {
	struct hash *h;
	char *buf;
	const atomic_bool *stop; /* when it is set, -EINTR; NULL: never */
};
void reader_open(struct reader *r, const atomic_bool *stop);
void reader_close(struct reader *r);
struct context_seen {
	struct digest content, xattrs;
};
int context_hash_one(const struct context *c, const struct context_file *f, struct reader *r,
		     struct context_seen *ret, struct err *err);
void context_file_seen(struct context_file *f, const struct context_seen *s);
/* Regular, not known, and not in the index (which is opened): to be read. */
bool context_is_unread(struct context *c, struct context_file *f);
void context_ahead_end(struct context *c);         /* takes over what the thread has read */
int context_compare(const void *a, const void *b); /* context_file by path */
void context_index_write(struct context *c);
void context_index_close(struct context_index *ix);

#endif
