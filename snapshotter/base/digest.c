/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/digest.h>

#include <errno.h>
#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int digest_parse_hex(const char *hex, struct digest *ret)
{
	struct digest d;

	if (strlen(hex) != 2 * (size_t)DIGEST_LEN)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		d.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = d;
	return 0;
}

int digest_parse(const char *s, struct digest *ret, struct err *err)
{
	if (!s || strncmp(s, "sha256:", 7) != 0 || digest_parse_hex(s + 7, ret) < 0)
		return err_set(err, EINVAL, "%.100s is not a digest (sha256: and 64 hex digits)",
			       s ? s : "nothing");
	return 0;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return !memcmp(a->b, b->b, DIGEST_LEN);
}

bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_eq(d, &zero);
}

const char *digest_format_hex(const struct digest *d, char buf[DIGEST_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < (size_t)DIGEST_LEN; i++) {
		buf[2 * i] = digits[d->b[i] >> 4];
		buf[2 * i + 1] = digits[d->b[i] & 15];
	}
	buf[DIGEST_HEX_MAX - 1] = 0;
	return buf;
}

const char *digest_format(const struct digest *d, char buf[DIGEST_STR_MAX])
{
	snprintf(buf, DIGEST_STR_MAX, "sha256:%s", digest_hex(d));
	return buf;
}
