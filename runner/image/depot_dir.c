/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A depot in a directory: an OCI layout. One writes at a time, under a lock on blobs/. A reader may
 * come back for layers until his build ends, so he shares a lock on the directory itself for as
 * long; what nothing names is removed by a writer who gets that one alone, else by the next, and
 * nobody waits for a build. Whoever is killed leaves the old index.json, or the new one with all
 * that it names. Needs libcrypto.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define REF_NAME "org.opencontainers.image.ref.name"

enum { ENTRIES_MAX = 1000, DEPTH_MAX = 4, TICK_MS = 50, TMP_KEEP_S = 3600, COPY_BYTES = 256 << 10 };

static int wait_lock(int fd, int how, volatile int *interrupted, struct err *err)
{
	while (flock(fd, how | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, "lock");
		if (interrupted && *interrupted)
			return err_set(err, EINTR, "interrupted");
		usleep(TICK_MS * 1000);
	}
	return 0;
}

/* --- reading --- */

static int open_layout(const struct image_depot *d, struct err *err)
{
	int fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "%s", d->dir) : fd;
}

static int read_index(const struct image_load *ld, json_t **ret, struct err *err)
{
	struct image_document d = { 0 };
	auto_json json_t *index = NULL;
	enum image_doc kind;
	size_t n;
	int rc = image_load_text(ld, "index.json", &d.text, &d.len, err);

	if (rc >= 0)
		rc = image_doc_kind(&d, &index, &kind, err);
	image_document_free(&d);
	if (rc < 0)
		return rc == -ENOENT ? rc : err_ctx(err, "index.json");
	n = json_array_size(json_object_get(index, "manifests"));
	if (kind != IMAGE_DOC_INDEX || n > ENTRIES_MAX)
		return err_set(err, EINVAL, "index.json is no index of at most %d entries",
			       ENTRIES_MAX);
	*ret = take(index);
	return 0;
}

static bool is_tagged(const json_t *desc, const char *tag)
{
	const char *name = json_get_str(json_object_get(desc, "annotations"), REF_NAME);

	return str_eq(name, tag);
}

static int read_manifest(const struct image_load *ld, const json_t *desc, struct image_look *ret,
			 struct err *err)
{
	struct image_document d = { .media_type = mem_str(json_get_str(desc, "mediaType")) };
	auto_json json_t *doc = NULL;
	enum image_doc kind = IMAGE_DOC_OTHER;
	int rc = image_load_blob(ld, desc, &d.text, &d.len, err);

	if (rc >= 0)
		rc = image_doc_kind(&d, &doc, &kind, err);
	image_document_free(&d);
	if (rc >= 0 && kind != IMAGE_DOC_MANIFEST)
		rc = err_set(err, ENOTSUP, "it names an index");
	if (rc >= 0)
		rc = image_manifest_parse(doc, &ret->manifest, err);
	if (rc >= 0)
		rc = image_load_blob(ld, json_object_get(doc, "config"), &ret->config,
				     &ret->config_len, err);
	return rc;
}

int image_layout_look(struct runtime *rt, const struct image_depot *d,
		      const struct image_pull_opts *o, struct image_look *ret, struct err *err)
{
	auto_fd int fd = open_layout(d, err);
	struct image_load ld = { .rt = rt, .dir_fd = fd, .tar_fd = -1 };
	auto_json json_t *index = NULL;
	struct image_look l = { .lock_fd = -1 };
	const json_t *desc;
	size_t i;
	int rc;

	if (fd < 0)
		return fd_take(&fd);
	rc = wait_lock(fd, LOCK_SH, o->interrupted, err);
	if (rc >= 0)
		rc = read_index(&ld, &index, err);
	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(index, "manifests"), i, desc)
	{
		if (!is_tagged(desc, d->tag))
			continue;
		rc = read_manifest(&ld, desc, &l, err);
		if (rc < 0) {
			image_look_free(&l);
			return rc;
		}
		*ret = l;
		ret->lock_fd = fd_take(&fd);
		return 0;
	}
	return err_set(err, ENOENT, "%s has nothing named %s", d->dir, d->tag);
}

int image_layout_layers(struct runtime *rt, const struct image_depot *d,
			const struct image_pull_opts *o, const struct image_chain *c,
			int64_t *ret_top, struct err *err)
{
	auto_image_config struct image_config *config = image_config_new();
	cleanup(image_loaded_free) struct image_loaded from = { 0 };
	auto_fd int fd = open_layout(d, err);
	struct image_load ld = {
		.rt = rt, .dir_fd = fd, .tar_fd = -1, .interrupted = o->interrupted
	};
	int rc;

	if (fd < 0)
		return fd_take(&fd);
	strv_copy(&config->diff_ids, &c->diff_ids);
	for (size_t i = 0; i < c->diff_ids.n; i++) {
		auto_free char *path = mem_fmt("blobs/sha256/%s", digest_hex(&c->desc[i].digest));

		image_loaded_add_layer(&from, path, &c->desc[i].digest);
	}
	rc = image_load_layers(&ld, &from, config, ret_top, err);
	return rc < 0 ? err_ctx(err, "%s", d->dir) : 0;
}

/* --- writing --- */

struct layout {
	struct runtime *rt;
	const struct image_depot *d;
	const struct image_layout_new *w;
	int fd, lock_fd;
	struct image_load ld;
	struct image_archive *out;
	json_t *index; /* the new one */
	struct strv named;
};

static void layout_free(struct layout *l)
{
	image_archive_cleanup(&l->out);
	json_decref(l->index);
	strv_free(&l->named);
	fd_close(&l->fd);
	fd_close(&l->lock_fd);
}

/* mkdir -p from there; what is made belongs to whom the directory above it does. Takes fd. */
static int make_dirs(int fd, const char *path, struct err *err)
{
	auto_strv struct strv parts = { 0 };
	auto_fd int at = fd;

	strv_split(&parts, path, '/');
	for (size_t i = 0; at >= 0 && i < parts.n; i++) {
		struct stat st;
		bool is_new;
		int sub;

		if (!*parts.v[i])
			continue;
		if (fstat(at, &st) < 0)
			return err_sys(err, "stat %s", path);
		is_new = mkdirat(at, parts.v[i], 0755) == 0;
		if (!is_new && errno != EEXIST)
			return err_sys(err, "make directory %s", parts.v[i]);
		sub = openat(at, parts.v[i],
			     O_RDONLY | O_DIRECTORY | O_CLOEXEC | (is_new ? O_NOFOLLOW : 0));
		fd_close(&at);
		at = sub;
		if (at >= 0 && is_new && fchown(at, st.st_uid, st.st_gid) < 0)
			return err_sys(err, "owner of %s", path);
	}
	return at < 0 ? err_sys(err, "open directory %s", path) : fd_take(&at);
}

static bool is_there(const struct layout *l, const char *name, uint64_t size)
{
	struct err ignored = { 0 };
	auto_fd int fd =
		path_open_beneath(l->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &ignored);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == size;
}

static int copy_bytes(int fd, struct sink *to, struct err *err)
{
	auto_free char *buf = mem_alloc(COPY_BYTES);
	ssize_t n;
	int rc = 0;

	while (rc >= 0 && (n = fd_read_full(fd, buf, COPY_BYTES, err)) != 0)
		rc = n < 0 ? (int)n : to->write(to, buf, (size_t)n, err);
	return rc;
}

static int put_layer(struct layout *l, const struct image_descriptor *desc, struct err *err)
{
	auto_free char *name = mem_fmt("blobs/sha256/%s", digest_hex(&desc->digest));
	auto_fd int fd = -1;
	int rc = 0;

	if (is_there(l, name, desc->size))
		return 0;
	rc = store_blob_open(l->rt->store, &desc->digest, &fd, err);
	if (rc >= 0)
		rc = image_archive_begin(l->out, name, desc->size, err);
	if (rc <= 0)
		return rc;
	rc = copy_bytes(fd, image_archive_sink(l->out), err);
	return rc < 0 ? rc : image_archive_end(l->out, err);
}

static int put_text(struct layout *l, const char *text, struct err *err)
{
	auto_free char *name = NULL;
	struct digest d;

	hash_bytes(text, strlen(text), &d);
	name = mem_fmt("blobs/sha256/%s", digest_hex(&d));
	return image_archive_add(l->out, name, text, strlen(text), err);
}

/* Entries of other names stay as they are. */
static int make_index(struct layout *l, struct err *err)
{
	const struct image_document *m = l->w->manifest;
	auto_json json_t *old = NULL;
	json_t *list = json_array(), *o = json_object(), *a = json_object(), *desc;
	struct err missing = { 0 };
	size_t i;
	int rc = read_index(&l->ld, &old, &missing);

	l->index = json_object();
	json_object_set_new(l->index, "schemaVersion", json_integer(2));
	json_object_set_new(l->index, "mediaType",
			    json_string("application/vnd.oci.image.index.v1+json"));
	json_object_set_new(l->index, "manifests", list);
	json_array_foreach(json_object_get(old, "manifests"), i, desc)
	{
		if (!is_tagged(desc, l->d->tag))
			json_array_append(list, desc);
	}
	json_object_set_new(o, "mediaType", json_string(m->media_type));
	json_object_set_new(o, "digest", json_string(digest_str(&m->digest)));
	json_object_set_new(o, "size", json_integer((json_int_t)m->len));
	json_object_set_new(a, REF_NAME, json_from_str(l->d->tag));
	json_object_set_new(o, "annotations", a);
	json_array_append_new(list, o);
	if (rc < 0 && rc != -ENOENT)
		*err = missing;
	return rc == -ENOENT ? 0 : rc;
}

static int put_index(struct layout *l, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	auto_free char *text = json_text(l->index);
	int rc = is_there(l, "oci-layout", strlen(layout))
			 ? 0
			 : image_archive_add(l->out, "oci-layout", layout, strlen(layout), err);

	fault_point("image.depot.index");
	return rc < 0 ? rc : image_archive_add(l->out, "index.json", text, strlen(text), err);
}

/* --- what nothing names --- */

/* A document that cannot be read may name anything: then nothing goes. */
static int mark(struct layout *l, const json_t *desc, int depth, struct err *err)
{
	struct image_document d = { .media_type = mem_str(json_get_str(desc, "mediaType")) };
	cleanup(image_descriptors_free) struct image_descriptors list = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind = IMAGE_DOC_OTHER;
	const json_t *child;
	size_t i;
	int rc = depth > DEPTH_MAX ? err_set(err, ELOOP, "nested too deep")
				   : image_load_blob(&l->ld, desc, &d.text, &d.len, err);

	if (rc >= 0)
		rc = image_doc_kind(&d, &doc, &kind, err);
	if (rc >= 0)
		rc = image_doc_descriptors(doc, kind, &list, err);
	image_document_free(&d);
	if (rc < 0)
		return rc;
	for (i = 0; i < list.n; i++)
		strv_add(&l->named, digest_hex(&list.v[i].digest));
	if (kind != IMAGE_DOC_INDEX)
		return 0;
	json_array_foreach(json_object_get(doc, "manifests"), i, child)
	{
		rc = mark(l, child, depth + 1, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int mark_all(struct layout *l, struct err *err)
{
	const json_t *desc;
	size_t i;

	json_array_foreach(json_object_get(l->index, "manifests"), i, desc)
	{
		struct digest d;
		const char *text = json_get_str(desc, "digest");
		int rc = text ? digest_parse(text, &d, err) : err_set(err, EINVAL, "no digest");

		if (rc >= 0) {
			strv_add(&l->named, digest_hex(&d));
			rc = mark(l, desc, 0, err);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The temporary files of image_archive, in case somebody still writes one. */
static bool is_old_tmp(int dir, const char *name)
{
	struct stat st;

	return str_starts(name, ".tmp-") && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtime + TMP_KEEP_S < time(NULL);
}

static void sweep_dir(struct layout *l, const char *path, bool has_blobs)
{
	struct err ignored = { 0 };
	/* Whose directory it is could make "blobs" a symlink to somebody else's. */
	auto_fd int dir = path_open_beneath(l->fd, path, O_RDONLY | O_DIRECTORY, 0, &ignored);
	auto_strv struct strv names = { 0 };

	if (dir < 0 || fs_list(dir, ".", &names, &ignored) < 0)
		return;
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.v[i];
		struct digest d;
		bool goes = is_old_tmp(dir, name);

		if (has_blobs && digest_parse_hex(name, &d) >= 0)
			goes = !strv_sorted_has(&l->named, name);
		if (goes)
			unlinkat(dir, name, 0);
	}
}

static void sweep(struct layout *l)
{
	struct err ignored = { 0 };

	if (flock(l->fd, LOCK_EX | LOCK_NB) < 0 || mark_all(l, &ignored) < 0)
		return;
	strv_sort(&l->named);
	fault_point("image.depot.sweep");
	sweep_dir(l, ".", false);
	sweep_dir(l, "blobs/sha256", true);
}

static int write_layout(struct layout *l, struct err *err)
{
	int rc = make_index(l, err);

	if (rc >= 0)
		rc = image_archive_new(l->fd, true, 0, &l->out, err);
	for (size_t i = 0; rc >= 0 && i < l->w->n; i++)
		rc = put_layer(l, &l->w->desc[i], err);
	if (rc >= 0)
		rc = put_text(l, l->w->text, err);
	if (rc >= 0)
		rc = put_text(l, l->w->manifest->text, err);
	if (rc >= 0)
		rc = put_index(l, err);
	if (rc >= 0)
		sweep(l);
	return rc < 0 ? rc : 0;
}

static int open_for_writing(struct layout *l, const struct image_pull_opts *o, struct err *err)
{
	const char *dir = l->d->dir;

	l->fd = make_dirs(open(*dir == '/' ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir,
			  err);
	if (l->fd < 0)
		return l->fd;
	l->ld = (struct image_load){ .rt = l->rt, .dir_fd = l->fd, .tar_fd = -1 };
	/* Only a lock: image_archive goes its own way, past no symlink. */
	l->lock_fd = make_dirs(fd_dup(l->fd), "blobs", err);
	return l->lock_fd < 0 ? l->lock_fd : wait_lock(l->lock_fd, LOCK_EX, o->interrupted, err);
}

int image_layout_write(struct runtime *rt, const struct image_depot *d,
		       const struct image_layout_new *w, const struct image_pull_opts *o,
		       struct err *err)
{
	cleanup(layout_free) struct layout l = {
		.rt = rt, .d = d, .w = w, .fd = -1, .lock_fd = -1
	};
	int rc = open_for_writing(&l, o, err);

	return rc < 0 ? err_ctx(err, "%s", d->dir) : write_layout(&l, err);
}
