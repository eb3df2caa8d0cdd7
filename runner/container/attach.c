/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the doors: this process's terminal at a program that another one keeps. */
#include <shale/container.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { KEYS_MAX = 16, OUTPUT_MAX = 16384 + 1 };
#define DEFAULT_KEYS "ctrl-p,ctrl-q"

struct client {
	int sock;
	const struct container_attach *a;
	struct container_stdio *io;
	char keys[KEYS_MAX];
	size_t n_keys, matched;
	bool reads; /* our input is not at its end */
	bool has_left;
	int fatal_signal;
};

/* --- the keys --- */

static int parse_key(const char *word, char *ret)
{
	if (strlen(word) == 1) {
		*ret = *word;
		return 0;
	}
	if (!str_starts(word, "ctrl-") || strlen(word) != 6)
		return -EINVAL;
	if (isalpha((unsigned char)word[5]))
		*ret = (char)(tolower((unsigned char)word[5]) - 'a' + 1);
	else if (word[5] == '@')
		*ret = 0;
	else if (strchr("[\\]^_", word[5]))
		*ret = (char)(word[5] - '[' + 27);
	else
		return -EINVAL;
	return 0;
}

/* "ctrl-p,ctrl-q", "a,ctrl-]"; "" for none. */
static int keys_parse(const char *text, char ret[KEYS_MAX], size_t *ret_n, struct err *err)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, text, ',');
	if (words.n > KEYS_MAX)
		return err_set(err, EINVAL, "--detach-keys: more than %d keys", KEYS_MAX);
	for (size_t i = 0; i < words.n; i++)
		if (parse_key(words.v[i], &ret[i]) < 0)
			return err_set(err, EINVAL,
				       "--detach-keys %s: want characters or ctrl-X with X one of "
				       "a-z @ [ \\ ] ^ _, with commas between",
				       text);
	*ret_n = words.n;
	return 0;
}

/* Those that were held back as they might have become the whole sequence go on when they do not. */
static size_t filter_keys(struct client *c, const char *in, size_t n, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < n && !c->has_left; i++) {
		if (c->n_keys && in[i] == c->keys[c->matched]) {
			c->has_left = ++c->matched == c->n_keys;
			continue;
		}
		memcpy(out + len, c->keys, c->matched);
		len += c->matched;
		c->matched = 0;
		if (c->n_keys && in[i] == c->keys[0]) {
			c->has_left = ++c->matched == c->n_keys;
			continue;
		}
		out[len++] = in[i];
	}
	return len;
}

/* --- messages --- */

static void tell(struct client *c, char kind, const void *p, size_t n)
{
	char message[DOOR_INPUT_MAX + 1];

	message[0] = kind;
	memcpy(message + 1, p, n);
	send(c->sock, message, n + 1, MSG_NOSIGNAL);
}

static void tell_size(int sock, bool larger)
{
	char message[sizeof(struct winsize) + 1] = { DOOR_SIZE };
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return;
	w.ws_row = (unsigned short)(w.ws_row + larger);
	memcpy(message + 1, &w, sizeof(w));
	send(sock, message, sizeof(message), MSG_NOSIGNAL);
}

void container_client_tell_size(int sock)
{
	tell_size(sock, false);
}

static void read_input(struct client *c)
{
	char in[DOOR_INPUT_MAX / 2], out[DOOR_INPUT_MAX];
	ssize_t n = read(STDIN_FILENO, in, sizeof(in) - KEYS_MAX);
	size_t len;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		c->reads = false;
		return;
	}
	len = filter_keys(c, in, (size_t)n, out);
	if (len)
		tell(c, DOOR_INPUT, out, len);
	if (c->has_left)
		tell(c, DOOR_LEAVE, "", 0);
}

static void take_signals(struct client *c)
{
	struct signalfd_siginfo info;

	while (read(c->io->sig_fd, &info, sizeof(info)) == sizeof(info)) {
		int sig = (int)info.ssi_signo;
		char byte = (char)sig;

		if (sig == SIGWINCH || sig == SIGCONT) {
			/* A shell that had the terminal meanwhile has left it as it wants it. */
			container_stdio_raw_again(c->io);
			tell_size(c->sock, false);
		}
		if (sig == SIGWINCH)
			continue;
		if (c->a->sig_proxy)
			tell(c, DOOR_SIGNAL, &byte, 1);
		else if (sig != SIGCONT && sig != SIGUSR1 && sig != SIGUSR2)
			c->fatal_signal = sig;
	}
}

/* 0 at the end. */
static int give_output(struct client *c, struct err *err)
{
	char buf[OUTPUT_MAX];
	ssize_t n = recv(c->sock, buf, sizeof(buf), 0);
	int to;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 1)
		return 0;
	to = buf[0] == DOOR_STDERR ? STDERR_FILENO : STDOUT_FILENO;
	return fd_write_all(to, buf + 1, (size_t)n - 1, err) < 0 ? -err->code : 1;
}

static int run(struct client *c, struct err *err)
{
	int rc = 1;

	while (rc > 0 && !c->has_left && !c->fatal_signal) {
		struct pollfd fds[] = {
			{ c->reads ? STDIN_FILENO : -1, POLLIN, 0 },
			{ c->sock, POLLIN, 0 },
			{ c->io->sig_fd, POLLIN, 0 },
		};

		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return err_sys(err, "poll");
		if (fds[2].revents)
			take_signals(c);
		if (fds[0].revents)
			read_input(c);
		if (fds[1].revents)
			rc = give_output(c, err);
	}
	return rc;
}

/* Until the other side has ended (0) or we leave (1). */
int container_client_run(int sock, const struct container_attach *a, bool tty, struct err *err)
{
	auto_container_stdio struct container_stdio io = CONTAINER_STDIO_INIT;
	struct client c = { .sock = sock, .a = a, .io = &io, .reads = a->with_stdin };
	int rc = 0;

	if (tty)
		rc = keys_parse(a->detach_keys ? a->detach_keys : DEFAULT_KEYS, c.keys, &c.n_keys,
				err);
	if (rc >= 0)
		rc = container_stdio_client(tty && a->with_stdin, &io, err);
	if (rc < 0)
		return rc;
	if (tty) {
		/* What is on the screen is drawn anew when the size changes. */
		if (a->redraw)
			tell_size(sock, true);
		tell_size(sock, false);
	}
	rc = run(&c, err);
	container_stdio_close(&io);
	if (c.fatal_signal) {
		tell(&c, DOOR_LEAVE, "", 0);
		return err_set(err, EINTR, "%s", strsignal(c.fatal_signal));
	}
	return rc < 0 ? rc : c.has_left;
}

/* --- containers --- */

static int open_exit(const struct container *c, struct err *err)
{
	auto_fd int dir = -1;
	int rc = container_dir(c, &dir, err);

	return rc < 0 ? rc : openat(dir, "exit", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* The end is noted a moment after the last output. */
static int end(struct container *c, int sock, const struct container_attach *a, int *ret_exit,
	       struct err *err)
{
	auto_fd int exit_fd = open_exit(c, err);
	int rc = container_client_run(sock, a, c->spec.tty, err), code = 0;

	if (rc < 0)
		return rc;
	if (rc > 0) {
		*ret_exit = 0;
		return 1;
	}
	rc = container_wait(c, &code, err);
	if (rc == -ENOENT) {
		err_clear(err);
		rc = 0;
	}
	if (rc < 0)
		return rc;
	*ret_exit = exit_fd >= 0 && container_exit_read(exit_fd, &code) > 0 ? code : c->exit_code;
	return 0;
}

int container_attach(struct container *c, const struct container_attach *a, int *ret_exit,
		     struct err *err)
{
	auto_fd int dir = -1, sock = -1;
	int rc = container_pid_wait(c, err);

	*ret_exit = CONTAINER_EXIT_SHALE;
	if (rc < 0)
		return rc;
	if (c->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is not running", c->name);
	if (container_is_paused(c))
		return err_set(err, EBUSY, "container %s is paused, unpause it first", c->name);
	rc = container_dir(c, &dir, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	sock = rc < 0 ? rc : container_doors_connect(dir, err);
	if (sock == -ENOENT || sock == -ECONNREFUSED)
		return err_set(
			err, ENOTSUP,
			"container %s was run with --rm in the foreground of process %d, whose "
			"input and output it has: -it, -d or no --rm lets others attach",
			c->name, (int)c->keeper);
	return sock < 0 ? sock : end(c, sock, a, ret_exit, err);
}

int container_start_attached(struct container *c, const struct container_attach *a, int *ret_exit,
			     struct err *err)
{
	auto_fd int ours = -1, theirs = -1;
	int pair[2], rc;

	*ret_exit = CONTAINER_EXIT_SHALE;
	if (c->spec.tty && a->with_stdin && !isatty(STDIN_FILENO))
		return err_set(err, ENOTTY, "the input device is not a terminal");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	if (c->spec.tty)
		container_client_tell_size(ours);
	rc = container_start_at(c, theirs, ret_exit, err);
	fd_close(&theirs);
	if (rc < 0)
		return rc;
	return end(c, ours, a, ret_exit, err);
}
