/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that read frozen uppers while the next steps run. A job owns its fds; a thread touches
 * nothing but its job. Rows are written by the main thread alone, when all have been joined.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>

#include "priv.h"

enum { THREADS = 2 };

struct job {
	int64_t snapshot;
	int dir_fd, upper_fd;
	struct snap_later *merged, *parent; /* NULL: there is none, or none is needed */
	struct layer_info info;
	struct err err;
	int rc;
	struct job *next;
};

struct workers {
	struct runtime *rt;
	pthread_t thread[THREADS];
	size_t n_threads;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first, *last, *waiting; /* all; the first that nobody has taken */
	bool closing;
};

struct workers *workers_new(struct runtime *rt)
{
	struct workers *w = mem_alloc(sizeof(*w));

	w->rt = rt;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	return w;
}

/* Mounts cost a thread that works beside the steps less than the one that runs them. */
static int diff(struct job *j)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT, parent = SNAP_MOUNT_INIT;
	struct layer_diff_opts o = { .table_dir_fd = j->dir_fd, .writeback = true };
	int rc = j->merged ? snap_later_mount(j->merged, &merged, &j->err) : 0;

	if (rc >= 0 && j->parent)
		rc = snap_later_mount(j->parent, &parent, &j->err);
	if (rc < 0)
		return rc;
	return layer_diff(&(struct layer_source){ j->upper_fd, merged.root_fd, parent.root_fd }, &o,
			  &j->info, &j->err);
}

static void job_run(struct job *j)
{
	j->rc = diff(j);
}

static void *worker_main(void *arg)
{
	struct workers *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j = w->waiting;

		if (j) {
			w->waiting = j->next;
			pthread_mutex_unlock(&w->lock);
			job_run(j);
			pthread_mutex_lock(&w->lock);
		} else if (w->closing) {
			break;
		} else {
			pthread_cond_wait(&w->more, &w->lock);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void job_free(struct job *j)
{
	snap_later_cleanup(&j->merged);
	snap_later_cleanup(&j->parent);
	fd_close(&j->dir_fd);
	fd_close(&j->upper_fd);
	free(j);
}

static int job_open(struct workers *w, struct job *j, struct err *err)
{
	struct snap_info info;
	int path_fd = -1, rc = snap_stat(w->rt->snap, j->snapshot, &info, err);

	if (rc >= 0)
		rc = snap_dir_fd(w->rt->snap, j->snapshot, &path_fd, err);
	if (rc < 0)
		return rc;
	j->dir_fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	j->upper_fd = openat(path_fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd_close(&path_fd);
	if (j->dir_fd < 0 || j->upper_fd < 0)
		return err_sys(err, "open snapshot %lld", (long long)j->snapshot);
	if (!info.parent)
		return 0;
	/* What the layer only says of files beneath it is read through them. */
	if (info.flags & (SNAP_NEEDS_METACOPY | SNAP_NEEDS_REDIRECT))
		rc = snap_later(w->rt->snap, j->snapshot, &j->merged, err);
	return rc < 0 ? rc : snap_later(w->rt->snap, info.parent, &j->parent, err);
}

static int start_thread(struct workers *w, struct err *err)
{
	int rc;

	if (w->n_threads == THREADS)
		return 0;
	rc = pthread_create(&w->thread[w->n_threads], NULL, worker_main, w);
	if (rc)
		return w->n_threads ? 0 : err_errno(err, rc, "start a thread");
	w->n_threads++;
	return 0;
}

int workers_add(struct workers *w, int64_t snapshot, struct err *err)
{
	struct job *j = mem_alloc(sizeof(*j));
	int rc;

	*j = (struct job){ .snapshot = snapshot, .dir_fd = -1, .upper_fd = -1 };
	rc = job_open(w, j, err);
	if (rc >= 0)
		rc = start_thread(w, err);
	if (rc < 0) {
		job_free(j);
		return rc;
	}
	pthread_mutex_lock(&w->lock);
	if (w->last)
		w->last->next = j;
	else
		w->first = j;
	w->last = j;
	if (!w->waiting)
		w->waiting = j;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static void join(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	while (w->n_threads)
		pthread_join(w->thread[--w->n_threads], NULL);
}

static bool is_job(const struct workers *w, int64_t snapshot)
{
	for (const struct job *j = w->first; j; j = j->next)
		if (j->snapshot == snapshot)
			return true;
	return false;
}

/* A step from the cache may be one whose build was killed before this point. Not inside the
 * transaction: it reads the layer. */
static int hash_parents(struct workers *w, struct err *err)
{
	int rc = 0;

	for (const struct job *j = w->first; j && rc >= 0; j = j->next) {
		struct snap_info info = { 0 };

		rc = snap_stat(w->rt->snap, j->snapshot, &info, err);
		if (rc >= 0 && info.parent && !is_job(w, info.parent))
			rc = image_layer_hash(w->rt, info.parent, err);
	}
	return rc;
}

int workers_finish(struct workers *w, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc;

	join(w);
	fault_point("build.workers.joined");
	w->closing = false;
	if (!w->first)
		return 0;
	rc = hash_parents(w, err);
	if (rc >= 0)
		rc = db_tx_begin(w->rt->db, DB_LAZY, &tx, err);
	/* In the order they ran: a parent's ChainID is there before its child needs it. */
	for (struct job *j = w->first; j && rc >= 0; j = j->next) {
		if (j->rc < 0) {
			*err = j->err;
			rc = j->rc;
			break;
		}
		rc = image_layer_store(w->rt, j->snapshot, &j->info, err);
	}
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->waiting = NULL; /* what nobody has begun is hashed when an image needs it */
	pthread_mutex_unlock(&w->lock);
	join(w);
	while (w->first) {
		struct job *j = w->first;

		w->first = j->next;
		job_free(j);
	}
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
	free(w);
}

void workers_cleanup(struct workers **w)
{
	int saved = errno;

	workers_free(*w);
	*w = NULL;
	errno = saved;
}
