/* SPDX-License-Identifier: Apache-2.0 */
/* How snapshots are mounted: once, unseen by the host, by every way a kernel may offer. */
#include "test.h"

const struct CMUnitTest mount_tests[] = {};
const size_t mount_tests_n = 0;
