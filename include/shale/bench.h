/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench: the same work over the same layers on each driver of snap, on this host and file system.
 *
 * Everything happens in a store of its own in tmp/<pid>.<start>.<random>/ of the user's: the same
 * file system, and gone afterwards, also when the user interrupts; what a kill -9 leaves goes with
 * the next load, as all of tmp/. Each sample is a process that works in a mount made for it,
 * attached in a mount namespace of its own. Samples of the drivers alternate; the first round warms
 * up and is not counted. Makes itself the reaper of orphans, since the daemons of fuse-overlayfs
 * count.
 */
#ifndef SHALE_BENCH_H
#define SHALE_BENCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/snap.h>

enum { BENCH_RUNS_MAX = 100 };

struct bench_opts {
	int root_fd;                              /* of the user's store */
	const char *program;                      /* shale-build, for whole builds */
	unsigned drivers;                         /* 1 << SNAP_OVERLAY | … */
	bool is_small;                            /* a fortieth of most things */
	unsigned runs;                            /* counted rounds, 1 to BENCH_RUNS_MAX */
	const char *only;                         /* one work's name, or NULL for all */
	const volatile sig_atomic_t *interrupted; /* or NULL */
	void (*progress)(unsigned round, const char *work, const char *driver, void *arg);
	void *progress_arg;
};

/* One work on one driver. In nanoseconds; 0 samples: missing says why. */
struct bench_cell {
	size_t n;
	int64_t median_ns, min_ns, max_ns;
	int64_t cpu_ns;    /* median of the work's own, in user and kernel */
	int64_t daemon_ns; /* median of the driver's daemons meanwhile */
	char missing[160];
};
struct bench_row {
	const char *name; /* "walk-cold" */
	char text[96];    /* "walk over 50000 files, cold" */
	struct bench_cell cell[SNAP_DRIVERS];
};
struct bench_report {
	struct bench_row *rows;
	size_t n;
	unsigned drivers, runs;
	bool is_small;
};
void bench_report_free(struct bench_report *r);
#define auto_bench_report cleanup(bench_report_free)

/* -EINVAL for a work that is none, -ENOSPC when the file system has too little, -EINTR. */
int bench_run(const struct bench_opts *o, struct bench_report *ret, struct err *err);
/* Caller owns it. */
json_t *bench_json(const struct bench_report *r);
/* A chart of all in relation to the first driver, drawn by gnuplot. -ENOENT when that is missing.
 */
int bench_svg(const struct bench_report *r, int out_fd, struct err *err);

#endif
