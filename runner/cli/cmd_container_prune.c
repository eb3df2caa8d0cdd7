/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_container_prune;

struct prune_args {
	bool force, dry_run;
	struct strv filters;
};

static const struct opt prune_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct prune_args, force), NULL, "do not ask" },
	{ 0, "dry-run", OPT_BOOL, offsetof(struct prune_args, dry_run), NULL,
	  "only print what would go" },
	{ 0, "filter", OPT_STRV, offsetof(struct prune_args, filters), "FILTER",
	  "until=24h or a time" },
	{ 0 },
};

static void print_removed(const struct strv *ids, uint64_t bytes, bool dry_run)
{
	char text[STR_SIZE_MAX];

	if (ids->n)
		puts(dry_run ? "Would delete:" : "Deleted Containers:");
	for (size_t i = 0; i < ids->n; i++)
		puts(ids->v[i]);
	printf("%s%s: %s\n", ids->n ? "\n" : "",
	       dry_run ? "Would reclaim" : "Total reclaimed space", str_size(bytes, text));
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct prune_args *a = args;
	cleanup(prune_limits_free) struct prune_limits l = { 0 };
	struct container_prune_opts o = { .dry_run = a->dry_run };
	auto_strv struct strv ids = { 0 };
	struct err err = { 0 };
	uint64_t bytes = 0;
	int rc;

	(void)argc;
	(void)argv;
	if (prune_limits_parse(&a->filters, &l, &err) < 0)
		return cli_usage(c, &err);
	o.before_s = l.before_s;
	if (!a->force && !a->dry_run &&
	    !cli_confirm("This will remove all containers that do not run."))
		return 0;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_prune(&c->rt, &o, &ids, &bytes, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (!a->dry_run)
		container_prune_event(&c->rt, "container", bytes);
	print_removed(&ids, bytes, a->dry_run);
	return cli_done(c);
}

const struct command cmd_container_prune = {
	.name = "container-prune",
	.args = "",
	.summary = "Remove all containers that do not run",
	.opts = prune_opts,
	.args_size = sizeof(struct prune_args),
	.main = prune_main,
	.flags = CMD_HIDDEN | CMD_FREES,
};
