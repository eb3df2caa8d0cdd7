/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

int main(void)
{
	int rc = 0;

	/* Whatever a test mounts goes away with the process. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		perror("unshare");
		return 1;
	}
	rc += _cmocka_run_group_tests("layer.diff", diff_tests, n_diff_tests, NULL, NULL);
	rc += _cmocka_run_group_tests("layer.format", format_tests, n_format_tests, NULL, NULL);
	rc += _cmocka_run_group_tests("layer.evil", evil_tests, n_evil_tests, NULL, NULL);
	return rc ? 1 : 0;
}
