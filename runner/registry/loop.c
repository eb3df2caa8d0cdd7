/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: epoll for the parent's socket, the pipes and libcurl's sockets; libcurl's timers. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "priv.h"

int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int watch_on(struct transfer *t, struct watch *w, uint32_t events, struct err *err)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(t->epoll_fd, w->is_on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return err_sys(err, "watch a descriptor");
	w->is_on = true;
	return 0;
}

void watch_off(struct transfer *t, struct watch *w)
{
	if (w->is_on)
		epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->is_on = false;
}

/* --- libcurl's sockets and timers --- */
struct curl_watch {
	struct watch w;
	struct transfer *t;
	CURLM *multi;
};

static void socket_ready(void *arg, uint32_t events)
{
	struct curl_watch *cw = arg;
	int mask = 0, still;

	mask |= events & EPOLLIN ? CURL_CSELECT_IN : 0;
	mask |= events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
	mask |= events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0;
	curl_multi_socket_action(cw->multi, cw->w.fd, mask, &still);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	static const uint32_t events[] = {
		[CURL_POLL_NONE] = 0,
		[CURL_POLL_IN] = EPOLLIN,
		[CURL_POLL_OUT] = EPOLLOUT,
		[CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
	};
	struct curl_watch *cw = socket_arg, *pool = arg;
	struct err err;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (cw)
			watch_off(pool->t, &cw->w);
		free(cw);
		return 0;
	}
	if (!cw) {
		cw = mem_alloc(sizeof(*cw));
		cw->t = pool->t;
		cw->multi = pool->multi;
		cw->w = (struct watch){ .fd = fd, .fn = socket_ready, .arg = cw };
		curl_multi_assign(pool->multi, fd, cw);
	}
	return watch_on(pool->t, &cw->w, events[what & 3], &err) < 0 ? -1 : 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	int64_t *at = arg;

	(void)multi;
	*at = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	return 0;
}

/* What the callbacks above get; as many as pools. */
static struct curl_watch *pool_open(struct transfer *t, enum pool p)
{
	struct curl_watch *pool = mem_alloc(sizeof(*pool));
	CURLM *m = curl_multi_init();

	if (!m) {
		free(pool);
		return NULL;
	}
	pool->t = t;
	pool->multi = t->multi[p] = m;
	t->multi_at[p] = -1;
	curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(m, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(m, CURLMOPT_TIMERDATA, &t->multi_at[p]);
	curl_multi_setopt(m, CURLMOPT_PIPELINING,
			  p == POOL_SMALL ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
	curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, 32L);
	return pool;
}

static void reap(CURLM *multi)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(multi, &left))) {
		CURL *easy = msg->easy_handle;
		CURLcode rc = msg->data.result;
		struct call *c = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &c);
		call_finished(c, rc);
	}
}

/* --- the loop --- */
static int timeout_ms(const struct transfer *t)
{
	int64_t now = now_ms(), at = calls_deadline(t, now);

	for (int i = 0; i < POOL_N; i++)
		if (t->multi_at[i] >= 0 && (at < 0 || t->multi_at[i] < at))
			at = t->multi_at[i];
	if (at < 0)
		return -1;
	return at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
}

static void timers(struct transfer *t)
{
	for (int i = 0; i < POOL_N; i++) {
		int still;

		if (t->multi_at[i] >= 0 && t->multi_at[i] <= now_ms()) {
			t->multi_at[i] = -1;
			curl_multi_socket_action(t->multi[i], CURL_SOCKET_TIMEOUT, 0, &still);
		}
		reap(t->multi[i]);
	}
	calls_tick(t, now_ms());
}

static void sock_ready(void *arg, uint32_t events)
{
	struct transfer *t = arg;
	struct err err = { 0 };

	if (events & EPOLLOUT && wire_flush(t, &err) < 0)
		t->is_done = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && wire_read(t, &err) < 0)
		t->is_done = true;
}

static int loop(struct transfer *t, struct err *err)
{
	t->sock_watch = (struct watch){ .fd = t->sock, .fn = sock_ready, .arg = t };
	if (watch_on(t, &t->sock_watch, EPOLLIN, err) < 0)
		return -err->code;
	while (!t->is_done) {
		struct epoll_event ev;
		/* One at a time: what it leads to may end the watch of the next. */
		int n = epoll_wait(t->epoll_fd, &ev, 1, timeout_ms(t));

		if (n < 0 && errno != EINTR)
			return err_sys(err, "wait for events");
		if (n > 0) {
			struct watch *w = ev.data.ptr;

			w->fn(w->arg, ev.events);
		}
		timers(t);
	}
	return 0;
}

int transfer_run(int sock, struct err *err)
{
	struct transfer t = { .sock = sock };
	struct curl_watch *pools[POOL_N] = { 0 };
	int rc = 0;

	t.out_tail = &t.out;
	t.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (t.epoll_fd < 0)
		return err_sys(err, "epoll");
	for (int i = 0; i < POOL_N && rc == 0; i++) {
		pools[i] = pool_open(&t, (enum pool)i);
		if (!pools[i])
			rc = err_set(err, ENOMEM, "libcurl does not start");
	}
	if (rc == 0)
		rc = loop(&t, err);
	wire_free(&t);
	tokens_free(&t);
	for (int i = 0; i < POOL_N; i++) {
		curl_multi_cleanup(t.multi[i]);
		free(pools[i]);
	}
	close(t.epoll_fd);
	return rc;
}
