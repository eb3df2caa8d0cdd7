/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/json.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void json_cleanup(json_t **j)
{
	int saved = errno;

	json_decref(*j);
	*j = NULL;
	errno = saved;
}

/*
 * Two bytes of text may become two hundred of memory, and depth is stack: both are counted before
 * anything is made of them. What is no JSON counts too; that is for the parser to say.
 */
static int check_shape(const char *text, size_t len, struct err *err)
{
	size_t values = 0, depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			i += c == '\\';
			in_string = c != '"';
			continue;
		}
		in_string = c == '"';
		values += c == ',' || c == '[' || c == '{';
		depth += c == '[' || c == '{';
		depth -= depth && (c == ']' || c == '}');
		if (depth > JSON_DEPTH_MAX)
			return err_set(err, EINVAL, "JSON deeper than %d", JSON_DEPTH_MAX);
	}
	if (values > JSON_VALUES_MAX)
		return err_set(err, EFBIG, "JSON of more than %d values", JSON_VALUES_MAX);
	return 0;
}

int json_parse(const char *text, size_t len, json_t **ret, struct err *err)
{
	json_error_t why;
	int rc;

	if (len > JSON_BYTES_MAX)
		return err_set(err, EFBIG, "JSON larger than %d bytes", JSON_BYTES_MAX);
	rc = check_shape(text, len, err);
	if (rc < 0)
		return rc;
	*ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		return err_set(err, EINVAL, "JSON, line %d: %s", why.line, why.text);
	return 0;
}

static char *dump(const json_t *j, size_t flags)
{
	auto_free char *s = json_dumps(j, flags | JSON_ENCODE_ANY);

	return s ? take(s) : mem_str("null");
}

char *json_text(const json_t *j)
{
	return dump(j, JSON_COMPACT);
}

char *json_text_indent(const json_t *j)
{
	return dump(j, JSON_INDENT(4));
}

const char *json_get_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_get_bool(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

void json_get_strv(const json_t *obj, const char *key, struct strv *ret)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(obj, key), i, v) if (json_is_string(v))
		strv_add(ret, json_string_value(v));
}

void json_get_keys(const json_t *obj, const char *key, struct strv *ret)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_object_get(obj, key), name, v) strv_add(ret, name);
}

/* Bytes that are no UTF-8 become U+FFFD one by one: JSON cannot hold them. */
json_t *json_from_str(const char *s)
{
	static const char bad[] = "\xef\xbf\xbd";
	json_t *j = json_string(s);
	auto_str struct str b = { 0 };

	if (j)
		return j;
	while (*s) {
		size_t n;

		for (n = 4; n > 0; n--) {
			json_t *one = strnlen(s, n) == n ? json_stringn(s, n) : NULL;

			json_decref(one);
			if (one)
				break;
		}
		if (n)
			str_addn(&b, s, n);
		else
			str_add(&b, bad);
		s += n ? n : 1;
	}
	return json_string(str_get(&b));
}

void json_set_str(json_t *obj, const char *key, const char *v)
{
	if (v && *v)
		json_object_set_new(obj, key, json_from_str(v));
}

void json_set_strv(json_t *obj, const char *key, const struct strv *v)
{
	json_t *a;

	if (!v->n)
		return;
	a = json_array();
	for (size_t i = 0; i < v->n; i++)
		json_array_append_new(a, json_from_str(v->v[i]));
	json_object_set_new(obj, key, a);
}
