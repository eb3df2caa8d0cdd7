/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docker save: images to a docker-archive, an oci-archive or an OCI layout. A layer is streamed
 * from its directory again and must have the DiffID it had; a foreign one comes from its blob.
 * Needs libcrypto.
 */
#include "save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>
#include <shale/layer.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

enum { COPY_BYTES = 256 << 10, TICK_NS = 100000000 };

/* --- layers --- */

/* Where a layer's bytes come from, what they hash to, and how many there are. */
struct source {
	int blob_fd;      /* -1: from the directory */
	bool is_unpacked; /* on the way */
	struct digest digest;
	uint64_t size;
	const char *media_type; /* NULL: OCI has none for it */
};

static void source_close(struct source *src)
{
	fd_close(&src->blob_fd);
}

static int open_blob(struct save *s, const struct digest *d, struct source *ret, struct err *err)
{
	struct stat st;
	int rc = 0;

	ret->digest = *d;
	if (ret->blob_fd < 0)
		rc = store_blob_open(s->rt->store, d, &ret->blob_fd, err);
	if (rc < 0)
		return rc;
	if (fstat(ret->blob_fd, &st) < 0)
		return err_sys(err, "stat blob");
	ret->size = (uint64_t)st.st_size;
	return image_blob_codec(ret->blob_fd, 0, &ret->media_type, err);
}

/* Uncompressed, or as it came where our stream would be another. */
static int open_plain(struct save *s, const struct image_layer *l, struct source *ret,
		      struct err *err)
{
	struct digest origin;
	int rc = image_layer_origin(s->rt, l, &origin, &ret->blob_fd, err);

	if (rc > 0 && !s->o->pack.is_asked)
		return open_blob(s, &origin, ret, err);
	ret->is_unpacked = rc > 0;
	return rc < 0 ? rc : digest_parse(l->diff_id, &ret->digest, err);
}

/* An uncompressed layer is not kept beside its directory: it is written again. */
static bool is_plain(const struct image_descriptor *kept, const struct image_layer *l)
{
	return str_eq(digest_str(&kept->digest), l->diff_id);
}

static int open_kept(struct save *s, const struct image_layer *l,
		     const struct image_descriptor *kept, struct source *ret, struct err *err)
{
	struct digest origin;
	int rc = 0;

	if (!is_plain(kept, l) || store_blob_exists(s->rt->store, &kept->digest))
		return open_blob(s, &kept->digest, ret, err);
	rc = image_layer_origin(s->rt, l, &origin, &ret->blob_fd, err);
	ret->is_unpacked = rc > 0;
	ret->digest = kept->digest;
	return rc;
}

static int source_open(struct save *s, const struct image_layer *l,
		       const struct image_descriptor *kept, struct source *ret, struct err *err)
{
	struct image_layer_blob form = { 0 };
	int rc;

	*ret = (struct source){ .blob_fd = -1, .size = l->tar_bytes, .media_type = OCI_LAYER };
	if (kept) {
		rc = open_kept(s, l, kept, ret, err);
		ret->media_type = kept->media_type;
	} else if (!s->o->pack.is_asked || s->o->pack.codec == LAYER_PLAIN) {
		rc = open_plain(s, l, ret, err);
	} else {
		rc = image_layer_form(s->rt, l, &s->o->pack, &form, err);
		if (rc >= 0)
			rc = open_blob(s, &form.digest, ret, err);
	}
	return rc < 0 ? rc : 0;
}

static int copy_blob(int fd, struct sink *to, struct digest *ret, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(COPY_BYTES);
	ssize_t n;
	int rc;

	while ((n = fd_read_full(fd, buf, COPY_BYTES, err)) > 0) {
		hash_add(h, buf, (size_t)n);
		rc = to->write(to, buf, (size_t)n, err);
		if (rc < 0)
			return rc;
	}
	if (n < 0)
		return (int)n;
	hash_end(h, ret);
	return 0;
}

static int put_blob(const struct source *src, struct sink *to, struct err *err)
{
	struct digest have;
	int rc = copy_blob(src->blob_fd, to, &have, err);

	if (rc >= 0 && !digest_eq(&have, &src->digest))
		rc = err_set(err, EBADMSG, "its content is %s now: it was changed on disk",
			     digest_str(&have));
	return rc;
}

/* Where a layer goes, with an eye on how much of it has. */
struct counted {
	struct sink sink, *to;
	const struct save *s;
	const char *id;
	uint64_t done, total;
	int64_t told_ns;
};

static int write_counted(struct sink *sink, const void *p, size_t n, struct err *err)
{
	struct counted *c = (struct counted *)sink;
	int64_t now = proc_mono_ns();

	c->done += n;
	if (now - c->told_ns >= TICK_NS) {
		c->told_ns = now;
		image_watch_tell(&c->s->o->watch, IMAGE_TRANSFER_PROGRESS, c->id, c->done, c->total,
				 NULL);
	}
	return c->to->write(c->to, p, n, err);
}

static int put_layer(struct save *s, const struct image_layer *l, struct source *src,
		     const char *name, struct err *err)
{
	struct counted c = { .sink.write = write_counted,
			     .to = image_archive_sink(s->out),
			     .s = s,
			     .id = l->diff_id,
			     .total = src->size };
	int rc = image_archive_begin(s->out, name, src->size, err);

	if (rc <= 0)
		return rc;
	image_watch_tell(&s->o->watch, IMAGE_TRANSFER_BEGIN, l->diff_id, 0, src->size, NULL);
	if (src->blob_fd >= 0 && !src->is_unpacked)
		rc = put_blob(src, &c.sink, err);
	else
		rc = image_layer_stream(s->rt, l, src->blob_fd, &c.sink, err);
	if (rc >= 0)
		rc = image_archive_end(s->out, err);
	if (rc >= 0)
		image_watch_tell(&s->o->watch, IMAGE_TRANSFER_DONE, l->diff_id, c.done, src->size,
				 "Saved");
	return rc < 0 ? err_ctx(err, "layer %.19s", l->diff_id) : 0;
}

/* --- docker-archive --- */

static const char *hex_of(const char *digest)
{
	return digest + strlen("sha256:");
}

static int docker_layers(struct save *s, const struct saved *v, json_t *names, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < v->n; i++) {
		cleanup(source_close) struct source src = { .blob_fd = -1 };
		auto_free char *name = mem_fmt("%s/layer.tar", hex_of(v->layers[i].diff_id));

		rc = source_open(s, &v->layers[i], NULL, &src, err);
		if (rc >= 0)
			rc = put_layer(s, &v->layers[i], &src, name, err);
		json_array_append_new(names, json_string(name));
	}
	return rc;
}

/* The file "repositories" of old readers: {"node":{"latest":"<layer>"}}. */
static void docker_repositories(const struct saved *v, json_t *repos)
{
	if (!v->n)
		return;
	for (size_t i = 0; i < v->tags.n; i++) {
		auto_free char *repo = NULL, *tag = NULL;
		json_t *o;

		image_ref_split(v->tags.v[i], &repo, &tag);
		o = json_object_get(repos, repo);
		if (!o) {
			o = json_object();
			json_object_set_new(repos, repo, o);
		}
		json_object_set_new(o, tag, json_string(hex_of(v->layers[v->n - 1].diff_id)));
	}
}

static int docker_image(struct save *s, const struct saved *v, json_t *manifest, json_t *repos,
			struct err *err)
{
	auto_free char *config = mem_fmt("%s.json", hex_of(v->img->id));
	json_t *o = json_object(), *tags = v->tags.n ? json_array() : json_null(),
	       *names = json_array();
	int rc;

	json_array_append_new(manifest, o);
	json_object_set_new(o, "Config", json_string(config));
	json_object_set_new(o, "RepoTags", tags);
	json_object_set_new(o, "Layers", names);
	for (size_t i = 0; i < v->tags.n; i++) {
		auto_free char *name = image_ref_familiar(v->tags.v[i]);

		json_array_append_new(tags, json_string(name));
	}
	docker_repositories(v, repos);
	rc = docker_layers(s, v, names, err);
	return rc < 0 ? rc
		      : image_archive_add(s->out, config, v->img->config, strlen(v->img->config),
					  err);
}

static int add_json(struct save *s, const char *name, const json_t *j, struct err *err)
{
	auto_free char *text = json_text(j);

	return image_archive_add(s->out, name, text, strlen(text), err);
}

static int save_docker(struct save *s, struct err *err)
{
	auto_json json_t *manifest = json_array(), *repos = json_object();
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < s->n; i++)
		rc = docker_image(s, &s->v[i], manifest, repos, err);
	if (rc >= 0)
		rc = add_json(s, "manifest.json", manifest, err);
	if (rc >= 0 && json_object_size(repos))
		rc = add_json(s, "repositories", repos, err);
	return rc;
}

/* --- OCI image layout --- */

static char *blob_name(const struct digest *d)
{
	return mem_fmt("blobs/sha256/%s", digest_hex(d));
}

static json_t *descriptor(const char *media_type, const struct digest *d, uint64_t size)
{
	json_t *o = json_object();

	json_object_set_new(o, "mediaType", json_string(media_type));
	json_object_set_new(o, "digest", json_string(digest_str(d)));
	json_object_set_new(o, "size", json_integer((json_int_t)size));
	return o;
}

static int oci_text(struct save *s, const char *media_type, const char *text, json_t **ret,
		    struct err *err)
{
	auto_free char *name = NULL;
	struct digest d;
	int rc;

	hash_bytes(text, strlen(text), &d);
	name = blob_name(&d);
	rc = image_archive_add(s->out, name, text, strlen(text), err);
	if (rc >= 0)
		*ret = descriptor(media_type, &d, strlen(text));
	return rc;
}

static int oci_layers(struct save *s, const struct saved *v, const struct image_manifest *kept,
		      json_t *list, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < v->n; i++) {
		cleanup(source_close) struct source src = { .blob_fd = -1 };
		auto_free char *name = NULL;

		rc = source_open(s, &v->layers[i], kept ? &kept->layers[i] : NULL, &src, err);
		if (rc < 0)
			return rc;
		if (!src.media_type)
			return err_set(
				err, ENOTSUP,
				"layer %.19s is compressed by xz or bzip2, which OCI has no type for: save with --compression, or as docker-archive",
				v->layers[i].diff_id);
		name = blob_name(&src.digest);
		rc = put_layer(s, &v->layers[i], &src, name, err);
		json_array_append_new(list, descriptor(src.media_type, &src.digest, src.size));
	}
	return rc;
}

static int oci_written(struct save *s, const struct saved *v, json_t **ret, struct err *err)
{
	auto_json json_t *o = json_object();
	json_t *config = NULL, *list = json_array();
	auto_free char *text = NULL;
	int rc;

	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_object_set_new(o, "mediaType", json_string(OCI_MANIFEST));
	rc = oci_text(s, OCI_CONFIG, v->img->config, &config, err);
	if (rc >= 0)
		rc = oci_layers(s, v, NULL, list, err);
	json_object_set_new(o, "config", config);
	json_object_set_new(o, "layers", list);
	if (rc < 0)
		return rc;
	image_annotate(o, s->o->pack.annotations);
	text = json_text(o);
	return oci_text(s, OCI_MANIFEST, text, ret, err);
}

/* What of the manifest is not here can be made. 1, or 0. */
static int is_whole(struct save *s, const struct saved *v, const struct image_manifest *m,
		    struct err *err)
{
	int rc = 1;

	for (size_t i = 0; rc > 0 && i < v->n; i++)
		if (!is_plain(&m->layers[i], &v->layers[i]))
			rc = image_layer_blob_find(s->rt, &m->layers[i].digest,
						   v->layers[i].diff_id, err);
	return rc;
}

/* The image as it came: the same blobs, and the manifest byte for byte. 1, or 0. */
static int oci_kept(struct save *s, const struct saved *v, json_t **ret, struct err *err)
{
	auto_json json_t *config = NULL, *list = json_array();
	auto_free char *doc = NULL;
	cleanup(image_kept_free) struct image_kept k = { .may_miss = true };
	int rc = 0;

	if (image_pack_is_other(&s->o->pack))
		return 0;
	if (v->tags.n)
		rc = image_tag_doc_get(s->rt, v->tags.v[0], v->img->id, &doc, err);
	k.rather = doc;
	if (rc >= 0)
		rc = image_manifest_kept(s->rt, v->img->id, v->layers, v->n, &k, err);
	/* Not all readers of a layout take Docker's own types in it. */
	if (rc > 0)
		rc = str_eq(k.doc.media_type, OCI_MANIFEST) ? is_whole(s, v, &k.manifest, err) : 0;
	if (rc <= 0)
		return rc;
	rc = oci_text(s, OCI_CONFIG, v->img->config, &config, err);
	if (rc >= 0)
		rc = oci_layers(s, v, &k.manifest, list, err);
	if (rc >= 0)
		rc = oci_text(s, OCI_MANIFEST, k.doc.text, ret, err);
	return rc < 0 ? rc : 1;
}

/* --- an index that a name stands for, with all that it names --- */

static int put_index_blob(struct save *s, const char *digest, uint64_t *ret_size, struct err *err)
{
	auto_free char *name = mem_fmt("blobs/sha256/%s", hex_of(digest));
	struct source src = { .blob_fd = -1 };
	struct stat st;
	int rc = digest_parse(digest, &src.digest, err);

	if (rc >= 0)
		rc = store_blob_open(s->rt->store, &src.digest, &src.blob_fd, err);
	if (rc >= 0 && fstat(src.blob_fd, &st) < 0)
		rc = err_sys(err, "stat blob");
	if (rc >= 0) {
		*ret_size = (uint64_t)st.st_size;
		rc = image_archive_begin(s->out, name, *ret_size, err);
	}
	if (rc > 0) {
		rc = put_blob(&src, image_archive_sink(s->out), err);
		if (rc >= 0)
			rc = image_archive_end(s->out, err);
	}
	source_close(&src);
	return rc < 0 ? err_ctx(err, "blob %.19s", digest) : 0;
}

/* 1, or 0 where the names stand for the image alone. */
static int oci_index(struct save *s, const struct saved *v, json_t **ret, struct err *err)
{
	auto_free char *index = NULL;
	auto_strv struct strv blobs = { 0 };
	uint64_t size = 0, index_size = 0;
	struct digest d;
	int rc = 0;

	if (!s->o->platform && !image_pack_is_other(&s->o->pack))
		rc = image_tag_doc_get(s->rt, v->tags.n ? v->tags.v[0] : v->img->id, v->img->id,
				       &index, err);
	if (rc > 0)
		rc = image_index_has(s->rt, index, err);
	if (rc <= 0)
		return rc;
	rc = image_index_blobs(s->rt, index, &blobs, err);
	for (size_t i = 0; rc >= 0 && i < blobs.n; i++) {
		rc = put_index_blob(s, blobs.v[i], &size, err);
		if (!strcmp(blobs.v[i], index))
			index_size = size;
	}
	if (rc >= 0)
		rc = digest_parse(index, &d, err);
	if (rc < 0)
		return rc;
	*ret = descriptor(OCI_INDEX, &d, index_size);
	return 1;
}

static int oci_manifest(struct save *s, const struct saved *v, json_t **ret, struct err *err)
{
	int rc = oci_index(s, v, ret, err);

	if (rc == 0)
		rc = oci_kept(s, v, ret, err);
	return rc ? rc : oci_written(s, v, ret, err);
}

/* One entry of index.json for each name: containerd and Docker read the first annotation, skopeo
 * the second. */
static void oci_entries(const struct saved *v, const json_t *desc, json_t *list)
{
	for (size_t i = 0; i < (v->tags.n ? v->tags.n : 1); i++) {
		json_t *o = json_deep_copy(desc), *p = json_object(), *a;
		auto_free char *repo = NULL, *tag = NULL;

		json_set_str(p, "architecture", v->config->architecture);
		json_set_str(p, "os", v->config->os);
		json_set_str(p, "variant", v->config->variant);
		if (str_eq(json_get_str(desc, "mediaType"), OCI_MANIFEST))
			json_object_set(o, "platform", p);
		json_decref(p);
		json_array_append_new(list, o);
		if (!v->tags.n)
			continue;
		image_ref_split(v->tags.v[i], &repo, &tag);
		a = json_object();
		json_object_set_new(a, "io.containerd.image.name", json_string(v->tags.v[i]));
		json_object_set_new(a, "org.opencontainers.image.ref.name", json_string(tag));
		json_object_set_new(o, "annotations", a);
	}
}

static int save_oci(struct save *s, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	auto_json json_t *index = json_object();
	json_t *list = json_array();
	int rc;

	json_object_set_new(index, "schemaVersion", json_integer(2));
	json_object_set_new(index, "mediaType", json_string(OCI_INDEX));
	json_object_set_new(index, "manifests", list);
	rc = image_archive_add(s->out, "oci-layout", layout, strlen(layout), err);
	for (size_t i = 0; rc >= 0 && i < s->n; i++) {
		auto_json json_t *desc = NULL;

		rc = oci_manifest(s, &s->v[i], &desc, err);
		if (rc < 0)
			break;
		oci_entries(&s->v[i], desc, list);
		if (s->o->ret_digest)
			snprintf(s->o->ret_digest, DIGEST_STR_MAX, "%s",
				 json_get_str(desc, "digest"));
	}
	return rc < 0 ? rc : add_json(s, "index.json", index, err);
}

int image_save(struct runtime *rt, const struct image_save_opts *o, const struct strv *names,
	       int out_fd, struct err *err)
{
	cleanup(image_save_free) struct save s = { .rt = rt, .o = o };
	auto_fd int lease = -1; /* compressed layers are blobs before they have rows */
	int rc = 0;

	if (!names->n)
		return err_set(err, EINVAL, "no image to save");
	if (o->pack.is_asked)
		lease = image_lease(rt, err);
	if (o->pack.is_asked && lease < 0)
		return lease;
	for (size_t i = 0; rc >= 0 && i < names->n; i++)
		rc = image_save_add(&s, names->v[i], err);
	if (rc >= 0)
		rc = image_archive_new(out_fd, o->format == IMAGE_OCI_DIR, s.v[0].img->created_s,
				       &s.out, err);
	if (rc >= 0)
		rc = o->format == IMAGE_DOCKER_ARCHIVE ? save_docker(&s, err) : save_oci(&s, err);
	if (rc >= 0)
		rc = image_archive_finish(s.out, err);
	for (size_t i = 0; rc >= 0 && i < s.n; i++)
		image_event(rt, "save", s.v[i].img->id, NULL);
	image_save_drop(&s);
	return rc;
}
