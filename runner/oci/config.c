/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: read, checked, and made into what the sandbox takes. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "priv.h"

void oci_config_cleanup(struct oci_config *c)
{
	int saved = errno;

	for (size_t i = 0; i < c->n_fds; i++)
		fd_close(&c->fds[i]);
	for (size_t i = 0; i < c->n_blocks; i++)
		free(c->blocks[i]);
	free(c->blocks);
	free(c->fds);
	free(c->bundle);
	free(c->root_path);
	free(c->cgroup);
	free(c->slice);
	free(c->unit);
	free(c->groups);
	free(c->writes);
	free(c->filter);
	strv_free(&c->env);
	strv_free(&c->masked);
	strv_free(&c->read_only);
	strv_free(&c->strings);
	json_decref(c->json);
	*c = (struct oci_config){ 0 };
	errno = saved;
}

const char *oci_keep(struct oci_config *c, char *owned)
{
	strv_add_take(&c->strings, owned);
	return owned;
}

void *oci_block(struct oci_config *c, size_t n, size_t size)
{
	mem_room(c->blocks, c->n_blocks, c->cap_blocks);
	return c->blocks[c->n_blocks++] = mem_array(n + 1, size);
}

int oci_keep_fd(struct oci_config *c, int fd)
{
	mem_room(c->fds, c->n_fds, c->cap_fds);
	return c->fds[c->n_fds++] = fd;
}

json_t *oci_at(const struct oci_config *c, const char *a, const char *b)
{
	json_t *v = json_object_get(c->json, a);

	return b ? json_object_get(v, b) : v;
}

uint64_t oci_u64(const json_t *obj, const char *key, uint64_t fallback)
{
	return (uint64_t)json_get_int(obj, key, (int64_t)fallback);
}

void oci_warn(const struct oci_config *c, const char *fmt, ...)
{
	auto_str struct str text = { 0 };
	va_list ap;

	if (!c->runtime->warn)
		return;
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	c->runtime->warn(str_get(&text));
}

/* Go writes "no limit" as 2^64 - 1, which is more than our numbers hold: it is read as -1. */
static void fold_max(char *text)
{
	static const char max[] = "18446744073709551615";
	const size_t n = sizeof(max) - 1;
	bool in_string = false;

	for (char *p = text; *p; p++) {
		if (in_string && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			in_string = !in_string;
		else if (!in_string && strncmp(p, max, n) == 0 && !isdigit((unsigned char)p[n])) {
			memset(p, ' ', n);
			p[n - 2] = '-';
			p[n - 1] = '1';
			p += n - 1;
		}
	}
}

static int check_version(const struct oci_config *c, struct err *err)
{
	const char *v = json_get_str(c->json, "ociVersion");
	char *end;

	if (!v)
		return err_set(err, EINVAL, "ociVersion is missing");
	if (strtoul(v, &end, 10) != 1 || *end != '.' || !isdigit((unsigned char)end[1]))
		return err_set(err, ENOTSUP, "ociVersion \"%.32s\": this runtime knows 1.x", v);
	return 0;
}

int oci_config_parse(const struct oci_runtime *r, const char *text, size_t len,
		     struct oci_config *ret, struct err *err)
{
	auto_free char *copy = mem_strn(text, len);
	int rc;

	ret->runtime = r;
	fold_max(copy);
	rc = json_parse(copy, len, &ret->json, err);
	if (rc == 0)
		rc = oci_check_fields(oci_config_fields, ret->json, "", r, err);
	return rc == 0 ? check_version(ret, err) : rc;
}

static int find_root(struct oci_config *c, struct err *err)
{
	const char *path = json_get_str(oci_at(c, "root", NULL), "path");
	auto_free char *full = NULL, *real = NULL;
	int fd;

	if (!path || !*path)
		return err_set(err, EINVAL, "root.path is missing");
	full = path_join(c->bundle, path);
	real = realpath(full, NULL);
	if (!real)
		return err_sys(err, "root.path %s", full);
	if (str_eq(real, "/"))
		return err_set(err, EINVAL, "root.path is the root of the host");
	fd = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "root.path %s", real);
	c->spec.root_fd = oci_keep_fd(c, fd);
	c->root_path = take(real);
	c->layout.root_path = c->root_path;
	c->layout.root_read_only = json_get_bool(oci_at(c, "root", NULL), "readonly");
	return 0;
}

/* Of an id in one directory of states: another directory may have the same. */
static int own_cgroup(struct oci_config *c, const char *id, struct err *err)
{
	struct stat st;

	if (stat(c->runtime->root, &st) < 0)
		return err_sys(err, "stat %s", c->runtime->root);
	c->cgroup = mem_fmt("shale/%s.%llx.%llu", id, (unsigned long long)st.st_dev,
			    (unsigned long long)st.st_ino);
	c->spec.cgroup.name = c->cgroup;
	return 0;
}

/* cgroupsPath as a name beneath each hierarchy; with systemd it is slice:prefix:name. */
static int find_cgroup(struct oci_config *c, const char *id, struct err *err)
{
	const char *path = json_get_str(oci_at(c, "linux", NULL), "cgroupsPath");
	auto_free char *clean = NULL;

	if (c->runtime->systemd_cgroup)
		return oci_scope_name(c, path, id, err);
	if (path && strchr(path, ':'))
		return err_set(err, EINVAL, "linux.cgroupsPath %s needs --systemd-cgroup", path);
	if (!path || !*path)
		return own_cgroup(c, id, err);
	clean = path_clean(path);
	/* ".." does not climb: a relative path is beneath the root of the hierarchy, too. */
	if (strstr(path, ".."))
		return err_set(err, EINVAL, "linux.cgroupsPath %s has \"..\"", path);
	c->cgroup = mem_str(clean + strspn(clean, "/"));
	c->spec.cgroup.name = c->cgroup;
	return 0;
}

static int make_hooks(struct oci_config *c, struct err *err)
{
	struct sandbox_layout *l = &c->layout;
	int rc = oci_hooks_make(c, "createContainer", &l->create_hooks, &l->n_create_hooks, err);

	if (rc == 0)
		rc = oci_hooks_make(c, "startContainer", &l->start_hooks, &l->n_start_hooks, err);
	l->wants_runtime_stage = oci_hooks_has(c, "prestart") || oci_hooks_has(c, "createRuntime");
	return rc;
}

int oci_config_make(struct oci_config *c, const char *id, const struct oci_io *io, struct err *err)
{
	int rc = find_root(c, err);

	c->spec.layout = &c->layout;
	c->spec.net_fd = -1;
	for (int i = 0; i < 3; i++)
		c->spec.stdio[i] = i;
	c->layout.go_fd = c->layout.status_fd = c->layout.state_fd = -1;
	c->layout.mempolicy_mode = -1;
	c->layout.new_keyring = !io->no_new_keyring;
	c->layout.keep_fds = io->preserve_fds;
	if (rc == 0)
		rc = find_cgroup(c, id, err);
	if (rc == 0)
		rc = oci_process_make(c, oci_at(c, "process", NULL), err);
	if (rc == 0)
		rc = oci_linux_make(c, err);
	if (rc == 0)
		rc = oci_mounts_make(c, err);
	if (rc == 0)
		rc = oci_resources_make(c, oci_at(c, "linux", "resources"), sandbox_cgroup_is_v2(),
					err);
	if (rc == 0)
		rc = oci_seccomp_make(c, io->cache_dir, err);
	if (rc == 0)
		rc = make_hooks(c, err);
	c->layout.writes = c->writes;
	return rc;
}
