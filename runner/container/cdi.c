/* SPDX-License-Identifier: Apache-2.0 */
/* --device by a CDI name, and --gpus: what the vendor's file says becomes part of the spec. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>

#include <shale/base/cdi.h>
#include <shale/base/json.h>

#include "priv.h"

#define GPU_KIND "nvidia.com/gpu"
enum { GPUS_MAX = 64 };

static int add_node(struct container_spec *to, const json_t *node, struct err *err)
{
	const char *path = json_get_str(node, "path"), *host = json_get_str(node, "hostPath"),
		   *access = json_get_str(node, "permissions");
	auto_free char *text = NULL;
	char *mount = NULL;
	int rc;

	if (!path)
		return err_set(err, EINVAL, "deviceNodes: no path");
	text = mem_fmt("%s:%s%s%s", host ? host : path, path, access ? ":" : "",
		       access ? access : "");
	rc = container_device_parse(text, &mount, err);
	if (rc >= 0)
		strv_add_take(&to->mounts, mount);
	return rc;
}

static int set_option(json_t *to, const char *o, struct err *err)
{
	static const char *const nothing[] = { "rw",    "bind",   "private",  "rprivate",
					       "slave", "rslave", "relatime", "nodiratime",
					       "nodev", "rbind" };
	static const char *const flags[][2] = { { "ro", "read_only" },
						{ "nosuid", "nosuid" },
						{ "noexec", "noexec" } };

	for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
		if (str_eq(o, nothing[i]))
			return 0;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (str_eq(o, flags[i][0]))
			return json_object_set_new(to, flags[i][1], json_true());
	return err_set(err, ENOTSUP, "mounts: option %.60s", o);
}

static int add_bind(struct container_spec *to, const json_t *mount, struct err *err)
{
	const char *host = json_get_str(mount, "hostPath"),
		   *path = json_get_str(mount, "containerPath"),
		   *type = json_get_str(mount, "type");
	auto_json json_t *j = json_object();
	auto_strv struct strv options = { 0 };
	int rc = 0;

	if (!host || !path || *host != '/' || *path != '/')
		return err_set(err, EINVAL, "mounts: no hostPath or containerPath");
	if (type && !str_eq(type, "bind"))
		return err_set(err, ENOTSUP, "mounts: type %.60s", type);
	json_set_str(j, "type", "bind");
	json_set_str(j, "source", host);
	json_set_str(j, "target", path);
	json_get_strv(mount, "options", &options);
	if (!strv_has(&options, "rbind"))
		json_object_set_new(j, "flat", json_true());
	for (size_t i = 0; i < options.n && rc >= 0; i++)
		rc = set_option(j, options.v[i], err);
	if (rc >= 0)
		strv_add_take(&to->mounts, json_text(j));
	return rc;
}

static int add_edits(struct container_spec *to, const json_t *edits, struct err *err)
{
	static const char *const known[] = { "env", "deviceNodes", "mounts", "additionalGids",
					     NULL };
	const json_t *one;
	size_t i;
	int rc = cdi_only(edits, known, err);

	if (rc < 0 && json_object_get(edits, "hooks"))
		return err_hint(err, "nvidia-ctk cdi generate has --disable-hook=all");
	json_get_strv(edits, "env", &to->env);
	json_array_foreach(json_object_get(edits, "deviceNodes"), i, one)
	{
		if (rc >= 0)
			rc = add_node(to, one, err);
	}
	json_array_foreach(json_object_get(edits, "mounts"), i, one)
	{
		if (rc >= 0)
			rc = add_bind(to, one, err);
	}
	json_array_foreach(json_object_get(edits, "additionalGids"), i, one)
	{
		if (json_integer_value(one) > 0)
			strv_addf(&to->groups, "%lld", (long long)json_integer_value(one));
	}
	return rc;
}

static int add_device(struct container_spec *to, const char *name, struct err *err)
{
	auto_json json_t *all = NULL;
	const json_t *edits;
	size_t i;
	int rc = cdi_find(name, &all, err);

	json_array_foreach(all, i, edits)
	{
		if (rc >= 0)
			rc = add_edits(to, edits, err);
	}
	if (rc >= 0)
		strv_add(&to->cdi, name);
	return rc;
}

int container_device_add(struct container_spec *to, const char *text, struct err *err)
{
	char *mount = NULL;
	int rc;

	if (cdi_is_name(text)) {
		rc = add_device(to, text, err);
		return rc < 0 ? err_ctx(err, "--device %.100s", text) : 0;
	}
	rc = container_device_parse(text, &mount, err);
	if (rc >= 0)
		strv_add_take(&to->mounts, mount);
	return rc;
}

/* --- --gpus: all, N, "device=0,2" --- */

/* Fields of a CSV line; quotes only keep commas. */
static void split_fields(const char *text, struct strv *ret)
{
	auto_str struct str field = { 0 };
	bool quoted = false;

	for (;; text++) {
		if (!*text || (*text == ',' && !quoted)) {
			strv_add(ret, str_get(&field));
			str_reset(&field);
		}
		if (!*text)
			return;
		if (*text == '"')
			quoted = !quoted;
		else if (*text != ',' || quoted)
			str_addc(&field, *text);
	}
}

static int add_names(const char *list, struct strv *ret, struct err *err)
{
	auto_strv struct strv ids = { 0 };

	strv_split(&ids, list, ',');
	if (!ids.n)
		return err_set(err, EINVAL, "device= names no GPU");
	for (size_t i = 0; i < ids.n; i++) {
		auto_free char *name = mem_fmt(GPU_KIND "=%s", ids.v[i]);

		if (!cdi_is_name(name) || str_eq(ids.v[i], "*"))
			return err_set(err, EINVAL, "'%.40s' is no GPU", ids.v[i]);
		strv_add(ret, name);
	}
	return 0;
}

static int add_count(const char *text, struct strv *ret, struct err *err)
{
	uint64_t n = 0;

	if (str_eq(text, "all") || str_eq(text, "-1")) {
		strv_add(ret, GPU_KIND "=all");
		return 0;
	}
	if (str_to_u64(text, 10, GPUS_MAX, &n) < 0)
		return err_set(err, EINVAL, "want all, a number, or device=ID,ID");
	for (uint64_t i = 0; i < n; i++)
		strv_addf(ret, GPU_KIND "=%u", (unsigned)i);
	return 0;
}

/* What they can do (capabilities) the vendor's file says, not who asks. */
static int gpu_field(const char *field, struct strv *ret, struct err *err)
{
	if (str_starts(field, "device="))
		return add_names(field + strlen("device="), ret, err);
	if (str_starts(field, "count="))
		return add_count(field + strlen("count="), ret, err);
	if (str_starts(field, "capabilities=") || str_eq(field, "driver=nvidia") ||
	    str_eq(field, "driver=cdi") || str_eq(field, "driver="))
		return 0;
	if (strchr(field, '='))
		return err_set(err, ENOTSUP,
			       "'%.40s' is not done: device=, count=, capabilities= and "
			       "driver=nvidia are",
			       field);
	return add_count(field, ret, err);
}

int container_gpus_add(struct container_spec *to, const char *text, struct err *err)
{
	auto_strv struct strv fields = { 0 }, names = { 0 };
	int rc = 0;

	split_fields(text, &fields);
	for (size_t i = 0; i < fields.n && rc >= 0; i++)
		rc = gpu_field(fields.v[i], &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		rc = add_device(to, names.v[i], err);
		if (rc == -ENOENT) {
			err_ctx(err, "--gpus %.60s: %s", text, names.v[i]);
			return err_hint(err, "nvidia-ctk cdi generate --format=json "
					     "--output=/etc/cdi/nvidia.json makes it");
		}
	}
	return rc < 0 ? err_ctx(err, "--gpus %.60s", text) : 0;
}
