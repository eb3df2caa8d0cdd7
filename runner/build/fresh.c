/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that a COPY makes holds nothing of the image, so that its files can be written into
 * the upper itself, by two threads. Through the overlay each of them would cost twice as much, of
 * which most is looking for what is not there. The directories are made through the overlay, which
 * marks them as it wants, and are known again by their inode.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "fresh.h"

enum { THREADS = 2, GROUP_MAX = 128, MANY = 32 };

struct dir {
	char *path;
	uint64_t ino;
	bool inherits;
};

struct file {
	const struct context_file *f;
	char *path;
	size_t dir;
};

struct fresh {
	int root_fd, upper_fd;
	unsigned mode_kept;
	struct dir *dirs; /* sorted */
	size_t n_dirs, cap_dirs;
	struct file *files;
	size_t n_files, cap_files;
	size_t *group; /* where each begins: files of one directory, for one thread */
	size_t n_groups, cap_groups;
};

/* What the work of the threads is. */
struct work {
	const struct fresh *fr;
	fresh_fn *fn;
	void *arg;
	atomic_size_t next; /* group */
	atomic_bool failed;
	struct err err; /* of the first that failed */
};

/* There is no way to ask for it but to set it, for all threads. */
static unsigned process_umask(void)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	const char *at;

	if (fd_read_file(AT_FDCWD, "/proc/self/status", 1 << 16, &text, NULL, &ignored) < 0)
		return 0777;
	at = strstr(text, "\nUmask:");
	return at ? (unsigned)strtoul(at + strlen("\nUmask:"), NULL, 8) : 0777;
}

struct fresh *fresh_new(int root_fd, int upper_fd)
{
	struct fresh *fr = mem_alloc(sizeof(*fr));

	fr->root_fd = root_fd;
	fr->upper_fd = upper_fd;
	if (upper_fd >= 0)
		fr->mode_kept = 0777 & ~process_umask();
	return fr;
}

static void forget(struct fresh *fr)
{
	for (size_t i = 0; i < fr->n_dirs; i++)
		free(fr->dirs[i].path);
	for (size_t i = 0; i < fr->n_files; i++)
		free(fr->files[i].path);
	fr->n_dirs = fr->n_files = fr->n_groups = 0;
}

void fresh_free(struct fresh *fr)
{
	if (!fr)
		return;
	forget(fr);
	free(fr->dirs);
	free(fr->files);
	free(fr->group);
	free(fr);
}

void fresh_dir(struct fresh *fr, const char *path, int fd)
{
	char at[FD_PATH_MAX];
	struct stat st;

	if (fr->upper_fd < 0 || fstat(fd, &st) < 0)
		return;
	mem_room(fr->dirs, fr->n_dirs, fr->cap_dirs);
	fr->dirs[fr->n_dirs++] =
		(struct dir){ mem_str(path), st.st_ino,
			      (st.st_mode & S_ISGID) ||
				      getxattr(fd_path(fd, at), "system.posix_acl_default", NULL,
					       0) >= 0 };
}

/* The path's first len bytes against d. */
static int compare(const char *path, size_t len, const struct dir *d)
{
	int cmp = strncmp(path, d->path, len);

	return cmp ? cmp : d->path[len] ? -1 : 0;
}

static bool find_dir(const struct fresh *fr, const char *path, size_t len, size_t *ret)
{
	size_t lo = 0, hi = fr->n_dirs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = compare(path, len, &fr->dirs[mid]);

		if (!cmp) {
			*ret = mid;
			return true;
		}
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

bool fresh_file(struct fresh *fr, const struct context_file *f, const char *path)
{
	size_t len = (size_t)(strrchr(path, '/') - path), dir, n = fr->n_files;

	if (!find_dir(fr, path, len, &dir))
		return false;
	if (!n || fr->files[n - 1].dir != dir || n - fr->group[fr->n_groups - 1] == GROUP_MAX) {
		mem_room(fr->group, fr->n_groups, fr->cap_groups);
		fr->group[fr->n_groups++] = n;
	}
	mem_room(fr->files, fr->n_files, fr->cap_files);
	fr->files[fr->n_files++] = (struct file){ f, mem_str(path), dir };
	return true;
}

/* In the upper, if that has the very directory there; else as the overlay shows it. */
static int open_dir(const struct fresh *fr, const struct dir *d, bool *ret_is_raw, struct err *err)
{
	auto_fd int fd = path_try_plain(fr->upper_fd, d->path + 1, O_PATH | O_DIRECTORY);
	struct stat st;

	*ret_is_raw = fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == d->ino;
	return *ret_is_raw ? fd_take(&fd)
			   : path_open_in(fr->root_fd, d->path, O_PATH | O_DIRECTORY, 0, err);
}

static int write_group(struct work *w, size_t i, struct err *err)
{
	const struct fresh *fr = w->fr;
	size_t k = fr->group[i], end = i + 1 < fr->n_groups ? fr->group[i + 1] : fr->n_files;
	const struct dir *d = &fr->dirs[fr->files[k].dir];
	struct fresh_at at = { .is_fresh = true, .inherits = d->inherits };
	bool is_raw = false;
	auto_fd int fd = open_dir(fr, d, &is_raw, err);
	int rc = fd;

	at.dir_fd = fd;
	at.mode_kept = is_raw ? fr->mode_kept : 0;
	for (; k < end && rc >= 0 && !atomic_load(&w->failed); k++) {
		at.path = fr->files[k].path;
		at.name = strrchr(at.path, '/') + 1;
		rc = w->fn(fr->files[k].f, &at, w->arg, err);
	}
	return rc;
}

static void *write_main(void *arg)
{
	struct work *w = arg;
	size_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->fr->n_groups && !atomic_load(&w->failed)) {
		struct err err = { 0 };

		if (write_group(w, i, &err) < 0 && !atomic_exchange(&w->failed, true))
			w->err = err;
	}
	return NULL;
}

int fresh_write(struct fresh *fr, fresh_fn *fn, void *arg, struct err *err)
{
	struct work w = { .fr = fr, .fn = fn, .arg = arg };
	pthread_t t[THREADS];
	size_t n = 0;

	while (fr->n_files >= MANY && n < THREADS - 1 && proc_thread(&t[n], write_main, &w) == 0)
		n++;
	write_main(&w);
	while (n)
		pthread_join(t[--n], NULL);
	forget(fr);
	if (!atomic_load(&w.failed))
		return 0;
	*err = w.err;
	return -err->code;
}
