/* SPDX-License-Identifier: Apache-2.0 */
/* trust: what a pull asks before it takes anything. */
#ifndef SHALE_IMAGE_TRUST_H
#define SHALE_IMAGE_TRUST_H

#include "priv.h"
#include "remote.h"

/* Before the network: -EACCES when nothing is taken from that repository. *ret_is_signed: what is
 * here already has to be looked up as well. */
int image_trust_begin(const struct image_access *a, const struct image_remote *r,
		      bool *ret_is_signed, struct err *err);
/* What the name means there: pinned to that digest, signed by the keys. -EACCES, -EBADMSG. */
int image_trust_check(const struct image_access *a, struct image_remote *r, const char *digest,
		      struct err *err);

#endif
