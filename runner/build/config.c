/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that change the config only. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "priv.h"

struct change {
	struct image_config *c;
	const struct df_inst *i;
	char escape;
	expand_fn *lookup;
	void *arg;
	struct str *what;
};

static int expand(struct change *x, const char *word, char **ret, struct err *err)
{
	return expand_word(word, x->escape, x->lookup, x->arg, ret, err);
}

static void set_str(char **at, char *value)
{
	mem_cleanup(at);
	*at = value;
}

/* "k=v" of one raw pair, both sides expanded with the variables as they were before this
 * instruction. */
static int expand_pair(struct change *x, const char *raw, char **ret_k, char **ret_v,
		       struct err *err)
{
	const char *eq = strchr(raw, '=');
	auto_free char *k = NULL, *k_raw = eq ? mem_strn(raw, (size_t)(eq - raw)) : mem_str(raw);
	auto_free char *v = NULL;
	int rc = expand(x, k_raw, &k, err);

	if (rc >= 0)
		rc = expand(x, eq ? eq + 1 : "", &v, err);
	if (rc < 0)
		return rc;
	if (!*k)
		return err_set(err, EINVAL, "a name is empty in %s", raw);
	*ret_k = take(k);
	*ret_v = take(v);
	return 0;
}

static int apply_pairs(struct change *x, struct strv *to, struct err *err)
{
	struct strv done = { 0 };
	int rc = 0;

	/* Into a copy first: ENV abc=bye def=$abc uses the old abc. */
	strv_copy(&done, to);
	for (size_t n = 0; n < x->i->args.n && rc >= 0; n++) {
		auto_free char *k = NULL, *v = NULL;

		rc = expand_pair(x, x->i->args.v[n], &k, &v, err);
		if (rc < 0)
			break;
		strv_env_set(&done, k, v);
		str_addf(x->what, " %s=%s", k, v);
	}
	if (rc >= 0)
		strv_copy(to, &done);
	strv_free(&done);
	return rc;
}

static int apply_env(struct change *x, struct err *err)
{
	return apply_pairs(x, &x->c->env, err);
}

static int apply_label(struct change *x, struct err *err)
{
	return apply_pairs(x, &x->c->labels, err);
}

/* The exec form, or the shell form wrapped in SHELL. */
static void command_words(struct change *x, const struct strv *args, bool is_json, struct strv *to)
{
	strv_free(to);
	if (is_json) {
		strv_copy(to, args);
	} else {
		if (x->c->shell.n) {
			strv_copy(to, &x->c->shell);
		} else {
			strv_add(to, "/bin/sh");
			strv_add(to, "-c");
		}
		strv_add(to, args->n ? args->v[0] : "");
	}
	for (size_t n = 0; n < to->n; n++)
		str_addf(x->what, "%s%s\"%s\"", n ? "" : " [", n ? " " : "", to->v[n]);
	str_add(x->what, to->n ? "]" : " []");
}

static int apply_cmd(struct change *x, struct err *err)
{
	(void)err;
	command_words(x, &x->i->args, x->i->is_json, &x->c->cmd);
	x->c->cmd_set = true;
	return 0;
}

static int apply_entrypoint(struct change *x, struct err *err)
{
	(void)err;
	command_words(x, &x->i->args, x->i->is_json, &x->c->entrypoint);
	x->c->entrypoint_set = true;
	/* A CMD of the base was made for the base's entrypoint; one of this stage stays
	 * (reference.md). */
	if (!x->c->cmd_set)
		strv_free(&x->c->cmd);
	return 0;
}

static int apply_expose(struct change *x, struct err *err)
{
	for (size_t n = 0; n < x->i->args.n; n++) {
		auto_strv struct strv words = { 0 }, ports = { 0 };
		int rc = expand_words(x->i->args.v[n], x->escape, x->lookup, x->arg, &words, err);

		for (size_t k = 0; k < words.n && rc >= 0; k++)
			rc = expose_parse(words.v[k], &ports, err);
		if (rc < 0)
			return rc;
		for (size_t k = 0; k < ports.n; k++) {
			if (!strv_has(&x->c->exposed, ports.v[k]))
				strv_add(&x->c->exposed, ports.v[k]);
			str_addf(x->what, " %s", ports.v[k]);
		}
	}
	return 0;
}

static int apply_volume(struct change *x, struct err *err)
{
	for (size_t n = 0; n < x->i->args.n; n++) {
		auto_strv struct strv words = { 0 };
		int rc = 0;

		if (x->i->is_json) {
			char *path = NULL;

			rc = expand(x, x->i->args.v[n], &path, err);
			if (rc >= 0)
				strv_add_take(&words, path);
		} else {
			rc = expand_words(x->i->args.v[n], x->escape, x->lookup, x->arg, &words,
					  err);
		}
		if (rc < 0)
			return rc;
		if (!words.n)
			strv_add(&words, "");
		for (size_t k = 0; k < words.n; k++) {
			if (!*words.v[k])
				return err_set(err, EINVAL, "VOLUME names nothing");
			if (!strv_has(&x->c->volumes, words.v[k]))
				strv_add(&x->c->volumes, words.v[k]);
			str_addf(x->what, " %s", words.v[k]);
		}
	}
	return 0;
}

static int apply_one(struct change *x, char **at, struct err *err)
{
	auto_free char *v = NULL;
	int rc = expand(x, x->i->args.n ? x->i->args.v[0] : "", &v, err);

	if (rc < 0)
		return rc;
	str_addf(x->what, " %s", v);
	set_str(at, take(v));
	return 0;
}

static int apply_user(struct change *x, struct err *err)
{
	return apply_one(x, &x->c->user, err);
}

static int apply_stopsignal(struct change *x, struct err *err)
{
	auto_free char *name = NULL;
	int rc = apply_one(x, &name, err);

	if (rc < 0)
		return rc;
	if (proc_signal_find(name) < 0)
		return err_set(err, EINVAL, "STOPSIGNAL %.60s: no such signal", name);
	set_str(&x->c->stop_signal, take(name));
	return 0;
}

static int apply_workdir(struct change *x, struct err *err)
{
	auto_free char *dir = NULL;
	int rc = apply_one(x, &dir, err);

	if (rc < 0)
		return rc;
	set_str(&x->c->workdir,
		path_join(x->c->workdir && *x->c->workdir ? x->c->workdir : "/", dir));
	return 0;
}

static int apply_maintainer(struct change *x, struct err *err)
{
	(void)err;
	set_str(&x->c->author, mem_str(x->i->args.n ? x->i->args.v[0] : ""));
	str_addf(x->what, " %s", x->c->author);
	return 0;
}

static int apply_shell(struct change *x, struct err *err)
{
	(void)err;
	strv_copy(&x->c->shell, &x->i->args);
	for (size_t n = 0; n < x->i->args.n; n++)
		str_addf(x->what, " %s", x->i->args.v[n]);
	return 0;
}

static int apply_onbuild(struct change *x, struct err *err)
{
	char *trigger = inst_trigger_text(x->i);

	(void)err;
	str_addf(x->what, " %s", trigger);
	strv_add_take(&x->c->onbuild, trigger);
	return 0;
}

static int health_flag(struct change *x, const char *name, int64_t *ret_ns, struct err *err)
{
	const struct df_flag *f = inst_flag(x->i, name);

	if (!f)
		return 0;
	if (!f->value || str_to_duration(f->value, ret_ns) < 0 || (*ret_ns && *ret_ns < 1000000))
		return err_set(err, EINVAL,
			       "HEALTHCHECK --%s=%s: want 0 or a duration of at least 1ms", name,
			       f->value ? f->value : "");
	str_addf(x->what, " --%s=%s", name, f->value);
	return 0;
}

static int apply_health(struct change *x, struct err *err)
{
	struct image_health h = { .set = true };
	const struct df_flag *f = inst_flag(x->i, "retries");
	const struct strv *args = &x->i->args;
	uint64_t n = 0;
	int rc = health_flag(x, "interval", &h.interval_ns, err);

	if (rc >= 0)
		rc = health_flag(x, "timeout", &h.timeout_ns, err);
	if (rc >= 0)
		rc = health_flag(x, "start-period", &h.start_period_ns, err);
	if (rc >= 0)
		rc = health_flag(x, "start-interval", &h.start_interval_ns, err);
	if (rc >= 0 && f && (!f->value || str_to_u64(f->value, 10, 1000000, &n) < 0))
		rc = err_set(err, EINVAL, "HEALTHCHECK --retries=%s: want a number",
			     f->value ? f->value : "");
	if (rc < 0)
		return rc;
	if (f)
		str_addf(x->what, " --retries=%s", f->value);
	h.retries = (int64_t)n;
	if (!strcasecmp(args->v[0], "NONE"))
		strv_add(&h.test, "NONE");
	else
		strv_add(&h.test, x->i->is_json ? "CMD" : "CMD-SHELL");
	for (size_t k = 1; k < args->n; k++)
		strv_add(&h.test, args->v[k]);
	for (size_t k = 0; k < h.test.n; k++)
		str_addf(x->what, " %s", h.test.v[k]);
	strv_free(&x->c->health.test);
	x->c->health = h;
	return 0;
}

static int (*const apply[DF_KINDS])(struct change *x, struct err *err) = {
	[DF_CMD] = apply_cmd,
	[DF_ENTRYPOINT] = apply_entrypoint,
	[DF_ENV] = apply_env,
	[DF_EXPOSE] = apply_expose,
	[DF_HEALTHCHECK] = apply_health,
	[DF_LABEL] = apply_label,
	[DF_MAINTAINER] = apply_maintainer,
	[DF_ONBUILD] = apply_onbuild,
	[DF_SHELL] = apply_shell,
	[DF_STOPSIGNAL] = apply_stopsignal,
	[DF_USER] = apply_user,
	[DF_VOLUME] = apply_volume,
	[DF_WORKDIR] = apply_workdir,
};

int config_apply(struct image_config *c, const struct df_inst *i, const struct vars *vars,
		 struct str *what, struct err *err)
{
	struct change x = { c, i, vars->escape, vars->lookup, vars->arg, what };

	if (!apply[i->kind])
		return err_set(err, EINVAL, "%s changes more than the config",
			       df_kind_name(i->kind));
	str_add(what, df_kind_name(i->kind));
	return apply[i->kind](&x, err);
}

static const char *env_lookup(const char *name, void *arg)
{
	return strv_env_get(&((struct image_config *)arg)->env, name);
}

int build_change(struct image_config *c, const char *line, struct err *err)
{
	const struct vars vars = { '\\', env_lookup, c };
	struct df_inst *i = NULL;
	auto_str struct str what = { 0 };
	int rc = dockerfile_parse_line(line, '\\', &i, err);

	if (rc < 0)
		return rc;
	rc = config_apply(c, i, &vars, &what, err);
	df_inst_free(i);
	return rc;
}
