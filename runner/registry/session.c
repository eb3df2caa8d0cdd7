/* SPDX-License-Identifier: Apache-2.0 */
/* open and close: a registry with its mirrors and credentials, and the proof of a login. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { MIRRORS_MAX = 16, RETRIES = 5, BACKOFF_MS = 250, STALL_S = 30 };

static void endpoint_free(struct endpoint *ep)
{
	char *const all[] = { ep->host,         ep->repo,           ep->base,    ep->user,
			      ep->password,     ep->identity_token, ep->ca,      ep->cert,
			      ep->key,          ep->realm,          ep->service, ep->new_identity,
			      ep->authorization };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		free(all[i]);
}

void session_free(struct session *s)
{
	for (size_t i = 0; i < s->n_eps; i++)
		endpoint_free(&s->eps[i]);
	free(s->eps);
	free(s->user_agent);
	strv_free(&s->pending);
	free(s);
}

struct session *session_find(struct transfer *t, int64_t handle)
{
	for (struct session *s = t->sessions; s; s = s->next)
		if (s->handle == handle && !s->is_closing)
			return s;
	return NULL;
}

void session_release(struct transfer *t, struct session *s)
{
	struct session **at = &t->sessions;

	if (!s || --s->users > 0 || !s->is_closing)
		return;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	session_free(s);
}

/* A header must not be made of two. */
static bool is_plain(const char *s)
{
	for (; *s; s++)
		if (iscntrl((unsigned char)*s))
			return false;
	return true;
}

static char *field(const json_t *from, const char *key)
{
	const char *s = json_get_str(from, key);

	return mem_str(s ? s : "");
}

static int endpoint_read(struct endpoint *ep, const json_t *from, struct err *err)
{
	const char *host = json_get_str(from, "registry"), *repo = json_get_str(from, "repo");

	if (!host || !url_is_host(host))
		return err_set(err, EINVAL, "no name of a registry");
	if (repo && *repo && !url_is_repo(repo))
		return err_set(err, EINVAL, "%s: no name of a repository", host);
	/* What everybody calls docker.io answers at another name. */
	if (str_eq(host, "docker.io") || str_eq(host, "index.docker.io"))
		host = "registry-1.docker.io";
	ep->host = mem_str(host);
	ep->repo = mem_str(repo ? repo : "");
	ep->plain_http = json_get_bool(from, "plain_http");
	ep->insecure = json_get_bool(from, "insecure");
	ep->base = mem_fmt("http%s://%s", ep->plain_http ? "" : "s", host);
	ep->user = field(from, "user");
	ep->password = field(from, "password");
	ep->identity_token = field(from, "identity_token");
	ep->ca = field(from, "ca");
	ep->cert = field(from, "cert");
	ep->key = field(from, "key");
	if (strchr(ep->user, ':') || !is_plain(ep->user) || !is_plain(ep->password))
		return err_set(err, EINVAL, "%s: a user name or password that no header can hold",
			       host);
	return 0;
}

static int64_t bounded(const json_t *from, const char *key, int64_t fallback, int64_t max)
{
	int64_t n = json_get_int(from, key, fallback);

	return n < 0 ? 0 : n > max ? max : n;
}

static void read_manners(struct session *s, const json_t *from)
{
	const char *agent = json_get_str(from, "user_agent");

	s->user_agent = mem_str(agent && is_plain(agent) && *agent ? agent : "shale");
	s->retries = bounded(from, "retries", RETRIES, 20);
	s->backoff_ms = bounded(from, "backoff_ms", BACKOFF_MS, 10000) + 1;
	s->stall_ms = (bounded(from, "stall_s", STALL_S, 3600) ?: STALL_S) * 1000;
}

static int session_read(struct session *s, const json_t *from, struct err *err)
{
	const json_t *mirrors = json_object_get(from, "mirrors"), *m;
	size_t i;

	if (json_array_size(mirrors) > MIRRORS_MAX)
		return err_set(err, EINVAL, "more than %d mirrors", MIRRORS_MAX);
	s->eps = mem_array(json_array_size(mirrors) + 1, sizeof(*s->eps));
	json_array_foreach(mirrors, i,
			   m) if (endpoint_read(&s->eps[s->n_eps++], m, err) < 0) return -err->code;
	s->push = json_get_bool(from, "push");
	s->is_login = json_get_bool(from, "verify");
	read_manners(s, from);
	return endpoint_read(&s->eps[s->n_eps++], from, err);
}

/* A login is a proof of the credentials themselves. */
static void give_tokens(struct transfer *t, const struct session *s, const json_t *from)
{
	const json_t *mirrors = json_object_get(from, "mirrors");

	for (size_t i = 0; !s->is_login && i < s->n_eps; i++)
		auth_given(t, &s->eps[i], i + 1 < s->n_eps ? json_array_get(mirrors, i) : from);
}

static unsigned n_sessions(const struct transfer *t)
{
	unsigned n = 0;

	for (const struct session *s = t->sessions; s; s = s->next)
		n++;
	return n;
}

static void verified(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	json_t *extra = json_object();

	if (err->code) {
		json_decref(extra);
		j->session->is_closing = true;
		err_ctx(err, "%s", c->ep->host);
		job_fail(j, err, c->reply.status, c->wait_s);
		return;
	}
	json_object_set_new(extra, "handle", json_integer(j->session->handle));
	if (c->ep->new_identity)
		json_set_str(extra, "identity_token", c->ep->new_identity);
	job_done(j, extra);
}

static const struct call_ops verify_ops = { .done = verified };

static int op_open(struct job *j, struct err *err)
{
	struct session *s = mem_alloc(sizeof(*s));
	struct call *c;

	if (n_sessions(j->t) >= REGISTRY_HANDLES_MAX || session_read(s, j->args, err) < 0) {
		session_free(s);
		return err->code ? -err->code : err_set(err, EBUSY, "too many handles");
	}
	s->handle = ++j->t->last_handle;
	s->next = j->t->sessions;
	j->t->sessions = s;
	s->users = 1;
	j->session = s;
	give_tokens(j->t, s, j->args);
	if (!s->is_login) {
		job_done(j, json_pack("{s:i}", "handle", s->handle));
		return 0;
	}
	c = call_new(s, &s->eps[s->n_eps - 1], "GET", mem_fmt("%s/v2/", s->eps[s->n_eps - 1].base));
	j->call = c;
	call_go(j->t, c, &verify_ops, j);
	return 0;
}

static int web_endpoint(struct endpoint *ep, const json_t *from, struct err *err)
{
	const char *url = json_get_str(from, "url");
	char *host = url ? url_authority(url) : NULL;

	if (!host)
		return err_set(err, EINVAL, "no URL that can be fetched");
	ep->host = host;
	ep->repo = mem_str("");
	ep->base = url_origin(url);
	ep->plain_http = str_starts(ep->base, "http://");
	ep->user = field(from, "user");
	ep->password = field(from, "password");
	ep->identity_token = mem_str("");
	ep->authorization = field(from, "authorization");
	ep->ca = field(from, "ca");
	ep->cert = field(from, "cert");
	ep->key = field(from, "key");
	/* Given by whoever wrote the URL: not asked for first. */
	ep->auth = *ep->user || *ep->password ? AUTH_BASIC : AUTH_UNKNOWN;
	if (strchr(ep->user, ':') || !is_plain(ep->user) || !is_plain(ep->password) ||
	    !is_plain(ep->authorization))
		return err_set(err, EINVAL, "a user name or password that no header can hold");
	return 0;
}

int session_for_url(struct transfer *t, const json_t *from, struct session **ret, struct err *err)
{
	struct session *s = mem_alloc(sizeof(*s));
	int rc;

	s->eps = mem_array(1, sizeof(*s->eps));
	s->n_eps = 1;
	rc = web_endpoint(&s->eps[0], from, err);
	if (rc < 0) {
		session_free(s);
		return rc;
	}
	read_manners(s, from);
	s->users = 1;
	s->is_closing = true; /* it ends with its job */
	s->next = t->sessions;
	t->sessions = s;
	*ret = s;
	return 0;
}

static int op_close(struct job *j, struct err *err)
{
	(void)err;
	j->session->is_closing = true;
	job_done(j, NULL);
	return 0;
}

const struct op ops_session[] = {
	{ .name = REGISTRY_OPEN, .run = op_open },
	{ .name = REGISTRY_CLOSE, .run = op_close, .needs_handle = true },
	{ 0 },
};
