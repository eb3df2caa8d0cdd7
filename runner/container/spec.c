/* SPDX-License-Identifier: Apache-2.0 */
/* The spec as a value: checked, copied, and as the JSON text that its row keeps. */
#include <shale/container.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { SPEC_VERSION = 1 };

/* One table for JSON in both directions, copy and free. */
enum field_kind { FIELD_STR, FIELD_STRV, FIELD_BOOL, FIELD_INT };
static const struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(name, kind)                                                                          \
	{                                                                                          \
#name, FIELD_##kind, offsetof(struct container_spec, name)                         \
	}
	FIELD(image, STR),
	FIELD(name, STR),
	FIELD(command, STRV),
	FIELD(entrypoint, STRV),
	FIELD(entrypoint_set, BOOL),
	FIELD(env, STRV),
	FIELD(labels, STRV),
	FIELD(user, STR),
	FIELD(workdir, STR),
	FIELD(hostname, STR),
	FIELD(domainname, STR),
	FIELD(umask, STR),
	FIELD(unset_env, STRV),
	FIELD(network, STR),
	FIELD(volumes, STRV),
	FIELD(tmpfs, STRV),
	FIELD(storage, STRV),
	FIELD(mounts, STRV),
	FIELD(add_hosts, STRV),
	FIELD(cap_add, STRV),
	FIELD(cap_drop, STRV),
	FIELD(security, STRV),
	FIELD(ulimits, STRV),
	FIELD(stop_signal, STR),
	FIELD(log_bytes, INT),
	FIELD(log_files, INT),
	FIELD(restart, STR),
	FIELD(swap_bytes, INT),
	FIELD(reserved_bytes, INT),
	FIELD(cpu_shares, INT),
	FIELD(io_weight, INT),
	FIELD(cpus, STR),
	FIELD(mems, STR),
	FIELD(swappiness, STR),
	FIELD(no_oom_kill, BOOL),
	FIELD(io_weights, STRV),
	FIELD(io_read_bps, STRV),
	FIELD(io_write_bps, STRV),
	FIELD(io_read_iops, STRV),
	FIELD(io_write_iops, STRV),
	FIELD(cgroup_parent, STR),
	FIELD(cdi, STRV),
	FIELD(device_rules, STRV),
	FIELD(groups, STRV),
	FIELD(dns, STRV),
	FIELD(dns_search, STRV),
	FIELD(dns_options, STRV),
	FIELD(annotations, STRV),
	FIELD(sysctls, STRV),
	FIELD(oom_score_adj, INT),
	FIELD(health, STRV),
	FIELD(health_interval_ns, INT),
	FIELD(health_timeout_ns, INT),
	FIELD(health_start_ns, INT),
	FIELD(health_start_interval_ns, INT),
	FIELD(health_retries, INT),
	FIELD(pid_ns, STR),
	FIELD(ipc_ns, STR),
	FIELD(uts_ns, STR),
	FIELD(cgroup_ns, STR),
	FIELD(user_ns, STR),
	FIELD(ids_root, INT),
	FIELD(ids_count, INT),
	FIELD(stop_timeout_s, INT),
	FIELD(pids, INT),
	FIELD(memory_bytes, INT),
	FIELD(cpu_quota_us, INT),
	FIELD(shm_bytes, INT),
	FIELD(read_only, BOOL),
	FIELD(privileged, BOOL),
	FIELD(init, BOOL),
	FIELD(interactive, BOOL),
	FIELD(tty, BOOL),
	FIELD(auto_remove, BOOL),
	FIELD(networks, STRV),
	FIELD(publish, STRV),
	FIELD(expose, STRV),
	FIELD(publish_all, BOOL),
	FIELD(links, STRV),
#undef FIELD
};
_Static_assert(sizeof(int64_t) == sizeof(uint64_t), "FIELD_INT holds both");

static char **str_at(const struct container_spec *s, const struct field *f)
{
	return (char **)((uintptr_t)s + f->offset);
}

static struct strv *strv_at(const struct container_spec *s, const struct field *f)
{
	return (struct strv *)((uintptr_t)s + f->offset);
}

static bool *bool_at(const struct container_spec *s, const struct field *f)
{
	return (bool *)((uintptr_t)s + f->offset);
}

static int64_t *int_at(const struct container_spec *s, const struct field *f)
{
	return (int64_t *)((uintptr_t)s + f->offset);
}

void container_spec_free(struct container_spec *s)
{
	for (const struct field *f = fields; f < fields + ARRAY_LEN(fields); f++) {
		if (f->kind == FIELD_STR)
			free(*str_at(s, f));
		else if (f->kind == FIELD_STRV)
			strv_free(strv_at(s, f));
	}
	*s = (struct container_spec){ 0 };
}

void container_spec_copy(struct container_spec *to, const struct container_spec *from)
{
	*to = *from;
	for (const struct field *f = fields; f < fields + ARRAY_LEN(fields); f++) {
		if (f->kind == FIELD_STR) {
			*str_at(to, f) = mem_str(*str_at(from, f));
		} else if (f->kind == FIELD_STRV) {
			*strv_at(to, f) = (struct strv){ 0 };
			strv_copy(strv_at(to, f), strv_at(from, f));
		}
	}
}

char *container_spec_text(const struct container_spec *s)
{
	auto_json json_t *j = json_object();

	json_object_set_new(j, "version", json_integer(SPEC_VERSION));
	for (const struct field *f = fields; f < fields + ARRAY_LEN(fields); f++) {
		if (f->kind == FIELD_STR)
			json_set_str(j, f->key, *str_at(s, f));
		else if (f->kind == FIELD_STRV)
			json_set_strv(j, f->key, strv_at(s, f));
		else if (f->kind == FIELD_BOOL && *bool_at(s, f))
			json_object_set_new(j, f->key, json_true());
		else if (f->kind == FIELD_INT && *int_at(s, f))
			json_object_set_new(j, f->key, json_integer(*int_at(s, f)));
	}
	return json_text(j);
}

int container_spec_parse(const char *text, struct container_spec *ret, struct err *err)
{
	auto_json json_t *j = NULL;
	int rc = json_parse(text, strlen(text), &j, err);

	if (rc < 0)
		return rc;
	if (json_get_int(j, "version", 0) != SPEC_VERSION)
		return err_set(err, ENOTSUP, "spec of version %d",
			       (int)json_get_int(j, "version", 0));
	for (const struct field *f = fields; f < fields + ARRAY_LEN(fields); f++) {
		if (f->kind == FIELD_STR)
			*str_at(ret, f) = mem_str(json_get_str(j, f->key));
		else if (f->kind == FIELD_STRV)
			json_get_strv(j, f->key, strv_at(ret, f));
		else if (f->kind == FIELD_BOOL)
			*bool_at(ret, f) = json_get_bool(j, f->key);
		else
			*int_at(ret, f) = json_get_int(j, f->key, 0);
	}
	return 0;
}

void container_spec_targets(const struct container_spec *s, struct strv *ret)
{
	for (size_t i = 0; i < s->volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };
		struct err ignored;

		if (container_volume_parse(s->volumes.v[i], &v, &ignored) >= 0)
			strv_add(ret, v.target);
	}
	for (size_t i = 0; i < s->mounts.n; i++) {
		auto_json json_t *j = NULL;
		struct err ignored;
		const char *target;

		if (json_parse(s->mounts.v[i], strlen(s->mounts.v[i]), &j, &ignored) < 0)
			continue;
		target = json_get_str(j, "target");
		if (target)
			strv_add(ret, target);
	}
}

void container_spec_mounted(const struct container_spec *s, struct strv *ret)
{
	static const char *const keys[] = { "name", "source", "target" };

	for (size_t i = 0; i < s->volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };
		struct err ignored;

		if (container_volume_parse(s->volumes.v[i], &v, &ignored) < 0)
			continue;
		strv_add(ret, v.source);
		strv_add(ret, v.target);
	}
	for (size_t i = 0; i < s->mounts.n; i++) {
		auto_json json_t *j = NULL;
		struct err ignored;

		if (json_parse(s->mounts.v[i], strlen(s->mounts.v[i]), &j, &ignored) < 0)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			if (json_get_str(j, keys[k]))
				strv_add(ret, json_get_str(j, keys[k]));
	}
}

static int check_hostname(const char *what, const char *name, struct err *err)
{
	size_t n = strlen(name);

	/* sethostname(2) takes 64 bytes; the rest keeps the hosts file one line. */
	if (n == 0 || n > 64 || name[0] == '-' ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != n)
		return err_set(err, EINVAL, "invalid %s '%s'", what, name);
	return 0;
}

static int check_lists(const struct container_spec *s, struct err *err)
{
	struct container_security security;
	struct snap_limit limit_of_layer;
	struct sandbox_limit limit;
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < s->volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };

		rc = container_volume_parse(s->volumes.v[i], &v, err);
	}
	for (size_t i = 0; rc >= 0 && i < s->tmpfs.n; i++) {
		auto_free char *target = NULL, *data = NULL;

		rc = container_tmpfs_parse(s->tmpfs.v[i], &target, &data, err);
	}
	for (size_t i = 0; rc >= 0 && i < s->add_hosts.n; i++) {
		auto_free char *line = NULL;

		rc = container_host_parse(s->add_hosts.v[i], &line, err);
	}
	for (size_t i = 0; rc >= 0 && i < s->ulimits.n; i++)
		rc = container_ulimit_parse(s->ulimits.v[i], &limit, err);
	if (rc >= 0 && s->storage.n)
		rc = container_storage_parse(&s->storage, &limit_of_layer, err);
	return rc < 0 ? rc : container_security_parse(&s->security, &security, err);
}

/* Each is a word of resolv.conf: nothing that would begin another line. */
static int check_dns(const struct container_spec *s, struct err *err)
{
	const struct strv *all[] = { &s->dns, &s->dns_search, &s->dns_options };
	unsigned char raw[16];

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		for (size_t k = 0; k < all[i]->n; k++)
			if (!*all[i]->v[k] || strpbrk(all[i]->v[k], " \t\r\n#;"))
				return err_set(err, EINVAL, "--dns*: '%s' is no word",
					       all[i]->v[k]);
	for (size_t k = 0; k < s->dns.n; k++)
		if (inet_pton(AF_INET, s->dns.v[k], raw) != 1 &&
		    inet_pton(AF_INET6, s->dns.v[k], raw) != 1)
			return err_set(err, EINVAL, "--dns %s: want an address", s->dns.v[k]);
	return 0;
}

/* Of namespaces that the container has to itself: others are the host's. */
static int check_sysctls(const struct container_spec *s, struct err *err)
{
	static const char *const ipc[] = {
		"kernel.msgmax=", "kernel.msgmnb=",          "kernel.msgmni=",
		"kernel.sem=",    "kernel.shmall=",          "kernel.shmmax=",
		"kernel.shmmni=", "kernel.shm_rmid_forced=", "fs.mqueue."
	};

	for (size_t i = 0; i < s->sysctls.n; i++) {
		const char *v = s->sysctls.v[i];
		bool ok = str_starts(v, "net.") && s->network && !str_eq(s->network, "host");

		for (size_t k = 0; k < ARRAY_LEN(ipc); k++)
			ok = ok || (str_starts(v, ipc[k]) && !str_eq(s->ipc_ns, "host"));
		if (!strchr(v, '=') || strstr(v, ".."))
			return err_set(err, EINVAL, "--sysctl %s: want NAME=VALUE", v);
		if (!ok)
			return err_set(
				err, EINVAL,
				"--sysctl %s: it is the host's: kernel.msg*, kernel.sem, "
				"kernel.shm*, fs.mqueue.*, and net.* with a network of its own",
				v);
	}
	return 0;
}

static int check_policy(const struct container_spec *s, struct err *err)
{
	if (s->log_files < 0 || s->log_files > CONTAINER_LOG_FILES_MAX)
		return err_set(err, EINVAL, "--log-opt max-file: want 1 to %d",
			       CONTAINER_LOG_FILES_MAX);
	if (s->restart && container_restart_parse(s->restart, NULL, err) < 0)
		return -err->code;
	if (s->restart && !str_eq(s->restart, "no") && s->auto_remove)
		return err_set(err, EINVAL, "--restart and --rm exclude each other");
	return 0;
}

static int check_names(const struct container_spec *s, struct err *err)
{
	uint64_t umask;

	if (s->hostname && check_hostname("hostname", s->hostname, err) < 0)
		return -err->code;
	if (s->domainname && check_hostname("domainname", s->domainname, err) < 0)
		return -err->code;
	if ((s->hostname || s->domainname) && str_eq(s->uts_ns, "host"))
		return err_set(err, EINVAL, "--%s and --uts host exclude each other",
			       s->hostname ? "hostname" : "domainname");
	if (s->umask && str_to_u64(s->umask, 8, 0777, &umask) < 0)
		return err_set(err, EINVAL, "--umask %s: want an octal number like 0022", s->umask);
	return 0;
}

int container_spec_check(const struct container_spec *s, struct err *err)
{
	if (!s->image || !*s->image)
		return err_set(err, EINVAL, "no image given");
	if (s->name && !container_name_valid(s->name))
		return err_set(
			err, EINVAL,
			"invalid container name '%s': only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
			s->name);
	if (s->workdir && s->workdir[0] != '/')
		return err_set(err, EINVAL, "working directory '%s' is not absolute", s->workdir);
	if (s->stop_signal && proc_signal_find(s->stop_signal) < 0)
		return err_set(err, EINVAL, "invalid signal: %s", s->stop_signal);
	if (check_policy(s, err) < 0 || check_sysctls(s, err) < 0 ||
	    container_limits_check(s, err) < 0 || check_dns(s, err) < 0)
		return -err->code;
	if (check_names(s, err) < 0)
		return -err->code;
	for (size_t i = 0; i < s->env.n; i++)
		if (!s->env.v[i][0] || s->env.v[i][0] == '=')
			return err_set(err, EINVAL, "invalid environment variable: '%s'",
				       s->env.v[i]);
	if (container_net_check(s, err) < 0 || container_namespaces_check(s, err) < 0)
		return -err->code;
	return check_lists(s, err);
}
