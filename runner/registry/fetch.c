/* SPDX-License-Identifier: Apache-2.0 */
/* What is read: head, manifest, blob, has. Mirrors are asked in their order, then the registry. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>

#include "priv.h"

/* libcurl gives 16 KiB at a time: so much is gathered for one write. */
enum { ACCEPTS_MAX = 32, SHORT_MAX = 3, GATHER_BYTES = 256 << 10 };

struct fetch {
	const struct call_ops *ops;
	const char *method, *kind; /* kind: of the path, "blobs" or "manifests" */
	char *name;                /* tag or digest */
	bool is_digest;
	struct digest want;
	uint64_t at, size, skip; /* of a blob: bytes taken so far, all, to be passed over */
	uint64_t from, max;
	struct str text; /* a manifest, which is written when it is whole */
	size_t text_at;
	struct lend lend; /* taken and not yet written */
	unsigned shorts;
	json_t *result; /* the answer, once all is written */
};

static void fetch_free(struct job *j)
{
	struct fetch *f = j->own;

	if (!f)
		return;
	free(f->name);
	str_free(&f->text);
	lend_close(&f->lend);
	json_decref(f->result);
	free(f);
}

static int context(struct job *j, struct err *err)
{
	struct fetch *f = j->own;
	struct endpoint *ep = job_endpoint(j);
	const char *what = str_eq(f->kind, "blobs") ? "blob" : "manifest";

	if (f->is_digest)
		return err_ctx(err, "%s/%s: %s %.19s", ep->host, ep->repo, what, f->name);
	return err_ctx(err, "%s/%s:%s", ep->host, ep->repo, f->name);
}

/* --- calls, one endpoint after the other --- */
static int accept_headers(struct job *j, struct call *c, struct err *err)
{
	auto_strv struct strv types = { 0 };

	json_get_strv(j->args, "accept", &types);
	if (types.n > ACCEPTS_MAX)
		return err_set(err, EINVAL, "more than %d types to accept", ACCEPTS_MAX);
	for (size_t i = 0; i < types.n; i++) {
		if (strlen(types.v[i]) > 255 || strpbrk(types.v[i], "\r\n"))
			return err_set(err, EINVAL, "a type that no header can hold");
		strv_addf(&c->headers, "Accept: %s", types.v[i]);
	}
	return 0;
}

static int ask(struct job *j, struct err *err)
{
	struct fetch *f = j->own;
	struct endpoint *ep = job_endpoint(j);
	struct call *c;

	c = call_new(j->session, ep, f->method,
		     mem_fmt("%s/v2/%s/%s/%s", ep->base, ep->repo, f->kind, f->name));
	c->scope = mem_fmt("repository:%s:pull%s", ep->repo, j->session->push ? ",push" : "");
	if (f->ops->data && str_eq(f->kind, "blobs"))
		c->pool = POOL_BULK;
	call_go(j->t, c, f->ops, j);
	j->call = c;
	return accept_headers(j, c, err);
}

/* True when another one is asked; else the job has failed and is gone. */
static bool next_endpoint(struct job *j, struct call *c, struct err *err)
{
	struct err why = { 0 };
	bool is_ours = err->code == EPIPE || err->code == ECANCELED;
	int status = c->reply.status;

	context(j, err);
	if (is_ours || j->ep + 1 >= j->session->n_eps) {
		job_fail(j, err, status, c->wait_s);
		return false;
	}
	job_event(j, "retry", err->msg);
	j->ep++;
	if (ask(j, &why) < 0)
		job_fail(j, &why, 0, 0);
	return true;
}

static json_t *result(struct call *c, const struct digest *d, int64_t size)
{
	json_t *r = json_object();

	if (d)
		json_set_str(r, "digest", digest_str(d));
	json_set_str(r, "type", c->reply.type);
	if (size >= 0)
		json_object_set_new(r, "size", json_integer(size));
	return r;
}

/* --- what is written to the parent --- */
/* 1: a piece of the manifest has been taken. */
static int take_text(struct job *j, struct err *err)
{
	struct fetch *f = j->own;
	size_t n = f->result ? f->text.len - f->text_at : 0;
	int rc;

	if (!n || lend_left(&f->lend))
		return 0;
	n = n < GATHER_BYTES ? n : GATHER_BYTES;
	rc = lend_add(&f->lend, j->fd, f->text.s + f->text_at, n, err);
	f->text_at += n;
	return rc < 0 ? rc : 1;
}

/* As much as the pipe takes. */
static int flush(struct job *j, struct err *err)
{
	struct fetch *f = j->own;
	int rc;

	do
		rc = lend_flush(&f->lend, j->fd, err);
	while (rc == 0 && (rc = take_text(j, err)) > 0);
	if (rc > 0)
		return watch_on(j->t, &j->watch, EPOLLOUT, err);
	if (rc == 0)
		watch_off(j->t, &j->watch);
	return rc;
}

static bool is_full(const struct fetch *f)
{
	return lend_left(&f->lend) >= GATHER_BYTES;
}

static void ready(struct job *j)
{
	struct fetch *f = j->own;
	struct err err = { 0 };

	if (flush(j, &err) < 0) {
		context(j, &err);
		job_fail(j, &err, 0, 0);
	} else if (!lend_left(&f->lend)) {
		if (f->result)
			job_done(j, take(f->result));
		else
			call_resume(j->call);
	}
}

static void answer(struct job *j, json_t *r)
{
	struct fetch *f = j->own;

	f->result = r;
	ready(j);
}

/* --- blob --- */
static void blob_start(struct call *c, struct strv *headers)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;

	f->skip = 0;
	if (f->at > 0)
		strv_addf(headers, "Range: bytes=%llu-", (unsigned long long)f->at);
}

static int blob_head(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;
	struct range r;

	if (c->reply.status == 206) {
		if (!c->reply.content_range || !parse_content_range(c->reply.content_range, &r))
			return err_set(err, EPROTO, "sends a part and does not say which");
		if (r.first != f->at)
			return err_set(err, EPROTO, "sends bytes from %llu on, not from %llu",
				       (unsigned long long)r.first, (unsigned long long)f->at);
		if (f->size != SIZE_UNKNOWN && r.total != UINT64_MAX && r.total != f->size)
			return err_set(err, EBADMSG, "has %llu bytes, not %llu",
				       (unsigned long long)r.total, (unsigned long long)f->size);
		return 0;
	}
	/* All from the start, whatever was asked for. */
	f->skip = f->at;
	if (f->size != SIZE_UNKNOWN && c->reply.length >= 0 && (uint64_t)c->reply.length != f->size)
		return err_set(err, EBADMSG, "has %lld bytes, not %llu", (long long)c->reply.length,
			       (unsigned long long)f->size);
	return 0;
}

static int blob_data(struct call *c, const void *p, size_t n, struct err *err)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;
	size_t pass = f->skip < n ? (size_t)f->skip : n;
	int rc;

	if (is_full(f))
		return 1;
	if (f->size != SIZE_UNKNOWN && n - pass > f->size - f->at)
		return err_set(err, EBADMSG, "sends more than %llu bytes",
			       (unsigned long long)f->size);
	f->skip -= pass;
	f->at += n - pass;
	rc = lend_add(&f->lend, j->fd, (const char *)p + pass, n - pass, err);
	if (rc < 0 || is_full(f))
		return rc < 0 ? rc : flush(j, err);
	/* The rest of what libcurl has at hand comes before the loop does. */
	rc = j->watch.is_on ? 0 : watch_on(j->t, &j->watch, EPOLLOUT, err);
	if (rc != -EPERM)
		return rc;
	err_clear(err);
	return flush(j, err); /* a regular file, which takes all */
}

static void blob_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;

	j->call = NULL;
	if (!err->code && f->size != SIZE_UNKNOWN && f->at < f->size) {
		err_set(err, EBADMSG, "ended after %llu of %llu bytes", (unsigned long long)f->at,
			(unsigned long long)f->size);
		/* By its own account complete: once more from there, but not for ever. */
		if (f->shorts++ < SHORT_MAX) {
			err_clear(err);
			if (ask(j, err) < 0)
				job_fail(j, err, 0, 0);
			return;
		}
	}
	if (err->code)
		next_endpoint(j, c, err);
	else
		answer(j, json_pack("{s:I}", "bytes", (json_int_t)(f->at - f->from)));
}

static const struct call_ops blob_ops = {
	.start = blob_start,
	.head = blob_head,
	.data = blob_data,
	.done = blob_done,
};

/* --- manifest --- */
static void manifest_start(struct call *c, struct strv *headers)
{
	struct fetch *f = ((struct job *)c->owner)->own;

	(void)headers;
	str_reset(&f->text);
}

static int manifest_head(struct call *c, struct err *err)
{
	struct fetch *f = ((struct job *)c->owner)->own;

	if (c->reply.length > (int64_t)f->max)
		return err_set(err, EFBIG, "has %lld bytes, more than %llu",
			       (long long)c->reply.length, (unsigned long long)f->max);
	return 0;
}

static int manifest_data(struct call *c, const void *p, size_t n, struct err *err)
{
	struct fetch *f = ((struct job *)c->owner)->own;

	if (n > f->max - f->text.len)
		return err_set(err, EFBIG, "has more than %llu bytes", (unsigned long long)f->max);
	str_addn(&f->text, p, n);
	return 0;
}

static void manifest_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;
	struct digest got;

	j->call = NULL;
	if (!err->code) {
		hash_bytes(str_get(&f->text), f->text.len, &got);
		if (f->is_digest && !digest_eq(&got, &f->want))
			err_set(err, EBADMSG, "what came has the digest %s", digest_str(&got));
	}
	if (err->code)
		next_endpoint(j, c, err);
	else
		answer(j, result(c, &got, (int64_t)f->text.len));
}

static const struct call_ops manifest_ops = {
	.start = manifest_start,
	.head = manifest_head,
	.data = manifest_data,
	.done = manifest_done,
};

/* --- head, has --- */
static void head_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct fetch *f = j->own;
	struct digest told;
	struct err ignored;
	bool is_told;

	j->call = NULL;
	is_told = !err->code && c->reply.digest &&
		  digest_parse(c->reply.digest, &told, &ignored) == 0;
	if (is_told && f->is_digest && !digest_eq(&told, &f->want))
		err_set(err, EBADMSG, "the registry has it as %s", digest_str(&told));
	if (err->code)
		next_endpoint(j, c, err);
	else
		job_done(j, result(c, is_told ? &told : NULL, c->reply.length));
}

static const struct call_ops head_ops = { .done = head_done };

static void has_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	bool is_found = !err->code;
	json_t *r;

	j->call = NULL;
	if (err->code && c->reply.status != 404) {
		next_endpoint(j, c, err);
		return;
	}
	r = json_pack("{s:b}", "found", is_found);
	if (is_found && c->reply.length >= 0)
		json_object_set_new(r, "size", json_integer(c->reply.length));
	job_done(j, r);
}

static const struct call_ops has_ops = { .done = has_done };

/* --- requests --- */
static int begin(struct job *j, const struct fetch *how, const char *name, struct err *err)
{
	struct fetch *f = mem_dup(how, sizeof(*how));
	struct err why = { 0 };

	j->own = f;
	f->name = mem_str(name);
	f->is_digest = digest_parse(name, &f->want, &why) == 0;
	if (!f->is_digest && (str_eq(f->kind, "blobs") || !url_is_tag(name)))
		return err_set(err, EINVAL, "neither a tag nor a digest");
	/* A pipe has a reader that may be slow. */
	if (j->fd >= 0 && fcntl(j->fd, F_SETFL, O_WRONLY | O_NONBLOCK) < 0)
		return err_sys(err, "descriptor");
	return ask(j, err);
}

static int op_head(struct job *j, struct err *err)
{
	struct fetch f = { .ops = &head_ops, .method = "HEAD", .kind = "manifests" };

	return begin(j, &f, job_str(j, "ref"), err);
}

static int op_manifest(struct job *j, struct err *err)
{
	struct fetch f = { .ops = &manifest_ops, .method = "GET", .kind = "manifests" };
	int64_t max = json_get_int(j->args, "max", REGISTRY_MANIFEST_MAX);

	f.max = max < 0 || max > REGISTRY_MANIFEST_MAX ? REGISTRY_MANIFEST_MAX : (uint64_t)max;
	return begin(j, &f, job_str(j, "ref"), err);
}

static int op_blob(struct job *j, struct err *err)
{
	struct fetch f = { .ops = &blob_ops, .method = "GET", .kind = "blobs" };
	int64_t size = json_get_int(j->args, "size", -1), at = json_get_int(j->args, "offset", 0);

	if (at < 0 || (size >= 0 && at > size))
		return err_set(err, EINVAL, "blob: an offset beyond its size");
	f.size = size < 0 ? SIZE_UNKNOWN : (uint64_t)size;
	f.at = f.from = (uint64_t)at;
	if (at > 0 && at == size) {
		job_done(j, json_pack("{s:i}", "bytes", 0));
		return 0;
	}
	return begin(j, &f, job_str(j, "digest"), err);
}

static int op_has(struct job *j, struct err *err)
{
	struct fetch f = { .ops = &has_ops, .method = "HEAD", .kind = "blobs" };

	/* What is asked is what a push can leave out: the registry's word alone counts. */
	j->ep = j->session->n_eps - 1;
	return begin(j, &f, job_str(j, "digest"), err);
}

const struct op ops_fetch[] = {
	{ REGISTRY_HEAD, op_head, .needs_handle = true, .ready = ready, .free = fetch_free },
	{ REGISTRY_MANIFEST, op_manifest, .needs_handle = true, .needs_fd = true, .ready = ready,
	  .free = fetch_free },
	{ REGISTRY_BLOB, op_blob, .needs_handle = true, .needs_fd = true, .ready = ready,
	  .free = fetch_free },
	{ REGISTRY_HAS, op_has, .needs_handle = true, .ready = ready, .free = fetch_free },
	{ 0 },
};
