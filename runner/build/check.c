/* SPDX-License-Identifier: Apache-2.0 */
/* Which checks count, and what they found. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "mount.h"

enum { WARNINGS_MAX = 1000 };

void check_config_free(struct check_config *c)
{
	strv_free(&c->skip);
	strv_free(&c->experimental);
}

void check_report_free(struct check_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		mem_cleanup(&r->v[i].text);
		mem_cleanup(&r->v[i].source);
	}
	mem_cleanup(&r->v);
	*r = (struct check_report){ 0 };
}

/* --- options --- */

static void add_names(const char *value, struct strv *ret, bool *ret_all)
{
	auto_strv struct strv names = { 0 };

	*ret_all = !strcmp(value, "all");
	strv_split(&names, value, ',');
	for (size_t i = 0; !*ret_all && i < names.n; i++)
		strv_add(ret, str_trim(names.v[i]));
}

/* Go's strconv.ParseBool. */
static int parse_option(char *part, struct check_config *ret, struct err *err)
{
	char *eq = strchr(part, '='), *name = part, *value;

	if (!eq)
		return err_set(err, EINVAL,
			       "check=%.60s: want skip=RULE,…, experimental=RULE,… or error=true",
			       part);
	*eq = 0;
	name = str_trim(name);
	value = str_trim(eq + 1);
	if (!strcmp(name, "skip"))
		add_names(value, &ret->skip, &ret->skip_all);
	else if (!strcmp(name, "experimental"))
		add_names(value, &ret->experimental, &ret->experimental_all);
	else if (strcmp(name, "error") != 0)
		return err_set(err, EINVAL, "unknown check option %.60s", name);
	else if (bool_parse(value, &ret->error) < 0)
		return err_set(err, EINVAL, "check option error=%.60s: want true or false", value);
	return 0;
}

int check_config_parse(const char *text, struct check_config *ret, struct err *err)
{
	auto_strv struct strv parts = { 0 };
	auto_free char *copy = mem_str(text);
	int rc = 0;

	strv_split(&parts, str_trim(copy), ';');
	for (size_t i = 0; rc == 0 && i < parts.n; i++)
		rc = parse_option(parts.v[i], ret, err);
	return rc;
}

/* The build argument stands before the file's line. */
static int read_config(struct check *c, struct err *err)
{
	const char *arg = c->o->build_args
				  ? strv_env_get(c->o->build_args, "BUILDKIT_DOCKERFILE_CHECK")
				  : NULL;
	struct err e = { 0 };

	if (arg)
		return check_config_parse(arg, &c->config, err);
	if (!c->d->check || check_config_parse(c->d->check, &c->config, &e) == 0)
		return 0;
	return err_set(err, e.code, "%.200s: # check: %s", c->o->file_name, e.msg);
}

/* "check=skip=A,B why" in the comment above: the first line of that kind counts, and one that
 * cannot be read says nothing. */
static void read_comment(const char *comment, struct check_config *ret)
{
	auto_strv struct strv lines = { 0 };

	strv_split(&lines, comment, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *s = lines.v[i];
		struct err ignored = { 0 };

		if (strncasecmp(s, "check", 5) != 0)
			continue;
		s = str_trim(s + 5);
		if (*s != '=')
			continue;
		s = str_trim(s + 1);
		s[strcspn(s, " ")] = 0;
		if (check_config_parse(s, ret, &ignored) < 0) {
			check_config_free(ret);
			*ret = (struct check_config){ 0 };
		}
		return;
	}
}

static bool is_wanted(const struct check_config *c, const struct check_rule *r)
{
	return r->experimental ? c->experimental_all || strv_has(&c->experimental, r->name)
			       : !c->skip_all && !strv_has(&c->skip, r->name);
}

/* Skipped here or there; an experimental one switched on here or there. */
static bool is_wanted_here(const struct check *c, const struct df_inst *i)
{
	auto_check_config struct check_config own = { 0 };
	bool wanted = is_wanted(&c->config, c->rule);

	if (!i->comment)
		return wanted;
	read_comment(i->comment, &own);
	if (c->rule->experimental)
		return wanted || is_wanted(&own, c->rule);
	return wanted && is_wanted(&own, c->rule);
}

/* --- warnings --- */

static void add(struct check_report *r, struct check_warning *w)
{
	size_t at = r->n;

	mem_room(r->v, r->n, r->cap);
	for (; at && r->v[at - 1].line > w->line; at--)
		r->v[at] = r->v[at - 1];
	r->v[at] = *w;
	r->n++;
}

bool check_is_full(const struct check *c)
{
	return c->report->n == WARNINGS_MAX;
}

void check_warn(struct check *c, const struct df_inst *i, const char *word, const char *fmt, ...)
{
	struct check_warning w = { .rule = c->rule->name,
				   .description = c->rule->description,
				   .end_line = i->end_line };
	struct df_where at = df_where_inst(c->o->file_name, i);
	struct df_spot spot;
	char text[700];
	va_list ap;

	if (!at.src || check_is_full(c) || !is_wanted_here(c, i))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_safe(text);
	df_locate(&at, word, &spot);
	w.line = spot.line;
	w.column = df_spot_column(&spot);
	w.source = df_spot_text(&spot);
	w.text = mem_str(text);
	add(c->report, &w);
}

int check_run(const struct dockerfile *d, const struct plan *p, const struct check_opts *o,
	      struct check_report *ret, struct err *err)
{
	static const struct check_rule *const tables[] = { check_form_rules, check_value_rules };
	struct check c = { .d = d, .p = p, .o = o, .report = ret };
	int rc = read_config(&c, err);

	if (rc == 0)
		check_facts_make(&c);
	for (size_t t = 0; rc == 0 && t < ARRAY_LEN(tables); t++)
		for (c.rule = tables[t]; c.rule->name; c.rule++)
			c.rule->run(&c);
	ret->is_error = c.config.error && ret->n;
	check_facts_free(&c);
	check_config_free(&c.config);
	return rc;
}

char *check_warning_text(const struct check_warning *w)
{
	return mem_fmt("%s: %s (line %d)\n%s", w->rule, w->text, w->line, w->source);
}

/* In the order of the file, each once. */
char *check_report_rules(const struct check_report *r)
{
	auto_strv struct strv names = { 0 };
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < r->n; i++) {
		if (strv_has(&names, r->v[i].rule))
			continue;
		strv_add(&names, r->v[i].rule);
		str_addf(&b, "%s%s", b.len ? ", " : "", r->v[i].rule);
	}
	return str_take(&b);
}
