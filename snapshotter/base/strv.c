/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/str.h>

void strv_free(struct strv *l)
{
	for (size_t i = 0; i < l->n; i++)
		mem_cleanup(&l->v[i]);
	mem_cleanup(&l->v);
	*l = (struct strv){ 0 };
}

void strv_add_take(struct strv *l, char *s)
{
	if (l->n + 1 >= l->cap) {
		l->cap = l->cap ? l->cap * 2 : 8;
		l->v = mem_grow(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = s;
	l->v[l->n] = NULL;
}

void strv_add(struct strv *l, const char *s)
{
	strv_add_take(l, mem_str(s));
}

void strv_addf(struct strv *l, const char *fmt, ...)
{
	struct str b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	str_vaddf(&b, fmt, ap);
	va_end(ap);
	strv_add_take(l, str_take(&b));
}

void strv_copy(struct strv *to, const struct strv *from)
{
	struct strv l = { 0 };

	for (size_t i = 0; i < from->n; i++)
		strv_add(&l, from->v[i]);
	strv_free(to);
	*to = l;
}

bool strv_has(const struct strv *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i], s))
			return true;
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), by_bytes);
}

bool strv_sorted_has(const struct strv *l, const char *s)
{
	return l->n && bsearch(&s, l->v, l->n, sizeof(*l->v), by_bytes);
}

void strv_remove(struct strv *l, size_t i)
{
	mem_cleanup(&l->v[i]);
	memmove(l->v + i, l->v + i + 1, (l->n - i) * sizeof(*l->v));
	l->n--;
}

void strv_split(struct strv *l, const char *s, char sep)
{
	while (*s) {
		const char *end = strchr(s, sep);

		strv_add_take(l, end ? mem_strn(s, (size_t)(end - s)) : mem_str(s));
		if (!end)
			return;
		s = end + 1;
		if (!*s)
			strv_add(l, "");
	}
}

char **strv_args(struct strv *l)
{
	if (!l->v) {
		l->cap = 8;
		l->v = mem_array(l->cap, sizeof(*l->v));
	}
	return l->v;
}

static size_t env_index(const struct strv *l, const char *name)
{
	size_t len = strlen(name), i;

	for (i = 0; i < l->n; i++)
		if (!strncmp(l->v[i], name, len) && l->v[i][len] == '=')
			break;
	return i;
}

const char *strv_env_get(const struct strv *l, const char *name)
{
	size_t i = env_index(l, name);

	return i < l->n ? l->v[i] + strlen(name) + 1 : NULL;
}

void strv_env_set(struct strv *l, const char *name, const char *value)
{
	size_t i = env_index(l, name);
	char *s = mem_fmt("%s=%s", name, value);

	if (i == l->n) {
		strv_add_take(l, s);
		return;
	}
	mem_cleanup(&l->v[i]);
	l->v[i] = s;
}
