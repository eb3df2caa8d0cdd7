/* SPDX-License-Identifier: Apache-2.0 */
/* The log: JSON lines as Docker's json-file driver writes them, so that its readers take them. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

/* Docker cuts longer lines into entries of this size. */
enum { LINE_MAX_BYTES = 16384 };

void container_log_close(struct container_log *l)
{
	fd_close(&l->fd);
	fd_close(&l->dir_fd);
	str_free(&l->part[0]);
	str_free(&l->part[1]);
	str_free(&l->out);
}

/* The directory is ours alone, but one may have been restored from elsewhere: no symlink is
 * followed (TRAPS T31). */
static int open_log(int dir_fd)
{
	return openat(dir_fd, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int container_log_open(int dir_fd, const struct container_spec *s, struct container_log *ret,
		       struct err *err)
{
	auto_fd int fd = open_log(dir_fd);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open the log");
	ret->limit = s->log_bytes;
	ret->files = (int)(s->log_files ? s->log_files : 1);
	ret->size = (uint64_t)st.st_size;
	ret->dir_fd = ret->limit ? openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	ret->fd = fd_take(&fd);
	return 0;
}

const char *container_log_name(int i, char buf[CONTAINER_LOG_NAME_MAX])
{
	snprintf(buf, CONTAINER_LOG_NAME_MAX, i ? "log.%d" : "log", i);
	return buf;
}

/* Only its writer renames it, between two lines. A reader knows its file by the inode. */
static void rotate(struct container_log *l)
{
	char from[CONTAINER_LOG_NAME_MAX], to[CONTAINER_LOG_NAME_MAX];
	int fd;

	if (l->dir_fd < 0)
		return;
	for (int i = l->files - 1; i > 0; i--)
		renameat(l->dir_fd, container_log_name(i - 1, from), l->dir_fd,
			 container_log_name(i, to));
	if (l->files == 1)
		unlinkat(l->dir_fd, "log", 0);
	fd = open_log(l->dir_fd);
	if (fd < 0)
		return;
	fd_close(&l->fd);
	l->fd = fd;
	l->size = 0;
}

char *container_time_text(int64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[32];
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return mem_fmt("%s.%09dZ", text, (int)(ns % 1000000000));
}

/* Length of the UTF-8 sequence at p, 0 when it is none (overlong, surrogate, cut off). */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t min;
	} form[] = { { 0x80, 0x00, 0 },
		     { 0xe0, 0xc0, 0x80 },
		     { 0xf0, 0xe0, 0x800 },
		     { 0xf8, 0xf0, 0x10000 } };

	for (size_t n = 1; n <= 4; n++) {
		uint32_t v = (unsigned char)(*p & ~form[n - 1].mask);

		if ((*p & form[n - 1].mask) != form[n - 1].lead)
			continue;
		if (n > left)
			return 0;
		for (size_t i = 1; i < n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			v = v << 6 | (p[i] & 0x3f);
		}
		return v < form[n - 1].min || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : n;
	}
	return 0;
}

static void add_escaped(struct str *out, const char *text, size_t n)
{
	static const char special[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0, len; i < n; i += len) {
		const char *hit = p[i] ? strchr(special, p[i]) : NULL;

		len = utf8_len(p + i, n - i);
		if (len == 0) {
			str_add(out, "\\ufffd");
			len = 1;
		} else if (hit) {
			str_addc(out, '\\');
			str_addc(out, letter[hit - special]);
		} else if (p[i] < 0x20 || p[i] == 0x7f) {
			str_addf(out, "\\u%04x", p[i]);
		} else {
			str_addn(out, p + i, len);
		}
	}
}

void container_log_format(struct str *out, const char *p, size_t n, int stream, int64_t time_ns)
{
	auto_free char *when = container_time_text(time_ns);

	str_add(out, "{\"log\":\"");
	add_escaped(out, p, n);
	str_addf(out, "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream ? "stderr" : "stdout",
		 when);
}

static void flush_part(struct container_log *l, int stream, int64_t now)
{
	struct str *part = &l->part[stream];

	if (part->len)
		container_log_format(&l->out, part->s, part->len, stream, now);
	str_reset(part);
}

/* Whole lines of what waits that the file has room for; one at least. */
static size_t fitting(const struct container_log *l, const char *p, size_t n)
{
	size_t room = l->limit > l->size ? (size_t)(l->limit - l->size) : 0;
	const char *end = NULL;

	if (!l->limit || n <= room)
		return n;
	end = room ? memrchr(p, '\n', room) : NULL;
	if (!end && l->size)
		return 0;
	end = end ? end : memchr(p, '\n', n);
	return end ? (size_t)(end - p) + 1 : n;
}

/* One write for all lines of a read: they are in the file whole, or not at all, whoever is killed.
 */
static int write_out(struct container_log *l, struct err *err)
{
	size_t at = 0;
	int rc = 0;

	while (rc >= 0 && at < l->out.len) {
		size_t n = fitting(l, l->out.s + at, l->out.len - at);

		if (!n) {
			rotate(l);
			/* It could not be: rather too long than nothing. */
			n = l->size ? l->out.len - at : fitting(l, l->out.s + at, l->out.len - at);
		}
		rc = fd_write_all(l->fd, l->out.s + at, n, err);
		l->size += n;
		at += n;
	}
	str_reset(&l->out);
	return rc < 0 ? err_ctx(err, "log") : 0;
}

int container_log_add(struct container_log *l, int stream, const char *p, size_t n, struct err *err)
{
	struct str *part = &l->part[stream];
	int64_t now = proc_now_ns();

	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t take_n = end ? (size_t)(end - p) + 1 : n;

		if (part->len + take_n > LINE_MAX_BYTES) {
			take_n = LINE_MAX_BYTES - part->len;
			end = NULL;
		}
		str_addn(part, p, take_n);
		if (end || part->len == LINE_MAX_BYTES)
			flush_part(l, stream, now);
		p += take_n;
		n -= take_n;
	}
	return write_out(l, err);
}

int container_log_end(struct container_log *l, struct err *err)
{
	int64_t now = proc_now_ns();

	flush_part(l, 0, now);
	flush_part(l, 1, now);
	return write_out(l, err);
}
