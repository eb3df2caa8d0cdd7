/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "run_spec.h"

extern const struct command cmd_run;

enum { STREAMS = 3 };

static const struct opt run_opts[] = {
	{ 'd', "detach", OPT_BOOL, RUN_AT(detach), NULL, "run in the background and print the ID" },
	{ 0, "detach-keys", OPT_STR, RUN_AT(detach_keys), "KEYS",
	  "keys that leave its terminal (default ctrl-p,ctrl-q)" },
	{ 'a', "attach", OPT_STRV, RUN_AT(attach), "STREAM",
	  "only stdin, stdout or stderr (repeatable)" },
	{ 0, "sig-proxy", OPT_BOOL, RUN_AT(sig_proxy), NULL,
	  "pass signals on to it (the default)" },
	RUN_SPEC_OPTS,
	{ 0 },
};

static const struct run_args run_defaults = { .sig_proxy = true };

static int run_detached(struct cli *c, const struct run_args *a, const struct container_spec *s,
			int *ret_exit, struct err *err)
{
	auto_container struct container *ct = NULL;
	int rc = container_create(&c->rt, s, &ct, err);

	if (rc >= 0)
		rc = run_cidfile_write(a, ct->id, err);
	if (rc >= 0)
		rc = container_start(ct, ret_exit, err);
	if (rc < 0)
		return rc;
	puts(ct->id);
	*ret_exit = cli_done(c);
	return 0;
}

/* With --cidfile the id is wanted before the program runs, else the shorter way does. A terminal
 * may be left: then somebody else must keep the container. */
static int run_foreground(struct cli *c, const struct run_args *a, const struct container_spec *s,
			  int *ret_exit, struct err *err)
{
	bool leaves = (s->tty && s->interactive) || !a->sig_proxy || s->health.n ||
		      (s->restart && !str_eq(s->restart, "no"));
	struct container_attach at = { .with_stdin = s->interactive,
				       .sig_proxy = a->sig_proxy,
				       .detach_keys = a->detach_keys };
	auto_container struct container *ct = NULL;
	int rc;

	if (s->tty && s->interactive && !isatty(STDIN_FILENO))
		return err_set(err, ENOTTY, "the input device is not a terminal");
	if (!a->cidfile && !leaves)
		return container_run(&c->rt, s, ret_exit, err);
	rc = container_create(&c->rt, s, &ct, err);
	if (rc >= 0)
		rc = run_cidfile_write(a, ct->id, err);
	if (rc < 0)
		return rc;
	return leaves ? container_start_attached(ct, &at, ret_exit, err)
		      : container_start_here(ct, false, ret_exit, err);
}

/* What of its output is not asked for is written to nobody. */
static int choose_streams(const struct run_args *a, int kept[STREAMS], struct err *err)
{
	static const char *const names[STREAMS] = { "stdin", "stdout", "stderr" };
	bool wanted[STREAMS] = { false };

	if (a->attach.n && a->detach)
		return err_set(err, EINVAL, "--attach and --detach exclude each other");
	for (size_t i = 0; i < a->attach.n; i++) {
		bool known = false;

		for (size_t k = 0; k < STREAMS; k++)
			if (strcasecmp(names[k], a->attach.v[i]) == 0)
				known = wanted[k] = true;
		if (!known)
			return err_set(err, EINVAL, "--attach %.40s: want stdin, stdout or stderr",
				       a->attach.v[i]);
	}
	for (int fd = STDOUT_FILENO; a->attach.n && fd <= STDERR_FILENO; fd++) {
		auto_fd int null = wanted[fd] ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (wanted[fd])
			continue;
		kept[fd] = fd_dup(fd);
		if (null < 0 || kept[fd] < 0 || dup2(null, fd) < 0)
			return err_sys(err, "/dev/null");
	}
	return 0;
}

/* Messages are ours again. */
static void restore_streams(int kept[STREAMS])
{
	for (int fd = 0; fd < STREAMS; fd++)
		if (kept[fd] >= 0) {
			dup2(kept[fd], fd);
			fd_close(&kept[fd]);
		}
}

static int run_as_asked(struct cli *c, const struct run_args *a, const struct container_spec *s,
			int *ret_exit, struct err *err)
{
	int rc = run_replace(c, a, s, err);

	if (rc < 0)
		return rc;
	return a->detach ? run_detached(c, a, s, ret_exit, err)
			 : run_foreground(c, a, s, ret_exit, err);
}

static int run_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container_spec struct container_spec s = { 0 };
	struct err err = { 0 };
	const struct run_args *a = args;
	int kept[STREAMS] = { -1, -1, -1 };
	int rc, code = CONTAINER_EXIT_SHALE;

	rc = run_spec_make(a, argc, argv, &s, &err);
	if (rc >= 0)
		rc = run_cidfile_check(a, &err);
	if (rc >= 0)
		rc = cli_open(c, &err);
	if (rc >= 0)
		rc = run_users_find(c, a, &err);
	if (rc >= 0)
		rc = run_pull_first(c, a, argv[0], &err);
	if (rc >= 0)
		rc = choose_streams(a, kept, &err);
	if (rc >= 0)
		rc = run_as_asked(c, a, &s, &code, &err);
	if (rc == -ENOENT && run_pull_missing(c, a, argv[0], &err) > 0)
		rc = run_as_asked(c, a, &s, &code, &err);
	restore_streams(kept);
	if (rc < 0)
		cli_fail(c, &err);
	return code;
}

const struct command cmd_run = {
	.name = "run",
	.args = "IMAGE [COMMAND [ARG...]]",
	.summary = "Create and run a container",
	.opts = run_opts,
	.args_size = sizeof(struct run_args),
	.main = run_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG | CMD_EXIT_125,
	.complete = complete_images,
	.defaults = &run_defaults,
};
