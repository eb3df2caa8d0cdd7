/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/proc.h>
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
	  "only print what would go, and why" },
	{ 0, "filter", OPT_STRV, offsetof(struct prune_args, filters), "FILTER",
	  "until=24h or a time" },
	{ 0 },
};

struct going {
	struct containers_gone *gone;
	json_t *rows; /* NULL: not a plan */
};

static void tell_one(const struct container *ct, uint64_t bytes, void *arg)
{
	const struct going *g = arg;
	auto_free char *status = container_status_text(ct, proc_now_ns());

	if (g->rows)
		plan_add(g->rows, ct->id, ct->name, bytes, status);
	else if (!g->gone->n)
		puts("Deleted Containers:");
	if (!g->rows)
		puts(ct->id);
	g->gone->n++;
	g->gone->bytes += bytes;
}

int containers_prune(struct cli *c, int64_t before_s, bool dry_run, struct containers_gone *ret,
		     struct err *err)
{
	auto_json json_t *rows = dry_run ? json_array() : NULL;
	struct container_prune_opts o = { .before_s = before_s, .dry_run = dry_run };
	struct going g = { ret, rows };
	int rc = container_prune(&c->rt, &o, tell_one, &g, err);

	if (rc >= 0 && dry_run)
		rc = plan_print(rows, "container", ret->bytes, err);
	else if (ret->n)
		putchar('\n');
	return rc;
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct prune_args *a = args;
	cleanup(prune_limits_free) struct prune_limits l = { 0 };
	struct containers_gone gone = { 0 };
	char size[STR_SIZE_MAX];
	struct err err = { 0 };
	int rc;

	(void)argc;
	(void)argv;
	if (prune_limits_parse(&a->filters, &l, &err) < 0)
		return cli_usage(c, &err);
	if (!a->force && !a->dry_run &&
	    !cli_confirm("This will remove all containers that do not run."))
		return 0;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = containers_prune(c, l.before_s, a->dry_run, &gone, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (!a->dry_run) {
		container_prune_event(&c->rt, "container", gone.bytes);
		printf("Total reclaimed space: %s\n", str_size(gone.bytes, size));
	}
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
