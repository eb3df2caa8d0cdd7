/* SPDX-License-Identifier: Apache-2.0 */
/* shale: the program that people type. It links little, so that it starts in a millisecond. */
#include "priv.h"

int main(int argc, char **argv)
{
	return cli_main(cli_commands, argc, argv);
}
