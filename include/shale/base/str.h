/* SPDX-License-Identifier: Apache-2.0 */
/* str: growing strings, string lists, strict number parsing. */
#ifndef SHALE_BASE_STR_H
#define SHALE_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

/* A growing byte string, always NUL-terminated once something was added. All-zero is empty. */
struct str {
	char *s;
	size_t len, cap;
};

#define auto_str cleanup(str_free)
void str_free(struct str *b);
void str_add(struct str *b, const char *s);
void str_addn(struct str *b, const void *p, size_t n);
void str_addc(struct str *b, char c);
void str_addf(struct str *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vaddf(struct str *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void str_reset(struct str *b); /* empty again, memory kept */
char *str_take(struct str *b); /* the string ("" if empty), owned by the caller; b is empty */
const char *str_get(const struct str *b); /* "" if empty */

/* A list of owned strings; v is NULL-terminated as soon as n > 0 (strv_args() gives an argv in any
 * case). */
struct strv {
	char **v;
	size_t n, cap;
};

#define auto_strv cleanup(strv_free)
void strv_free(struct strv *l);
void strv_add(struct strv *l, const char *s);
void strv_add_take(struct strv *l, char *s);
void strv_addf(struct strv *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strv_copy(struct strv *to, const struct strv *from); /* replaces */
bool strv_has(const struct strv *l, const char *s);
void strv_sort(struct strv *l);                            /* bytewise */
bool strv_sorted_has(const struct strv *l, const char *s); /* of a sorted one */
void strv_remove(struct strv *l, size_t i);
void strv_split(struct strv *l, const char *s, char sep); /* empty fields are kept, "" gives none */
char **strv_args(struct strv *l);

/* "K=V" lists: the value of K or NULL; set replaces in place or appends. */
const char *strv_env_get(const struct strv *l, const char *name);
void strv_env_set(struct strv *l, const char *name, const char *value);

bool str_eq(const char *a, const char *b); /* two NULLs are equal */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
char *str_trim(char *s); /* in place: blanks at both ends */
/* For "did you mean": letters that are added, missing, others or swapped with the next. */
size_t str_distance(const char *a, const char *b);

/* The nearest of list (NULL-terminated) within a third of its letters (but one), or NULL. */
const char *str_nearest(const char *s, const char *const *list);

/* Whole string, base 10 (or 8), no sign, no blanks, <= max; 0 or -EINVAL without an err. */
int str_to_u64(const char *s, unsigned base, uint64_t max, uint64_t *ret);

void str_add_base64(struct str *b, const char *s, size_t n);
/* The bytes, and a NUL after them; the caller owns them. 0 or -EINVAL. */
int str_from_base64(const char *s, char **ret, size_t *ret_len);

/* "512", "64k", "1g", "1.5GiB": bytes, as Docker reads them. 0 or -EINVAL. */
int str_to_bytes(const char *s, uint64_t *ret);

/* "1h30m", "500ms", "1.5s": nanoseconds, as Go's time.ParseDuration. 0 or -EINVAL. */
int str_to_duration(const char *s, int64_t *ret_ns);

/* Decimal units as Docker prints: "0B", "1.23kB", "45.6MB". */
#define STR_SIZE_MAX 32
const char *str_size(uint64_t bytes, char buf[STR_SIZE_MAX]);

#endif
