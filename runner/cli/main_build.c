/* SPDX-License-Identifier: Apache-2.0 */
/* shale-build: the commands that hash, pack and unpack; shale execs it. */
#include <malloc.h>

#include "priv.h"

int main(int argc, char **argv)
{
	/* One heap for all workers, and buffers that are freed are used again: each fresh page is a
	 * fault, and those are most of what a short build costs under a hypervisor. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
	return cli_main(cli_commands_heavy, argc, argv);
}
