/* SPDX-License-Identifier: Apache-2.0 */
/* One program, one function a file. */
#ifndef SHALE_TESTS_UNIT_BUILD_H
#define SHALE_TESTS_UNIT_BUILD_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each runs its group and returns how many failed. */
int test_parse(void);
int test_expand(void);
int test_plan(void);
int test_patterns(void);
int test_mounts(void);
int test_check(void);
int test_corpus(void);
int test_outputs(void);
int test_depots(void);
int test_attest(void);

#endif
