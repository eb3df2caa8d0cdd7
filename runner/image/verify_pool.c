/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that read jobs: one a core, and no more jobs open than keep them busy. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "priv.h"

enum { THREADS_MAX = 16 };

struct image_pool {
	pthread_t thread[THREADS_MAX];
	size_t n_threads, max_threads;
	pthread_mutex_t lock;
	pthread_cond_t more, ready;
	struct image_job *waiting, *done;
	size_t n_open, n_done; /* n_open: waiting or running */
	bool closing;
};

struct image_pool *image_pool_new(void)
{
	struct image_pool *p = mem_alloc(sizeof(*p));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_condattr_t attr;

	p->max_threads = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (size_t)cores;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->more, NULL);
	pthread_cond_init(&p->ready, &attr);
	pthread_condattr_destroy(&attr);
	return p;
}

static void finish(struct image_pool *p, struct image_job *j)
{
	j->next = p->done;
	p->done = j;
	p->n_done++;
	p->n_open--;
	pthread_cond_signal(&p->ready);
}

static void *thread_main(void *arg)
{
	struct image_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->closing) {
		struct image_job *j = p->waiting;

		if (!j) {
			pthread_cond_wait(&p->more, &p->lock);
			continue;
		}
		p->waiting = j->next;
		pthread_mutex_unlock(&p->lock);
		image_job_run(j);
		pthread_mutex_lock(&p->lock);
		finish(p, j);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void free_list(struct image_job *j)
{
	while (j) {
		struct image_job *next = j->next;

		image_job_free(j);
		j = next;
	}
}

void image_pool_cleanup(struct image_pool **pp)
{
	struct image_pool *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	while (p->n_threads)
		pthread_join(p->thread[--p->n_threads], NULL);
	free_list(p->waiting);
	free_list(p->done);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->more);
	pthread_cond_destroy(&p->ready);
	free(p);
}

bool image_pool_is_full(struct image_pool *p)
{
	bool full;

	pthread_mutex_lock(&p->lock);
	full = p->n_open >= 2 * p->max_threads;
	pthread_mutex_unlock(&p->lock);
	return full;
}

bool image_pool_is_empty(struct image_pool *p)
{
	bool empty;

	pthread_mutex_lock(&p->lock);
	empty = !p->n_open && !p->n_done;
	pthread_mutex_unlock(&p->lock);
	return empty;
}

int image_pool_add(struct image_pool *p, struct image_job *j, struct err *err)
{
	if (p->n_threads < p->max_threads) {
		int rc = pthread_create(&p->thread[p->n_threads], NULL, thread_main, p);

		if (rc && !p->n_threads) {
			image_job_free(j);
			return err_errno(err, rc, "start a thread");
		}
		p->n_threads += rc == 0;
	}
	pthread_mutex_lock(&p->lock);
	j->next = p->waiting;
	p->waiting = j;
	p->n_open++;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

struct image_job *image_pool_next(struct image_pool *p, int timeout_ms)
{
	struct image_job *j;
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += timeout_ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&p->lock);
	while (!p->done && p->n_open && timeout_ms && rc == 0)
		rc = pthread_cond_timedwait(&p->ready, &p->lock, &until);
	j = p->done;
	if (j) {
		p->done = j->next;
		p->n_done--;
	}
	pthread_mutex_unlock(&p->lock);
	return j;
}
