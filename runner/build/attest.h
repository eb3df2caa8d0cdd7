/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of an image besides: how it was made, and of what packages. */
#ifndef SHALE_BUILD_ATTEST_H
#define SHALE_BUILD_ATTEST_H

#include "priv.h"

/* Something that the build was made from; digest "sha256:…", or a commit. Each is kept once. */
void material_add(struct strv *list, const char *uri, const char *digest);
/* The image that ref found. */
int material_image(struct build *b, const char *ref, const struct image *img, struct err *err);
struct remote;
void material_remote(struct build *b, const struct remote *r);

/* All that the predicate says. */
struct provenance {
	bool is_max;
	const char *builder_id, *tool;        /* or NULL */
	const char *here, *platform, *target; /* platform, target: NULL: not asked */
	const char *context_uri, *context_digest, *file_name; /* of a context from elsewhere */
	const char *dockerfile, *plan, *build_id; /* build_id: NULL where it would differ */
	const struct strv *build_args, *labels, *secrets, *ssh, *materials; /* secrets, ssh: IDs */
	int64_t started_s, finished_s;
};
json_t *provenance_make(const struct provenance *p); /* pure */
int build_provenance(struct build *b, json_t **ret, struct err *err);

/* SPDX 2.3 of the packages of dpkg and apk in a tree that nobody need have been kind to: -EFBIG,
 * -EINVAL. */
struct sbom_opts {
	const char *name, *tool;
	int64_t created_s;
};
int sbom_make(int root_fd, const struct sbom_opts *o, json_t **ret, struct err *err);

#endif
