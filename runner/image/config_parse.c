/* SPDX-License-Identifier: Apache-2.0 */
/* Image configs as others write them. Hostile: every list has a limit, digests are parsed strictly
 * (TRAPS T17, T19). */
#include <shale/image.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "priv.h"

#define TIME_LAST_S INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

enum { LIST_MAX = 10000, HISTORY_MAX = 10000 };

static int two_digits(const char *s)
{
	if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return -1;
	return (s[0] - '0') * 10 + s[1] - '0';
}

/* ".123456789" is skipped; then "Z" or "+hh:mm". */
static int parse_zone(const char *s, int64_t *ret_offset_s)
{
	int64_t hours, minutes;

	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	*ret_offset_s = 0;
	if (!strcmp(s, "Z") || !strcmp(s, "z"))
		return 0;
	if (strlen(s) != strlen("+hh:mm") || s[3] != ':' || (s[0] != '+' && s[0] != '-'))
		return -EINVAL;
	hours = two_digits(s + 1);
	minutes = two_digits(s + 4);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*ret_offset_s = (hours * 60 + minutes) * (s[0] == '-' ? -60 : 60);
	return 0;
}

/* RFC 3339. What cannot be read counts as no time at all: Docker writes 0001-01-01 for that. */
static int64_t parse_time(const char *s)
{
	struct tm tm = { 0 };
	int64_t offset_s;
	const char *end = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	time_t t;

	if (!end || parse_zone(end, &offset_s) < 0)
		return 0;
	t = timegm(&tm) - (time_t)offset_s;
	/* What a zone shifts out of the years that can be written is no time either. */
	return t < 0 || t > TIME_LAST_S ? 0 : (int64_t)t;
}

static int check_count(const json_t *v, const char *key, struct err *err)
{
	size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);

	return n > LIST_MAX ? err_set(err, EINVAL, "%s has %zu elements", key, n) : 0;
}

static int get_list(const json_t *obj, const char *key, struct strv *ret, struct err *err)
{
	int rc = check_count(json_object_get(obj, key), key, err);

	if (rc >= 0)
		json_get_strv(obj, key, ret);
	return rc;
}

/* Cmd and Entrypoint: old writers gave one string instead of a list. */
static int get_command(const json_t *obj, const char *key, struct strv *ret, bool *ret_set,
		       struct err *err)
{
	const json_t *v = json_object_get(obj, key);

	if (json_is_string(v))
		strv_add(ret, json_string_value(v));
	*ret_set = json_is_string(v) || json_is_array(v);
	return get_list(obj, key, ret, err);
}

static int get_keys(const json_t *obj, const char *key, struct strv *ret, struct err *err)
{
	int rc = check_count(json_object_get(obj, key), key, err);

	if (rc >= 0)
		json_get_keys(obj, key, ret);
	return rc;
}

static int get_labels(json_t *obj, struct strv *ret, struct err *err)
{
	json_t *labels = json_object_get(obj, "Labels"), *v;
	const char *name;
	int rc = check_count(labels, "Labels", err);

	if (rc < 0)
		return rc;
	json_object_foreach(labels, name, v)
	{
		/* "k=v" lists cannot hold such a name. */
		if (strchr(name, '='))
			return err_set(err, EINVAL, "label '%.60s': '=' in a name", name);
		if (json_is_string(v))
			strv_addf(ret, "%s=%s", name, json_string_value(v));
	}
	return 0;
}

static void get_health(const json_t *obj, struct image_health *h)
{
	const json_t *o = json_object_get(obj, "Healthcheck");

	if (!json_is_object(o))
		return;
	h->set = true;
	json_get_strv(o, "Test", &h->test);
	h->interval_ns = json_get_int(o, "Interval", 0);
	h->timeout_ns = json_get_int(o, "Timeout", 0);
	h->start_period_ns = json_get_int(o, "StartPeriod", 0);
	h->start_interval_ns = json_get_int(o, "StartInterval", 0);
	h->retries = json_get_int(o, "Retries", 0);
}

static int get_execution(json_t *o, struct image_config *c, struct err *err)
{
	int rc;

	if (o && !json_is_object(o) && !json_is_null(o))
		return err_set(err, EINVAL, "'config' is no object");
	c->user = mem_str(json_get_str(o, "User"));
	c->workdir = mem_str(json_get_str(o, "WorkingDir"));
	c->stop_signal = mem_str(json_get_str(o, "StopSignal"));
	rc = get_list(o, "Env", &c->env, err);
	if (rc >= 0)
		rc = get_command(o, "Entrypoint", &c->entrypoint, &c->entrypoint_set, err);
	if (rc >= 0)
		rc = get_command(o, "Cmd", &c->cmd, &c->cmd_set, err);
	if (rc >= 0)
		rc = get_keys(o, "ExposedPorts", &c->exposed, err);
	if (rc >= 0)
		rc = get_keys(o, "Volumes", &c->volumes, err);
	if (rc >= 0)
		rc = get_list(o, "OnBuild", &c->onbuild, err);
	if (rc >= 0)
		rc = get_list(o, "Shell", &c->shell, err);
	if (rc >= 0)
		rc = get_labels(o, &c->labels, err);
	if (rc >= 0)
		get_health(o, &c->health);
	return rc;
}

static int get_rootfs(const json_t *o, struct image_config *c, struct err *err)
{
	const char *type = json_get_str(o, "type");
	const json_t *ids = json_object_get(o, "diff_ids");
	struct digest ignored;
	int rc = 0;

	if (type && strcmp(type, "layers") != 0)
		return err_set(err, EINVAL, "rootfs of type '%.40s'", type);
	if (json_array_size(ids) > IMAGE_LAYERS_MAX)
		return err_set(err, EINVAL, "%zu layers, at most %d can be used",
			       json_array_size(ids), IMAGE_LAYERS_MAX);
	json_get_strv(o, "diff_ids", &c->diff_ids);
	if (c->diff_ids.n != json_array_size(ids))
		return err_set(err, EINVAL, "a DiffID that is no string");
	for (size_t i = 0; rc >= 0 && i < c->diff_ids.n; i++)
		rc = digest_parse(c->diff_ids.v[i], &ignored, err);
	return rc < 0 ? err_ctx(err, "DiffID") : 0;
}

static int get_history(const json_t *a, struct image_config *c, struct err *err)
{
	const json_t *o;
	size_t i;

	if (json_array_size(a) > HISTORY_MAX)
		return err_set(err, EINVAL, "a history of %zu rows", json_array_size(a));
	json_array_foreach(a, i, o)
	{
		struct image_history *h = image_config_add_history(
			c, parse_time(json_get_str(o, "created")), json_get_str(o, "created_by"),
			json_get_bool(o, "empty_layer"));

		h->comment = mem_str(json_get_str(o, "comment"));
		h->author = mem_str(json_get_str(o, "author"));
	}
	return 0;
}

int image_config_parse(const char *text, size_t len, struct image_config **ret, struct err *err)
{
	auto_image_config struct image_config *c = mem_alloc(sizeof(*c));
	auto_json json_t *o = NULL;
	int rc;

	rc = json_parse(text, len, &o, err);
	if (rc >= 0 && !json_is_object(o))
		rc = err_set(err, EINVAL, "not a JSON object");
	if (rc >= 0)
		rc = get_execution(json_object_get(o, "config"), c, err);
	if (rc >= 0)
		rc = get_rootfs(json_object_get(o, "rootfs"), c, err);
	if (rc >= 0)
		rc = get_history(json_object_get(o, "history"), c, err);
	if (rc < 0)
		return err_ctx(err, "image config");
	c->architecture = mem_str(json_get_str(o, "architecture"));
	c->os = mem_str(json_get_str(o, "os"));
	c->variant = mem_str(json_get_str(o, "variant"));
	c->author = mem_str(json_get_str(o, "author"));
	c->created_s = parse_time(json_get_str(o, "created"));
	*ret = take(c);
	return 0;
}

int image_config_of(const struct image *img, struct image_config **ret, struct err *err)
{
	auto_image_config struct image_config *c = NULL;
	auto_json json_t *steps = NULL;
	struct err ignored = { 0 };
	int rc;

	rc = image_config_parse(img->config, strlen(img->config), &c, err);
	if (rc < 0 || !c)
		return rc;
	/* Of one length, unless someone else wrote the row. */
	if (img->history && json_parse(img->history, strlen(img->history), &steps, &ignored) == 0)
		for (size_t i = 0; i < c->n_history && i < json_array_size(steps); i++) {
			const char *id = json_string_value(json_array_get(steps, i));

			c->history[i].step_id = id && *id ? mem_str(id) : NULL;
		}
	*ret = take(c);
	return 0;
}
