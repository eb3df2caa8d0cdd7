/* SPDX-License-Identifier: Apache-2.0 */
/* hash: SHA-256 by libcrypto. Only programs that may load libcrypto use it (shale-build). Safe in
 * threads, one object each. */
#ifndef SHALE_BASE_HASH_H
#define SHALE_BASE_HASH_H

#include <stddef.h>

#include <shale/base/digest.h>
#include <shale/base/mem.h>

struct hash;

#define auto_hash cleanup(hash_cleanup)
struct hash *hash_new(void);
void hash_free(struct hash *h);
void hash_cleanup(struct hash **h);
void hash_add(struct hash *h, const void *p, size_t n);
/* A field that cannot run into the next one: its length as 8 bytes little endian, then the bytes.
 */
void hash_field(struct hash *h, const void *p, size_t n);
void hash_field_str(struct hash *h, const char *s); /* NULL differs from "" */
void hash_end(struct hash *h, struct digest *ret);  /* and start anew */
void hash_bytes(const void *p, size_t n, struct digest *ret);
int hash_fd(int fd, struct digest *ret, struct err *err); /* from the current offset to the end */

/* ChainID(n) = SHA-256(ChainID(n-1) + " " + DiffID(n)) (OCI image-spec config.md); parent NULL: the
 * DiffID itself. */
void hash_chain(const struct digest *parent, const struct digest *diff_id, struct digest *ret);

#endif
