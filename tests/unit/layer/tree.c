/* SPDX-License-Identifier: Apache-2.0 */
/* Trees as text, one line a thing with everything that a layer carries, so that two of them are
 * compared as strings. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/digest.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>

struct inode_name {
	ino_t ino;
	char *path;
};

struct tree {
	struct str text;
	struct inode_name *v;
	size_t n, cap;
};

static void add_xattrs(struct tree *t, int fd)
{
	auto_free char *names = NULL;
	struct err err = { 0 };
	struct strv l = { 0 };
	size_t len = 0;

	if (fs_xattr_list(fd, &names, &len, &err) < 0)
		return;
	for (char *p = names; p < names + len; p += strlen(p) + 1)
		if (!str_starts(p, "trusted.") && !str_starts(p, "security.selinux")) {
			auto_free char *value = NULL;
			size_t n = 0;
			auto_str struct str hex = { 0 };

			if (fs_xattr_get(fd, p, &value, &n, &err) < 0)
				fail_msg("%s", err.msg);
			str_addf(&hex, "%s=", p);
			for (size_t i = 0; i < n; i++)
				str_addf(&hex, "%02x", (unsigned char)value[i]);
			strv_add(&l, str_get(&hex));
		}
	/* few enough to be sorted so */
	for (size_t i = 0; i < l.n; i++)
		for (size_t k = i + 1; k < l.n; k++)
			if (strcmp(l.v[i], l.v[k]) > 0) {
				char *x = l.v[i];

				l.v[i] = l.v[k];
				l.v[k] = x;
			}
	for (size_t i = 0; i < l.n; i++)
		str_addf(&t->text, " %s", l.v[i]);
	strv_free(&l);
}

static const char *first_name(struct tree *t, const struct stat *st, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].ino == st->st_ino)
			return t->v[i].path;
	mem_room(t->v, t->n, t->cap);
	t->v[t->n++] = (struct inode_name){ st->st_ino, mem_str(path) };
	return NULL;
}

static void add_content(struct tree *t, int dir, const char *name, const struct stat *st)
{
	auto_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err err = { 0 };
	struct digest d;

	assert_true(fd >= 0);
	if (hash_fd(fd, &d, &err) < 0)
		fail_msg("%s", err.msg);
	str_addf(&t->text, " %lld %.16s", (long long)st->st_size, digest_hex(&d));
}

static void add_dir(struct tree *t, int dir, const char *path);

static void add_one(struct tree *t, int dir, const char *name, const char *path)
{
	auto_fd int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	const char *first = NULL;
	char target[PATH_MAX] = "";
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISSOCK(st.st_mode))
		return;
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1)
		first = first_name(t, &st, path);
	if (S_ISLNK(st.st_mode))
		assert_true(readlinkat(dir, name, target, sizeof(target) - 1) >= 0);
	str_addf(&t->text, "%s %o %u:%u %u,%u %s", path, st.st_mode, st.st_uid, st.st_gid,
		 major(st.st_rdev), minor(st.st_rdev), target);
	if (!S_ISDIR(st.st_mode))
		str_addf(&t->text, " @%lld", (long long)st.st_mtim.tv_sec);
	if (first)
		str_addf(&t->text, " = %s", first);
	if (S_ISREG(st.st_mode))
		add_content(t, dir, name, &st);
	if (!S_ISLNK(st.st_mode))
		add_xattrs(t, fd);
	str_addc(&t->text, '\n');
	if (S_ISDIR(st.st_mode)) {
		auto_fd int sub =
			openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		add_dir(t, sub, path);
	}
}

static void add_dir(struct tree *t, int dir, const char *path)
{
	auto_strv struct strv names = { 0 };
	struct err err = { 0 };

	if (fs_list(dir, ".", &names, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < names.n; i++) {
		auto_free char *sub = mem_fmt("%s/%s", path, names.v[i]);

		add_one(t, dir, names.v[i], sub);
	}
}

static char *tree_text(int root)
{
	struct tree t = { 0 };
	char *text;

	add_one(&t, root, ".", "");
	for (size_t i = 0; i < t.n; i++)
		free(t.v[i].path);
	free(t.v);
	text = str_take(&t.text);
	return text;
}

void same_tree(int a, int b, const char *what)
{
	auto_free char *x = tree_text(a), *y = tree_text(b);

	if (strcmp(x, y) != 0)
		fail_msg("%s: the trees differ\n--- as it was made\n%s--- as it was unpacked\n%s",
			 what, x, y);
}
