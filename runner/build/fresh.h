/* SPDX-License-Identifier: Apache-2.0 */
/* What a COPY puts into directories that it made itself (fresh.c). */
#ifndef SHALE_BUILD_FRESH_H
#define SHALE_BUILD_FRESH_H

#include "priv.h"

/* Where a file is to be made. */
struct fresh_at {
	int dir_fd;
	const char *name;
	const char *path;   /* in the image */
	bool inherits;      /* the directory gives new files its group or an ACL */
	bool is_fresh;      /* nothing else is there */
	unsigned mode_kept; /* of the bits of a mode, those that open() gives a new file */
};

typedef int fresh_fn(const struct context_file *f, const struct fresh_at *at, void *arg,
		     struct err *err);

struct fresh;
/* upper_fd: the directory that the mount root_fd writes to, or -1: then nothing is fresh. Both stay
 * the caller's. */
struct fresh *fresh_new(int root_fd, int upper_fd);
void fresh_free(struct fresh *fr);
/* The directory fd stands at path now, with no symlink on the way, and is empty. In the order of
 * paths, until fresh_write. */
void fresh_dir(struct fresh *fr, const char *path, int fd);
/* True: f will be written to path by fresh_write. False: nothing is known of its directory. */
bool fresh_file(struct fresh *fr, const struct context_file *f, const char *path);
/* Has fn make all files, in several threads at once; then nothing is fresh any more. */
int fresh_write(struct fresh *fr, fresh_fn *fn, void *arg, struct err *err);

#endif
