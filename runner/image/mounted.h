/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of the mounts that the host sees. */
#ifndef SHALE_IMAGE_MOUNTED_H
#define SHALE_IMAGE_MOUNTED_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/runtime.h>

#define IMAGE_RUN_DIR "/run/shale"

struct image_note {
	const char *name;      /* its file */
	char *kind, *id, *dir; /* NULL in a note that is damaged */
	uint64_t dev;          /* st_dev of what is mounted */
	bool is_own_dir;       /* made for the mount */
	bool is_live;          /* it is mounted, as this process sees it */
};
void image_note_free(struct image_note *n);
typedef int image_note_fn(const struct image_note *n, void *arg, struct err *err);
int image_notes_walk(int dir_fd, image_note_fn *fn, void *arg, struct err *err);
/* Where they are: of this store alone, in the run state. Caller owns it. */
char *image_mounts_dir(struct runtime *rt);

#endif
