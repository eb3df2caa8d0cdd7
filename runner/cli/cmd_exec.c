/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/container.h>

#include "run_spec.h"

extern const struct command cmd_exec;

struct exec_args {
	bool interactive, tty, detach, privileged;
	const char *user, *workdir, *detach_keys;
	struct strv env, env_files;
};

static const struct opt exec_opts[] = {
	{ 'd', "detach", OPT_BOOL, offsetof(struct exec_args, detach), NULL,
	  "do not wait for its end" },
	{ 0, "detach-keys", OPT_STR, offsetof(struct exec_args, detach_keys), "KEYS",
	  "keys that leave its terminal (default ctrl-p,ctrl-q)" },
	{ 'e', "env", OPT_STRV, offsetof(struct exec_args, env), "NAME[=VALUE]",
	  "set an environment variable" },
	{ 0, "env-file", OPT_STRV, offsetof(struct exec_args, env_files), "FILE",
	  "read environment variables from a file" },
	{ 'i', "interactive", OPT_BOOL, offsetof(struct exec_args, interactive), NULL,
	  "keep stdin open" },
	{ 0, "privileged", OPT_BOOL, offsetof(struct exec_args, privileged), NULL,
	  "all capabilities, no seccomp" },
	{ 't', "tty", OPT_BOOL, offsetof(struct exec_args, tty), NULL, "give it a terminal" },
	{ 'u', "user", OPT_STR, offsetof(struct exec_args, user), "USER[:GROUP]",
	  "user to run as" },
	{ 'w', "workdir", OPT_STR, offsetof(struct exec_args, workdir), "DIR",
	  "working directory inside" },
	{ 0 },
};

static int make_exec(const struct exec_args *a, int argc, char **argv, struct container_exec *x,
		     struct err *err)
{
	int rc = 0;

	for (int i = 1; i < argc; i++)
		strv_add(&x->command, argv[i]);
	for (size_t i = 0; rc >= 0 && i < a->env_files.n; i++)
		rc = run_env_file(a->env_files.v[i], &x->env, err);
	for (size_t i = 0; i < a->env.n; i++)
		strv_add(&x->env, a->env.v[i]);
	x->user = mem_str(a->user);
	x->workdir = mem_str(a->workdir);
	x->detach_keys = a->detach_keys;
	x->interactive = a->interactive;
	x->tty = a->tty;
	x->detach = a->detach;
	x->privileged = a->privileged;
	return rc;
}

static void exec_free(struct container_exec *x)
{
	strv_free(&x->command);
	strv_free(&x->env);
	free(x->user);
	free(x->workdir);
}

static int exec_main(struct cli *c, void *args, int argc, char **argv)
{
	cleanup(exec_free) struct container_exec x = { 0 };
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc, code = CONTAINER_EXIT_SHALE;

	rc = make_exec(args, argc, argv, &x, &err);
	if (rc >= 0)
		rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc >= 0)
		rc = container_exec(ct, &x, &code, &err);
	/* Docker's: 1 when there is no such container or it does not run. */
	if (rc == -EBUSY || (rc == -ENOENT && !ct))
		code = code == CONTAINER_EXIT_SHALE ? 1 : code;
	if (rc < 0)
		cli_fail(c, &err);
	return code;
}

const struct command cmd_exec = {
	.name = "exec",
	.args = "CONTAINER COMMAND [ARG...]",
	.summary = "Run a command in a running container",
	.opts = exec_opts,
	.args_size = sizeof(struct exec_args),
	.main = exec_main,
	.min_args = 2,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG | CMD_EXIT_125,
	.complete = complete_containers,
};
