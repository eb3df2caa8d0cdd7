/* SPDX-License-Identifier: Apache-2.0 */
/* A file by its URL: shale-transfer is asked for it. */
#include <stdlib.h>
#include <string.h>

#include <shale/registry.h>

#include "remote.h"

void image_url_free(struct image_url *u)
{
	mem_cleanup(&u->etag);
	mem_cleanup(&u->modified);
}

static void on_event(int id, const char *retry, uint64_t bytes, void *arg)
{
	const struct image_pull_opts *o = arg;
	struct image_transfer_event e = { .kind = IMAGE_TRANSFER_TEXT, .text = retry };

	(void)id;
	(void)bytes;
	if (retry && o->event)
		o->event(&e, o->arg);
}

/* Certificates that the host has for "host:port", as for a registry of that name. */
static int add_certs(const char *url, json_t *req, struct err *err)
{
	const char *host = strstr(url, "://");
	auto_free char *name = NULL;

	if (!host)
		return 0;
	host += 3;
	name = mem_strn(host, strcspn(host, "/?#"));
	return image_certs_add(name, req, err);
}

static void take_answer(struct image_url *u, const json_t *answer)
{
	u->is_same = json_get_bool(answer, "same");
	if (u->is_same)
		return;
	image_url_free(u);
	u->etag = mem_str(json_get_str(answer, "etag"));
	u->modified = mem_str(json_get_str(answer, "modified"));
	u->modified_s = json_get_int(answer, "modified_s", -1);
}

int image_url_get(struct image_url *u, const struct image_pull_opts *o, int to_fd,
		  uint64_t max_bytes, struct err *err)
{
	auto_image_transfer struct image_transfer *t = NULL;
	auto_json json_t *req = json_object(), *answer = NULL;
	struct image_pull_opts copy = *o;
	int rc;

	json_set_str(req, "op", REGISTRY_GET);
	json_set_str(req, "url", u->url);
	json_set_str(req, "user_agent", "shale");
	json_object_set_new(
		req, "max",
		json_integer((json_int_t)(max_bytes > INT64_MAX ? INT64_MAX : max_bytes)));
	if (u->authorization)
		json_set_str(req, "authorization", u->authorization);
	if (u->user && !u->authorization)
		json_set_str(req, "user", u->user);
	if (u->password && !u->authorization)
		json_set_str(req, "password", u->password);
	if (u->etag)
		json_set_str(req, "etag", u->etag);
	if (u->modified)
		json_set_str(req, "modified", u->modified);
	rc = add_certs(u->url, req, err);
	if (rc >= 0)
		rc = image_transfer_start(o->interrupted, &t, err);
	if (rc < 0)
		return rc;
	image_transfer_on_event(t, on_event, &copy);
	rc = image_transfer_call(t, req, to_fd, &answer, err);
	if (rc >= 0)
		take_answer(u, answer);
	return rc;
}
