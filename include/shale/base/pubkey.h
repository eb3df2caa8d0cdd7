/* SPDX-License-Identifier: Apache-2.0 */
/* pubkey: signatures by libcrypto: ECDSA on P-256, RSA (PKCS #1 v1.5) of 2048 bits or more, both
 * over SHA-256, and Ed25519. Only programs that may load libcrypto use it. */
#ifndef SHALE_BASE_PUBKEY_H
#define SHALE_BASE_PUBKEY_H

#include <stddef.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

struct pubkey;
#define auto_pubkey cleanup(pubkey_cleanup)
void pubkey_cleanup(struct pubkey **k);
/* A PEM file ("BEGIN PUBLIC KEY"). -EINVAL for another kind of key. */
int pubkey_load(const char *path, struct pubkey **ret, struct err *err);
/* 1 when the signature of the text is by that key, else 0. */
int pubkey_verify(const struct pubkey *k, const void *text, size_t len, const void *sig,
		  size_t sig_len);

#endif
