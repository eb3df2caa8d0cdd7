/* SPDX-License-Identifier: Apache-2.0 */
/* A file by its URL, from any web server, if it is not what the parent knows. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { NOT_MODIFIED = 304, VALIDATOR_MAX = 1024 };

struct get {
	uint64_t at, max;
	bool is_asked; /* the server was told what is known */
};

static void get_free(struct job *j)
{
	free(j->own);
}

/* What a header may hold. */
static bool is_good(const char *s)
{
	size_t n = strnlen(s, VALIDATOR_MAX + 1);

	for (size_t i = 0; i < n; i++)
		if (!isprint((unsigned char)s[i]))
			return false;
	return n > 0 && n <= VALIDATOR_MAX;
}

static void get_start(struct call *c, struct strv *headers)
{
	struct job *j = c->owner;
	struct get *g = j->own;
	const char *etag = job_str(j, "etag"), *modified = job_str(j, "modified");

	if (is_good(etag))
		strv_addf(headers, "If-None-Match: %s", etag);
	else if (is_good(modified))
		strv_addf(headers, "If-Modified-Since: %s", modified);
	g->is_asked = is_good(etag) || is_good(modified);
	/* An attempt that broke off left its beginning. */
	g->at = 0;
	if (ftruncate(j->fd, 0) < 0 || lseek(j->fd, 0, SEEK_SET) < 0)
		err_sys(&c->err, "begin the file anew");
}

static int too_large(const struct get *g, struct err *err)
{
	return err_set(err, EFBIG, "has more than %llu bytes", (unsigned long long)g->max);
}

static int get_head(struct call *c, struct err *err)
{
	struct get *g = ((struct job *)c->owner)->own;

	if (c->err.code)
		return -c->err.code;
	if (c->reply.status != 200)
		return err_set(err, EPROTO, "answers %d, which is no whole file", c->reply.status);
	return c->reply.length > 0 && (uint64_t)c->reply.length > g->max ? too_large(g, err) : 0;
}

static int get_data(struct call *c, const void *p, size_t n, struct err *err)
{
	struct job *j = c->owner;
	struct get *g = j->own;

	if (n > g->max - g->at)
		return too_large(g, err);
	g->at += n;
	return fd_write_all(j->fd, p, n, err);
}

static void get_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct get *g = j->own;
	auto_free char *origin = url_origin(c->home);
	time_t when = -1;
	json_t *r;

	j->call = NULL;
	if (err->code && c->reply.status == NOT_MODIFIED && g->is_asked) {
		job_done(j, json_pack("{s:b}", "same", 1));
		return;
	}
	if (err->code) {
		if (!strstr(err->msg, origin))
			err_ctx(err, "%s", origin);
		job_fail(j, err, c->reply.status, c->wait_s);
		return;
	}
	if (c->reply.modified)
		when = curl_getdate(c->reply.modified, NULL);
	r = json_pack("{s:I,s:I}", "bytes", (json_int_t)g->at, "modified_s",
		      (json_int_t)(when < 0 ? -1 : when));
	if (c->reply.etag && is_good(c->reply.etag))
		json_set_str(r, "etag", c->reply.etag);
	if (c->reply.modified && is_good(c->reply.modified))
		json_set_str(r, "modified", c->reply.modified);
	job_done(j, r);
}

static const struct call_ops get_ops = {
	.start = get_start,
	.head = get_head,
	.data = get_data,
	.done = get_done,
};

static int op_get(struct job *j, struct err *err)
{
	int64_t max = json_get_int(j->args, "max", INT64_MAX);
	struct get *g = mem_alloc(sizeof(*g));
	struct stat st;
	struct call *c;
	int rc;

	j->own = g;
	g->max = max < 0 ? 0 : (uint64_t)max;
	if (fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "get: the descriptor is no file");
	rc = session_for_url(j->t, j->args, &j->session, err);
	if (rc < 0)
		return rc;
	c = call_new(j->session, &j->session->eps[0], "GET", mem_str(job_str(j, "url")));
	c->pool = POOL_BULK;
	c->is_web = true;
	j->call = c;
	call_go(j->t, c, &get_ops, j);
	return 0;
}

const struct op ops_get[] = {
	{ .name = REGISTRY_GET, .run = op_get, .needs_fd = true, .free = get_free },
	{ 0 },
};
