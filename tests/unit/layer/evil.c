/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
const struct CMUnitTest evil_tests[] = { { 0 } };
const size_t n_evil_tests = 0;
