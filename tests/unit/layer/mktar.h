/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives byte by byte, also wrong ones. */
#ifndef TEST_MKTAR_H
#define TEST_MKTAR_H

#include "test.h"

struct mk {
	char type;
	const char *name, *target, *data;
	unsigned mode, uid, major, minor, mtime; /* mtime 0: 1000 */
	uint64_t size;                           /* unless 0 instead of that of data */
};

void mktar(struct str *to, const struct mk *m);
/* Records of a PAX header, which mktar_pax_end closes; only a new str may begin so. */
void mktar_pax(struct str *to, const char *key, const void *value, size_t len);
void mktar_pax_end(struct str *to);
void mktar_end(struct str *to);
void mktar_save(struct fix *f, const char *name, const struct str *tar);

#endif
