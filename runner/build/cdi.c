/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RUN --device by a CDI name: what a vendor's file says that a device needs. Files in JSON; a later
 * directory counts more. What is not done here (hooks above all) is refused by its name rather than
 * left out.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/path.h>

#include "run.h"

enum { FILES_MAX = 1000 };

static const char default_dirs[] = "/etc/cdi:/etc/buildkit/cdi:/var/run/cdi";

static bool is_word(const char *s, size_t n, const char *others)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && (!i || !strchr(others, s[i])))
			return false;
	return n > 0;
}

bool cdi_is_name(const char *name)
{
	const char *slash = strchr(name, '/'), *eq = strchr(name, '=');

	return slash && (!eq || eq > slash) && is_word(name, (size_t)(slash - name), "_.-") &&
	       is_word(slash + 1, eq ? (size_t)(eq - slash - 1) : strlen(slash + 1), "_.-") &&
	       (!eq || !strcmp(eq + 1, "*") || is_word(eq + 1, strlen(eq + 1), "_.:-"));
}

struct finding {
	struct run *r;
	char *kind;
	const char *name; /* NULL: any one, "*": all */
	char *from;       /* the file that had it */
	bool found;
	size_t other_files; /* that are no JSON */
};

/* --- what a device needs --- */

static int refuse_others(const json_t *obj, const char *const *known, const char *what,
			 struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		bool is_known = false;

		for (size_t i = 0; known[i] && !is_known; i++)
			is_known = !strcmp(known[i], key);
		if (!is_known && (json_array_size(value) || !json_is_array(value)))
			return err_set(err, ENOTSUP, "%s: %.60s is not done for builds", what, key);
	}
	return 0;
}

static int add_node(struct run *r, const json_t *node, struct err *err)
{
	const char *path = json_get_str(node, "path"), *host = json_get_str(node, "hostPath");

	if (!path || *path != '/')
		return err_set(err, EINVAL, "deviceNodes: no path");
	return run_device_add(r, host ? host : path, path, true, err);
}

static int mount_option(struct sandbox_mount *m, const char *o, struct err *err)
{
	static const char *const nothing[] = { "rw",    "bind",   "private",  "rprivate",
					       "slave", "rslave", "relatime", "nodiratime" };

	if (!strcmp(o, "ro"))
		m->read_only = true;
	else if (!strcmp(o, "rbind"))
		m->recursive = true;
	else if (!strcmp(o, "nosuid"))
		m->nosuid = true;
	else if (!strcmp(o, "nodev"))
		m->nodev = true;
	else if (!strcmp(o, "noexec"))
		m->noexec = true;
	else {
		for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
			if (!strcmp(o, nothing[i]))
				return 0;
		return err_set(err, ENOTSUP, "mounts: option %.60s", o);
	}
	return 0;
}

static int add_bind(struct run *r, const json_t *mount, struct err *err)
{
	const char *host = json_get_str(mount, "hostPath"),
		   *path = json_get_str(mount, "containerPath"),
		   *type = json_get_str(mount, "type");
	auto_strv struct strv options = { 0 };
	struct sandbox_mount *m;
	int rc = 0;

	if (!host || !path || *host != '/' || *path != '/')
		return err_set(err, EINVAL, "mounts: no hostPath or containerPath");
	if (type && strcmp(type, "bind") != 0)
		return err_set(err, ENOTSUP, "mounts: type %.60s", type);
	m = run_mount_add(r, path);
	json_get_strv(mount, "options", &options);
	for (size_t i = 0; i < options.n && rc >= 0; i++)
		rc = mount_option(m, options.v[i], err);
	m->source_fd = open(host, O_PATH | O_CLOEXEC);
	if (rc >= 0 && m->source_fd < 0)
		return err_sys(err, "mounts: %.200s", host);
	strv_addf(&r->cdi_volumes, "%s:%s:%s", host, path, m->read_only ? "ro" : "rw");
	return rc;
}

static int add_edits(struct finding *f, const json_t *edits, struct err *err)
{
	static const char *const known[] = { "env", "deviceNodes", "mounts", NULL };
	auto_free char *text = edits ? json_text(edits) : mem_str("{}");
	const json_t *one;
	size_t i;
	int rc = refuse_others(edits, known, "containerEdits", err);

	json_get_strv(edits, "env", &f->r->cdi_env);
	json_array_foreach(json_object_get(edits, "deviceNodes"), i, one)
	{
		if (rc >= 0)
			rc = add_node(f->r, one, err);
	}
	json_array_foreach(json_object_get(edits, "mounts"), i, one)
	{
		if (rc >= 0)
			rc = add_bind(f->r, one, err);
	}
	strv_add(&f->r->cdi, text);
	return rc;
}

/* --- where it is said --- */

static bool is_meant(const struct finding *f, const char *name)
{
	return name && (!f->name || !strcmp(f->name, "*") || !strcmp(f->name, name));
}

static int take_spec(struct finding *f, const json_t *spec, const char *file, struct err *err)
{
	const json_t *common = json_object_get(spec, "containerEdits"), *one;
	bool before = f->found;
	size_t i;
	int rc = 0;

	if (!str_eq(json_get_str(spec, "kind"), f->kind))
		return 0;
	json_array_foreach(json_object_get(spec, "devices"), i, one)
	{
		if (rc < 0 || !is_meant(f, json_get_str(one, "name")) || (f->found && !f->name))
			continue;
		if (before && strcmp(f->name, "*") != 0)
			return err_set(err, EINVAL, "%s and %s both have it", f->from, file);
		if (common && (!f->from || strcmp(f->from, file) != 0))
			rc = add_edits(f, common, err);
		if (rc >= 0)
			rc = add_edits(f, json_object_get(one, "containerEdits"), err);
		f->found = true;
		free(f->from);
		f->from = mem_str(file);
	}
	return rc;
}

static int read_spec(struct finding *f, int dir_fd, const char *name, struct err *err)
{
	auto_json json_t *spec = NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = context_read(dir_fd, name, JSON_BYTES_MAX, &text, &len, err);

	if (rc >= 0)
		rc = json_parse(text, len, &spec, err);
	return rc < 0 ? rc : take_spec(f, spec, name, err);
}

static int look_in(struct finding *f, const char *dir, struct err *err)
{
	auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_strv struct strv names = { 0 };
	int rc = fd < 0 ? 0 : fs_list(fd, ".", &names, err);

	if (names.n > FILES_MAX)
		return err_set(err, E2BIG, "%s: more than %d files", dir, FILES_MAX);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		f->other_files += str_ends(names.v[i], ".yaml") || str_ends(names.v[i], ".yml");
		if (str_ends(names.v[i], ".json"))
			rc = read_spec(f, fd, names.v[i], err);
		if (rc < 0)
			return err_ctx(err, "%s/%s", dir, names.v[i]);
	}
	return rc;
}

static void finding_free(struct finding *f)
{
	free(f->kind);
	free(f->from);
}

int cdi_add(struct run *r, const char *name, bool required, struct err *err)
{
	const char *eq = strchr(name, '='), *given = getenv("SHALE_CDI_DIRS");
	cleanup(finding_free) struct finding f = { .r = r,
						   .kind = mem_strn(name, strcspn(name, "=")),
						   .name = eq ? eq + 1 : NULL };
	auto_strv struct strv dirs = { 0 };
	int rc = 0;

	strv_split(&dirs, given && *given ? given : default_dirs, ':');
	for (size_t i = dirs.n; i-- > 0 && !f.found && rc >= 0;)
		rc = look_in(&f, dirs.v[i], err);
	if (rc < 0)
		return err_ctx(err, "--device=%.100s", name);
	if (f.found || !required)
		return 0;
	err_set(err, ENOENT, "--device=%.100s: no such device in %s", name,
		given && *given ? given : default_dirs);
	return f.other_files ? err_hint(err, "files in YAML are not read: only in JSON") : -ENOENT;
}
