/* SPDX-License-Identifier: Apache-2.0 */
/* A whole build: read, parse, plan; build the target; hash what is left; write the image. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "attest.h"
#include "check.h"
#include "depot.h"
#include "fiber.h"
#include "mount.h"
#include "priv.h"

enum { SCOPE_MAX = 64 };

static void unset(struct strv *pairs, const char *name)
{
	for (size_t i = pairs->n; i-- > 0;)
		if (str_starts(pairs->v[i], name) && pairs->v[i][strlen(name)] == '=')
			strv_remove(pairs, i);
}

static void take_build_args(struct build *b)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");

	for (size_t i = 0; i < b->o->build_args.n; i++) {
		const char *arg = b->o->build_args.v[i], *env;

		auto_free char *name = mem_strn(arg, strcspn(arg, "="));

		/* The last of several counts. */
		env = arg[strlen(name)] ? arg + strlen(name) + 1 : getenv(name);
		if (env)
			strv_env_set(&b->build_args, name, env);
		else
			unset(&b->build_args, name);
	}
	if (epoch && *epoch && !strv_env_get(&b->build_args, "SOURCE_DATE_EPOCH"))
		strv_addf(&b->build_args, "SOURCE_DATE_EPOCH=%s", epoch);
}

/*
 * As buildx: the variable counts as the build argument, and both before an ARG above the first
 * FROM. Nothing of the image is newer than it says. "context" means the time of a commit or an
 * archive, which a directory has not.
 */
static int take_epoch(struct build *b, struct strv *global_args, struct err *err)
{
	static const char name[] = "SOURCE_DATE_EPOCH";
	const char *v = strv_env_get(&b->build_args, name);
	uint64_t s;

	if (b->o->timestamp) {
		snprintf(b->timestamp_text, sizeof(b->timestamp_text), "exactly %lld",
			 (long long)*b->o->timestamp);
		b->epoch = b->o->timestamp;
		b->epoch_text = b->timestamp_text;
		return 0;
	}
	if (!v)
		v = strv_env_get(global_args, name);
	if (str_eq(v, "context")) {
		unset(&b->build_args, name);
		unset(global_args, name);
		return 0;
	}
	if (!v || !*v)
		return 0;
	if (str_to_u64(v, 10, INT64_MAX / 1000000000, &s) < 0)
		return err_set(err, EINVAL, "%s=%s: want seconds since 1970, or context", name, v);
	b->epoch_s = (int64_t)s;
	b->epoch = &b->epoch_s;
	b->epoch_text = v;
	return 0;
}

static void clamp(const struct build *b, int64_t *s)
{
	if (b->epoch && *s > *b->epoch)
		*s = *b->epoch;
}

/* The base's dates too, as BuildKit has it. */
static void clamp_dates(const struct build *b, struct image_config *c)
{
	clamp(b, &c->created_s);
	if (b->o->timestamp)
		c->created_s = *b->o->timestamp;
	for (size_t i = 0; i < c->n_history; i++)
		clamp(b, &c->history[i].created_s);
}

static int add_labels(struct build *b, struct image_config *c, struct err *err)
{
	for (size_t i = 0; i < b->o->labels.n; i++) {
		const char *pair = b->o->labels.v[i], *eq = strchr(pair, '=');
		auto_free char *name = eq ? mem_strn(pair, (size_t)(eq - pair)) : mem_str(pair);

		if (!*name)
			return err_set(err, EINVAL, "--label %s: want NAME=VALUE", pair);
		strv_env_set(&c->labels, name, eq ? eq + 1 : "");
	}
	return 0;
}

static int normalize_tags(const struct build_opts *o, struct strv *ret, struct err *err)
{
	for (size_t i = 0; i < o->tags.n; i++) {
		char *name = NULL;
		int rc = image_ref_normalize(o->tags.v[i], &name, err);

		if (rc < 0)
			return err_ctx(err, "-t %s", o->tags.v[i]);
		strv_add_take(ret, name);
	}
	return 0;
}

static int show_tree(struct build *b, const struct stage_state *st, struct build_result *ret,
		     struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	const struct sbom_opts s = { b->plan->platform.text, b->o->tool, b->now_s };
	int rc = snap_mount(b->rt->snap, st->snapshot, SNAP_RDONLY, &m, err);

	if (rc >= 0 && b->o->on_tree)
		rc = b->o->on_tree(m.root_fd, b->o->on_tree_arg, err);
	if (rc >= 0 && b->o->attest.sbom)
		rc = sbom_make(m.root_fd, &s, &ret->sbom, err);
	return rc;
}

static int finish(struct build *b, const struct strv *tags, struct build_result *ret,
		  struct err *err)
{
	struct stage_state *st = &b->stages[b->plan->target];
	/* Who gets neither tree nor image has no use for layers that are elsewhere. */
	int rc = b->o->no_image && !b->o->on_tree ? 0 : stage_whole(b, st, err);

	if (rc >= 0 && (b->o->on_tree || b->o->attest.sbom))
		rc = show_tree(b, st, ret, err);
	if (rc >= 0 && !b->o->no_image)
		rc = build_reshape(b, st, err);
	ret->steps = b->total;
	ret->cached = b->cached;
	if (rc < 0 || b->o->no_image)
		return rc;
	rc = workers_finish(b->workers, err);
	if (rc >= 0)
		rc = add_labels(b, st->config, err);
	if (rc >= 0)
		rc = depots_inline(b, st, err);
	if (rc < 0)
		return rc;
	clamp_dates(b, st->config);
	if (b->o->attest.provenance)
		rc = build_provenance(b, &ret->provenance, err);
	return rc < 0 ? rc : image_write(b->rt, st->config, st->snapshot, tags, ret->image_id, err);
}

static void build_free(struct build *b)
{
	record_close(b);
	fibers_free(b->fibers);
	workers_free(b->workers);
	depots_free(b);
	origin_close(&b->origin);
	nameds_free(&b->contexts);
	for (size_t i = 0; b->plan && i < b->plan->n; i++)
		stage_state_free(&b->stages[i]);
	free(b->stages);
	strv_free(&b->build_args);
	strv_free(&b->materials);
	free(b->text);
	build_unmount(b);
	givens_free(&b->secrets);
	givens_free(&b->ssh);
	ids_close(&b->ids);
	if (b->tool_ids.count)
		ids_close(&b->tool_ids);
	build_net_close(b);
}

/* The target and the stages that it is built upon. */
static void mark_image(struct build *b)
{
	size_t i = b->plan->target;

	for (;;) {
		/* What is squashed or folded afterwards is hashed as it is then. */
		b->stages[i].is_image = !b->o->no_image && !b->o->squash && !b->o->fold;
		b->stages[i].in_target = true;
		if (b->plan->stages[i].base != PLAN_STAGE)
			break;
		i = b->plan->stages[i].base_stage;
	}
}

static int mark_no_cache(struct build *b, struct err *err)
{
	for (size_t i = 0; i < b->plan->n; i++)
		b->stages[i].no_cache = b->o->no_cache;
	for (size_t i = 0; i < b->o->no_cache_stages.n; i++) {
		const char *name = b->o->no_cache_stages.v[i];
		int n = plan_stage_find(b->plan, name, b->plan->n);

		if (n < 0)
			return err_set(err, ENOENT, "--no-cache-filter %s: no stage has this name",
				       name);
		b->stages[n].no_cache = true;
	}
	return 0;
}

static int run_plan(struct build *b, struct build_result *ret, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	int rc = normalize_tags(b->o, &tags, err);

	if (rc >= 0)
		rc = build_check_before(b, err);
	if (rc < 0)
		return rc;
	b->stages = mem_array(b->plan->n, sizeof(*b->stages));
	mark_image(b);
	b->workers = workers_new(b->rt);
	b->now_s = proc_now_ns() / 1000000000;
	b->wall_s = b->now_s;
	clamp(b, &b->now_s);
	if (b->o->timestamp)
		b->now_s = *b->o->timestamp;
	b->target_name = b->plan->stages[b->plan->target].name;
	b->fibers = fibers_new();
	rc = mark_no_cache(b, err);
	if (rc >= 0)
		rc = depots_open(b, err);
	if (rc >= 0)
		rc = stages_build(b, err);
	/* Workers may be hashing still. */
	build_net_close(b);
	if (rc >= 0)
		rc = finish(b, &tags, ret, err);
	if (rc >= 0)
		rc = depots_write(b, err);
	if (rc >= 0)
		build_check_after(b);
	return rc;
}

/* The context is there; the text, parsed and planned. */
static int front(struct build *b, bool look_only, struct dockerfile **ret_d, struct plan **ret_plan,
		 struct err *err)
{
	const struct build_opts *o = b->o;
	struct plan_opts po = { .target = o->target,
				.build_args = &b->build_args,
				.allow = &o->allow,
				.contexts = &b->contexts.names,
				.platform = o->platform,
				.look_only = look_only };
	size_t len = 0;
	int rc = allow_check(&o->allow, err);

	take_build_args(b);
	if (rc >= 0)
		rc = build_net_choose(b, look_only, err);
	po.network = b->network;
	if (rc >= 0)
		rc = givens_secrets(&o->secrets, &b->secrets, err);
	if (rc >= 0)
		rc = givens_ssh(&o->ssh, &b->ssh, err);
	if (rc >= 0)
		rc = nameds_parse(&o->contexts, &b->contexts, err);
	if (rc >= 0)
		rc = origin_open(b, o->context, &b->origin, err);
	b->context = b->origin.tree;
	if (rc >= 0)
		rc = origin_dockerfile(b, &b->text, &len, err);
	if (rc < 0)
		return rc;
	po.file_name = b->file_name =
		o->file && strcmp(o->file, "-") != 0 ? path_base(o->file) : "Dockerfile";
	rc = dockerfile_parse(b->file_name, b->text, len, ret_d, err);
	if (rc >= 0)
		rc = plan_make(*ret_d, &po, ret_plan, err);
	return rc < 0 ? rc : take_epoch(b, &(*ret_plan)->global_args, err);
}

/* Whatever version of docker/dockerfile is asked for, also by way of a mirror, is this one. */
static void warn_syntax(struct build *b)
{
	const char *s = b->d->syntax ? b->d->syntax : "dockerfile";
	auto_free char *ref = mem_strn(s, strcspn(s, " \t"));
	const char *base = path_base(ref);
	size_t n = strcspn(base, ":@");
	auto_free char *text = NULL;

	if ((n == 10 && str_starts(base, "dockerfile")) ||
	    (n == 19 && str_starts(base, "dockerfile-upstream")))
		return;
	text_safe(ref);
	text = mem_fmt(
		"%s: # syntax=%.100s: other frontends are not run; read as docker/dockerfile",
		b->file_name, ref);
	build_emit(b, &(struct build_event){ .kind = BUILD_WARNING, .text = text });
}

static int check_scope(const char *scope, struct err *err)
{
	static const char good[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = scope ? strspn(scope, good) : 0;

	if (scope && (scope[n] || n > SCOPE_MAX))
		return err_set(err, EINVAL,
			       "--cache-scope: want up to %d letters, digits, dots, _ and -",
			       SCOPE_MAX);
	return 0;
}

int build_run(struct runtime *rt, const struct build_opts *o, struct build_result *ret,
	      struct err *err)
{
	cleanup(build_free) struct build b = { .rt = rt, .o = o, .origin = ORIGIN_INIT };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *plan = NULL;
	auto_fd int lease = -1;
	int rc = check_scope(o->scope, err);

	if (o->squash && o->fold)
		return err_set(err, EINVAL, "--squash and --fold exclude each other");
	if (rc >= 0)
		rc = front(&b, false, &d, &plan, err);
	if (rc >= 0)
		rc = depots_parse(&b, err);
	if (rc < 0)
		return rc;
	/* Snapshots that no row of an image names yet are safe from a prune beside us. */
	lease = image_lease(rt, err);
	if (lease < 0)
		return fd_take(&lease);
	b.lease_fd = lease;
	b.ids = (struct ids_range)IDS_INIT;
	b.d = d;
	b.plan = plan;
	warn_syntax(&b);
	record_open(&b);
	memcpy(ret->build_id, b.record.id, sizeof(ret->build_id));
	b.failure = &ret->failure;
	rc = run_plan(&b, ret, err);
	record_end(&b, ret, rc < 0 ? err : NULL);
	ret->resumed = b.resumed;
	if (ret->failure.snapshot && !ret->failure.is_leased) {
		ret->failure.lease_fd = fd_take(&lease);
		ret->failure.is_leased = true;
	}
	/* build_free runs after the plan is gone otherwise. */
	for (size_t i = 0; b.stages && i < plan->n; i++)
		stage_state_free(&b.stages[i]);
	b.plan = NULL;
	return rc;
}

static int call_text(struct build *b, const struct build_call *call, struct check_report *report,
		     char **ret, struct err *err)
{
	int rc;

	if (call->kind == BUILD_CALL_OUTLINE)
		*ret = call_outline(b->d, b->plan, call->json);
	if (call->kind == BUILD_CALL_TARGETS)
		*ret = call_targets(b->d, b->plan, call->json);
	if (call->kind != BUILD_CALL_CHECK)
		return 0;
	rc = build_check(b, !b->o->target, report, err);
	if (rc >= 0)
		*ret = call_check(report, b->file_name, call->json);
	return rc;
}

int build_call(struct runtime *rt, const struct build_opts *o, const struct build_call *call,
	       char **ret, size_t *ret_warnings, struct err *err)
{
	cleanup(check_report_free) struct check_report report = { 0 };
	cleanup(build_free) struct build b = { .rt = rt, .o = o, .origin = ORIGIN_INIT };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *plan = NULL;
	int rc = front(&b, true, &d, &plan, err);

	if (rc < 0)
		return rc;
	b.d = d;
	b.plan = plan;
	rc = call_text(&b, call, &report, ret, err);
	*ret_warnings = report.n;
	b.plan = NULL;
	return rc;
}
