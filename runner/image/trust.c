/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may be pulled from. A rule is for a repository or all beneath a prefix of it; the longest one
 * that fits counts, among equals the strictest. A signature is cosign's: a Sigstore bundle
 * (bundle.c), or, as cosign did before its third version, an image with the tag sha256-<hex>.sig
 * beside the signed one, each of whose layers is a JSON text and has the text's signature in an
 * annotation. cosign checks the signature, the type and the digest in the text; the repository in
 * it is checked here as well, so that what was signed for one is not offered in another. All that
 * comes from the registry is hostile. Needs libcrypto.
 */
#include "trust.h"

#include <errno.h>
#include <string.h>

#include <shale/base/digest.h>

enum { SIGNATURES_MAX = 32, PAYLOAD_MAX = 64 << 10, SIGNATURE_MAX = 4 << 10 };

static const char payload_type[] = "application/vnd.dev.cosign.simplesigning.v1+json";
static const char signature_key[] = "dev.cosignproject.cosign/signature";
static const char certificate_key[] = "dev.sigstore.cosign/certificate";
static const char claim_type[] = "cosign container image signature";

/* --- rules --- */

enum what { ACCEPT, SIGNED, REJECT }; /* from the mildest to the strictest */

struct rule {
	enum what what;
	size_t len; /* of the prefix */
	struct strv keys;
};

static void rule_free(struct rule *r)
{
	strv_free(&r->keys);
}

static bool fits(const char *repo, const char *prefix, size_t len)
{
	return strncmp(repo, prefix, len) == 0 && (!repo[len] || repo[len] == '/');
}

/* A prefix in Docker's short form would fit nothing, and be no rule at all. */
static int check_prefix(const char *word, size_t len, struct err *err)
{
	size_t host = strcspn(word, "/=");

	if (len && (memchr(word, '.', host) || memchr(word, ':', host) ||
		    (host == strlen("localhost") && str_starts(word, "localhost"))))
		return 0;
	return err_set(err, EINVAL,
		       "trust: %.200s does not begin with a registry (docker.io/library/node)",
		       word);
}

static void take_rule(struct rule *r, enum what what, size_t len, const char *key)
{
	if (len < r->len || (len == r->len && what < r->what))
		return;
	if (len > r->len || what > r->what)
		strv_free(&r->keys);
	r->len = len;
	r->what = what;
	if (key)
		strv_add(&r->keys, key);
}

static int add_rules(struct rule *r, enum what what, const struct strv *words, const char *repo,
		     struct err *err)
{
	for (size_t i = 0; words && i < words->n; i++) {
		const char *word = words->v[i], *key = strchr(word, '=');
		size_t len = strcspn(word, "=");

		if (check_prefix(word, len, err) < 0)
			return -EINVAL;
		if ((what == SIGNED) != (key && key[1] == '/'))
			return err_set(err, EINVAL, "trust: %.200s is not %s", word,
				       what == SIGNED ? "PREFIX=/KEYFILE" : "a prefix");
		if (fits(repo, word, len))
			take_rule(r, what, len, key ? key + 1 : NULL);
	}
	return 0;
}

static int find_rule(const struct image_trust *t, const char *repo, struct rule *r, struct err *err)
{
	int rc;

	if (t->fallback && !str_eq(t->fallback, "accept") && !str_eq(t->fallback, "reject"))
		return err_set(err, EINVAL, "trust: default = %.40s is not accept or reject",
			       t->fallback);
	r->what = str_eq(t->fallback, "reject") ? REJECT : ACCEPT;
	rc = add_rules(r, ACCEPT, t->accept, repo, err);
	if (rc >= 0)
		rc = add_rules(r, SIGNED, t->signed_by, repo, err);
	return rc < 0 ? rc : add_rules(r, REJECT, t->reject, repo, err);
}

/* --- pins --- */

/* The digest that the name is pinned to; *ret stays NULL when it is not. name: "repo:tag". */
static int find_pin(const struct image_trust *t, const char *name, char **ret, struct err *err)
{
	for (size_t i = 0; t->pin && i < t->pin->n; i++) {
		const char *word = t->pin->v[i], *eq = strchr(word, '=');
		auto_free char *text = mem_strn(word, strcspn(word, "=")), *full = NULL;
		struct digest ignored;
		int rc = eq ? digest_parse(eq + 1, &ignored, err)
			    : err_set(err, EINVAL, "no digest");

		if (rc >= 0)
			rc = image_ref_normalize(text, &full, err);
		if (rc < 0)
			return err_ctx(err, "trust: pin %.200s", word);
		if (!str_eq(full, name))
			continue;
		if (*ret && !str_eq(*ret, eq + 1))
			return err_set(err, EINVAL, "trust: %s is pinned twice", text);
		mem_cleanup(ret);
		*ret = mem_str(eq + 1);
	}
	return 0;
}

int image_trust_pinned(struct runtime *rt, const struct image_access *a, const char *ref,
		       const struct image *img, struct err *err)
{
	auto_free char *full = NULL, *pin = NULL;
	struct err why = { 0 };
	int64_t one;
	char *at;
	int rc;

	/* An ID is what it says. */
	if (!a || !a->trust || image_ref_normalize(ref, &full, &why) < 0)
		return 0;
	at = strchr(full, '@');
	if (at)
		*at = 0;
	rc = find_pin(a->trust, full, &pin, err);
	if (rc < 0 || !pin || str_eq(pin, img->id))
		return rc;
	*strrchr(full, ':') = 0;
	rc = db_get_int(rt->db,
			"SELECT 1 FROM repo_digests WHERE repo=?1 AND digest=?2 AND image=?3",
			DB_ARGS(DB_T(full), DB_T(pin), DB_T(img->id)), &one, err);
	if (rc)
		return rc < 0 ? rc : 0;
	err_set(err, EACCES, "%.200s is pinned to %s, and the image here is another one", ref, pin);
	return err_hint(err, "shale pull it, or name that digest");
}

/* --- signatures --- */

static void case_free(struct image_trust_case *c)
{
	for (size_t i = 0; i < c->n; i++)
		pubkey_cleanup(&c->keys[i]);
	mem_cleanup(&c->keys);
}

static int load_keys(struct image_trust_case *c, const struct strv *files, struct err *err)
{
	int rc = 0;

	c->keys = mem_array(files->n + 1, sizeof(struct pubkey *));
	for (size_t i = 0; rc >= 0 && i < files->n; i++) {
		rc = pubkey_load(files->v[i], &c->keys[i], err);
		c->n += rc >= 0;
	}
	return rc < 0 ? err_ctx(err, "trust") : 0;
}

/* Without the registry, whose port is no tag. */
static const char *path_of(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash : name;
}

int image_trust_name(const struct image_trust_case *c, const char *name, struct err *err)
{
	auto_free char *full = NULL;
	struct image_remote named = { 0 };
	bool has_tag;
	int rc;

	if (!name)
		return err_set(err, EBADMSG, "it names no repository");
	rc = image_ref_normalize(name, &full, err);
	if (rc < 0)
		return rc;
	image_remote_name(full, &named);
	has_tag = strchr(path_of(name), ':') && named.tag && c->remote->tag;
	if (!str_eq(named.repo, c->remote->repo) || (has_tag && !str_eq(named.tag, c->remote->tag)))
		rc = err_set(err, EBADMSG, "it is for %.200s", name);
	image_remote_names_free(&named);
	return rc;
}

static int check_claim(const struct image_trust_case *c, const char *text, size_t len,
		       struct err *err)
{
	auto_json json_t *o = NULL;
	const json_t *critical;
	const char *digest;
	int rc = json_parse(text, len, &o, err);

	if (rc < 0)
		return rc;
	critical = json_object_get(o, "critical");
	digest = json_get_str(json_object_get(critical, "image"), "docker-manifest-digest");
	if (!str_eq(json_get_str(critical, "type"), claim_type))
		return err_set(err, EBADMSG, "it is of another type");
	if (!str_eq(digest, c->digest))
		return err_set(err, EBADMSG, "it is for digest %.80s", digest ? digest : "none");
	return image_trust_name(
		c, json_get_str(json_object_get(critical, "identity"), "docker-reference"), err);
}

int image_trust_verify(const struct image_trust_case *c, const struct image_signed *s,
		       struct err *err)
{
	if (s->sig_len > SIGNATURE_MAX)
		return err_set(err, EBADMSG, "its signature has %zu bytes", s->sig_len);
	for (size_t i = 0; i < c->n; i++)
		if (pubkey_verify(c->keys[i], s->text, s->len, s->sig, s->sig_len))
			return 0;
	return err_set(err, EBADMSG, "it is by another key");
}

static int check_signature(const struct image_trust_case *c, const char *text, size_t len,
			   const json_t *notes, struct err *err)
{
	const char *base64 = json_get_str(notes, signature_key);
	auto_free char *sig = NULL;
	size_t sig_len = 0;
	int rc;

	if (!base64 || str_from_base64(base64, &sig, &sig_len) < 0)
		return err_set(err, EBADMSG, "its signature is not base64");
	rc = image_trust_verify(c, &(struct image_signed){ text, len, sig, sig_len }, err);
	return rc < 0 && json_get_str(notes, certificate_key) ? image_trust_keyless(err) : rc;
}

int image_trust_keyless(struct err *err)
{
	err_set(err, ENOTSUP, "it is by a certificate (keyless), which is not checked");
	return err_hint(err, "what is signed with a key is: cosign sign --key KEY NAME@DIGEST");
}

/* 1 when that layer is a signature that counts, 0 when it is none. */
static int check_layer(const struct image_trust_case *c, const json_t *layer, struct err *err)
{
	const json_t *notes = json_object_get(layer, "annotations");
	const char *text_digest = json_get_str(layer, "digest");
	int64_t size = json_get_int(layer, "size", -1);
	auto_free char *text = NULL;
	struct digest d;
	size_t len = 0;
	int rc;

	if (!str_eq(json_get_str(layer, "mediaType"), payload_type))
		return 0;
	if (size < 0 || size > PAYLOAD_MAX)
		return err_set(err, EFBIG, "its text has %lld bytes", (long long)size);
	rc = digest_parse(text_digest ? text_digest : "", &d, err);
	if (rc >= 0)
		rc = image_remote_blob(c->remote, &d, (uint64_t)size, &text, &len, err);
	if (rc >= 0)
		rc = check_signature(c, text, len, notes, err);
	if (rc >= 0)
		rc = check_claim(c, text, len, err);
	return rc < 0 ? rc : 1;
}

static int check_layers(const struct image_trust_case *c, const json_t *doc, struct err *err)
{
	const json_t *layers = json_object_get(doc, "layers"), *layer;
	struct err why = { 0 };
	size_t i;

	json_array_foreach(layers, i, layer)
	{
		int rc = i < SIGNATURES_MAX
				 ? check_layer(c, layer, &why)
				 : err_set(&why, E2BIG, "more than %d signatures", SIGNATURES_MAX);

		if (rc > 0)
			return 0;
		if (rc == -EINTR || i >= SIGNATURES_MAX)
			break;
	}
	if (!why.code)
		return err_set(err, EBADMSG, "signature: the image has none in it");
	*err = why;
	err->code = why.code == ENOENT ? EBADMSG : why.code;
	return err_ctx(err, "signature");
}

/* -ENOENT: there is none. */
static int check_tag(const struct image_trust_case *c, struct err *err)
{
	auto_free char *tag = mem_fmt("sha256-%s.sig", strchr(c->digest, ':') + 1);
	cleanup(image_document_free) struct image_document d = { 0 };
	auto_json json_t *doc = NULL;
	int rc = image_remote_manifest(c->remote, tag, &d, err);

	if (rc >= 0)
		rc = json_parse(d.text, d.len, &doc, err);
	return rc < 0 ? rc : check_layers(c, doc, err);
}

/* One of either form is enough; where both fail, both are told of. */
static int check_signed(const struct image_trust_case *c, struct err *err)
{
	struct err tag = { 0 }, bundle = { 0 };

	if (check_tag(c, &tag) >= 0)
		return 0;
	if (tag.code != EINTR && image_bundles_check(c, &bundle) >= 0)
		return 0;
	if (tag.code == ENOENT && bundle.code == ENOENT) {
		err_set(err, EACCES, "it is not signed");
		return err_hint(err, "there is neither a Sigstore bundle nor a tag sha256-….sig");
	}
	if (!bundle.code || bundle.code == ENOENT) {
		*err = tag;
		return -err->code;
	}
	if (tag.code == ENOENT)
		return err_set(err, bundle.code, "bundle: %s", bundle.msg);
	return err_set(err, bundle.code, "%.500s; bundle: %.500s", tag.msg, bundle.msg);
}

/* --- what pull asks --- */

int image_trust_begin(const struct image_access *a, const struct image_remote *r,
		      bool *ret_is_signed, struct err *err)
{
	cleanup(rule_free) struct rule rule = { 0 };
	int rc = a->trust ? find_rule(a->trust, r->repo, &rule, err) : 0;

	if (rc < 0)
		return rc;
	if (rule.what == REJECT)
		return err_set(err, EACCES, "trust: nothing is taken from %s", r->repo);
	*ret_is_signed = rule.what == SIGNED;
	return 0;
}

int image_trust_check(const struct image_access *a, struct image_remote *r, const char *digest,
		      struct err *err)
{
	cleanup(rule_free) struct rule rule = { 0 };
	cleanup(case_free) struct image_trust_case c = { r, digest, NULL, 0 };
	auto_free char *pin = NULL, *name = NULL;
	int rc = a->trust ? find_rule(a->trust, r->repo, &rule, err) : 0;

	if (rc < 0 || !a->trust)
		return rc;
	if (r->tag) {
		name = mem_fmt("%s:%s", r->repo, r->tag);
		rc = find_pin(a->trust, name, &pin, err);
	}
	if (rc >= 0 && pin && !str_eq(pin, digest))
		rc = err_set(err, EACCES, "trust: it is pinned to %s, but there it is %s", pin,
			     digest);
	if (rc < 0 || rule.what != SIGNED)
		return rc;
	rc = load_keys(&c, &rule.keys, err);
	if (rc >= 0)
		rc = check_signed(&c, err);
	if (rc < 0)
		return err_ctx(err, "trust: %.19s", digest);
	return 0;
}
