/* SPDX-License-Identifier: Apache-2.0 */
/* The log: JSON lines as Docker's json-file driver writes them, so that its readers take them. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
	str_free(&l->part[0]);
	str_free(&l->part[1]);
	str_free(&l->out);
}

/* The directory is ours alone, but one may have been restored from elsewhere: no symlink is
 * followed (TRAPS T31). */
int container_log_open(int dir_fd, struct container_log *ret, struct err *err)
{
	int fd =
		openat(dir_fd, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, "open the log");
	ret->fd = fd;
	return 0;
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

/* One write for all lines of a read: they are in the file whole, or not at all, whoever is killed.
 */
static int write_out(struct container_log *l, struct err *err)
{
	int rc = l->out.len ? fd_write_all(l->fd, l->out.s, l->out.len, err) : 0;

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
