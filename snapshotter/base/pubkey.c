/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/pubkey.h>

#include <errno.h>
#include <fcntl.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <shale/base/fd.h>
#include <shale/base/str.h>

enum { PEM_MAX = 64 << 10, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 16384 };

struct pubkey {
	EVP_PKEY *key;
};

void pubkey_cleanup(struct pubkey **k)
{
	if (*k)
		EVP_PKEY_free((*k)->key);
	mem_cleanup(k);
}

static int check_kind(const EVP_PKEY *key, const char *path, struct err *err)
{
	int kind = EVP_PKEY_get_base_id(key), bits = EVP_PKEY_get_bits(key);
	char group[64] = "";
	size_t n;

	if (kind == EVP_PKEY_ED25519)
		return 0;
	if (kind == EVP_PKEY_RSA && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
		return 0;
	if (kind == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
	    str_eq(group, SN_X9_62_prime256v1))
		return 0;
	return err_set(err, EINVAL,
		       "key %s: neither ECDSA on P-256, nor RSA of %d to %d bits, nor Ed25519",
		       path, RSA_BITS_MIN, RSA_BITS_MAX);
}

int pubkey_load(const char *path, struct pubkey **ret, struct err *err)
{
	auto_pubkey struct pubkey *k = mem_alloc(sizeof(*k));
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = fd_read_file(AT_FDCWD, path, PEM_MAX, &text, &len, err);
	BIO *bio = rc < 0 ? NULL : BIO_new_mem_buf(text, (int)len);

	if (rc < 0)
		return err_ctx(err, "key");
	k->key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	ERR_clear_error();
	if (!k->key)
		return err_set(err, EINVAL, "key %s: no public key in PEM form", path);
	rc = check_kind(k->key, path, err);
	if (rc >= 0)
		*ret = take(k);
	return rc;
}

int pubkey_verify(const struct pubkey *k, const void *text, size_t len, const void *sig,
		  size_t sig_len)
{
	const EVP_MD *md = EVP_PKEY_get_base_id(k->key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->key) == 1 &&
		 EVP_DigestVerify(ctx, sig, sig_len, text, len) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}
