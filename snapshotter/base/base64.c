/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <shale/base/str.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void str_add_base64(struct str *b, const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)u[i] << 16 | (i + 1 < n ? (uint32_t)u[i + 1] << 8 : 0) |
			     (i + 2 < n ? u[i + 2] : 0);

		str_addc(b, digits[v >> 18]);
		str_addc(b, digits[v >> 12 & 63]);
		str_addc(b, (char)(i + 1 < n ? digits[v >> 6 & 63] : '='));
		str_addc(b, (char)(i + 2 < n ? digits[v & 63] : '='));
	}
}

static int digit_of(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

int str_from_base64(const char *s, char **ret, size_t *ret_len)
{
	size_t n = strcspn(s, "="), at = 0;
	auto_free char *out = mem_alloc(n + 1);
	unsigned bits = 0, have = 0;

	if (s[n + strspn(s + n, "=")])
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int d = digit_of(s[i]);

		if (d < 0)
			return -EINVAL;
		bits = bits << 6 | (unsigned)d;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		out[at++] = (char)(bits >> have & 0xff);
	}
	*ret = take(out);
	*ret_len = at;
	return 0;
}
