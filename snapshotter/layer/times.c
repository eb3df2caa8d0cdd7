/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of directories, which are set when all is in them. An archive may have millions of long
 * names: what is above a little goes to a file without a name, beneath the tree that is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

/* The buffer holds a record in any case. */
enum { MEMORY_MAX = 1 << 20, READ_BYTES = 64 << 10 };

void layer_times_free(struct layer_times *t)
{
	str_free(&t->text);
	if (t->has_file)
		fd_close(&t->fd);
	t->has_file = false;
}

/* Where this fails, memory has to do. */
static void spill(struct layer_times *t, int dir_fd)
{
	struct err ignored;

	if (!t->has_file)
		t->fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return;
	t->has_file = true;
	if (lseek(t->fd, (off_t)t->in_file, SEEK_SET) < 0 ||
	    fd_write_all(t->fd, t->text.s, t->text.len, &ignored) < 0)
		return;
	t->in_file += t->text.len;
	str_reset(&t->text);
}

void layer_times_add(struct layer_times *t, int dir_fd, const char *path, int64_t mtime_s)
{
	str_addn(&t->text, &mtime_s, sizeof(mtime_s));
	str_addn(&t->text, path, strlen(path) + 1);
	if (t->text.len >= MEMORY_MAX)
		spill(t, dir_fd);
}

/* The whole records in p; what is left of the last one. */
static ssize_t each(const char *p, size_t n, layer_time_fn *fn, void *arg, struct err *err)
{
	const char *end;
	int64_t mtime_s;

	while (n > sizeof(mtime_s) && (end = memchr(p + sizeof(mtime_s), 0, n - sizeof(mtime_s)))) {
		int rc;

		memcpy(&mtime_s, p, sizeof(mtime_s));
		rc = fn(p + sizeof(mtime_s), mtime_s, arg, err);
		if (rc < 0)
			return rc;
		n -= (size_t)(end + 1 - p);
		p = end + 1;
	}
	return (ssize_t)n;
}

static int each_in_file(struct layer_times *t, layer_time_fn *fn, void *arg, struct err *err)
{
	auto_free char *buf = mem_alloc(READ_BYTES);
	size_t have = 0;

	if (lseek(t->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "times of directories");
	for (uint64_t left = t->in_file; left;) {
		size_t want = READ_BYTES - have;
		ssize_t n = fd_read_full(t->fd, buf + have, want < left ? want : (size_t)left, err);

		if (n <= 0)
			return n < 0 ? (int)n : err_set(err, EIO, "times of directories");
		left -= (uint64_t)n;
		have += (size_t)n;
		n = each(buf, have, fn, arg, err);
		if (n < 0)
			return (int)n;
		memmove(buf, buf + have - n, (size_t)n);
		have = (size_t)n;
	}
	return 0;
}

int layer_times_each(struct layer_times *t, layer_time_fn *fn, void *arg, struct err *err)
{
	int rc = t->in_file ? each_in_file(t, fn, arg, err) : 0;

	if (rc >= 0 && t->text.len) {
		ssize_t left = each(t->text.s, t->text.len, fn, arg, err);

		rc = left < 0 ? (int)left : 0;
	}
	return rc;
}
