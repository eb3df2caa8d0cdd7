/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err: a failure as a value that tells its story.
 *
 * Plain data, owned by the outermost caller, passed down as the last argument. It never allocates
 * and is smaller than PIPE_BUF, so a child hands it to its parent in one write. What can fail
 * returns >= 0 on success and -code on failure; err is filled if and only if the result is
 * negative. Codes are errno values: ENOENT no such thing, EEXIST name taken, EBUSY in use, EBADMSG
 * damaged or wrong digest, EPROTO odd peer, EINVAL bad input, ENOTSUP understood but refused.
 */
#ifndef SHALE_BASE_ERR_H
#define SHALE_BASE_ERR_H

enum { ERR_MSG_MAX = 1536 };

struct err {
	int code; /* positive errno value, 0 while nothing went wrong */
	char msg[ERR_MSG_MAX];
};

/* The cause, in our own words. Fills err, returns -code. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The cause, a failed system call: the message gets ": strerror(errno)". Returns -errno. */
int err_sys(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a library that returns an errno value instead of setting it. */
int err_errno(struct err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The context: puts "text: " before what is there already. Returns -code. */
int err_ctx(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The advice: appends " (text)". Returns -code. */
int err_hint(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forget a failure that was dealt with. */
void err_clear(struct err *err);

#endif
