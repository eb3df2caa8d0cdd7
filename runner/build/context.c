/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build context: read in place, walked once, never followed out of its directory. Every open
 * goes beneath the directory's fd and follows no symlink, since others may change the tree while it
 * is read (TRAPS T1).
 */
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

enum { IGNORE_BYTES_MAX = 1 << 20 };

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

static struct context_file *add_file(struct context *c, const char *path, const struct stat *st)
{
	struct context_file *f;

	mem_room(c->files, c->n, c->cap);
	f = &c->files[c->n++];
	*f = context_file_of(mem_str(path), st);
	return f;
}

bool context_is_same(const struct context *c, int fd, const struct context_file *f)
{
	struct context_file now;
	struct stat st;

	if (c->is_tree) /* frozen */
		return true;
	if (fstat(fd, &st) < 0)
		return false;
	now = context_file_of(NULL, &st);
	return now.ino == f->ino && now.size == f->size && now.mtime_ns == f->mtime_ns &&
	       now.ctime_ns == f->ctime_ns;
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
	int fd, rc;

	if (!c->walked) {
		c->walk_ns = proc_now_ns();
		fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "build context %s", c->name);
		rc = context_walk(c, fd, "", err);
		if (rc < 0) {
			forget_files(c); /* who looks again begins anew */
			return err_ctx(err, "build context %s", c->name);
		}
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

		rc = S_ISLNK(st.st_mode) ? context_read_link(fd, "", &f->link, err) : 0;
		if (rc < 0)
			return rc;
	}
	rc = 0;
	if (S_ISDIR(st.st_mode)) {
		int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0)
			return err_sys(err, "open %s", path);
		rc = context_walk(c, dir, path, err);
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
