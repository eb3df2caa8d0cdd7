/* SPDX-License-Identifier: Apache-2.0 */
/* opt: the words of a command line into a struct, as Docker reads them (pflag): -it, -eK=V, -e K=V,
 * --name=x, --name x. */
#include "priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static struct strv *strv_at(const struct opt *o, void *args)
{
	return (struct strv *)((char *)args + o->offset);
}

static int set_bool(void *field, const char *s)
{
	static const char *const yes[] = { "true", "1", "t", "T", "TRUE", "True" };
	static const char *const no[] = { "false", "0", "f", "F", "FALSE", "False" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (str_eq(s, yes[i])) {
			*(bool *)field = true;
			return 0;
		}
		if (str_eq(s, no[i])) {
			*(bool *)field = false;
			return 0;
		}
	}
	return -EINVAL;
}

/* Another tool's word for what is always so: nothing to remember, but to be told when it is not
 * wanted. */
static int set_true(void *field, const char *s)
{
	bool said;

	(void)field;
	return set_bool(&said, s) < 0 || !said ? -EINVAL : 0;
}

static int set_str(void *field, const char *s)
{
	*(const char **)field = s;
	return 0;
}

static int set_strv(void *field, const char *s)
{
	strv_add(field, s);
	return 0;
}

static int set_int(void *field, const char *s)
{
	bool minus = *s == '-';
	uint64_t v;

	if (str_to_u64(minus ? s + 1 : s, 10, INT_MAX, &v) < 0)
		return -EINVAL;
	*(int *)field = minus ? -(int)v : (int)v;
	return 0;
}

static int set_u64(void *field, const char *s)
{
	return str_to_u64(s, 10, UINT64_MAX, field);
}

static int set_bytes(void *field, const char *s)
{
	return str_to_bytes(s, field);
}

static int set_seconds(void *field, const char *s)
{
	int seconds;

	if (set_int(&seconds, s) < 0 || seconds > INT_MAX / 1000)
		return -EINVAL;
	*(int *)field = seconds < 0 ? -1 : seconds * 1000;
	return 0;
}

static int set_duration(void *field, const char *s)
{
	return str_to_duration(s, field);
}

static const struct {
	int (*set)(void *field, const char *s);
	const char *what;
} types[] = {
	[OPT_BOOL] = { set_bool, "true or false" },
	[OPT_TRUE] = { set_true, "true, and there is nothing else" },
	[OPT_STR] = { set_str, "text" },
	[OPT_STRV] = { set_strv, "text" },
	[OPT_INT] = { set_int, "a whole number" },
	[OPT_U64] = { set_u64, "a whole number that is not negative" },
	[OPT_BYTES] = { set_bytes, "a size like 512, 64k or 1.5g" },
	[OPT_SECONDS] = { set_seconds, "a whole number of seconds" },
	[OPT_DURATION] = { set_duration, "a duration like 500ms, 30s or 1h30m" },
};

/* Is next one of the words of an option? */
static bool is_word(const struct opt *o, const char *next)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, o->words ? o->words : "", ' ');
	return next && strv_has(&words, next);
}

static int set_value(const struct opt *o, void *args, const char *value, struct err *err)
{
	if (o->refused)
		return is_word(o, value) ? 0
					 : err_set(err, ENOTSUP, "--%s: %s", o->name, o->refused);
	if (types[o->type].set((char *)args + o->offset, value) < 0)
		return err_set(err, EINVAL, "--%s: \"%s\" is not %s", o->name, value,
			       types[o->type].what);
	return 0;
}

static bool is_flag(const struct opt *o)
{
	return o->type == OPT_BOOL || o->type == OPT_TRUE;
}

static const struct opt *find_letter(const struct opt *opts, char letter)
{
	for (const struct opt *o = opts; o && o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

static const struct opt *find_name(const struct opt *opts, const char *name, size_t len)
{
	for (const struct opt *o = opts; o && o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static int unknown_name(const struct opt *opts, const char *name, size_t len, struct err *err)
{
	auto_free char *given = mem_strn(name, len);
	auto_strv struct strv names = { 0 };
	const char *near;

	err_set(err, EINVAL, "unknown option --%s", given);
	for (const struct opt *o = opts; o && o->name; o++)
		if (o->help)
			strv_add(&names, o->name);
	near = str_nearest(given, (const char *const *)strv_args(&names));
	return near ? err_hint(err, "did you mean --%s?", near) : -EINVAL;
}

/* --name, --name=value, --name value. Returns how many of the following words it took. */
static int parse_long(struct opt_parse *p, const char *word, const char *next, struct err *err)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);
	const struct opt *o = find_name(p->opts, word, len);
	int rc;

	if (!o) {
		if (!value && str_eq(word, "help")) {
			p->help = true;
			return 0;
		}
		return unknown_name(p->opts, word, len, err);
	}
	if (value)
		return set_value(o, p->args, value + 1, err);
	if (is_flag(o))
		return set_value(o, p->args, "true", err);
	if (o->words && !o->refused && !is_word(o, next))
		return set_value(o, p->args, "true", err);
	if (!next)
		return err_set(err, EINVAL, "--%s needs a value (%s)", o->name, o->value);
	rc = set_value(o, p->args, next, err);
	return rc < 0 ? rc : 1;
}

/* -i, -it, -e K=V, -eK=V, -e=K=V: switches in a row, the last may take the rest or the next word.
 */
static int parse_short(struct opt_parse *p, const char *word, const char *next, struct err *err)
{
	int rc;

	for (; *word; word++) {
		const struct opt *o = find_letter(p->opts, *word);

		if (!o) {
			if (*word != 'h')
				return err_set(err, EINVAL, "unknown option -%c", *word);
			p->help = true;
			continue;
		}
		if (is_flag(o) && word[1] != '=') {
			rc = set_value(o, p->args, "true", err);
			if (rc < 0)
				return rc;
			continue;
		}
		if (word[1])
			return set_value(o, p->args, word + (word[1] == '=' ? 2 : 1), err);
		if (!next)
			return err_set(err, EINVAL, "-%c (--%s) needs a value (%s)", o->letter,
				       o->name, o->value);
		rc = set_value(o, p->args, next, err);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

int opt_parse(struct opt_parse *p, int *argc, char **argv, struct err *err)
{
	int n = 0;

	for (int i = 0; i < *argc; i++) {
		char *word = argv[i];
		int rc;

		/* "-" alone is a word: standard input. */
		if (word[0] != '-' || !word[1] || str_eq(word, "--")) {
			bool dashes = word[0] == '-' && word[1];

			if (!dashes)
				argv[n++] = word;
			if (!dashes && !p->stop_at_arg)
				continue;
			while (++i < *argc)
				argv[n++] = argv[i];
			break;
		}
		if (word[1] == '-')
			rc = parse_long(p, word + 2, argv[i + 1], err);
		else
			rc = parse_short(p, word + 1, argv[i + 1], err);
		if (rc < 0)
			return rc;
		i += rc;
	}
	argv[n] = NULL;
	*argc = n;
	return 0;
}

/* The option of "--name" or "-abc" that takes the next word. */
static const struct opt *takes_next(const struct opt *opts, const char *word)
{
	const struct opt *o = NULL;

	if (word[1] == '-') {
		o = find_name(opts, word + 2, strlen(word + 2));
		return o && !is_flag(o) && (!o->words || o->refused) ? o : NULL;
	}
	while (*++word && (o = find_letter(opts, *word)) && is_flag(o))
		o = NULL;
	return o && !word[1] ? o : NULL;
}

const struct opt *opt_awaits(const struct opt_parse *p, char *const *words, int *ret_args)
{
	bool is_over = false;

	*ret_args = 0;
	for (; *words; words++) {
		const struct opt *o = NULL;

		if (is_over || (*words)[0] != '-' || !(*words)[1]) {
			++*ret_args;
			is_over = is_over || p->stop_at_arg;
		} else if (str_eq(*words, "--")) {
			is_over = true;
		} else {
			o = takes_next(p->opts, *words);
		}
		if (o && !words[1])
			return o;
		words += o != NULL;
	}
	return NULL;
}

void opt_free(const struct opt *opts, void *args)
{
	for (const struct opt *o = opts; o && o->name; o++)
		if (o->type == OPT_STRV)
			strv_free(strv_at(o, args));
}

static size_t help_width(const struct opt *o)
{
	return strlen(o->name) + (o->value ? strlen(o->value) + 1 : 0);
}

void opt_help(const struct opt *opts, struct str *out)
{
	size_t width = 0;

	for (const struct opt *o = opts; o && o->name; o++)
		if (o->help && help_width(o) > width)
			width = help_width(o);
	for (const struct opt *o = opts; o && o->name; o++) {
		if (!o->help)
			continue;
		if (o->letter)
			str_addf(out, "  -%c, ", o->letter);
		else
			str_add(out, "      ");
		str_addf(out, "--%s%s%s%*s  %s\n", o->name, o->value ? " " : "",
			 o->value ? o->value : "", (int)(width - help_width(o)), "", o->help);
	}
}
