/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/mem.h>

#include "tests.h"

int main(void)
{
	static int (*const groups[])(void) = { test_parse,  test_expand, test_plan,   test_patterns,
					       test_mounts, test_check,  test_corpus, test_outputs,
					       test_depots, test_attest };
	int failed = 0;

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		failed += groups[i]();
	return failed ? 1 : 0;
}
