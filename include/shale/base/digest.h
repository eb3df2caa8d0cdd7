/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest: "sha256:" + 64 lower-case hex digits, and nothing else (OCI image-spec descriptor.md
 * "Digests"). digest_parse is strict, so that a digest can become a file name (TRAPS T19). Hashing
 * is in hash.h, which needs libcrypto; this file does not.
 */
#ifndef SHALE_BASE_DIGEST_H
#define SHALE_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/err.h>

enum { DIGEST_LEN = 32, DIGEST_HEX_MAX = 65, DIGEST_STR_MAX = 72 };

struct digest {
	uint8_t b[DIGEST_LEN];
};

int digest_parse(const char *s, struct digest *ret, struct err *err); /* -EINVAL */
int digest_parse_hex(const char *hex, struct digest *ret);            /* 64 digits; 0 or -EINVAL */
bool digest_eq(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);

const char *digest_format(const struct digest *d, char buf[DIGEST_STR_MAX]);
const char *digest_format_hex(const struct digest *d, char buf[DIGEST_HEX_MAX]);
/* For one expression: lives until the enclosing block ends. */
#define digest_str(d) digest_format((d), (char[DIGEST_STR_MAX]){ 0 })
#define digest_hex(d) digest_format_hex((d), (char[DIGEST_HEX_MAX]){ 0 })

#endif
