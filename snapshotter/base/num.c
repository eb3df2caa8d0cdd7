/* SPDX-License-Identifier: Apache-2.0 */
/* Strict numbers: whole strings only, no sign, no wrap (TRAPS T15). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <shale/base/str.h>

int str_to_u64(const char *s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s || !*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (*s < '0' || digit >= base)
			return -EINVAL;
		if (v > (UINT64_MAX - digit) / base)
			return -EINVAL;
		v = v * base + digit;
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* digits[.digits] at *s, as a whole part and a fraction scaled to 1e9. */
static int decimal(const char **s, uint64_t *ret_whole, uint64_t *ret_nano)
{
	uint64_t whole = 0, nano = 0, scale = 100000000;
	const char *p = *s;

	if (!isdigit((unsigned char)*p) && *p != '.')
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++) {
		if (whole > UINT64_MAX / 100)
			return -EINVAL;
		whole = whole * 10 + (uint64_t)(*p - '0');
	}
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++, scale /= 10)
			nano += (uint64_t)(*p - '0') * scale;
	}
	*s = p;
	*ret_whole = whole;
	*ret_nano = nano;
	return 0;
}

int str_to_bytes(const char *s, uint64_t *ret)
{
	static const char *const unit[] = { "", "k", "m", "g", "t", "p" };
	uint64_t whole, nano, mul = 1;
	char suffix[8];
	size_t n;

	if (!s || decimal(&s, &whole, &nano) < 0)
		return -EINVAL;
	while (*s == ' ')
		s++;
	if (strlen(s) >= sizeof(suffix))
		return -EINVAL;
	for (n = 0; s[n]; n++)
		suffix[n] = (char)tolower((unsigned char)s[n]);
	suffix[n] = 0;
	/* k, kb and kib are all binary, as in docker run --memory. */
	if (n && suffix[n - 1] == 'b')
		suffix[--n] = 0;
	if (n == 2 && suffix[1] == 'i')
		suffix[--n] = 0;
	for (size_t i = 0; i < ARRAY_LEN(unit); i++, mul *= 1024) {
		if (strcmp(suffix, unit[i]) != 0)
			continue;
		if (whole && mul > UINT64_MAX / (whole + 1))
			return -EINVAL;
		*ret = whole * mul + (uint64_t)((double)nano / 1e9 * (double)mul);
		return 0;
	}
	return -EINVAL;
}

int str_to_duration(const char *s, int64_t *ret_ns)
{
	static const struct {
		const char *name;
		double ns;
	} unit[] = { { "ns", 1 },     { "us", 1e3 }, { "ms", 1e6 },
		     { "h", 3600e9 }, { "m", 60e9 }, { "s", 1e9 } };
	double total = 0;

	if (!s || !*s)
		return -EINVAL;
	if (!strcmp(s, "0")) {
		*ret_ns = 0;
		return 0;
	}
	while (*s) {
		uint64_t whole, nano;
		size_t i;

		if (decimal(&s, &whole, &nano) < 0)
			return -EINVAL;
		for (i = 0; i < ARRAY_LEN(unit); i++)
			if (str_starts(s, unit[i].name))
				break;
		if (i == ARRAY_LEN(unit))
			return -EINVAL;
		s += strlen(unit[i].name);
		total += ((double)whole + (double)nano / 1e9) * unit[i].ns;
	}
	if (total > 9e18)
		return -EINVAL;
	*ret_ns = (int64_t)total;
	return 0;
}

const char *str_size(uint64_t bytes, char buf[STR_SIZE_MAX])
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000 && i + 1 < ARRAY_LEN(unit)) {
		v /= 1000;
		i++;
	}
	if (i == 0)
		snprintf(buf, STR_SIZE_MAX, "%lluB", (unsigned long long)bytes);
	else
		snprintf(buf, STR_SIZE_MAX, "%.3g%s", v, unit[i]);
	return buf;
}
