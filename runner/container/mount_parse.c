/* SPDX-License-Identifier: Apache-2.0 */
/* --mount and --volumes-from: words become the mounts of a spec. Pure. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>

#include <shale/base/json.h>
#include <shale/base/path.h>

#include "priv.h"

enum field_kind { TEXT, FLAG, PATH, BYTES, MODE, NUMBER };

/* What each type takes, under which names, and what it is in the spec. */
static const struct field {
	const char *type; /* NULL: all */
	const char *names;
	const char *key;
	enum field_kind kind;
} fields[] = {
	{ NULL, "target dst destination", "target", PATH },
	{ NULL, "readonly ro", "read_only", FLAG },
	{ "bind", "source src", "source", PATH },
	{ "bind", "bind-propagation", "propagation", TEXT },
	{ "bind", "idmap", "idmap", FLAG },
	{ "bind", "U chown", "chown", FLAG },
	{ "bind", "bind-nonrecursive", "flat", FLAG },
	{ "bind", "bind-recursive", "recursive", TEXT },
	{ "volume", "source src", "name", TEXT },
	{ "volume", "volume-nocopy", "no_copy", FLAG },
	{ "volume", "U chown", "chown", FLAG },
	{ "volume", "volume-subpath", "subpath", TEXT },
	{ "tmpfs", "tmpfs-size", "size", BYTES },
	{ "tmpfs", "tmpfs-mode", "mode", MODE },
	{ "image", "source src", "image", TEXT },
	{ "image", "image-subpath subpath", "source", TEXT },
	{ "cache", "id", "id", TEXT },
	{ "cache", "source src", "source", TEXT },
	{ "cache", "sharing", "sharing", TEXT },
	{ "cache", "mode", "mode", MODE },
	{ "cache", "uid", "uid", NUMBER },
	{ "cache", "gid", "gid", NUMBER },
};

static bool has_name(const char *names, const char *name)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, names, ' ');
	return strv_has(&words, name);
}

static const struct field *find_field(const char *type, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if ((!fields[i].type || str_eq(fields[i].type, type)) &&
		    has_name(fields[i].names, name))
			return &fields[i];
	return NULL;
}

static int bad(const char *text, const char *word, const char *want, struct err *err)
{
	return err_set(err, EINVAL, "--mount %s: '%s': want %s", text, word, want);
}

static int set_number(json_t *j, const struct field *f, const char *value)
{
	uint64_t v;
	int rc = f->kind == BYTES ? str_to_bytes(value, &v)
				  : str_to_u64(value, f->kind == MODE ? 8 : 10,
					       f->kind == MODE ? 07777 : UINT32_MAX - 1, &v);

	if (rc >= 0)
		json_object_set_new(j, f->key, json_integer((json_int_t)v));
	return rc;
}

static int set_flag(json_t *j, const struct field *f, const char *value)
{
	bool yes = !value || str_eq(value, "true") || str_eq(value, "1");

	if (!yes && !str_eq(value, "false") && !str_eq(value, "0"))
		return -EINVAL;
	if (yes)
		json_object_set_new(j, f->key, json_true());
	return 0;
}

static int set_word(json_t *j, const char *type, const char *text, const char *word,
		    struct err *err)
{
	const char *eq = strchr(word, '=');
	auto_free char *name = mem_strn(word, eq ? (size_t)(eq - word) : strlen(word));
	const struct field *f = find_field(type, name);

	if (str_eq(name, "type") || str_eq(name, "consistency"))
		return 0;
	if (!f)
		return err_set(err, EINVAL, "--mount %s: type %s has no field '%s'", text, type,
			       name);
	if (f->kind == FLAG)
		return set_flag(j, f, eq ? eq + 1 : NULL) < 0
			       ? bad(text, word, "true or false", err)
			       : 0;
	if (!eq || !eq[1])
		return bad(text, word, "a value", err);
	if (f->kind == PATH && eq[1] != '/')
		return bad(text, word, "an absolute path", err);
	if (f->kind >= BYTES)
		return set_number(j, f, eq + 1) < 0 ? bad(text, word, "a number", err) : 0;
	json_set_str(j, f->key, eq + 1);
	return 0;
}

/* --- what is wrong with the whole --- */

static int finish_bind(json_t *j, const char *text, struct err *err)
{
	const char *recursive = json_get_str(j, "recursive"),
		   *propagation = json_get_str(j, "propagation");
	uint64_t ignored;

	if (!json_get_str(j, "source"))
		return bad(text, "source", "the host's path", err);
	if (propagation && container_propagation_find(propagation, &ignored) < 0)
		return bad(text, propagation, "[r]private, [r]slave or [r]shared", err);
	if (str_eq(recursive, "disabled"))
		json_object_set_new(j, "flat", json_true());
	else if (recursive && !str_eq(recursive, "enabled") && !str_eq(recursive, "readonly"))
		return bad(text, recursive,
			   "enabled, readonly (read-only is recursive) or disabled", err);
	json_object_del(j, "recursive");
	return 0;
}

static int finish_volume(json_t *j, const char *text, struct err *err)
{
	const char *name = json_get_str(j, "name");
	struct container_volume v = { .is_named = true };
	auto_free char *made = NULL;
	auto_json json_t *other = NULL;

	if (name)
		return container_name_valid(name)
			       ? 0
			       : bad(text, name, "a name of [a-zA-Z0-9][a-zA-Z0-9_.-]", err);
	made = container_volume_mount(&v);
	if (json_parse(made, strlen(made), &other, err) < 0)
		return -err->code;
	json_set_str(j, "name", json_get_str(other, "name"));
	json_object_set_new(j, "anonymous", json_true());
	return 0;
}

static int finish_tmpfs(json_t *j, const char *text, struct err *err)
{
	int64_t size = json_get_int(j, "size", 0), mode = json_get_int(j, "mode", 01777);
	auto_free char *data = mem_fmt("mode=%o", (unsigned)mode);
	auto_free char *both = size ? mem_fmt("%s,size=%lld", data, (long long)size) : NULL;

	(void)text, (void)err;
	json_set_str(j, "data", both ? both : data);
	return 0;
}

static int finish_image(json_t *j, const char *text, struct err *err)
{
	return json_get_str(j, "image") ? 0 : bad(text, "source", "an image", err);
}

/* As RUN --mount=type=cache: by its target when it has no id. */
static int finish_cache(json_t *j, const char *text, struct err *err)
{
	const char *sharing = json_get_str(j, "sharing");

	if (sharing && !str_eq(sharing, "shared") && !str_eq(sharing, "private") &&
	    !str_eq(sharing, "locked"))
		return bad(text, sharing, "shared, private or locked", err);
	if (!json_get_str(j, "id"))
		json_set_str(j, "id", json_get_str(j, "target"));
	return 0;
}

static const struct {
	const char *name;
	int (*finish)(json_t *j, const char *text, struct err *err);
} types[] = { { "bind", finish_bind },
	      { "volume", finish_volume },
	      { "tmpfs", finish_tmpfs },
	      { "image", finish_image },
	      { "cache", finish_cache } };

static int find_type(const struct strv *words, const char *text, size_t *ret, struct err *err)
{
	const char *type = strv_env_get(words, "type");

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(types[i].name, type ? type : "volume")) {
			*ret = i;
			return 0;
		}
	return bad(text, type, "type bind, volume, tmpfs, image or cache", err);
}

int container_mount_parse(const char *text, char **ret, struct err *err)
{
	auto_strv struct strv words = { 0 };
	auto_json json_t *j = json_object();
	auto_free char *target = NULL;
	size_t t = 0;
	int rc;

	strv_split(&words, text, ',');
	rc = find_type(&words, text, &t, err);
	if (rc >= 0)
		json_set_str(j, "type", types[t].name);
	for (size_t i = 0; rc >= 0 && i < words.n; i++)
		rc = set_word(j, types[t].name, text, words.v[i], err);
	if (rc >= 0 && !json_get_str(j, "target"))
		rc = bad(text, "target", "a path in the container", err);
	if (rc < 0)
		return rc;
	target = path_clean(json_get_str(j, "target"));
	json_set_str(j, "target", target);
	if (str_eq(target, "/"))
		return bad(text, "target", "another path than the container's root", err);
	rc = types[t].finish(j, text, err);
	if (rc < 0)
		return rc;
	*ret = json_text(j);
	return 0;
}

/* "HOST[:PATH[:rwm]]" */
int container_device_parse(const char *text, char **ret, struct err *err)
{
	auto_strv struct strv parts = { 0 };
	auto_json json_t *j = json_object();
	const char *target;
	unsigned bits;

	strv_split(&parts, text, ':');
	target = parts.n > 1 && *parts.v[1] == '/' ? parts.v[1] : parts.n ? parts.v[0] : "";
	if (!parts.n || parts.n > 3 || !str_starts(parts.v[0], "/") || !str_starts(target, "/dev/"))
		return err_set(err, EINVAL, "--device %s: want /HOST[:/dev/PATH[:rwm]]", text);
	for (size_t i = 1; i < parts.n; i++) {
		if (*parts.v[i] == '/')
			continue;
		if (i + 1 < parts.n || !container_access_parse(parts.v[i], &bits))
			return err_set(err, EINVAL, "--device %s: '%s' is none of r, w and m", text,
				       parts.v[i]);
		/* mknod is nobody's way to a device: without it, it is as with it. */
		if ((bits & (SANDBOX_READ | SANDBOX_WRITE)) != (SANDBOX_READ | SANDBOX_WRITE))
			json_set_str(j, "access", parts.v[i]);
	}
	json_set_str(j, "type", "device");
	json_set_str(j, "source", parts.v[0]);
	json_set_str(j, "target", target);
	*ret = json_text(j);
	return 0;
}

/* --- from another container, which alone gives it to its user --- */

/* "ro,U" without U. Caller owns it. */
static char *options_left(const char *text)
{
	auto_strv struct strv parts = { 0 }, words = { 0 };
	auto_str struct str left = { 0 };

	strv_split(&parts, text, ':');
	strv_split(&words, parts.v[parts.n - 1], ',');
	for (size_t i = 0; i < words.n; i++)
		if (!str_eq(words.v[i], "U"))
			str_addf(&left, "%s%s", left.len ? "," : "", words.v[i]);
	return str_take(&left);
}

static void take_bind(const char *text, bool read_only, const struct strv *targets,
		      struct container_spec *to)
{
	auto_container_volume struct container_volume v = { 0 };
	auto_free char *options = NULL;
	struct err ignored;

	if (container_volume_parse(text, &v, &ignored) < 0 || strv_has(targets, v.target))
		return;
	options = v.is_given ? options_left(text) : NULL;
	if (read_only)
		strv_addf(&to->volumes, "%s:%s:ro", v.source, v.target);
	else if (v.is_given)
		strv_addf(&to->volumes, "%s:%s%s%s", v.source, v.target, *options ? ":" : "",
			  options);
	else
		strv_add(&to->volumes, text);
}

int container_mounts_take(const struct container_spec *from, const struct strv *targets,
			  bool read_only, struct container_spec *to, struct err *err)
{
	for (size_t i = 0; i < from->volumes.n; i++)
		take_bind(from->volumes.v[i], read_only, targets, to);
	for (size_t i = 0; i < from->mounts.n; i++) {
		auto_json json_t *j = NULL;
		const char *type, *target;

		if (json_parse(from->mounts.v[i], strlen(from->mounts.v[i]), &j, err) < 0)
			return -err->code;
		type = json_get_str(j, "type");
		target = json_get_str(j, "target");
		if ((!str_eq(type, "volume") && !str_eq(type, "bind")) || !target ||
		    strv_has(targets, target))
			continue;
		if (read_only)
			json_object_set_new(j, "read_only", json_true());
		json_object_del(j, "chown");
		strv_add_take(&to->mounts, json_text(j));
	}
	return 0;
}
