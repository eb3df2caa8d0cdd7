/* SPDX-License-Identifier: Apache-2.0 */
/* One repository of a registry: opened with what the host knows of it; small documents. Needs
 * libcrypto. */
#include "remote.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/base/sys.h>
#include <shale/registry.h>

enum {
	TAGS_BYTES_MAX = REGISTRY_TAGS_MAX * 130,
	REFERRERS_BYTES_MAX = REGISTRY_MANIFEST_MAX + REGISTRY_REFERRERS_MAX,
};

static const char *const manifest_types[] = {
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
};

void image_remote_free(struct image_remote *r)
{
	image_transfer_cleanup(&r->t);
	image_remote_names_free(r);
}

/* Docker Hub answers under another name than the one it is called by. */
static const char *host_of(const char *registry)
{
	return str_eq(registry, "docker.io") ? "registry-1.docker.io" : registry;
}

static int fill_endpoint(const struct image_access *a, const char *registry, json_t *to,
			 struct err *err)
{
	int rc;

	json_set_str(to, "registry", host_of(registry));
	rc = image_certs_add(registry, to, err);
	return rc < 0 ? rc : image_auth_add(a, registry, to, err);
}

/* Those of the command line: no mirror and no other registry sees them. */
static void add_creds(const struct image_access *a, const char *registry, json_t *req)
{
	const char *colon = a->creds ? strchr(a->creds, ':') : NULL;
	auto_free char *user = NULL;

	if (!colon || !str_eq(registry, a->creds_for))
		return;
	user = mem_strn(a->creds, (size_t)(colon - a->creds));
	json_set_str(req, "user", user);
	json_set_str(req, "password", colon + 1);
}

/* "http://host:port/prefix" -> an endpoint for the same path beneath the prefix. */
static int add_mirror(const struct image_access *a, const char *text, const char *path,
		      json_t *list, struct err *err)
{
	bool is_http = str_starts(text, "http://");
	const char *rest = strstr(text, "://") ? strstr(text, "://") + 3 : text;
	const char *slash = strchr(rest, '/');
	auto_free char *host = mem_strn(rest, slash ? (size_t)(slash - rest) : strlen(rest));
	auto_free char *repo =
		slash && slash[1] ? mem_fmt("%s/%s", slash + 1, path) : mem_str(path);
	struct image_registry_rules rules = { 0 };
	json_t *m = json_object();
	int rc;

	json_array_append_new(list, m);
	rc = image_registry_rules(a, host, &rules, err);
	if (rc >= 0)
		rc = fill_endpoint(a, host, m, err);
	json_set_str(m, "repo", repo);
	json_object_set_new(m, "plain_http", json_boolean(is_http || rules.plain_http));
	json_object_set_new(m, "insecure", json_boolean(rules.insecure));
	image_registry_rules_free(&rules);
	return rc;
}

int image_remote_open_request(const struct image_access *a, const struct image_remote *r,
			      json_t *req, struct err *err)
{
	struct image_registry_rules rules = { 0 };
	json_t *mirrors = json_array();
	int rc = image_registry_rules(a, r->registry, &rules, err);

	json_object_set_new(req, "mirrors", mirrors);
	json_set_str(req, "op", REGISTRY_OPEN);
	json_set_str(req, "user_agent", "shale");
	if (r->path)
		json_set_str(req, "repo", r->path);
	add_creds(a, r->registry, req);
	if (rc >= 0)
		rc = fill_endpoint(a, r->registry, req, err);
	/* Where there are certificates for it, it speaks TLS. */
	json_object_set_new(req, "plain_http",
			    json_boolean(rules.plain_http && !json_object_get(req, "ca")));
	json_object_set_new(
		req, "insecure",
		json_boolean(rules.insecure || (rules.plain_http && !json_object_get(req, "ca"))));
	for (size_t i = 0; rc >= 0 && r->path && !json_get_bool(req, "push") && i < rules.mirrors.n;
	     i++)
		rc = add_mirror(a, rules.mirrors.v[i], r->path, mirrors, err);
	image_registry_rules_free(&rules);
	return rc;
}

int image_remote_open(const struct image_access *a, bool is_push, volatile int *interrupted,
		      struct image_remote *r, struct err *err)
{
	auto_json json_t *req = json_object(), *answer = NULL;
	auto_strv struct strv tokens = { 0 };
	int rc;

	json_object_set_new(req, "push", json_boolean(is_push));
	rc = image_remote_open_request(a, r, req, err);
	if (rc >= 0)
		rc = image_transfer_start(interrupted, &r->t, err);
	if (rc >= 0) {
		image_tokens_offer(req, &tokens);
		image_transfer_keep_tokens(r->t, &tokens);
	}
	if (rc >= 0)
		rc = image_transfer_call(r->t, req, -1, &answer, err);
	if (rc >= 0)
		r->handle = (int)json_get_int(answer, "handle", 0);
	return rc < 0 ? err_ctx(err, "%s", r->registry) : 0;
}

json_t *image_remote_request(const struct image_remote *r, const char *op)
{
	json_t *req = json_object();

	json_set_str(req, "op", op);
	json_object_set_new(req, "handle", json_integer(r->handle));
	return req;
}

void image_document_free(struct image_document *d)
{
	free(d->text);
	free(d->media_type);
	*d = (struct image_document){ 0 };
}

static int read_memfd(int fd, size_t limit, char **ret, size_t *ret_len, struct err *err)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	return fd_read_all(fd, limit, ret, ret_len, err);
}

static int open_memfd(struct err *err)
{
	int fd = sys_memfd_create("shale-transfer", MFD_CLOEXEC);

	return fd < 0 ? err_sys(err, "memory file") : fd;
}

int image_memory_file(const char *text, size_t len, struct err *err)
{
	auto_fd int fd = open_memfd(err);
	int rc = fd < 0 ? fd : fd_write_all(fd, text, len, err);

	return rc < 0 ? rc : fd_take(&fd);
}

void image_remote_accept(json_t *request)
{
	json_t *accept = json_array();

	json_object_set_new(request, "accept", accept);
	for (size_t i = 0; i < ARRAY_LEN(manifest_types); i++)
		json_array_append_new(accept, json_string(manifest_types[i]));
}

int image_remote_manifest(struct image_remote *r, const char *ref, struct image_document *ret,
			  struct err *err)
{
	auto_json json_t *req = image_remote_request(r, REGISTRY_MANIFEST), *answer = NULL;
	auto_fd int fd = open_memfd(err);
	struct image_document d = { 0 };
	const char *type;
	int rc;

	json_set_str(req, "ref", ref);
	image_remote_accept(req);
	json_object_set_new(req, "max", json_integer(REGISTRY_MANIFEST_MAX));
	rc = fd < 0 ? fd : image_transfer_call(r->t, req, fd, &answer, err);
	if (rc >= 0)
		rc = read_memfd(fd, REGISTRY_MANIFEST_MAX, &d.text, &d.len, err);
	if (rc < 0)
		return rc;
	hash_bytes(d.text, d.len, &d.digest);
	type = json_get_str(answer, "type");
	d.media_type = mem_strn(type ? type : "", strcspn(type ? type : "", "; "));
	if (str_starts(ref, "sha256:") && !str_eq(ref, digest_str(&d.digest))) {
		rc = err_set(err, EBADMSG, "manifest %.19s: its content is %.19s", ref,
			     digest_str(&d.digest));
		image_document_free(&d);
		return rc;
	}
	*ret = d;
	return 0;
}

int image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size, char **ret,
		      size_t *ret_len, struct err *err)
{
	auto_json json_t *req = image_remote_request(r, REGISTRY_BLOB);
	auto_fd int fd = open_memfd(err);
	auto_free char *text = NULL;
	struct digest have;
	size_t len = 0;
	int rc;

	if (size > JSON_BYTES_MAX)
		return err_set(err, EFBIG, "blob %.19s: %" PRIu64 " bytes, at most %d can be used",
			       digest_str(want), size, JSON_BYTES_MAX);
	json_set_str(req, "digest", digest_str(want));
	json_object_set_new(req, "size", json_integer((json_int_t)size));
	json_object_set_new(req, "offset", json_integer(0));
	rc = fd < 0 ? fd : image_transfer_call(r->t, req, fd, NULL, err);
	if (rc >= 0)
		rc = read_memfd(fd, JSON_BYTES_MAX, &text, &len, err);
	if (rc < 0)
		return err_ctx(err, "blob %.19s", digest_str(want));
	hash_bytes(text, len, &have);
	if (!digest_eq(&have, want))
		return err_set(err, EBADMSG, "blob %.19s: its content is %.19s", digest_str(want),
			       digest_str(&have));
	*ret = take(text);
	*ret_len = len;
	return 0;
}

/* A list of the registry's, one a line. */
static int read_list(struct image_remote *r, json_t *req, size_t limit, struct strv *ret,
		     struct err *err)
{
	auto_fd int fd = open_memfd(err);
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = fd < 0 ? fd : image_transfer_call(r->t, req, fd, NULL, err);

	if (rc >= 0)
		rc = read_memfd(fd, limit, &text, &len, err);
	for (char *line = text, *end; rc >= 0 && line && (end = strchr(line, '\n'));
	     line = end + 1) {
		*end = 0;
		strv_add(ret, line);
	}
	return rc < 0 ? rc : 0;
}

int image_remote_referrers(struct image_remote *r, const char *digest, json_t **ret,
			   struct err *err)
{
	auto_json json_t *req = image_remote_request(r, REGISTRY_REFERRERS), *list = json_array();
	auto_strv struct strv lines = { 0 };
	int rc;

	json_set_str(req, "digest", digest);
	rc = read_list(r, req, REFERRERS_BYTES_MAX, &lines, err);
	for (size_t i = 0; rc >= 0 && i < lines.n; i++) {
		json_t *o = NULL;

		rc = json_parse(lines.v[i], strlen(lines.v[i]), &o, err);
		if (rc >= 0)
			json_array_append_new(list, o);
	}
	if (rc >= 0)
		*ret = take(list);
	return rc;
}

int image_remote_tags(const char *normalized, const struct image_pull_opts *o, struct strv *ret,
		      struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	auto_json json_t *req = NULL;
	int rc;

	image_remote_name(normalized, &r);
	rc = image_remote_open(&o->access, false, o->interrupted, &r, err);
	if (rc < 0)
		return rc;
	req = image_remote_request(&r, REGISTRY_TAGS);
	return read_list(&r, req, TAGS_BYTES_MAX, ret, err);
}
