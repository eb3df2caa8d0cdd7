/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP request until it has its final answer: through tokens, redirects and retries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "priv.h"

enum { RATE_MIN = 64, SECOND = 1000, PROGRESS_BYTES = 64 << 10, TELL_MS = 200 };

struct call *call_new(struct session *s, struct endpoint *ep, const char *method, char *url_take)
{
	struct call *c = mem_alloc(sizeof(*c));

	c->session = s;
	c->ep = ep;
	c->method = method;
	c->home = url_take;
	c->url = mem_str(url_take);
	c->pool = POOL_SMALL;
	c->body.fd = -1;
	c->reply.length = -1;
	return c;
}

static void call_free(struct call *c)
{
	reply_free(&c->reply);
	str_free(&c->text);
	strv_free(&c->headers);
	free(c->home);
	free(c->url);
	free(c->scope);
	free(c->basic);
	free(c->body_text);
	free(c->sent_auth);
	free(c);
}

void call_go(struct transfer *t, struct call *c, const struct call_ops *ops, void *owner)
{
	struct call **at = &t->calls;

	c->t = t;
	c->ops = ops;
	c->owner = owner;
	c->state = CALL_QUEUED;
	while (*at) /* first come, first served */
		at = &(*at)->next;
	*at = c;
}

void call_delay(struct call *c, int64_t delay_ms)
{
	c->state = CALL_ASLEEP;
	c->at_ms = now_ms() + delay_ms;
}

static void stop(struct call *c)
{
	if (c->state == CALL_RUNNING)
		c->t->running[c->pool]--;
	c->state = CALL_OVER;
	easy_free(c);
}

/* Freed by the next sweep: whoever walks the list may go on. */
void call_cancel(struct call *c)
{
	if (c)
		stop(c);
}

void calls_sweep(struct transfer *t)
{
	struct call **at = &t->calls;

	while (*at) {
		struct call *c = *at;

		if (c->state == CALL_OVER) {
			*at = c->next;
			call_free(c);
		} else {
			at = &c->next;
		}
	}
}

static void end(struct call *c, struct err *err)
{
	stop(c);
	if (err->code)
		call_scrub(c, err);
	c->ops->done(c, err);
}

static void again(struct call *c, int64_t delay_ms)
{
	stop(c);
	call_delay(c, delay_ms);
}

void call_scrub(struct call *c, struct err *err)
{
	auth_scrub(c->t, c->ep, err->msg);
}

bool call_is_home(const struct call *c)
{
	return url_is_same_origin(c->url, c->ep->base);
}

int call_status_error(struct call *c, struct err *err)
{
	auto_free char *said = NULL, *origin = NULL;
	int status = c->reply.status;

	if (c->text.len)
		auth_scrub(c->t, c->ep, c->text.s);
	said = message_of(str_get(&c->text), c->text.len ? strlen(c->text.s) : 0);
	if (str_starts(said, status_text(status)))
		err_set(err, status_code(status), "%s (HTTP %d)", said, status);
	else
		err_set(err, status_code(status), "%s%s%s (HTTP %d)", status_text(status),
			*said ? ": " : "", said, status);
	if (!c->is_token && call_is_home(c))
		return -err->code;
	origin = url_origin(c->url);
	return err_ctx(err, "%s", origin);
}

/* --- start --- */
static void start(struct call *c)
{
	auto_strv struct strv headers = { 0 };
	struct err err = { 0 };
	int rc;

	strv_copy(&headers, &c->headers);
	rc = auth_prepare(c, &headers, &err);
	if (rc > 0) {
		c->state = CALL_AUTH;
		return;
	}
	if (rc == 0) {
		reply_free(&c->reply);
		str_reset(&c->text);
		c->ignored = 0;
		c->is_headed = c->is_paused = c->is_cut = false;
		c->body.sent = 0;
		c->window_ms = now_ms();
		c->window_bytes = 0;
		if (c->ops->start)
			c->ops->start(c, &headers);
		c->state = CALL_RUNNING;
		c->t->running[c->pool]++;
		rc = easy_new(c, &headers, &err);
	}
	if (rc < 0)
		end(c, &err);
}

void call_authorized(struct call *c, struct err *err)
{
	c->token = NULL;
	if (err->code) {
		struct err copy = *err;

		end(c, &copy);
		return;
	}
	c->state = CALL_QUEUED;
}

void call_resume(struct call *c)
{
	CURLcode rc;

	if (!c || !c->is_paused || c->state != CALL_RUNNING)
		return;
	c->is_paused = false;
	c->window_ms = now_ms();
	c->window_bytes = 0;
	/* What libcurl has kept is written at once; a failure of that is told here and nowhere
	 * else. */
	rc = curl_easy_pause(c->easy, CURLPAUSE_CONT);
	if (rc != CURLE_OK)
		call_finished(c, rc);
}

/* --- retries --- */
/* Twice as long each time, and not all callers at the same moment. */
int64_t call_back_off(const struct session *s, int64_t tries)
{
	int64_t ms = s->backoff_ms;
	uint32_t r = 0;

	for (int64_t i = 1; i < tries && ms < CALL_SLEEP_MAX_MS; i++)
		ms *= 2;
	if (ms > CALL_SLEEP_MAX_MS)
		ms = CALL_SLEEP_MAX_MS;
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) < 0)
		r = 0;
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

/* A mirror has someone behind it, and gets one more chance instead of all. */
static int64_t tries_of(const struct call *c)
{
	bool is_mirror = c->ep != &c->session->eps[c->session->n_eps - 1];

	return is_mirror && c->session->retries > 1 ? 1 : c->session->retries;
}

static void tell(struct call *c, const struct err *err, int64_t ms)
{
	auto_free char *msg = NULL;

	if (!c->owner || c->is_token)
		return;
	msg = mem_fmt("%s; again in %lld.%lld s", err->msg, (long long)ms / 1000,
		      (long long)ms % 1000 / 100);
	job_event(c->owner, "retry", msg);
}

/* err: why this attempt was none. */
static void retry(struct call *c, struct err *err)
{
	int64_t ms, wait_s = 0;

	if (c->reply.retry_after && c->reply.status)
		parse_retry_after(c->reply.retry_after, (int64_t)time(NULL), &wait_s);
	c->wait_s = wait_s;
	if (c->got_bytes >= PROGRESS_BYTES)
		c->tries = 0;
	c->got_bytes = 0;
	c->tries++;
	if (c->once || c->tries > tries_of(c) || ++c->total_tries > CALL_TRIES_MAX ||
	    wait_s > CALL_WAIT_MAX_S) {
		c->is_broken = true;
		if (c->tries > 1)
			err_hint(err, "tried %lld times", (long long)c->tries);
		end(c, err);
		return;
	}
	ms = call_back_off(c->session, c->tries);
	if (wait_s * SECOND > ms)
		ms = wait_s * SECOND;
	call_scrub(c, err);
	tell(c, err, ms);
	/* Where it was redirected to may be signed for a few minutes only. */
	free(c->url);
	c->url = mem_str(c->home);
	c->redirects = 0;
	again(c, ms);
}

/* --- the end of an attempt --- */
static bool is_redirect(const struct call *c)
{
	int status = c->reply.status;

	if (!c->reply.location)
		return false;
	if (status == 307 || status == 308)
		return !c->body.is_on || (!c->body.is_pipe && !c->is_token);
	return (status == 301 || status == 302 || status == 303) &&
	       (strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0);
}

static void redirect(struct call *c)
{
	struct err err = { 0 };
	char *to = NULL;

	if (++c->redirects > CALL_REDIRECTS_MAX)
		err_set(&err, EPROTO, "redirected more than %d times", CALL_REDIRECTS_MAX);
	else
		url_follow(c->url, c->reply.location, c->ep->plain_http, &to, &err);
	if (err.code) {
		end(c, &err);
		return;
	}
	free(c->url);
	c->url = to;
	again(c, 0);
}

static void good(struct call *c)
{
	struct err err = { 0 };

	c->ep->is_alive = true;
	if (!c->is_headed && c->ops->head)
		c->ops->head(c, &err);
	c->is_headed = true;
	if (!err.code)
		auth_worked(c);
	end(c, &err);
}

static void refused(struct call *c)
{
	struct err err = { 0 };
	int status = c->reply.status, rc = 0;

	c->ep->is_alive = true;
	if (is_redirect(c)) {
		redirect(c);
		return;
	}
	if (status == 401 && !c->is_token && !c->is_web && call_is_home(c))
		rc = auth_challenged(c, &err);
	if (rc > 0 || (status == 403 && auth_is_outdated(c))) {
		again(c, 0);
		return;
	}
	if (rc == 0)
		call_status_error(c, &err);
	if (status == 408 || status == 429 || (status >= 500 && status != 501))
		retry(c, &err);
	else
		end(c, &err);
}

void call_finished(struct call *c, CURLcode rc)
{
	struct err err = c->err;

	if (err.code) { /* ours, from a callback */
		end(c, &err);
	} else if (rc == CURLE_OK || c->is_cut) {
		if (c->reply.status >= 200 && c->reply.status <= 299)
			good(c);
		else
			refused(c);
	} else {
		bool is_transient = easy_is_transient(c, rc);

		easy_error(c, rc, &err);
		if (is_transient)
			retry(c, &err);
		else
			end(c, &err);
	}
}

/* --- time --- */
/* A registry that has got all of an upload may hash it for a long time before it answers. */
static int64_t window_of(const struct call *c)
{
	bool is_read = strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0;
	bool is_sent = !c->body.is_on || c->body.sent == c->body.size;

	return !is_read && is_sent ? c->session->stall_ms * 10 : c->session->stall_ms;
}

/* Too little came in a whole window: neither silence nor a byte now and then holds us. */
static bool is_stalled(struct call *c, int64_t now)
{
	int64_t window = window_of(c);

	if (c->is_paused || now - c->window_ms < window)
		return false;
	if (c->window_bytes >= (uint64_t)(window * RATE_MIN / SECOND)) {
		c->window_ms = now;
		c->window_bytes = 0;
		return false;
	}
	return true;
}

static void stalled(struct call *c)
{
	auto_free char *origin = url_origin(c->url);
	struct err err = { 0 };

	c->reply.status = 0;
	err_set(&err, ETIMEDOUT, "%s: stalled for %lld s", origin,
		(long long)c->session->stall_ms / SECOND);
	retry(c, &err);
}

static bool has_room(const struct transfer *t, enum pool p)
{
	static const unsigned at_once[POOL_N] = { CALL_SMALL_AT_ONCE, REGISTRY_BLOBS_AT_ONCE };

	return t->running[p] < at_once[p];
}

/* Of what is read the parent sees the bytes themselves. */
static void tell_sent(struct call *c, int64_t now)
{
	if (c->pool != POOL_BULK || !c->body.is_on || !c->body.sent || now - c->told_ms < TELL_MS)
		return;
	c->told_ms = now;
	job_progress(c->owner, c->body.at + c->body.sent);
}

void calls_tick(struct transfer *t, int64_t now)
{
	for (struct call *c = t->calls; c; c = c->next) {
		if (c->state == CALL_ASLEEP && c->at_ms <= now)
			c->state = CALL_QUEUED;
		if (c->state == CALL_QUEUED && has_room(t, c->pool))
			start(c);
		else if (c->state == CALL_RUNNING && is_stalled(c, now))
			stalled(c);
		else if (c->state == CALL_RUNNING)
			tell_sent(c, now);
	}
	calls_sweep(t);
}

int64_t calls_deadline(const struct transfer *t, int64_t now)
{
	int64_t at = -1;

	for (const struct call *c = t->calls; c; c = c->next) {
		int64_t mine = -1;

		if (c->state == CALL_ASLEEP)
			mine = c->at_ms;
		else if (c->state == CALL_RUNNING && !c->is_paused)
			mine = c->window_ms + window_of(c);
		else if (c->state == CALL_QUEUED && has_room(t, c->pool))
			mine = now;
		if (mine >= 0 && (at < 0 || mine < at))
			at = mine;
	}
	return at;
}
