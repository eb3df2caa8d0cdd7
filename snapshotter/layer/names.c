/* SPDX-License-Identifier: Apache-2.0 */
/* Reading directories: one allocation for all names, no stream objects. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fs.h>

#include "priv.h"

enum { DENTS_BYTES = 32 << 10 };

void layer_names_free(struct layer_names *l)
{
	free(l->v);
	str_free(&l->text);
	*l = (struct layer_names){ 0 };
}

static int compare(const void *a, const void *b)
{
	const struct layer_name *x = a, *y = b;

	return strcmp(x->s, y->s);
}

static int type_of(int dir_fd, const char *name, unsigned char *ret, struct err *err)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", name);
	*ret = (unsigned char)IFTODT(st.st_mode);
	return 0;
}

static int add(struct layer_names *l, int dir_fd, const struct dirent64 *e, struct err *err)
{
	unsigned char type = e->d_type;
	int rc = 0;

	if (fs_is_dot(e->d_name))
		return 0;
	if (type == DT_UNKNOWN)
		rc = type_of(dir_fd, e->d_name, &type, err);
	if (rc < 0)
		return rc;
	mem_room(l->v, l->n, l->cap);
	/* The text may still move: the offset stands in for the pointer until all is read. */
	l->v[l->n++] = (struct layer_name){ (const char *)(uintptr_t)l->text.len, type };
	str_addn(&l->text, e->d_name, strlen(e->d_name) + 1);
	return 0;
}

int layer_names_read(int dir_fd, bool is_sorted, struct layer_names *ret, struct err *err)
{
	char buf[DENTS_BYTES] __attribute__((aligned(8)));
	auto_layer_names struct layer_names l = { 0 };
	ssize_t n;
	int rc;

	if (lseek(dir_fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind directory");
	while ((n = getdents64(dir_fd, buf, sizeof(buf))) != 0) {
		if (n < 0)
			return err_sys(err, "read directory");
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *e = (const void *)(buf + at);

			rc = add(&l, dir_fd, e, err);
			if (rc < 0)
				return rc;
			at += e->d_reclen;
		}
	}
	for (size_t i = 0; i < l.n; i++)
		l.v[i].s = l.text.s + (uintptr_t)l.v[i].s;
	if (is_sorted && l.n)
		qsort(l.v, l.n, sizeof(*l.v), compare);
	*ret = l;
	l = (struct layer_names){ 0 };
	return 0;
}
