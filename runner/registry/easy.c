/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's handle of a call: what it is told, and what it gives back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "priv.h"

enum { CONNECT_MS = 20 * 1000, SMALL_MS = 300 * 1000, BUFFER = 256 << 10 };

/* --- headers --- */
void reply_free(struct reply *r)
{
	free(r->location);
	free(r->type);
	free(r->digest);
	free(r->content_range);
	free(r->range);
	free(r->retry_after);
	free(r->link);
	free(r->etag);
	free(r->modified);
	strv_free(&r->challenges);
	*r = (struct reply){ .length = -1 };
}

static void keep_length(struct reply *r, const char *value)
{
	uint64_t n;

	if (str_to_u64(value, 10, INT64_MAX, &n) == 0)
		r->length = (int64_t)n;
}

static void keep_header(struct reply *r, const char *name, const char *value)
{
	const struct {
		const char *name;
		char **at;
	} known[] = {
		{ "location", &r->location },
		{ "content-type", &r->type },
		{ "docker-content-digest", &r->digest },
		{ "content-range", &r->content_range },
		{ "range", &r->range },
		{ "retry-after", &r->retry_after },
		{ "link", &r->link },
		{ "etag", &r->etag },
		{ "last-modified", &r->modified },
	};

	if (strcasecmp(name, "content-length") == 0)
		keep_length(r, value);
	if (strcasecmp(name, "www-authenticate") == 0)
		strv_add(&r->challenges, value);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcasecmp(name, known[i].name) == 0 && !*known[i].at)
			*known[i].at = mem_str(value);
}

/* "HTTP/1.1 200 OK", "HTTP/2 200": each begins an answer anew, as after 100 Continue. */
static bool status_line(struct reply *r, const char *line)
{
	const char *s = str_starts(line, "HTTP/") ? strchr(line, ' ') : NULL;
	uint64_t n;
	auto_free char *code = s ? mem_strn(s + 1, 3) : NULL;
	size_t n_headers = r->n_headers, n_bytes = r->n_bytes;

	if (!code || str_to_u64(code, 10, 999, &n) < 0)
		return false;
	reply_free(r);
	r->n_headers = n_headers;
	r->n_bytes = n_bytes;
	r->status = (int)n;
	return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	struct reply *r = &c->reply;
	auto_free char *line = mem_strn(p, size * n);
	char *colon;

	r->n_bytes += size * n;
	if (++r->n_headers > CALL_HEADERS_MAX || r->n_bytes > CALL_HEADER_BYTES) {
		err_set(&c->err, EPROTO, "answers with too many headers");
		return 0;
	}
	if (r->is_body || status_line(r, line))
		return size * n;
	line[strcspn(line, "\r\n")] = 0;
	colon = strchr(line, ':');
	if (colon) {
		*colon = 0;
		keep_header(r, line, str_trim(colon + 1));
	}
	return size * n;
}

/* --- bodies --- */
static size_t refusal(struct call *c, const char *p, size_t n)
{
	size_t room = c->is_token ? TOKEN_JSON_BYTES + 1 : CALL_ERROR_BYTES;

	room -= c->text.len < room ? c->text.len : room;
	str_addn(&c->text, p, n < room ? n : room);
	c->ignored += n;
	/* More than that is not worth keeping the connection for. */
	c->is_cut = c->ignored > CALL_IGNORED_BYTES;
	return c->is_cut ? 0 : n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	int rc = 0;

	n *= size;
	c->reply.is_body = true;
	c->window_bytes += n;
	if (c->reply.status < 200 || c->reply.status > 299 || !c->ops->data)
		return refusal(c, p, n);
	if (!c->is_headed && c->ops->head)
		rc = c->ops->head(c, &c->err);
	c->is_headed = true;
	if (rc >= 0)
		rc = c->ops->data(c, p, n, &c->err);
	if (rc < 0)
		return n == 0 ? 1 : 0;
	if (rc > 0) {
		c->is_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	c->got_bytes += n;
	return n;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	struct body *b = &c->body;
	uint64_t left = b->size == SIZE_UNKNOWN ? UINT64_MAX : b->size - b->sent;
	ssize_t got;

	n *= size;
	n = left < n ? (size_t)left : n;
	if (n == 0)
		return 0;
	if (b->fd < 0) {
		memcpy(p, b->mem + b->at + b->sent, n);
		got = (ssize_t)n;
	} else if (b->is_pipe) {
		got = read(b->fd, p, n);
	} else {
		got = pread(b->fd, p, n, (off_t)(b->at + b->sent));
	}
	if (got < 0 && errno == EAGAIN && c->ops->starved) {
		c->is_paused = true;
		c->ops->starved(c);
		return CURL_READFUNC_PAUSE;
	}
	if (got < 0)
		err_sys(&c->err, "read what is to be sent");
	else if (got == 0 && b->size != SIZE_UNKNOWN)
		err_set(&c->err, EBADMSG, "only %llu bytes of %llu were there to be sent",
			(unsigned long long)b->sent, (unsigned long long)b->size);
	if (c->err.code)
		return CURL_READFUNC_ABORT;
	b->sent += (uint64_t)got;
	c->window_bytes += (uint64_t)got;
	return (size_t)got;
}

/* libcurl rewinds when a connection that it kept turns out to be dead. */
static int on_seek(void *arg, curl_off_t to, int origin)
{
	struct call *c = arg;

	if (origin != SEEK_SET || c->body.is_pipe || to < 0)
		return c->body.sent == 0 && to == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
	c->body.sent = (uint64_t)to;
	return CURL_SEEKFUNC_OK;
}

/* --- options --- */
static void set_method(struct call *c, CURL *e)
{
	bool is_empty = c->body.is_on && c->body.size == 0;

	if (strcmp(c->method, "HEAD") == 0) {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
		return;
	}
	if (c->body.is_on && !is_empty) {
		curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(e, CURLOPT_READDATA, c);
		curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
		curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
		curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
				 c->body.size == SIZE_UNKNOWN ? (curl_off_t)-1
							      : (curl_off_t)c->body.size);
	} else if (is_empty) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, "");
	}
	if (strcmp(c->method, "GET") != 0)
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->method);
}

static void set_blob(CURL *e, CURLoption option, char *text)
{
	struct curl_blob blob = { .data = text, .len = strlen(text), .flags = CURL_BLOB_COPY };

	if (*text)
		curl_easy_setopt(e, option, &blob);
}

/*
 * The CA of a registry holds for where it leads as well (its token server, its storage), next to
 * the system's; that nothing is verified, and the client's key, stay with the host they are for.
 */
static void set_tls(struct call *c, CURL *e)
{
	bool is_host = url_is_same_host(c->url, c->ep->base);

	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	set_blob(e, CURLOPT_CAINFO_BLOB, c->ep->ca);
	if (is_host && *c->ep->cert) {
		set_blob(e, CURLOPT_SSLCERT_BLOB, c->ep->cert);
		set_blob(e, CURLOPT_SSLKEY_BLOB, *c->ep->key ? c->ep->key : c->ep->cert);
	}
	if (is_host && c->ep->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static void set_network(struct call *c, CURL *e)
{
	bool is_small = c->pool == POOL_SMALL;

	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
			 is_small ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, is_small ? 1L : 0L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, is_small ? 16384L : (long)BUFFER);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
			 c->session->stall_ms < CONNECT_MS ? (long)c->session->stall_ms
							   : (long)CONNECT_MS);
	/* A kept connection may be dead: then libcurl sends once more what was partly taken, or
	 * cannot because it came from a pipe. */
	if (c->body.fd >= 0 && strcmp(c->method, "PATCH") == 0)
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	if (is_small)
		curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)SMALL_MS);
	/* Proxies come from the environment; this machine is never behind one. */
	if (url_is_loopback(c->ep->host) && url_is_same_host(c->url, c->ep->base))
		curl_easy_setopt(e, CURLOPT_PROXY, "");
}

static void set_callbacks(struct call *c, CURL *e)
{
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
}

static void add_header(struct curl_slist **l, const char *s)
{
	struct curl_slist *more = curl_slist_append(*l, s);

	*l = more ? more : *l;
}

int easy_new(struct call *c, struct strv *headers, struct err *err)
{
	CURL *e = curl_easy_init();

	if (!e)
		return err_set(err, ENOMEM, "libcurl has no handle");
	c->easy = e;
	c->error[0] = 0;
	for (size_t i = 0; i < headers->n; i++)
		add_header(&c->slist, headers->v[i]);
	/* Nothing is no form. */
	if (c->body.is_on && c->body.size == 0)
		add_header(&c->slist, "Content-Type:");
	/* Asking first costs a round trip, and many registries never say "continue". */
	add_header(&c->slist, "Expect:");
	set_callbacks(c, e);
	set_network(c, e);
	set_tls(c, e);
	set_method(c, e);
	curl_easy_setopt(e, CURLOPT_USERAGENT, c->session->user_agent);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->slist);
	if (curl_easy_setopt(e, CURLOPT_URL, c->url) != CURLE_OK ||
	    curl_multi_add_handle(c->t->multi[c->pool], e) != CURLM_OK)
		return err_set(err, EPROTO, "libcurl does not take the request");
	return 0;
}

void easy_free(struct call *c)
{
	if (c->easy) {
		curl_multi_remove_handle(c->t->multi[c->pool], c->easy);
		curl_easy_cleanup(c->easy);
	}
	curl_slist_free_all(c->slist);
	c->easy = NULL;
	c->slist = NULL;
}

/* --- failures --- */
static const struct {
	CURLcode rc;
	int code;
	bool transient;
} failures[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH, false },
	{ CURLE_COULDNT_RESOLVE_PROXY, EHOSTUNREACH, false },
	{ CURLE_COULDNT_CONNECT, EHOSTUNREACH, false },
	{ CURLE_OPERATION_TIMEDOUT, ETIMEDOUT, true },
	{ CURLE_PARTIAL_FILE, ECONNRESET, true },
	{ CURLE_GOT_NOTHING, ECONNRESET, true },
	{ CURLE_RECV_ERROR, ECONNRESET, true },
	{ CURLE_SEND_ERROR, ECONNRESET, true },
	{ CURLE_SEND_FAIL_REWIND, ECONNRESET, true },
	{ CURLE_HTTP2, ECONNRESET, true },
	{ CURLE_HTTP2_STREAM, ECONNRESET, true },
};

/* What a second try may mend. Refused and unknown hosts only if they were there before. */
bool easy_is_transient(const struct call *c, CURLcode rc)
{
	for (size_t i = 0; i < ARRAY_LEN(failures); i++)
		if (failures[i].rc == rc)
			return failures[i].transient || c->ep->is_alive;
	return false;
}

int easy_error(struct call *c, CURLcode rc, struct err *err)
{
	auto_free char *origin = url_origin(c->url);
	long os_errno = 0;
	int code = EPROTO;

	for (size_t i = 0; i < ARRAY_LEN(failures); i++)
		if (failures[i].rc == rc)
			code = failures[i].code;
	curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (rc == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED)
		code = ECONNREFUSED;
	message_clean(c->error);
	return err_set(err, code, "%s: %s", origin,
		       c->error[0] ? c->error : curl_easy_strerror(rc));
}
