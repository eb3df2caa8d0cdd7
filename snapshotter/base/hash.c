/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/hash.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The calls of EVP cost each process 0.8 ms of looking for providers before its first byte. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <shale/base/str.h>

struct hash {
	SHA256_CTX ctx;
};

static void must(int ok)
{
	if (ok != 1) {
		static const char text[] = "shale: libcrypto refuses SHA-256\n";

		if (write(2, text, sizeof(text) - 1) < 0)
			_exit(125);
		_exit(125);
	}
}

struct hash *hash_new(void)
{
	struct hash *h = mem_alloc(sizeof(*h));

	must(SHA256_Init(&h->ctx));
	return h;
}

void hash_free(struct hash *h)
{
	free(h);
}

void hash_cleanup(struct hash **h)
{
	int saved = errno;

	hash_free(*h);
	*h = NULL;
	errno = saved;
}

void hash_add(struct hash *h, const void *p, size_t n)
{
	must(SHA256_Update(&h->ctx, p, n));
}

void hash_field(struct hash *h, const void *p, size_t n)
{
	uint8_t len[8];

	for (size_t i = 0; i < sizeof(len); i++)
		len[i] = (uint8_t)((uint64_t)n >> (8 * i));
	hash_add(h, len, sizeof(len));
	hash_add(h, p, n);
}

void hash_field_str(struct hash *h, const char *s)
{
	static const uint8_t none[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };

	if (s)
		hash_field(h, s, strlen(s));
	else
		hash_add(h, none, sizeof(none));
}

void hash_end(struct hash *h, struct digest *ret)
{
	must(SHA256_Final(ret->b, &h->ctx));
	must(SHA256_Init(&h->ctx));
}

void hash_bytes(const void *p, size_t n, struct digest *ret)
{
	auto_hash struct hash *h = hash_new();

	hash_add(h, p, n);
	hash_end(h, ret);
}

int hash_fd(int fd, struct digest *ret, struct err *err)
{
	enum { CHUNK = 256 << 10 };
	auto_free char *buf = mem_alloc(CHUNK);
	auto_hash struct hash *h = hash_new();

	for (;;) {
		ssize_t n = read(fd, buf, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			break;
		hash_add(h, buf, (size_t)n);
	}
	hash_end(h, ret);
	return 0;
}

void hash_chain(const struct digest *parent, const struct digest *diff_id, struct digest *ret)
{
	auto_str struct str s = { 0 };

	if (!parent) {
		*ret = *diff_id;
		return;
	}
	str_addf(&s, "%s %s", digest_str(parent), digest_str(diff_id));
	hash_bytes(s.s, s.len, ret);
}
