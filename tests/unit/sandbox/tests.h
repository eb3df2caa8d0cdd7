/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SANDBOX_TESTS_H
#define SANDBOX_TESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shale/base/err.h>
#include <shale/base/str.h>
#include <shale/sandbox.h>

/* A root file system of busybox in a temporary directory. */
struct box {
	char dir[64];
	int root_fd, cache_fd;
	char cache[96];
	struct err err;
};

void box_make(struct box *b);
void box_free(struct box *b);
void box_write(struct box *b, const char *path, const char *text, unsigned mode);
void box_link(struct box *b, const char *target, const char *path);
/* spec with everything default: argv is /bin/sh -c script. */
struct sandbox_spec box_spec(struct box *b, char *const argv[]);
/* Runs; what it wrote to stdout and stderr is in out. The exit code, or -errno with b->err. */
int box_run(struct box *b, const struct sandbox_spec *spec, struct str *out);
int box_sh(struct box *b, struct sandbox_spec *spec, const char *script, struct str *out);

/* "shale-unit-<pid>/<name>": what runs beside this has groups of its own. Valid until the next
 * call. */
const char *unit_cgroup(const char *name);
/* access(2) of what holds them in that hierarchy. */
int unit_cgroup_access(const char *hierarchy);

int inside_main(int argc, char **argv);

int test_plan(void);
int test_user(void);
int test_box(void);
int test_attack(void);
int test_process(void);
int test_shrink(void);
int test_beside(void);

#endif
