/* SPDX-License-Identifier: Apache-2.0 */
/* tags: the list of a repository, page after page, of the registry itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { PAGES_MAX = 1000, PAGE = 1000 };

struct tags {
	struct str page, out;
	char *next; /* the URL of the next page */
	unsigned pages;
	size_t n;
};

static void tags_free(struct job *j)
{
	struct tags *l = j->own;

	if (!l)
		return;
	str_free(&l->page);
	str_free(&l->out);
	free(l->next);
	free(l);
}

static void tags_start(struct call *c, struct strv *headers)
{
	struct tags *l = ((struct job *)c->owner)->own;

	(void)headers;
	str_reset(&l->page);
}

static int tags_data(struct call *c, const void *p, size_t n, struct err *err)
{
	struct tags *l = ((struct job *)c->owner)->own;

	if (n > REGISTRY_MANIFEST_MAX - l->page.len)
		return err_set(err, EFBIG, "a list of more than %d bytes", REGISTRY_MANIFEST_MAX);
	str_addn(&l->page, p, n);
	return 0;
}

static int take_page(struct tags *l, struct err *err)
{
	auto_json json_t *doc = NULL;
	auto_strv struct strv names = { 0 };

	if (json_parse(str_get(&l->page), l->page.len, &doc, err) < 0 || !json_is_object(doc))
		return err_set(err, EPROTO, "a list of tags that is no JSON");
	json_get_strv(doc, "tags", &names);
	for (size_t i = 0; i < names.n; i++) {
		if (!url_is_tag(names.v[i]))
			return err_set(err, EPROTO, "a list with what is no tag");
		if (++l->n > REGISTRY_TAGS_MAX)
			return err_set(err, EFBIG, "more than %d tags", REGISTRY_TAGS_MAX);
		str_addf(&l->out, "%s\n", names.v[i]);
	}
	return 0;
}

/* Only of this very registry: credentials go along. */
static int take_link(struct call *c, struct tags *l, struct err *err)
{
	auto_free char *link = c->reply.link ? parse_next_link(c->reply.link) : NULL;
	char *to = NULL;

	if (!link)
		return 0;
	if (++l->pages > PAGES_MAX)
		return err_set(err, EFBIG, "more than %d pages of tags", PAGES_MAX);
	if (url_follow(c->url, link, c->ep->plain_http, &to, err) < 0)
		return -err->code;
	if (str_eq(to, l->next)) {
		free(to);
		return err_set(err, EPROTO, "the list of tags goes round in a circle");
	}
	free(l->next);
	l->next = to;
	if (!url_is_same_origin(to, c->ep->base))
		return err_set(err, EPROTO, "the list of tags goes on at another host");
	return 1;
}

static void go(struct job *j);

static void tags_done(struct call *c, struct err *err)
{
	struct job *j = c->owner;
	struct tags *l = j->own;
	int rc = -err->code;

	j->call = NULL;
	if (rc == 0)
		rc = take_page(l, err);
	if (rc >= 0)
		rc = take_link(c, l, err);
	if (rc > 0) {
		go(j);
		return;
	}
	if (rc == 0)
		rc = fd_write_all(j->fd, str_get(&l->out), l->out.len, err);
	if (rc < 0) {
		err_ctx(err, "%s/%s: tags", c->ep->host, c->ep->repo);
		job_fail(j, err, c->reply.status, c->wait_s);
		return;
	}
	job_done(j, json_pack("{s:I}", "count", (json_int_t)l->n));
}

static const struct call_ops tags_ops = {
	.start = tags_start,
	.data = tags_data,
	.done = tags_done,
};

static void go(struct job *j)
{
	struct tags *l = j->own;
	struct endpoint *ep = job_endpoint(j);
	struct call *c = call_new(j->session, ep, "GET", mem_str(l->next));

	c->scope = mem_fmt("repository:%s:pull", ep->repo);
	j->call = c;
	call_go(j->t, c, &tags_ops, j);
}

static int op_tags(struct job *j, struct err *err)
{
	struct endpoint *ep;
	struct tags *l = mem_alloc(sizeof(*l));
	struct stat st;

	j->own = l;
	/* A mirror may have some of them only. */
	j->ep = j->session->n_eps - 1;
	ep = job_endpoint(j);
	if (fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "tags: wants a file");
	l->next = mem_fmt("%s/v2/%s/tags/list?n=%d", ep->base, ep->repo, PAGE);
	go(j);
	return 0;
}

const struct op ops_tags[] = {
	{ REGISTRY_TAGS, op_tags, .needs_handle = true, .needs_fd = true, .free = tags_free },
	{ 0 },
};
