/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_start;

struct start_args {
	bool attach, interactive, sig_proxy;
	const char *detach_keys;
};

static const struct opt start_opts[] = {
	{ 'a', "attach", OPT_BOOL, offsetof(struct start_args, attach), NULL,
	  "in the foreground, with its output" },
	{ 0, "detach-keys", OPT_STR, offsetof(struct start_args, detach_keys), "KEYS",
	  "keys that leave its terminal (default ctrl-p,ctrl-q)" },
	{ 'i', "interactive", OPT_BOOL, offsetof(struct start_args, interactive), NULL,
	  "with stdin" },
	{ 0, "sig-proxy", OPT_BOOL, offsetof(struct start_args, sig_proxy), NULL,
	  "pass signals on to it (the default)" },
	{ 0 },
};
static const struct start_args start_defaults = { .sig_proxy = true };

/* One that runs already is fine, as Docker has it. */
static int start_one(struct cli *c, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_find(&c->rt, name, &ct, err);

	if (rc >= 0 && ct->state != CONTAINER_RUNNING)
		rc = container_start(ct, NULL, err);
	if (rc >= 0)
		puts(name);
	return rc;
}

static int start_attached(struct cli *c, const struct start_args *a, int argc, char **argv)
{
	struct container_attach at = { .with_stdin = a->interactive,
				       .sig_proxy = a->sig_proxy,
				       .detach_keys = a->detach_keys };
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc, code = CONTAINER_EXIT_SHALE;

	if (argc != 1) {
		err_set(&err, EINVAL, "only one container can be attached to");
		return cli_usage(c, &err);
	}
	rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc >= 0 && ct->state == CONTAINER_RUNNING)
		rc = container_attach(ct, &at, &code, &err);
	else if (rc >= 0 && ((ct->spec.tty && a->interactive) || !a->sig_proxy))
		rc = container_start_attached(ct, &at, &code, &err);
	else if (rc >= 0)
		rc = container_start_here(ct, a->interactive, &code, &err);
	if (rc < 0)
		cli_fail(c, &err);
	return code;
}

static int start_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct start_args *a = args;
	struct err err = { 0 };
	int code = 0;

	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	if (a->attach || a->interactive)
		return start_attached(c, a, argc, argv);
	for (int i = 0; i < argc; i++)
		if (start_one(c, argv[i], &err) < 0)
			code = cli_fail(c, &err);
	return code ? code : cli_done(c);
}

const struct command cmd_start = {
	.name = "start",
	.args = "CONTAINER...",
	.summary = "Start containers",
	.opts = start_opts,
	.args_size = sizeof(struct start_args),
	.main = start_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_containers,
	.defaults = &start_defaults,
};
