/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_cp;

struct cp_args {
	bool archive, follow, quiet;
};

#define OFF(field) offsetof(struct cp_args, field)
static const struct opt cp_opts[] = {
	{ 'a', "archive", OPT_BOOL, OFF(archive), NULL, "keep owners and extended attributes" },
	{ 'L', "follow-link", OPT_BOOL, OFF(follow), NULL, "follow a symbolic link in SOURCE" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "say nothing" },
	{ 0 },
};

/* "CONTAINER:PATH", as docker: a path that begins with a slash or a dot is the host's. */
static void side(const char *word, char **ret_name, const char **ret_path)
{
	const char *colon = strchr(word, ':');

	*ret_name = NULL;
	*ret_path = str_eq(word, "-") ? NULL : word;
	if (!colon || *word == '/' || *word == '.' || colon == word)
		return;
	*ret_name = mem_strn(word, (size_t)(colon - word));
	*ret_path = colon + 1;
}

static int check(const struct container_cp *o, struct err *err)
{
	if (o->from_name && o->to_name)
		return err_set(err, EINVAL,
			       "between containers: copy to - and from - (cp A:X - | cp - B:Y)");
	if (!o->from_name && !o->to_name)
		return err_set(err, EINVAL, "SOURCE or DEST must be CONTAINER:PATH");
	if (!o->to && isatty(STDOUT_FILENO))
		return err_set(err, EINVAL, "an archive is not for a terminal: use a pipe");
	if ((o->from && !*o->from) || (o->to && !*o->to))
		return err_set(err, EINVAL, "the path is empty");
	return 0;
}

static int cp_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cp_args *a = args;
	auto_free char *from_name = NULL, *to_name = NULL;
	struct container_cp o = { .archive = a->archive, .follow = a->follow };
	struct container_cp_done done = { 0 };
	struct err err = { 0 };
	int rc;

	(void)argc;
	side(argv[0], &from_name, &o.from);
	side(argv[1], &to_name, &o.to);
	o.from_name = from_name;
	o.to_name = to_name;
	o.tar_fd = o.from ? STDOUT_FILENO : STDIN_FILENO;
	if (!to_name)
		out_user(&o.uid, &o.gid);
	if (check(&o, &err) < 0)
		return cli_usage(c, &err);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_cp(&c->rt, &o, &done, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (done.skipped && !a->quiet)
		fprintf(stderr, "shale: %zu devices or sockets were left out\n", done.skipped);
	return cli_done(c);
}

const struct command cmd_cp = {
	.name = "cp",
	.args = "[CONTAINER:]SOURCE|- [CONTAINER:]DEST|-",
	.summary = "Copy files between a container and the host",
	.opts = cp_opts,
	.args_size = sizeof(struct cp_args),
	.main = cp_main,
	.min_args = 2,
	.max_args = 2,
	.complete = complete_containers,
};
