/* SPDX-License-Identifier: Apache-2.0 */
/* place: whether a store can be where it is to be. */
#ifndef SHALE_CLI_PLACE_H
#define SHALE_CLI_PLACE_H

#include <shale/base/err.h>

/* Before anything is made. -ENOTSUP names the file system and what would do. */
int place_check(int root_fd, const char *root, struct err *err);
/* With a directory in it: what the file system is able to do. -ENOTSUP. */
int place_probe(int root_fd, const char *root, struct err *err);
/* After a failure: read-only, or full. */
int place_explain(const char *root, struct err *err);

#endif
