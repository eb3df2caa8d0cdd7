/* SPDX-License-Identifier: Apache-2.0 */
/* A container as docker inspect prints it, and as words. */
#include <shale/container.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <shale/base/json.h>
#include <shale/image.h>

#include "priv.h"

static void set_bool(json_t *to, const char *key, bool v)
{
	json_object_set_new(to, key, json_boolean(v));
}

static void set_int(json_t *to, const char *key, int64_t v)
{
	json_object_set_new(to, key, json_integer(v));
}

/* Unlike json_set_str it is there when it is empty, which templates rely on. */
static void set_str(json_t *to, const char *key, const char *v)
{
	json_object_set_new(to, key, json_from_str(v ? v : ""));
}

static void set_time(json_t *to, const char *key, int64_t ns)
{
	auto_free char *text = ns ? container_time_text(ns) : mem_str("0001-01-01T00:00:00Z");

	set_str(to, key, text);
}

static void set_list(json_t *to, const char *key, const struct strv *l)
{
	json_t *a = l->n ? json_array() : json_null();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(a, json_from_str(l->v[i]));
	json_object_set_new(to, key, a);
}

static void set_map(json_t *to, const char *key, const struct strv *pairs)
{
	json_t *o = json_object();

	for (size_t i = 0; i < pairs->n; i++) {
		const char *eq = strchr(pairs->v[i], '=');
		auto_free char *name = mem_strn(pairs->v[i], strcspn(pairs->v[i], "="));

		set_str(o, name, eq ? eq + 1 : "");
	}
	json_object_set_new(to, key, o);
}

static json_t *state_json(const struct container *c)
{
	json_t *s = json_object();
	bool running = c->state == CONTAINER_RUNNING;
	json_t *health = container_health_json(c);

	set_str(s, "Status", container_state_text(c));
	set_bool(s, "Running", running);
	set_bool(s, "Paused", container_is_paused(c));
	set_bool(s, "Restarting", container_is_restarting(c));
	set_bool(s, "Dead", false);
	set_int(s, "Pid", running ? c->pid : 0);
	set_int(s, "ExitCode", c->exit_code);
	set_str(s, "Error", c->error);
	set_time(s, "StartedAt", c->started_ns);
	set_time(s, "FinishedAt", c->finished_ns);
	if (health)
		json_object_set_new(s, "Health", health);
	return s;
}

static json_t *config_json(const struct container *c)
{
	const struct container_spec *s = &c->spec;
	json_t *o = json_object();

	set_str(o, "Hostname", s->hostname);
	set_str(o, "Domainname", s->domainname);
	set_str(o, "User", s->user);
	set_bool(o, "Tty", s->tty);
	set_bool(o, "OpenStdin", s->interactive);
	set_list(o, "Env", &s->env);
	set_list(o, "Cmd", &s->command);
	set_list(o, "Entrypoint", &s->entrypoint);
	set_str(o, "Image", c->image_name);
	set_str(o, "WorkingDir", s->workdir);
	set_map(o, "Labels", &s->labels);
	set_str(o, "Umask", s->umask ? s->umask : "0022");
	set_str(o, "StopSignal", s->stop_signal ? s->stop_signal : "SIGTERM");
	set_int(o, "StopTimeout", s->stop_timeout_s ? s->stop_timeout_s : CONTAINER_STOP_S);
	return o;
}

static json_t *tmpfs_json(const struct container_spec *s)
{
	json_t *o = json_object();

	for (size_t i = 0; i < s->tmpfs.n; i++) {
		auto_free char *target = NULL, *data = NULL;
		struct err ignored = { 0 };

		if (container_tmpfs_parse(s->tmpfs.v[i], &target, &data, &ignored) >= 0)
			set_str(o, target, data);
	}
	return o;
}

static json_t *ulimits_json(const struct container_spec *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->ulimits.n; i++) {
		struct err ignored = { 0 };
		struct sandbox_limit l;
		auto_free char *name = mem_strn(s->ulimits.v[i], strcspn(s->ulimits.v[i], "="));
		json_t *o;

		if (container_ulimit_parse(s->ulimits.v[i], &l, &ignored) < 0)
			continue;
		o = json_object();
		set_str(o, "Name", name);
		set_int(o, "Soft", (int64_t)l.soft);
		set_int(o, "Hard", (int64_t)l.hard);
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *restart_json(const struct container_spec *s)
{
	const char *policy = s->restart ? s->restart : "no";
	auto_free char *name = mem_strn(policy, strcspn(policy, ":"));
	json_t *o = json_object();
	struct err ignored;
	int64_t max = 0;

	container_restart_parse(policy, &max, &ignored);
	set_str(o, "Name", name);
	set_int(o, "MaximumRetryCount", max);
	return o;
}

/* As Podman shows it. */
static json_t *ids_json(const struct container_spec *s)
{
	auto_free char *map = mem_fmt("0:%" PRId64 ":%" PRId64, s->ids_root, s->ids_count);

	return json_pack("{s[s],s[s]}", "UidMap", map, "GidMap", map);
}

static json_t *devices_json(const struct container_spec *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->mounts.n; i++) {
		auto_json json_t *j = NULL;
		struct err ignored = { 0 };
		const char *access, *source;

		if (json_parse(s->mounts.v[i], strlen(s->mounts.v[i]), &j, &ignored) < 0 ||
		    !str_eq(json_get_str(j, "type"), "device"))
			continue;
		access = json_get_str(j, "access");
		source = json_get_str(j, "source");
		json_array_append_new(a, json_pack("{s:s,s:s,s:s}", "PathOnHost",
						   source ? source : json_get_str(j, "target"),
						   "PathInContainer", json_get_str(j, "target"),
						   "CgroupPermissions", access ? access : "rwm"));
	}
	return a;
}

/* As Docker shows what --device and --gpus got by CDI. */
static json_t *requests_json(const struct container_spec *s)
{
	json_t *a = json_array(), *o;

	if (s->cdi.n) {
		o = json_object();
		set_str(o, "Driver", "cdi");
		set_int(o, "Count", 0);
		set_list(o, "DeviceIDs", &s->cdi);
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *host_json(const struct container *c)
{
	const struct container_spec *s = &c->spec;
	json_t *o = json_object();

	set_list(o, "Binds", &s->volumes);
	set_list(o, "VolumesFrom", &s->volumes_from);
	set_str(o, "NetworkMode", s->network);
	set_str(o, "PidMode", s->pid_ns);
	set_str(o, "IpcMode", s->ipc_ns ? s->ipc_ns : "private");
	set_str(o, "UTSMode", s->uts_ns);
	set_str(o, "CgroupnsMode", s->cgroup_ns ? s->cgroup_ns : "private");
	set_str(o, "UsernsMode", s->user_ns);
	if (s->ids_count)
		json_object_set_new(o, "IDMappings", ids_json(s));
	set_bool(o, "AutoRemove", c->auto_remove);
	json_object_set_new(o, "RestartPolicy", restart_json(s));
	set_list(o, "CapAdd", &s->cap_add);
	set_list(o, "CapDrop", &s->cap_drop);
	set_list(o, "ExtraHosts", &s->add_hosts);
	set_bool(o, "Privileged", s->privileged);
	set_bool(o, "ReadonlyRootfs", s->read_only);
	set_list(o, "SecurityOpt", &s->security);
	json_object_set_new(o, "Tmpfs", tmpfs_json(s));
	set_int(o, "ShmSize", (int64_t)(s->shm_bytes ? s->shm_bytes : 64 << 20));
	set_int(o, "Memory", (int64_t)s->memory_bytes);
	set_int(o, "MemorySwap", s->swap_bytes);
	set_int(o, "MemoryReservation", (int64_t)s->reserved_bytes);
	set_int(o, "CpuShares", (int64_t)s->cpu_shares);
	set_int(o, "BlkioWeight", (int64_t)s->io_weight);
	container_io_json(s, o);
	json_object_set_new(o, "MemorySwappiness",
			    s->swappiness ? json_integer(strtoll(s->swappiness, NULL, 10))
					  : json_null());
	set_bool(o, "OomKillDisable", s->no_oom_kill);
	set_list(o, "DeviceCgroupRules", &s->device_rules);
	json_object_set_new(o, "Devices", devices_json(s));
	json_object_set_new(o, "DeviceRequests", requests_json(s));
	set_str(o, "CgroupParent", s->cgroup_parent);
	set_str(o, "CpusetCpus", s->cpus);
	set_str(o, "CpusetMems", s->mems);
	set_list(o, "GroupAdd", &s->groups);
	set_list(o, "Dns", &s->dns);
	set_list(o, "DnsSearch", &s->dns_search);
	set_list(o, "DnsOptions", &s->dns_options);
	set_map(o, "Annotations", &s->annotations);
	set_map(o, "Sysctls", &s->sysctls);
	set_map(o, "StorageOpt", &s->storage);
	set_int(o, "OomScoreAdj", s->oom_score_adj);
	set_int(o, "NanoCpus", (int64_t)s->cpu_quota_us * 10000);
	set_int(o, "PidsLimit", s->pids);
	json_object_set_new(o, "Ulimits", ulimits_json(s));
	set_bool(o, "Init", s->init);
	return o;
}

static void set_volume(json_t *to, const struct container *c, const char *name)
{
	auto_free char *path = container_volume_path(c->rt, name);

	set_str(to, "Name", name);
	set_str(to, "Source", path);
	set_str(to, "Driver", "local");
}

static void add_kept(json_t *a, const struct container *c, const char *text)
{
	auto_json json_t *j = NULL;
	struct err ignored = { 0 };
	json_t *o;

	if (json_parse(text, strlen(text), &j, &ignored) < 0)
		return;
	o = json_object();
	set_str(o, "Type", json_get_str(j, "image") ? "image" : json_get_str(j, "type"));
	if (str_eq(json_get_str(j, "type"), "volume"))
		set_volume(o, c, json_get_str(j, "name"));
	else if (json_get_str(j, "image"))
		set_str(o, "Source", json_get_str(j, "image"));
	else
		set_str(o, "Source", json_get_str(j, json_get_str(j, "id") ? "id" : "source"));
	set_str(o, "Destination", json_get_str(j, "target"));
	set_bool(o, "RW", !json_get_bool(j, "read_only"));
	json_array_append_new(a, o);
}

static json_t *mounts_json(const struct container *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->spec.volumes.n; i++) {
		auto_container_volume struct container_volume v = { 0 };
		struct err ignored = { 0 };
		json_t *o;

		if (container_volume_parse(c->spec.volumes.v[i], &v, &ignored) < 0)
			continue;
		o = json_object();
		set_str(o, "Type", "bind");
		set_str(o, "Source", v.source);
		set_str(o, "Destination", v.target);
		set_str(o, "Mode", v.read_only ? "ro" : "");
		set_bool(o, "RW", !v.read_only);
		set_str(o, "Propagation", "rprivate");
		json_array_append_new(a, o);
	}
	for (size_t i = 0; i < c->spec.mounts.n; i++)
		add_kept(a, c, c->spec.mounts.v[i]);
	return a;
}

static void set_path_and_args(json_t *o, const struct container_spec *s)
{
	auto_strv struct strv argv = { 0 };

	strv_copy(&argv, &s->entrypoint);
	for (size_t i = 0; i < s->command.n; i++)
		strv_add(&argv, s->command.v[i]);
	set_str(o, "Path", argv.n ? argv.v[0] : "");
	if (argv.n)
		strv_remove(&argv, 0);
	json_object_set_new(o, "Args", json_array());
	for (size_t i = 0; i < argv.n; i++)
		json_array_append_new(json_object_get(o, "Args"), json_from_str(argv.v[i]));
}

json_t *container_inspect(struct container *c)
{
	auto_free char *upper = c->snapshot ? snap_path(c->rt->snap, c->snapshot) : NULL;
	auto_free char *log = container_path(c, "log"), *name = mem_fmt("/%s", c->name);
	json_t *o = json_object(), *driver = json_object(), *data = json_object();

	set_str(o, "Id", c->id);
	set_time(o, "Created", c->created_ns);
	set_path_and_args(o, &c->spec);
	json_object_set_new(o, "State", state_json(c));
	set_str(o, "Image", c->image_id);
	set_str(o, "Name", name);
	set_str(o, "LogPath", log);
	set_int(o, "RestartCount", container_restart_count(c));
	set_str(o, "Driver", "overlayfs");
	set_str(o, "Platform", "linux");
	json_object_set_new(o, "HostConfig", host_json(c));
	json_object_set_new(o, "Mounts", mounts_json(c));
	json_object_set_new(o, "NetworkSettings", container_net_json(c));
	json_object_set_new(o, "Config", config_json(c));
	set_str(data, "UpperDir", upper);
	set_str(driver, "Name", "overlayfs");
	json_object_set_new(driver, "Data", data);
	json_object_set_new(o, "GraphDriver", driver);
	set_str(o, "UpperDir", upper);
	return o;
}

int container_inspect_sizes(struct container *c, json_t *to, struct err *err)
{
	auto_image struct image *img = NULL;
	uint64_t own, below = 0;
	struct err gone = { 0 };
	int rc = container_usage(c, &own, err);

	if (rc < 0)
		return rc;
	if (c->image_id && image_find(c->rt, c->image_id, &img, &gone) >= 0)
		below = img->size_bytes;
	set_int(to, "SizeRw", (int64_t)own);
	set_int(to, "SizeRootFs", (int64_t)(own + below));
	return 0;
}

int container_usage(struct container *c, uint64_t *ret_bytes, struct err *err)
{
	uint64_t inodes;

	*ret_bytes = 0;
	return c->snapshot ? snap_usage(c->rt->snap, c->snapshot, ret_bytes, &inodes, err) : 0;
}

/* docker/go-units HumanDuration: each unit is used from about two of it on. */
char *container_age_text(int64_t ns)
{
	enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };
	static const struct {
		int64_t below_s, unit_s;
		const char *one, *name;
	} steps[] = {
		{ 1, 0, "Less than a second", NULL },
		{ 2, 0, "1 second", NULL },
		{ MINUTE, 1, NULL, "seconds" },
		{ MINUTE * INT64_C(2), 0, "About a minute", NULL },
		{ HOUR, MINUTE, NULL, "minutes" },
		{ HOUR + HOUR / 2, 0, "About an hour", NULL },
		{ DAY * INT64_C(2), HOUR, NULL, "hours" },
		{ DAY * INT64_C(14), DAY, NULL, "days" },
		{ DAY * INT64_C(60), DAY * INT64_C(7), NULL, "weeks" },
		{ DAY * INT64_C(730), DAY * INT64_C(30), NULL, "months" },
		{ INT64_MAX, DAY * INT64_C(365), NULL, "years" },
	};
	int64_t s = ns < 0 ? 0 : ns / 1000000000;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (s >= steps[i].below_s)
			continue;
		if (steps[i].one)
			return mem_str(steps[i].one);
		/* Hours are rounded to the nearest. */
		if (steps[i].unit_s == HOUR)
			s += HOUR / 2;
		return mem_fmt("%" PRId64 " %s", s / steps[i].unit_s, steps[i].name);
	}
	return mem_str("");
}

char *container_status_text(const struct container *c, int64_t now_ns)
{
	auto_free char *age = NULL, *health = NULL;

	switch (c->state) {
	case CONTAINER_RUNNING:
		if (container_is_restarting(c)) {
			age = container_age_text(now_ns - c->finished_ns);
			return mem_fmt("Restarting (%d) %s ago", c->exit_code, age);
		}
		health = container_health_status(c);
		age = container_age_text(now_ns - c->started_ns);
		if (container_is_paused(c))
			return mem_fmt("Up %s (Paused)", age);
		if (health)
			return mem_fmt("Up %s (%s%s)", age,
				       str_eq(health, "starting") ? "health: " : "", health);
		return mem_fmt("Up %s", age);
	case CONTAINER_EXITED:
		age = container_age_text(now_ns - c->finished_ns);
		return mem_fmt("Exited (%d) %s ago", c->exit_code, age);
	case CONTAINER_REMOVING:
		return mem_str("Removal In Progress");
	default:
		return mem_str("Created");
	}
}
