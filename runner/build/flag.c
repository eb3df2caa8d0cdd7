/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of instructions: which there are, what they take, which of them this version executes.
 * FIELD a. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "priv.h"

enum flag_type { FLAG_STRING, FLAG_BOOL, FLAG_LIST, FLAG_DURATION, FLAG_COUNT };

struct flag_rule {
	const char *name;
	enum flag_type type;
	bool executed;
	const char *harmless;       /* this value asks for nothing: always fine */
	const char *const *allowed; /* NULL: any value */
};

static const char *const networks[] = { "default", "none", "host", NULL };
static const char *const securities[] = { "sandbox", "insecure", NULL };

static const struct flag_rule run_flags[] = {
	{ "mount", FLAG_LIST, true },
	{ "network", FLAG_STRING, true, .allowed = networks },
	{ "security", FLAG_STRING, true, .allowed = securities },
	{ "device", FLAG_LIST, true },
	{ 0 },
};
static const struct flag_rule copy_flags[] = {
	{ "from", FLAG_STRING, true },
	{ "chown", FLAG_STRING, true },
	{ "chmod", FLAG_STRING, true },
	{ "link", FLAG_BOOL, true },
	{ "exclude", FLAG_LIST, true },
	{ "parents", FLAG_BOOL, true },
	{ 0 },
};
static const struct flag_rule add_flags[] = {
	{ "chown", FLAG_STRING, true },    { "chmod", FLAG_STRING, true },
	{ "link", FLAG_BOOL, true },       { "exclude", FLAG_LIST, true },
	{ "checksum", FLAG_STRING, true }, { "keep-git-dir", FLAG_BOOL, true },
	{ "unpack", FLAG_BOOL, true },     { 0 },
};
static const struct flag_rule from_flags[] = {
	{ "platform", FLAG_STRING, true },
	{ 0 },
};
static const struct flag_rule health_flags[] = {
	{ "interval", FLAG_DURATION, true },     { "timeout", FLAG_DURATION, true },
	{ "start-period", FLAG_DURATION, true }, { "start-interval", FLAG_DURATION, true },
	{ "retries", FLAG_COUNT, true },         { 0 },
};

static const struct flag_rule *const flags_of[DF_KINDS] = {
	[DF_RUN] = run_flags,   [DF_COPY] = copy_flags,          [DF_ADD] = add_flags,
	[DF_FROM] = from_flags, [DF_HEALTHCHECK] = health_flags,
};

static const struct flag_rule *flag_rule_find(enum df_kind kind, const char *name)
{
	for (const struct flag_rule *f = flags_of[kind]; f && f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

bool inst_flag_is_executed(enum df_kind kind, const struct df_flag *f)
{
	const struct flag_rule *r = flag_rule_find(kind, f->name);

	return r &&
	       (r->executed || (r->harmless && f->value && !strcasecmp(f->value, r->harmless)));
}

const struct df_flag *inst_flag(const struct df_inst *i, const char *name)
{
	for (size_t k = 0; k < i->n_flags; k++)
		if (!strcmp(i->flags[k].name, name))
			return &i->flags[k];
	return NULL;
}

int inst_flag_bool(const struct df_inst *i, const char *name, int fallback)
{
	const struct df_flag *f = inst_flag(i, name);

	return f ? !f->value || !strcasecmp(f->value, "true") : fallback;
}

static int flag_unknown(const struct inst_ctx *x, enum df_kind kind, const char *name,
			const char *word, struct err *err)
{
	const char *list[8] = { 0 }, *near;
	size_t n = 0;

	for (const struct flag_rule *f = flags_of[kind]; f && f->name; f++)
		list[n++] = f->name;
	near = str_nearest(name, list);
	if (!n)
		return df_fail_word(&x->at, word, EINVAL, err, "%s has no flags: --%.60s",
				    df_kind_name(kind), name);
	return df_fail_word(&x->at, word, EINVAL, err, "unknown flag of %s: --%.60s%s%s%s",
			    df_kind_name(kind), name, near ? " (did you mean --" : "",
			    near ? near : "", near ? "?)" : "");
}

/* What is wrong with the value, or NULL. Durations: 0 inherits, else 1 ms at least (Docker's rule).
 */
static const char *flag_value_fault(const struct flag_rule *r, const char *value)
{
	int64_t ns;
	uint64_t count;

	if (r->type == FLAG_BOOL)
		return !value || !strcasecmp(value, "true") || !strcasecmp(value, "false")
			       ? NULL
			       : "must be true or false";
	if (!value)
		return "needs a value";
	if (r->type == FLAG_DURATION && *value && str_to_duration(value, &ns) < 0)
		return "must be a duration like 30s or 1m30s";
	if (r->type == FLAG_DURATION && *value && ns > 0 && ns < 1000000)
		return "must be 0 or at least 1ms";
	if (r->type == FLAG_COUNT && *value && str_to_u64(value, 10, INT32_MAX, &count) < 0)
		return "must be a number";
	for (size_t i = 0; r->allowed; i++) {
		if (!r->allowed[i])
			return "has no such value";
		if (!strcmp(r->allowed[i], value))
			break;
	}
	return NULL;
}

int flag_parse(const struct inst_ctx *x, struct df_inst *i, const char *word, struct err *err)
{
	const char *eq = strchr(word, '='), *fault, *value = eq ? eq + 1 : NULL;
	auto_free char *name = mem_strn(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));
	const struct flag_rule *r = flag_rule_find(i->kind, name);

	if (!r)
		return flag_unknown(x, i->kind, name, word, err);
	if (r->type != FLAG_LIST && inst_flag(i, name))
		return df_fail_word(&x->at, word, EINVAL, err, "--%s is given twice", name);
	fault = flag_value_fault(r, value);
	if (fault)
		return df_fail_word(&x->at, word, EINVAL, err, "--%s%s%.60s %s", name,
				    value ? "=" : "", value ? value : "", fault);
	i->flags = mem_grow(i->flags, i->n_flags + 1, sizeof(*i->flags));
	i->flags[i->n_flags++] = (struct df_flag){ take(name), mem_str(value) };
	return 0;
}
