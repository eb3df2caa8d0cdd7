/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include <shale/base/mem.h>

#include "tests.h"

const char *unit_cgroup(const char *name)
{
	static char text[64];

	snprintf(text, sizeof(text), "shale/unit-%d/%s", (int)getpid(), name);
	return text;
}

int unit_cgroup_access(const char *hierarchy)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/shale/unit-%d", hierarchy, (int)getpid());
	return access(path, F_OK);
}

int main(int argc, char **argv)
{
	static int (*const groups[])(void) = { test_plan,    test_user,   test_box,   test_attack,
					       test_process, test_shrink, test_beside };
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
