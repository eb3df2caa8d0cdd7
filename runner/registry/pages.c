/* SPDX-License-Identifier: Apache-2.0 */
/* What comes page after page: the tags of a repository, the referrers of a manifest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { PAGES_MAX = 1000, PAGE = 1000 };

struct pages;

struct kind {
	const char *what, *accept;
	/* Adds what a page has to out and counts it. */
	int (*add)(struct pages *l, const json_t *page, struct err *err);
};

struct pages {
	const struct kind *kind;
	struct str page, out;
	char *next; /* the URL of the next page */
	unsigned n_pages;
	size_t n;
};

static void pages_free(struct job *j)
{
	struct pages *l = j->own;

	if (!l)
		return;
	str_free(&l->page);
	str_free(&l->out);
	free(l->next);
	free(l);
}

/* --- what a page has --- */

static int add_tags(struct pages *l, const json_t *page, struct err *err)
{
	auto_strv struct strv names = { 0 };

	json_get_strv(page, "tags", &names);
	for (size_t i = 0; i < names.n; i++) {
		if (!url_is_tag(names.v[i]))
			return err_set(err, EPROTO, "a list with what is no tag");
		if (++l->n > REGISTRY_TAGS_MAX)
			return err_set(err, EFBIG, "more than %d tags", REGISTRY_TAGS_MAX);
		str_addf(&l->out, "%s\n", names.v[i]);
	}
	return 0;
}

static int add_referrers(struct pages *l, const json_t *page, struct err *err)
{
	const json_t *list = json_object_get(page, "manifests"), *o;
	size_t i;

	if (!json_is_array(list))
		return err_set(err, EPROTO, "a list that is no index");
	json_array_foreach(list, i, o)
	{
		auto_free char *text = json_text(o);

		if (!json_is_object(o))
			return err_set(err, EPROTO, "an entry that is no descriptor");
		if (++l->n > REGISTRY_REFERRERS_MAX)
			return err_set(err, EFBIG, "more than %d", REGISTRY_REFERRERS_MAX);
		if (strlen(text) > REGISTRY_MANIFEST_MAX - l->out.len)
			return err_set(err, EFBIG, "more than %d bytes", REGISTRY_MANIFEST_MAX);
		str_addf(&l->out, "%s\n", text);
	}
	return 0;
}

static const struct kind tags = { .what = "tags", .add = add_tags };
static const struct kind referrers = { .what = "referrers",
				       .accept = "application/vnd.oci.image.index.v1+json",
				       .add = add_referrers };

/* --- one after the other --- */

static void pages_start(struct call *c, struct strv *headers)
{
	struct pages *l = ((struct job *)c->owner)->own;

	if (l->kind->accept)
		strv_addf(headers, "Accept: %s", l->kind->accept);
	str_reset(&l->page);
}

static int pages_data(struct call *c, const void *p, size_t n, struct err *err)
{
	struct pages *l = ((struct job *)c->owner)->own;

	if (n > REGISTRY_MANIFEST_MAX - l->page.len)
		return err_set(err, EFBIG, "a list of more than %d bytes", REGISTRY_MANIFEST_MAX);
	str_addn(&l->page, p, n);
	return 0;
}

static int take_page(struct pages *l, struct err *err)
{
	auto_json json_t *doc = NULL;

	if (json_parse(str_get(&l->page), l->page.len, &doc, err) < 0 || !json_is_object(doc))
		return err_set(err, EPROTO, "a list of %s that is no JSON", l->kind->what);
	return l->kind->add(l, doc, err);
}

/* Only of this very registry: credentials go along. */
static int take_link(struct call *c, struct pages *l, struct err *err)
{
	auto_free char *link = c->reply.link ? parse_next_link(c->reply.link) : NULL;
	const char *what = l->kind->what;
	char *to = NULL;

	if (!link)
		return 0;
	if (++l->n_pages > PAGES_MAX)
		return err_set(err, EFBIG, "more than %d pages of %s", PAGES_MAX, what);
	if (url_follow(c->url, link, c->ep->plain_http, &to, err) < 0)
		return -err->code;
	if (str_eq(to, l->next)) {
		free(to);
		return err_set(err, EPROTO, "the list of %s goes round in a circle", what);
	}
	free(l->next);
	l->next = to;
	if (!url_is_same_origin(to, c->ep->base))
		return err_set(err, EPROTO, "the list of %s goes on at another host", what);
	return 1;
}

static void go(struct job *j);

/* A registry that knows nothing of referrers says so in many ways. */
static bool is_unknown(const struct pages *l, int status)
{
	return l->kind == &referrers && (status == 400 || status == 405 || status == 406);
}

static void begin(struct job *j)
{
	struct pages *l = j->own;
	struct endpoint *ep = job_endpoint(j);

	l->n = l->n_pages = 0;
	str_reset(&l->out);
	free(l->next);
	if (l->kind == &tags)
		l->next = mem_fmt("%s/v2/%s/tags/list?n=%d", ep->base, ep->repo, PAGE);
	else
		l->next =
			mem_fmt("%s/v2/%s/referrers/%s", ep->base, ep->repo, job_str(j, "digest"));
	go(j);
}

static void pages_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct pages *l = j->own;
	int status = c->reply.status;
	int rc = -err->code;

	j->call = NULL;
	if (rc < 0 && is_unknown(l, status))
		err->code = ENOENT;
	if (rc == 0)
		rc = take_page(l, err);
	if (rc >= 0)
		rc = take_link(c, l, err);
	if (rc > 0) {
		go(j);
		return;
	}
	/* Where a mirror has none, the registry may have some. */
	if ((rc < 0 || !l->n) && j->ep + 1 < j->session->n_eps) {
		if (rc < 0)
			job_event(j, "retry", err->msg);
		j->ep++;
		begin(j);
		return;
	}
	if (rc == 0)
		rc = fd_write_all(j->fd, str_get(&l->out), l->out.len, err);
	if (rc < 0) {
		err_ctx(err, "%s/%s: %s", c->ep->host, c->ep->repo, l->kind->what);
		job_fail(j, err, status, c->wait_s);
		return;
	}
	job_done(j, json_pack("{s:I}", "count", (json_int_t)l->n));
}

static const struct call_ops pages_ops = {
	.start = pages_start,
	.data = pages_data,
	.done = pages_done,
};

static void go(struct job *j)
{
	struct pages *l = j->own;
	struct endpoint *ep = job_endpoint(j);
	struct call *c = call_new(j->session, ep, "GET", mem_str(l->next));

	c->scope = mem_fmt("repository:%s:pull", ep->repo);
	j->call = c;
	call_go(j->t, c, &pages_ops, j);
}

/* --- requests --- */

static int start(struct job *j, const struct kind *kind, struct err *err)
{
	struct pages *l = mem_alloc(sizeof(*l));
	struct stat st;

	j->own = l;
	l->kind = kind;
	if (fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: wants a file", kind->what);
	begin(j);
	return 0;
}

static int op_tags(struct job *j, struct err *err)
{
	/* A mirror may have some of them only. */
	j->ep = j->session->n_eps - 1;
	return start(j, &tags, err);
}

static int op_referrers(struct job *j, struct err *err)
{
	struct digest d;

	if (digest_parse(job_str(j, "digest"), &d, err) < 0)
		return -err->code;
	return start(j, &referrers, err);
}

const struct op ops_pages[] = {
	{ REGISTRY_TAGS, op_tags, .needs_handle = true, .needs_fd = true, .free = pages_free },
	{ REGISTRY_REFERRERS, op_referrers, .needs_handle = true, .needs_fd = true,
	  .free = pages_free },
	{ 0 },
};
