/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/err.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { KEPT = 200 };

__attribute__((format(printf, 3, 0))) static void vfill(struct err *err, int code, const char *fmt,
							va_list ap)
{
	err->code = code > 0 ? code : EIO;
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

/* What is added ends in the cause, which is never cut: of long names before it the middle goes. */
static void append(struct err *err, const char *sep, const char *text)
{
	size_t len = strlen(err->msg), room = sizeof(err->msg) - 1 - strlen(sep);
	size_t add = strlen(text), left;

	if (len + add > room && len > KEPT) {
		left = add + KEPT + 3 < room ? room - add - 3 : KEPT;
		memcpy(err->msg + left, "...", 4);
		len = left + 3;
	}
	left = room - len;
	if (add > left)
		snprintf(err->msg + len, sizeof(err->msg) - len, "%s...%s", sep,
			 text + (add - left) + 3);
	else
		snprintf(err->msg + len, sizeof(err->msg) - len, "%s%s", sep, text);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfill(err, code, fmt, ap);
	va_end(ap);
	return -err->code;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	vfill(err, saved, fmt, ap);
	va_end(ap);
	append(err, ": ", strerror(err->code));
	errno = saved;
	return -err->code;
}

int err_errno(struct err *err, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfill(err, errnum, fmt, ap);
	va_end(ap);
	append(err, ": ", strerror(err->code));
	return -err->code;
}

int err_ctx(struct err *err, const char *fmt, ...)
{
	char tail[ERR_MSG_MAX];
	va_list ap;

	memcpy(tail, err->msg, sizeof(tail));
	tail[sizeof(tail) - 1] = 0;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	append(err, ": ", tail);
	return -err->code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	append(err, " (", text);
	append(err, ")", "");
	return -err->code;
}

void err_clear(struct err *err)
{
	err->code = 0;
	err->msg[0] = 0;
}
