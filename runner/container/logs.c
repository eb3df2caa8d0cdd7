/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log back: the last lines, from a time on, and as it grows. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "priv.h"

/* A line of 16 KiB grows by escapes to six times that, and some. */
enum { READ_BYTES = 65536, LINE_MAX_BYTES = 256 << 10, POLL_MS = 100 };

struct reader {
	int fd, dir_fd;
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

/* How many lines it has, up to want; *ret_at: where the last of them begin. */
static int64_t find_tail(int fd, int64_t want, off_t *ret_at, struct err *err)
{
	auto_free char *buf = mem_alloc(READ_BYTES);
	off_t at = lseek(fd, 0, SEEK_END);
	int64_t seen = 0;

	*ret_at = 0;
	while (at > 0) {
		size_t part = at < READ_BYTES ? (size_t)at : READ_BYTES;
		ssize_t n = pread(fd, buf, part, at - (off_t)part);

		if (n != (ssize_t)part)
			return err_sys(err, "read the log");
		for (size_t i = part; i-- > 0;) {
			/* The newline at the very end closes the last line; the one before it ends
			 * the last but one. */
			if (buf[i] != '\n' || seen++ < want)
				continue;
			*ret_at = at - (off_t)part + (off_t)i + 1;
			return want;
		}
		at -= (off_t)part;
	}
	return seen;
}

static int open_file(const struct reader *r, int i)
{
	char name[CONTAINER_LOG_NAME_MAX];

	return openat(r->dir_fd, container_log_name(i, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* The oldest file that is read: *ret_at: from there on. */
static int find_first(struct reader *r, off_t *ret_at, struct err *err)
{
	int64_t want = r->o->tail;
	int i = 0;

	*ret_at = 0;
	for (;; i++) {
		auto_fd int fd = open_file(r, i);
		int64_t n = 0;

		if (fd < 0)
			return i - 1;
		if (r->o->tail >= 0)
			n = find_tail(fd, want, ret_at, err);
		if (n < 0)
			return (int)n;
		want -= n;
		if ((r->o->tail >= 0 && want <= 0) || i == CONTAINER_LOG_FILES_MAX)
			return i;
	}
}

/* From file i, at, to the newest, which stays open. */
static int read_from(struct reader *r, int i, off_t at, struct err *err)
{
	int rc = 0;

	for (; rc >= 0 && i >= 0; i--, at = 0) {
		fd_close(&r->fd);
		r->fd = open_file(r, i);
		if (r->fd < 0)
			continue; /* rotated meanwhile: it has the next number */
		lseek(r->fd, at, SEEK_SET);
		rc = read_on(r, err);
	}
	return rc;
}

/* Has the file that is open another name by now? Its number then; one beyond all when it is gone.
 */
static int number_now(const struct reader *r)
{
	struct stat ours, st;
	char name[CONTAINER_LOG_NAME_MAX];
	int i = 0;

	if (r->fd < 0 || fstat(r->fd, &ours) < 0)
		return 1;
	for (; i <= CONTAINER_LOG_FILES_MAX; i++) {
		if (fstatat(r->dir_fd, container_log_name(i, name), &st, AT_SYMLINK_NOFOLLOW) < 0)
			break;
		if (st.st_ino == ours.st_ino)
			return i;
	}
	return i;
}

/* 1 when something was read. What came before a rename is read before what came after it. */
static int read_new(struct reader *r, struct err *err)
{
	int got = r->fd >= 0 ? read_on(r, err) : 0, i = number_now(r);

	if (got < 0 || i == 0)
		return got;
	if (r->fd >= 0 && (got = read_on(r, err)) < 0)
		return got;
	return read_from(r, i - 1, 0, err);
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
		while ((got = read_new(r, err)) > 0)
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
	struct reader r = { .fd = -1, .o = o, .fn = fn, .arg = arg };
	auto_fd int dir = -1;
	off_t at = 0;
	int rc, first;

	rc = container_dir(c, &dir, err);
	if (rc < 0)
		return rc;
	r.dir_fd = dir;
	first = find_first(&r, &at, err);
	/* None: it has never run, or is one of the kind that keeps none. */
	if (first == -1)
		return 0;
	rc = first < 0 ? first : read_from(&r, first, at, err);
	if (rc >= 0 && o->follow)
		rc = follow(c, &r, err);
	fd_close(&r.fd);
	str_free(&r.part);
	return rc < 0 ? rc : 0;
}
