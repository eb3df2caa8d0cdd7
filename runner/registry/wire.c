/* SPDX-License-Identifier: Apache-2.0 */
/* Packets: requests become jobs, jobs become answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { FDS_MAX = 4 };

/* --- out --- */
/* Never blocks: the parent may be at sending us something. */
int wire_flush(struct transfer *t, struct err *err)
{
	while (t->out) {
		struct packet *p = t->out;

		if (send(t->sock, p->text, strlen(p->text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
				return watch_on(t, &t->sock_watch, EPOLLIN | EPOLLOUT, err);
			return err_sys(err, "answer");
		}
		t->out = p->next;
		free(p->text);
		free(p);
	}
	t->out_tail = &t->out;
	return watch_on(t, &t->sock_watch, EPOLLIN, err);
}

static void send_json(struct transfer *t, json_t *j)
{
	struct packet *p = mem_alloc(sizeof(*p));
	struct err err = { 0 };

	p->text = json_text(j);
	json_decref(j);
	*t->out_tail = p;
	t->out_tail = &p->next;
	if (wire_flush(t, &err) < 0)
		t->is_done = true;
}

static void send_failure(struct transfer *t, int64_t id, const struct err *err, int status,
			 int64_t wait_s)
{
	json_t *a = json_pack("{s:I,s:b,s:i,s:i}", "id", (json_int_t)id, "ok", 0, "code", err->code,
			      "status", status);

	json_object_set_new(a, "msg", json_from_str(err->msg));
	if (wait_s > 0)
		json_object_set_new(a, "wait_s", json_integer(wait_s));
	send_json(t, a);
}

void job_event(struct job *j, const char *event, const char *msg)
{
	json_t *a = json_pack("{s:I,s:s}", "id", (json_int_t)j->id, "event", event);

	json_object_set_new(a, "msg", json_from_str(msg));
	send_json(j->t, a);
}

void job_progress(struct job *j, uint64_t bytes)
{
	send_json(j->t, json_pack("{s:I,s:s,s:I}", "id", (json_int_t)j->id, "event", "progress",
				  "bytes", (json_int_t)bytes));
}

void job_token(struct job *j, size_t endpoint, const char *scope, const char *token, int64_t s)
{
	json_t *a = json_pack("{s:I,s:s,s:I,s:I}", "id", (json_int_t)j->id, "event", "token",
			      "endpoint", (json_int_t)endpoint, "seconds", (json_int_t)s);

	json_object_set_new(a, "scope", json_from_str(scope));
	json_object_set_new(a, "token", json_from_str(token));
	send_json(j->t, a);
}

void job_done(struct job *j, json_t *extra)
{
	json_t *a = json_pack("{s:I,s:b}", "id", (json_int_t)j->id, "ok", 1);
	struct transfer *t = j->t;

	json_object_update(a, extra);
	json_decref(extra);
	/* The end of the pipe is there before the answer. */
	job_free(j);
	send_json(t, a);
}

void job_fail(struct job *j, struct err *err, int status, int64_t wait_s)
{
	struct transfer *t = j->t;
	int64_t id = j->id;

	job_free(j);
	send_failure(t, id, err, status, wait_s);
}

/* --- jobs --- */
void job_free(struct job *j)
{
	*j->at = j->next;
	if (j->next)
		j->next->at = j->at;
	j->t->n_jobs--;
	call_cancel(j->call);
	watch_off(j->t, &j->watch);
	fd_close(&j->fd);
	if (j->op->free)
		j->op->free(j);
	session_release(j->t, j->session);
	json_decref(j->args);
	free(j);
}

struct job *job_find(struct transfer *t, int64_t id)
{
	for (struct job *j = t->jobs; j; j = j->next)
		if (j->id == id)
			return j;
	return NULL;
}

const char *job_str(const struct job *j, const char *key)
{
	const char *s = json_get_str(j->args, key);

	return s ? s : "";
}

struct endpoint *job_endpoint(struct job *j)
{
	return &j->session->eps[j->ep];
}

static int op_cancel(struct job *j, struct err *err)
{
	struct job *of = job_find(j->t, json_get_int(j->args, "of", -1));
	struct err why = { 0 };

	(void)err;
	if (of && of != j) {
		err_set(&why, ECANCELED, "canceled");
		job_fail(of, &why, 0, 0);
	}
	job_done(j, NULL);
	return 0;
}

static const struct op ops_wire[] = { { .name = REGISTRY_CANCEL, .run = op_cancel }, { 0 } };

static const struct op *op_find(const char *name)
{
	static const struct op *const tables[] = { ops_session, ops_fetch, ops_push,
						   ops_pages,   ops_wire,  ops_get };

	for (size_t i = 0; name && i < ARRAY_LEN(tables); i++)
		for (const struct op *op = tables[i]; op->name; op++)
			if (strcmp(op->name, name) == 0)
				return op;
	return NULL;
}

static void fd_ready(void *arg, uint32_t events)
{
	struct job *j = arg;

	(void)events;
	j->op->ready(j);
}

static int check(struct job *j, struct err *err)
{
	if (j->op->needs_handle) {
		j->session = session_find(j->t, json_get_int(j->args, "handle", -1));
		if (!j->session)
			return err_set(err, EINVAL, "%s: no such handle", j->op->name);
		j->session->users++;
		/* Mirrors are for reading. */
		j->ep = j->op->needs_push ? j->session->n_eps - 1 : 0;
		if (!*job_endpoint(j)->repo)
			return err_set(err, EINVAL, "%s: the handle has no repository",
				       j->op->name);
	}
	if (j->op->needs_fd && j->fd < 0)
		return err_set(err, EINVAL, "%s: no descriptor came with it", j->op->name);
	if (job_find(j->t, j->id) != j)
		return err_set(err, EINVAL, "%s: two requests with id %lld", j->op->name,
			       (long long)j->id);
	if (j->t->n_jobs > REGISTRY_JOBS_MAX)
		return err_set(err, EBUSY, "more than %d requests", REGISTRY_JOBS_MAX);
	return 0;
}

static void run(struct transfer *t, const struct op *op, json_t *args, int fd)
{
	struct job *j = mem_alloc(sizeof(*j)), **at = &t->jobs;
	struct err err = { 0 };

	j->t = t;
	j->op = op;
	j->id = json_get_int(args, "id", 0);
	j->args = args;
	j->fd = fd;
	j->watch = (struct watch){ .fd = fd, .fn = fd_ready, .arg = j };
	while (*at)
		at = &(*at)->next;
	j->at = at;
	*at = j;
	t->n_jobs++;
	if (check(j, &err) < 0 || op->run(j, &err) < 0)
		job_fail(j, &err, 0, 0);
}

/* --- in --- */
static int take_fd(struct msghdr *m)
{
	int first = -1;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

static int dispatch(struct transfer *t, const char *text, size_t n, int fd_take_it)
{
	auto_fd int fd = fd_take_it;
	json_t *args = NULL;
	const struct op *op;
	struct err err = { 0 };

	if (json_parse(text, n, &args, &err) < 0)
		return -err.code;
	op = op_find(json_get_str(args, "op"));
	if (!op) {
		err_set(&err, EINVAL, "no such request");
		send_failure(t, json_get_int(args, "id", 0), &err, 0, 0);
		json_decref(args);
		return 0;
	}
	run(t, op, args, fd_take(&fd));
	return 0;
}

/* One packet; < 0 at the end, also when what comes is no packet of the protocol. */
int wire_read(struct transfer *t, struct err *err)
{
	static char buf[REGISTRY_PACKET_MAX + 1];
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = REGISTRY_PACKET_MAX };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(t->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd, rc;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return err_set(err, EPIPE, "the parent is gone");
	fd = take_fd(&m);
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		fd_close(&fd);
		return err_set(err, EPROTO, "a packet that is too large");
	}
	rc = dispatch(t, buf, (size_t)n, fd);
	/* It held passwords. */
	explicit_bzero(buf, (size_t)n);
	return rc < 0 ? err_set(err, EPROTO, "a packet that is no JSON") : 0;
}

void wire_free(struct transfer *t)
{
	for (struct job *j = t->jobs, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	for (struct call *c = t->calls; c; c = c->next)
		call_cancel(c);
	calls_sweep(t);
	while (t->sessions) {
		struct session *s = t->sessions;

		t->sessions = s->next;
		session_free(s);
	}
	while (t->out) {
		struct packet *p = t->out;

		t->out = p->next;
		free(p->text);
		free(p);
	}
}
