/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/sink.h>

void fd_cleanup(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd); /* never retried: Linux frees the number even on EINTR */
	errno = saved;
}

void fd_close(int *fd)
{
	fd_cleanup(fd);
	*fd = -1;
}

int fd_take(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

int fd_dup(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int fd_write_all(int fd, const void *p, size_t n, struct err *err)
{
	const char *at = p;

	while (n) {
		ssize_t k = write(fd, at, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(err, "write");
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

int sink_fd_write(struct sink *to, const void *p, size_t n, struct err *err)
{
	return fd_write_all(((struct sink_fd *)to)->fd, p, n, err);
}

int fd_write_str(int fd, const char *s, struct err *err)
{
	return fd_write_all(fd, s, strlen(s), err);
}

/* at -1: from where the fd stands, which then moves. */
static ssize_t read_full(int fd, void *p, size_t n, off_t at, struct err *err)
{
	size_t got = 0;

	while (got < n) {
		char *to = (char *)p + got;
		ssize_t k =
			at < 0 ? read(fd, to, n - got) : pread(fd, to, n - got, at + (off_t)got);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_sys(err, "read");
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

ssize_t fd_read_full(int fd, void *p, size_t n, struct err *err)
{
	return read_full(fd, p, n, -1, err);
}

ssize_t fd_pread_full(int fd, void *p, size_t n, off_t at, struct err *err)
{
	return read_full(fd, p, n, at, err);
}

int fd_send(int sock, const void *p, size_t n, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec part = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do
		sent = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

ssize_t fd_receive(int sock, void *p, size_t n, int *ret_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec part = { p, n };
	struct msghdr m = { .msg_iov = &part,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	const struct cmsghdr *c;
	ssize_t got;

	*ret_fd = -1;
	do
		got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return got;
}

int fd_read_all(int fd, size_t limit, char **ret, size_t *ret_len, struct err *err)
{
	size_t cap = 4096, len = 0;
	auto_free char *buf = NULL;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size > 0)
		cap = (size_t)st.st_size < limit ? (size_t)st.st_size + 1 : limit + 1;
	for (;;) {
		ssize_t k;

		buf = mem_grow(buf, cap + 1, 1);
		k = fd_read_full(fd, buf + len, cap - len, err);
		if (k < 0)
			return (int)k;
		len += (size_t)k;
		if (len > limit)
			return err_set(err, EFBIG, "larger than %zu bytes", limit);
		if (len < cap)
			break;
		cap *= 2;
	}
	buf[len] = 0;
	*ret = take(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
		 struct err *err)
{
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return err_sys(err, "open %s", name);
	rc = fd_read_all(fd, limit, ret, ret_len, err);
	return rc < 0 ? err_ctx(err, "read %s", name) : 0;
}

int fd_write_file(int dir_fd, const char *name, const void *p, size_t n, mode_t mode,
		  struct err *err)
{
	auto_fd int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int rc;

	if (fd < 0)
		return err_sys(err, "create %s", name);
	rc = fd_write_all(fd, p, n, err);
	return rc < 0 ? err_ctx(err, "write %s", name) : 0;
}

const char *fd_path(int fd, char buf[FD_PATH_MAX])
{
	snprintf(buf, FD_PATH_MAX, "/proc/self/fd/%d", fd);
	return buf;
}
