/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 code points for patterns, where "?" is one character. */
#include "priv.h"

/* Lead byte: mask, value, bytes that follow, smallest code point that needs them. */
static const struct {
	uint8_t mask, lead, more;
	int32_t least;
} forms[] = {
	{ 0x80, 0x00, 0, 0 },
	{ 0xe0, 0xc0, 1, 0x80 },
	{ 0xf0, 0xe0, 2, 0x800 },
	{ 0xf8, 0xf0, 3, 0x10000 },
};

size_t utf8_decode(const char *s, int32_t *ret)
{
	uint8_t first = (uint8_t)*s;

	*ret = UTF8_RAW + first;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		int32_t c = first & (uint8_t)~forms[i].mask;

		if ((first & forms[i].mask) != forms[i].lead)
			continue;
		for (size_t k = 1; k <= forms[i].more; k++) {
			if (((uint8_t)s[k] & 0xc0) != 0x80)
				return 1;
			c = c << 6 | ((uint8_t)s[k] & 0x3f);
		}
		if (c < forms[i].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 1;
		*ret = c;
		return forms[i].more + 1U;
	}
	return 1;
}

void utf8_add(struct str *b, int32_t c)
{
	size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

	if (c >= UTF8_RAW) {
		str_addc(b, (char)(c - UTF8_RAW));
		return;
	}
	str_addc(b, (char)(forms[more].lead | c >> (6 * more)));
	while (more--)
		str_addc(b, (char)(0x80 | ((c >> (6 * more)) & 0x3f)));
}
