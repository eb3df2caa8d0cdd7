/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
const struct CMUnitTest archive_tests[] = { { 0 } };
const size_t archive_tests_n = 0;
