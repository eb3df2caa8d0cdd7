/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs and manifests on their way to a repository: asked for, mounted from another one of the same
 * registry, or sent: from the store, or as they come from another registry. Several at once. Needs
 * libcrypto.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"

enum { TICK_MS = 200, AT_ONCE = 64, PIPE_BYTES = 1 << 20 };

void image_send_free(struct image_send *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].mount);
	free(s->v);
	json_decref(s->seen);
	image_remote_free(&s->found);
	*s = (struct image_send){ 0 };
}

static void emit(const struct image_send *s, enum image_transfer_event_kind kind,
		 const struct image_send_blob *b, const char *text)
{
	struct image_transfer_event e = { .kind = kind, .text = text };

	if (!s->o->event || (b && !b->id[0]))
		return;
	if (b) {
		e.id = b->id;
		e.total_bytes = b->size;
		e.done_bytes = b->state == IMAGE_SEND_DONE ? b->size : b->sent;
	}
	s->o->event(&e, s->o->arg);
}

static void on_remote(int id, const char *retry, uint64_t bytes, void *arg)
{
	struct image_send *s = arg;

	for (size_t i = s->first; i < s->n; i++) {
		struct image_send_blob *b = &s->v[i];

		if (b->state == IMAGE_SEND_DONE || b->request != id)
			continue;
		if (retry) {
			emit(s, IMAGE_TRANSFER_RETRY, b, retry);
			return;
		}
		b->sent = bytes < b->size ? bytes : b->size;
		emit(s, IMAGE_TRANSFER_PROGRESS, b, NULL);
		return;
	}
	if (retry)
		emit(s, IMAGE_TRANSFER_RETRY, NULL, retry);
}

void image_send_begin(struct image_send *s)
{
	image_transfer_on_event(s->to->t, on_remote, s);
}

static int ask(struct image_send *s, struct image_send_blob *b, const char *op, int fd,
	       struct err *err)
{
	auto_json json_t *req = image_remote_request(s->to, op);
	int rc;

	json_set_str(req, "digest", digest_str(&b->digest));
	json_object_set_new(req, "size", json_integer((json_int_t)b->size));
	json_set_str(req, "from", b->mount);
	rc = image_transfer_send(s->to->t, req, fd, err);
	b->request = rc < 0 ? 0 : rc;
	return rc;
}

/* What is not here goes through a pipe from one registry to the other, and is kept nowhere. */
static int send_through(struct image_send *s, struct image_send_blob *b, struct err *err)
{
	auto_json json_t *req = image_remote_request(s->from, REGISTRY_BLOB);
	auto_fd int in = -1, out = -1;
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	out = ends[0];
	in = ends[1];
	fcntl(in, F_SETPIPE_SZ, PIPE_BYTES); /* a wish */
	json_set_str(req, "digest", digest_str(&b->digest));
	json_object_set_new(req, "size", json_integer((json_int_t)b->size));
	json_object_set_new(req, "offset", json_integer(0));
	rc = image_transfer_send(s->from->t, req, in, err);
	b->feed = rc < 0 ? 0 : rc;
	return rc < 0 ? rc : ask(s, b, REGISTRY_UPLOAD, out, err);
}

static int try_from(struct image_send *s, const char *repo, const struct digest *d, struct err *err)
{
	auto_free char *name = mem_fmt("%s:latest", repo);
	auto_json json_t *req = NULL, *answer = NULL;
	int rc;

	image_remote_free(&s->found);
	image_remote_name(name, &s->found);
	rc = image_remote_open(&s->o->access, false, s->o->interrupted, &s->found, err);
	if (rc < 0)
		return rc;
	req = image_remote_request(&s->found, REGISTRY_HAS);
	json_set_str(req, "digest", digest_str(d));
	rc = image_transfer_call(s->found.t, req, -1, &answer, err);
	if (rc >= 0 && !json_get_bool(answer, "found"))
		rc = err_set(err, ENOENT, "%s has it no more", repo);
	return rc;
}

/* It is not here: whoever had it may have it still, and then has the others as well. */
static int find_from(struct image_send *s, const struct digest *d, struct err *err)
{
	auto_strv struct strv repos = { 0 };
	int rc = image_remote_blob_repos(s->rt, d, s->to->repo, &repos, err);

	if (rc >= 0 && !repos.n)
		return err_set(err, ENOENT, "it is not here, nor known to be elsewhere");
	for (size_t i = 0; i < repos.n; i++) {
		err_clear(err);
		rc = try_from(s, repos.v[i], d, err);
		if (rc >= 0 || rc == -EINTR)
			break;
	}
	if (rc >= 0)
		s->from = &s->found;
	return rc;
}

static int send_blob(struct image_send *s, struct image_send_blob *b, struct err *err)
{
	bool is_here = store_blob_exists(s->rt->store, &b->digest);
	auto_fd int fd = -1;
	int rc = is_here || s->from ? 0 : find_from(s, &b->digest, err);

	if (rc < 0)
		return rc;
	b->state = IMAGE_SEND_SENDING;
	emit(s, IMAGE_TRANSFER_BEGIN, b, NULL);
	if (!is_here && s->from)
		return send_through(s, b, err);
	rc = store_blob_open(s->rt->store, &b->digest, &fd, err);
	return rc < 0 ? rc : ask(s, b, REGISTRY_UPLOAD, fd, err);
}

/* A repository of the same registry that had it when we saw it last. */
static int find_other_repo(struct image_send *s, struct image_send_blob *b, struct err *err)
{
	auto_free char *prefix = mem_fmt("%s/", s->to->registry);
	auto_free char *repo = NULL;
	int rc;

	if (s->from && str_eq(s->from->registry, s->to->registry) &&
	    !str_eq(s->from->path, s->to->path)) {
		b->mount = mem_str(s->from->path);
		return 1;
	}
	rc = db_get_str(s->rt->db,
			"SELECT repo FROM remote_blobs WHERE digest=?1 AND repo<>?2"
			" AND substr(repo,1,length(?3))=?3 LIMIT 1",
			DB_ARGS(DB_T(digest_str(&b->digest)), DB_T(s->to->repo), DB_T(prefix)),
			&repo, err);
	if (rc > 0)
		b->mount = mem_str(repo + strlen(prefix));
	return rc;
}

static int done(struct image_send *s, struct image_send_blob *b,
		enum image_transfer_event_kind kind, char *text, struct err *err)
{
	b->state = IMAGE_SEND_DONE;
	emit(s, kind, b, text);
	free(text);
	if (!b->id[0])
		return 0;
	return image_remote_blob_note(s->rt, s->to->repo, digest_str(&b->digest), err);
}

static int was_asked(struct image_send *s, struct image_send_blob *b, const json_t *answer,
		     struct err *err)
{
	int rc;

	if (json_get_bool(answer, "found"))
		return done(s, b, IMAGE_TRANSFER_EXISTS, mem_str("Layer already exists"), err);
	rc = find_other_repo(s, b, err);
	if (rc <= 0)
		return rc < 0 ? rc : send_blob(s, b, err);
	b->state = IMAGE_SEND_MOUNTING;
	return ask(s, b, REGISTRY_MOUNT, -1, err);
}

static int was_mounted(struct image_send *s, struct image_send_blob *b, const json_t *answer,
		       struct err *err)
{
	if (json_get_bool(answer, "mounted"))
		return done(s, b, IMAGE_TRANSFER_DONE, mem_fmt("Mounted from %s", b->mount), err);
	return send_blob(s, b, err);
}

static int was_sent(struct image_send *s, struct image_send_blob *b, const json_t *answer,
		    struct err *err)
{
	(void)answer;
	return done(s, b, IMAGE_TRANSFER_DONE, mem_str("Pushed"), err);
}

static int (*const next_step[])(struct image_send *, struct image_send_blob *, const json_t *,
				struct err *) = { [IMAGE_SEND_ASKED] = was_asked,
						  [IMAGE_SEND_MOUNTING] = was_mounted,
						  [IMAGE_SEND_SENDING] = was_sent };

/* An upload that ended too early may have its reason at the other registry. */
static int explain(struct image_send *s, const struct image_send_blob *b, struct err *err)
{
	struct err why = { 0 };

	if (s->from && b->feed && image_transfer_answer(s->from->t, b->feed, NULL, &why) < 0)
		*err = why;
	return err_ctx(err, "blob %.19s", digest_str(&b->digest));
}

int image_send_advance(struct image_send *s, struct err *err)
{
	int left = 0;

	while (s->first < s->n && s->v[s->first].state == IMAGE_SEND_DONE)
		s->first++;
	for (size_t i = s->first; i < s->n; i++) {
		struct image_send_blob *b = &s->v[i];
		auto_json json_t *answer = NULL;
		int rc = 0;

		if (b->state == IMAGE_SEND_DONE)
			continue;
		rc = image_transfer_answer(s->to->t, b->request, &answer, err);
		if (rc > 0)
			rc = next_step[b->state](s, b, answer, err);
		if (rc < 0)
			return explain(s, b, err);
		left += b->state != IMAGE_SEND_DONE;
	}
	return left;
}

/* Answers are taken as they come, so that no socket fills up. */
static int wait_for(struct image_send *s, int most, struct err *err)
{
	struct err ignored;
	int rc;

	while ((rc = image_send_advance(s, err)) > most) {
		rc = image_transfer_wait(s->to->t, -1, TICK_MS, err);
		if (rc < 0)
			break;
		if (s->from && s->from->t)
			image_transfer_answer(s->from->t, 0, NULL, &ignored);
	}
	return rc;
}

int image_send_wait(struct image_send *s, struct err *err)
{
	int rc = wait_for(s, 0, err);

	return rc < 0 ? rc : 0;
}

int image_send_add(struct image_send *s, const struct digest *d, uint64_t size, const char *id,
		   struct err *err)
{
	struct image_send_blob *b;
	int rc;

	/* The same blob twice in an image goes once. */
	if (!s->seen)
		s->seen = json_object();
	if (json_object_get(s->seen, digest_hex(d)))
		return 0;
	json_object_set_new(s->seen, digest_hex(d), json_true());
	mem_room(s->v, s->n, s->cap);
	b = &s->v[s->n++];
	*b = (struct image_send_blob){ .digest = *d, .size = size, .state = IMAGE_SEND_ASKED };
	snprintf(b->id, sizeof(b->id), "%s", id);
	rc = ask(s, b, REGISTRY_HAS, -1, err);
	return rc < 0 ? rc : wait_for(s, AT_ONCE, err);
}

int image_send_manifest(struct image_send *s, const struct image_document *d, const char *ref,
			struct err *err)
{
	auto_json json_t *req = image_remote_request(s->to, REGISTRY_PUT);
	auto_fd int fd = image_memory_file(d->text, d->len, err);

	if (fd < 0)
		return fd_take(&fd);
	json_set_str(req, "ref", ref ? ref : digest_str(&d->digest));
	json_set_str(req, "type", d->media_type);
	return image_transfer_call(s->to->t, req, fd, NULL, err);
}
