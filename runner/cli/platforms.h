/* SPDX-License-Identifier: Apache-2.0 */
/* platforms: build --platform: the same Dockerfile once for each, and an index of what comes out.
 */
#ifndef SHALE_CLI_PLATFORMS_H
#define SHALE_CLI_PLATFORMS_H

#include "deliver.h"

/* "linux/arm64,arm": as the rest of the world calls them, each once. */
int platforms_parse(const struct strv *given, struct strv *ret, struct err *err);
/* Does an index come out? */
bool platforms_is_index(const struct build_opts *o, const struct strv *platforms);
/* Each in turn; r is that of the image for this machine, else of the first. Its digest is d's. */
int platforms_run(struct deliver *d, const struct build_opts *o, const struct strv *platforms,
		  const char *progress, struct build_result *r, struct err *err);

#endif
