/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include <shale/base/mem.h>

#include "tests.h"

int main(int argc, char **argv)
{
	static int (*const groups[])(void) = { test_plan, test_user, test_box, test_attack,
					       test_process };
	int failed = 0;

	if (argc > 1)
		return inside_main(argc, argv);
	if (geteuid() != 0) {
		fprintf(stderr, "unit-sandbox needs root\n");
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		failed += groups[i]();
	return failed ? 1 : 0;
}
