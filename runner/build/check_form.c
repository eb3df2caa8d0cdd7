/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of how a Dockerfile is written: casing, names, forms, comments. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "check.h"

/* The keyword as it is in the file. */
static char *keyword(const struct df_inst *i)
{
	return mem_strn(i->text, strcspn(i->text, " \t\v\f\r"));
}

static bool is_case(const char *s, int (*other)(int))
{
	for (; *s; s++)
		if (other((unsigned char)*s))
			return false;
	return true;
}

static bool is_lower(const char *s)
{
	return is_case(s, isupper);
}

static bool is_upper(const char *s)
{
	return is_case(s, islower);
}

static void stage_name_casing(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		const struct df_inst *i = c->p->stages[k].from;

		if (i->args.n == 3 && !is_lower(i->args.v[2]))
			check_warn(c, i, i->args.v[2], "Stage name '%s' should be lowercase",
				   i->args.v[2]);
	}
}

static void from_as_casing(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		const struct df_inst *i = c->p->stages[k].from;
		auto_free char *from = keyword(i);
		const char *as = i->args.n == 3 ? i->args.v[1] : NULL;

		/* A keyword in both cases has a check of its own. */
		if (!as || (!is_lower(from) && !is_upper(from)))
			continue;
		if (!(is_lower(from) ? is_lower(as) : is_upper(as)))
			check_warn(c, i, as, "'%s' and '%s' keywords' casing do not match", as,
				   from);
	}
}

static void no_empty_continuation(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		struct df_inst i = c->d->inst[k];

		if (!i.gap_line)
			continue;
		/* The message points at the gap. */
		for (int line = i.line; line < i.gap_line; line++)
			i.src = strchr(i.src, '\n') + 1;
		i.line = i.gap_line;
		check_warn(c, &i, NULL, "Empty continuation line");
	}
}

/* Not the ARGs before the first FROM. */
static const struct df_inst *first_of_stages(const struct check *c)
{
	return c->p->stages[0].from;
}

static void consistent_instruction_casing(struct check *c)
{
	const struct df_inst *end = c->d->inst + c->d->n;
	size_t lower = 0, upper = 0;

	for (const struct df_inst *i = first_of_stages(c); i < end; i++) {
		auto_free char *word = keyword(i);

		lower += is_lower(word);
		upper += is_upper(word);
	}
	for (const struct df_inst *i = first_of_stages(c); i < end; i++) {
		auto_free char *word = keyword(i);

		if (!(lower > upper ? is_lower(word) : is_upper(word)))
			check_warn(
				c, i, word,
				"Command '%s' should match the case of the command majority (%s)",
				word, lower > upper ? "lowercase" : "uppercase");
	}
}

static void duplicate_stage_name(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		const struct plan_stage *s = &c->p->stages[k];
		int other = s->name ? plan_stage_find(c->p, s->name, k) : -1;

		if (other >= 0 && str_eq(c->p->stages[other].name, s->name))
			check_warn(c, s->from, s->from->args.v[2],
				   "Duplicate stage name \"%s\", stage names should be unique",
				   s->name);
	}
}

static void reserved_stage_name(struct check *c)
{
	for (size_t k = 0; k < c->p->n; k++) {
		const struct plan_stage *s = &c->p->stages[k];

		if (str_eq(s->name, "scratch") || str_eq(s->name, "context"))
			check_warn(
				c, s->from, s->from->args.v[2],
				"Stage name should not use the same name as reserved stage \"%s\"",
				s->name);
	}
}

static void maintainer_deprecated(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++)
		if (c->d->inst[k].kind == DF_MAINTAINER)
			check_warn(c, &c->d->inst[k], NULL,
				   "Maintainer instruction is deprecated in favor of using label");
}

static void multiple_instructions(struct check *c)
{
	static const enum df_kind kinds[] = { DF_CMD, DF_ENTRYPOINT, DF_HEALTHCHECK };

	for (size_t k = 0; k < c->p->n * ARRAY_LEN(kinds); k++) {
		const struct plan_stage *s = &c->p->stages[k / ARRAY_LEN(kinds)];
		const struct df_inst *before = NULL;

		for (size_t n = 0; n < s->n_inst; n++) {
			const struct df_inst *i = &s->inst[n];
			auto_free char *word = NULL;

			if (i->kind != kinds[k % ARRAY_LEN(kinds)] || !check_fact_of(c, i)->reached)
				continue;
			word = keyword(i);
			/* The one that is lost. */
			if (before)
				check_warn(
					c, before, NULL,
					"Multiple %s instructions should not be used in the same stage because only the last one will be used",
					word);
			before = i;
		}
	}
}

static void legacy_key_value(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		auto_free char *word = keyword(i);

		if (i->old_form && check_fact_of(c, i)->reached)
			check_warn(
				c, i, NULL,
				"\"%s key=value\" should be used instead of legacy \"%s key value\" format",
				word, word);
	}
}

static void json_args_recommended(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		const struct check_fact *f = check_fact_of(c, i);
		auto_free char *word = keyword(i);

		if ((i->kind == DF_CMD || i->kind == DF_ENTRYPOINT) && !i->is_json && f->reached &&
		    !f->shell_set)
			check_warn(
				c, i, NULL,
				"JSON arguments recommended for %s to prevent unintended behavior related to OS signals",
				word);
	}
}

static void exec_form_invalid(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		auto_free char *word = keyword(i);

		if (i->like_json || (i->onbuild && i->onbuild->like_json))
			check_warn(
				c, i, "[",
				"%s looks like the exec form but is not a JSON array of strings; it is read as the shell form",
				word);
	}
}

/* The last comment line above must begin with the name, else it describes nothing. */
static void describe(struct check *c, const struct df_inst *i, const struct strv *names)
{
	auto_strv struct strv lines = { 0 };
	const char *last;

	if (!i->comment)
		return;
	strv_split(&lines, i->comment, '\n');
	/* Each line ends, so the last field is empty. */
	if (lines.n < 2)
		return;
	last = lines.v[lines.n - 2];
	for (size_t k = 0; k < names->n; k++) {
		size_t n = strlen(names->v[k]);

		if (!strncmp(last, names->v[k], n) && (!last[n] || last[n] == ' '))
			return;
	}
	if (*last && strncasecmp(last, "check=", 6) != 0)
		check_warn(c, i, NULL,
			   "Comment for %s should follow the format: `# %s <description>`",
			   df_kind_name(i->kind), names->n > 1 ? "<arg_key>" : names->v[0]);
}

static void invalid_description(struct check *c)
{
	for (size_t k = 0; k < c->d->n; k++) {
		const struct df_inst *i = &c->d->inst[k];
		auto_strv struct strv names = { 0 };

		if (i->kind == DF_FROM && i->args.n == 3)
			strv_add(&names, i->args.v[2]);
		for (size_t a = 0; i->kind == DF_ARG && a < i->args.n; a++)
			strv_add_take(&names, mem_strn(i->args.v[a], strcspn(i->args.v[a], "=")));
		if (names.n)
			describe(c, i, &names);
	}
}

const struct check_rule check_form_rules[] = {
	{ "StageNameCasing", "Stage names should be lowercase", false, stage_name_casing },
	{ "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", false,
	  from_as_casing },
	{ "NoEmptyContinuation", "Empty continuation lines will become errors in a future release",
	  false, no_empty_continuation },
	{ "ConsistentInstructionCasing",
	  "All commands within the Dockerfile should use the same casing (either upper or lower)",
	  false, consistent_instruction_casing },
	{ "DuplicateStageName", "Stage names should be unique", false, duplicate_stage_name },
	{ "ReservedStageName", "Reserved words should not be used as stage names", false,
	  reserved_stage_name },
	{ "JSONArgsRecommended",
	  "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
	  false, json_args_recommended },
	{ "MaintainerDeprecated",
	  "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
	  false, maintainer_deprecated },
	{ "MultipleInstructionsDisallowed",
	  "Multiple instructions of the same type should not be used in the same stage", false,
	  multiple_instructions },
	{ "LegacyKeyValueFormat",
	  "Legacy key/value format with whitespace separator should not be used", false,
	  legacy_key_value },
	{ "InvalidDefinitionDescription",
	  "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
	  true, invalid_description },
	/* Docker has no such check. */
	{ "ExecFormInvalid", "An exec form that is no JSON array is read as the shell form", false,
	  exec_form_invalid },
	{ 0 },
};
