/* SPDX-License-Identifier: Apache-2.0 */
/* One of several builds of a command, with a progress view of its own. */
#ifndef SHALE_CLI_ONE_BUILD_H
#define SHALE_CLI_ONE_BUILD_H

#include <stdbool.h>

#include <shale/build.h>

struct one_build {
	const char *progress;
	const char *title; /* stands above what people see of it, or NULL */
	bool says_id;      /* -q prints one ID: is it that of this one? */
};
/* o->event_arg is set. */
int one_build_run(struct runtime *rt, const struct build_opts *o, const struct one_build *how,
		  struct build_result *r, struct err *err);

#endif
