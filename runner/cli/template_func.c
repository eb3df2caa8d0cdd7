/* SPDX-License-Identifier: Apache-2.0 */
/* template_func: what a template can call, as Go's text/template and docker have it. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { WIDTH_MAX = 1024 };

bool template_is_true(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_STRING:
		return json_string_length(v) > 0;
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_REAL:
		return json_real_value(v) != 0;
	default:
		return json_is_true(v);
	}
}

static void print_object(const json_t *v, struct str *out)
{
	json_t *obj = (json_t *)(uintptr_t)v, *value;
	auto_strv struct strv keys = { 0 };
	const char *key;

	json_object_foreach(obj, key, value) strv_add(&keys, key);
	strv_sort(&keys);
	str_add(out, "map[");
	for (size_t i = 0; i < keys.n; i++) {
		str_addf(out, "%s%s:", i ? " " : "", keys.v[i]);
		template_print(json_object_get(v, keys.v[i]), out);
	}
	str_addc(out, ']');
}

void template_print(const json_t *v, struct str *out)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		print_object(v, out);
		break;
	case JSON_ARRAY:
		str_addc(out, '[');
		for (size_t i = 0; i < json_array_size(v); i++) {
			if (i)
				str_addc(out, ' ');
			template_print(json_array_get(v, i), out);
		}
		str_addc(out, ']');
		break;
	case JSON_STRING:
		str_add(out, json_string_value(v));
		break;
	case JSON_INTEGER:
		str_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		str_addf(out, "%g", json_real_value(v));
		break;
	case JSON_NULL:
		str_add(out, "<no value>");
		break;
	default:
		str_add(out, json_is_true(v) ? "true" : "false");
	}
}

static json_t *take_str(struct str *s)
{
	return json_from_str(str_get(s));
}

static char *print_alone(const json_t *v)
{
	struct str s = { 0 };

	template_print(v, &s);
	return str_take(&s);
}

/* --- functions: args are the words after the name
 * -------------------------------------------------------- */

typedef int func_fn(json_t *const *args, size_t n, json_t **ret, struct err *err);

static int f_json(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	auto_free char *text = json_dumps(args[0], JSON_COMPACT | JSON_ENCODE_ANY);

	(void)n;
	if (!text)
		return err_set(err, EINVAL, "template: json: value cannot be written");
	*ret = json_from_str(text);
	return 0;
}

static int f_index(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	json_t *v = args[0];

	for (size_t i = 1; i < n; i++) {
		const char *key = json_string_value(args[i]);
		json_int_t at = json_integer_value(args[i]);

		if (json_is_array(v) && json_is_integer(args[i])) {
			if (at < 0 || (size_t)at >= json_array_size(v))
				return err_set(err, EINVAL,
					       "template: index %" PRId64 " is out of range",
					       (int64_t)at);
			v = json_array_get(v, (size_t)at);
		} else if (key && (json_is_object(v) || json_is_null(v))) {
			v = json_object_get(v, key);
		} else {
			return err_set(err, EINVAL,
				       "template: index: neither list and number nor map and name");
		}
		if (!v) {
			*ret = json_string("");
			return 0;
		}
	}
	*ret = json_incref(v);
	return 0;
}

static int f_len(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	size_t len;

	(void)n;
	if (json_is_string(args[0]))
		len = json_string_length(args[0]);
	else if (json_is_array(args[0]))
		len = json_array_size(args[0]);
	else if (json_is_object(args[0]) || json_is_null(args[0]))
		len = json_object_size(args[0]);
	else
		return err_set(err, EINVAL, "template: len of what has none");
	*ret = json_integer((json_int_t)len);
	return 0;
}

static int f_join(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	const char *sep = json_string_value(args[1]);
	auto_str struct str out = { 0 };

	(void)n;
	if (!sep || !(json_is_array(args[0]) || json_is_null(args[0])))
		return err_set(err, EINVAL, "template: join needs a list and a separator");
	for (size_t i = 0; i < json_array_size(args[0]); i++) {
		if (i)
			str_add(&out, sep);
		template_print(json_array_get(args[0], i), &out);
	}
	*ret = take_str(&out);
	return 0;
}

static int f_split(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	const char *s = json_string_value(args[0]), *sep = json_string_value(args[1]), *end;
	auto_json json_t *list = json_array();

	(void)n;
	if (!s || !sep || !*sep)
		return err_set(err, EINVAL, "template: split needs a text and a separator");
	for (; (end = strstr(s, sep)); s = end + strlen(sep)) {
		auto_free char *part = mem_strn(s, (size_t)(end - s));

		json_array_append_new(list, json_from_str(part));
	}
	json_array_append_new(list, json_from_str(s));
	*ret = take(list);
	return 0;
}

static int map_bytes(json_t *const *args, json_t **ret, int (*fn)(int), bool first_only)
{
	auto_free char *text = print_alone(args[0]);
	bool start = true;

	for (char *p = text; *p; p++) {
		/* ASCII only: bytes of other characters stay as they are. */
		if ((unsigned char)*p < 0x80 && (!first_only || start))
			*p = (char)fn((unsigned char)*p);
		start = *p == ' ';
	}
	*ret = json_from_str(text);
	return 0;
}

static int f_upper(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	(void)n;
	(void)err;
	return map_bytes(args, ret, toupper, false);
}

static int f_lower(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	(void)n;
	(void)err;
	return map_bytes(args, ret, tolower, false);
}

static int f_title(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	(void)n;
	(void)err;
	return map_bytes(args, ret, toupper, true);
}

static int f_truncate(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	auto_free char *text = print_alone(args[0]);
	json_int_t max = json_integer_value(args[1]);

	(void)n;
	if (!json_is_integer(args[1]) || max < 0)
		return err_set(err, EINVAL, "template: truncate needs a text and a length");
	if (strlen(text) > (size_t)max)
		text[max] = 0;
	*ret = json_from_str(text);
	return 0;
}

static int f_pad(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	json_int_t before = json_integer_value(args[1]), after = json_integer_value(args[2]);
	auto_free char *text = print_alone(args[0]), *padded = NULL;

	(void)n;
	if (before < 0 || after < 0 || before > WIDTH_MAX || after > WIDTH_MAX)
		return err_set(err, EINVAL, "template: pad needs two widths up to %d", WIDTH_MAX);
	padded = mem_fmt("%*s%s%*s", (int)before, "", text, (int)after, "");
	*ret = json_from_str(*text ? padded : "");
	return 0;
}

static int f_not(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	(void)n;
	(void)err;
	*ret = json_boolean(!template_is_true(args[0]));
	return 0;
}

static int f_and(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	size_t i = 0;

	(void)err;
	while (i + 1 < n && template_is_true(args[i]))
		i++;
	*ret = json_incref(args[i]);
	return 0;
}

static int f_or(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	size_t i = 0;

	(void)err;
	while (i + 1 < n && !template_is_true(args[i]))
		i++;
	*ret = json_incref(args[i]);
	return 0;
}

static int f_eq(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	bool equal = false;

	(void)err;
	for (size_t i = 1; i < n; i++)
		equal |= json_equal(args[0], args[i]);
	*ret = json_boolean(equal);
	return 0;
}

static int f_ne(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	(void)n;
	(void)err;
	*ret = json_boolean(!json_equal(args[0], args[1]));
	return 0;
}

/* -1, 0 or 1 by *ret_order. */
static int compare(json_t *const *args, int *ret_order, struct err *err)
{
	if (json_is_string(args[0]) && json_is_string(args[1])) {
		*ret_order = strcmp(json_string_value(args[0]), json_string_value(args[1]));
		return 0;
	}
	if (json_is_integer(args[0]) && json_is_integer(args[1])) {
		json_int_t a = json_integer_value(args[0]), b = json_integer_value(args[1]);

		*ret_order = (a > b) - (a < b);
		return 0;
	}
	if (json_is_number(args[0]) && json_is_number(args[1])) {
		double a = json_number_value(args[0]), b = json_number_value(args[1]);

		*ret_order = (a > b) - (a < b);
		return 0;
	}
	return err_set(err, EINVAL, "template: these two cannot be compared");
}

#define COMPARE(name, op)                                                                          \
	static int name(json_t *const *args, size_t n, json_t **ret, struct err *err)              \
	{                                                                                          \
		int order = 0, rc = compare(args, &order, err);                                    \
                                                                                                   \
		(void)n;                                                                           \
		if (rc >= 0)                                                                       \
			*ret = json_boolean(order op 0);                                           \
		return rc;                                                                         \
	}
COMPARE(f_lt, <)
COMPARE(f_le, <=)
COMPARE(f_gt, >)
COMPARE(f_ge, >=)

static int f_print(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	auto_str struct str out = { 0 };

	(void)err;
	for (size_t i = 0; i < n; i++) {
		if (i && !json_is_string(args[i]) && !json_is_string(args[i - 1]))
			str_addc(&out, ' ');
		template_print(args[i], &out);
	}
	*ret = take_str(&out);
	return 0;
}

static int f_println(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	auto_str struct str out = { 0 };

	(void)err;
	for (size_t i = 0; i < n; i++) {
		if (i)
			str_addc(&out, ' ');
		template_print(args[i], &out);
	}
	str_addc(&out, '\n');
	*ret = take_str(&out);
	return 0;
}

/* --- printf
 * ------------------------------------------------------------------------------------------------
 */

struct verb {
	bool minus, zero, plus;
	int width, precision; /* -1: none */
	char letter;
};

static int parse_int(const char **p, int *ret)
{
	int v = 0;

	for (; isdigit((unsigned char)**p); (*p)++) {
		v = v * 10 + (**p - '0');
		if (v > WIDTH_MAX)
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

/* After '%'. */
static int parse_verb(const char **p, struct verb *v)
{
	*v = (struct verb){ .precision = -1 };
	for (; **p && strchr("-+0 #", **p); (*p)++) {
		v->minus |= **p == '-';
		v->plus |= **p == '+';
		v->zero |= **p == '0';
	}
	if (parse_int(p, &v->width) < 0)
		return -EINVAL;
	if (**p == '.') {
		(*p)++;
		if (parse_int(p, &v->precision) < 0)
			return -EINVAL;
	}
	v->letter = **p;
	if (!v->letter)
		return -EINVAL;
	(*p)++;
	return 0;
}

static char *verb_number(const struct verb *v, const json_t *arg)
{
	json_int_t i = json_integer_value(arg);

	if (v->letter == 'x')
		return mem_fmt("%" PRIx64, (uint64_t)i);
	if (v->letter == 'X')
		return mem_fmt("%" PRIX64, (uint64_t)i);
	if (v->letter == 'o')
		return mem_fmt("%" PRIo64, (uint64_t)i);
	return mem_fmt("%s%" PRId64, v->plus && i >= 0 ? "+" : "", (int64_t)i);
}

static char *verb_text(const struct verb *v, const json_t *arg)
{
	char *text;

	if (json_is_integer(arg) && strchr("dxXo", v->letter))
		return verb_number(v, arg);
	if (json_is_number(arg) && strchr("feg", v->letter))
		return mem_fmt("%.*f", v->precision < 0 ? 6 : v->precision, json_number_value(arg));
	if (v->letter == 'q' && json_is_string(arg))
		return json_dumps(arg, JSON_ENCODE_ANY);
	if (!strchr("svqt", v->letter)) {
		auto_free char *value = print_alone(arg);

		return mem_fmt("%%!%c(%s)", v->letter, value);
	}
	text = print_alone(arg);
	if (v->precision >= 0 && (size_t)v->precision < strlen(text))
		text[v->precision] = 0;
	return text;
}

static void add_padded(const struct verb *v, const char *text, struct str *out)
{
	int fill = v->width - (int)strlen(text);

	if (fill > 0 && !v->minus)
		for (int i = 0; i < fill; i++)
			str_addc(out, v->zero ? '0' : ' ');
	str_add(out, text);
	if (fill > 0 && v->minus)
		str_addf(out, "%*s", fill, "");
}

static int f_printf(json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	const char *p = json_string_value(args[0]);
	auto_str struct str out = { 0 };
	size_t next = 1;

	if (!p)
		return err_set(err, EINVAL, "template: printf needs a text first");
	while (*p) {
		auto_free char *text = NULL;
		struct verb v;

		if (*p != '%' || p[1] == '%') {
			str_addc(&out, *p);
			p += *p == '%' ? 2 : 1;
			continue;
		}
		p++;
		if (parse_verb(&p, &v) < 0)
			return err_set(err, EINVAL, "template: printf: bad format");
		text = next < n ? verb_text(&v, args[next]) : mem_fmt("%%!%c(MISSING)", v.letter);
		next++;
		add_padded(&v, text, &out);
	}
	*ret = take_str(&out);
	return 0;
}

/* --- the table
 * --------------------------------------------------------------------------------------------- */

static const struct func {
	const char *name;
	size_t min, max; /* max 0: any number */
	func_fn *fn;
} funcs[] = {
	{ "json", 1, 1, f_json },     { "index", 1, 0, f_index }, { "len", 1, 1, f_len },
	{ "join", 2, 2, f_join },     { "split", 2, 2, f_split }, { "upper", 1, 1, f_upper },
	{ "lower", 1, 1, f_lower },   { "title", 1, 1, f_title }, { "truncate", 2, 2, f_truncate },
	{ "pad", 3, 3, f_pad },       { "not", 1, 1, f_not },     { "and", 1, 0, f_and },
	{ "or", 1, 0, f_or },         { "eq", 2, 0, f_eq },       { "ne", 2, 2, f_ne },
	{ "lt", 2, 2, f_lt },         { "le", 2, 2, f_le },       { "gt", 2, 2, f_gt },
	{ "ge", 2, 2, f_ge },         { "print", 0, 0, f_print }, { "println", 0, 0, f_println },
	{ "printf", 1, 0, f_printf },
};

static const struct func *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(funcs); i++)
		if (str_eq(funcs[i].name, name))
			return &funcs[i];
	return NULL;
}

bool template_has_func(const char *name)
{
	return find(name) != NULL;
}

int template_call(const char *name, json_t *const *args, size_t n, json_t **ret, struct err *err)
{
	const struct func *f = find(name);

	if (!f)
		return err_set(err, EINVAL, "template: there is no function %s", name);
	if (n < f->min || (f->max && n > f->max))
		return err_set(err, EINVAL, "template: %s: wrong number of arguments (%zu)", name,
			       n);
	return f->fn(args, n, ret, err);
}
