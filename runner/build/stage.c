/* SPDX-License-Identifier: Apache-2.0 */
/* One stage: its base, the triggers of the base, its instructions. Built when something asks for
 * it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/proc.h>

#include "fiber.h"
#include "remote.h"

enum {
	TEXT_MAX = 200,
	HEAD_MAX = 150,
	TAIL_MAX = 250
}; /* of an instruction and a cause, in a message */

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void stage_state_free(struct stage_state *s)
{
	scope_free(&s->scope);
	image_config_free(s->config);
	free(s->platform);
	if (s->before)
		stage_state_free(s->before);
	free(s->before);
	*s = (struct stage_state){ 0 };
}

static int arg_step(struct build *b, struct stage_state *st, const struct df_inst *i,
		    struct err *err)
{
	auto_key struct key key = { 0 };
	auto_str struct str what = { 0 };
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };

	str_add(&what, "ARG");
	for (size_t n = 0; n < i->args.n; n++) {
		auto_free char *pair = NULL;
		int rc = scope_arg(&st->scope, i->args.v[n], b->d->escape, &pair, err);

		if (rc < 0)
			return rc;
		str_addf(&what, " %s", pair);
	}
	r.text = str_get(&what);
	key_begin(&key, b, "config", st->parent);
	key_add(&key, "instruction", r.text);
	key_end(&key);
	step_begin(&r);
	return step_config(&r, err);
}

/* What a message speaks of: "x: not found", "no image 'x'". The caller owns it. */
static char *told_word(const char *msg)
{
	const char *quote = strchr(msg, '\''), *colon = strstr(msg, ": ");
	size_t n = colon ? (size_t)(colon - msg) : strlen(msg);

	if (!quote || quote > msg + n)
		return mem_strn(msg, n);
	return mem_strn(quote + 1, strcspn(quote + 1, "'"));
}

/* The cause stands at the end: of a long name before it the middle goes. */
static char *clipped(const char *msg)
{
	size_t n = strlen(msg);

	return n <= HEAD_MAX + TAIL_MAX ? mem_str(msg)
					: mem_fmt("%.*s...%s", HEAD_MAX, msg, msg + n - TAIL_MAX);
}

/*
 * The cause, with its place and the source; what it begins with is marked where that stands there.
 * A credential in a URL stays out of messages, and of the records that keep them, and a trigger
 * stands in no file: then there are the line and the instruction.
 */
static int at_inst(const struct build *b, const struct df_inst *i, struct err *err)
{
	auto_free char *text = source_url_scrub(i->text);
	size_t n = strlen(text);

	if (i->src && err->code != EINTR && !strcmp(text, i->text)) {
		const char *kind = df_kind_name(i->kind);
		auto_free char *msg = clipped(err->msg), *word = told_word(msg);
		bool is_said = str_starts(msg, kind) && msg[strlen(kind)] == ' ';

		return df_fail_inst_word(b->file_name, i, word, err->code, err, "%s%s%s",
					 is_said ? "" : kind, is_said ? "" : ": ", msg);
	}
	/* A long instruction leaves room for what went wrong with it. */
	return err_ctx(err, "%s:%d: %.*s%s", b->file_name, i->line,
		       n > TEXT_MAX ? TEXT_MAX : (int)n, text, n > TEXT_MAX ? "..." : "");
}

typedef int inst_fn(struct build *b, struct stage_state *st, const struct df_inst *i,
		    struct err *err);

static inst_fn *const inst_run[DF_KINDS] = {
	[DF_ADD] = copy_step,        [DF_ARG] = arg_step,          [DF_CMD] = meta_step,
	[DF_COPY] = copy_step,       [DF_ENTRYPOINT] = meta_step,  [DF_ENV] = meta_step,
	[DF_EXPOSE] = meta_step,     [DF_HEALTHCHECK] = meta_step, [DF_LABEL] = meta_step,
	[DF_MAINTAINER] = meta_step, [DF_ONBUILD] = meta_step,     [DF_RUN] = run_step,
	[DF_SHELL] = meta_step,      [DF_STOPSIGNAL] = meta_step,  [DF_USER] = meta_step,
	[DF_VOLUME] = meta_step,     [DF_WORKDIR] = workdir_step,
};

int stage_run_inst(struct build *b, struct stage_state *st, const struct df_inst *i,
		   struct err *err)
{
	int rc;

	if (build_is_interrupted(b))
		return err_set(err, EINTR, "interrupted");
	if (!inst_run[i->kind])
		return err_set(err, EINVAL, "%s cannot stand here", df_kind_name(i->kind));
	rc = inst_run[i->kind](b, st, i, err);
	return rc < 0 ? at_inst(b, i, err) : 0;
}

static int base_image(struct build *b, struct stage_state *st, const char *ref,
		      char id[DIGEST_STR_MAX], struct err *err)
{
	auto_image struct image *img = NULL;
	struct image_layer *layers = NULL;
	size_t n;
	int rc = build_find_image(b, ref, st->platform, &img, err);

	if (rc >= 0)
		rc = image_config_of(img, &st->config, err);
	if (rc >= 0)
		rc = image_layers(b->rt, img->snapshot, &layers, &n, err);
	if (rc < 0)
		return rc;
	st->snapshot = img->snapshot;
	st->depth = st->base_depth = n;
	st->base = img->snapshot;
	st->base_rows = st->config->n_history;
	snprintf(st->fs_parent, sizeof(st->fs_parent), "%s",
		 n ? layers[n - 1].chain_id : "scratch");
	snprintf(id, DIGEST_STR_MAX, "%s", img->id);
	mem_cleanup(&layers);
	return 0;
}

static bool is_tree(struct build *b, const struct plan_stage *ps)
{
	return ps->base == PLAN_CONTEXT && named_find(b, ps->base_ref)->kind == NAMED_TREE;
}

static void set_platform(struct stage_state *st)
{
	struct plan_platform p;

	if (!st->platform)
		return;
	plan_platform_set(&p, st->platform);
	free(st->config->os);
	free(st->config->architecture);
	free(st->config->variant);
	st->config->os = mem_str(p.os);
	st->config->architecture = mem_str(p.arch);
	st->config->variant = *p.variant ? mem_str(p.variant) : NULL;
}

static int find_platform(struct build *b, const struct plan_stage *ps, struct stage_state *st,
			 struct err *err)
{
	const char *other =
		ps->base == PLAN_STAGE ? b->stages[ps->base_stage].platform : b->o->platform;

	if (ps->platform)
		return image_platform_text(ps->platform, &st->platform, err);
	st->platform = mem_str(other);
	return 0;
}

static int find_base(struct build *b, const struct plan_stage *ps, struct stage_state *st,
		     char id[DIGEST_STR_MAX], struct err *err)
{
	const struct stage_state *other;

	id[0] = 0;
	if (ps->base == PLAN_IMAGE || (ps->base == PLAN_CONTEXT && !is_tree(b, ps)))
		return base_image(b, st, ps->base_ref, id, err);
	if (ps->base != PLAN_STAGE) {
		st->config = image_config_new();
		set_platform(st);
		st->config->workdir = mem_str("/");
		snprintf(st->fs_parent, sizeof(st->fs_parent), "scratch");
		return 0;
	}
	other = &b->stages[ps->base_stage];
	st->config = image_config_copy(other->config);
	st->snapshot = other->snapshot;
	st->depth = other->depth;
	st->base = other->base;
	st->base_depth = other->base_depth;
	st->base_rows = other->base_rows;
	st->fs_step = other->fs_step;
	memcpy(st->fs_parent, other->fs_parent, sizeof(st->fs_parent));
	memcpy(st->shown, other->shown, sizeof(st->shown));
	memcpy(st->like_fs, other->like_fs, sizeof(st->like_fs));
	memcpy(st->like, other->like_fs, sizeof(st->like));
	for (size_t i = 0; i < other->scope.args.n; i++)
		strv_add(&st->scope.args, other->scope.args.v[i]);
	return 0;
}

/* An instruction that is not in the file: its place is that of the FROM. */
static int run_line(struct build *b, struct stage_state *st, const char *text, struct err *err)
{
	struct df_inst *inst = NULL;
	int rc = dockerfile_parse_line(text, '\\', &inst, err);

	if (rc >= 0) {
		inst->line = b->plan->stages[st->index].from->line;
		free(inst->src);
		inst->src = NULL;
		rc = stage_run_inst(b, st, inst, err);
	}
	df_inst_free(inst);
	return rc;
}

/* Triggers of the base run first and are not inherited further. */
static int run_triggers(struct build *b, struct stage_state *st, struct err *err)
{
	struct strv triggers = st->config->onbuild;
	int rc = 0;

	st->config->onbuild = (struct strv){ 0 };
	b->total += triggers.n;
	for (size_t i = 0; i < triggers.n && rc >= 0; i++) {
		rc = run_line(b, st, triggers.v[i], err);
		if (rc < 0)
			err_ctx(err, "ONBUILD trigger of the base");
	}
	strv_free(&triggers);
	return rc;
}

/* A directory as a base is a layer with all that is in it. */
static int copy_base(struct build *b, const struct plan_stage *ps, struct stage_state *st,
		     struct err *err)
{
	auto_free char *line = mem_fmt("COPY --from=%s / /", ps->base_ref);

	b->total++;
	return run_line(b, st, line, err);
}

static int begin_stage(struct build *b, const struct plan_stage *ps, struct stage_state *st,
		       struct err *err)
{
	struct build_event e = { .kind = BUILD_STEP, .text = ps->from->text };
	int64_t start = proc_mono_ns();
	char id[DIGEST_STR_MAX];
	int rc = ps->base == PLAN_STAGE ? stage_wait(b, ps->base_stage, err) : 0;

	if (rc < 0)
		return rc;
	st->step = ++b->step;
	build_emit(b, &e);
	rc = find_platform(b, ps, st, err);
	if (rc >= 0)
		rc = find_base(b, ps, st, id, err);
	if (rc < 0)
		return at_inst(b, ps->from, err);
	e.kind = BUILD_DONE;
	e.id = !strncmp(id, "sha256:", 7) ? id + 7 : st->fs_parent;
	e.elapsed_ns = proc_mono_ns() - start;
	build_emit(b, &e);
	/* As BuildKit has it, so that ENV PATH=/x:$PATH finds something. */
	if (!strv_env_get(&st->config->env, "PATH"))
		strv_env_set(&st->config->env, "PATH", default_path);
	/* CMD counts as set in this stage only: a new ENTRYPOINT drops the base's. */
	st->config->cmd_set = st->config->entrypoint_set = false;
	memcpy(st->parent, st->fs_parent, sizeof(st->parent));
	if (!st->shown[0])
		memcpy(st->shown, st->parent, sizeof(st->shown));
	st->scope.config = st->config;
	st->scope.build_args = &b->build_args;
	st->scope.global_args = &b->plan->global_args;
	st->scope.target = b->target_name;
	st->scope.platform = &b->plan->platform;
	return is_tree(b, ps) ? copy_base(b, ps, st, err) : run_triggers(b, st, err);
}

static int build_one(struct build *b, struct stage_state *st, struct err *err)
{
	const struct plan_stage *ps = &b->plan->stages[st->index];
	int rc = begin_stage(b, ps, st, err);

	for (size_t i = 0; i < ps->n_inst && rc >= 0; i++) {
		stage_before(b, st, &ps->inst[i]);
		rc = stage_run_inst(b, st, &ps->inst[i], err);
	}
	/* What has to run runs here, where other stages may go on. */
	if (rc >= 0 && st->index == b->plan->target && (!b->o->no_image || b->o->on_tree) &&
	    stage_is_absent(b, st))
		rc = stage_whole(b, st, err);
	st->built = rc >= 0;
	return rc;
}

/* What the others say once one has failed is only that they were ended. */
static void stage_main(void *arg)
{
	struct stage_state *st = arg;
	struct build *b = st->b;
	struct err err = { 0 };

	b->at = st;
	if (build_one(b, st, &err) < 0 && !b->err.code)
		b->err = err;
}

static int stage_begin(struct build *b, size_t index, struct err *err)
{
	struct stage_state *st = &b->stages[index];

	if (st->begun)
		return 0;
	st->b = b;
	st->index = index;
	st->begun = true;
	b->total += 1 + b->plan->stages[index].n_inst;
	return fibers_add(b->fibers, stage_main, st, err);
}

int stages_build(struct build *b, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < b->plan->n && rc >= 0; i++)
		if (b->plan->stages[i].needed)
			rc = stage_begin(b, i, err);
	if (rc < 0)
		return rc;
	fibers_run(b->fibers);
	b->at = NULL;
	if (!b->err.code)
		return 0;
	*err = b->err;
	return -err->code;
}

/* One that the plan did not foresee is what a trigger of a base image asks for. */
int stage_wait(struct build *b, size_t index, struct err *err)
{
	int rc = stage_begin(b, index, err);

	if (rc < 0)
		return rc;
	while (!b->stages[index].built) {
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	return 0;
}

int build_wait(struct build *b, int fd, int timeout_ms)
{
	struct stage_state *me = b->at;
	int rc = 0;

	if (fd >= 0)
		rc = fiber_wait(b->fibers, fd, timeout_ms);
	else
		fiber_yield(b->fibers);
	b->at = me;
	return rc;
}
