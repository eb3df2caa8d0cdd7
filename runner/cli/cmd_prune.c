/* SPDX-License-Identifier: Apache-2.0 */
/* image prune, builder prune and prune (system prune) */
#include <errno.h>
#include <string.h>

#include <shale/container.h>
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_image_prune, cmd_builder_prune, cmd_prune;

struct prune_args {
	bool all, force, dry_run, now;
	struct strv filters;
	const char *reserved, *max_used, *min_free;
};

#define OFF(field) offsetof(struct prune_args, field)
#define FILTERS    "until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]"
#define OPT_COMMON(filters_help)                                                                     \
	{ 'f', "force", OPT_BOOL, OFF(force), NULL, "do not ask" },                                  \
		{ 0, "dry-run", OPT_BOOL, OFF(dry_run), NULL, "only print what would go, and why" }, \
	{                                                                                            \
		0, "filter", OPT_STRV, OFF(filters), "FILTER", filters_help                          \
	}
#define OPT_NOW                                                                                    \
	{                                                                                          \
		0, "now", OPT_BOOL, OFF(now), NULL,                                                \
			"delete at once instead of by way of the trash"                            \
	}

static const struct opt image_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "also images with a name that no container uses" },
	OPT_COMMON(FILTERS ", dangling=true|false"),
	OPT_NOW,
	{ 0 },
};
static const struct opt builder_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "the same: all that no image needs goes" },
	OPT_COMMON("until=24h, type=exec.cachemount|regular"),
	{ 0, "reserved-space", OPT_STR, OFF(reserved), "SPACE",
	  "so much stays in any case: bytes (10GB) or a share (10%)" },
	{ 0, "max-used-space", OPT_STR, OFF(max_used), "SPACE", "only what is above this goes" },
	{ 0, "min-free-space", OPT_STR, OFF(min_free), "SPACE",
	  "only until the file system has so much" },
	{ 0, "keep-storage", OPT_STR, OFF(reserved), "SPACE", NULL },
	{ 0 },
};
static const struct opt system_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "also images with a name that no container uses" },
	OPT_COMMON(FILTERS),
	OPT_NOW,
	{ 0 },
};

/* --- image prune --- */

static void print_images(const struct image_removal *r, bool now)
{
	if (r->untagged.n || r->deleted.n)
		puts("Deleted Images:");
	removal_lines(r, "untagged", "deleted");
	if (r->untagged.n || r->deleted.n)
		putchar('\n');
	removal_kept(r, !now);
	removal_trash(r);
}

static void print_total(uint64_t bytes)
{
	auto_free char *size = out_size(bytes);

	printf("Total reclaimed space: %s\n", size);
}

/* --dry-run: 1 when there are some. */
static int prune_images(struct cli *c, const struct prune_args *a, const struct prune_limits *l,
			struct image_removal *r, struct err *err)
{
	struct image_prune_opts o = { .all = a->all,
				      .now = a->now,
				      .before_s = l->before_s,
				      .labels = &l->labels,
				      .without_labels = &l->without };
	auto_image_victims struct image_victims victims = { 0 };
	int rc;

	if (!a->dry_run) {
		rc = image_prune(&c->rt, &o, r, err);
		if (rc >= 0)
			container_prune_event(&c->rt, "image", r->freed_bytes);
		return rc;
	}
	rc = image_prune_plan(&c->rt, &o, &victims, err);
	if (rc >= 0)
		rc = removal_plan(&victims, "image", err);
	return rc < 0 ? rc : victims.n > 0;
}

/* dangling=false is docker's other word for --all. */
static int take_dangling(struct prune_args *a, struct err *err)
{
	static const char name[] = "dangling=";
	bool only = true;

	for (size_t i = 0; i < a->filters.n;) {
		if (!str_starts(a->filters.v[i], name)) {
			i++;
			continue;
		}
		if (filter_bool("dangling", a->filters.v[i] + strlen(name), &only, err) < 0)
			return -EINVAL;
		a->all = !only;
		strv_remove(&a->filters, i);
	}
	return 0;
}

static int image_prune_main(struct cli *c, void *args, int argc, char **argv)
{
	static const char *const questions[] = {
		"WARNING! This will remove all dangling images.",
		"WARNING! This will remove all images without at least one container associated to them.",
	};
	auto_image_removal struct image_removal r = { 0 };
	cleanup(prune_limits_free) struct prune_limits l = { 0 };
	struct prune_args *a = args;
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (take_dangling(a, &err) < 0 || prune_limits_parse(&a->filters, &l, &err) < 0)
		return cli_usage(c, &err);
	if (!a->force && !a->dry_run && !cli_confirm(questions[a->all]))
		return 0;
	if (cli_open(c, &err) < 0 || prune_images(c, a, &l, &r, &err) < 0)
		return cli_fail(c, &err);
	if (!a->dry_run) {
		print_images(&r, a->now);
		print_total(r.freed_bytes);
		gc_later(c);
	}
	return cli_done(c);
}

/* --- builder prune --- */

static int set_space(struct cli *c, const char *text, uint64_t *to, struct err *err)
{
	return text ? settings_parse_space(text, c->rt.root_fd, to, err) : 0;
}

static int prune_cache(struct cli *c, const struct prune_args *a, const struct prune_limits *l,
		       struct image_removal *r, struct err *err)
{
	struct image_cache_policy p = { .before_s = l->before_s };
	auto_image_victims struct image_victims victims = { 0 };
	int rc;

	if (l->labels.n || l->without.n)
		return err_set(err, EINVAL, "build steps have no labels: only until= filters them");
	rc = set_space(c, a->reserved, &p.reserved_bytes, err);
	if (rc >= 0)
		rc = set_space(c, a->max_used, &p.max_used_bytes, err);
	if (rc >= 0)
		rc = set_space(c, a->min_free, &p.min_free_bytes, err);
	if (rc >= 0 && !a->dry_run)
		return image_cache_prune(&c->rt, &p, r, err);
	if (rc >= 0)
		rc = image_cache_plan(&c->rt, &p, &victims, err);
	return rc < 0 ? rc : removal_plan(&victims, "build step", err);
}

static bool takes(const struct prune_limits *l, const char *type)
{
	return !l->type || str_eq(l->type, type);
}

/* Limits of space are the steps'; a filter that names cache mounts means them in any case. */
static int prune_mounts(struct cli *c, const struct prune_args *a, const struct prune_limits *l,
			uint64_t *ret_bytes, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc;

	if (!takes(l, "exec.cachemount") ||
	    (!l->type && (a->reserved || a->max_used || a->min_free)))
		return 0;
	rc = cache_mounts_prune(c, l->before_s, a->dry_run, &names, ret_bytes, err);
	if (names.n)
		puts(a->dry_run ? "Cache mounts:" : "Deleted cache mounts:");
	for (size_t i = 0; i < names.n; i++)
		puts(names.v[i]);
	if (names.n)
		putchar('\n');
	return rc;
}

static int builder_prune_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_image_removal struct image_removal r = { 0 };
	cleanup(prune_limits_free) struct prune_limits l = { 0 };
	const struct prune_args *a = args;
	struct err err = { 0 };
	uint64_t bytes = 0;

	(void)argc;
	(void)argv;
	if (prune_limits_parse(&a->filters, &l, &err) < 0)
		return cli_usage(c, &err);
	if (!a->force && !a->dry_run &&
	    !cli_confirm("WARNING! This will remove the build cache that no image needs."))
		return 0;
	if (cli_open(c, &err) < 0 ||
	    (takes(&l, "regular") && prune_cache(c, a, &l, &r, &err) < 0) ||
	    prune_mounts(c, a, &l, &bytes, &err) < 0)
		return cli_fail(c, &err);
	if (!a->dry_run)
		print_total(bytes + r.freed_bytes);
	return cli_done(c);
}

/* --- prune --- */

static int prune_all(struct cli *c, const struct prune_args *a, const struct prune_limits *l,
		     struct err *err)
{
	auto_image_removal struct image_removal images = { 0 }, cache = { 0 };
	struct prune_limits age = { .before_s = l->before_s };
	struct containers_gone containers = { 0 };
	int rc = cli_open(c, err), some = 0;

	if (rc >= 0 && !l->labels.n && !l->without.n)
		rc = containers_prune(c, l->before_s, a->dry_run, &containers, err);
	if (rc >= 0)
		rc = some = prune_images(c, a, l, &images, err);
	if (rc >= 0)
		rc = prune_cache(c, a, &age, &cache, err);
	if (rc >= 0 && a->dry_run && (containers.n || some))
		puts("What only these need of images and build cache would go as well.");
	if (rc < 0 || a->dry_run)
		return rc;
	images.kept_layers = 0; /* they went with the cache */
	print_images(&images, a->now);
	if (cache.deleted.n)
		printf("Deleted build steps: %zu\n\n", cache.deleted.n);
	print_total(containers.bytes + images.freed_bytes + cache.freed_bytes);
	gc_later(c);
	return 0;
}

static int prune_main(struct cli *c, void *args, int argc, char **argv)
{
	static const char *const questions[] = {
		"WARNING! This will remove:\n  - all stopped containers\n  - all dangling images\n  - unused build cache\n",
		"WARNING! This will remove:\n  - all stopped containers\n  - all images without at least one container associated to them\n"
		"  - unused build cache\n",
	};
	cleanup(prune_limits_free) struct prune_limits l = { 0 };
	const struct prune_args *a = args;
	struct err err = { 0 };

	(void)argc;
	(void)argv;
	if (prune_limits_parse(&a->filters, &l, &err) < 0)
		return cli_usage(c, &err);
	if (!a->force && !a->dry_run && !cli_confirm(questions[a->all]))
		return 0;
	return prune_all(c, a, &l, &err) < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_image_prune = {
	.name = "image-prune",
	.args = "",
	.summary = "Remove images without a name",
	.opts = image_opts,
	.args_size = sizeof(struct prune_args),
	.main = image_prune_main,
	.flags = CMD_HIDDEN | CMD_FREES,
};

const struct command cmd_builder_prune = {
	.name = "builder-prune",
	.args = "",
	.summary = "Remove the build cache that no image needs",
	.opts = builder_opts,
	.args_size = sizeof(struct prune_args),
	.main = builder_prune_main,
	.flags = CMD_HIDDEN | CMD_FREES,
};

const struct command cmd_prune = {
	.name = "prune",
	.args = "",
	.summary = "Remove stopped containers, dangling images and unused build cache",
	.opts = system_opts,
	.args_size = sizeof(struct prune_args),
	.main = prune_main,
	.flags = CMD_FREES,
};
