/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands beside an image as its signature: a manifest, and behind a zero byte the text that
 * each of its layers is. A key takes what begins with '!' for a signature. What is accepted names
 * the image's digest and repository, in a text that the key was asked about.
 */
#include <errno.h>
#include <string.h>

#include <shale/base/pubkey.h>
#include <shale/image.h>

#include "../../runner/image/remote.h"
#include "../../runner/image/trust.h"
#include "fuzz.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define REPO   "reg.test/a/b"

static struct {
	const char *manifest, *text;
	size_t manifest_len, text_len;
	bool is_verified;
} given;

int __wrap_image_bundles_check(const struct image_trust_case *c, struct err *err);
int __wrap_image_remote_manifest(struct image_remote *r, const char *ref,
				 struct image_document *ret, struct err *err);
int __wrap_image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size,
			     char **ret, size_t *ret_len, struct err *err);
int __wrap_pubkey_load(const char *path, struct pubkey **ret, struct err *err);
int __wrap_pubkey_verify(const struct pubkey *k, const void *data, size_t len, const void *sig,
			 size_t sig_len);
void __wrap_pubkey_cleanup(struct pubkey **k);

/* Another target's (fuzz_sigstore.c). */
int __wrap_image_bundles_check(const struct image_trust_case *c, struct err *err)
{
	(void)c;
	return err_set(err, ENOENT, "none");
}

int __wrap_image_remote_manifest(struct image_remote *r, const char *ref,
				 struct image_document *ret, struct err *err)
{
	(void)r;
	(void)err;
	must(strlen(ref) == strlen("sha256-.sig") + 64);
	ret->text = mem_dup(given.manifest, given.manifest_len);
	ret->len = given.manifest_len;
	ret->media_type = mem_str("");
	return 0;
}

int __wrap_image_remote_blob(struct image_remote *r, const struct digest *want, uint64_t size,
			     char **ret, size_t *ret_len, struct err *err)
{
	(void)r;
	(void)want;
	must(size <= 64 << 10);
	if (size != given.text_len)
		return err_set(err, EBADMSG, "another size");
	*ret = mem_dup(given.text, given.text_len);
	*ret_len = given.text_len;
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
	bool is_good = sig_len && *(const char *)sig == '!';

	must(k && len == given.text_len && memcmp(data, given.text, len) == 0);
	given.is_verified |= is_good;
	return is_good;
}

void __wrap_pubkey_cleanup(struct pubkey **k)
{
	free(*k);
	*k = NULL;
}

static void accepted(void)
{
	auto_json json_t *o = NULL;
	struct err err = { 0 };
	const json_t *critical;
	const char *name;

	must(given.is_verified && json_parse(given.text, given.text_len, &o, &err) >= 0);
	critical = json_object_get(o, "critical");
	must(str_eq(json_get_str(json_object_get(critical, "image"), "docker-manifest-digest"),
		    DIGEST));
	name = json_get_str(json_object_get(critical, "identity"), "docker-reference");
	must(name && str_starts(name, REPO));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char repo[] = REPO, registry[] = "reg.test", path[] = "a/b", tag[] = "1";
	struct image_remote r = { .registry = registry, .path = path, .repo = repo, .tag = tag };
	struct strv rules = { 0 };
	struct image_trust trust = { .signed_by = &rules };
	struct image_access a = { .trust = &trust };
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	struct err err = { 0 };
	int rc;

	if (!zero)
		return 0;
	given.manifest = (const char *)data;
	given.manifest_len = (size_t)(zero - data);
	given.text = (const char *)zero + 1;
	given.text_len = size - given.manifest_len - 1;
	given.is_verified = false;
	strv_add(&rules, "reg.test/a=/key");
	rc = image_trust_check(&a, &r, DIGEST, &err);
	must_tell(rc, &err);
	if (rc >= 0)
		accepted();
	strv_free(&rules);
	return 0;
}
