/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside registry. One thread, one loop:
 *
 *   wire.c     packets from and to the parent
 *   session.c  handles: a registry with its mirrors and credentials
 *   lend.c     bytes for the parent
 *   fetch.c, push.c, pages.c  the operations, each a job that makes one call after another
 *   call.c     an HTTP request until it has its final answer: tokens, redirects, retries
 *   easy.c     libcurl's handle for it
 *   auth.c     challenges and tokens
 *   loop.c     epoll under libcurl's multi interface
 *   url.c parse.c message.c  pure: what may be followed, what headers mean, what people read
 *
 * libcurl's callbacks never end, start or free a call; that is done from the loop alone.
 */
#ifndef SHALE_REGISTRY_PRIV_H
#define SHALE_REGISTRY_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <curl/curl.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/registry.h>

enum {
	CALL_HEADERS_MAX = 256,       /* lines of one answer */
	CALL_HEADER_BYTES = 64 << 10, /* all of them */
	CALL_URL_MAX = 16 << 10,
	CALL_REDIRECTS_MAX = 10,
	CALL_TRIES_MAX = 100, /* of one call, whatever progress it makes */
	CALL_ERROR_BYTES = 8 << 10,
	CALL_IGNORED_BYTES = 1 << 20, /* of a body that nobody wants, to keep the connection */
	CALL_SMALL_AT_ONCE = 8,
	CALL_SLEEP_MAX_MS = 30 * 1000,
	CALL_WAIT_MAX_S = 120, /* a longer Retry-After is for the user to wait */
	TOKEN_JSON_BYTES = 1 << 20,
	TOKEN_BYTES = 64 << 10,
	TOKENS_MAX = 256,
};

/* --- loop.c --- */
struct watch {
	int fd;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
	bool is_on;
};

/*
 * Two connection pools. A blob's reader may be slow, and with HTTP/2 a stream that is paused can
 * hold back its whole connection: blobs have connections of their own, by HTTP/1.1; all else shares
 * HTTP/2 where it is offered.
 */
enum pool { POOL_SMALL, POOL_BULK, POOL_N };

struct packet {
	struct packet *next;
	char *text;
};

struct transfer {
	int epoll_fd, sock;
	CURLM *multi[POOL_N];
	int64_t multi_at[POOL_N]; /* ms, -1: no timer */
	unsigned running[POOL_N];
	struct watch sock_watch;
	struct call *calls;
	struct job *jobs;
	unsigned n_jobs;
	struct session *sessions;
	int last_handle;
	struct token *tokens;
	struct packet *out, **out_tail;
	bool is_done;
};

int64_t now_ms(void);
int transfer_run(int sock, struct err *err); /* until the parent closes its end */
int watch_on(struct transfer *t, struct watch *w, uint32_t events, struct err *err);
void watch_off(struct transfer *t, struct watch *w);

/* --- url.c --- */
/* "host", "host:port", "[::1]:5000", nothing else. */
bool url_is_host(const char *s);
bool url_is_loopback(const char *host);
bool url_is_repo(const char *s);
bool url_is_tag(const char *s);
bool url_is_same_origin(const char *a, const char *b); /* scheme, host and port */
bool url_is_same_host(const char *a, const char *b);
/*
 * Where a Location leads: absolute or relative to from. Only http and https, https never to http
 * unless plain_http, no user information (-EPROTO). The caller owns *ret.
 */
int url_follow(const char *from, const char *location, bool plain_http, char **ret,
	       struct err *err);
char *url_with(const char *url, const char *name, const char *value); /* one more query item */
/* http and https with a host and without user information: host[:port]. NULL. The caller owns it.
 */
char *url_authority(const char *url);
char *url_origin(const char *url); /* what messages may show */

/* --- parse.c --- */
struct challenge {
	char *scheme; /* lower case */
	char *realm, *service, *scope, *error;
};

void challenge_free(struct challenge *c);
/* The first challenge of a WWW-Authenticate value at *at, which moves behind it. */
bool challenge_next(const char **at, struct challenge *ret);

struct range {
	uint64_t first, last, total; /* total UINT64_MAX: "*" */
};

bool parse_content_range(const char *s, struct range *ret); /* "bytes 5-9/10" */
bool parse_upload_range(const char *s, uint64_t *ret_next); /* "0-9", "bytes=0-9": 10 */
char *parse_next_link(const char *s); /* <URL>; rel="next": the URL, or NULL. The caller owns it. */
bool parse_retry_after(const char *s, int64_t now_s, int64_t *ret_s);
bool parse_is_token(const char *s); /* no header is made of two by it */
bool parse_token(const char *text, size_t len, char **ret_token, char **ret_refresh,
		 int64_t *ret_expires_s);

/* --- message.c --- */
/* What an error body says, in one line of printable text, or "". */
char *message_of(const char *body, size_t len);
void message_clean(char *s); /* in place: control characters and bytes that are no UTF-8 */
void message_scrub(char *s, const char *secret);
const char *status_text(int status);
int status_code(int status); /* errno */

/* --- session.c --- */
enum auth { AUTH_UNKNOWN, AUTH_BASIC, AUTH_BEARER };

struct endpoint {
	char *host, *repo, *base; /* base: "https://host" */
	char *user, *password, *identity_token;
	char *authorization; /* of a web server: the header's value, instead of these */
	char *ca, *cert, *key;
	bool plain_http, insecure;
	bool is_alive; /* has answered before: what is refused now may come back */
	enum auth auth;
	char *realm, *service;
	char *new_identity; /* what a login got */
};

struct session {
	struct session *next;
	int handle;
	unsigned users;
	bool is_closing, push, is_login;
	struct endpoint *eps; /* mirrors, and the registry itself last */
	size_t n_eps;
	char *user_agent;
	int64_t retries, backoff_ms, stall_ms;
	struct strv pending; /* digest=location: opened by the registry, not yet used */
};

struct session *session_find(struct transfer *t, int64_t handle);
/* Of a URL that is no registry's, for one job: the fields of open count. */
int session_for_url(struct transfer *t, const json_t *from, struct session **ret, struct err *err);
void session_release(struct transfer *t, struct session *s);
void session_free(struct session *s);

/* --- call.c, easy.c --- */
struct reply {
	int status;
	int64_t length; /* -1: not told */
	char *location, *type, *digest, *content_range, *range, *retry_after, *link, *etag,
		*modified;
	struct strv challenges;
	size_t n_headers, n_bytes;
	bool is_body; /* what comes now are trailers */
};

struct body {
	int fd; /* -1: mem */
	const char *mem;
	uint64_t at,
		size; /* of the file or mem: first byte and how many; pipe: size may be UNKNOWN */
	uint64_t sent;
	bool is_on, is_pipe;
};

#define SIZE_UNKNOWN UINT64_MAX

struct call;

struct call_ops {
	/* Before each attempt: more headers, such as Range. */
	void (*start)(struct call *c, struct strv *headers);
	/* A 2xx answer came. */
	int (*head)(struct call *c, struct err *err);
	/* Bytes of its body. 1: not taken, the call is paused until call_resume(). */
	int (*data)(struct call *c, const void *p, size_t n, struct err *err);
	/* A pipe has nothing to send yet; the call is paused until call_resume(). */
	void (*starved)(struct call *c);
	/* The end: 2xx and no err, or err. The call is over then. */
	void (*done)(struct call *c, struct err *err);
};

enum call_state { CALL_QUEUED, CALL_ASLEEP, CALL_AUTH, CALL_RUNNING, CALL_OVER };

struct call {
	struct call *next;
	struct transfer *t;
	struct session *session;
	struct endpoint *ep;
	const struct call_ops *ops;
	void *owner;
	const char *method;
	char *home, *url; /* as asked, and where redirects led */
	char *scope;      /* of the token; NULL: none is asked for */
	char *basic;      /* token calls: what to send to the realm */
	struct strv headers;
	struct body body;
	char *body_text; /* what body.mem points to, if it is ours */
	enum pool pool;
	bool once;     /* its owner repeats it */
	bool is_token; /* goes to a realm: no challenge is answered */
	bool is_web;   /* no registry: the same */

	enum call_state state;
	int64_t at_ms;
	struct token *token;
	char *sent_auth; /* the token that was sent */
	CURL *easy;
	struct curl_slist *slist;
	struct reply reply;
	struct str text; /* the body of a refusal */
	uint64_t ignored;
	struct err err;
	char error[CURL_ERROR_SIZE];
	unsigned redirects, auth_tries, total_tries;
	int64_t tries;
	int64_t wait_s; /* what Retry-After last said, 0: nothing */
	bool is_headed, is_paused, is_cut, is_broken;
	int64_t window_ms;
	uint64_t window_bytes, got_bytes;
	int64_t told_ms; /* when the parent last heard how much of the body is sent */
};

struct call *call_new(struct session *s, struct endpoint *ep, const char *method, char *url_take);
void call_go(struct transfer *t, struct call *c, const struct call_ops *ops, void *owner);
/* Not before delay_ms from now; for owners that repeat calls of theirs. */
void call_delay(struct call *c, int64_t delay_ms);
int64_t call_back_off(const struct session *s, int64_t tries);
void call_cancel(struct call *c);
void call_resume(struct call *c);
void call_finished(struct call *c, CURLcode rc); /* libcurl is done with it */
void call_authorized(struct call *c, struct err *err);
void calls_sweep(struct transfer *t); /* frees those that are over */
void calls_tick(struct transfer *t, int64_t now);
int64_t calls_deadline(const struct transfer *t, int64_t now);
bool call_is_home(const struct call *c);
/* The error of a status that is not 2xx. */
int call_status_error(struct call *c, struct err *err);
void call_scrub(struct call *c, struct err *err);
void reply_free(struct reply *r);

int easy_new(struct call *c, struct strv *headers, struct err *err);
void easy_free(struct call *c);
int easy_error(struct call *c, CURLcode rc, struct err *err);
bool easy_is_transient(const struct call *c, CURLcode rc);

/* --- auth.c --- */
/* Adds Authorization. 1: a token is on its way and the call waits for it. */
int auth_prepare(struct call *c, struct strv *headers, struct err *err);
/* 401: 1 when the call is to be tried again, 0 when it is the answer. */
int auth_challenged(struct call *c, struct err *err);
/* What the parent kept of an earlier process: "tokens". */
void auth_given(struct transfer *t, const struct endpoint *ep, const json_t *from);
/* A call has succeeded: a token that is new is told to the parent. */
void auth_worked(struct call *c);
/* 403 with a token of an earlier process, which may know less than a new one: once more. */
bool auth_is_outdated(struct call *c);
void auth_scrub(struct transfer *t, const struct endpoint *ep, char *msg);
void tokens_free(struct transfer *t);

/* --- lend.c: what is on its way into a pipe, or another fd; all-zero: nothing --- */
struct lend {
	char *ring;
	size_t size;
	uint64_t in, out;
	bool is_copied;
};
static inline size_t lend_left(const struct lend *l)
{
	return (size_t)(l->in - l->out);
}
/* 512 KiB may stand in it. The pipe keeps its size from now on. */
int lend_add(struct lend *l, int fd, const void *p, size_t n, struct err *err);
int lend_flush(struct lend *l, int fd, struct err *err); /* 0, or 1: the pipe is full */
void lend_close(struct lend *l);

/* --- wire.c, jobs --- */
struct op {
	const char *name;
	int (*run)(struct job *j, struct err *err); /* starts; the answer comes by job_done() */
	bool needs_handle, needs_fd, needs_push;
	void (*ready)(struct job *j); /* its fd can go on */
	void (*free)(struct job *j);
};

struct job {
	struct job *next, **at;
	struct transfer *t;
	struct session *session;
	const struct op *op;
	int64_t id;
	json_t *args;
	int fd;
	struct watch watch;
	struct call *call;
	size_t ep;
	void *own; /* the operation's */
};

extern const struct op ops_fetch[], ops_push[], ops_session[], ops_pages[], ops_get[];

int wire_read(struct transfer *t, struct err *err);
int wire_flush(struct transfer *t, struct err *err);
void wire_free(struct transfer *t);
/* The answer; frees the job. extra may be NULL and is taken. */
void job_done(struct job *j, json_t *extra);
void job_fail(struct job *j, struct err *err, int status, int64_t wait_s);
void job_event(struct job *j, const char *event, const char *msg);
void job_progress(struct job *j, uint64_t bytes);
void job_token(struct job *j, size_t endpoint, const char *scope, const char *token, int64_t s);
void job_free(struct job *j);
struct job *job_find(struct transfer *t, int64_t id);
const char *job_str(const struct job *j, const char *key); /* "" when missing */
struct endpoint *job_endpoint(struct job *j);

#endif
