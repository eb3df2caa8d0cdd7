/* SPDX-License-Identifier: Apache-2.0 */
/* A store of its own for each test, layers made by hand, and images over them. */
#ifndef SHALE_TEST_IMAGE_H
#define SHALE_TEST_IMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shale/image.h>
#include <shale/snap.h>
#include <shale/store.h>

struct fix {
	char path[256];
	struct runtime rt;
	struct err err;
};

int fix_setup(void **state);
int fix_teardown(void **state);

#define ok(f, call)          ok_((f), (call), #call, __FILE__, __LINE__)
#define fails(f, code, call) fails_((f), (code), (call), #call, __FILE__, __LINE__)
int ok_(struct fix *f, int rc, const char *what, const char *file, int line);
void fails_(struct fix *f, int code, int rc, const char *what, const char *file, int line);

/* A committed snapshot on parent with one file of that text, and its layer row. */
int64_t new_layer(struct fix *f, int64_t parent, const char *name, const char *text);
/* The same without the row. */
int64_t new_snapshot(struct fix *f, int64_t parent, const char *name, const char *text);
/* An image of it: author tells images over the same layers apart. tag may be NULL. */
void new_image(struct fix *f, int64_t snapshot, const char *author, const char *tag,
	       char ret_id[DIGEST_STR_MAX]);
void new_step(struct fix *f, const char *id, int64_t snapshot);
void new_container(struct fix *f, const char *id, const char *image, int64_t snapshot);
int64_t count(struct fix *f, const char *sql);
uint64_t disk_use(struct fix *f); /* snapshots, blobs and trash */
size_t files_in(struct fix *f, const char *dir);
/* A text file of the image's merged tree. */
void has(struct fix *f, int64_t snapshot, const char *path, const char *text);

extern const struct CMUnitTest ref_tests[], store_tests[], archive_tests[];
extern const size_t ref_tests_n, store_tests_n, archive_tests_n;
#define IMAGE_TEST(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)

#endif
