/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
const struct CMUnitTest format_tests[] = { { 0 } };
const size_t n_format_tests = 0;
