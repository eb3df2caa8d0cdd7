/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

int main(void)
{
	return run_opt_tests() + run_template_tests() + run_command_tests();
}
