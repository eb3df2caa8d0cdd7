/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of files of one directory, opened and read by two threads: the one that wants them in
 * order, and one that goes ahead of it. Most of the time of small files is in the system calls
 * around them. Whoever is free takes the next file that nobody has, so neither waits while there is
 * work.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { SLOTS = 32 };

struct slot {
	struct layer_file file;
	bool is_ready;
};

struct layer_ahead {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, ready;
	bool has_thread, is_idle, is_wanted, is_closing;
	/* the run: files below done are let go, those below next are somebody's */
	const struct layer_name *names;
	int dir_fd;
	bool keep_fd;
	size_t n, taken, done, next;
	struct slot slot[SLOTS];
};

void layer_file_reset(struct layer_file *f)
{
	fd_close(&f->fd);
	layer_attrs_reset(&f->attrs);
	f->has_data = f->has_hash = false;
}

void layer_file_free(struct layer_file *f)
{
	layer_file_reset(f);
	layer_attrs_free(&f->attrs);
	free(f->data);
	f->data = NULL;
}

static int read_small(struct layer_file *f, struct err *err)
{
	ssize_t n;

	if (!f->data)
		f->data = mem_grow(NULL, LAYER_SMALL, 1);
	n = pread(f->fd, f->data, (size_t)f->st.st_size, 0);
	if (n < 0)
		return err_sys(err, "read");
	f->has_data = n == f->st.st_size;
	return 0;
}

int layer_file_load(struct layer_file *f, int dir_fd, const char *name, bool keep_fd,
		    struct err *err)
{
	int rc;

	layer_file_reset(f);
	f->fd = layer_open(dir_fd, name, 0);
	if (f->fd < 0 || fstat(f->fd, &f->st) < 0)
		return err_sys(err, "open");
	if (!S_ISREG(f->st.st_mode))
		return err_set(err, EBADMSG, "changed while it was read");
	rc = layer_attrs_read(f->fd, &f->attrs, err);
	f->has_hash = f->memo && layer_memo_find(f->memo, &f->st, f->hash);
	if (rc < 0 || f->has_hash || f->st.st_size > LAYER_SMALL || f->attrs.is_metacopy ||
	    f->st.st_blocks * 512 < f->st.st_size)
		return rc;
	rc = read_small(f, err);
	if (rc >= 0 && f->has_data && !keep_fd)
		fd_close(&f->fd);
	return rc;
}

static void load(struct layer_ahead *a, size_t i)
{
	struct layer_file *f = &a->slot[i % SLOTS].file;

	err_clear(&f->err);
	layer_file_load(f, a->dir_fd, a->names[i].s, a->keep_fd, &f->err);
}

/* With the lock, which is let go meanwhile. */
static void load_next(struct layer_ahead *a)
{
	size_t i = a->next++;

	a->slot[i % SLOTS].is_ready = false;
	pthread_mutex_unlock(&a->lock);
	load(a, i);
	pthread_mutex_lock(&a->lock);
	a->slot[i % SLOTS].is_ready = true;
}

static bool is_there_more(const struct layer_ahead *a)
{
	return a->next < a->n && a->next < a->done + SLOTS;
}

static void *go_ahead(void *arg)
{
	struct layer_ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->is_closing) {
		if (!is_there_more(a)) {
			a->is_idle = true;
			pthread_cond_wait(&a->more, &a->lock);
			a->is_idle = false;
			continue;
		}
		load_next(a);
		if (a->is_wanted) {
			a->is_wanted = false;
			pthread_cond_signal(&a->ready);
		}
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

struct layer_ahead *layer_ahead_new(const struct layer_memo *memo)
{
	struct layer_ahead *a = mem_alloc(sizeof(*a));

	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	pthread_cond_init(&a->ready, NULL);
	for (size_t i = 0; i < SLOTS; i++)
		a->slot[i].file = (struct layer_file){ .fd = -1, .memo = memo };
	return a;
}

void layer_ahead_free(struct layer_ahead **ap)
{
	struct layer_ahead *a = *ap;
	int saved = errno;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->is_closing = true;
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	if (a->has_thread)
		pthread_join(a->thread, NULL);
	for (size_t i = 0; i < SLOTS; i++)
		layer_file_free(&a->slot[i].file);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->more);
	pthread_cond_destroy(&a->ready);
	free(a);
	*ap = NULL;
	errno = saved;
}

void layer_ahead_begin(struct layer_ahead *a, int dir_fd, const struct layer_name *names, size_t n,
		       bool keep_fd)
{
	pthread_mutex_lock(&a->lock);
	a->names = names;
	a->dir_fd = dir_fd;
	a->keep_fd = keep_fd;
	a->n = n;
	a->taken = a->done = a->next = 0;
	if (a->is_idle)
		pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	if (!a->has_thread)
		a->has_thread =
			proc_thread(&a->thread, go_ahead, a) == 0; /* or all works as well */
}

bool layer_ahead_has(const struct layer_ahead *a)
{
	return a->taken < a->n; /* nobody else writes these */
}

struct layer_file *layer_ahead_next(struct layer_ahead *a)
{
	size_t i = a->taken;
	struct slot *s = &a->slot[i % SLOTS];

	pthread_mutex_lock(&a->lock);
	a->done = a->taken++;
	if (a->is_idle && a->next < a->n && a->next - a->done <= SLOTS / 2)
		pthread_cond_signal(&a->more);
	if (a->next == i)
		load_next(a);
	while (!s->is_ready) {
		if (is_there_more(a)) {
			load_next(a);
			continue;
		}
		a->is_wanted = true;
		pthread_cond_wait(&a->ready, &a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return &s->file;
}
