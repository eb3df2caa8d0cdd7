/* SPDX-License-Identifier: Apache-2.0 */
#include "prop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/capability.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

enum { BLOCK = 4096, CHUNK = 256 << 10 };

struct inode_name {
	dev_t dev;
	ino_t ino;
	unsigned layer;
	char *path;
};

struct tree {
	unsigned flags;
	const struct origins *origins;
	struct str *text;
	struct str path;
	struct inode_name *v;
	size_t n, cap;
	char *buf;
};

static void tree_free(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].path);
	free(t->v);
	str_free(&t->path);
	free(t->buf);
}
#define auto_tree cleanup(tree_free)

/* --- attributes --- */

static bool is_compared(const struct tree *t, const char *name)
{
	if ((t->flags & TREE_NO_XATTRS) || str_starts(name, "trusted.") ||
	    str_starts(name, "user.overlay.") || !strcmp(name, "security.selinux"))
		return false;
	return !(t->flags & TREE_NO_ACL) || !str_starts(name, "system.posix_acl");
}

static void add_value(struct tree *t, const char *name, const unsigned char *v, ssize_t n)
{
	uint32_t magic;

	str_addf(t->text, " %s=", name);
	/* A layer has capabilities without the namespace that they were set in. */
	if (!strcmp(name, "security.capability") && n == XATTR_CAPS_SZ_3) {
		memcpy(&magic, v, sizeof(magic));
		if ((magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3) {
			str_addf(t->text, "%08x", magic - VFS_CAP_REVISION_3 + VFS_CAP_REVISION_2);
			v += sizeof(magic);
			n = XATTR_CAPS_SZ_2 - (ssize_t)sizeof(magic);
		}
	} else if (!strcmp(name, "security.capability") && n == XATTR_CAPS_SZ_2) {
		memcpy(&magic, v, sizeof(magic));
		str_addf(t->text, "%08x", magic);
		v += sizeof(magic);
		n -= (ssize_t)sizeof(magic);
	}
	for (ssize_t i = 0; i < n; i++)
		str_addf(t->text, "%02x", v[i]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_xattrs(struct tree *t, const char *at, struct err *err)
{
	enum { NAMES = 64 << 10, NAMES_MAX = 256 };
	const char *names[NAMES_MAX];
	ssize_t len = llistxattr(at, t->buf, NAMES), n;
	size_t k = 0;

	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : err_sys(err, "list xattrs");
	for (const char *p = t->buf; p < t->buf + len; p += strlen(p) + 1)
		if (is_compared(t, p) && k < NAMES_MAX)
			names[k++] = p;
	if (k)
		qsort(names, k, sizeof(*names), by_name);
	for (size_t i = 0; i < k; i++) {
		n = lgetxattr(at, names[i], t->buf + NAMES, NAMES);
		if (n < 0)
			return err_sys(err, "xattr %s", names[i]);
		add_value(t, names[i], (unsigned char *)t->buf + NAMES, n);
	}
	return 0;
}

/* --- content --- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const unsigned char *c = p;
	uint64_t w;

	for (; n >= sizeof(w); n -= sizeof(w), c += sizeof(w)) {
		memcpy(&w, c, sizeof(w));
		h = (h ^ w) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	for (; n; n--)
		h = (h ^ *c++) * 0x100000001b3u;
	return h;
}

static bool is_zero(const char *p, size_t n)
{
	return n == 0 || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* Blocks of zeros count for nothing, whether they are there or not. */
static void add_blocks(uint64_t *h, uint64_t *n_blocks, const char *p, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i += BLOCK) {
		size_t k = n - i < BLOCK ? n - i : (size_t)BLOCK;
		uint64_t where = at + i;

		if (is_zero(p + i, k))
			continue;
		*h = mix(mix(*h, &where, sizeof(where)), p + i, k);
		++*n_blocks;
	}
}

static int add_content(struct tree *t, int fd, uint64_t size, struct err *err)
{
	uint64_t h = 0xcbf29ce484222325u, full = 0, taken = 0, at = 0;

	while (at < size) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return err_sys(err, "seek");
		taken += ((uint64_t)hole - (uint64_t)data + BLOCK - 1) / BLOCK;
		at = (uint64_t)data & ~(uint64_t)(BLOCK - 1);
		while (at < (uint64_t)hole) {
			ssize_t n = pread(fd, t->buf, CHUNK, (off_t)at);

			if (n <= 0)
				return err_sys(err, "read");
			n = (uint64_t)n > (uint64_t)hole - at ? (ssize_t)((uint64_t)hole - at) : n;
			add_blocks(&h, &full, t->buf, (size_t)n, at);
			at += (uint64_t)n;
		}
		at = (uint64_t)hole;
	}
	str_addf(t->text, " %llu %016llx", (unsigned long long)size, (unsigned long long)h);
	if ((t->flags & TREE_COMPACT) && taken > full)
		return err_set(err, EBADMSG, "%s: %llu blocks are taken for %llu that have data",
			       str_get(&t->path), (unsigned long long)taken,
			       (unsigned long long)full);
	return 0;
}

/* --- things --- */

static unsigned layer_of(const struct origins *o, const char *path)
{
	for (size_t i = o ? o->n : 0; i-- > 0;)
		if (!strcmp(o->v[i].path, path))
			return o->v[i].layer;
	return 0;
}

static const char *first_name(struct tree *t, const struct stat *st)
{
	unsigned layer = layer_of(t->origins, str_get(&t->path));

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].ino == st->st_ino && t->v[i].dev == st->st_dev &&
		    t->v[i].layer == layer)
			return t->v[i].path;
	mem_room(t->v, t->n, t->cap);
	t->v[t->n++] =
		(struct inode_name){ st->st_dev, st->st_ino, layer, mem_str(str_get(&t->path)) };
	return NULL;
}

static int add_details(struct tree *t, int dir, const char *name, const struct stat *st,
		       struct err *err)
{
	auto_free char *at = mem_fmt("/proc/self/fd/%d/%s", dir, name);
	char target[PATH_MAX];
	ssize_t n;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(dir, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_sys(err, "read link");
		target[n] = 0;
		str_addf(t->text, " -> %s", target);
	}
	if (S_ISREG(st->st_mode)) {
		auto_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
		int rc = fd < 0 ? err_sys(err, "open")
				: add_content(t, fd, (uint64_t)st->st_size, err);

		if (rc < 0)
			return rc;
	}
	return add_xattrs(t, at, err);
}

static int add_line(struct tree *t, int dir, const char *name, const struct stat *st,
		    struct err *err)
{
	const char *first = NULL;
	int rc;

	str_addf(t->text, "%s %o %u:%u", str_get(&t->path), st->st_mode, st->st_uid, st->st_gid);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		str_addf(t->text, " %u,%u", major(st->st_rdev), minor(st->st_rdev));
	if (*str_get(&t->path)) /* "/" changes with every mountpoint: its time is nobody's */
		str_addf(t->text, " @%lld", (long long)st->st_mtim.tv_sec);
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
		first = first_name(t, st);
	if (first)
		str_addf(t->text, " = %s", first);
	rc = first ? 0 : add_details(t, dir, name, st, err);
	str_addc(t->text, '\n');
	return rc;
}

static int add_dir(struct tree *t, int dir, struct err *err);

static int add_one(struct tree *t, int dir, const char *name, struct err *err)
{
	bool is_root = !strcmp(name, ".");
	struct stat st;
	int rc;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat");
	if (S_ISSOCK(st.st_mode) ||
	    ((t->flags & TREE_RAW) && S_ISCHR(st.st_mode) && st.st_rdev == 0))
		return 0;
	if ((t->flags & TREE_WHOLE_SECONDS) && st.st_mtim.tv_nsec)
		return err_set(err, EBADMSG, "%s: its mtime has %ld ns", str_get(&t->path),
			       st.st_mtim.tv_nsec);
	rc = is_root && (t->flags & TREE_NO_ROOT) ? 0 : add_line(t, dir, name, &st, err);
	if (rc >= 0 && S_ISDIR(st.st_mode)) {
		auto_fd int sub =
			openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		rc = sub < 0 ? err_sys(err, "open") : add_dir(t, sub, err);
	}
	return rc;
}

static int add_dir(struct tree *t, int dir, struct err *err)
{
	auto_strv struct strv names = { 0 };
	size_t len = t->path.len;
	int rc = fs_list(dir, ".", &names, err);

	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		str_addf(&t->path, "/%s", names.v[i]);
		rc = add_one(t, dir, names.v[i], err);
		if (rc < 0)
			return err_ctx(err, "%s", str_get(&t->path));
		t->path.len = len;
		t->path.s[len] = 0;
	}
	return rc;
}

int tree_text(int root, unsigned flags, const struct origins *o, struct str *ret, struct err *err)
{
	auto_tree struct tree t = { .flags = flags, .origins = o, .text = ret };

	str_reset(ret);
	str_add(&t.path, "");
	t.buf = mem_alloc(CHUNK);
	return add_one(&t, root, ".", err);
}

void origins_add(struct origins *o, const char *path, unsigned layer)
{
	mem_room(o->v, o->n, o->cap);
	o->v[o->n++] = (struct origin){ mem_fmt("/%s", path), layer };
}

void origins_free(struct origins *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->v[i].path);
	free(o->v);
	*o = (struct origins){ 0 };
}

static void add_missing(const struct strv *from, const struct strv *in, char sign, struct str *ret)
{
	enum { SHOWN = 12 };
	unsigned n = 0;

	for (size_t i = 0; i < from->n && n < SHOWN; i++) {
		if (strv_has(in, from->v[i]))
			continue;
		str_addf(ret, "%c%s\n", sign, from->v[i]);
		n++;
	}
}

void tree_differences(const char *a, const char *b, struct str *ret)
{
	auto_strv struct strv x = { 0 }, y = { 0 };

	strv_split(&x, a, '\n');
	strv_split(&y, b, '\n');
	add_missing(&x, &y, '-', ret);
	add_missing(&y, &x, '+', ret);
}
