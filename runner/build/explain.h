/* SPDX-License-Identifier: Apache-2.0 */
/* Why a step ran: its key's ingredients against those of an earlier record. */
#ifndef SHALE_BUILD_EXPLAIN_H
#define SHALE_BUILD_EXPLAIN_H

#include "priv.h"

struct reasons {
	struct str text; /* "a, b and 3 more" */
};
void reasons_add(struct reasons *r, const char *what);
/* told of which only shown were added. */
void reasons_more(struct reasons *r, size_t told, size_t shown);

/* Which files are other ones than those that the record with this snapshot was made of: 1 when
 * there are any. -ENOENT, -EBADMSG: that is not known. */
int sources_compare(const struct copy_job *j, struct snap *snap, int64_t snapshot,
		    struct reasons *r, struct err *err);

#endif
