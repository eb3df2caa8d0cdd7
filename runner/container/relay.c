/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, signals and window sizes between the outside and the program, until it has ended. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

/* A pipe that poll calls writable takes this much (PIPE_BUF) without blocking us. */
enum { BUF_BYTES = 16384, WRITE_MAX = 4096 };

struct pump {
	int from, to;    /* from -1: done; to -1: only logged */
	int log_stream;  /* -1: not logged */
	bool is_output;  /* what the program writes; else what it reads */
	size_t off, len; /* of buf, not written yet */
	char buf[BUF_BYTES];
};

enum { IN, OUT, ERR, N_PUMPS, POLL_PID = N_PUMPS, POLL_SIG, POLL_DOORS };
enum { N_POLL = POLL_DOORS + DOORS_POLL };

struct state {
	struct container_relay *r;
	struct pump pump[N_PUMPS];
	bool ended;
	int wait_status;
};

static void set_nonblock(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void state_init(struct state *s, struct container_relay *r)
{
	struct container_stdio *io = r->io;
	int master = sandbox_terminal_fd(r->sb);

	s->r = r;
	s->ended = false;
	for (int i = 0; i < N_PUMPS; i++) {
		struct pump *p = &s->pump[i];

		p->is_output = i != IN;
		p->log_stream = p->is_output && r->log ? i - OUT : -1;
		p->off = p->len = 0;
		if (i == IN) {
			p->to = master >= 0 ? master : io->to;
			p->from = p->to >= 0 ? io->outer[0] : -1;
		} else {
			p->to = io->outer[i];
			p->from = master < 0 ? io->from[i - OUT] : i == OUT ? master : -1;
		}
		if (p->is_output)
			set_nonblock(p->from);
	}
	set_nonblock(io->to);
}

static void copy_window(struct state *s)
{
	int master = sandbox_terminal_fd(s->r->sb);
	struct winsize w;

	if (master >= 0 &&
	    (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0))
		ioctl(master, TIOCSWINSZ, &w);
}

static void pass_signals(struct state *s)
{
	struct signalfd_siginfo info;
	struct err ignored = { 0 };

	while (read(s->r->io->sig_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			copy_window(s);
		else
			sandbox_signal(s->r->sb, (int)info.ssi_signo, &ignored);
	}
}

/* The end of our input: the program sees it too. A terminal stays. */
static void end_input(struct state *s, struct pump *p)
{
	p->from = -1;
	if (p->to == s->r->io->to)
		fd_close(&s->r->io->to);
	p->to = -1;
	p->len = 0;
}

static void end_output(struct pump *p)
{
	p->from = -1;
	p->len = 0;
}

static void pump_read(struct state *s, struct pump *p)
{
	ssize_t n = read(p->from, p->buf, sizeof(p->buf));
	struct err ignored = { 0 };

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		/* With pid 1 its whole namespace has ended: nobody is left to write more. */
		if (s->ended && p->is_output && errno == EAGAIN)
			end_output(p);
		return;
	}
	if (n <= 0) { /* EIO is how a terminal ends */
		if (p->is_output)
			end_output(p);
		else
			end_input(s, p);
		return;
	}
	/* A full disk loses log lines, it does not stop the program. */
	if (p->log_stream >= 0)
		container_log_add(s->r->log, p->log_stream, p->buf, (size_t)n, &ignored);
	if (s->r->doors && p->is_output)
		container_doors_send(s->r->doors, (int)(p - s->pump) - OUT, p->buf, (size_t)n);
	p->off = 0;
	p->len = p->to < 0 ? 0 : (size_t)n;
}

static void pump_write(struct state *s, struct pump *p)
{
	size_t want = p->len < WRITE_MAX ? p->len : WRITE_MAX;
	ssize_t n = write(p->to, p->buf + p->off, want);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 && !p->is_output) {
		end_input(s, p);
		return;
	}
	if (n < 0) { /* nobody listens any more: the program learns it, unless the log still does */
		p->to = -1;
		p->len = 0;
		if (p->log_stream < 0 && p->from == s->r->io->from[p - s->pump - OUT]) {
			fd_close(&s->r->io->from[p - s->pump - OUT]);
			p->from = -1;
		}
		return;
	}
	p->off += (size_t)n;
	p->len -= (size_t)n;
}

/* A guest's input goes the way ours does. */
static void run_doors(struct state *s, const struct pollfd fds[N_POLL])
{
	struct pump *in = &s->pump[IN];
	size_t n = 0;

	if (!s->r->doors)
		return;
	container_doors_run(s->r->doors, fds + POLL_DOORS, s->r->sb, in->buf, &n);
	in->off = 0;
	in->len = in->to < 0 ? 0 : n;
}

static int poll_once(struct state *s, int timeout_ms, struct pollfd fds[N_POLL], struct err *err)
{
	bool full = s->r->doors && !s->ended && container_doors_are_full(s->r->doors);
	nfds_t n = POLL_DOORS;

	for (int i = 0; i < N_PUMPS; i++) {
		struct pump *p = &s->pump[i];

		fds[i] = (struct pollfd){ p->len ? p->to : p->from, p->len ? POLLOUT : POLLIN, 0 };
		if (p->is_output ? full && !p->len : s->ended)
			fds[i].fd = -1;
		/* After the end: what is there is read now, not waited for. */
		if (s->ended && p->is_output && p->from >= 0 && !p->len)
			timeout_ms = 0;
	}
	fds[POLL_PID] = (struct pollfd){ s->ended ? -1 : sandbox_pidfd(s->r->sb), POLLIN, 0 };
	fds[POLL_SIG] = (struct pollfd){ s->r->io->sig_fd, POLLIN, 0 };
	if (s->r->doors)
		n += container_doors_poll(s->r->doors, !s->ended && !s->pump[IN].len,
					  fds + POLL_DOORS);
	if (poll(fds, n, timeout_ms) < 0 && errno != EINTR)
		return err_sys(err, "poll");
	return 0;
}

static void run_pumps(struct state *s, const struct pollfd fds[N_POLL])
{
	for (int i = 0; i < N_PUMPS; i++) {
		struct pump *p = &s->pump[i];

		if (fds[i].fd < 0 || (!fds[i].revents && !(s->ended && p->is_output && !p->len)))
			continue;
		if (p->len)
			pump_write(s, p);
		else
			pump_read(s, p);
	}
}

static bool is_done(const struct state *s)
{
	return s->ended && s->pump[OUT].from < 0 && s->pump[ERR].from < 0 && !s->pump[OUT].len &&
	       !s->pump[ERR].len;
}

static int settle(struct state *s, int64_t begin_ns, bool *settled, struct err *err)
{
	struct container_relay *r = s->r;

	if (*settled || s->ended || proc_mono_ns() - begin_ns < (int64_t)r->settle_ms * 1000000)
		return 0;
	*settled = true;
	return r->settled(r->arg, err);
}

/* How long to wait: until the program counts as settled, or its health is to be looked at. */
static int timeout_of(struct state *s, bool settled)
{
	if (!settled)
		return s->r->settle_ms;
	return s->r->health && !s->ended ? container_health_tick(s->r->health) : -1;
}

static int loop(struct state *s, struct err *err)
{
	bool settled = s->r->settle_ms == 0;
	int64_t begin_ns = settled ? 0 : proc_mono_ns();
	struct pollfd fds[N_POLL];
	int rc = 0;

	while (rc >= 0 && !is_done(s)) {
		rc = poll_once(s, timeout_of(s, settled), fds, err);
		if (rc < 0)
			return rc;
		if (fds[POLL_SIG].revents)
			pass_signals(s);
		run_pumps(s, fds);
		if (!s->pump[IN].len)
			run_doors(s, fds);
		if (fds[POLL_PID].revents) {
			rc = sandbox_wait(s->r->sb, -1, &s->wait_status, err);
			s->ended = true;
		}
		if (rc >= 0)
			rc = settle(s, begin_ns, &settled, err);
	}
	return rc;
}

int container_relay_run(struct container_relay *r, int *ret_exit, struct err *err)
{
	struct state s;
	int rc;

	state_init(&s, r);
	if (r->io->outer[1] >= 0)
		copy_window(&s);
	rc = loop(&s, err);
	if (rc < 0)
		return rc;
	if (r->doors)
		container_doors_flush(r->doors);
	*ret_exit = proc_exit_code(s.wait_status);
	return 0;
}
