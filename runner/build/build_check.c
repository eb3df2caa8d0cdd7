/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of a build: with the images that are here and the context's ignore rules. */
#include <errno.h>
#include <string.h>

#include "check.h"

struct known_base {
	struct image_config *config;
};

struct bases {
	struct check_base *v;
	struct known_base *known;
	size_t n;
};

static void bases_free(struct bases *b)
{
	for (size_t i = 0; i < b->n; i++)
		image_config_free(b->known[i].config);
	mem_cleanup(&b->known);
	mem_cleanup(&b->v);
}

/* Only what is here: nothing is fetched for a check. */
static void bases_find(struct build *b, struct bases *ret)
{
	static const struct strv none;

	ret->n = b->plan->n;
	ret->v = mem_array(ret->n, sizeof(*ret->v));
	ret->known = mem_array(ret->n, sizeof(*ret->known));
	for (size_t i = 0; i < ret->n; i++) {
		const struct plan_stage *s = &b->plan->stages[i];
		auto_image struct image *img = NULL;
		const struct image_config *config;
		struct err ignored = { 0 };

		if (s->base == PLAN_SCRATCH)
			ret->v[i].env = &none;
		if (s->base != PLAN_IMAGE || image_find(b->rt, s->base_ref, &img, &ignored) < 0 ||
		    image_config_of(img, &ret->known[i].config, &ignored) < 0)
			continue;
		config = ret->known[i].config;
		/* One that will not be taken says nothing. */
		if ((s->platform || b->o->platform) &&
		    !str_eq(config->architecture, b->plan->platform.arch))
			continue;
		ret->v[i] = (struct check_base){ .env = &config->env,
						 .os = config->os,
						 .arch = config->architecture,
						 .has_shell = config->shell.n > 0 };
	}
}

int build_check(struct build *b, bool all_stages, struct check_report *ret, struct err *err)
{
	cleanup(bases_free) struct bases bases = { 0 };
	struct check_opts o = { .file_name = b->file_name,
				.build_args = &b->build_args,
				.ignore = b->context ? context_rules(b->context) : NULL,
				.all_stages = all_stages };

	bases_find(b, &bases);
	o.bases = bases.v;
	return check_run(b->d, b->plan, &o, ret, err);
}

int build_check_before(struct build *b, struct err *err)
{
	cleanup(check_report_free) struct check_report report = { 0 };
	auto_free char *rules = NULL;
	int rc = build_check(b, false, &report, err);

	if (rc < 0 || !report.is_error)
		return rc;
	build_warn(b, &report);
	rules = check_report_rules(&report);
	return err_set(err, EINVAL, "%.200s: check found %s, and error=true is set", b->file_name,
		       rules);
}

void build_check_after(struct build *b)
{
	cleanup(check_report_free) struct check_report report = { 0 };
	struct err ignored = { 0 };

	if (build_check(b, false, &report, &ignored) == 0)
		build_warn(b, &report);
}

void build_warn(struct build *b, const struct check_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		auto_free char *text = check_warning_text(&r->v[i]);
		struct build_event e = { .kind = BUILD_WARNING, .text = text };

		build_emit(b, &e);
	}
}
