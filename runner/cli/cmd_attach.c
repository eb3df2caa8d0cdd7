/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_attach;

struct attach_args {
	bool no_stdin, sig_proxy;
	const char *detach_keys;
};

static const struct opt attach_opts[] = {
	{ 0, "detach-keys", OPT_STR, offsetof(struct attach_args, detach_keys), "KEYS",
	  "keys that leave its terminal (default ctrl-p,ctrl-q)" },
	{ 0, "no-stdin", OPT_BOOL, offsetof(struct attach_args, no_stdin), NULL,
	  "only its output" },
	{ 0, "sig-proxy", OPT_BOOL, offsetof(struct attach_args, sig_proxy), NULL,
	  "pass signals on to it (the default)" },
	{ 0 },
};
static const struct attach_args attach_defaults = { .sig_proxy = true };

static int attach_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct attach_args *a = args;
	struct container_attach at = { .sig_proxy = a->sig_proxy,
				       .redraw = true,
				       .detach_keys = a->detach_keys };
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int code = 1, rc = cli_open(c, &err);

	(void)argc;
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	at.with_stdin = ct->spec.interactive && !a->no_stdin;
	if (at.with_stdin && ct->spec.tty && !isatty(STDIN_FILENO))
		rc = err_set(&err, ENOTTY,
			     "the input device is not a terminal (--no-stdin shows the output)");
	if (rc >= 0)
		rc = container_attach(ct, &at, &code, &err);
	return rc < 0 ? cli_fail(c, &err) : code;
}

const struct command cmd_attach = {
	.name = "attach",
	.args = "CONTAINER",
	.summary = "Go to a running container's input and output",
	.opts = attach_opts,
	.args_size = sizeof(struct attach_args),
	.main = attach_main,
	.min_args = 1,
	.max_args = 1,
	.complete = complete_containers,
	.defaults = &attach_defaults,
};
