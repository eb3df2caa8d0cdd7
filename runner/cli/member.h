/* SPDX-License-Identifier: Apache-2.0 */
/* member: what history and image inspect share with their forms for one platform, which are
 * shale-build's. */
#ifndef SHALE_CLI_MEMBER_H
#define SHALE_CLI_MEMBER_H

#include <shale/image.h>

#include "priv.h"

/* cmd_history.c */
struct history_args {
	bool no_trunc, quiet, human;
	const char *format, *platform;
};
extern const struct opt history_opts[];
extern const struct history_args history_defaults;
int history_show(struct cli *c, const struct history_args *a, const char *name,
		 const struct image_member *m, struct err *err);

/* cmd_image_inspect.c */
struct image_inspect_args {
	const char *format, *platform;
};
extern const struct opt image_inspect_opts[];
/* inspect_image.c */
int inspect_member(struct cli *c, const struct image_member *m, json_t **ret, struct err *err);

#endif
