/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_stop;

struct stop_args {
	int timeout_ms;
};

static const struct opt stop_opts[] = {
	{ 't', "time", OPT_SECONDS, offsetof(struct stop_args, timeout_ms), "SECONDS",
	  "Wait before killing (default 10)" },
	{ 0, "timeout", OPT_SECONDS, offsetof(struct stop_args, timeout_ms), "SECONDS", NULL },
	{ 0 },
};
static const struct stop_args stop_defaults = { .timeout_ms = -1 };

static int stop_one(struct cli *c, const struct stop_args *a, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0)
		rc = container_stop(ct, a->timeout_ms, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int stop_main(struct cli *c, void *args, int argc, char **argv)
{
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	for (int i = 0; i < argc; i++)
		if (stop_one(c, args, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
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
