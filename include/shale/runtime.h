/* SPDX-License-Identifier: Apache-2.0 */
/* runtime: the handles that main opens, passed down instead of globals. Not shared between threads,
 * never across a fork. */
#ifndef SHALE_RUNTIME_H
#define SHALE_RUNTIME_H

#include <shale/base/db.h>
#include <shale/base/str.h>

struct snap;
struct store;

struct runtime {
	char *root;  /* absolute path of the store, for messages and inspect */
	int root_fd; /* O_PATH directory, mode 0700 */
	struct db *db;
	struct store *store;
	struct snap *snap;
	unsigned driver;          /* enum snap_driver, which snap was told to use */
	const char *network;      /* of who names none: "bridge", "host", "none"; NULL: host */
	struct strv dns;          /* servers of names in place of the host's */
	uint64_t max_layer_bytes; /* of one foreign layer's files, unpacked; 0: no limit */
	/* Users of the host that containers with a user namespace of their own get parts of. */
	uint32_t ids_first, ids_count;
};

#endif
