/* SPDX-License-Identifier: Apache-2.0 */
/* run_spec: the options of run and create become a container_spec. */
#include "run_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/image.h>
#include <shale/network.h>

enum { ENV_FILE_MAX = 1 << 20 };

/* A line is a whole entry, blanks and quotes included; only empty lines and comments are not. */
int run_env_file(const char *path, struct strv *env, struct err *err)
{
	auto_free char *text = NULL;
	auto_strv struct strv lines = { 0 };
	size_t len = 0;
	int rc = fd_read_file(AT_FDCWD, path, ENV_FILE_MAX, &text, &len, err);

	if (rc < 0)
		return rc;
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		char *line = lines.v[i] + strspn(lines.v[i], " \t");
		size_t n = strlen(line);

		if (n && line[n - 1] == '\r')
			line[n - 1] = 0;
		if (*line && *line != '#')
			strv_add(env, line);
	}
	return 0;
}

static int add_env(const struct run_args *a, struct container_spec *s, struct err *err)
{
	int rc = 0;

	for (char **e = environ; a->env_host && *e; e++)
		strv_add(&s->env, *e);
	/* -e wins over files, whatever their order. */
	for (size_t i = 0; rc >= 0 && i < a->env_files.n; i++)
		rc = run_env_file(a->env_files.v[i], &s->env, err);
	for (size_t i = 0; i < a->env.n; i++)
		strv_add(&s->env, a->env.v[i]);
	return rc;
}

/* As Podman: the host's file of the zone over the image's. */
static int add_zone(const struct run_args *a, struct container_spec *s, struct err *err)
{
	bool local = str_eq(a->tz, "local");
	auto_free char *path = local ? mem_str("/etc/localtime")
				     : mem_fmt("/usr/share/zoneinfo/%s", a->tz ? a->tz : "");
	struct stat st;

	if (!a->tz)
		return 0;
	if (!*a->tz || strstr(a->tz, "..") || *a->tz == '/' || strchr(a->tz, ':') ||
	    stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL,
			       "--tz %s: want local or a zone of the host's /usr/share/zoneinfo, "
			       "like Europe/Paris",
			       a->tz);
	strv_addf(&s->volumes, "%s:/etc/localtime:ro", path);
	if (!local)
		strv_addf(&s->env, "TZ=%s", a->tz);
	return 0;
}

static void add_words(const struct run_args *a, int argc, char **argv, struct container_spec *s)
{
	s->image = mem_str(argv[0]);
	for (int i = 1; i < argc; i++)
		strv_add(&s->command, argv[i]);
	s->entrypoint_set = a->entrypoint != NULL;
	if (a->entrypoint && *a->entrypoint)
		strv_add(&s->entrypoint, a->entrypoint);
}

/* The older way to say --cpus: so much of each period, here of 100 ms. */
static int take_quota(const struct limit_args *a, uint64_t *ret_quota_us, struct err *err)
{
	enum {
		PERIOD_US = 100000,
		PERIOD_MIN_US = 1000,
		PERIOD_MAX_US = 1000000,
		SHARE_MIN = 1000
	};
	uint64_t period = a->cpu_period ? a->cpu_period : PERIOD_US;

	if (a->cpus && (a->cpu_period || a->cpu_quota))
		return err_set(err, EINVAL, "--cpus and --cpu-quota say the same: give one");
	if (period < PERIOD_MIN_US || period > PERIOD_MAX_US)
		return err_set(err, EINVAL, "--cpu-period: want %d to %d microseconds",
			       PERIOD_MIN_US, PERIOD_MAX_US);
	if (a->cpu_quota && a->cpu_quota < SHARE_MIN && a->cpu_quota != -1)
		return err_set(err, EINVAL, "--cpu-quota: want %d microseconds at least",
			       SHARE_MIN);
	if (a->cpu_quota > 0)
		*ret_quota_us = (uint64_t)a->cpu_quota * PERIOD_US / period;
	if (a->cpu_quota > 0 && *ret_quota_us < SHARE_MIN)
		return err_set(err, EINVAL,
			       "--cpu-quota %d of --cpu-period %llu: want 0.01 of a core at least",
			       a->cpu_quota, (unsigned long long)period);
	return a->cpus ? container_cpus_parse(a->cpus, ret_quota_us, err) : 0;
}

int run_limits_make(const struct limit_args *a, struct container_spec *ret, struct err *err)
{
	uint64_t swap = 0;

	ret->memory_bytes = a->memory;
	ret->reserved_bytes = a->reserved;
	ret->cpu_shares = a->cpu_shares;
	ret->io_weight = a->io_weight;
	ret->pids = a->pids;
	ret->cpus = mem_str(a->cpuset);
	ret->mems = mem_str(a->mems);
	ret->restart = mem_str(a->restart);
	/* -1: Docker's word for the host's. */
	ret->swappiness = str_eq(a->swappiness, "-1") ? NULL : mem_str(a->swappiness);
	strv_copy(&ret->io_weights, &a->io_weights);
	strv_copy(&ret->io_read_bps, &a->io_read_bps);
	strv_copy(&ret->io_write_bps, &a->io_write_bps);
	strv_copy(&ret->io_read_iops, &a->io_read_iops);
	strv_copy(&ret->io_write_iops, &a->io_write_iops);
	if (str_eq(a->swap, "-1"))
		ret->swap_bytes = -1;
	else if (a->swap && (str_to_bytes(a->swap, &swap) < 0 || swap > INT64_MAX))
		return err_set(err, EINVAL, "--memory-swap %s: want a size or -1", a->swap);
	else if (a->swap)
		ret->swap_bytes = (int64_t)swap;
	return take_quota(a, &ret->cpu_quota_us, err);
}

/* -l wins over files. */
static int add_labels(const struct run_args *a, struct container_spec *s, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < a->label_files.n; i++)
		rc = run_env_file(a->label_files.v[i], &s->labels, err);
	for (size_t i = 0; i < a->labels.n; i++)
		strv_add(&s->labels, a->labels.v[i]);
	return rc;
}

static int add_log(const struct run_args *a, struct container_spec *s, struct err *err)
{
	if (a->log_driver && !str_eq(a->log_driver, "json-file") && !str_eq(a->log_driver, "local"))
		return err_set(err, ENOTSUP, "--log-driver %s: there is only json-file",
			       a->log_driver);
	for (size_t i = 0; i < a->log_opts.n; i++) {
		const char *o = a->log_opts.v[i], *v = strchr(o, '=');
		uint64_t n = 0;
		int rc = -EINVAL;

		if (str_starts(o, "max-size="))
			rc = str_to_bytes(v + 1, &s->log_bytes);
		else if (str_starts(o, "max-file="))
			rc = str_to_u64(v + 1, 10, CONTAINER_LOG_FILES_MAX, &n);
		if (rc < 0 || (str_starts(o, "max-file=") && !n))
			return err_set(err, EINVAL,
				       "--log-opt %s: want max-size=BYTES or max-file=1 to %d", o,
				       CONTAINER_LOG_FILES_MAX);
		if (n)
			s->log_files = (int64_t)n;
	}
	return 0;
}

static int add_health(const struct run_args *a, struct container_spec *s, struct err *err)
{
	if (a->no_healthcheck && a->health_cmd)
		return err_set(err, EINVAL, "--no-healthcheck and --health-cmd exclude each other");
	if (a->no_healthcheck)
		strv_add(&s->health, "NONE");
	if (a->health_cmd && *a->health_cmd) {
		strv_add(&s->health, "CMD-SHELL");
		strv_add(&s->health, a->health_cmd);
	}
	if (a->health_interval < 0 || a->health_timeout < 0 || a->health_start < 0 ||
	    a->health_start_interval < 0 || a->health_retries < 0)
		return err_set(err, EINVAL, "--health-*: want no negative values");
	s->health_interval_ns = a->health_interval;
	s->health_timeout_ns = a->health_timeout;
	s->health_start_ns = a->health_start;
	s->health_start_interval_ns = a->health_start_interval;
	s->health_retries = a->health_retries;
	return 0;
}

static bool is_mode(const char *word)
{
	return str_eq(word, "none") || str_eq(word, "host") || str_starts(word, "container:") ||
	       str_starts(word, "ns:");
}

/* --ip, --mac-address and --network-alias are about the first one. */
static int add_join(const struct run_args *a, const char *word, struct container_spec *s,
		    struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	bool first = s->networks.n == 0;
	int rc = network_join_parse(str_eq(word, "default") ? NETWORK_DEFAULT : word, &j, err);

	if (rc < 0)
		return rc;
	if (first && a->ip) {
		free(j.ip);
		j.ip = mem_str(a->ip);
	}
	if (first && a->ip6) {
		free(j.ip6);
		j.ip6 = mem_str(a->ip6);
	}
	if (first && a->mac) {
		free(j.mac);
		j.mac = mem_str(a->mac);
	}
	for (size_t i = 0; first && i < a->aliases.n; i++)
		strv_add(&j.aliases, a->aliases.v[i]);
	if (first)
		s->network = mem_str(j.network);
	strv_add_take(&s->networks, network_join_text(&j));
	return 0;
}

static int add_networks(const struct run_args *a, struct container_spec *s, struct err *err)
{
	bool placed = a->ip || a->ip6 || a->mac || a->aliases.n;
	int rc = 0;

	strv_copy(&s->publish, &a->publish);
	strv_copy(&s->expose, &a->expose);
	s->publish_all = a->publish_all;
	if (a->networks.n && is_mode(a->networks.v[0])) {
		if (a->networks.n > 1 || placed)
			return err_set(err, EINVAL,
				       "--network %.80s goes with no other network and no --ip, "
				       "--ip6, --mac-address or --network-alias",
				       a->networks.v[0]);
		s->network = mem_str(a->networks.v[0]);
		return 0;
	}
	/* As if nothing had been said. */
	if (a->networks.n == 1 && !placed && str_eq(a->networks.v[0], "default"))
		return 0;
	for (size_t i = 0; i < a->networks.n && rc >= 0; i++)
		rc = add_join(a, a->networks.v[i], s, err);
	return !a->networks.n && placed ? add_join(a, NETWORK_DEFAULT, s, err) : rc;
}

/* The profile itself goes with the container: its file may change, or go. */
static int add_security(const struct run_args *a, struct container_spec *s, struct err *err)
{
	enum { PROFILE_MAX = 1 << 20 };

	for (size_t i = 0; i < a->security.n; i++) {
		const char *o = a->security.v[i];
		bool is_seccomp = str_starts(o, "seccomp=") || str_starts(o, "seccomp:");
		const char *value = is_seccomp ? o + strlen("seccomp=") : "";
		auto_free char *text = NULL;
		auto_json json_t *j = NULL;
		size_t len;

		if (str_eq(value, "builtin") || str_eq(value, "default"))
			continue;
		if (!is_seccomp || str_eq(value, "unconfined")) {
			strv_add(&s->security, o);
			continue;
		}
		if (fd_read_file(AT_FDCWD, value, PROFILE_MAX, &text, &len, err) < 0 ||
		    json_parse(text, len, &j, err) < 0)
			return err_ctx(err, "--security-opt %.200s", o);
		free(text);
		text = json_text(j);
		strv_addf(&s->security, "seccomp=%s", text);
	}
	return 0;
}

static int add_devices(const struct run_args *a, struct container_spec *s, struct err *err)
{
	int rc = a->gpus ? container_gpus_add(s, a->gpus, err) : 0;

	for (size_t i = 0; i < a->devices.n && rc >= 0; i++)
		rc = container_device_add(s, a->devices.v[i], err);
	return rc;
}

int run_spec_make(const struct run_args *a, int argc, char **argv, struct container_spec *ret,
		  struct err *err)
{
	static const char *const in_memory[] = { "/run", "/tmp:mode=1777", "/var/tmp:mode=1777" };

	if (a->replace && !a->name)
		return err_set(err, EINVAL, "--replace needs --name");
	add_words(a, argc, argv, ret);
	ret->name = mem_str(a->name);
	ret->user = mem_str(a->user);
	ret->workdir = mem_str(a->workdir);
	ret->hostname = mem_str(a->hostname);
	ret->stop_signal = mem_str(a->stop_signal);
	strv_copy(&ret->volumes, &a->volumes);
	if (add_health(a, ret, err) < 0)
		return -err->code;
	strv_copy(&ret->volumes_from, &a->volumes_from);
	strv_copy(&ret->tmpfs, &a->tmpfs);
	strv_copy(&ret->storage, &a->storage);
	strv_copy(&ret->add_hosts, &a->add_hosts);
	strv_copy(&ret->links, &a->links);
	strv_copy(&ret->cap_add, &a->cap_add);
	strv_copy(&ret->cap_drop, &a->cap_drop);
	if (add_security(a, ret, err) < 0)
		return -err->code;
	strv_copy(&ret->ulimits, &a->ulimits);
	ret->stop_timeout_s = a->stop_timeout_ms / 1000;
	ret->oom_score_adj = a->oom_score_adj;
	ret->no_oom_kill = a->no_oom_kill;
	strv_copy(&ret->device_rules, &a->device_rules);
	ret->cgroup_parent = mem_str(a->cgroup_parent);
	strv_copy(&ret->groups, &a->groups);
	strv_copy(&ret->dns, &a->dns);
	strv_copy(&ret->dns_search, &a->dns_search);
	strv_copy(&ret->dns_options, &a->dns_options);
	strv_copy(&ret->annotations, &a->annotations);
	strv_copy(&ret->sysctls, &a->sysctls);
	ret->pid_ns = mem_str(a->pid_ns);
	ret->ipc_ns = mem_str(a->ipc_ns);
	ret->uts_ns = mem_str(a->uts_ns);
	ret->cgroup_ns = mem_str(a->cgroup_ns);
	ret->user_ns = mem_str(a->user_ns);
	ret->shm_bytes = a->shm;
	ret->read_only = a->read_only;
	for (size_t i = 0; a->read_only && a->read_only_tmpfs && i < ARRAY_LEN(in_memory); i++)
		strv_add(&ret->tmpfs, in_memory[i]);
	ret->domainname = mem_str(a->domainname);
	ret->umask = mem_str(a->umask);
	strv_copy(&ret->unset_env, &a->unset_env);
	if (a->unset_all)
		strv_add(&ret->unset_env, "*");
	ret->privileged = a->privileged;
	ret->init = a->init;
	ret->interactive = a->interactive;
	ret->tty = a->tty;
	ret->auto_remove = a->rm;
	if (add_log(a, ret, err) < 0)
		return -err->code;
	if (run_limits_make(&a->limits, ret, err) < 0 || add_labels(a, ret, err) < 0)
		return -err->code;
	if (ret->pids < 0)
		ret->pids = 0; /* -1: unlimited, as Docker */
	if (add_devices(a, ret, err) < 0)
		return -err->code;
	for (size_t i = 0; i < a->mounts.n; i++) {
		char *mount = NULL;

		if (container_mount_parse(a->mounts.v[i], &mount, err) < 0)
			return -err->code;
		strv_add_take(&ret->mounts, mount);
	}
	if (add_networks(a, ret, err) < 0)
		return -err->code;
	if (add_zone(a, ret, err) < 0)
		return -err->code;
	return add_env(a, ret, err);
}

int run_replace(struct cli *c, const struct run_args *a, const struct container_spec *s,
		struct err *err)
{
	auto_container struct container *old = NULL;
	auto_image struct image *img = NULL;
	int rc;

	if (!a->replace)
		return 0;
	rc = container_spec_check(s, err);
	if (rc >= 0)
		rc = image_find(&c->rt, s->image, &img, err);
	if (rc < 0)
		return rc;
	rc = container_find(&c->rt, a->name, &old, err);
	if (rc >= 0 && str_eq(old->name, a->name))
		return container_remove(old, true, err);
	/* Several ids may begin as this name. */
	err_clear(err);
	return 0;
}

int run_cidfile_check(const struct run_args *a, struct err *err)
{
	if (a->cidfile && faccessat(AT_FDCWD, a->cidfile, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, EEXIST, "the file %s is there already", a->cidfile);
	return 0;
}

int run_cidfile_write(const struct run_args *a, const char *id, struct err *err)
{
	return a->cidfile ? out_write_file("--cidfile", a->cidfile, id, err) : 0;
}
