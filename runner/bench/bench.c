/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/bench.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>

#include "priv.h"

static const struct bench_scale full = { 50000, 20000, 1024, 256, 16384, 5000, 60, 8ull << 30 };
static const struct bench_scale small = { 1000, 500, 64, 16, 1024, 200, 4, 1ull << 29 };

void bench_report_free(struct bench_report *r)
{
	free(r->rows);
	*r = (struct bench_report){ 0 };
}

/* --- the directory --- */

static int open_dirs(struct bench *b, struct err *err)
{
	char path[PATH_MAX], link[FD_PATH_MAX], random[9];
	ssize_t n;
	int rc = fs_mkdir(b->o->root_fd, "tmp", 0700, err);

	if (rc < 0)
		return rc;
	b->tmp_fd = openat(b->o->root_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->tmp_fd < 0)
		return err_sys(err, "open tmp");
	proc_random_hex(random, 8);
	snprintf(b->name, sizeof(b->name), "%d.%" PRIu64 ".%s", (int)getpid(),
		 proc_start_time(getpid()), random);
	rc = fs_mkdir(b->tmp_fd, b->name, 0700, err);
	if (rc < 0)
		return rc;
	b->dir_fd = openat(b->tmp_fd, b->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir_fd < 0 || mkdirat(b->dir_fd, "at", 0700) < 0)
		return err_sys(err, "make tmp/%s", b->name);
	n = readlink(fd_path(b->dir_fd, link), path, sizeof(path) - 1);
	if (n < 0)
		return err_sys(err, "path of tmp/%s", b->name);
	path[n] = 0;
	b->path = mem_str(path);
	return 0;
}

static int check_space(struct bench *b, struct err *err)
{
	struct statvfs v;

	if (fstatvfs(b->dir_fd, &v) < 0)
		return err_sys(err, "free space");
	if ((uint64_t)v.f_bavail * v.f_frsize >= b->scale->space_bytes)
		return 0;
	err_set(err, ENOSPC,
		"the store's file system has %" PRIu64 " MiB free, this needs %" PRIu64,
		(uint64_t)v.f_bavail * v.f_frsize >> 20, b->scale->space_bytes >> 20);
	return b->o->is_small ? -ENOSPC : err_hint(err, "--size small needs less");
}

static void bench_close(struct bench *b)
{
	struct err ignored = { 0 };

	snap_close(b->s);
	db_close(b->db);
	fd_close(&b->dir_fd);
	if (b->name[0])
		fs_remove_tree(b->tmp_fd, b->name, &ignored);
	fd_close(&b->tmp_fd);
	free(b->path);
}

static int bench_open(struct bench *b, struct err *err)
{
	int rc = open_dirs(b, err);

	if (rc >= 0)
		rc = check_space(b, err);
	if (rc >= 0)
		rc = db_open(b->dir_fd, &b->db, err);
	if (rc >= 0)
		rc = snap_open(b->db, b->dir_fd, &b->s, err);
	return rc < 0 ? rc : bench_data(b, err);
}

/* --- samples to figures --- */

struct samples {
	struct bench_sample v[BENCH_RUNS_MAX];
	size_t n;
};

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void sorted(const struct samples *s, size_t offset, int64_t to[BENCH_RUNS_MAX])
{
	for (size_t i = 0; i < s->n; i++)
		memcpy(&to[i], (const char *)&s->v[i] + offset, sizeof(*to));
	qsort(to, s->n, sizeof(*to), by_size);
}

static int64_t median(const int64_t *v, size_t n)
{
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void summarize(const struct samples *s, struct bench_cell *to)
{
	int64_t v[BENCH_RUNS_MAX];

	to->n = s->n;
	if (!s->n)
		return;
	sorted(s, offsetof(struct bench_sample, wall_ns), v);
	to->median_ns = median(v, s->n);
	to->min_ns = v[0];
	to->max_ns = v[s->n - 1];
	sorted(s, offsetof(struct bench_sample, cpu_ns), v);
	to->cpu_ns = median(v, s->n);
	sorted(s, offsetof(struct bench_sample, daemon_ns), v);
	to->daemon_ns = median(v, s->n);
}

/* --- the rounds --- */

static void note_missing(const struct bench_work *w, enum snap_driver d, struct bench_cell *c)
{
	const char *why = snap_driver_missing(d);

	if (why)
		snprintf(c->missing, sizeof(c->missing), "%s", why);
	else if (w->needs && access(w->needs, X_OK) < 0)
		snprintf(c->missing, sizeof(c->missing), "%s is not here: install %s", w->needs,
			 w->package);
}

struct slot {
	struct bench_cell *cell;
	struct samples *samples;
};

/* A work that one driver cannot do is told in its cell; being interrupted ends all. */
static int one(struct bench *b, const struct bench_work *w, unsigned round, enum snap_driver d,
	       struct slot to, struct err *err)
{
	struct bench_sample sample;
	struct err failed = { 0 };
	int rc;

	if (b->o->progress)
		b->o->progress(round, w->name, snap_driver_name(d), b->o->progress_arg);
	rc = bench_sample(b, w, d, ++b->serial, &sample, &failed);
	if (rc == -EINTR || bench_is_interrupted(b))
		return err_set(err, EINTR, "interrupted");
	if (rc < 0)
		snprintf(to.cell->missing, sizeof(to.cell->missing), "%.*s",
			 (int)sizeof(to.cell->missing) - 1, failed.msg);
	else if (round)
		to.samples->v[to.samples->n++] = sample;
	return 0;
}

/* Who begins changes from round to round. */
static int round_of(struct bench *b, const struct bench_work *w, unsigned round,
		    struct bench_row *row, struct samples *s, struct err *err)
{
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < SNAP_DRIVERS; i++) {
		unsigned d = (i + round) % SNAP_DRIVERS;

		if (b->o->drivers & 1u << d && !row->cell[d].missing[0])
			rc = one(b, w, round, (enum snap_driver)d,
				 (struct slot){ &row->cell[d], &s[d] }, err);
	}
	return rc;
}

static bool is_wanted(const struct bench *b, const struct bench_work *w)
{
	return !b->o->only || str_eq(b->o->only, w->name);
}

static void begin_rows(struct bench *b, struct bench_report *r)
{
	for (const struct bench_work *w = bench_works; w->name; w++) {
		struct bench_row *row = &r->rows[r->n];
		unsigned size;
		int at;

		if (!is_wanted(b, w))
			continue;
		memcpy(&size, (const char *)b->scale + w->size, sizeof(size));
		row->name = w->name;
		at = (int)strcspn(w->text, "#");
		snprintf(row->text, sizeof(row->text), "%.*s%u%s", at, w->text, size,
			 w->text + at + 1);
		for (unsigned d = 0; d < SNAP_DRIVERS; d++)
			note_missing(w, (enum snap_driver)d, &row->cell[d]);
		r->n++;
	}
}

static int run_rounds(struct bench *b, struct bench_report *r, struct samples *s, struct err *err)
{
	int rc = 0;

	for (unsigned round = 0; rc >= 0 && round <= b->o->runs; round++) {
		size_t i = 0;

		for (const struct bench_work *w = bench_works; rc >= 0 && w->name; w++) {
			if (!is_wanted(b, w))
				continue;
			rc = round_of(b, w, round, &r->rows[i], &s[i * SNAP_DRIVERS], err);
			i++;
		}
	}
	return rc;
}

int bench_run(const struct bench_opts *o, struct bench_report *ret, struct err *err)
{
	cleanup(bench_close) struct bench b = { .o = o, .tmp_fd = -1, .dir_fd = -1 };
	auto_bench_report struct bench_report r = { .drivers = o->drivers, .runs = o->runs };
	auto_free struct samples *s = NULL;
	size_t works = 0;
	int rc;

	b.scale = o->is_small ? &small : &full;
	r.is_small = o->is_small;
	while (bench_works[works].name)
		works++;
	r.rows = mem_array(works, sizeof(*r.rows));
	s = mem_array(works * SNAP_DRIVERS, sizeof(*s));
	begin_rows(&b, &r);
	if (!r.n)
		return err_set(err, EINVAL, "no work of that name: %s", o->only);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_sys(err, "become the reaper");
	rc = bench_open(&b, err);
	if (rc >= 0)
		rc = run_rounds(&b, &r, s, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < r.n; i++)
		for (unsigned d = 0; d < SNAP_DRIVERS; d++)
			summarize(&s[i * SNAP_DRIVERS + d], &r.rows[i].cell[d]);
	*ret = r;
	r = (struct bench_report){ 0 };
	return 0;
}
