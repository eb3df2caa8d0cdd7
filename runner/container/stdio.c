/* SPDX-License-Identifier: Apache-2.0 */
/* What the program gets as stdin, stdout and stderr. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

/* Handed on to the program, as Docker's sig-proxy. */
static const int forwarded[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
				 SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH };

static struct termios cooked;

static int make_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

/*
 * May the program have this fd of ours itself? That costs nothing, but not with a terminal, whose
 * input it could read and fake, nor with a directory, from which ".." leads into the host, nor with
 * a device.
 */
static bool is_passable(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	return S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode) ||
	       (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int raw_mode(struct container_stdio *io, struct err *err)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &cooked) < 0)
		return err_set(err, ENOTTY, "the input device is not a terminal");
	raw = cooked;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return err_sys(err, "raw mode of the terminal");
	io->raw = true;
	return 0;
}

/*
 * The program starts with all signals at their defaults, whatever our shell had ignored (INT and
 * QUIT for a job in the background): an ignored one would be inherited, and a shell inside could
 * not even trap it.
 */
void container_signals_default(void)
{
	for (int sig = 1; sig < SIGSYS; sig++) {
		struct sigaction now;

		if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			signal(sig, SIG_DFL);
	}
}

/*
 * Before the spawn, whose child opens its mask again: none is lost, none ends us between. A hang-up
 * that was ignored (nohup) is not passed on; the others are even then, as a shell ignores INT and
 * QUIT for its jobs, and who sends one to us means the program.
 */
static int take_signals(struct container_stdio *io, struct err *err)
{
	sigset_t block, pass;

	sigemptyset(&block);
	sigemptyset(&pass);
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
		struct sigaction now = { 0 };

		sigaddset(&block, forwarded[i]);
		sigaction(forwarded[i], NULL, &now);
		if (forwarded[i] != SIGHUP || now.sa_handler != SIG_IGN)
			sigaddset(&pass, forwarded[i]);
	}
	sigprocmask(SIG_BLOCK, &block, NULL);
	container_signals_default();
	io->sig_fd = signalfd(-1, &pass, SFD_CLOEXEC | SFD_NONBLOCK);
	return io->sig_fd < 0 ? err_sys(err, "signalfd") : 0;
}

int container_stdio_foreground(bool tty, bool with_stdin, bool want_log,
			       struct container_stdio *ret, struct err *err)
{
	int rc = 0;

	ret->tty = tty;
	ret->outer[0] = with_stdin ? STDIN_FILENO : -1;
	ret->outer[1] = STDOUT_FILENO;
	ret->outer[2] = STDERR_FILENO;
	if (tty && with_stdin && !isatty(STDIN_FILENO))
		return err_set(err, ENOTTY, "the input device is not a terminal");
	rc = take_signals(ret, err);
	if (rc < 0 || tty)
		return rc;
	if (with_stdin && is_passable(STDIN_FILENO))
		ret->child[0] = STDIN_FILENO;
	else if (with_stdin)
		rc = make_pipe(&ret->child[0], &ret->to, err);
	for (int i = 1; i < 3 && rc >= 0; i++) {
		if (!want_log && is_passable(i))
			ret->child[i] = i;
		else
			rc = make_pipe(&ret->from[i - 1], &ret->child[i], err);
	}
	return rc;
}

int container_stdio_monitor(bool tty, bool with_stdin, struct container_stdio *ret, struct err *err)
{
	int rc = 0;

	ret->tty = tty;
	if (tty)
		return 0;
	/* Nobody writes to it, but it is open, so a shell that reads it waits. */
	if (with_stdin)
		rc = make_pipe(&ret->child[0], &ret->to, err);
	for (int i = 1; i < 3 && rc >= 0; i++)
		rc = make_pipe(&ret->from[i - 1], &ret->child[i], err);
	return rc;
}

int container_stdio_client(bool raw, struct container_stdio *ret, struct err *err)
{
	int rc = take_signals(ret, err);

	return rc < 0 || !raw ? rc : raw_mode(ret, err);
}

void container_stdio_raw_again(struct container_stdio *io)
{
	struct termios raw = cooked;

	if (!io->raw)
		return;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void close_child(struct container_stdio *io)
{
	for (int i = 0; i < 3; i++) {
		if (io->child[i] > STDERR_FILENO)
			fd_close(&io->child[i]);
		io->child[i] = -1;
	}
}

int container_stdio_spawned(struct container_stdio *io, struct err *err)
{
	close_child(io);
	signal(SIGPIPE, SIG_IGN);
	return io->tty && io->outer[0] >= 0 ? raw_mode(io, err) : 0;
}

void container_stdio_close(struct container_stdio *io)
{
	if (io->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
	io->raw = false;
	close_child(io);
	fd_close(&io->from[0]);
	fd_close(&io->from[1]);
	fd_close(&io->to);
	fd_close(&io->sig_fd);
}
