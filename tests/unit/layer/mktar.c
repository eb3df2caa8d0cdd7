/* SPDX-License-Identifier: Apache-2.0 */
#include "mktar.h"

#include <stdio.h>
#include <string.h>

#include <shale/base/fd.h>

enum { BLOCK = 512 };

static void header(char h[BLOCK], const struct mk *m, uint64_t size)
{
	unsigned sum = 0;

	memset(h, 0, BLOCK);
	snprintf(h, 100, "%s", m->name);
	snprintf(h + 100, 8, "%07o", m->mode);
	snprintf(h + 108, 8, "%07o", m->uid);
	snprintf(h + 116, 8, "%07o", 0);
	snprintf(h + 124, 12, "%011llo", (unsigned long long)size & 077777777777ull);
	if (size >> 33) { /* base-256 */
		h[124] = (char)0x80;
		for (int i = 1; i < 12; i++)
			h[124 + i] = (char)(i < 4 ? 0 : size >> (8 * (11 - i)));
	}
	snprintf(h + 136, 12, "%011o", m->mtime ? m->mtime : 1000);
	h[156] = m->type;
	snprintf(h + 157, 100, "%s", m->target ? m->target : "");
	snprintf(h + 257, 6, "ustar");
	h[263] = h[264] = '0';
	snprintf(h + 329, 8, "%07o", m->major);
	snprintf(h + 337, 8, "%07o", m->minor);
	memset(h + 148, ' ', 8);
	for (int i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
}

static void body(struct str *to, const void *p, size_t n)
{
	static const char zeros[BLOCK];

	str_addn(to, p, n);
	str_addn(to, zeros, -n % BLOCK);
}

void mktar(struct str *to, const struct mk *m)
{
	size_t n = m->data ? strlen(m->data) : 0;
	char h[BLOCK];

	header(h, m, m->size ? m->size : n);
	str_addn(to, h, sizeof(h));
	body(to, m->data ? m->data : "", n);
}

void mktar_pax(struct str *to, const char *key, const void *value, size_t len)
{
	size_t rest = strlen(key) + len + 3, total = rest;

	for (int i = 0; i < 4; i++)
		total = rest + (size_t)snprintf(NULL, 0, "%zu", total);
	str_addf(to, "%zu %s=", total, key);
	str_addn(to, value, len);
	str_addc(to, '\n');
}

void mktar_pax_end(struct str *to)
{
	struct str records = *to;
	char h[BLOCK];

	*to = (struct str){ 0 };
	header(h, &(struct mk){ .type = 'x', .name = "pax" }, records.len);
	str_addn(to, h, sizeof(h));
	body(to, records.s, records.len);
	str_free(&records);
}

void mktar_end(struct str *to)
{
	static const char zeros[2 * BLOCK];

	str_addn(to, zeros, sizeof(zeros));
}

void mktar_save(struct fix *f, const char *name, const struct str *tar)
{
	auto_free char *path = mem_fmt("t/%s", name);

	ok(f, fd_write_file(f->fd, path, tar->s, tar->len, 0600, &f->err));
}
