/* SPDX-License-Identifier: Apache-2.0 */
/* stop, restart */
#include <errno.h>

#include <shale/base/proc.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_stop, cmd_restart;

struct stop_args {
	const char *signal;
	int timeout_ms;
};

static const struct opt stop_opts[] = {
	{ 's', "signal", OPT_STR, offsetof(struct stop_args, signal), "SIGNAL",
	  "signal to send (default the container's)" },
	{ 't', "time", OPT_SECONDS, offsetof(struct stop_args, timeout_ms), "SECONDS",
	  "wait before killing (default 10)" },
	{ 0, "timeout", OPT_SECONDS, offsetof(struct stop_args, timeout_ms), "SECONDS", NULL },
	{ 0 },
};
static const struct stop_args stop_defaults = { .timeout_ms = -1 };

typedef int stop_fn(struct container *ct, const char *signal, int timeout_ms, struct err *err);

static int one(struct cli *c, stop_fn *fn, const struct stop_args *a, const char *name,
	       struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0)
		rc = fn(ct, a->signal, a->timeout_ms, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int each(struct cli *c, stop_fn *fn, const struct stop_args *a, char **names)
{
	struct err err = { 0 };
	int code = 0;

	if (a->signal && proc_signal_find(a->signal) < 0) {
		err_set(&err, EINVAL, "invalid signal: %s", a->signal);
		return cli_usage(c, &err);
	}
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (; *names; names++)
		if (one(c, fn, a, *names, &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

static int stop_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_stop, args, argv);
}

static int restart_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_restart, args, argv);
}

const struct command cmd_stop = {
	.name = "stop",
	.args = "CONTAINER...",
	.summary = "Stop containers",
	.opts = stop_opts,
	.args_size = sizeof(struct stop_args),
	.main = stop_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
	.defaults = &stop_defaults,
};

const struct command cmd_restart = {
	.name = "restart",
	.args = "CONTAINER...",
	.summary = "Stop containers and start them again",
	.opts = stop_opts,
	.args_size = sizeof(struct stop_args),
	.main = restart_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
	.defaults = &stop_defaults,
};
