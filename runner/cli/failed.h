/* SPDX-License-Identifier: Apache-2.0 */
/* failed: where a build failed, as a container to enter, and the way back into a build. */
#ifndef SHALE_CLI_FAILED_H
#define SHALE_CLI_FAILED_H

#include <shale/build.h>
#include <shale/container.h>

#include "priv.h"

/* What the RUN that failed left becomes a container with its environment, user, directory, mounts
 * and what else rights says: capabilities and limits. Caller owns *ret. */
int failed_keep(struct cli *c, const struct build_result *r, const struct container_spec *rights,
		struct container **ret, struct err *err);
/* Nobody wants it. */
void failed_drop(struct cli *c, struct build_result *r);

struct failed {
	struct container *ct;
	struct build_resume resume;
};
void failed_free(struct failed *p);
#define auto_failed cleanup(failed_free)
/* The newest of this context and Dockerfile. -ENOENT, -EBUSY (somebody is in it). ret stays where
 * it is while resume is used. */
int failed_find(struct cli *c, const char *context, const char *file, struct failed *ret,
		struct err *err);
/* The container of a record, where there is one. -EBUSY. */
int failed_remove(struct cli *c, const struct build_record *r, struct err *err);
/* All but the newest go, and those in which somebody is. */
int failed_trim(struct cli *c, size_t keep, struct err *err);

#endif
