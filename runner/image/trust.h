/* SPDX-License-Identifier: Apache-2.0 */
/* trust: what a pull asks before it takes anything. */
#ifndef SHALE_IMAGE_TRUST_H
#define SHALE_IMAGE_TRUST_H

#include <shale/base/pubkey.h>

#include "priv.h"
#include "remote.h"

/* Before the network: -EACCES when nothing is taken from that repository. *ret_is_signed: what is
 * here already has to be looked up as well. */
int image_trust_begin(const struct image_access *a, const struct image_remote *r,
		      bool *ret_is_signed, struct err *err);
/* What the name means there: pinned to that digest, signed by the keys. -EACCES, -EBADMSG. */
int image_trust_check(const struct image_access *a, struct image_remote *r, const char *digest,
		      struct err *err);

/* --- between trust.c and bundle.c --- */

/* What has to be signed, and by whom. */
struct image_trust_case {
	struct image_remote *remote;
	const char *digest;
	struct pubkey **keys;
	size_t n;
};
struct image_signed {
	const void *text;
	size_t len;
	const void *sig;
	size_t sig_len;
};
int image_trust_verify(const struct image_trust_case *c, const struct image_signed *s,
		       struct err *err); /* by one of the keys */
/* What was signed is called that: our repository, and our tag if the name has one. */
int image_trust_name(const struct image_trust_case *c, const char *name, struct err *err);
int image_trust_keyless(struct err *err); /* the refusal of what a certificate vouches for */
/* bundle.c: one of the Sigstore bundles that stand beside it counts. -ENOENT: there is none. */
int image_bundles_check(const struct image_trust_case *c, struct err *err);

#endif
