/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_STORE_PRIV_H
#define SHALE_STORE_PRIV_H

#include <shale/store.h>

#define BLOB_DIR "blobs/sha256"

struct store {
	struct db *db;
	int store_fd; /* borrowed */
};

/* "blobs/sha256/<hex>" */
enum { BLOB_PATH_MAX = sizeof(BLOB_DIR) + DIGEST_HEX_MAX };
const char *store_blob_path(char buf[BLOB_PATH_MAX], const struct digest *d);
#define BLOB_PATH(d) store_blob_path((char[BLOB_PATH_MAX]){ 0 }, (d))

/* A tag was set, or went (image NULL). Inside the transaction. */
void store_note_name(struct store *st, const char *name, const char *image);

#endif
