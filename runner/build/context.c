/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build context: read in place, walked once, never followed out of its directory. Every open
 * goes beneath the directory's fd and follows no symlink, since others may change the tree while it
 * is read (TRAPS T1).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "context.h"

enum { DEPTH_MAX = 256, FILES_MAX = 20 << 20, IGNORE_BYTES_MAX = 1 << 20 };

int context_open(struct runtime *rt, const char *dir, struct context **ret, struct err *err)
{
	auto_free char *real = realpath(dir, NULL);
	auto_context struct context *c = mem_alloc(sizeof(*c));

	c->rt = rt;
	c->fd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (c->fd < 0)
		return err_sys(err, "build context %s", dir);
	c->name = take(real);
	*ret = take(c);
	return 0;
}

static void forget_files(struct context *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->files[i].path);
		free(c->files[i].link);
	}
	c->n = 0;
}

void context_close(struct context *c)
{
	if (!c)
		return;
	context_ahead_end(c);
	if (c->learned && !c->is_tree)
		context_index_write(c);
	context_index_close(&c->index);
	forget_files(c);
	free(c->files);
	ignore_free(c->ignore);
	free(c->name);
	fd_close(&c->fd);
	free(c);
}

void context_cleanup(struct context **c)
{
	int saved = errno;

	context_close(*c);
	*c = NULL;
	errno = saved;
}

int context_fd(const struct context *c)
{
	return c->fd;
}

int context_read_fd(int at_fd, size_t limit, char **ret, size_t *ret_len, struct err *err)
{
	auto_fd int fd = -1;
	char path[FD_PATH_MAX];
	struct stat st;

	/* A device may do something when it is opened, and a fifo waits. */
	if (fstat(at_fd, &st) < 0)
		return err_sys(err, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "no regular file");
	fd = open(fd_path(at_fd, path), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open");
	return fd_read_all(fd, limit, ret, ret_len, err);
}

int context_read(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
		 struct err *err)
{
	auto_fd int at = path_open_beneath(dir_fd, name, O_PATH, 0, err);

	return at < 0 ? fd_take(&at) : context_read_fd(at, limit, ret, ret_len, err);
}

/* 1 when the file was there. */
static int read_ignore(struct context *c, int dir_fd, const char *name, struct err *err)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = context_read(dir_fd, name, IGNORE_BYTES_MAX, &text, &len, err);

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc >= 0)
		rc = ignore_parse(text, len, &c->ignore, err);
	return rc < 0 ? err_ctx(err, "%s", name) : 1;
}

const struct ignore *context_rules(const struct context *c)
{
	return c->ignore;
}

int context_ignore(struct context *c, int dir_fd, const char *dockerfile, struct err *err)
{
	auto_free char *own = dockerfile ? mem_fmt("%s.dockerignore", dockerfile) : NULL;
	int rc = own ? read_ignore(c, dir_fd, own, err) : 0;

	if (rc == 0)
		rc = read_ignore(c, c->fd, ".dockerignore", err);
	return rc < 0 ? rc : 0;
}

static int64_t time_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct context_file *add_file(struct context *c, const char *path, const struct stat *st)
{
	struct context_file *f;

	mem_room(c->files, c->n, c->cap);
	f = &c->files[c->n++];
	*f = (struct context_file){
		.path = mem_str(path),
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.nlink = (uint32_t)st->st_nlink,
		.rdev = st->st_rdev,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = time_ns(&st->st_mtim),
		.ctime_ns = time_ns(&st->st_ctim),
	};
	return f;
}

bool context_is_same(const struct context *c, int fd, const struct context_file *f)
{
	struct stat st;

	if (c->is_tree) /* frozen */
		return true;
	return fstat(fd, &st) == 0 && st.st_ino == f->ino && (uint64_t)st.st_size == f->size &&
	       time_ns(&st.st_mtim) == f->mtime_ns && time_ns(&st.st_ctim) == f->ctime_ns;
}

static int read_link(int dir_fd, const char *name, char **ret, struct err *err)
{
	char buf[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, buf, sizeof(buf) - 1);

	if (n < 0)
		return err_sys(err, "read link %s", name);
	*ret = mem_strn(buf, (size_t)n);
	return 0;
}

static int walk(struct context *c, int fd, struct str *path, int depth, struct err *err);

static int walk_entry(struct context *c, int dir_fd, const char *name, struct str *path, int depth,
		      struct err *err)
{
	bool ignored = ignore_match(c->ignore, path->s);
	struct context_file *f;
	struct stat st;
	int fd;

	if (ignored && !ignore_has_negation(c->ignore))
		return 0;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat %s", path->s);
	if (c->n >= FILES_MAX)
		return err_set(err, E2BIG, "more than %d files", FILES_MAX);
	if (!ignored) {
		f = add_file(c, path->s, &st);
		if (S_ISLNK(st.st_mode))
			return read_link(dir_fd, name, &f->link, err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (depth >= DEPTH_MAX)
		return err_set(err, ELOOP, "%s: deeper than %d directories", path->s, DEPTH_MAX);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : err_sys(err, "open %s", path->s);
	return walk(c, fd, path, depth + 1, err);
}

/* Takes fd. */
static int walk(struct context *c, int fd, struct str *path, int depth, struct err *err)
{
	auto_strv struct strv names = { 0 };
	DIR *d = fdopendir(fd);
	size_t len = path->len;
	struct dirent *e;
	int rc = 0;

	if (!d) {
		close(fd);
		return err_sys(err, "read directory %s", str_get(path));
	}
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			strv_add(&names, e->d_name);
	strv_sort(&names);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		if (len)
			str_addc(path, '/');
		str_add(path, names.v[i]);
		rc = walk_entry(c, dirfd(d), names.v[i], path, depth, err);
		path->len = len;
		if (path->s)
			path->s[len] = 0;
	}
	closedir(d);
	return rc;
}

int context_compare(const void *a, const void *b)
{
	return strcmp(((const struct context_file *)a)->path,
		      ((const struct context_file *)b)->path);
}

/* By path; what was walked twice is there once. */
static void sort(struct context *c)
{
	size_t n = 0;

	if (c->n)
		qsort(c->files, c->n, sizeof(*c->files), context_compare);
	for (size_t i = 0; i < c->n; i++) {
		if (n && !strcmp(c->files[n - 1].path, c->files[i].path)) {
			free(c->files[i].path);
			free(c->files[i].link);
			continue;
		}
		c->files[n++] = c->files[i];
	}
	c->n = n;
}

/* With "!" rules a kept file may stand in an ignored directory: its parents are there all the same.
 */
static void add_parents(struct context *c)
{
	size_t n = c->n;

	for (size_t i = 0; i < n; i++) {
		auto_free char *p = mem_str(c->files[i].path);

		for (char *slash; (slash = strrchr(p, '/'));) {
			struct context_file want = { .path = p };
			struct stat st;

			*slash = 0;
			if (bsearch(&want, c->files, n, sizeof(*c->files), context_compare))
				break;
			if (fstatat(c->fd, p, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
				break;
			add_file(c, p, &st);
		}
	}
	if (c->n != n)
		sort(c);
}

int context_files(struct context *c, struct context_file **ret, size_t *ret_n, struct err *err)
{
	auto_str struct str path = { 0 };
	int fd, rc;

	if (!c->walked) {
		c->walk_ns = proc_now_ns();
		fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "build context %s", c->name);
		rc = walk(c, fd, &path, 0, err);
		if (rc < 0) {
			forget_files(c); /* who looks again begins anew */
			return err_ctx(err, "build context %s", c->name);
		}
		if (c->n)
			qsort(c->files, c->n, sizeof(*c->files), context_compare);
		if (c->ignore && ignore_has_negation(c->ignore))
			add_parents(c);
		c->walked = true;
	}
	*ret = c->files;
	*ret_n = c->n;
	return 0;
}

int context_open_tree(struct runtime *rt, int root_fd, struct context **ret, struct err *err)
{
	auto_context struct context *c = mem_alloc(sizeof(*c));

	c->rt = rt;
	c->is_tree = true;
	c->name = mem_str("");
	c->fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->fd < 0)
		return err_sys(err, "open the source tree");
	*ret = take(c);
	return 0;
}

int context_walk_beneath(struct context *c, const char *path, struct err *err)
{
	auto_str struct str at = { 0 };
	auto_fd int fd = -1;
	struct stat st;
	int rc;

	fd = path_open_beneath(c->fd, path, O_PATH | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", path);
	if (*path) {
		struct context_file *f = add_file(c, path, &st);

		rc = S_ISLNK(st.st_mode) ? read_link(fd, "", &f->link, err) : 0;
		if (rc < 0)
			return rc;
	}
	rc = 0;
	if (S_ISDIR(st.st_mode)) {
		int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0)
			return err_sys(err, "open %s", path);
		str_add(&at, path);
		rc = walk(c, dir, &at, 0, err);
	}
	sort(c);
	return rc;
}

int context_add_dir(struct context *c, const char *path, struct err *err)
{
	auto_fd int fd = path_open_beneath(c->fd, path, O_PATH | O_NOFOLLOW, 0, err);
	struct stat st;

	if (fd < 0)
		return fd_take(&fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", path);
	if (!S_ISDIR(st.st_mode))
		return 0;
	add_file(c, path, &st);
	sort(c);
	return 1;
}

struct context_file *context_find(const struct context *c, const char *path)
{
	auto_free char *name = mem_str(path);
	struct context_file want = { .path = name };

	return c->n ? bsearch(&want, c->files, c->n, sizeof(*c->files), context_compare) : NULL;
}

struct context_file *context_at(const struct context *c, size_t i)
{
	return &c->files[i];
}

void context_slice(const struct context *c, const char *dir, size_t *ret_first, size_t *ret_n)
{
	auto_free char *prefix = mem_fmt("%s/", dir);
	size_t lo = 0, hi = c->n, len = strlen(prefix), n = 0;

	*ret_first = 0;
	*ret_n = c->n;
	if (!*dir)
		return;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(c->files[mid].path, prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo + n < c->n && !strncmp(c->files[lo + n].path, prefix, len))
		n++;
	*ret_first = lo;
	*ret_n = n;
}
