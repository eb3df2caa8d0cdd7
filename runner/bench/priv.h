/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_BENCH_PRIV_H
#define SHALE_BENCH_PRIV_H

#include <shale/base/str.h>
#include <shale/bench.h>

struct bench_scale {
	unsigned files, creates;  /* small files in layers; made anew */
	unsigned big_mib, io_mib; /* copied up; read and written */
	unsigned io_ops;          /* of 4 KiB at random places */
	unsigned sources, units;  /* files of the source tree; of those, C files to compile */
	uint64_t space_bytes;     /* that the file system must have */
};

enum bench_base { BASE_TREE, BASE_BIG, BASE_EMPTY, BASES };

struct bench {
	const struct bench_opts *o;
	const struct bench_scale *scale;
	int tmp_fd, dir_fd; /* tmp/ and our directory in it */
	char name[64];
	struct db *db;
	struct snap *s;
	int64_t base[BASES]; /* topmost layers */
	char *path;          /* of dir_fd */
	unsigned serial;     /* of the last sample */
};

/* What a work sees, in its own process. */
struct bench_job {
	const struct bench *b;
	int root_fd; /* of the mount, which is also the working directory */
	enum snap_driver driver;
	unsigned serial; /* of the sample */
};
typedef int bench_fn(const struct bench_job *j, struct err *err);

struct bench_work {
	const char *name, *text; /* text: # is the number that size points to */
	size_t size;             /* offset in struct bench_scale */
	enum bench_base base;
	bench_fn *setup, *run; /* setup is not measured; run NULL: the mount itself is */
	bool is_cold;          /* caches are dropped between the two */
	bool has_no_mount;     /* makes its own */
	const char *needs;     /* a program */
	const char *package;   /* that brings it */
};
extern const struct bench_work bench_works[]; /* ends with a NULL name */

struct bench_sample {
	int64_t wall_ns, cpu_ns, daemon_ns;
};

/* --- data.c --- */
int bench_data(struct bench *b, struct err *err);
/* src.tar of dir_fd. */
int bench_open_tar(const struct bench *b, struct err *err);

/* --- sample.c --- */
int bench_sample(struct bench *b, const struct bench_work *w, enum snap_driver d, unsigned serial,
		 struct bench_sample *ret, struct err *err);
bool bench_is_interrupted(const struct bench *b);

/* A program to its end: -ECHILD when it fails. Its output is lost, its errors are not. */
int bench_program(const char *const *argv, struct err *err);

#endif
