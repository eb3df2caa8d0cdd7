/* SPDX-License-Identifier: Apache-2.0 */
/* ADD of a URL: asked for with what is known of it, so that an unchanged file is not sent again. */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "attest.h"

enum { MEMORY_BYTES_MAX = 16 << 10, CHUNK = 128 << 10, RACY_S = 2 };

/* The one file of a URL's directory. */
static const char file_name[] = "file";

struct remote *remote_new(struct source_url *take_u)
{
	struct remote *r = mem_alloc(sizeof(*r));

	r->u = *take_u;
	*take_u = (struct source_url){ 0 };
	r->dir = (struct scratch)SCRATCH_INIT;
	r->file = (struct context_file){
		.path = mem_str(file_name), .mode = S_IFREG | 0600, .nlink = 1, .has_digest = true
	};
	r->name = source_url_file(r->u.url);
	r->keep_git = r->u.keep_git == 1;
	r->checksum = r->u.checksum ? mem_str(r->u.checksum) : NULL;
	return r;
}

void remote_free(struct remote *r)
{
	if (!r)
		return;
	context_close(r->tree);
	scratch_close(&r->dir);
	source_url_free(&r->u);
	free(r->file.path);
	free(r->checksum);
	free(r->name);
	free(r);
}

/* --- what is remembered of a URL: context/url-<hash> --- */

static void memory_name(const struct remote *r, char buf[DIGEST_HEX_MAX + 16])
{
	char hex[DIGEST_HEX_MAX];
	struct digest d;

	hash_bytes(r->u.url, strlen(r->u.url), &d);
	digest_format_hex(&d, hex);
	snprintf(buf, DIGEST_HEX_MAX + 16, "context/url-%s", hex);
}

static json_t *memory_read(struct build *b, const struct remote *r)
{
	char name[DIGEST_HEX_MAX + 16];
	auto_free char *text = NULL;
	json_t *j = NULL;
	struct err ignored;
	size_t len;

	memory_name(r, name);
	if (b->o->no_cache ||
	    fd_read_file(b->rt->root_fd, name, MEMORY_BYTES_MAX, &text, &len, &ignored) < 0 ||
	    json_parse(text, len, &j, &ignored) < 0)
		return NULL;
	return j;
}

static void memory_write(struct build *b, const struct remote *r, const struct image_url *u)
{
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;
	char name[DIGEST_HEX_MAX + 16];
	struct err ignored;
	auto_fd int dir = openat(b->rt->root_fd, "context", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (u->etag)
		json_set_str(j, "etag", u->etag);
	/* Its seconds may hold another change: as git, what is as new as this is asked for again.
	 */
	if (u->modified && u->modified_s + RACY_S < proc_now_ns() / 1000000000)
		json_set_str(j, "modified", u->modified);
	json_set_str(j, "digest", r->id);
	json_object_set_new(j, "size", json_integer((json_int_t)r->file.size));
	json_object_set_new(j, "mtime", json_integer(r->file.mtime_ns / 1000000000));
	text = json_text(j);
	memory_name(r, name);
	if (dir >= 0)
		fs_write_atomic(dir, strchr(name, '/') + 1, text, strlen(text), false, &ignored);
}

static bool remember(struct remote *r, const json_t *j, struct image_url *u)
{
	const char *digest = json_get_str(j, "digest"), *etag = json_get_str(j, "etag"),
		   *modified = json_get_str(j, "modified");
	struct err ignored;

	if (!digest || digest_parse(digest, &r->file.digest, &ignored) < 0)
		return false;
	r->file.size = (uint64_t)json_get_int(j, "size", 0);
	r->file.mtime_ns = json_get_int(j, "mtime", 0) * 1000000000;
	u->etag = etag ? mem_str(etag) : NULL;
	u->modified = modified ? mem_str(modified) : NULL;
	return true;
}

/* --- the file --- */

static int hash_file(int fd, struct context_file *f, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(CHUNK);
	ssize_t n;

	f->size = 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	while ((n = read(fd, buf, CHUNK)) > 0) {
		hash_add(h, buf, (size_t)n);
		f->size += (uint64_t)n;
	}
	if (n < 0)
		return err_sys(err, "read what came");
	hash_end(h, &f->digest);
	return 0;
}

uint64_t build_room(const struct build *b)
{
	struct statvfs v;

	return fstatvfs(b->rt->root_fd, &v) < 0 ? INT64_MAX : (uint64_t)v.f_bavail * v.f_frsize;
}

/* "example.org" of https://example.org:8443/x, "::1" of http://[::1]/. */
static char *host_name(const char *url)
{
	const char *host = strstr(url, "://");

	if (!host)
		return mem_str("");
	host += 3;
	return *host == '[' ? mem_strn(host + 1, strcspn(host + 1, "]"))
			    : mem_strn(host, strcspn(host, ":/?#"));
}

/* BuildKit's names; of both the token counts. NULL: there is none. */
static int authorization(struct build *b, const char *url, char **ret, struct err *err)
{
	auto_free char *host = host_name(url), *text = NULL;
	auto_free char *token = mem_fmt("HTTP_AUTH_TOKEN_%s", host),
		       *header = mem_fmt("HTTP_AUTH_HEADER_%s", host);
	const struct given *t = givens_find(&b->secrets, token),
			   *g = t ? t : givens_find(&b->secrets, header);
	int rc = g ? given_line(g, &text, err) : 0;

	if (rc < 0 || !g)
		return rc;
	*ret = t ? mem_fmt("Bearer %s", text) : mem_str(text);
	explicit_bzero(text, strlen(text));
	return 0;
}

static int get(struct build *b, struct image_url *u, int fd, struct err *err)
{
	struct image_pull_opts o = { .interrupted = b->o->interrupted };
	auto_free char *auth = NULL;
	int rc = authorization(b, u->url, &auth, err);

	if (rc < 0)
		return rc;
	if (b->o->access)
		o.access = *b->o->access;
	u->authorization = auth;
	rc = image_url_get(u, &o, fd, build_room(b), err);
	u->authorization = NULL;
	if (auth)
		explicit_bzero(auth, strlen(auth));
	return rc;
}

static int keep_file(struct build *b, struct remote *r, int fd, struct err *err)
{
	char path[FD_PATH_MAX];
	int rc = scratch_open(b->rt->root_fd, &r->dir, err);

	if (rc < 0)
		return rc;
	if (linkat(AT_FDCWD, fd_path(fd, path), r->dir.fd, file_name, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(err, "keep what came");
	return context_open_tree(b->rt, r->dir.fd, &r->tree, err);
}

static int check_sum(const struct remote *r, struct err *err)
{
	if (!r->checksum || !strcmp(r->checksum, r->id))
		return 0;
	return err_set(err, EBADMSG, "%s: its content is %s, not %s", r->u.url, r->id, r->checksum);
}

/* known: what to ask with, or NULL for the file in any case. */
static int look_url(struct build *b, struct remote *r, const json_t *known, struct err *err)
{
	auto_image_url struct image_url u = { .url = r->u.url,
					      .user = r->u.user,
					      .password = r->u.password };
	auto_fd int fd = openat(b->rt->root_fd, "tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return err_sys(err, "create a file for %s", r->u.url);
	if (known && !remember(r, known, &u))
		image_url_free(&u);
	rc = get(b, &u, fd, err);
	if (rc >= 0 && !u.is_same) {
		r->file.mtime_ns = u.modified_s > 0 ? u.modified_s * 1000000000 : 0;
		rc = hash_file(fd, &r->file, err);
	}
	if (rc < 0)
		return err_ctx(err, "%s", r->u.url);
	snprintf(r->id, sizeof(r->id), "%s", digest_str(&r->file.digest));
	rc = check_sum(r, err);
	if (rc < 0 || u.is_same)
		return rc;
	rc = keep_file(b, r, fd, err);
	if (rc >= 0)
		memory_write(b, r, &u);
	return rc;
}

static int look(struct build *b, struct remote *r, struct err *err)
{
	auto_json json_t *known = NULL;
	struct digest want;

	if (r->u.is_git)
		return git_look(b, r, err);
	if (r->checksum && digest_parse(r->checksum, &want, err) < 0)
		return err_ctx(err, "--checksum");
	known = memory_read(b, r);
	return look_url(b, r, known, err);
}

int remote_look(struct build *b, struct remote *r, struct err *err)
{
	int rc = look(b, r, err);

	if (rc >= 0)
		material_remote(b, r);
	return rc;
}

int remote_fetch(struct build *b, struct remote *r, struct err *err)
{
	char id[sizeof(r->id)];
	auto_fd int fd = -1;
	int rc;

	if (r->tree)
		return 0;
	if (r->u.is_git) {
		rc = git_fetch(b, r, &fd, err);
		return rc < 0 ? err_ctx(err, "%s", r->u.url)
			      : context_open_tree(b->rt, fd, &r->tree, err);
	}
	memcpy(id, r->id, sizeof(id));
	rc = look_url(b, r, NULL, err);
	if (rc >= 0 && strcmp(id, r->id) != 0)
		return err_set(err, EAGAIN, "%s changed meanwhile: build again", r->u.url);
	return rc;
}

int remote_take(struct build *b, struct remote *r, struct err *err)
{
	int rc = r->u.is_git ? git_look(b, r, err) : look_url(b, r, NULL, err);

	if (rc >= 0 && !r->tree)
		rc = remote_fetch(b, r, err);
	if (rc >= 0)
		material_remote(b, r);
	return rc < 0 ? rc : 0;
}
