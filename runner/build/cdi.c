/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RUN --device by a CDI name. What is not done here (hooks above all) is refused by its name rather
 * than left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/cdi.h>
#include <shale/base/fd.h>
#include <shale/base/json.h>

#include "run.h"

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

static int add_edits(struct run *r, const json_t *edits, struct err *err)
{
	static const char *const known[] = { "env", "deviceNodes", "mounts", NULL };
	auto_free char *text = json_text(edits);
	const json_t *one;
	size_t i;
	int rc = cdi_only(edits, known, err);

	json_get_strv(edits, "env", &r->cdi_env);
	json_array_foreach(json_object_get(edits, "deviceNodes"), i, one)
	{
		if (rc >= 0)
			rc = add_node(r, one, err);
	}
	json_array_foreach(json_object_get(edits, "mounts"), i, one)
	{
		if (rc >= 0)
			rc = add_bind(r, one, err);
	}
	strv_add(&r->cdi, text);
	return rc;
}

int cdi_add(struct run *r, const char *name, bool required, struct err *err)
{
	auto_json json_t *all = NULL;
	const json_t *edits;
	size_t i;
	int rc = cdi_find(name, &all, err);

	if (rc == -ENOENT && !required) {
		err_clear(err);
		return 0;
	}
	json_array_foreach(all, i, edits)
	{
		if (rc >= 0)
			rc = add_edits(r, edits, err);
	}
	return rc < 0 ? err_ctx(err, "--device=%.100s", name) : 0;
}
