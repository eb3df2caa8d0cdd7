/* SPDX-License-Identifier: Apache-2.0 */
/* What a RUN may beyond the usual box: --security, --device, --network=host. The Dockerfile asks,
 * and only the command line gives (TRAPS T23). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/cdi.h>
#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "run.h"

static const char *const rights[] = { "network.host", "security.insecure", "device", NULL };

int allow_check(const struct strv *allow, struct err *err)
{
	for (size_t i = 0; i < allow->n; i++) {
		const char *a = allow->v[i];

		if (!strcmp(a, rights[0]) || !strcmp(a, rights[1]) || !strcmp(a, rights[2]) ||
		    str_starts(a, "device=/dev/") ||
		    (str_starts(a, "device=") && cdi_is_name(a + strlen("device="))))
			continue;
		return err_set(
			err, EINVAL,
			"--allow %.60s: not network.host, security.insecure, device or device=NAME",
			a);
	}
	return 0;
}

static bool has(const struct strv *allow, const char *right)
{
	return allow && strv_has(allow, right);
}

/* "name=/dev/fuse,required", "/dev/fuse". */
static int device_parse(const char *text, char **ret_path, bool *ret_required, struct err *err)
{
	auto_strv struct strv fields = { 0 };
	auto_free char *path = NULL;
	int rc = csv_split(text, &fields, err);

	*ret_required = false;
	for (size_t i = 0; i < fields.n && rc >= 0; i++) {
		const char *f = fields.v[i];

		if (!strcmp(f, "required"))
			*ret_required = true;
		else if (str_starts(f, "required="))
			rc = bool_parse(f + strlen("required="), ret_required);
		else if (!path && (str_starts(f, "name=") || !strchr(f, '=') || i == 0))
			path = path_clean(str_starts(f, "name=") ? f + strlen("name=") : f);
		else
			rc = -EINVAL;
		if (rc < 0)
			return err_set(err, EINVAL, "--device=%.60s: want NAME[,required]", text);
	}
	if (rc < 0)
		return rc;
	if (!path || (!str_starts(path, "/dev/") && !cdi_is_name(path)))
		return err_set(
			err, EINVAL,
			"--device=%.60s: neither a device of the host, /dev/NAME, nor a CDI name, "
			"VENDOR/CLASS=NAME",
			text);
	*ret_path = take(path);
	return 0;
}

static int device_allowed(const struct strv *allow, const char *text, struct err *err)
{
	auto_free char *path = NULL, *right = NULL, *kind = NULL;
	bool required;
	int rc = device_parse(text, &path, &required, err);

	if (rc < 0 || !path)
		return rc;
	right = mem_fmt("device=%s", path);
	kind = mem_strn(right, strlen("device=") + strcspn(path, "="));
	if (has(allow, "device") || has(allow, right) || (*path != '/' && has(allow, kind)))
		return 0;
	return err_set(err, EPERM, "--device=%.60s needs --allow %s", text, right);
}

int allow_inst(const struct strv *allow, const char *network, const struct df_inst *i,
	       struct err *err)
{
	int rc = 0;

	for (size_t k = 0; i->kind == DF_RUN && k < i->n_flags && rc >= 0; k++) {
		const char *name = i->flags[k].name, *value = i->flags[k].value;

		if (!strcmp(name, "security") && str_eq(value, "insecure") &&
		    !has(allow, rights[1]))
			return err_set(err, EPERM, "--security=insecure needs --allow %s",
				       rights[1]);
		/* Unless it is what every step has anyway. */
		if (!strcmp(name, "network") && str_eq(value, "host") && network &&
		    !str_eq(network, "host") && !has(allow, rights[0]))
			return err_set(
				err, EPERM,
				"--network=host in a build whose network is %.60s needs --allow %s",
				network, rights[0]);
		if (!strcmp(name, "device"))
			rc = device_allowed(allow, value ? value : "", err);
	}
	return rc;
}

int run_device_add(struct run *r, const char *source, const char *target, bool required,
		   struct err *err)
{
	auto_fd int fd = open(source, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT && !required)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "--device=%s", source);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ENODEV, "--device=%s: no device", source);
	run_mount_add(r, target)->source_fd = fd_take(&fd);
	strv_add(&r->devices, target);
	strv_add(&r->device_sources, source);
	return 0;
}

static int add_device(struct run *r, const char *text, struct err *err)
{
	auto_free char *name = NULL;
	bool required;
	int rc = device_parse(text, &name, &required, err);

	if (rc < 0 || !name)
		return rc;
	return *name == '/' ? run_device_add(r, name, name, required, err)
			    : cdi_add(r, name, required, err);
}

/* Triggers of a base image are seen here for the first time. */
int run_rights(struct run *r, const struct df_inst *i, struct err *err)
{
	int rc = allow_inst(&r->b->o->allow, r->b->network, i, err);

	for (size_t k = 0; k < i->n_flags && rc >= 0; k++) {
		const struct df_flag *f = &i->flags[k];

		if (!strcmp(f->name, "security"))
			r->insecure = str_eq(f->value, "insecure");
		else if (!strcmp(f->name, "device"))
			rc = add_device(r, f->value ? f->value : "", err);
	}
	if (rc >= 0 && r->insecure && r->b->o->user_ns)
		return err_set(err, EINVAL, "--security=insecure has no use for --userns private");
	return rc < 0 ? rc : 0;
}

/* Each only when it is given, and what the step can see of it. */
void run_rights_key(const struct run *r, struct key *key)
{
	const struct build_opts *o = r->b->o;

	if (r->insecure)
		key_add(key, "security", "insecure");
	if (o->user_ns)
		key_add(key, "userns", "private");
	if (r->devices.n)
		key_addv(key, "devices", &r->devices);
	if (r->cdi.n)
		key_addv(key, "cdi", &r->cdi);
	if (o->cap_add.n)
		key_addv(key, "cap_add", &o->cap_add);
	if (o->cap_drop.n)
		key_addv(key, "cap_drop", &o->cap_drop);
	if (o->hosts)
		key_add(key, "hosts", o->hosts);
	if (o->shm_bytes) {
		auto_free char *shm = mem_fmt("%llu", (unsigned long long)o->shm_bytes);

		key_add(key, "shm", shm);
	}
	for (size_t n = 0; n < o->n_limits; n++) {
		const struct sandbox_limit *l = &o->limits[n];
		auto_free char *limit =
			mem_fmt("%d=%llu:%llu", l->resource, (unsigned long long)l->soft,
				(unsigned long long)l->hard);

		key_add(key, "limit", limit);
	}
}

void run_rights_spec(struct run *r, struct sandbox_spec *spec)
{
	const struct build_opts *o = r->b->o;
	char random[13];

	spec->privileged = r->insecure;
	spec->ids = o->user_ns ? &r->b->ids : NULL;
	spec->cap_add = &o->cap_add;
	spec->cap_drop = &o->cap_drop;
	spec->shm_bytes = o->shm_bytes;
	spec->limits = o->limits;
	spec->n_limits = o->n_limits;
	if (!o->cgroup)
		return;
	proc_random_hex(random, 12);
	snprintf(r->cgroup, sizeof(r->cgroup), "%s-%s", o->cgroup->name, random);
	spec->cgroup = *o->cgroup;
	spec->cgroup.name = r->cgroup;
}
