/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar reader beneath layer_apply: whatever the bytes are, it ends, stays within its limits, and
 * gives each piece of data a place within its file, after the one before.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "../../snapshotter/layer/priv.h"
#include "fuzz.h"

enum { INPUT_MAX = 1 << 20, PIECES_MAX = 4096 };

static int read_data(struct layer_untar *u, struct err *err)
{
	uint64_t at = 0, end = 0;
	const void *p;
	ssize_t n = 1;

	for (int i = 0; i < PIECES_MAX && (n = layer_untar_data(u, &p, &at, err)) > 0; i++) {
		must(at >= end && at <= u->e.size && (uint64_t)n <= u->e.size - at);
		must(n <= LAYER_CHUNK && p);
		end = at + (uint64_t)n;
	}
	return n < 0 ? (int)n : 0;
}

static void check_xattrs(const struct layer_entry *e)
{
	const char *name;
	const void *value;
	uint32_t len;
	size_t at = 0;

	while (layer_attrs_next(e->xattrs.s, e->xattrs.len, &at, &name, &value, &len)) {
		auto_str struct str text = { 0 }, again = { 0 };

		must(len <= LAYER_XATTR_MAX && strlen(name) <= 255);
		/* What is an ACL stays one on its way through text. */
		if (layer_acl_text(value, len, &text))
			must(layer_acl_parse(str_get(&text), &again) >= 0);
	}
	must(at == e->xattrs.len);
}

static int read_entries(struct layer_untar *u, struct err *err)
{
	int rc;

	while ((rc = layer_untar_next(u, err)) > 0) {
		auto_str struct str clean = { 0 };
		struct err ignored = { 0 };
		const struct layer_entry *e = &u->e;

		must(e->kind && strchr("fdlhpcb", e->kind));
		must(e->mode <= 07777 && e->uid <= LAYER_ID_MAX && e->gid <= LAYER_ID_MAX);
		must(e->path.len <= LAYER_PATH_MAX && e->n_parts <= LAYER_PARTS_MAX + 1);
		check_xattrs(e);
		if (layer_clean(&e->path, &clean, &ignored) >= 0)
			must(clean.s[0] != '/' && strcmp(clean.s, "..") != 0 &&
			     !str_starts(clean.s, "../"));
		rc = read_data(u, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* Headers get their checksum, which no fuzzer finds by itself. */
static void mend(char *p, size_t size)
{
	for (; size >= LAYER_TAR_BLOCK; p += LAYER_TAR_BLOCK, size -= LAYER_TAR_BLOCK) {
		struct layer_block *h = (void *)p;
		unsigned sum = 0;

		if (memcmp(h->magic, "ustar", 5) != 0)
			continue;
		memset(h->chksum, ' ', sizeof(h->chksum));
		for (size_t i = 0; i < LAYER_TAR_BLOCK; i++)
			sum += (unsigned char)p[i];
		snprintf(h->chksum, sizeof(h->chksum), "%06o", sum & 0777777);
	}
}

static int input_fd(const uint8_t *data, size_t size)
{
	static char copy[INPUT_MAX];
	static int fd = -1;

	if (size > INPUT_MAX)
		return -1;
	if (fd < 0)
		fd = memfd_create("input", MFD_CLOEXEC);
	memcpy(copy, data, size);
	mend(copy, size);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, copy, size, 0) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_layer_stream struct layer_stream *s = NULL;
	static char *buf; /* the reader's: kept, since making it anew would be most of the work */
	struct layer_untar u = { .buf = buf };
	struct err err = { 0 };
	int fd = input_fd(data, size), rc;

	if (fd < 0)
		return 0;
	rc = layer_stream_new(fd, 0, &s, &err);
	u.from = s;
	if (rc >= 0)
		rc = read_entries(&u, &err);
	must_tell(rc, &err);
	buf = take(u.buf);
	layer_untar_free(&u);
	return 0;
}
