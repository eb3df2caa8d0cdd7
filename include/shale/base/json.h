/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json: jansson with limits (bytes, values, depth) and our error idiom.
 * Getters return NULL, 0 or the default when a key is missing or of another type; they never fail.
 */
#ifndef SHALE_BASE_JSON_H
#define SHALE_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

enum { JSON_BYTES_MAX = 4 << 20, JSON_VALUES_MAX = 100000, JSON_DEPTH_MAX = 64 };

#define auto_json cleanup(json_cleanup)
void json_cleanup(json_t **j);

/* Duplicate keys are refused (-EINVAL). The caller owns *ret. */
int json_parse(const char *text, size_t len, json_t **ret, struct err *err);
/* Compact, keys in the order they were set. The caller owns the string. */
char *json_text(const json_t *j);
char *json_text_indent(const json_t *j);

const char *json_get_str(const json_t *obj, const char *key);
int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback);
bool json_get_bool(const json_t *obj, const char *key);
/* Strings of an array, appended to ret; other elements are skipped. */
void json_get_strv(const json_t *obj, const char *key, struct strv *ret);
/* Keys ("a" of {"a":..}) of an object. */
void json_get_keys(const json_t *obj, const char *key, struct strv *ret);
/* Sets only when v is not NULL / not empty. Bytes that are no UTF-8 are replaced by U+FFFD. */
void json_set_str(json_t *obj, const char *key, const char *v);
void json_set_strv(json_t *obj, const char *key, const struct strv *v);
json_t *json_from_str(const char *s); /* never NULL: invalid UTF-8 is replaced */

#endif
