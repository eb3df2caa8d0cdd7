/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: what of them goes into a layer (TRAPS c), and what overlayfs says with them
 * (TRAPS a). */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <linux/capability.h>
#include <linux/limits.h>

#include <shale/base/fd.h>

#include "priv.h"

#define OVERLAY "trusted.overlay."

enum { REDIRECT_MAX = 4096, NAMES_SMALL = 2048 };

/* Where attributes are read: by fd, or by a path whose last component is not followed. */
struct from {
	int fd;
	const char *path;
};

static ssize_t list(const struct from *f, char *buf, size_t n)
{
	return f->path ? llistxattr(f->path, buf, n) : flistxattr(f->fd, buf, n);
}

static ssize_t get(const struct from *f, const char *name, void *buf, size_t n)
{
	return f->path ? lgetxattr(f->path, name, buf, n) : fgetxattr(f->fd, name, buf, n);
}

void layer_attrs_reset(struct layer_attrs *a)
{
	str_reset(&a->kept);
	free(a->redirect);
	a->redirect = NULL;
	a->opaque = 0;
	a->is_metacopy = a->is_whiteout = false;
}

void layer_attrs_free(struct layer_attrs *a)
{
	layer_attrs_reset(a);
	str_free(&a->kept);
}

bool layer_attr_is_kept(const char *name)
{
	static const char *const whole[] = { "security.capability", "security.ima",
					     LAYER_ACL_ACCESS, LAYER_ACL_DEFAULT };

	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (!strcmp(name, whole[i]))
			return true;
	return str_starts(name, "user.") && name[5] && !str_starts(name, "user.overlay.");
}

void layer_attrs_pack(struct str *to, const char *name, const void *value, size_t len)
{
	uint32_t n = htole32((uint32_t)len);

	str_addn(to, name, strlen(name) + 1);
	str_addn(to, &n, sizeof(n));
	str_addn(to, value, len);
}

bool layer_attrs_next(const void *packed, size_t len, size_t *at, const char **ret_name,
		      const void **ret_value, uint32_t *ret_len)
{
	const char *p = packed;
	const char *end = *at < len ? memchr(p + *at, 0, len - *at) : NULL;
	uint32_t n;
	size_t pos;

	if (!end)
		return false;
	pos = (size_t)(end - p) + 1;
	if (len - pos < sizeof(n))
		return false;
	memcpy(&n, p + pos, sizeof(n));
	n = le32toh(n);
	pos += sizeof(n);
	if (len - pos < n)
		return false;
	*ret_name = p + *at;
	*ret_value = p + pos;
	*ret_len = n;
	*at = pos + n;
	return true;
}

/* The owner of the user namespace that version 3 names has no meaning elsewhere: exported as
 * version 2. */
size_t layer_plain_capability(char *value, size_t len)
{
	uint32_t magic;

	if (len != XATTR_CAPS_SZ_3)
		return len;
	memcpy(&magic, value, sizeof(magic));
	magic = le32toh(magic);
	if ((magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_3)
		return len;
	magic = htole32((magic & ~(uint32_t)VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_2);
	memcpy(value, &magic, sizeof(magic));
	return XATTR_CAPS_SZ_2;
}

static int keep(const struct from *f, const char *name, struct layer_attrs *a, struct err *err)
{
	char small[512];
	auto_free char *big = NULL;
	char *value = small;
	ssize_t n = get(f, name, small, sizeof(small));

	if (n < 0 && errno == ERANGE) {
		value = big = mem_alloc(LAYER_XATTR_MAX);
		n = get(f, name, big, LAYER_XATTR_MAX);
	}
	if (n < 0)
		return errno == ENODATA ? 0 : err_sys(err, "xattr %s", name);
	if (!strcmp(name, "security.capability"))
		n = (ssize_t)layer_plain_capability(value, (size_t)n);
	layer_attrs_pack(&a->kept, name, value, (size_t)n);
	return 0;
}

static int mark(const struct from *f, const char *name, struct layer_attrs *a, struct err *err)
{
	const char *what = name + strlen(OVERLAY);
	char buf[REDIRECT_MAX + 1];
	ssize_t n;

	if (!strcmp(what, "metacopy")) {
		a->is_metacopy = true;
	} else if (!strcmp(what, "whiteout")) {
		a->is_whiteout = true;
	} else if (!strcmp(what, "opaque") || !strcmp(what, "redirect")) {
		n = get(f, name, buf, REDIRECT_MAX);
		if (n < 0)
			return err_sys(err, "xattr %s", name);
		buf[n] = 0;
		/* The whole value counts: "x" is not opaque. */
		if (*what == 'o' && n == 1)
			a->opaque = buf[0];
		if (*what == 'r')
			a->redirect = mem_str(buf);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct kept {
	const char **v;
	size_t n, cap;
};

static void kept_add(struct kept *k, const char *name)
{
	mem_room(k->v, k->n, k->cap);
	k->v[k->n++] = name;
}

static int sort_out(const struct from *f, const char *names, size_t len, struct layer_attrs *a,
		    struct err *err)
{
	struct kept k = { 0 };
	int rc = 0;

	for (const char *p = names; p < names + len && rc >= 0; p += strlen(p) + 1) {
		if (str_starts(p, OVERLAY))
			rc = mark(f, p, a, err);
		else if (layer_attr_is_kept(p))
			kept_add(&k, p);
	}
	if (k.n)
		qsort(k.v, k.n, sizeof(*k.v), by_name);
	for (size_t i = 0; i < k.n && rc >= 0; i++)
		rc = keep(f, k.v[i], a, err);
	free(k.v);
	return rc;
}

static int read_from(const struct from *f, struct layer_attrs *a, struct err *err)
{
	char small[NAMES_SMALL + 1];
	auto_free char *big = NULL;
	char *names = small;
	ssize_t n;

	layer_attrs_reset(a);
	n = list(f, small, NAMES_SMALL);
	if (n < 0 && errno == ERANGE) {
		names = big = mem_alloc(XATTR_LIST_MAX + 1);
		n = list(f, big, XATTR_LIST_MAX);
	}
	if (n < 0)
		return errno == EOPNOTSUPP ? 0 : err_sys(err, "list xattrs");
	names[n] = 0;
	return n ? sort_out(f, names, (size_t)n, a, err) : 0;
}

int layer_attrs_read(int fd, struct layer_attrs *a, struct err *err)
{
	return read_from(&(struct from){ fd, NULL }, a, err);
}

int layer_attrs_read_at(int dir_fd, const char *name, struct layer_attrs *a, struct err *err)
{
	char path[FD_PATH_MAX + NAME_MAX + 2];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	return read_from(&(struct from){ -1, path }, a, err);
}
