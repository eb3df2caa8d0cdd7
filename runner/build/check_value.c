/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what a Dockerfile's values mean: variables, platforms, ports, paths, secrets. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <shale/base/path.h>

#include "check.h"

/* --- FROM --- */

/* The variables that a word of FROM uses: those of the ARGs before, and others. */
struct from_vars {
	const struct check *c;
	const struct strv *args;
	struct strv found, missing;
};

static void from_vars_free(struct from_vars *v)
{
	strv_free(&v->found);
	strv_free(&v->missing);
}

static const char *from_lookup(const char *name, void *arg)
{
	struct from_vars *v = arg;
	const char *value = strv_env_get(v->args, name);
	struct strv *to;

	value = value ? value : plan_builtin_arg(name, NULL, &v->c->p->platform);
	to = value ? &v->found : &v->missing;
	if (!strv_has(to, name))
		strv_add(to, name);
	return value;
}

static char *from_expand(struct from_vars *v, const char *word)
{
	struct err ignored = { 0 };
	char *text = NULL;

	return expand_word(word, v->c->d->escape, from_lookup, v, &text, &ignored) < 0 ? mem_str("")
										       : text;
}

/* Names of the ARGs before the first FROM, with a value or without. */
static void global_names(const struct check *c, struct strv *ret)
{
	for (const struct df_inst *i = c->d->inst; i < c->p->stages[0].from; i++)
		for (size_t k = 0; k < i->args.n; k++)
			strv_add_take(ret, mem_strn(i->args.v[k], strcspn(i->args.v[k], "=")));
}

static void undefined_arg_in(struct check *c, const struct df_inst *from, const char *word,
			     struct strv *declared)
{
	cleanup(from_vars_free) struct from_vars v = { .c = c, .args = &c->p->global_args };

	free(from_expand(&v, word)); /* only what it looks up counts */
	for (size_t k = 0; k < v.missing.n; k++) {
		const char *name = v.missing.v[k], *near;

		if (strv_has(declared, name) || check_is_full(c))
			continue;
		near = str_nearest(name, (const char *const *)strv_args(declared));
		check_warn(c, from, name, "FROM argument '%s' is not declared%s%s%s", name,
			   near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	}
}

static void undefined_arg_in_from(struct check *c)
{
	auto_strv struct strv declared = { 0 };

	global_names(c, &declared);
	for (size_t k = 0; k < c->p->n; k++) {
		const struct df_inst *from = c->p->stages[k].from;
		const struct df_flag *f = inst_flag(from, "platform");

		undefined_arg_in(c, from, from->args.v[0], &declared);
		if (f)
			undefined_arg_in(c, from, f->value, &declared);
	}
}

/* The ARGs before the first FROM as they are without --build-arg. */
static void default_args(const struct check *c, struct strv *ret)
{
	cleanup(from_vars_free) struct from_vars v = { .c = c, .args = ret };
	size_t bytes = 0;

	for (const struct df_inst *i = c->d->inst; i < c->p->stages[0].from; i++)
		for (size_t k = 0; k < i->args.n; k++) {
			const char *word = i->args.v[k], *eq = strchr(word, '=');
			auto_free char *name = mem_strn(word, strcspn(word, "="));
			auto_free char *value = eq ? from_expand(&v, eq + 1) : NULL;

			bytes += value ? strlen(value) : 0;
			if (value && bytes <= ARG_BYTES_MAX)
				strv_env_set(ret, name, value);
		}
}

static void invalid_default_arg_in_from(struct check *c)
{
	auto_strv struct strv args = { 0 };

	default_args(c, &args);
	for (size_t k = 0; k < c->p->n; k++) {
		cleanup(from_vars_free) struct from_vars v = { .c = c, .args = &args };
		const struct df_inst *from = c->p->stages[k].from;
		auto_free char *name = from_expand(&v, from->args.v[0]), *full = NULL;
		struct err ignored = { 0 };

		if (plan_stage_find(c->p, name, k) < 0 &&
		    image_ref_normalize(name, &full, &ignored) < 0)
			check_warn(
				c, from, from->args.v[0],
				"Default value for ARG %s results in empty or invalid base image name",
				from->args.v[0]);
	}
}

static void redundant_target_platform(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		cleanup(from_vars_free) struct from_vars v = { .c = c, .args = &c->p->global_args };
		const struct df_inst *from = c->p->stages[k].from;
		const struct df_flag *f = inst_flag(from, "platform");
		auto_free char *value = f ? from_expand(&v, f->value) : NULL;

		if (value && v.found.n == 1 && !v.missing.n &&
		    !strcmp(v.found.v[0], "TARGETPLATFORM") &&
		    str_eq(value, from_lookup("TARGETPLATFORM", &v)))
			check_warn(
				c, from, f->value,
				"Setting platform to predefined %s in FROM is redundant as this is the default behavior",
				f->value);
	}
}

/* "linux/arm64", "arm64", "windows": its system and machine; one alone means this machine's other.
 */
static void platform_split(const char *s, char **ret_os, char **ret_arch)
{
	static const char *const systems[] = { "linux", "windows", "darwin", "freebsd", "wasip1" };
	const char *slash = strchr(s, '/');

	if (slash) {
		*ret_os = mem_strn(s, (size_t)(slash - s));
		*ret_arch = mem_strn(slash + 1, strcspn(slash + 1, "/"));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(systems); i++)
		if (!strcasecmp(s, systems[i])) {
			*ret_os = mem_str(systems[i]);
			*ret_arch = mem_str(plan_builtin_arg("BUILDARCH", NULL, NULL));
			return;
		}
	*ret_os = mem_str("linux");
	*ret_arch = mem_str(!strcmp(s, "x86_64") ? "amd64" : !strcmp(s, "aarch64") ? "arm64" : s);
}

static void from_platform_const(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		cleanup(from_vars_free) struct from_vars v = { .c = c, .args = &c->p->global_args };
		const struct plan_stage *s = &c->p->stages[k];
		const struct df_flag *f = inst_flag(s->from, "platform");
		auto_free char *value = f ? from_expand(&v, f->value) : NULL, *os = NULL,
			       *arch = NULL;

		if (!value || !*value || v.found.n || v.missing.n)
			continue;
		platform_split(value, &os, &arch);
		/* A stage that is named after its platform means it. */
		if (!s->name || (!strstr(s->name, os) && !strstr(s->name, arch)))
			check_warn(c, s->from, f->value,
				   "FROM --platform flag should not use constant value \"%s\"",
				   value);
	}
}

static void invalid_base_platform(struct check *c)
{
	for (size_t k = 0; c->o->bases && k < c->p->n; k++) {
		const struct check_base *base = &c->o->bases[k];
		const struct plan_stage *s = &c->p->stages[k];
		const char *want = s->platform ? s->platform : c->p->platform.text;
		auto_free char *os = NULL, *arch = NULL;

		if (s->base != PLAN_IMAGE || !base->os || !base->arch ||
		    !check_fact_of(c, s->from)->reached)
			continue;
		platform_split(want, &os, &arch);
		if (strcmp(os, base->os) != 0 || strcmp(arch, base->arch) != 0)
			check_warn(
				c, s->from, s->from->args.v[0],
				"Base image %s was pulled with platform \"%s/%s\", expected \"%s/%s\" for current build",
				s->base_ref, base->os, base->arch, os, arch);
	}
}

/* --- stages --- */

static void workdir_relative_path(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		const struct check_fact *f = check_fact_of(c, i);

		if (i->kind == DF_WORKDIR && f->reached && !f->workdir_set && f->words.n &&
		    *f->words.v[0] != '/')
			check_warn(
				c, i, i->args.v[0],
				"Relative workdir \"%s\" can have unexpected results if the base image changes",
				f->words.v[0]);
	}
}

static void undefined_var(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct check_fact *f = &c->facts[k];

		for (size_t n = 0; n < f->missing.n; n++) {
			auto_free char *word = mem_fmt("$%s", f->missing.v[n]);
			auto_free char *braces = mem_fmt("${%s", f->missing.v[n]);
			const char *near = f->near.v[n], *src = c->d->inst[k].src;

			check_warn(c, &c->d->inst[k],
				   src && strstr(src, word)     ? word
				   : src && strstr(src, braces) ? braces + 2
								: NULL,
				   "Usage of undefined variable '%s'%s%s%s", word,
				   *near ? " (did you mean $" : "", near, *near ? "?)" : "");
		}
	}
}

/* A name with one of the words between its underscores. */
static bool has_part(const char *name, const char *const *parts, size_t n_parts)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, name, '_');
	for (size_t i = 0; i < words.n; i++)
		for (size_t k = 0; k < n_parts; k++)
			if (!strcasecmp(words.v[i], parts[k]))
				return true;
	return false;
}

static bool is_secret(const char *name)
{
	static const char *const secret[] = { "apikey", "auth",     "credential", "credentials",
					      "key",    "password", "pword",      "passwd",
					      "secret", "token" };
	static const char *const fine[] = { "public", "file", "version" };

	return has_part(name, secret, ARRAY_LEN(secret)) && !has_part(name, fine, ARRAY_LEN(fine));
}

static void secrets_used(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];

		if ((i->kind != DF_ARG && i->kind != DF_ENV) || !check_fact_of(c, i)->reached)
			continue;
		for (size_t a = 0; a < i->args.n; a++) {
			auto_free char *name = mem_strn(i->args.v[a], strcspn(i->args.v[a], "="));

			if (is_secret(name))
				check_warn(
					c, i, name,
					"Do not use ARG or ENV instructions for sensitive data (%s \"%s\")",
					df_kind_name(i->kind), name);
		}
	}
}

static void copy_ignored_file(struct check *c)
{
	const struct ignore *g = c->o->ignore;

	/* With "!" rules a file in an ignored directory may be there all the same. */
	if (!g || ignore_has_negation(g))
		return;
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		const struct check_fact *f = check_fact_of(c, i);

		if ((i->kind != DF_COPY && i->kind != DF_ADD) || !f->reached ||
		    inst_flag(i, "from"))
			continue;
		for (size_t a = 0; a + 1 < f->words.n; a++) {
			const char *src = f->words.v[a];
			auto_free char *clean = NULL;

			if (inst_add_is_remote(src) || inst_is_heredoc_word(i, i->args.v[a]))
				continue;
			clean = path_clean(src);
			src = clean + (*clean == '/');
			if (*src && strcmp(src, ".") != 0 && ignore_match(g, src))
				check_warn(
					c, i, i->args.v[a],
					"Attempting to %s file \"%s\" that is excluded by .dockerignore",
					i->kind == DF_ADD ? "Add" : "Copy", src);
		}
	}
}

typedef void port_fn(struct check *c, const struct df_inst *i, const char *word, const char *port);
static void each_port(struct check *c, port_fn *fn)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		const struct check_fact *f = check_fact_of(c, i);

		for (size_t a = 0; i->kind == DF_EXPOSE && a < f->words.n; a++)
			fn(c, i, i->args.v[a], f->words.v[a]);
	}
}

static void port_proto(struct check *c, const struct df_inst *i, const char *word, const char *port)
{
	const char *proto = strchr(port, '/');

	for (; proto && *proto; proto++)
		if (isupper((unsigned char)*proto)) {
			check_warn(
				c, i, word,
				"Defined protocol '%s' in EXPOSE instruction should be lowercase",
				port);
			return;
		}
}

static void port_form(struct check *c, const struct df_inst *i, const char *word, const char *port)
{
	if (strchr(port, ':'))
		check_warn(
			c, i, word,
			"EXPOSE instruction should not define an IP address or host-port mapping, found '%s'",
			port);
}

static void expose_proto_casing(struct check *c)
{
	each_port(c, port_proto);
}

static void expose_invalid_format(struct check *c)
{
	each_port(c, port_form);
}

const struct check_rule check_value_rules[] = {
	{ "UndefinedArgInFrom", "FROM command must use declared ARGs", false,
	  undefined_arg_in_from },
	{ "WorkdirRelativePath",
	  "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
	  false, workdir_relative_path },
	{ "UndefinedVar", "Variables should be defined before their use", false, undefined_var },
	{ "InvalidBaseImagePlatform", "Base image platform does not match expected target platform",
	  false, invalid_base_platform },
	{ "RedundantTargetPlatform",
	  "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
	  false, redundant_target_platform },
	{ "SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands",
	  false, secrets_used },
	{ "InvalidDefaultArgInFrom",
	  "Default value for global ARG results in an empty or invalid base image name", false,
	  invalid_default_arg_in_from },
	{ "FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value",
	  false, from_platform_const },
	{ "CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", false,
	  copy_ignored_file },
	{ "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", false,
	  expose_proto_casing },
	{ "ExposeInvalidFormat",
	  "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
	  false, expose_invalid_format },
	{ 0 },
};
