/* SPDX-License-Identifier: Apache-2.0 */
#include "one_build.h"

#include <stdio.h>

#include "progress.h"

int one_build_run(struct runtime *rt, const struct build_opts *o, const struct one_build *how,
		  struct build_result *r, struct err *err)
{
	struct build_opts one = *o;
	struct progress p = { 0 };
	bool is_quiet;
	int rc = progress_begin(&p, how->progress, err);

	if (rc < 0)
		return rc;
	if (how->title && (p.kind == PROGRESS_PLAIN || p.kind == PROGRESS_TTY))
		fprintf(stderr, "%s\n", how->title);
	one.event_arg = &p;
	rc = build_run(rt, &one, r, err);
	is_quiet = p.kind == PROGRESS_QUIET && !how->says_id;
	if (rc >= 0 && is_quiet)
		str_reset(&p.tail);
	progress_end(&p, rc < 0 || is_quiet ? NULL : r);
	return rc;
}
