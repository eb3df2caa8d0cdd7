/* SPDX-License-Identifier: Apache-2.0 */
/* shale-build: the commands that hash, pack and unpack; shale execs it. */
#include "priv.h"

int main(int argc, char **argv)
{
	return cli_main(cli_commands_heavy, argc, argv);
}
