/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are: Basic, and Bearer tokens by scope, kept while the process lives. Those that an
 * earlier one has got are known by the registry alone: where tokens come from is learnt from a
 * challenge each time, and never from what was kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "priv.h"

enum { EXPIRY_MARGIN_S = 10, AUTH_TRIES_MAX = 2 };

struct token {
	struct token *next;
	char *base; /* of the registry; NULL: it was got here, from the realm */
	char *realm, *service, *scope;
	char *user, *secret; /* whose it is */
	char *value;         /* NULL: being fetched */
	int64_t good_until_ms;
	bool is_new; /* not told to the parent yet */
};

static const char *secret_of(const struct endpoint *ep)
{
	return *ep->identity_token ? ep->identity_token : ep->password;
}

static void token_free(struct token *k)
{
	free(k->base);
	free(k->realm);
	free(k->service);
	free(k->scope);
	free(k->user);
	free(k->secret);
	free(k->value);
	free(k);
}

void tokens_free(struct transfer *t)
{
	while (t->tokens) {
		struct token *k = t->tokens;

		t->tokens = k->next;
		token_free(k);
	}
}

static void token_drop(struct transfer *t, struct token *k)
{
	struct token **at = &t->tokens;

	while (*at && *at != k)
		at = &(*at)->next;
	if (*at)
		*at = k->next;
	token_free(k);
}

static bool is_for(const struct token *k, const struct endpoint *ep)
{
	if (k->base)
		return str_eq(k->base, ep->base);
	return str_eq(k->realm, ep->realm) && str_eq(k->service, ep->service);
}

static struct token *token_find(struct transfer *t, const struct endpoint *ep, const char *scope)
{
	for (struct token *k = t->tokens; k; k = k->next)
		if (is_for(k, ep) && str_eq(k->scope, scope) && str_eq(k->user, ep->user) &&
		    str_eq(k->secret, secret_of(ep)))
			return k;
	return NULL;
}

static char *basic_text(const struct endpoint *ep)
{
	auto_free char *plain = mem_fmt("%s:%s", ep->user, ep->password);
	size_t n = strlen(plain);
	char *out = mem_alloc(n * 2 + 8);

	EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)plain, (int)n);
	return out;
}

static bool has_password(const struct endpoint *ep)
{
	return *ep->user && *ep->password;
}

/* --- messages hold nothing secret --- */
void auth_scrub(struct transfer *t, const struct endpoint *ep, char *msg)
{
	auto_free char *basic = has_password(ep) ? basic_text(ep) : NULL;

	const char *word = ep->authorization ? strrchr(ep->authorization, ' ') : NULL;

	message_scrub(msg, ep->authorization);
	message_scrub(msg, word ? word + 1 : NULL); /* "Bearer x": also x alone */
	message_scrub(msg, basic);
	message_scrub(msg, ep->password);
	message_scrub(msg, ep->identity_token);
	for (const struct token *k = t->tokens; k; k = k->next) {
		message_scrub(msg, k->value);
		message_scrub(msg, k->secret);
	}
}

/* --- fetching a token --- */
/* Who waits for it goes on, or fails with it. */
static void wake(struct transfer *t, struct token *k, struct err *err)
{
	for (struct call *c = t->calls; c; c = c->next)
		if (c->state == CALL_AUTH && c->token == k)
			call_authorized(c, err);
}

static void keep_identity(struct call *c, const char *refresh)
{
	struct endpoint *ep = c->ep;

	/* Only a login asks for one, and it is an answer to it alone. */
	if (refresh && !*ep->identity_token && !ep->new_identity)
		ep->new_identity = mem_str(refresh);
}

static void token_done(struct call *c, struct err *err)
{
	struct token *k = c->owner;
	struct transfer *t = c->t;
	struct session *s = c->session;
	auto_free char *origin = url_origin(c->home), *refresh = NULL;
	int64_t expires_s;

	if (!err->code &&
	    !parse_token(str_get(&c->text), c->text.len, &k->value, &refresh, &expires_s))
		err_set(err, EPROTO, "%s: no token in the answer", origin);
	if (err->code) {
		err_ctx(err, "token for %s", *k->scope ? k->scope : "login");
		wake(t, k, err);
		token_drop(t, k);
	} else {
		keep_identity(c, refresh);
		k->good_until_ms = now_ms() + (expires_s - EXPIRY_MARGIN_S) * 1000;
		k->is_new = true;
		wake(t, k, err);
	}
	session_release(t, s);
}

static const struct call_ops token_ops = { .done = token_done };

static void add_field(struct str *b, const char *name, const char *value)
{
	char *escaped;

	if (!*value)
		return;
	escaped = curl_easy_escape(NULL, value, 0);
	str_addf(b, "%s%s=%s", b->len ? "&" : "", name, escaped ? escaped : "");
	curl_free(escaped);
}

/* The identity token goes by OAuth2's refresh, in the body (distribution, oauth2 specification). */
static struct call *oauth_call(struct session *s, struct endpoint *ep, const struct token *k)
{
	struct call *c = call_new(s, ep, "POST", mem_str(ep->realm));
	auto_str struct str b = { 0 };

	add_field(&b, "grant_type", "refresh_token");
	add_field(&b, "service", k->service);
	add_field(&b, "client_id", "shale");
	add_field(&b, "scope", k->scope);
	add_field(&b, "refresh_token", ep->identity_token);
	strv_add(&c->headers, "Content-Type: application/x-www-form-urlencoded");
	c->body.is_on = true;
	c->body.size = b.len;
	c->body_text = str_take(&b);
	c->body.mem = c->body_text;
	return c;
}

static struct call *basic_call(struct session *s, struct endpoint *ep, const struct token *k)
{
	auto_str struct str b = { 0 };
	auto_strv struct strv scopes = { 0 };
	struct call *c;

	if (has_password(ep))
		add_field(&b, "account", ep->user);
	add_field(&b, "client_id", "shale");
	if (s->is_login && has_password(ep))
		add_field(&b, "offline_token", "true");
	add_field(&b, "service", k->service);
	strv_split(&scopes, k->scope, ' ');
	for (size_t i = 0; i < scopes.n; i++)
		add_field(&b, "scope", scopes.v[i]);
	c = call_new(s, ep, "GET",
		     mem_fmt("%s%c%s", ep->realm, strchr(ep->realm, '?') ? '&' : '?', b.s));
	if (has_password(ep))
		c->basic = basic_text(ep);
	return c;
}

static struct token *token_new(struct transfer *t, const struct endpoint *ep, const char *scope)
{
	struct token *k = mem_alloc(sizeof(*k));

	k->scope = mem_str(scope);
	k->user = mem_str(ep->user);
	k->secret = mem_str(secret_of(ep));
	k->next = t->tokens;
	t->tokens = k;
	return k;
}

static struct token *token_fetch(struct transfer *t, struct session *s, struct endpoint *ep,
				 const char *scope)
{
	struct token *k = token_new(t, ep, scope);
	struct call *c;

	k->realm = mem_str(ep->realm);
	k->service = mem_str(ep->service);
	c = *ep->identity_token ? oauth_call(s, ep, k) : basic_call(s, ep, k);
	c->is_token = true;
	s->users++; /* whoever asked first may be canceled before it comes */
	call_go(t, c, &token_ops, k);
	return k;
}

/* --- requests --- */
static unsigned n_tokens(const struct transfer *t)
{
	unsigned n = 0;

	for (const struct token *k = t->tokens; k; k = k->next)
		n++;
	return n;
}

static int bearer(struct call *c, struct strv *headers, struct err *err)
{
	struct token *k = token_find(c->t, c->ep, c->scope ? c->scope : "");

	if (k && k->value && k->good_until_ms <= now_ms()) {
		token_drop(c->t, k);
		k = NULL;
	}
	if (!k && c->ep->auth != AUTH_BEARER)
		return 0; /* the answer says where to get one, if one is wanted */
	if (!k && n_tokens(c->t) >= TOKENS_MAX)
		return err_set(err, EAGAIN, "more than %d tokens", TOKENS_MAX);
	if (!k)
		k = token_fetch(c->t, c->session, c->ep, c->scope ? c->scope : "");
	if (!k->value) {
		c->token = k;
		return 1;
	}
	free(c->sent_auth);
	c->sent_auth = mem_str(k->value);
	strv_addf(headers, "Authorization: Bearer %s", k->value);
	return 0;
}

/* --- from one process to the next --- */
void auth_given(struct transfer *t, const struct endpoint *ep, const json_t *from)
{
	const json_t *list = json_object_get(from, "tokens"), *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *scope = json_get_str(e, "scope"), *value = json_get_str(e, "token");
		int64_t s = json_get_int(e, "seconds", 0);
		struct token *k;

		if (!scope || !value || !parse_is_token(value) || s <= 0 || s > 86400 ||
		    n_tokens(t) >= TOKENS_MAX / 2)
			continue;
		k = token_new(t, ep, scope);
		k->base = mem_str(ep->base);
		k->value = mem_str(value);
		k->good_until_ms = now_ms() + s * 1000;
	}
}

void auth_worked(struct call *c)
{
	if (c->is_token || c->is_web || c->session->is_login)
		return;
	for (struct token *k = c->t->tokens; k; k = k->next) {
		int64_t s = (k->good_until_ms - now_ms()) / 1000;

		if (!k->is_new || !k->value || !str_eq(k->value, c->sent_auth))
			continue;
		k->is_new = false;
		if (s > 0 && strlen(k->value) <= REGISTRY_TOKEN_MAX)
			job_token(c->owner, (size_t)(c->ep - c->session->eps), k->scope, k->value,
				  s);
	}
}

bool auth_is_outdated(struct call *c)
{
	struct token *k = token_find(c->t, c->ep, c->scope ? c->scope : "");

	if (c->is_token || c->is_web || !call_is_home(c) || (c->body.is_pipe && c->body.sent) ||
	    !k || !k->base || !str_eq(k->value, c->sent_auth))
		return false;
	token_drop(c->t, k);
	return true;
}

static const char sent_basic[] = "basic";

/* Credentials go to the registry's own scheme, host and port and nowhere else; a token's realm is
 * what the registry has named over the same connection that is to be trusted. */
int auth_prepare(struct call *c, struct strv *headers, struct err *err)
{
	auto_free char *basic = NULL;

	if (c->is_token) {
		if (c->basic && url_is_same_origin(c->url, c->home))
			strv_addf(headers, "Authorization: Basic %s", c->basic);
		return 0;
	}
	if (!call_is_home(c))
		return 0;
	if (c->ep->authorization && *c->ep->authorization) {
		strv_addf(headers, "Authorization: %s", c->ep->authorization);
		return 0;
	}
	if (c->ep->auth != AUTH_BASIC && !c->is_web)
		return bearer(c, headers, err);
	if (c->ep->auth == AUTH_BASIC && has_password(c->ep)) {
		basic = basic_text(c->ep);
		strv_addf(headers, "Authorization: Basic %s", basic);
		free(c->sent_auth);
		c->sent_auth = mem_str(sent_basic);
	}
	return 0;
}

/* --- challenges --- */
/* realm: an absolute URL that a password may be sent to, so by https where the registry is. */
static int take_bearer(struct call *c, const struct challenge *ch, struct err *err)
{
	struct endpoint *ep = c->ep;
	char *realm = NULL;

	if (!ch->realm || !(str_starts(ch->realm, "http://") || str_starts(ch->realm, "https://")))
		return err_set(err, EPROTO, "names no realm to get a token from");
	if (url_follow(ep->base, ch->realm, ep->plain_http, &realm, err) < 0)
		return err_ctx(err, "realm of the token");
	free(ep->realm);
	free(ep->service);
	ep->realm = realm;
	ep->service = mem_str(ch->service ? ch->service : "");
	ep->auth = AUTH_BEARER;
	return 1;
}

/* The strongest that is understood. */
static bool pick(const struct strv *headers, struct challenge *ret)
{
	bool found = false;

	for (size_t i = 0; i < headers->n; i++) {
		const char *at = headers->v[i];
		struct challenge ch = { 0 };

		while (challenge_next(&at, &ch)) {
			bool is_bearer = str_eq(ch.scheme, "bearer");

			if (is_bearer || (str_eq(ch.scheme, "basic") && !found)) {
				challenge_free(ret);
				*ret = ch;
				found = true;
			} else {
				challenge_free(&ch);
			}
			if (is_bearer)
				return true;
		}
	}
	return found;
}

static int answer(struct call *c, const struct challenge *ch, struct err *err)
{
	struct token *k;

	if (str_eq(ch->scheme, "basic")) {
		/* Sent already, or nothing to send: this is the answer. Sent by this very call:
		 * several set out before the first one was challenged. */
		bool is_new = !str_eq(c->sent_auth, sent_basic) && has_password(c->ep);

		c->ep->auth = AUTH_BASIC;
		return is_new ? 1 : 0;
	}
	/* A token that has aged is replaced once; another call may have done so already. */
	k = token_find(c->t, c->ep, c->scope ? c->scope : "");
	if (k && k->value && str_eq(k->value, c->sent_auth))
		token_drop(c->t, k);
	return take_bearer(c, ch, err);
}

int auth_challenged(struct call *c, struct err *err)
{
	struct challenge ch = { 0 };
	int rc = 0;

	if (c->body.is_pipe && c->body.sent)
		return 0;
	if (++c->auth_tries <= AUTH_TRIES_MAX && pick(&c->reply.challenges, &ch))
		rc = answer(c, &ch, err);
	challenge_free(&ch);
	return rc;
}
