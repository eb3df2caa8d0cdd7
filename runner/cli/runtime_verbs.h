/* SPDX-License-Identifier: Apache-2.0 */
/* runtime_verbs: what comes after "shale runtime". */
#ifndef SHALE_CLI_RUNTIME_VERBS_H
#define SHALE_CLI_RUNTIME_VERBS_H

#include <shale/oci.h>

#include "priv.h"

/* The options of all verbs; each verb's table has its own of them. */
struct verb_args {
	struct oci_io io;
	struct oci_exec exec;
	struct strv env, caps;
	const char *preserve_fds, *format, *resources, *interval;
	const char *cpu_period, *cpu_quota, *cpu_shares, *cpus, *mems, *memory, *reservation, *swap,
		*pids, *weight, *burst, *idle;
	bool ignored, force, all, stats, quiet, no_new_privs;
};

struct runtime_verb {
	const char *name, *args;
	const struct opt *opts;
	int (*main)(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		    struct err *err);
	int min_args, max_args;
	bool stop_at_arg;
};
extern const struct runtime_verb runtime_verbs[];

#endif
