/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_TESTS_CLI_H
#define SHALE_TESTS_CLI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int run_opt_tests(void);
int run_template_tests(void);
int run_command_tests(void);

#endif
