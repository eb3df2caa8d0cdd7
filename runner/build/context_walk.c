/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of a tree: by the caller's thread, which shares directories with a second one when there
 * are many files. Each fills a list of its own; the caller's takes both when all is done.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fs.h>
#include <shale/base/proc.h>

#include "context.h"

enum {
	DEPTH_MAX = 256,
	FILES_MAX = 20 << 20,
	SHARED_MAX = 16, /* directories that wait for a thread, each with an fd */
	MANY = 300,      /* files from which on a thread pays */
	BLOCK = 1024,
};

/* What was found stays where it is until it moves to its place in the order. */
struct block {
	struct block *before;
	struct context_file v[BLOCK];
};

/* A directory that nobody has walked yet. */
struct shared {
	int fd, depth;
	char *path;
};

struct walk {
	const struct context *c;
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct shared todo[SHARED_MAX];
	size_t n_todo;
	int n_walkers, n_idle;
	atomic_size_t n_files;
	atomic_bool failed; /* who sets it has the error */
};

struct walker {
	struct walk *w;
	struct block *last;
	struct context_file **files; /* of all blocks, sorted in the end */
	size_t n;
	struct str path; /* of the directory at hand */
	struct walker *second;
	pthread_t thread; /* the second's */
	struct err err;
};

static int64_t time_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

struct context_file context_file_of(char *path, const struct stat *st)
{
	return (struct context_file){
		.path = path,
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
}

int context_read_link(int dir_fd, const char *name, char **ret, struct err *err)
{
	char buf[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, buf, sizeof(buf) - 1);

	if (n < 0)
		return err_sys(err, "read link %s", name);
	*ret = mem_strn(buf, (size_t)n);
	return 0;
}

static void *second_main(void *arg);

static void start_second(struct walker *me)
{
	struct walk *w = me->w;
	struct walker *second = mem_alloc(sizeof(*second));

	second->w = w;
	pthread_mutex_lock(&w->lock);
	w->n_walkers++;
	pthread_mutex_unlock(&w->lock);
	me->second = second;
	if (proc_thread(&me->thread, second_main, second) == 0)
		return;
	pthread_mutex_lock(&w->lock);
	w->n_walkers--;
	pthread_mutex_unlock(&w->lock);
	me->second = NULL;
	free(second);
}

/* Leaves the directory fd to whoever is free first. False: there are enough of them waiting. */
static bool share(struct walker *me, int fd, int depth)
{
	struct walk *w = me->w;
	bool took;

	pthread_mutex_lock(&w->lock);
	took = w->n_walkers > 1 && w->n_todo < SHARED_MAX;
	if (took)
		w->todo[w->n_todo++] = (struct shared){ fd, depth, mem_str(str_get(&me->path)) };
	if (took && w->n_idle)
		pthread_cond_signal(&w->change);
	pthread_mutex_unlock(&w->lock);
	return took;
}

static struct context_file *new_file(struct walker *me, const struct stat *st)
{
	struct context_file *f;

	if (me->n % BLOCK == 0) {
		struct block *b = mem_grow(NULL, 1, sizeof(*b));

		b->before = me->last;
		me->last = b;
	}
	f = &me->last->v[me->n++ % BLOCK];
	*f = context_file_of(mem_str(me->path.s), st);
	return f;
}

static int walk_dir(struct walker *me, int fd, int depth);

static int walk_entry(struct walker *me, int dir_fd, const struct dirent *e, int depth)
{
	const struct ignore *rules = me->w->c->ignore;
	bool ignored = ignore_match(rules, me->path.s);
	struct context_file *f;
	struct stat st;
	int fd;

	if (ignored && !ignore_has_negation(rules))
		return 0;
	if (fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(&me->err, "stat %s", me->path.s);
	if (atomic_fetch_add(&me->w->n_files, 1) >= FILES_MAX)
		return err_set(&me->err, E2BIG, "more than %d files", FILES_MAX);
	if (!ignored) {
		f = new_file(me, &st);
		if (S_ISLNK(st.st_mode))
			return context_read_link(dir_fd, e->d_name, &f->link, &me->err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (depth >= DEPTH_MAX)
		return err_set(&me->err, ELOOP, "%s: deeper than %d directories", me->path.s,
			       DEPTH_MAX);
	fd = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : err_sys(&me->err, "open %s", me->path.s);
	return share(me, fd, depth + 1) ? 0 : walk_dir(me, fd, depth + 1);
}

/* Takes fd. */
static int walk_dir(struct walker *me, int fd, int depth)
{
	struct walk *w = me->w;
	DIR *d = fdopendir(fd);
	size_t len = me->path.len;
	const struct dirent *e;
	int rc = 0;

	if (!d) {
		close(fd);
		return err_sys(&me->err, "read directory %s", str_get(&me->path));
	}
	while (rc >= 0 && !atomic_load(&w->failed) && (e = readdir(d))) {
		if (fs_is_dot(e->d_name))
			continue;
		if (len)
			str_addc(&me->path, '/');
		str_add(&me->path, e->d_name);
		rc = walk_entry(me, dirfd(d), e, depth);
		me->path.len = len;
		me->path.s[len] = 0;
	}
	closedir(d);
	if (w->n_walkers == 1 && me->n >= MANY)
		start_second(me);
	return rc;
}

/* The next directory. False: all have been walked, since nobody is left who could find another. */
static bool next_dir(struct walk *w, struct shared *ret)
{
	bool has;

	pthread_mutex_lock(&w->lock);
	w->n_idle++;
	while (!w->n_todo && w->n_idle < w->n_walkers)
		pthread_cond_wait(&w->change, &w->lock);
	has = w->n_todo;
	if (has) {
		*ret = w->todo[--w->n_todo];
		w->n_idle--;
	} else {
		pthread_cond_broadcast(&w->change);
	}
	pthread_mutex_unlock(&w->lock);
	return has;
}

static void walk_all(struct walker *me)
{
	struct shared s;

	while (next_dir(me->w, &s)) {
		me->path.len = 0;
		str_add(&me->path, s.path);
		free(s.path);
		if (walk_dir(me, s.fd, s.depth) < 0)
			atomic_store(&me->w->failed, true);
	}
}

static int compare(const void *a, const void *b)
{
	return context_compare(*(void *const *)a, *(void *const *)b);
}

static void sort(struct walker *me)
{
	size_t i = me->n;

	me->files = mem_array(me->n + 1, sizeof(void *));
	for (struct block *b = me->last; b; b = b->before)
		while (i) {
			i--;
			me->files[i] = &b->v[i % BLOCK];
			if (i % BLOCK == 0)
				break;
		}
	qsort(me->files, me->n, sizeof(void *), compare);
}

static void *second_main(void *arg)
{
	struct walker *me = arg;

	walk_all(me);
	sort(me);
	return NULL;
}

/* The files of both, in the order of their paths. */
static void merge(struct context *c, const struct walker *a, const struct walker *b)
{
	size_t i = 0, k = 0, nb = b ? b->n : 0;

	c->cap = c->n + a->n + nb + 1;
	c->files = mem_grow(c->files, c->cap, sizeof(*c->files));
	while (i < a->n || k < nb)
		if (k == nb || (i < a->n && compare(&a->files[i], &b->files[k]) < 0))
			c->files[c->n++] = *a->files[i++];
		else
			c->files[c->n++] = *b->files[k++];
}

static void walker_end(struct walker *me, struct err *err)
{
	if (me->err.code)
		*err = me->err;
	while (me->last) {
		struct block *b = me->last;

		me->last = b->before;
		free(b);
	}
	free(me->files);
	str_free(&me->path);
}

int context_walk(struct context *c, int fd, const char *path, struct err *err)
{
	struct walk w = { .c = c, .n_walkers = 1, .n_todo = 1 };
	struct walker me = { .w = &w };
	struct err failed = { 0 };

	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.change, NULL);
	w.todo[0] = (struct shared){ fd, 0, mem_str(path) };
	walk_all(&me);
	sort(&me);
	if (me.second)
		pthread_join(me.thread, NULL);
	merge(c, &me, me.second);
	walker_end(&me, &failed);
	if (me.second)
		walker_end(me.second, &failed);
	free(me.second);
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.change);
	if (!failed.code)
		return 0;
	*err = failed;
	return -failed.code;
}
