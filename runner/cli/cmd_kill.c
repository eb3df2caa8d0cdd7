/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>

#include <shale/base/proc.h>
#include <shale/container.h>

#include "which.h"

extern const struct command cmd_kill;

struct kill_args {
	const char *signal;
	struct which which;
};

static const struct opt kill_opts[] = {
	{ 's', "signal", OPT_STR, offsetof(struct kill_args, signal), "SIGNAL",
	  "signal to send (default KILL)" },
	WHICH_OPTS(offsetof(struct kill_args, which), "all that run"),
	{ 0 },
};

static int kill_one(struct cli *c, int sig, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0)
		rc = container_kill(ct, sig, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int kill_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct kill_args *a = args;
	int sig = a->signal ? proc_signal_find(a->signal) : SIGKILL, code;
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };

	(void)argc;
	if (sig < 0) {
		err_set(&err, EINVAL, "invalid signal: %s", a->signal);
		return cli_usage(c, &err);
	}
	code = which_open(c, &a->which, WHICH_RUNNING, argv, &ids);
	if (code)
		return code;
	for (size_t i = 0; i < ids.n; i++)
		if (kill_one(c, sig, ids.v[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_kill = {
	.name = "kill",
	.args = "[CONTAINER...]",
	.summary = "Send a signal to containers",
	.opts = kill_opts,
	.args_size = sizeof(struct kill_args),
	.main = kill_main,
	.max_args = -1,
	.complete = complete_containers,
};
