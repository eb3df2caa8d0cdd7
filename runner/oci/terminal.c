/* SPDX-License-Identifier: Apache-2.0 */
/* Fds over sockets, and our terminal as the container's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

int oci_connect(const char *path, struct err *err)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(to.sun_path))
		return err_set(err, ENAMETOOLONG, "socket %s", path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_sys(err, "socket %s", path);
	return fd_take(&fd);
}

int oci_send_fd(const char *path, int fd, const char *text, struct err *err)
{
	auto_fd int sock = oci_connect(path, err);

	if (sock < 0)
		return sock;
	return fd_send(sock, text, strlen(text), fd) < 0 ? err_sys(err, "socket %s", path) : 0;
}

static void resize(int master)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(master, TIOCSWINSZ, &size);
}

/* false: that direction is over. */
static bool pass_on(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));
	struct err ignored;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	return n > 0 && fd_write_all(to, buf, (size_t)n, &ignored) == 0;
}

static void pass_signal(int sig_fd, int master, int pidfd)
{
	struct signalfd_siginfo s;

	if (read(sig_fd, &s, sizeof(s)) != sizeof(s) || s.ssi_signo == SIGCHLD)
		return;
	if (s.ssi_signo == SIGWINCH)
		resize(master);
	else
		sys_pidfd_send_signal(pidfd, (int)s.ssi_signo);
}

static int relay(int master, int pidfd, int sig_fd, struct err *err)
{
	struct pollfd p[] = { { master, POLLIN, 0 },
			      { master >= 0 ? STDIN_FILENO : -1, POLLIN, 0 },
			      { sig_fd, POLLIN, 0 },
			      { pidfd, POLLIN, 0 } };

	for (;;) {
		if (poll(p, ARRAY_LEN(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "poll");
		}
		if (p[0].revents && !pass_on(master, STDOUT_FILENO))
			p[0].fd = -1;
		if (p[1].revents && !pass_on(STDIN_FILENO, master))
			p[1].fd = -1;
		if (p[2].revents)
			pass_signal(sig_fd, master, pidfd);
		/* What it wrote last is read to the end. */
		if (p[3].revents && !(p[0].fd >= 0 && p[0].revents & POLLIN))
			return 0;
	}
}

int oci_attend(int master, int pidfd, struct err *err)
{
	static const int ours[] = { SIGCHLD, SIGHUP,  SIGINT,   SIGQUIT, SIGTERM,
				    SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
	struct termios saved, raw;
	bool tty = master >= 0 && tcgetattr(STDIN_FILENO, &saved) == 0;
	auto_fd int sig_fd = -1;
	sigset_t set, old;
	int rc;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		sigaddset(&set, ours[i]);
	sigprocmask(SIG_BLOCK, &set, &old);
	sig_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (sig_fd < 0)
		return err_sys(err, "signalfd");
	if (tty) {
		raw = saved;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		resize(master);
	}
	rc = relay(master, pidfd, sig_fd, err);
	if (tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return rc;
}
