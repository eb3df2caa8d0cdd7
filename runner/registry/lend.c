/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way into a pipe, to which their pages are lent (vmsplice) instead of copied. They
 * stand in a ring that is larger than the pipe, so what is written over has been read.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "priv.h"

enum { PIPE_MAX = 1 << 20, ROOM = 512 << 10 };

/* Mapped, not from the heap: what the pipe still holds when this ends must not become another's. */
static void open_ring(struct lend *l, int fd, struct err *err)
{
	int pipe_bytes = fcntl(fd, F_GETPIPE_SZ);
	size_t size;
	void *p;

	/* A file, or a pipe that would need too much. */
	l->is_copied = pipe_bytes < 0 || pipe_bytes > PIPE_MAX;
	size = ROOM + (l->is_copied ? 0 : (size_t)pipe_bytes);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		err_sys(err, "memory for what comes");
		return;
	}
	l->ring = p;
	l->size = size;
}

void lend_close(struct lend *l)
{
	if (l->ring)
		munmap(l->ring, l->size);
	*l = (struct lend){ 0 };
}

int lend_add(struct lend *l, int fd, const void *p, size_t n, struct err *err)
{
	size_t at, first;

	if (!l->ring)
		open_ring(l, fd, err);
	if (!l->ring)
		return -err->code;
	if (n > ROOM - lend_left(l))
		return err_set(err, EFBIG, "more at once than there is room for");
	at = (size_t)(l->in % l->size);
	first = n < l->size - at ? n : l->size - at;
	memcpy(l->ring + at, p, first);
	memcpy(l->ring, (const char *)p + first, n - first);
	l->in += n;
	return 0;
}

int lend_flush(struct lend *l, int fd, struct err *err)
{
	while (lend_left(l)) {
		size_t at = (size_t)(l->out % l->size), n = lend_left(l);
		struct iovec part;
		ssize_t got;

		n = n < l->size - at ? n : l->size - at;
		part = (struct iovec){ l->ring + at, n };
		got = l->is_copied ? writev(fd, &part, 1)
				   : vmsplice(fd, &part, 1, SPLICE_F_NONBLOCK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 1;
		if (got < 0)
			return err_sys(err, "write what came");
		l->out += (uint64_t)got;
	}
	return 0;
}
