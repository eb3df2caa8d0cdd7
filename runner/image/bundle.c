/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sigstore bundles, as cosign 3 writes them (sigstore/protobuf-specs, sigstore_bundle.proto, in its
 * JSON form): manifests whose subject is the signed one, found by the registry's list of referrers
 * or, where it has none, by the tag sha256-<hex>; the one layer of each is a bundle. What is signed
 * there is a DSSE envelope (secure-systems-lab/dsse, protocol.md) around an in-toto statement that
 * names the digest, or the bare bytes of the signed manifest. No more is believed than what a key
 * of ours has signed: hints, annotations and entries of transparency logs only lead the way, or
 * are not looked at. All that comes from the registry is hostile. Needs libcrypto.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/digest.h>

#include "trust.h"

enum {
	ENTRIES_MAX = 1000,       /* of a list of referrers */
	BUNDLES_MAX = 32,         /* that are fetched */
	BUNDLE_BYTES = 256 << 10, /* with its proofs of a log about 10 KiB */
	SUBJECTS_MAX = 100,
};

static const char bundle_prefix[] = "application/vnd.dev.sigstore.bundle";
static const char *const bundle_types[] = {
	"application/vnd.dev.sigstore.bundle.v0.3+json",
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
};
static const char payload_type[] = "application/vnd.in-toto+json";
static const char statement_type[] = "https://in-toto.io/Statement/v1";
/* Another one by the same key says something about the image, not that it may be run. */
static const char sign_type[] = "https://sigstore.dev/cosign/sign/v1";
static const char predicate_note[] = "dev.sigstore.bundle.predicateType";

/* --- what is signed --- */

/* Both alphabets, with or without the padding, as protobuf's JSON and DSSE have it. */
static int from_base64(const char *text, char **ret, size_t *ret_len)
{
	auto_free char *plain = mem_str(text ? text : "-");

	for (char *p = plain; *p; p++)
		*p = (char)(*p == '-' ? '+' : *p == '_' ? '/' : *p);
	return text ? str_from_base64(plain, ret, ret_len) : -EINVAL;
}

static int verify(const struct image_trust_case *c, const void *text, size_t len, const char *sig,
		  struct err *err)
{
	auto_free char *bytes = NULL;
	size_t n = 0;

	if (from_base64(sig, &bytes, &n) < 0)
		return err_set(err, EBADMSG, "its signature is not base64");
	return image_trust_verify(c, &(struct image_signed){ text, len, bytes, n }, err);
}

/* A subject whose digest is ours; a name in it has to be ours too. */
static int check_subjects(const struct image_trust_case *c, const json_t *list, struct err *err)
{
	const char *hex = strchr(c->digest, ':') + 1, *other = NULL;
	const json_t *o;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > SUBJECTS_MAX)
		return err_set(err, EBADMSG, "it is for %zu subjects, at most %d can be used",
			       json_array_size(list), SUBJECTS_MAX);
	json_array_foreach(list, i, o)
	{
		const char *is = json_get_str(json_object_get(o, "digest"), "sha256");
		const char *name = json_get_str(o, "name");

		if (str_eq(is, hex))
			return name && *name ? image_trust_name(c, name, err) : 0;
		other = is;
	}
	return err_set(err, EBADMSG, "it is for digest %.80s", other ? other : "none");
}

static int check_statement(const struct image_trust_case *c, const char *text, size_t len,
			   struct err *err)
{
	auto_json json_t *o = NULL;
	const char *type;
	int rc = json_parse(text, len, &o, err);

	if (rc < 0)
		return rc;
	type = json_get_str(o, "predicateType");
	if (!str_eq(json_get_str(o, "_type"), statement_type) || !str_eq(type, sign_type))
		return err_set(err, EBADMSG, "it says something else (%.100s)",
			       type ? type : "no predicate type");
	return check_subjects(c, json_object_get(o, "subject"), err);
}

/* The signature is of the pre-authentication encoding, and comes before what it is of is read. */
static int check_envelope(const struct image_trust_case *c, const json_t *e, struct err *err)
{
	const json_t *sigs = json_object_get(e, "signatures");
	const char *type = json_get_str(e, "payloadType");
	auto_str struct str pae = { 0 };
	auto_free char *body = NULL;
	size_t len;
	int rc;

	if (!str_eq(type, payload_type))
		return err_set(err, EBADMSG, "its payload is of type %.100s", type ? type : "none");
	if (from_base64(json_get_str(e, "payload"), &body, &len) < 0)
		return err_set(err, EBADMSG, "its payload is not base64");
	if (json_array_size(sigs) != 1)
		return err_set(err, EBADMSG, "its envelope has %zu signatures, not one",
			       json_array_size(sigs));
	str_addf(&pae, "DSSEv1 %zu %s %zu ", strlen(payload_type), payload_type, len);
	str_addn(&pae, body, len);
	rc = verify(c, str_get(&pae), pae.len, json_get_str(json_array_get(sigs, 0), "sig"), err);
	return rc < 0 ? rc : check_statement(c, body, len, err);
}

/* Of the signed manifest's own bytes. The digest beside it is for finding it, no more. */
static int check_message(const struct image_trust_case *c, const json_t *m, struct err *err)
{
	cleanup(image_document_free) struct image_document d = { 0 };
	int rc = image_remote_manifest(c->remote, c->digest, &d, err);

	return rc < 0 ? rc : verify(c, d.text, d.len, json_get_str(m, "signature"), err);
}

static bool is_bundle_type(const char *type)
{
	for (size_t i = 0; i < ARRAY_LEN(bundle_types); i++)
		if (str_eq(type, bundle_types[i]))
			return true;
	return false;
}

static int check_bundle(const struct image_trust_case *c, const char *text, size_t len,
			struct err *err)
{
	auto_json json_t *o = NULL;
	const json_t *by, *envelope, *message;
	const char *type;
	int rc = json_parse(text, len, &o, err);

	if (rc < 0)
		return rc;
	type = json_get_str(o, "mediaType");
	if (!is_bundle_type(type))
		return err_set(err, ENOTSUP, "it is of type %.100s, which is not read",
			       type ? type : "none");
	by = json_object_get(o, "verificationMaterial");
	if (json_object_get(by, "certificate") || json_object_get(by, "x509CertificateChain"))
		return image_trust_keyless(err);
	if (!json_is_object(json_object_get(by, "publicKey")))
		return err_set(err, EBADMSG, "it does not say that it is by a key");
	envelope = json_object_get(o, "dsseEnvelope");
	message = json_object_get(o, "messageSignature");
	if (!envelope == !message)
		return err_set(err, EBADMSG, "it has %s", envelope ? "two contents" : "no content");
	return envelope ? check_envelope(c, envelope, err) : check_message(c, message, err);
}

/* --- where it is --- */

/* What a list says of a bundle that is not for us to read: go-containerregistry's lists have the
 * config's type, or none. */
static bool is_candidate(const json_t *o)
{
	const char *type = json_get_str(o, "artifactType");
	const char *predicate = json_get_str(json_object_get(o, "annotations"), predicate_note);

	if (predicate && *predicate && !str_eq(predicate, sign_type))
		return false;
	return !type || !*type || str_starts(type, bundle_prefix) ||
	       str_eq(type, "application/vnd.oci.empty.v1+json");
}

/* The one layer, when it is a bundle of a signature: 1, or 0. */
static int bundle_of(const struct image_trust_case *c, const json_t *doc, const json_t **ret,
		     struct err *err)
{
	const json_t *layers = json_object_get(doc, "layers");
	const char *subject = json_get_str(json_object_get(doc, "subject"), "digest");
	const char *type;

	*ret = json_array_get(layers, 0);
	type = json_get_str(*ret, "mediaType");
	if (!is_candidate(doc) || !type || !str_starts(type, bundle_prefix))
		return 0;
	if (json_array_size(layers) != 1)
		return err_set(err, EBADMSG, "%zu layers, not one", json_array_size(layers));
	if (!str_eq(subject, c->digest))
		return err_set(err, EBADMSG, "it stands beside %.80s", subject ? subject : "none");
	return 1;
}

static int fetch_bundle(const struct image_trust_case *c, const json_t *layer, char **ret,
			size_t *ret_len, struct err *err)
{
	const char *digest = json_get_str(layer, "digest");
	int64_t size = json_get_int(layer, "size", -1);
	struct digest d;

	if (size < 0 || size > BUNDLE_BYTES)
		return err_set(err, EFBIG, "it has %lld bytes", (long long)size);
	if (digest_parse(digest ? digest : "", &d, err) < 0)
		return -err->code;
	return image_remote_blob(c->remote, &d, (uint64_t)size, ret, ret_len, err);
}

/* 1 when that entry of the list is a signature that counts, 0 when it is none. */
static int check_entry(const struct image_trust_case *c, const json_t *entry, struct err *err)
{
	cleanup(image_document_free) struct image_document d = { 0 };
	const char *digest = json_get_str(entry, "digest");
	int64_t size = json_get_int(entry, "size", -1);
	auto_json json_t *doc = NULL;
	auto_free char *text = NULL;
	enum image_doc kind;
	const json_t *layer;
	struct digest want;
	size_t len = 0;
	int rc = digest_parse(digest ? digest : "", &want, err);

	if (rc >= 0)
		rc = image_remote_manifest(c->remote, digest_str(&want), &d, err);
	if (rc >= 0 && (size < 0 || (uint64_t)size != d.len))
		rc = err_set(err, EBADMSG, "the list says %lld bytes, but it has %zu",
			     (long long)size, d.len);
	if (rc >= 0)
		rc = image_doc_kind(&d, &doc, &kind, err);
	if (rc < 0 || kind != IMAGE_DOC_MANIFEST)
		return rc < 0 ? rc : 0;
	rc = bundle_of(c, doc, &layer, err);
	if (rc <= 0)
		return rc;
	rc = fetch_bundle(c, layer, &text, &len, err);
	if (rc >= 0)
		rc = check_bundle(c, text, len, err);
	return rc < 0 ? rc : 1;
}

static int check_list(const struct image_trust_case *c, const json_t *list, struct err *err)
{
	struct err why = { 0 };
	size_t looked = 0, i;
	const json_t *entry;

	if (!json_is_array(list) || json_array_size(list) > ENTRIES_MAX)
		return err_set(err, EBADMSG, "a list of %zu entries, at most %d can be used",
			       json_array_size(list), ENTRIES_MAX);
	json_array_foreach(list, i, entry)
	{
		int rc;

		if (!is_candidate(entry))
			continue;
		if (looked++ == BUNDLES_MAX) {
			err_set(&why, E2BIG, "more than %d", BUNDLES_MAX);
			break;
		}
		rc = check_entry(c, entry, &why);
		if (rc > 0)
			return 0;
		if (rc == -EINTR)
			break;
	}
	if (!why.code)
		return err_set(err, ENOENT, "there is none");
	*err = why;
	err->code = why.code == ENOENT ? EBADMSG : why.code;
	return -err->code;
}

/* The tag that stands in for the list of referrers (OCI distribution-spec, "Referrers Tag"). */
static int check_tag(const struct image_trust_case *c, struct err *err)
{
	auto_free char *tag = mem_fmt("sha256-%s", strchr(c->digest, ':') + 1);
	cleanup(image_document_free) struct image_document d = { 0 };
	auto_json json_t *doc = NULL;
	enum image_doc kind;
	int rc = image_remote_manifest(c->remote, tag, &d, err);

	if (rc >= 0)
		rc = image_doc_kind(&d, &doc, &kind, err);
	if (rc >= 0 && kind != IMAGE_DOC_INDEX)
		rc = err_set(err, EBADMSG, "the tag %.20s… is no list", tag);
	return rc < 0 ? rc : check_list(c, json_object_get(doc, "manifests"), err);
}

int image_bundles_check(const struct image_trust_case *c, struct err *err)
{
	auto_json json_t *list = NULL;
	int rc = image_remote_referrers(c->remote, c->digest, &list, err);

	if (rc >= 0)
		rc = check_list(c, list, err);
	if (rc != -ENOENT)
		return rc;
	err_clear(err);
	return check_tag(c, err);
}
