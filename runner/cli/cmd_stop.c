/* SPDX-License-Identifier: Apache-2.0 */
/* stop, restart */
#include <errno.h>

#include <shale/base/proc.h>
#include <shale/container.h>

#include "which.h"

extern const struct command cmd_stop, cmd_restart;

struct stop_args {
	const char *signal;
	int timeout_ms;
	struct which which;
};

#define OFF(field) offsetof(struct stop_args, field)
#define COMMON                                                                                     \
	{                                                                                          \
		's',         "signal", OPT_STR,                                                    \
		OFF(signal), "SIGNAL", "signal to send (default the container's)"                  \
	},                                                                                         \
		{ 't',         "time",                                                             \
		  OPT_SECONDS, OFF(timeout_ms),                                                    \
		  "SECONDS",   "wait before killing (default 10)" },                               \
	{                                                                                          \
		0, "timeout", OPT_SECONDS, OFF(timeout_ms), "SECONDS", NULL                        \
	}
static const struct opt stop_opts[] = {
	COMMON,
	WHICH_OPTS(OFF(which), "all that run"),
	{ 'i', "ignore", OPT_BOOL, OFF(which.ignore), NULL, "one that is not there is stopped" },
	{ 0 },
};
static const struct opt restart_opts[] = {
	COMMON,
	WHICH_OPTS(OFF(which), "all, running or not"),
	{ 0 },
};
static const struct stop_args stop_defaults = { .timeout_ms = -1 };

typedef int stop_fn(struct container *ct, const char *signal, int timeout_ms, struct err *err);

static int one(struct cli *c, stop_fn *fn, const struct stop_args *a, const char *name,
	       struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc == -ENOENT && which_may_miss(&a->which)) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = fn(ct, a->signal, a->timeout_ms, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int each(struct cli *c, stop_fn *fn, const struct stop_args *a, enum which_of of,
		char **names)
{
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	int code;

	if (a->signal && proc_signal_find(a->signal) < 0) {
		err_set(&err, EINVAL, "invalid signal: %s", a->signal);
		return cli_usage(c, &err);
	}
	code = which_open(c, &a->which, of, names, &ids);
	if (code)
		return code;
	for (size_t i = 0; i < ids.n; i++)
		if (one(c, fn, a, ids.v[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

static int stop_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_stop, args, WHICH_RUNNING, argv);
}

static int restart_main(struct cli *c, void *args, int argc, char **argv)
{
	(void)argc;
	return each(c, container_restart, args, WHICH_ANY, argv);
}

const struct command cmd_stop = {
	.name = "stop",
	.args = "[CONTAINER...]",
	.summary = "Stop containers",
	.opts = stop_opts,
	.args_size = sizeof(struct stop_args),
	.main = stop_main,
	.max_args = -1,
	.complete = complete_containers,
	.defaults = &stop_defaults,
};

const struct command cmd_restart = {
	.name = "restart",
	.args = "[CONTAINER...]",
	.summary = "Stop containers and start them again",
	.opts = restart_opts,
	.args_size = sizeof(struct stop_args),
	.main = restart_main,
	.max_args = -1,
	.complete = complete_containers,
	.defaults = &stop_defaults,
};
