/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log back: the last lines, from a time on, and as it grows. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "priv.h"

/* A line of 16 KiB grows by escapes to six times that, and some. */
enum { READ_BYTES = 65536, LINE_MAX_BYTES = 256 << 10, POLL_MS = 100 };

struct reader {
	int fd;
	const struct container_log_opts *o;
	container_log_fn *fn;
	void *arg;
	struct str part; /* the beginning of a line */
};

/* RFC 3339 as we write it; 0 for anything else. */
static int64_t parse_time(const char *text)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t ns = 0, unit = 100000000;

	if (!rest)
		return 0;
	if (*rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
			ns += (*rest - '0') * unit;
	return (int64_t)timegm(&tm) * 1000000000 + ns;
}

static int give_line(struct reader *r, const char *p, size_t n, struct err *err)
{
	auto_json json_t *j = NULL;
	struct err ignored = { 0 };
	const char *text, *when;
	int64_t t;

	/* A line that a full disk has cut is no reason to hide the others. */
	if (json_parse(p, n, &j, &ignored) < 0)
		return 0;
	text = json_get_str(j, "log");
	when = json_get_str(j, "time");
	t = when ? parse_time(when) : 0;
	if (!text || (r->o->since_ns && t < r->o->since_ns))
		return 0;
	if (r->o->until_ns && t > r->o->until_ns)
		return 0;
	struct container_log_line line = { text, json_string_length(json_object_get(j, "log")),
					   str_eq(json_get_str(j, "stream"), "stderr"),
					   when ? when : "" };
	return r->fn(&line, r->arg, err);
}

static int give(struct reader *r, const char *p, size_t n, struct err *err)
{
	int rc = 0;

	while (rc >= 0 && n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end - p) : n;

		if (r->part.len + len > LINE_MAX_BYTES)
			return err_set(err, EBADMSG, "a line of the log is too long");
		if (end && r->part.len == 0) {
			rc = give_line(r, p, len, err);
		} else {
			str_addn(&r->part, p, len);
			if (end) {
				rc = give_line(r, r->part.s, r->part.len, err);
				str_reset(&r->part);
			}
		}
		len += end ? 1 : 0;
		p += len;
		n -= len;
	}
	return rc;
}

/* 1 when something was read. */
static int read_on(struct reader *r, struct err *err)
{
	auto_free char *buf = mem_alloc(READ_BYTES);
	int got = 0;

	for (;;) {
		ssize_t n = read(r->fd, buf, READ_BYTES);
		int rc;

		if (n < 0)
			return err_sys(err, "read the log");
		if (n == 0)
			return got;
		got = 1;
		rc = give(r, buf, (size_t)n, err);
		if (rc < 0)
			return rc;
	}
}

/* Offset where the last so many lines begin, found from the end. */
static int seek_tail(int fd, int64_t lines, struct err *err)
{
	auto_free char *buf = mem_alloc(READ_BYTES);
	off_t at = lseek(fd, 0, SEEK_END);
	int64_t seen = 0;

	while (at > 0) {
		size_t want = at < READ_BYTES ? (size_t)at : READ_BYTES;
		ssize_t n = pread(fd, buf, want, at - (off_t)want);

		if (n != (ssize_t)want)
			return err_sys(err, "read the log");
		for (size_t i = want; i-- > 0;) {
			/* The newline at the very end closes the last line; the one before it ends
			 * the last but one. */
			if (buf[i] != '\n' || seen++ < lines)
				continue;
			lseek(fd, at - (off_t)want + (off_t)i + 1, SEEK_SET);
			return 0;
		}
		at -= (off_t)want;
	}
	lseek(fd, 0, SEEK_SET);
	return 0;
}

static int is_running(struct container *c, struct err *err)
{
	int rc = container_reload(c, err);

	if (rc >= 0)
		rc = container_reconcile(c, err);
	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	return rc < 0 ? rc : c->state == CONTAINER_RUNNING;
}

/* The database is asked only while nothing comes. */
static int follow(struct container *c, struct reader *r, struct err *err)
{
	int running, got;

	do {
		running = is_running(c, err);
		if (running < 0)
			return running;
		/* What was written before the end is read after it was seen. */
		while ((got = read_on(r, err)) > 0)
			;
		if (got < 0)
			return got;
		if (running)
			nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
	} while (running);
	return 0;
}

int container_logs(struct container *c, const struct container_log_opts *o, container_log_fn *fn,
		   void *arg, struct err *err)
{
	struct reader r = { .o = o, .fn = fn, .arg = arg };
	auto_fd int dir = -1, fd = -1;
	int rc;

	rc = container_dir(c, &dir, err);
	if (rc < 0)
		return rc;
	r.fd = fd = openat(dir, "log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0; /* it has never run, or is one of the kind that keeps none */
	if (fd < 0)
		return err_sys(err, "open the log of container %s", c->name);
	rc = o->tail >= 0 ? seek_tail(fd, o->tail, err) : 0;
	if (rc >= 0)
		rc = read_on(&r, err);
	if (rc >= 0 && o->follow)
		rc = follow(c, &r, err);
	str_free(&r.part);
	return rc < 0 ? rc : 0;
}
