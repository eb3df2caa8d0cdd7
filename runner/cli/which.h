/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that are meant otherwise than by their names. */
#ifndef SHALE_CLI_WHICH_H
#define SHALE_CLI_WHICH_H

#include "priv.h"

struct which {
	bool all, latest, ignore;
	struct strv cidfiles;
};
#define WHICH_OPTS(at, all_help)                                                                   \
	{ 'a', "all", OPT_BOOL, (at) + offsetof(struct which, all), NULL, all_help },              \
		{ 'l',      "latest",                                                              \
		  OPT_BOOL, (at) + offsetof(struct which, latest),                                 \
		  NULL,     "the one that was made last" },                                        \
	{                                                                                          \
		0, "cidfile", OPT_STRV, (at) + offsetof(struct which, cidfiles), "FILE",           \
			"the one whose ID a file has"                                              \
	}

enum which_of { WHICH_ANY, WHICH_RUNNING, WHICH_PAUSED }; /* of these --all means all */
/* Opens the store; the containers' names or ids. 0, or the exit code after what it printed. */
int which_open(struct cli *c, const struct which *w, enum which_of of, char *const *names,
	       struct strv *ret);
/* Is one that is not there well? Of all, some may have gone since they were looked for. */
bool which_may_miss(const struct which *w);

#endif
