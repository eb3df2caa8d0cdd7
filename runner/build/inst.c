/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions as one table: name, form of the arguments, how many. FIELD a. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "priv.h"

enum form {
	FORM_COMMAND, /* JSON, or the rest of the line as one string */
	FORM_LIST,    /* JSON, or words */
	FORM_JSON,    /* JSON only */
	FORM_WORDS,
	FORM_STRING, /* the rest of the line */
	FORM_PAIRS,  /* k=v …, or k v */
	FORM_NAMES,  /* k, k=v … */
	FORM_HEALTH, /* NONE, or CMD and a command */
	FORM_TRIGGER,
};

static const struct inst_rule {
	const char *name;
	enum form form;
	size_t min; /* words; exec form counted the same */
	const char *usage;
} rules[DF_KINDS] = {
	[DF_ADD] = { "ADD", FORM_LIST, 2, "a source and a destination" },
	[DF_ARG] = { "ARG", FORM_NAMES, 1, "a name" },
	[DF_CMD] = { "CMD", FORM_COMMAND, 0, "a command; CMD [] takes the base image's away" },
	[DF_COPY] = { "COPY", FORM_LIST, 2, "a source and a destination" },
	[DF_ENTRYPOINT] = { "ENTRYPOINT", FORM_COMMAND, 0,
			    "a command; ENTRYPOINT [] takes the base image's away" },
	[DF_ENV] = { "ENV", FORM_PAIRS, 1, "name=value" },
	[DF_EXPOSE] = { "EXPOSE", FORM_WORDS, 1, "a port" },
	[DF_FROM] = { "FROM", FORM_WORDS, 1, "an image, or an image, AS and a name" },
	[DF_HEALTHCHECK] = { "HEALTHCHECK", FORM_HEALTH, 1, "NONE or CMD" },
	[DF_LABEL] = { "LABEL", FORM_PAIRS, 1, "name=value" },
	[DF_MAINTAINER] = { "MAINTAINER", FORM_STRING, 1, "a name" },
	[DF_ONBUILD] = { "ONBUILD", FORM_TRIGGER, 0, "an instruction" },
	[DF_RUN] = { "RUN", FORM_COMMAND, 1, "a command" },
	[DF_SHELL] = { "SHELL", FORM_JSON, 1, "a JSON array of strings" },
	[DF_STOPSIGNAL] = { "STOPSIGNAL", FORM_STRING, 1, "a signal" },
	[DF_USER] = { "USER", FORM_STRING, 1, "a user" },
	[DF_VOLUME] = { "VOLUME", FORM_LIST, 1, "a path" },
	[DF_WORKDIR] = { "WORKDIR", FORM_STRING, 1, "a path" },
};

const char *df_kind_name(enum df_kind kind)
{
	return rules[kind].name;
}

static void heredoc_clear(struct df_heredoc *h)
{
	mem_cleanup(&h->name);
	mem_cleanup(&h->body);
}

void inst_clear(struct df_inst *i)
{
	mem_cleanup(&i->text);
	for (size_t k = 0; k < i->n_flags; k++) {
		mem_cleanup(&i->flags[k].name);
		mem_cleanup(&i->flags[k].value);
	}
	mem_cleanup(&i->flags);
	strv_free(&i->args);
	for (size_t k = 0; k < i->n_heredocs; k++)
		heredoc_clear(&i->heredocs[k]);
	mem_cleanup(&i->heredocs);
	df_inst_free(i->onbuild);
	mem_cleanup(&i->src);
	mem_cleanup(&i->comment);
	*i = (struct df_inst){ 0 };
}

void df_inst_free(struct df_inst *inst)
{
	if (!inst)
		return;
	inst_clear(inst);
	mem_cleanup(&inst);
}

/* --- arguments by form --- */

static const char *skip_word(const char *s)
{
	while (*s && !words_is_blank(*s))
		s++;
	while (words_is_blank(*s))
		s++;
	return s;
}

/*
 * "[ -f x ]" is a shell test and "[x]" a path, so a command is only suspected of meaning the exec
 * form when a quote follows the bracket.
 */
static bool is_like_json(enum form form, const char *rest)
{
	if (*rest != '[')
		return false;
	rest++;
	while (words_is_blank(*rest))
		rest++;
	return form == FORM_LIST || *rest == '\'' || *rest == '"';
}

static int parse_json(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		      struct err *err)
{
	int rc = words_json(rest, &i->args);

	if (rc < 0)
		return df_fail(&x->at, EINVAL, err, "%s: a JSON array may hold strings only",
			       rules[i->kind].name);
	i->is_json = rc;
	i->like_json = !rc && is_like_json(rules[i->kind].form, rest);
	return rc;
}

static int parse_command(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			 struct err *err)
{
	int rc = parse_json(x, i, rest, err);

	if (rc != 0)
		return rc;
	if (!*rest)
		return df_fail(&x->at, EINVAL, err, "%s needs %s", rules[i->kind].name,
			       rules[i->kind].usage);
	strv_add(&i->args, rest);
	return 0;
}

static int parse_list(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		      struct err *err)
{
	int rc = parse_json(x, i, rest, err);

	if (rc != 0)
		return rc;
	/* Only a heredoc word may have blanks inside quotes; else a quote is part of a file name.
	 */
	if (i->n_heredocs)
		words_quoted(rest, x->escape, &i->args);
	else
		words_blank(rest, &i->args);
	return 0;
}

static int parse_only_json(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			   struct err *err)
{
	int rc = words_json(rest, &i->args);

	if (rc <= 0)
		return df_fail(&x->at, EINVAL, err, "%s needs %s, like [\"/bin/sh\", \"-c\"]",
			       rules[i->kind].name, rules[i->kind].usage);
	i->is_json = true;
	return 0;
}

static int parse_words(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		       struct err *err)
{
	(void)x;
	(void)err;
	words_blank(rest, &i->args);
	return 0;
}

static int parse_string(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			struct err *err)
{
	(void)x;
	(void)err;
	if (*rest)
		strv_add(&i->args, rest);
	return 0;
}

/* ENV a=b c="d e", and the old ENV a the rest. */
static int parse_pairs(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		       struct err *err)
{
	const char *value = skip_word(rest);
	size_t n = strcspn(rest, " \t\v\f\r");

	words_quoted(rest, x->escape, &i->args);
	if (i->args.n && !strchr(i->args.v[0], '=')) {
		strv_free(&i->args);
		if (!*value)
			return df_fail_word(&x->at, rest, EINVAL, err,
					    "%s %.60s: needs a value (%s %.60s=value)",
					    rules[i->kind].name, rest, rules[i->kind].name, rest);
		strv_addf(&i->args, "%.*s=%s", (int)n, rest, value);
		i->old_form = true;
		return 0;
	}
	for (size_t k = 0; k < i->args.n; k++) {
		const char *eq = strchr(i->args.v[k], '=');

		if (!eq)
			return df_fail_word(&x->at, i->args.v[k], EINVAL, err,
					    "%s: no \"=\" in %.60s (quote a value with blanks)",
					    rules[i->kind].name, i->args.v[k]);
		if (eq == i->args.v[k])
			return df_fail_word(&x->at, i->args.v[k], EINVAL, err,
					    "%s: a name is empty", rules[i->kind].name);
	}
	return 0;
}

static int parse_names(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		       struct err *err)
{
	words_quoted(rest, x->escape, &i->args);
	for (size_t k = 0; k < i->args.n; k++)
		if (*i->args.v[k] == '=')
			return df_fail_word(&x->at, i->args.v[k], EINVAL, err,
					    "%s: a name is empty", rules[i->kind].name);
	return 0;
}

static int parse_health(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			struct err *err)
{
	const char *command = skip_word(rest);
	size_t n = strcspn(rest, " \t\v\f\r");
	auto_free char *name = mem_strn(rest, n);
	int rc;

	if (!n)
		return 0;
	if (n == 4 && !strncasecmp(rest, "NONE", n)) {
		if (*command)
			return df_fail_word(&x->at, command, EINVAL, err,
					    "HEALTHCHECK NONE takes no arguments");
		strv_add(&i->args, "NONE");
		return 0;
	}
	if (n != 3 || strncasecmp(rest, "CMD", n) != 0)
		return df_fail_word(&x->at, name, EINVAL, err,
				    "HEALTHCHECK needs NONE or CMD, not %.60s", name);
	strv_add(&i->args, "CMD");
	rc = parse_command(x, i, command, err);
	if (rc >= 0 && i->args.n < 2)
		return df_fail(&x->at, EINVAL, err, "HEALTHCHECK CMD needs a command");
	return rc;
}

static int parse_trigger(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			 struct err *err)
{
	struct inst_ctx inner = *x;

	if (x->trigger)
		return df_fail(&x->at, EINVAL, err, "ONBUILD ONBUILD is not allowed");
	if (!*rest)
		return df_fail(&x->at, EINVAL, err, "ONBUILD needs an instruction");
	inner.trigger = true;
	i->onbuild = mem_alloc(sizeof(*i->onbuild));
	/* Its text goes into an image and is parsed again, so blanks inside quotes must stay as
	 * they are. */
	return inst_parse(&inner, rest, rest, i->onbuild, err);
}

typedef int parse_fn(const struct inst_ctx *x, struct df_inst *i, const char *rest,
		     struct err *err);
static parse_fn *const parsers[] = {
	[FORM_COMMAND] = parse_command, [FORM_LIST] = parse_list,
	[FORM_JSON] = parse_only_json,  [FORM_WORDS] = parse_words,
	[FORM_STRING] = parse_string,   [FORM_PAIRS] = parse_pairs,
	[FORM_NAMES] = parse_names,     [FORM_HEALTH] = parse_health,
	[FORM_TRIGGER] = parse_trigger,
};

/* --- what a single instruction must satisfy --- */

static bool stage_name_is_valid(const char *s)
{
	if (!isalpha((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
			return false;
	return true;
}

static int check_from(const struct inst_ctx *x, struct df_inst *i, struct err *err)
{
	const struct strv *a = &i->args;

	if (a->n != 1 && (a->n != 3 || strcasecmp(a->v[1], "as") != 0))
		return df_fail(&x->at, EINVAL, err, "FROM takes %s", rules[DF_FROM].usage);
	if (a->n == 1)
		return 0;
	if (!stage_name_is_valid(a->v[2]))
		return df_fail_word(
			&x->at, a->v[2], EINVAL, err,
			"stage name %.60s: a letter, then letters, digits, \"-\", \"_\", \".\"",
			a->v[2]);
	return 0;
}

static int check_copy(const struct inst_ctx *x, struct df_inst *i, struct err *err)
{
	const struct df_flag *from = inst_flag(i, "from");

	if (inst_is_heredoc_word(i, i->args.v[i->args.n - 1]))
		return df_fail_word(&x->at, i->args.v[i->args.n - 1], EINVAL, err,
				    "%s: the destination must not be a heredoc",
				    rules[i->kind].name);
	if (from && !*from->value)
		return df_fail_word(&x->at, "--from", EINVAL, err,
				    "--from needs a stage or an image");
	if (from && strchr(from->value, '$'))
		return df_fail_word(&x->at, from->value, EINVAL, err,
				    "--from=%.60s: variables are not expanded here", from->value);
	return 0;
}

static int check(const struct inst_ctx *x, struct df_inst *i, struct err *err)
{
	const struct inst_rule *r = &rules[i->kind];

	if (i->args.n < r->min)
		return df_fail(&x->at, EINVAL, err, "%s needs %s", r->name, r->usage);
	for (size_t k = 0; i->kind == DF_VOLUME && k < i->args.n; k++)
		if (!*i->args.v[k])
			return df_fail(&x->at, EINVAL, err, "VOLUME: a path is empty");
	if (i->kind == DF_FROM)
		return check_from(x, i, err);
	if (i->kind == DF_COPY || i->kind == DF_ADD)
		return check_copy(x, i, err);
	return 0;
}

/* --- the instruction --- */

static int kind_find(const struct inst_ctx *x, const char *raw, enum df_kind *ret, struct err *err)
{
	const char *names[DF_KINDS + 1] = { 0 }, *near;
	size_t n = strcspn(raw, " \t\v\f\r");
	auto_free char *upper = mem_strn(raw, n > 40 ? 40 : n), *word = NULL;

	for (char *c = upper; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	for (size_t k = 0; k < DF_KINDS; k++) {
		names[k] = rules[k].name;
		if (!strcmp(upper, names[k])) {
			*ret = (enum df_kind)k;
			return 0;
		}
	}
	near = str_nearest(upper, names);
	word = mem_strn(raw, n);
	return df_fail_word(&x->at, word, EINVAL, err, "unknown instruction: %s%s%s%s", upper,
			    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

/* RUN, COPY, ADD: the names of the heredocs; an unbalanced quote just means that there are none
 * behind it. */
static int heredocs_find(const struct inst_ctx *x, struct df_inst *i, const char *rest,
			 struct err *err)
{
	auto_strv struct strv words = { 0 };
	size_t cap = 0;

	if ((i->kind != DF_RUN && i->kind != DF_COPY && i->kind != DF_ADD) || !strstr(rest, "<<"))
		return 0;
	if (words_json(rest, &words) == 1)
		return 0;
	words_quoted(rest, '\\', &words);
	for (size_t k = 0; k < words.n; k++) {
		struct df_heredoc h;

		if (!words_heredoc(words.v[k], &h))
			continue;
		if (i->n_heredocs == DF_HEREDOC_MAX) {
			heredoc_clear(&h);
			return df_fail(&x->at, EINVAL, err, "more than %d heredocs",
				       DF_HEREDOC_MAX);
		}
		mem_room(i->heredocs, i->n_heredocs, cap);
		i->heredocs[i->n_heredocs++] = h;
	}
	return 0;
}

bool inst_is_heredoc_word(const struct df_inst *i, const char *word)
{
	struct df_heredoc h;

	if (!i->n_heredocs || !words_heredoc(word, &h))
		return false;
	heredoc_clear(&h);
	return true;
}

int inst_parse(const struct inst_ctx *x, const char *raw, const char *text, struct df_inst *ret,
	       struct err *err)
{
	auto_strv struct strv flags = { 0 };
	auto_free char *rest = NULL;
	int rc;

	*ret = (struct df_inst){ .line = x->at.line,
				 .end_line = x->at.line,
				 .text = mem_str(text),
				 .src = x->at.src ? mem_strn(x->at.src, x->at.src_len) : NULL };
	rc = kind_find(x, raw, &ret->kind, err);
	if (rc < 0)
		return rc;
	if (x->trigger && (ret->kind == DF_FROM || ret->kind == DF_MAINTAINER))
		return df_fail_word(&x->at, rules[ret->kind].name, EINVAL, err,
				    "ONBUILD %s is not allowed", rules[ret->kind].name);
	rest = mem_str(words_flags(skip_word(raw), &flags));
	for (size_t k = strlen(rest); k && words_is_blank(rest[k - 1]);)
		rest[--k] = 0;
	for (size_t k = 0; k < flags.n; k++) {
		rc = flag_parse(x, ret, flags.v[k], err);
		if (rc < 0)
			return rc;
	}
	rc = heredocs_find(x, ret, rest, err);
	if (rc == 0)
		rc = parsers[rules[ret->kind].form](x, ret, rest, err);
	return rc < 0 ? rc : check(x, ret, err);
}

char *inst_trigger_text(const struct df_inst *onbuild)
{
	const struct df_inst *i = onbuild->onbuild;
	auto_str struct str b = { 0 };

	str_add(&b, i->text);
	for (size_t k = 0; k < i->n_heredocs; k++) {
		str_addf(&b, "\n%s%s", i->heredocs[k].body, i->heredocs[k].name);
	}
	return str_take(&b);
}

/* BuildKit's rule: a URL, or what git would call one. */
bool inst_add_is_remote(const char *src)
{
	static const char *const prefixes[] = { "http://", "https://", "git@", "git://", "ssh://" };

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (!strncasecmp(src, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}
