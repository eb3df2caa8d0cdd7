/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest lists that are being made: a row each, with descriptors of images that are here or in a
 * registry. A push sends what the list's repository has not got: from the store, or from the
 * registry that has it. Needs libcrypto.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/registry.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define OCI_INDEX   "application/vnd.oci.image.index.v1+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"

enum { LIST_MAX = 1000 };

/* An image's manifest, and what it is of. */
struct member {
	struct image_document doc;
	json_t *platform;
};

static void member_free(struct member *m)
{
	image_document_free(&m->doc);
	json_decref(m->platform);
}

/* --- rows: [{"ref":…,"mediaType":…,"digest":…,"size":…,"platform":{…}}] --- */

static int list_load(struct runtime *rt, const char *name, json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	int rc = db_get_str(rt->db, "SELECT doc FROM manifest_lists WHERE name=?1",
			    DB_ARGS(DB_T(name)), &text, err);

	if (rc <= 0)
		return rc;
	rc = json_parse(text, strlen(text), ret, err);
	return rc < 0 ? rc : 1;
}

static int list_must(struct runtime *rt, const char *name, json_t **ret, struct err *err)
{
	int rc = list_load(rt, name, ret, err);

	return rc == 0 ? err_set(err, ENOENT, "no manifest list '%s'", name) : rc;
}

/* In the transaction in which it was read: several may be at work on one list. */
static int list_store(struct runtime *rt, const char *name, const json_t *list, struct err *err)
{
	auto_free char *text = json_text(list);

	return db_run(rt->db, "INSERT OR REPLACE INTO manifest_lists(name,doc) VALUES(?1,?2)",
		      DB_ARGS(DB_T(name), DB_T(text)), err);
}

int image_list_remove(struct runtime *rt, const char *list, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	bool found;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err);

	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM manifest_lists WHERE name=?1", DB_ARGS(DB_T(list)),
			    err);
	if (rc < 0)
		return rc;
	found = rc > 0;
	rc = db_tx_commit(&tx, err);
	return rc < 0 || found ? rc : err_set(err, ENOENT, "no manifest list '%s'", list);
}

static json_t *entry_of(json_t *list, const char *ref)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e) if (str_eq(json_get_str(e, "ref"), ref)) return e;
	return NULL;
}

/* --- members --- */

static json_t *platform_of(const char *config, size_t len, struct err *err)
{
	static const char *const keys[] = { "architecture", "os", "variant", "os.version" };
	auto_json json_t *c = NULL;
	json_t *p;

	if (json_parse(config, len, &c, err) < 0)
		return NULL;
	p = json_object();
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_set_str(p, keys[i], json_get_str(c, keys[i]));
	if (json_is_array(json_object_get(c, "os.features")))
		json_object_set(p, "os.features", json_object_get(c, "os.features"));
	return p;
}

/* An image of that very name that is here: 1, or 0. */
static int find_local(struct runtime *rt, const char *ref, struct member *ret, struct err *err)
{
	auto_image struct image *img = NULL;
	auto_free char *id = NULL;
	struct err why = { 0 };
	int rc = store_tag_get(rt->store, ref, &id, &why);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		*err = why;
		return rc;
	}
	rc = image_get(rt, id, &img, err);
	if (rc >= 0)
		rc = image_manifest_local(rt, ref, img, &(struct image_pack){ 0 }, &ret->doc, err);
	if (rc < 0)
		return rc;
	ret->platform = platform_of(img->config, strlen(img->config), err);
	return ret->platform ? 1 : -err->code;
}

static int read_remote(struct image_remote *r, struct member *ret, struct err *err)
{
	struct image_manifest m = { 0 };
	auto_json json_t *doc = NULL;
	auto_free char *config = NULL;
	enum image_doc kind;
	size_t len = 0;
	int rc = image_remote_manifest(r, r->digest ? r->digest : r->tag, &ret->doc, err);

	if (rc >= 0)
		rc = image_doc_kind(&ret->doc, &doc, &kind, err);
	if (rc >= 0 && kind == IMAGE_DOC_INDEX) {
		err_set(err, EINVAL, "it is an index itself");
		return err_hint(err, "name the images in it by NAME@DIGEST (manifest inspect)");
	}
	if (rc >= 0)
		rc = image_manifest_parse(doc, &m, err);
	if (rc >= 0)
		rc = image_remote_blob(r, &m.config.digest, m.config.size, &config, &len, err);
	if (rc >= 0 && !(ret->platform = platform_of(config, len, err)))
		rc = -err->code;
	image_manifest_free(&m);
	return rc < 0 ? rc : 0;
}

static int find_member(struct runtime *rt, const char *ref, const struct image_pull_opts *o,
		       struct member *ret, struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	int rc = find_local(rt, ref, ret, err);

	if (rc == 0) {
		image_remote_name(ref, &r);
		rc = image_remote_open(&o->access, false, o->interrupted, &r, err);
		if (rc >= 0)
			rc = read_remote(&r, ret, err);
	}
	return rc < 0 ? err_ctx(err, "%s", ref) : 0;
}

static void fill_entry(json_t *ret, const char *ref, const struct member *m)
{
	json_object_set_new(ret, "ref", json_from_str(ref));
	json_object_set_new(ret, "mediaType", json_from_str(m->doc.media_type));
	json_object_set_new(ret, "digest", json_string(digest_str(&m->doc.digest)));
	json_object_set_new(ret, "size", json_integer((json_int_t)m->doc.len));
	json_object_set(ret, "platform", m->platform);
}

static int make_entry(struct runtime *rt, const char *ref, const struct image_pull_opts *o,
		      json_t *ret, struct err *err)
{
	cleanup(member_free) struct member m = { 0 };
	int rc = find_member(rt, ref, o, &m, err);

	if (rc < 0)
		return rc;
	fill_entry(ret, ref, &m);
	return 0;
}

static int add_entries(struct runtime *rt, const char *list, const json_t *fresh, bool amend,
		       struct err *err)
{
	auto_json json_t *l = NULL;
	json_t *e;
	size_t i;
	int rc = list_load(rt, list, &l, err);

	if (rc > 0 && !amend) {
		err_set(err, EEXIST, "there is a manifest list '%s' already", list);
		return err_hint(err, "add to it with --amend");
	}
	if (rc < 0)
		return rc;
	if (!l)
		l = json_array();
	json_array_foreach(fresh, i, e)
	{
		json_t *old = entry_of(l, json_get_str(e, "ref"));

		if (old)
			json_object_update(old, e);
		else
			json_array_append(l, e);
	}
	if (json_array_size(l) > LIST_MAX)
		return err_set(err, E2BIG, "a list of more than %d images", LIST_MAX);
	return list_store(rt, list, l, err);
}

int image_list_create(struct runtime *rt, const char *list, const struct strv *refs, bool amend,
		      const struct image_pull_opts *o, struct err *err)
{
	auto_fd int lease = image_lease(rt, err);
	auto_json json_t *fresh = json_array();
	auto_db_tx struct db *tx = NULL;
	int rc = lease < 0 ? lease : 0;

	for (size_t i = 0; rc >= 0 && i < refs->n; i++) {
		json_t *e = json_object();

		json_array_append_new(fresh, e);
		rc = make_entry(rt, refs->v[i], o, e, err);
	}
	if (rc >= 0)
		rc = db_tx_begin(rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = add_entries(rt, list, fresh, amend, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_list_annotate(struct runtime *rt, const char *list, const char *ref,
			const struct image_list_platform *p, struct err *err)
{
	const struct {
		const char *key, *value;
	} set[] = { { "architecture", p->architecture },
		    { "os", p->os },
		    { "variant", p->variant },
		    { "os.version", p->os_version } };
	auto_json json_t *l = NULL;
	auto_db_tx struct db *tx = NULL;
	json_t *e, *platform;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err);

	if (rc >= 0)
		rc = list_must(rt, list, &l, err);
	if (rc < 0)
		return rc;
	e = entry_of(l, ref);
	platform = json_object_get(e, "platform");
	if (!platform)
		return err_set(err, ENOENT, "the manifest list '%s' has no %s", list, ref);
	for (size_t i = 0; i < ARRAY_LEN(set); i++)
		json_set_str(platform, set[i].key, set[i].value);
	if (p->os_features && p->os_features->n)
		json_set_strv(platform, "os.features", p->os_features);
	rc = list_store(rt, list, l, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* --- the document --- */

/* Docker's type where all in it is Docker's: the two are not mixed. */
static json_t *make_index(const json_t *list)
{
	static const char *const order[] = { "mediaType", "digest",      "size",
					     "platform",  "annotations", "artifactType" };
	json_t *o = json_object(), *all = json_array();
	const json_t *e;
	bool is_docker = true;
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *type = json_get_str(e, "mediaType");
		json_t *d = json_object();

		is_docker &= type && str_starts(type, "application/vnd.docker.");
		for (size_t k = 0; k < ARRAY_LEN(order); k++)
			json_object_set(d, order[k], json_object_get(e, order[k]));
		json_array_append_new(all, d);
	}
	json_object_set_new(o, "schemaVersion", json_integer(2));
	json_object_set_new(o, "mediaType", json_string(is_docker ? DOCKER_LIST : OCI_INDEX));
	json_object_set_new(o, "manifests", all);
	return o;
}

/* --- push --- */

static int send_parts(struct image_send *s, const struct image_document *d, struct err *err)
{
	cleanup(image_descriptors_free) struct image_descriptors parts = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_doc_kind(d, &doc, &kind, err);

	if (rc >= 0 && kind == IMAGE_DOC_INDEX)
		rc = err_set(err, ENOTSUP, "an index within an index");
	if (rc >= 0)
		rc = image_doc_descriptors(doc, kind, &parts, err);
	for (size_t i = 0; rc >= 0 && i < parts.n; i++) {
		char id[13];

		snprintf(id, sizeof(id), "%.12s", digest_hex(&parts.v[i].digest));
		rc = image_send_add(s, &parts.v[i].digest, parts.v[i].size, i ? id : "", err);
	}
	if (rc >= 0)
		rc = image_send_wait(s, err);
	return rc < 0 ? rc : image_send_manifest(s, d, NULL, err);
}

static int send_entry(struct image_send *s, const char *ref, const char *digest, struct err *err)
{
	auto_image_remote struct image_remote from = { 0 };
	cleanup(member_free) struct member m = { 0 };
	int rc = find_local(s->rt, ref, &m, err);

	if (rc < 0)
		return rc;
	if (rc > 0 && str_eq(digest_str(&m.doc.digest), digest))
		return send_parts(s, &m.doc, err);
	image_remote_name(ref, &from);
	if (str_eq(from.repo, s->to->repo))
		return 0; /* it is where it has to be */
	member_free(&m);
	m = (struct member){ 0 };
	rc = image_remote_open(&s->o->access, false, s->o->interrupted, &from, err);
	if (rc >= 0)
		rc = image_remote_manifest(&from, digest, &m.doc, err);
	if (rc < 0)
		return rc;
	s->from = &from;
	rc = send_parts(s, &m.doc, err);
	s->from = NULL;
	return rc;
}

static void say(const struct image_pull_opts *o, char *text)
{
	struct image_transfer_event e = { .kind = IMAGE_TRANSFER_TEXT, .text = text };

	if (o->event)
		o->event(&e, o->arg);
	free(text);
}

static void index_document(const json_t *list, struct image_document *ret)
{
	auto_json json_t *index = make_index(list);

	ret->text = json_text(index);
	ret->len = strlen(ret->text);
	ret->media_type = mem_str(json_get_str(index, "mediaType"));
	hash_bytes(ret->text, ret->len, &ret->digest);
}

/* The members, and then the document that names them. */
static int send_list(struct image_send *s, const json_t *list, const struct image_document *d,
		     struct err *err)
{
	const json_t *e;
	size_t i;
	int rc = 0;

	json_array_foreach(list, i, e)
	{
		const char *ref = json_get_str(e, "ref"), *digest = json_get_str(e, "digest");

		rc = send_entry(s, ref, digest, err);
		if (rc < 0)
			return err_ctx(err, "%s", ref);
		say(s->o, mem_fmt("Pushed ref %s@%s with digest: %s", s->to->repo, digest, digest));
	}
	return image_send_manifest(s, d, s->to->tag, err);
}

int image_list_push(struct runtime *rt, const char *list, const struct image_pull_opts *o,
		    char ret_digest[DIGEST_STR_MAX], struct err *err)
{
	auto_fd int lease = image_lease(rt, err);
	auto_image_remote struct image_remote to = { 0 };
	cleanup(image_send_free) struct image_send s = { .rt = rt, .o = o, .to = &to };
	struct image_document doc = { 0 };
	auto_json json_t *l = NULL;
	int rc = lease < 0 ? lease : list_must(rt, list, &l, err);

	if (rc < 0)
		return rc;
	image_remote_name(list, &to);
	rc = image_remote_open(&o->access, true, o->interrupted, &to, err);
	if (rc >= 0) {
		index_document(l, &doc);
		image_send_begin(&s);
		rc = send_list(&s, l, &doc, err);
	}
	if (rc >= 0)
		digest_format(&doc.digest, ret_digest);
	image_document_free(&doc);
	return rc < 0 ? err_ctx(err, "push manifest list %s", list) : 0;
}

/* --- lists of what registries have --- */

/* What the name means there, as it is. */
static int read_named(const char *ref, const struct image_pull_opts *o, struct image_remote *r,
		      struct image_document *ret, struct err *err)
{
	int rc;

	image_remote_name(ref, r);
	rc = image_remote_open(&o->access, false, o->interrupted, r, err);
	return rc < 0 ? rc : image_remote_manifest(r, r->digest ? r->digest : r->tag, ret, err);
}

static bool has_digest(const json_t *list, const char *digest)
{
	const json_t *e;
	size_t i;

	json_array_foreach(list, i, e) if (str_eq(json_get_str(e, "digest"), digest)) return true;
	return false;
}

static int append(json_t *list, json_t *entry, struct err *err)
{
	if (has_digest(list, json_get_str(entry, "digest"))) {
		json_decref(entry);
		return 0;
	}
	json_array_append_new(list, entry);
	if (json_array_size(list) > LIST_MAX)
		return err_set(err, E2BIG, "a list of more than %d images", LIST_MAX);
	return 0;
}

/* What an index has in it, each by its digest. */
static int append_members(const struct image_remote *r, const json_t *index, json_t *list,
			  struct err *err)
{
	const json_t *e;
	size_t i;
	int rc = 0;

	json_array_foreach(json_object_get(index, "manifests"), i, e)
	{
		const char *digest = json_get_str(e, "digest");
		auto_free char *ref = mem_fmt("%s@%s", r->repo, digest ? digest : "");
		struct digest d;
		json_t *own;

		rc = digest_parse(digest ? digest : "", &d, err);
		if (rc < 0)
			break;
		own = json_deep_copy(e);
		json_object_set_new(own, "ref", json_from_str(ref));
		rc = append(list, own, err);
		if (rc < 0)
			break;
	}
	return rc;
}

/* whole (may be NULL) becomes the source's document if that is an index. */
static int append_source(const char *ref, const struct image_pull_opts *o, json_t *list,
			 struct image_document *whole, struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	cleanup(member_free) struct member m = { 0 };
	auto_json json_t *doc = NULL;
	auto_free char *by_digest = NULL;
	enum image_doc kind = IMAGE_DOC_OTHER;
	json_t *e;
	int rc;

	rc = read_named(ref, o, &r, &m.doc, err);
	if (rc >= 0)
		rc = image_doc_kind(&m.doc, &doc, &kind, err);
	if (rc >= 0 && kind == IMAGE_DOC_INDEX) {
		rc = append_members(&r, doc, list, err);
		if (rc >= 0 && whole) {
			*whole = m.doc;
			m.doc = (struct image_document){ 0 };
		}
		return rc;
	}
	image_document_free(&m.doc);
	if (rc >= 0)
		rc = read_remote(&r, &m, err);
	if (rc < 0)
		return rc;
	e = json_object();
	by_digest = mem_fmt("%s@%s", r.repo, digest_str(&m.doc.digest));
	fill_entry(e, by_digest, &m);
	return append(list, e, err);
}

static int send_combined(struct runtime *rt, const char *name, const json_t *list,
			 const struct image_document *d, const struct image_pull_opts *o,
			 struct err *err)
{
	auto_image_remote struct image_remote to = { 0 };
	cleanup(image_send_free) struct image_send s = { .rt = rt, .o = o, .to = &to };
	int rc;

	image_remote_name(name, &to);
	if (!to.tag)
		return err_set(err, EINVAL, "%s: a list goes by a tag", name);
	rc = image_remote_open(&o->access, true, o->interrupted, &to, err);
	if (rc < 0)
		return rc;
	image_send_begin(&s);
	return send_list(&s, list, d, err);
}

int image_combine(struct runtime *rt, const struct image_combine *w,
		  const struct image_pull_opts *o, char **ret, char ret_digest[DIGEST_STR_MAX],
		  struct err *err)
{
	auto_fd int lease = image_lease(rt, err);
	cleanup(image_document_free) struct image_document d = { 0 };
	auto_json json_t *list = json_array();
	bool is_copy = w->sources->n == 1 && !w->is_append;
	int rc = lease < 0 ? lease : 0;

	if (rc >= 0 && w->is_append)
		rc = append_source(w->names->v[0], o, list, NULL, err);
	for (size_t i = 0; rc >= 0 && i < w->sources->n; i++) {
		rc = append_source(w->sources->v[i], o, list, is_copy ? &d : NULL, err);
		if (rc < 0)
			err_ctx(err, "%s", w->sources->v[i]);
	}
	if (rc >= 0 && !d.text)
		index_document(list, &d);
	for (size_t i = 0; rc >= 0 && !w->is_dry && i < w->names->n; i++)
		rc = send_combined(rt, w->names->v[i], list, &d, o, err);
	if (rc < 0)
		return rc;
	digest_format(&d.digest, ret_digest);
	*ret = mem_strn(d.text, d.len);
	return 0;
}

int image_raw(const char *normalized, const struct image_pull_opts *o, char **ret, char **ret_type,
	      char ret_digest[DIGEST_STR_MAX], struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	cleanup(image_document_free) struct image_document d = { 0 };
	int rc = read_named(normalized, o, &r, &d, err);

	if (rc < 0)
		return rc;
	digest_format(&d.digest, ret_digest);
	*ret = mem_strn(d.text, d.len);
	*ret_type = take(d.media_type);
	return 0;
}

/* --- inspect --- */

/* As docker manifest inspect -v has one. */
static json_t *verbose_of(const char *repo, const struct member *m, const json_t *platform)
{
	auto_json json_t *doc = NULL;
	json_t *o = json_object(), *d = json_object();
	bool is_oci = str_starts(m->doc.media_type, "application/vnd.oci.");
	struct err ignored;

	json_object_set_new(o, "Ref", json_from_str(repo));
	json_object_set_new(o, "Descriptor", d);
	json_object_set_new(d, "mediaType", json_from_str(m->doc.media_type));
	json_object_set_new(d, "digest", json_string(digest_str(&m->doc.digest)));
	json_object_set_new(d, "size", json_integer((json_int_t)m->doc.len));
	if (platform)
		json_object_set_new(d, "platform", json_deep_copy(platform));
	if (json_parse(m->doc.text, m->doc.len, &doc, &ignored) >= 0)
		json_object_set(o, is_oci ? "OCIManifest" : "SchemaV2Manifest", doc);
	return o;
}

static int verbose_all(struct image_remote *r, const json_t *index, json_t **ret, struct err *err)
{
	json_t *list = json_array();
	const json_t *e;
	size_t i;
	int rc = 0;

	json_array_foreach(json_object_get(index, "manifests"), i, e)
	{
		const char *digest = json_get_str(e, "digest");
		auto_free char *ref = mem_fmt("%s@%s", r->repo, digest ? digest : "");
		cleanup(member_free) struct member m = { 0 };
		struct digest d;

		if (i >= LIST_MAX)
			rc = err_set(err, E2BIG, "an index of more than %d entries", LIST_MAX);
		if (rc >= 0)
			rc = digest ? digest_parse(digest, &d, err)
				    : err_set(err, EBADMSG, "an entry without digest");
		if (rc >= 0)
			rc = image_remote_manifest(r, digest, &m.doc, err);
		if (rc < 0)
			break;
		json_array_append_new(list, verbose_of(ref, &m, json_object_get(e, "platform")));
	}
	if (rc < 0)
		json_decref(list);
	else
		*ret = list;
	return rc < 0 ? rc : 0;
}

static int inspect_remote(const char *ref, bool verbose, const struct image_pull_opts *o,
			  json_t **ret, struct err *err)
{
	auto_image_remote struct image_remote r = { 0 };
	cleanup(member_free) struct member m = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind = IMAGE_DOC_OTHER;
	int rc;

	rc = read_named(ref, o, &r, &m.doc, err);
	if (rc >= 0)
		rc = image_doc_kind(&m.doc, &doc, &kind, err);
	if (rc < 0)
		return rc;
	if (verbose && kind == IMAGE_DOC_INDEX)
		return verbose_all(&r, doc, ret, err);
	if (!verbose) {
		*ret = take(doc);
		return 0;
	}
	image_document_free(&m.doc);
	rc = read_remote(&r, &m, err);
	if (rc >= 0)
		*ret = verbose_of(ref, &m, m.platform);
	return rc;
}

int image_list_inspect(struct runtime *rt, const struct image_list_query *q,
		       const struct image_pull_opts *o, json_t **ret, struct err *err)
{
	const char *list = q->list, *ref = q->ref;
	cleanup(member_free) struct member m = { 0 };
	auto_json json_t *l = NULL;
	const json_t *e;
	struct err why = { 0 };
	int rc = list ? list_must(rt, list, &l, err) : list_load(rt, ref, &l, err);

	if (rc < 0)
		return rc;
	e = list ? entry_of(l, ref) : NULL;
	if (list && !e)
		return err_set(err, ENOENT, "the manifest list '%s' has no %s", list, ref);
	if (l && !list && !q->is_verbose) {
		*ret = make_index(l);
		return 0;
	}
	rc = inspect_remote(ref, q->is_verbose, o, ret, &why);
	if (rc >= 0)
		return 0;
	/* What was not pushed yet is here alone. */
	rc = find_local(rt, ref, &m, err);
	if (rc == 0) {
		*err = why;
		return -why.code;
	}
	if (rc > 0 && q->is_verbose)
		*ret = verbose_of(ref, &m, m.platform);
	else if (rc > 0)
		rc = json_parse(m.doc.text, m.doc.len, ret, err);
	return rc < 0 ? rc : 0;
}
