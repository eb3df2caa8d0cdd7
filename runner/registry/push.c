/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written: mount, upload, put.
 *
 * An upload is opened by POST, filled by PATCH and closed by PUT with the digest; what is small
 * goes with the PUT. After a broken connection the registry is asked how much it has; one that does
 * not tell gets all of it again. Of a pipe nothing can be sent again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>

#include "priv.h"

enum { SMALL_BYTES = 1 << 20, PENDING_MAX = 256 };

struct push {
	char *digest; /* of the blob; NULL until "finish" tells */
	char *location;
	uint64_t size, at; /* at: what the registry has */
	uint64_t told;     /* by "finish" */
	int64_t tries;
	bool is_pipe, is_sent, is_second;
	/* put */
	char *text;
	struct digest want;
};

static void push_free(struct job *j)
{
	struct push *p = j->own;

	if (!p)
		return;
	free(p->digest);
	free(p->location);
	free(p->text);
	free(p);
}

static struct call *push_call(struct job *j, const char *method, char *url_take)
{
	struct endpoint *ep = job_endpoint(j);
	struct call *c = call_new(j->session, ep, method, url_take);

	c->scope = mem_fmt("repository:%s:pull,push", ep->repo);
	return c;
}

static void go(struct job *j, struct call *c, const struct call_ops *ops)
{
	j->call = c;
	call_go(j->t, c, ops, j);
}

static void push_fail(struct job *j, struct call *c, struct err *err)
{
	struct endpoint *ep = job_endpoint(j);
	struct push *p = j->own;

	if (p->text)
		err_ctx(err, "%s/%s:%s", ep->host, ep->repo, job_str(j, "ref"));
	else
		err_ctx(err, "%s/%s: blob %.19s", ep->host, ep->repo,
			p->digest ? p->digest : job_str(j, "digest"));
	job_fail(j, err, c ? c->reply.status : 0, c ? c->wait_s : 0);
}

/* Where the upload goes on; the location may change with every answer. */
static int take_location(struct call *c, char **at, struct err *err)
{
	char *to = NULL;

	if (!c->reply.location)
		return *at ? 0 : err_set(err, EPROTO, "opens an upload and does not say where");
	if (url_follow(c->url, c->reply.location, c->ep->plain_http, &to, err) < 0)
		return err_ctx(err, "location of the upload");
	free(*at);
	*at = to;
	return 0;
}

/* --- mount --- */
static void mount_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct strv *pending = &j->session->pending;
	auto_free char *location = NULL;
	bool is_mounted = !err->code && c->reply.status == 201;
	int status = c->reply.status;

	j->call = NULL;
	if (err->code && (status < 400 || status > 499 || status == 429)) {
		push_fail(j, c, err);
		return;
	}
	/* A refusal means that it has to be uploaded; why, that says if need be. */
	err_clear(err);
	if (status == 202 && take_location(c, &location, err) == 0 && pending->n < PENDING_MAX)
		strv_env_set(pending, job_str(j, "digest"), location);
	job_done(j, json_pack("{s:b}", "mounted", is_mounted));
}

static const struct call_ops mount_ops = { .done = mount_done };

static int op_mount(struct job *j, struct err *err)
{
	struct endpoint *ep = job_endpoint(j);
	const char *from = job_str(j, "from");
	struct digest d;
	struct call *c;

	j->own = mem_alloc(sizeof(struct push));
	if (digest_parse(job_str(j, "digest"), &d, err) < 0)
		return -err->code;
	if (!url_is_repo(from))
		return err_set(err, EINVAL, "mount: no name of a repository to mount from");
	c = push_call(j, "POST",
		      mem_fmt("%s/v2/%s/blobs/uploads/?mount=%s&from=%s", ep->base, ep->repo,
			      digest_str(&d), from));
	free(c->scope);
	c->scope = mem_fmt("repository:%s:pull,push repository:%s:pull", ep->repo, from);
	c->body.is_on = true;
	go(j, c, &mount_ops);
	return 0;
}

/* --- upload --- */
static void upload_open(struct job *j);
static void upload_send(struct job *j);

static void commit_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct push *p = j->own;
	bool is_wrong = c->text.len && strstr(c->text.s, "DIGEST_INVALID");

	j->call = NULL;
	if (!err->code && c->reply.digest && !str_eq(c->reply.digest, p->digest))
		err_set(err, EBADMSG, "the registry has it as %.71s", c->reply.digest);
	if (err->code && is_wrong)
		err->code = EBADMSG;
	/* What came before a broken connection may be there twice: once more, from nothing. */
	if (err->code && is_wrong && !p->is_pipe && !p->is_second) {
		p->is_second = true;
		p->at = 0;
		upload_open(j);
		return;
	}
	if (err->code)
		push_fail(j, c, err);
	else
		job_done(j, NULL);
}

static const struct call_ops found_ops = { .done = commit_done };

/* The upload is unknown the second time it is closed: the first may have worked unheard. libcurl
 * repeats by itself what goes wrong on a connection that it kept. */
static void closed(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct endpoint *ep = job_endpoint(j);
	struct push *p = j->own;

	if (!err->code || c->reply.status != 404) {
		commit_done(c, err);
		return;
	}
	c = push_call(j, "HEAD", mem_fmt("%s/v2/%s/blobs/%s", ep->base, ep->repo, p->digest));
	go(j, c, &found_ops);
}

static const struct call_ops commit_ops = { .done = closed };

static void upload_commit(struct job *j)
{
	struct push *p = j->own;
	struct err err = { 0 };
	struct call *c;

	if (p->told != SIZE_UNKNOWN && p->told != p->at) {
		err_set(&err, EBADMSG, "%llu bytes were sent, not %llu", (unsigned long long)p->at,
			(unsigned long long)p->told);
		push_fail(j, NULL, &err);
		return;
	}
	c = push_call(j, "PUT", url_with(p->location, "digest", p->digest));
	c->body.is_on = true;
	go(j, c, &commit_ops);
}

/* --- after a broken connection --- */
static void status_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct push *p = j->own;
	uint64_t has = 0;
	bool is_told = !err->code && c->reply.range && parse_upload_range(c->reply.range, &has);

	j->call = NULL;
	if (err->code && c->reply.status == 0) {
		push_fail(j, c, err);
		return;
	}
	err_clear(err);
	if (is_told && has > 0 && has <= p->size && take_location(c, &p->location, err) == 0) {
		/* Headway is no reason to give up. */
		if (has > p->at)
			p->tries = 0;
		p->at = has;
		upload_send(j);
		return;
	}
	p->at = 0;
	upload_open(j);
}

static const struct call_ops status_ops = { .done = status_done };

/* True when the upload goes on. */
static bool upload_mend(struct job *j, struct call *c, struct err *err)
{
	struct push *p = j->own;
	auto_free char *msg = NULL;
	struct call *status;
	int64_t ms;

	if (p->is_pipe || !c->is_broken || ++p->tries > j->session->retries)
		return false;
	ms = call_back_off(j->session, p->tries);
	if (c->wait_s > CALL_WAIT_MAX_S)
		return false;
	if (c->wait_s * 1000 > ms)
		ms = c->wait_s * 1000;
	msg = mem_fmt("%s; again in %lld.%lld s", err->msg, (long long)ms / 1000,
		      (long long)ms % 1000 / 100);
	job_event(j, "retry", msg);
	status = push_call(j, "GET", mem_str(p->location));
	go(j, status, &status_ops);
	call_delay(status, ms);
	return true;
}

/* An answer may come before the end of what is sent, and then tells how much is there. */
static bool has_all(const struct call *c, const struct push *p)
{
	uint64_t has;

	if (c->body.size != SIZE_UNKNOWN && c->body.sent != c->body.size)
		return false;
	if (!c->reply.range || !parse_upload_range(c->reply.range, &has) || has == 0)
		return true;
	return has == p->at + c->body.sent;
}

static void send_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct push *p = j->own;
	bool is_last = strcmp(c->method, "PUT") == 0;

	j->call = NULL;
	if (!err->code && !is_last && !has_all(c, p)) {
		err_set(err, EPROTO, "has not taken all");
		c->is_broken = true;
	}
	if (!err->code && !is_last)
		take_location(c, &p->location, err);
	if (err->code) {
		if (!upload_mend(j, c, err))
			is_last ? commit_done(c, err) : push_fail(j, c, err);
		return;
	}
	p->at += c->body.sent;
	p->is_sent = true;
	watch_off(j->t, &j->watch);
	if (is_last)
		commit_done(c, err);
	else if (p->digest)
		upload_commit(j);
}

static void starved(struct call *c)
{
	struct job *j = c->owner;

	/* The descriptor is a pipe, for which this cannot fail but for memory. */
	watch_on(j->t, &j->watch, EPOLLIN, &c->err);
}

static void ready(struct job *j)
{
	watch_off(j->t, &j->watch);
	call_resume(j->call);
}

static const struct call_ops send_ops = { .done = send_done, .starved = starved };

/* What the registry has not got yet. */
static void upload_send(struct job *j)
{
	struct push *p = j->own;
	bool is_small = !p->is_pipe && p->at == 0 && p->size <= SMALL_BYTES;
	struct call *c;

	if (!p->is_pipe && p->at == p->size && !is_small) {
		upload_commit(j);
		return;
	}
	c = push_call(j, is_small ? "PUT" : "PATCH",
		      is_small ? url_with(p->location, "digest", p->digest) : mem_str(p->location));
	strv_add(&c->headers, "Content-Type: application/octet-stream");
	if (p->at > 0)
		strv_addf(&c->headers, "Content-Range: %llu-%llu", (unsigned long long)p->at,
			  (unsigned long long)p->size - 1);
	c->pool = POOL_BULK;
	c->once = true;
	c->body = (struct body){
		.is_on = true,
		.fd = j->fd,
		.is_pipe = p->is_pipe,
		.at = p->at,
		.size = p->size == SIZE_UNKNOWN ? SIZE_UNKNOWN : p->size - p->at,
	};
	go(j, c, &send_ops);
}

static void open_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct push *p = j->own;

	j->call = NULL;
	if (err->code || take_location(c, &p->location, err) < 0)
		push_fail(j, c, err);
	else
		upload_send(j);
}

static const struct call_ops open_ops = { .done = open_done };

static void upload_open(struct job *j)
{
	struct endpoint *ep = job_endpoint(j);
	struct call *c =
		push_call(j, "POST", mem_fmt("%s/v2/%s/blobs/uploads/", ep->base, ep->repo));

	c->body.is_on = true;
	go(j, c, &open_ops);
}

/* A mount that did not come about has left an open upload. */
static char *pending_take(struct session *s, const char *digest)
{
	char *location = mem_str(strv_env_get(&s->pending, digest));
	size_t n = strlen(digest);

	for (size_t i = 0; location && i < s->pending.n; i++) {
		if (strncmp(s->pending.v[i], digest, n) == 0 && s->pending.v[i][n] == '=') {
			strv_remove(&s->pending, i);
			break;
		}
	}
	return location;
}

static int upload_read(struct job *j, struct push *p, struct err *err)
{
	const char *digest = job_str(j, "digest");
	int64_t size = json_get_int(j->args, "size", -1);
	struct digest d;
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return err_sys(err, "descriptor");
	p->is_pipe = !S_ISREG(st.st_mode);
	p->size = size < 0 ? SIZE_UNKNOWN : (uint64_t)size;
	if (*digest && digest_parse(digest, &d, err) < 0)
		return -err->code;
	p->digest = *digest ? mem_str(digest) : NULL;
	if (!p->is_pipe && (size < 0 || !p->digest || st.st_size < size))
		return err_set(err, EINVAL, "upload: of a file, digest and size are to be told");
	if (p->is_pipe && fcntl(j->fd, F_SETFL, O_RDONLY | O_NONBLOCK) < 0)
		return err_sys(err, "descriptor");
	return 0;
}

static int op_upload(struct job *j, struct err *err)
{
	struct push *p = mem_alloc(sizeof(*p));

	p->told = SIZE_UNKNOWN;
	j->own = p;
	if (upload_read(j, p, err) < 0)
		return -err->code;
	p->location = p->digest ? pending_take(j->session, p->digest) : NULL;
	if (p->location)
		upload_send(j);
	else
		upload_open(j);
	return 0;
}

/* --- finish --- */
static int op_finish(struct job *j, struct err *err)
{
	struct job *of = job_find(j->t, json_get_int(j->args, "of", -1));
	int64_t size = json_get_int(j->args, "size", -1);
	struct digest d;
	struct push *p;

	if (!of || strcmp(of->op->name, REGISTRY_UPLOAD) != 0)
		return err_set(err, EINVAL, "finish: no such upload");
	p = of->own;
	if (p->digest || digest_parse(job_str(j, "digest"), &d, err) < 0)
		return err->code ? -err->code : err_set(err, EINVAL, "finish: told before");
	p->digest = mem_str(job_str(j, "digest"));
	p->told = size < 0 ? SIZE_UNKNOWN : (uint64_t)size;
	job_done(j, NULL);
	if (p->is_sent)
		upload_commit(of);
	return 0;
}

/* --- put --- */
static void put_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct push *p = j->own;

	j->call = NULL;
	if (!err->code && c->reply.digest && !str_eq(c->reply.digest, digest_str(&p->want)))
		err_set(err, EBADMSG, "the registry has it as %.71s", c->reply.digest);
	if (err->code)
		push_fail(j, c, err);
	else
		job_done(j, json_pack("{s:s}", "digest", digest_str(&p->want)));
}

static const struct call_ops put_ops = { .done = put_done };

static int put_read(struct job *j, struct push *p, size_t *ret_len, struct err *err)
{
	const char *ref = job_str(j, "ref"), *type = job_str(j, "type");
	struct digest d;
	struct stat st;
	struct err why = { 0 };

	if (!*type || strlen(type) > 255 || strpbrk(type, "\r\n"))
		return err_set(err, EINVAL, "put: no type");
	if (fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "put: wants a file");
	if (lseek(j->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "put");
	if (fd_read_all(j->fd, REGISTRY_MANIFEST_MAX, &p->text, ret_len, err) < 0)
		return -err->code;
	hash_bytes(p->text, *ret_len, &p->want);
	if (digest_parse(ref, &d, &why) == 0) {
		if (!digest_eq(&d, &p->want))
			return err_set(err, EBADMSG, "put: the manifest has the digest %s",
				       digest_str(&p->want));
	} else if (!url_is_tag(ref)) {
		return err_set(err, EINVAL, "put: neither a tag nor a digest");
	}
	return 0;
}

static int op_put(struct job *j, struct err *err)
{
	struct endpoint *ep = job_endpoint(j);
	struct push *p = mem_alloc(sizeof(*p));
	size_t len = 0;
	struct call *c;

	j->own = p;
	if (put_read(j, p, &len, err) < 0)
		return -err->code;
	c = push_call(j, "PUT",
		      mem_fmt("%s/v2/%s/manifests/%s", ep->base, ep->repo, job_str(j, "ref")));
	strv_addf(&c->headers, "Content-Type: %s", job_str(j, "type"));
	c->body = (struct body){ .is_on = true, .fd = -1, .mem = p->text, .size = len };
	go(j, c, &put_ops);
	return 0;
}

const struct op ops_push[] = {
	{ REGISTRY_MOUNT, op_mount, .needs_handle = true, .needs_push = true, .free = push_free },
	{ REGISTRY_UPLOAD, op_upload, .needs_handle = true, .needs_fd = true, .needs_push = true,
	  .ready = ready, .free = push_free },
	{ REGISTRY_FINISH, op_finish },
	{ REGISTRY_PUT, op_put, .needs_handle = true, .needs_fd = true, .needs_push = true,
	  .free = push_free },
	{ 0 },
};
