/* SPDX-License-Identifier: Apache-2.0 */
/* What build --call prints: warnings, the stages, what one of them takes. */
#include <stdlib.h>
#include <string.h>

#include <shale/base/json.h>

#include "check.h"

static json_t *location(int line, int end_line)
{
	return json_pack("{s:[{s:{s:i},s:{s:i}}]}", "ranges", "start", "line", line, "end", "line",
			 end_line);
}

static char *take_json(json_t *j)
{
	char *text = json_text_indent(j);

	json_decref(j);
	return text;
}

/* "# NAME what it is" above: the text behind the name, or "". */
static char *description(const struct df_inst *i, const char *name)
{
	auto_strv struct strv lines = { 0 };
	size_t n = name ? strlen(name) : 0;

	if (!i->comment || !n)
		return mem_str("");
	strv_split(&lines, i->comment, '\n');
	for (size_t k = 0; k < lines.n; k++) {
		text_safe(lines.v[k]);
		if (!strncmp(lines.v[k], name, n) && lines.v[k][n] == ' ')
			return mem_str(lines.v[k] + n + 1);
	}
	return mem_str("");
}

/* --- check --- */

char *call_check(const struct check_report *r, const char *file_name, bool json)
{
	auto_str struct str b = { 0 };
	json_t *list, *j;

	if (json) {
		list = json_array();
		for (size_t i = 0; i < r->n; i++) {
			const struct check_warning *w = &r->v[i];

			j = json_object();
			json_set_str(j, "ruleName", w->rule);
			json_set_str(j, "description", w->description);
			json_set_str(j, "detail", w->text);
			json_object_set_new(j, "location", location(w->line, w->end_line));
			json_array_append_new(list, j);
		}
		return take_json(json_pack("{s:o}", "warnings", list));
	}
	for (size_t i = 0; i < r->n; i++) {
		auto_free char *text = check_warning_text(&r->v[i]);

		str_addf(&b, "WARNING: %s\n\n", text);
	}
	if (!r->n)
		str_addf(&b, "Check complete, no warnings found.\n");
	else
		str_addf(&b, "Check complete, %zu warning%s found in %s.\n", r->n,
			 r->n == 1 ? " has been" : "s have been", file_name);
	return str_take(&b);
}

/* --- targets --- */

char *call_targets(const struct dockerfile *d, const struct plan *p, bool json)
{
	json_t *list = json ? json_array() : NULL;
	auto_str struct str b = { 0 };
	int width = (int)strlen("TARGET (default)");

	(void)d;
	for (size_t k = 0; k < p->n; k++)
		if (p->stages[k].name && (int)strlen(p->stages[k].name) + 10 > width)
			width = (int)strlen(p->stages[k].name) + 10;
	str_addf(&b, "%-*s  DESCRIPTION\n", width, "TARGET");
	for (size_t k = 0; k < p->n; k++) {
		const struct plan_stage *s = &p->stages[k];
		auto_free char *what = description(s->from, s->name);
		auto_free char *name = s->name ? mem_str(s->name) : mem_fmt("%zu", k);
		auto_free char *shown = mem_fmt("%s%s", name, k == p->target ? " (default)" : "");
		json_t *j = json ? json_object() : NULL;

		str_addf(&b, *what ? "%-*s  %s\n" : "%.0d%s\n", *what ? width : 0, shown, what);
		if (!json)
			continue;
		if (s->name)
			json_set_str(j, "name", s->name);
		if (k == p->target)
			json_object_set_new(j, "default", json_true());
		if (*what)
			json_set_str(j, "description", what);
		json_set_str(j, "base", s->from->args.v[0]);
		if (inst_flag(s->from, "platform"))
			json_set_str(j, "platform", inst_flag(s->from, "platform")->value);
		json_object_set_new(j, "location", location(s->from->line, s->from->end_line));
		json_array_append_new(list, j);
	}
	return json ? take_json(json_pack("{s:o}", "targets", list)) : str_take(&b);
}

/* --- outline --- */

struct item {
	char *name, *value, *what;
	bool required;
	const struct df_inst *at;
};

struct items {
	struct item *v;
	size_t n, cap;
};

static void items_free(struct items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		mem_cleanup(&l->v[i].name);
		mem_cleanup(&l->v[i].value);
		mem_cleanup(&l->v[i].what);
	}
	mem_cleanup(&l->v);
}

/* By line; the first of a name counts. */
static struct item *item_add(struct items *l, const char *name, const struct df_inst *at)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].name, name))
			return NULL;
	mem_room(l->v, l->n, l->cap);
	l->v[l->n] = (struct item){ .name = mem_str(name), .at = at };
	return &l->v[l->n++];
}

static const char *item_text(const char *s)
{
	return s ? s : "";
}

/* The value that the build takes, as far as it is known without the stage's variables. */
static void arg_add(struct items *l, const struct plan *p, const struct df_inst *i,
		    const char *word)
{
	auto_free char *name = mem_strn(word, strcspn(word, "="));
	const char *eq = strchr(word, '='), *global = strv_env_get(&p->global_args, name);
	struct item *item = item_add(l, name, i);

	if (!item)
		return;
	item->what = description(i, name);
	item->value = mem_str(item_text(global ? global : eq ? eq + 1 : NULL));
}

/* A stage's ARG without a default means the one before the first FROM, which is told instead. */
static const struct df_inst *global_arg(const struct dockerfile *d, const struct plan *p,
					const char *name, const char **ret_word)
{
	for (const struct df_inst *i = d->inst; i < p->stages[0].from; i++)
		for (size_t k = 0; k < i->args.n; k++) {
			size_t n = strcspn(i->args.v[k], "=");

			if (!strncmp(i->args.v[k], name, n) && !name[n]) {
				*ret_word = i->args.v[k];
				return i;
			}
		}
	return NULL;
}

static void from_args(struct items *l, const struct dockerfile *d, const struct plan *p,
		      const char *word)
{
	for (const struct df_inst *i = d->inst; i < p->stages[0].from; i++)
		for (size_t k = 0; k < i->args.n; k++) {
			auto_free char *name = mem_strn(i->args.v[k], strcspn(i->args.v[k], "="));
			auto_free char *plain = mem_fmt("$%s", name),
				       *braces = mem_fmt("${%s", name);

			if (strstr(word, plain) || strstr(word, braces))
				arg_add(l, p, i, i->args.v[k]);
		}
}

/* RUN --mount=type=secret,id=x,required: its id, its target's base name, or "default". */
static void mount_add(struct items *l, const struct df_inst *i, const char *mount, const char *type,
		      bool has_target)
{
	auto_strv struct strv fields = { 0 };
	const char *id = NULL, *target = NULL;
	bool is_type = false, required = false;
	struct item *item;

	strv_split(&fields, mount, ',');
	for (size_t k = 0; k < fields.n; k++) {
		const char *f = fields.v[k], *eq = strchr(f, '=');

		if (str_starts(f, "type="))
			is_type = !strcmp(eq + 1, type);
		else if (str_starts(f, "id="))
			id = eq + 1;
		else if (str_starts(f, "target=") || str_starts(f, "dst=") ||
			 str_starts(f, "destination="))
			target = strrchr(eq, '/') ? strrchr(eq, '/') + 1 : eq + 1;
		else if (str_starts(f, "required"))
			required = !eq || !strcmp(eq + 1, "true") || !strcmp(eq + 1, "1");
	}
	if (!is_type)
		return;
	id = id ? id : has_target && target ? target : "default";
	item = item_add(l, id, i);
	if (item)
		item->required = required;
}

struct outline {
	struct items args, secrets, ssh;
};

static void outline_stage(struct outline *o, const struct dockerfile *d, const struct plan *p,
			  const struct plan_stage *s)
{
	const struct df_flag *platform = inst_flag(s->from, "platform");

	from_args(&o->args, d, p, s->from->args.v[0]);
	if (platform)
		from_args(&o->args, d, p, platform->value);
	for (size_t k = 0; k < s->n_inst; k++) {
		const struct df_inst *i = &s->inst[k];

		for (size_t a = 0; i->kind == DF_ARG && a < i->args.n; a++) {
			const char *word = i->args.v[a];
			const struct df_inst *global =
				strchr(word, '=') ? NULL : global_arg(d, p, word, &word);

			arg_add(&o->args, p, global ? global : i, word);
		}
		for (size_t f = 0; i->kind == DF_RUN && f < i->n_flags; f++) {
			if (strcmp(i->flags[f].name, "mount") != 0 || !i->flags[f].value)
				continue;
			mount_add(&o->secrets, i, i->flags[f].value, "secret", true);
			mount_add(&o->ssh, i, i->flags[f].value, "ssh", false);
		}
	}
}

static void show_args(struct str *b, const struct items *l)
{
	int width = (int)strlen("BUILD ARG"), value = (int)strlen("VALUE");

	for (size_t k = 0; k < l->n; k++) {
		width = (int)strlen(l->v[k].name) > width ? (int)strlen(l->v[k].name) : width;
		value = (int)strlen(l->v[k].value) > value ? (int)strlen(l->v[k].value) : value;
	}
	if (l->n)
		str_addf(b, "\n%-*s  %-*s  DESCRIPTION\n", width, "BUILD ARG", value, "VALUE");
	for (size_t k = 0; k < l->n; k++) {
		auto_free char *line = mem_fmt("%-*s  %-*s  %s", width, l->v[k].name, value,
					       l->v[k].value, l->v[k].what);
		size_t n = strlen(line);

		while (n && line[n - 1] == ' ')
			line[--n] = 0;
		text_safe(line);
		str_addf(b, "%s\n", line);
	}
}

static void show_required(struct str *b, const char *title, const struct items *l)
{
	int width = (int)strlen(title);

	for (size_t k = 0; k < l->n; k++)
		width = (int)strlen(l->v[k].name) > width ? (int)strlen(l->v[k].name) : width;
	if (l->n)
		str_addf(b, "\n%-*s  REQUIRED\n", width, title);
	for (size_t k = 0; k < l->n; k++) {
		text_safe(l->v[k].name);
		if (l->v[k].required)
			str_addf(b, "%-*s  true\n", width, l->v[k].name);
		else
			str_addf(b, "%s\n", l->v[k].name);
	}
}

static json_t *items_json(const struct items *l)
{
	json_t *list = json_array();

	for (size_t k = 0; k < l->n; k++) {
		const struct item *i = &l->v[k];
		json_t *j = json_object();

		json_set_str(j, "name", i->name);
		if (i->what && *i->what)
			json_set_str(j, "description", i->what);
		if (i->value && *i->value)
			json_set_str(j, "value", i->value);
		if (i->required)
			json_object_set_new(j, "required", json_true());
		json_object_set_new(j, "location", location(i->at->line, i->at->end_line));
		json_array_append_new(list, j);
	}
	return list;
}

static char *outline_json(const struct outline *o, const char *name, const char *what)
{
	const struct {
		const char *key;
		const struct items *list;
	} rows[] = { { "args", &o->args }, { "secrets", &o->secrets }, { "ssh", &o->ssh } };
	json_t *j = json_object();

	if (name)
		json_set_str(j, "name", name);
	if (*what)
		json_set_str(j, "description", what);
	for (size_t k = 0; k < ARRAY_LEN(rows); k++)
		if (rows[k].list->n)
			json_object_set_new(j, rows[k].key, items_json(rows[k].list));
	return take_json(j);
}

static int by_line(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->at->line != y->at->line ? x->at->line - y->at->line : strcmp(x->name, y->name);
}

static void sort(struct items *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_line);
}

char *call_outline(const struct dockerfile *d, const struct plan *p, bool json)
{
	const struct plan_stage *target = &p->stages[p->target];
	auto_free char *what = description(target->from, target->name);
	struct outline o = { 0 };
	auto_str struct str b = { 0 };
	char *text;

	for (size_t k = 0; k < p->n; k++)
		if (p->stages[k].needed)
			outline_stage(&o, d, p, &p->stages[k]);
	sort(&o.args);
	sort(&o.secrets);
	sort(&o.ssh);
	if (json) {
		text = outline_json(&o, target->name, what);
	} else {
		str_addf(&b, "TARGET:      %s\n", target->name ? target->name : "(default)");
		if (*what)
			str_addf(&b, "DESCRIPTION: %s\n", what);
		show_args(&b, &o.args);
		show_required(&b, "SECRET", &o.secrets);
		show_required(&b, "SSH", &o.ssh);
		text = str_take(&b);
	}
	items_free(&o.args);
	items_free(&o.secrets);
	items_free(&o.ssh);
	return text;
}
