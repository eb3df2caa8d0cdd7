/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: where a command may be killed or a disk may fail, for the tests of VARIANT=fault.
 *
 * fault_point("snap.commit.row") marks a durable step: what stood before it is on the store, what
 * comes after is not. In all other variants it is nothing. In that one
 *
 *   SHALE_FAULT=kill:N      SIGKILL at the Nth named point
 *   SHALE_FAULT=io:N:WHAT   the Nth operation that changes the store fails with ENOSPC or EIO, or
 *                           (KILL) is the last thing that the process tries
 *   SHALE_FAULT_COUNT=FILE  where N is counted, over all processes of one command
 *   SHALE_FAULT_LOG=FILE    gets one line for each that was reached: "N NAME", and "hit" at the one
 *   SHALE_FAULT_DIR=DIR     operations are counted on this directory's filesystem and overlays
 * alone
 *
 * N of 0 counts only. The operations are libc's calls for files, which this variant defines anew:
 * SQLite's and the libraries' are among them.
 */
#ifndef SHALE_BASE_FAULT_H
#define SHALE_BASE_FAULT_H

#ifdef SHALE_FAULT
void fault_reached(const char *name);
#define fault_point(name) fault_reached(name)
#else
#define fault_point(name) ((void)0)
#endif

#endif
