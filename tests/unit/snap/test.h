/* SPDX-License-Identifier: Apache-2.0 */
/* A store of its own for each test, and few words to say what is in a mount. */
#ifndef SHALE_TEST_SNAP_H
#define SHALE_TEST_SNAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shale/snap.h>

struct fix {
	char path[256]; /* of the store */
	int fd;
	struct db *db;
	struct snap *s;
	struct err err;
};

int fix_setup(void **state);
int fix_teardown(void **state);
void fix_open(struct fix *f); /* db and snap anew, as another process would */
void fix_close(struct fix *f);

#define ok(f, call)          ok_((f), (call), #call, __FILE__, __LINE__)
#define fails(f, code, call) fails_((f), (code), (call), #call, __FILE__, __LINE__)
int ok_(struct fix *f, int rc, const char *what, const char *file, int line);
void fails_(struct fix *f, int code, int rc, const char *what, const char *file, int line);

int64_t new_active(struct fix *f, const char *key, int64_t parent);
int64_t new_view(struct fix *f, const char *key, int64_t parent);
/* Prepared on parent, changed by fn through a mount, committed as name. */
typedef void change_fn(int root);
int64_t layer(struct fix *f, const char *name, int64_t parent, change_fn *fn);
/* fn sees a mount of a new view of parent. */
void look(struct fix *f, int64_t parent, change_fn *fn);

void put(int root, const char *path, const char *text);
void has(int root, const char *path, const char *text);
void has_not(int root, const char *path);
size_t count_mounts(void);
bool exists(struct fix *f, const char *path); /* below the store */

/* In a child with a mount namespace of its own; the test fails when it does. */
void in_namespace(struct fix *f, void (*fn)(struct fix *f));

extern const struct CMUnitTest suite_tests[], mount_tests[], life_tests[];
extern const size_t suite_tests_n, mount_tests_n, life_tests_n;
#define SNAP_TEST(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)

#endif
