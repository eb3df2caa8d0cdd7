/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <shale/base/str.h>

static int digit_of(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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
