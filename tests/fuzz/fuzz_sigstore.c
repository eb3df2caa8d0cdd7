/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sigstore bundles beside an image: a list of referrers (an array as of the registry's own list,
 * else what the tag is), and behind zero bytes the manifest that its entries are and the bundle. A
 * key takes what begins with '!' for a signature. What is accepted was signed as a whole, and names
 * the image's digest or is the image's manifest.
 */
#include <errno.h>
#include <string.h>

#include <shale/base/pubkey.h>
#include <shale/image.h>

#include "../../runner/image/remote.h"
#include "../../runner/image/trust.h"
#include "fuzz.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define REPO   "reg.test/a/b"
#define PAE    "DSSEv1 28 application/vnd.in-toto+json "

static const char bare[] = "{\"the\":\"manifest\"}";

struct part {
	const char *text;
	size_t len;
};

static struct {
	struct part list, manifest, bundle;
	char *verified; /* the text that a signature was good for */
	size_t verified_len;
} given;

int __wrap_image_remote_referrers(struct image_remote *r, const char *digest, json_t **ret,
				  struct err *err);
int __wrap_image_remote_manifest(struct image_remote *r, const char *ref,
				 struct image_document *ret, struct err *err);
int __wrap_image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size,
			     char **ret, size_t *ret_len, struct err *err);
int __wrap_pubkey_load(const char *path, struct pubkey **ret, struct err *err);
int __wrap_pubkey_verify(const struct pubkey *k, const void *data, size_t len, const void *sig,
			 size_t sig_len);
void __wrap_pubkey_cleanup(struct pubkey **k);

int __wrap_image_remote_referrers(struct image_remote *r, const char *digest, json_t **ret,
				  struct err *err)
{
	(void)r;
	must(strcmp(digest, DIGEST) == 0);
	if (!given.list.len || given.list.text[0] != '[')
		return err_set(err, ENOENT, "no such list");
	return json_parse(given.list.text, given.list.len, ret, err);
}

int __wrap_image_remote_manifest(struct image_remote *r, const char *ref,
				 struct image_document *ret, struct err *err)
{
	struct part p = given.manifest;

	(void)r;
	if (strcmp(ref, "sha256-" HEX ".sig") == 0)
		return err_set(err, ENOENT, "no such tag");
	if (strcmp(ref, "sha256-" HEX) == 0)
		p = given.list;
	else if (strcmp(ref, DIGEST) == 0)
		p = (struct part){ bare, sizeof(bare) - 1 };
	else
		must(strlen(ref) == strlen(DIGEST) && str_starts(ref, "sha256:"));
	ret->text = mem_dup(p.text, p.len);
	ret->len = p.len;
	ret->media_type = mem_str("");
	return 0;
}

int __wrap_image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size,
			     char **ret, size_t *ret_len, struct err *err)
{
	(void)r;
	(void)want;
	must(size <= 256 << 10);
	if (size != given.bundle.len)
		return err_set(err, EBADMSG, "another size");
	*ret = mem_dup(given.bundle.text, given.bundle.len);
	*ret_len = given.bundle.len;
	return 0;
}

int __wrap_pubkey_load(const char *path, struct pubkey **ret, struct err *err)
{
	(void)err;
	must(strcmp(path, "/key") == 0);
	*ret = mem_alloc(1);
	return 0;
}

int __wrap_pubkey_verify(const struct pubkey *k, const void *data, size_t len, const void *sig,
			 size_t sig_len)
{
	must(k != NULL);
	if (!sig_len || *(const char *)sig != '!')
		return 0;
	free(given.verified);
	given.verified = mem_alloc(len + 1);
	memcpy(given.verified, data, len);
	given.verified_len = len;
	return 1;
}

void __wrap_pubkey_cleanup(struct pubkey **k)
{
	free(*k);
	*k = NULL;
}

/* The digest is one that the statement is of. */
static bool is_of_it(const json_t *statement)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(statement, "subject"), i, o)
	{
		const char *name = json_get_str(o, "name");

		if (str_eq(json_get_str(json_object_get(o, "digest"), "sha256"), HEX))
			return !name || !*name || str_starts(name, REPO);
	}
	return false;
}

static void accepted(void)
{
	auto_free char *head = NULL;
	auto_json json_t *o = NULL;
	struct err err = { 0 };
	size_t len = 0;

	must(given.verified != NULL);
	if (given.verified_len == sizeof(bare) - 1 && str_eq(given.verified, bare))
		return;
	must(str_starts(given.verified, PAE));
	len = strtoul(given.verified + strlen(PAE), NULL, 10);
	head = mem_fmt(PAE "%zu ", len);
	must(str_starts(given.verified, head) && given.verified_len - strlen(head) == len);
	must(json_parse(given.verified + strlen(head), len, &o, &err) >= 0);
	must(str_eq(json_get_str(o, "_type"), "https://in-toto.io/Statement/v1"));
	must(str_eq(json_get_str(o, "predicateType"), "https://sigstore.dev/cosign/sign/v1"));
	must(is_of_it(o));
}

static bool split(struct part *from, struct part *ret)
{
	const char *zero = from->len ? memchr(from->text, 0, from->len) : NULL;

	if (!zero)
		return false;
	*ret = (struct part){ from->text, (size_t)(zero - from->text) };
	from->len -= ret->len + 1;
	from->text = zero + 1;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char repo[] = REPO, registry[] = "reg.test", path[] = "a/b", tag[] = "1";
	struct image_remote r = { .registry = registry, .path = path, .repo = repo, .tag = tag };
	struct strv rules = { 0 };
	struct image_trust trust = { .signed_by = &rules };
	struct image_access a = { .trust = &trust };
	struct part rest = { (const char *)data, size };
	struct err err = { 0 };
	int rc;

	if (!split(&rest, &given.list) || !split(&rest, &given.manifest))
		return 0;
	given.bundle = rest;
	strv_add(&rules, "reg.test/a=/key");
	rc = image_trust_check(&a, &r, DIGEST, &err);
	must_tell(rc, &err);
	if (rc >= 0)
		accepted();
	free(given.verified);
	given.verified = NULL;
	strv_free(&rules);
	return 0;
}
