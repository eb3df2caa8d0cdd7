/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <shale/build.h>

#include "priv.h"

static int print_id(const struct build_record *r, void *arg, struct err *err)
{
	(void)err;
	if (str_starts(r->id, arg))
		puts(r->id);
	return 0;
}

void complete_builds(struct cli *c, const char *prefix)
{
	auto_free char *copy = mem_str(prefix);
	struct err ignored;

	if (str_starts("@last", prefix))
		puts("@last");
	if (cli_open(c, &ignored) >= 0)
		build_record_walk(&c->rt, print_id, copy, &ignored);
}
