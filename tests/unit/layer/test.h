/* SPDX-License-Identifier: Apache-2.0 */
/* Layers in a directory of their own, mounted with overlayfs in a mount namespace that dies with
 * the program. */
#ifndef TEST_LAYER_H
#define TEST_LAYER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/layer.h>

enum { LAYERS_MAX = 8 };

/* What a step does to a mounted root. */
typedef void step_fn(int root, void *arg);

struct fix {
	char path[128];
	int fd; /* of path */
	int n;  /* layers: o0/fs …, and what came of their tars: r0/fs … */
	struct layer_info info[LAYERS_MAX], again[LAYERS_MAX], frozen[LAYERS_MAX];
	struct err err;
};

int fix_setup(void **state);
int fix_teardown(void **state);

#define ok(f, call)          ok_(f, call, #call, __FILE__, __LINE__)
#define fails(f, code, call) fails_(f, code, call, #call, __FILE__, __LINE__)
int ok_(struct fix *f, int rc, const char *what, const char *file, int line);
void fails_(struct fix *f, int code, int rc, const char *what, const char *file, int line);

/* Mounts layers 0..n of kind 'o' or 'r', the topmost writable or not, at m/<name>. Returns its root
 * fd; n 0 gives -1. */
int view(struct fix *f, char kind, int n, bool writable, const char *name);
void unview(struct fix *f, int *fd, const char *name);
int open_layer(struct fix *f, char kind, int i);
void make_layer(struct fix *f, char kind, int i);

/* A step on top of the layers so far; it is frozen. */
void add_layer(struct fix *f, step_fn *fn, void *arg);
/* Diff of layer i of that kind into t/<kind><i>. */
void diff_layer(struct fix *f, char kind, int i, struct layer_info *ret);
/* Layer by layer: diff, unpack elsewhere, compare the trees, diff what was unpacked, compare the
 * digests. */
void round_trip(struct fix *f);
/* Both views have the same tree, or the test fails. */
void same_tree(int a, int b, const char *what);
/* Unpacks t/<name> into fresh o<i>/fs: the result of layer_apply. */
int apply(struct fix *f, const char *tar, char kind, int i, const struct layer_apply_opts *o,
	  struct layer_info *ret);
/* Runs a program in path with stdout in t/out; its exit code. */
int run_program(struct fix *f, char *const argv[]);
/* The tar's names by our own table of the stream, one a line. */
char *list_tar(struct fix *f, const char *program, const char *tar);

void put(int root, const char *path, const char *text);
bool has_text(int root, const char *path, const char *text);
bool is_there(int root, const char *path);

void test_steps(void **state);
extern const struct CMUnitTest diff_tests[], evil_tests[], format_tests[];
extern const size_t n_diff_tests, n_evil_tests, n_format_tests;

#endif
