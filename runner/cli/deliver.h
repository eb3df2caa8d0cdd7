/* SPDX-License-Identifier: Apache-2.0 */
/* deliver: what becomes of a build's result: -o, --push, --load. */
#ifndef SHALE_CLI_DELIVER_H
#define SHALE_CLI_DELIVER_H

#include <shale/build.h>

#include "transfer.h"

struct deliver {
	struct cli *c;
	const struct transfer_access *access;
	struct build_output *v;
	size_t n;
	struct strv names;   /* of the image: those of -t and of all outputs */
	struct strv written; /* lines for the user */
	bool wants_image, wants_tree, has_stdout;
	enum progress_kind kind;
	const char *sub; /* of -o local: what it writes beneath; NULL: right there */
	bool is_index;   /* digest is that of an index, which the names stand for */
	volatile int *interrupted;
	char digest[DIGEST_STR_MAX]; /* of the manifest that went out last, or "" */
};
#define auto_deliver cleanup(deliver_free)
void deliver_free(struct deliver *d);
/* What was asked for; nothing: the image in the store. */
struct deliver_asked {
	const struct strv *outputs, *tags, *annotations;
	bool push, load;
};
int deliver_parse(struct deliver *d, const struct deliver_asked *a, struct err *err);
/* build_opts.on_tree */
int deliver_tree(int root_fd, void *deliver, struct err *err);
/* The archives and pushes of the image that is in the store now. */
int deliver_image(struct deliver *d, const char *image_id, struct err *err);
/* --metadata-file */
int deliver_metadata(const struct deliver *d, const struct build_result *r, const char *path,
		     struct err *err);

/* cmd_save.c: to a file, a directory (oci-dir), or standard output (NULL, "-"). */
int save_write(struct cli *c, const struct image_save_opts *o, const struct strv *names,
	       const char *path, struct err *err);

#endif
