/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

const struct CMUnitTest life_tests[] = {};
const size_t life_tests_n = 0;
