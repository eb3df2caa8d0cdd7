/* SPDX-License-Identifier: Apache-2.0 */
/* recover: a database that was lost or damaged is made anew from what else is in the store. */
#ifndef SHALE_CLI_RECOVER_H
#define SHALE_CLI_RECOVER_H

#include <shale/container.h>
#include <shale/image.h>

struct recovery {
	char *root;
	struct err why; /* what was wrong with the old one; code 0: nothing */
	char *kept;     /* where it is now */
	struct image_recovered images;
	size_t containers, networks;
	struct strv lost;
};
void recovery_free(struct recovery *r);

/* 1, or 0 when the database is whole and force was not asked. -ENOTSUP: of a newer release. -EBUSY:
 * a build or a container runs. */
int recovery_run(struct recovery *r, const char *root, bool force, struct err *err);

#endif
