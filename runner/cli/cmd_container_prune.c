/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_container_prune;

struct prune_args {
	bool force;
};

static const struct opt prune_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct prune_args, force), NULL, "Do not ask" },
	{ 0 },
};

static void print_removed(const struct strv *ids, uint64_t bytes)
{
	char text[STR_SIZE_MAX];

	if (ids->n)
		puts("Deleted Containers:");
	for (size_t i = 0; i < ids->n; i++)
		puts(ids->v[i]);
	printf("%sTotal reclaimed space: %s\n", ids->n ? "\n" : "", str_size(bytes, text));
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct prune_args *a = args;
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	uint64_t bytes = 0;
	int rc;

	(void)argc;
	(void)argv;
	if (!a->force && !cli_confirm("This will remove all containers that do not run."))
		return 0;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_prune(&c->rt, &ids, &bytes, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	print_removed(&ids, bytes);
	return cli_done(c);
}

const struct command cmd_container_prune = {
	.name = "container-prune",
	.args = "",
	.summary = "Remove all containers that do not run",
	.opts = prune_opts,
	.args_size = sizeof(struct prune_args),
	.main = prune_main,
	.flags = CMD_HIDDEN,
};
