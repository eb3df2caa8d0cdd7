/* SPDX-License-Identifier: Apache-2.0 */
/* The options that run and create have in common, and what they make of them. */
#ifndef SHALE_CLI_RUN_SPEC_H
#define SHALE_CLI_RUN_SPEC_H

#include <shale/container.h>

#include "priv.h"

/* What update changes as well. */
struct limit_args {
	const char *cpus, *cpuset, *mems, *restart, *swap, *swappiness;
	struct strv io_weights, io_read_bps, io_write_bps, io_read_iops, io_write_iops;
	uint64_t memory, reserved, cpu_shares, io_weight, cpu_period;
	int pids, cpu_quota;
};
#define LIMIT_OPTS(at)                                                                                 \
	{ 0,       "blkio-weight",                                                                     \
	  OPT_U64, (at) + offsetof(struct limit_args, io_weight),                                      \
	  "N",     "share of block IO, 10 to 1000" },                                                  \
		{ 0,          "blkio-weight-device",                                                   \
		  OPT_STRV,   (at) + offsetof(struct limit_args, io_weights),                          \
		  "DEVICE:N", "the same of one disk" },                                                \
		{ 0,                                                                                   \
		  "device-read-bps",                                                                   \
		  OPT_STRV,                                                                            \
		  (at) + offsetof(struct limit_args, io_read_bps),                                     \
		  "DEVICE:BYTES",                                                                      \
		  "what it may read of a disk in a second" },                                          \
		{ 0,          "device-read-iops",                                                      \
		  OPT_STRV,   (at) + offsetof(struct limit_args, io_read_iops),                        \
		  "DEVICE:N", "the same in single reads" },                                            \
		{ 0,                                                                                   \
		  "device-write-bps",                                                                  \
		  OPT_STRV,                                                                            \
		  (at) + offsetof(struct limit_args, io_write_bps),                                    \
		  "DEVICE:BYTES",                                                                      \
		  "what it may write to a disk in a second" },                                         \
		{ 0,          "device-write-iops",                                                     \
		  OPT_STRV,   (at) + offsetof(struct limit_args, io_write_iops),                       \
		  "DEVICE:N", "the same in single writes" },                                           \
		{ 'c',     "cpu-shares",                                                               \
		  OPT_U64, (at) + offsetof(struct limit_args, cpu_shares),                             \
		  "N",     "share of CPU time, 1024 is everybody's" },                                 \
		{ 0,       "cpus",                                                                     \
		  OPT_STR, (at) + offsetof(struct limit_args, cpus),                                   \
		  "N",     "CPU time, in cores (0.5)" },                                               \
		{ 0,   "cpu-period", OPT_U64, (at) + offsetof(struct limit_args, cpu_period),          \
		  "N", NULL },                                                                         \
		{ 0, "cpu-quota", OPT_INT, (at) + offsetof(struct limit_args, cpu_quota), "N", NULL }, \
		{ 0,       "cpuset-cpus",                                                              \
		  OPT_STR, (at) + offsetof(struct limit_args, cpuset),                                 \
		  "LIST",  "CPUs to run on (0-2,4)" },                                                 \
		{ 0,      "cpuset-mems",        OPT_STR, (at) + offsetof(struct limit_args, mems),     \
		  "LIST", "memory nodes to use" },                                                     \
		{ 'm',     "memory",      OPT_BYTES, (at) + offsetof(struct limit_args, memory),       \
		  "BYTES", "memory limit" },                                                           \
		{ 0,         "memory-reservation",                                                     \
		  OPT_BYTES, (at) + offsetof(struct limit_args, reserved),                             \
		  "BYTES",   "memory that is kept for it when there is little" },                      \
		{ 0,       "memory-swappiness",                                                        \
		  OPT_STR, (at) + offsetof(struct limit_args, swappiness),                             \
		  "N",     "how readily it is swapped, 0 to 100 (cgroup v1)" },                        \
		{ 0,       "memory-swap",                                                              \
		  OPT_STR, (at) + offsetof(struct limit_args, swap),                                   \
		  "BYTES", "limit of memory and swap, -1: none" },                                     \
		{ 0,   "pids-limit",        OPT_INT, (at) + offsetof(struct limit_args, pids),         \
		  "N", "limit of processes" },                                                         \
	{                                                                                              \
		0, "restart", OPT_STR, (at) + offsetof(struct limit_args, restart), "POLICY",          \
			"no, on-failure[:N], always or unless-stopped"                                 \
	}
int run_limits_make(const struct limit_args *a, struct container_spec *ret, struct err *err);

struct run_args {
	bool quiet, publish_all, detach, interactive, tty, rm, init, read_only, privileged,
		sig_proxy;
	const char *name, *entrypoint, *user, *workdir, *hostname, *ip, *ip6, *mac, *stop_signal,
		*cidfile, *pull, *platform, *detach_keys;
	struct strv networks, aliases, publish, expose;
	struct strv mounts, volumes_from, log_opts, sysctls;
	const char *log_driver;
	const char *pid_ns, *ipc_ns, *uts_ns, *cgroup_ns, *user_ns;
	const char *health_cmd;
	struct strv attach;
	int64_t health_interval, health_timeout, health_start, health_start_interval;
	int health_retries;
	struct limit_args limits;
	struct strv groups, dns, dns_search, dns_options, annotations, label_files, devices;
	int oom_score_adj;
	const char *cgroup_parent, *gpus, *domainname, *tz, *umask;
	bool env_host, read_only_tmpfs, replace, unset_all;
	struct strv unset_env, device_rules;
	bool no_healthcheck, no_oom_kill;
	struct strv links, env, env_files, labels, volumes, tmpfs, storage, add_hosts, cap_add,
		cap_drop, security, ulimits;
	int stop_timeout_ms;
	uint64_t shm;
};

/* What docker run and podman run have, and nothing here. */
#define RUN_REFUSED_OPTS                                                                            \
	OPT_REFUSED("cpu-rt-period", "0", CPU_RT), OPT_REFUSED("cpu-rt-runtime", "0", CPU_RT),      \
		OPT_REFUSED("cpu-count", "0", WINDOWS), OPT_REFUSED("cpu-percent", "0", WINDOWS),   \
		OPT_REFUSED("io-maxbandwidth", "0", WINDOWS),                                       \
		OPT_REFUSED("io-maxiops", "0", WINDOWS),                                            \
		OPT_REFUSED("isolation", "default", WINDOWS),                                       \
		OPT_REFUSED("kernel-memory", "0",                                                   \
			    "no kernel counts it apart any more: --memory has it"),                 \
		OPT_REFUSED("runtime", "runc crun io.containerd.runc.v2",                           \
			    "shale runs containers itself; for GPUs: --gpus, --device"),            \
		OPT_REFUSED("volume-driver", "local", "there is only the driver local"),            \
		OPT_REFUSED("link-local-ip", NULL, "addresses are --ip and --ip6"),                 \
		OPT_REFUSED_FLAG("use-api-socket", "there is no daemon, and no socket of one"),     \
		OPT_REFUSED("cgroups", "enabled",                                                   \
			    "every container that needs one has a control group"),                  \
		OPT_REFUSED("cgroup-conf", NULL,                                                    \
			    "limits have options of their own; --cgroup-parent for others"),        \
		OPT_REFUSED("chrootdirs", NULL, "bind /etc/hosts and its kin with -v"),             \
		OPT_REFUSED("conmon-pidfile", NULL, "there is no conmon"),                          \
		OPT_REFUSED("gidmap", NULL, USERS), OPT_REFUSED("uidmap", NULL, USERS),             \
		OPT_REFUSED("subgidname", NULL, USERS), OPT_REFUSED("subuidname", NULL, USERS),     \
		OPT_REFUSED("health-on-failure", "none",                                            \
			    "what an unhealthy one shall do: shale events tells it"),               \
		OPT_REFUSED("hostuser", NULL,                                                       \
			    "the image's /etc/passwd stays as it is: --user UID:GID"),              \
		OPT_REFUSED("passwd-entry", NULL,                                                   \
			    "the image's /etc/passwd stays as it is: --user UID:GID"),              \
		OPT_REFUSED("image-volume", "anonymous bind",                                       \
			    "an image's VOLUMEs are volumes without a name"),                       \
		OPT_REFUSED("init-path", NULL, "the reaper of --init is built in"),                 \
		OPT_REFUSED("personality", NULL, "start it by setarch inside"),                     \
		OPT_REFUSED("pod", NULL, PODS), OPT_REFUSED("pod-id-file", NULL, PODS),             \
		OPT_REFUSED("init-ctr", NULL, PODS),                                                \
		OPT_REFUSED("preserve-fds", "0",                                                    \
			    "no file of the caller's gets in but stdin, stdout and stderr"),        \
		OPT_REFUSED("requires", NULL, "start them in their order"),                         \
		OPT_REFUSED_FLAG(                                                                   \
			"rootfs",                                                                   \
			"make an image of the directory: tar -C DIR -c . | shale import - NAME"),   \
		OPT_REFUSED("sdnotify", "ignore conmon",                                            \
			    "let the unit run shale in the foreground, Type=exec"),                 \
		OPT_REFUSED("seccomp-policy", "default",                                            \
			    "give the profile: --security-opt seccomp=FILE"),                       \
		OPT_REFUSED("secret", NULL,                                                         \
			    "there is no store of secrets: --mount type=bind, --env-file"),         \
		OPT_REFUSED(                                                                        \
			"systemd", "false",                                                         \
			"say what it needs: --tmpfs /run --tmpfs /run/lock --stop-signal RTMIN+3"), \
		OPT_REFUSED("timeout", "0", "run timeout SECONDS COMMAND inside"),                  \
		OPT_REFUSED_FLAG("rmi", "shale rmi IMAGE removes it afterwards"),                   \
		OPT_REFUSED_FLAG("no-hosts", "bind a file of your own: -v FILE:/etc/hosts"),        \
		OPT_REFUSED("pidfile", NULL, "shale inspect -f '{{.State.Pid}}' tells it"),         \
		OPT_REFUSED("authfile", NULL, "shale pull has it; REGISTRY_AUTH_FILE here"),        \
		OPT_REFUSED_FLAG("http-proxy",                                                      \
				 "give them: -e http_proxy -e https_proxy -e no_proxy")
#define CPU_RT  "needs RT_GROUP_SCHED and a share of all above: --ulimit rtprio=N --cap-add SYS_NICE"
#define WINDOWS "Windows has it"
#define USERS   "its users are --userns auto[:size=N], keep-id or private"
#define PODS    "there are no pods: --network, --pid and --ipc container:NAME share"

#define RUN_AT(field) offsetof(struct run_args, field)
#define RUN_SPEC_OPTS                                                                                   \
	{                                                                                               \
		0,                                                                                      \
		"add-host",                                                                             \
		OPT_STRV,                                                                               \
		RUN_AT(add_hosts),                                                                      \
		"NAME:ADDRESS",                                                                         \
		"add a line to /etc/hosts"                                                              \
	},                                                                                              \
		{ 0, "domainname", OPT_STR, RUN_AT(domainname), "NAME", "NIS domain name inside" },     \
		{ 0, "env-host", OPT_BOOL, RUN_AT(env_host), NULL, "set all that is set here, too" },   \
		{ 0,        "read-only-tmpfs",                                                          \
		  OPT_BOOL, RUN_AT(read_only_tmpfs),                                                    \
		  NULL,     "with --read-only: /run, /tmp and /var/tmp in memory" },                    \
		{ 0,        "replace",                                                                  \
		  OPT_BOOL, RUN_AT(replace),                                                            \
		  NULL,     "remove the one that has its name first, running or not" },                 \
		{ 0,          "tz",   OPT_STR,                                                          \
		  RUN_AT(tz), "ZONE", "time zone inside, like Europe/Paris, or local" },                \
		{ 0, "umask", OPT_STR, RUN_AT(umask), "MODE", "of its files (default 0022)" },          \
		{ 0,        "unsetenv",                                                                 \
		  OPT_STRV, RUN_AT(unset_env),                                                          \
		  "NAME",   "leave out a variable of the image" },                                      \
		{ 0, "unsetenv-all", OPT_BOOL, RUN_AT(unset_all), NULL, "leave out all of the image" }, \
		RUN_REFUSED_OPTS,                                                                       \
		{ 0, "cap-add", OPT_STRV, RUN_AT(cap_add), "CAP", "add a capability" },                 \
		{ 0, "link", OPT_STRV, RUN_AT(links), "CONTAINER[:ALIAS]", NULL },                      \
		{ 0, "cap-drop", OPT_STRV, RUN_AT(cap_drop), "CAP", "drop a capability" },              \
		{ 0,       "cidfile",                                                                   \
		  OPT_STR, RUN_AT(cidfile),                                                             \
		  "FILE",  "write the container's ID to a file" },                                      \
		{ 0,         "entrypoint",                                                              \
		  OPT_STR,   RUN_AT(entrypoint),                                                        \
		  "COMMAND", "replace the image's ENTRYPOINT" },                                        \
		{ 'e', "env", OPT_STRV, RUN_AT(env), "NAME[=VALUE]", "set an environment variable" },   \
		{ 0,        "env-file",                                                                 \
		  OPT_STRV, RUN_AT(env_files),                                                          \
		  "FILE",   "read environment variables from a file" },                                 \
		{ 0,         "health-cmd",                                                              \
		  OPT_STR,   RUN_AT(health_cmd),                                                        \
		  "COMMAND", "check its health with a shell command" },                                 \
		{ 0,                                                                                    \
		  "health-interval",                                                                    \
		  OPT_DURATION,                                                                         \
		  RUN_AT(health_interval),                                                              \
		  "DURATION",                                                                           \
		  "time between checks (default 30s)" },                                                \
		{ 0,                                                                                    \
		  "health-start-interval",                                                              \
		  OPT_DURATION,                                                                         \
		  RUN_AT(health_start_interval),                                                        \
		  "DURATION",                                                                           \
		  "the same in the start period (default 5s)" },                                        \
		{ 0,       "health-retries",                                                            \
		  OPT_INT, RUN_AT(health_retries),                                                      \
		  "N",     "failures in a row that make it unhealthy (default 3)" },                    \
		{ 0,                                                                                    \
		  "health-start-period",                                                                \
		  OPT_DURATION,                                                                         \
		  RUN_AT(health_start),                                                                 \
		  "DURATION",                                                                           \
		  "failures do not count for so long" },                                                \
		{ 0,                                                                                    \
		  "health-timeout",                                                                     \
		  OPT_DURATION,                                                                         \
		  RUN_AT(health_timeout),                                                               \
		  "DURATION",                                                                           \
		  "a check that takes longer has failed (default 30s)" },                               \
		{ 0, "annotation", OPT_STRV, RUN_AT(annotations), "KEY=VALUE", "set an annotation" },   \
		{ 0,                                                                                    \
		  "device",                                                                             \
		  OPT_STRV,                                                                             \
		  RUN_AT(devices),                                                                      \
		  "HOST[:PATH[:rwm]]",                                                                  \
		  "give it a device, by its path or CDI name" },                                        \
		{ 0,        "device-cgroup-rule",                                                       \
		  OPT_STRV, RUN_AT(device_rules),                                                       \
		  "RULE",   "devices that may be used, like 'c 42:* rwm'" },                            \
		{ 0, "dns", OPT_STRV, RUN_AT(dns), "ADDRESS", "name server to ask" },                   \
		{ 0, "dns-option", OPT_STRV, RUN_AT(dns_options), "OPTION", "option of the resolver" }, \
		{ 0, "dns-opt", OPT_STRV, RUN_AT(dns_options), "OPTION", NULL },                        \
		{ 0,        "dns-search",                                                               \
		  OPT_STRV, RUN_AT(dns_search),                                                         \
		  "DOMAIN", "domain to look names up in" },                                             \
		{ 0,       "gpus",                                                                      \
		  OPT_STR, RUN_AT(gpus),                                                                \
		  "GPUS",  "all, N or device=ID,...: NVIDIA's, by CDI" },                               \
		{ 0, "group-add", OPT_STRV, RUN_AT(groups), "GROUP", "another group of the user" },     \
		{ 0, "label-file", OPT_STRV, RUN_AT(label_files), "FILE", "read labels from a file" },  \
		{ 0,       "oom-score-adj",                                                             \
		  OPT_INT, RUN_AT(oom_score_adj),                                                       \
		  "N",     "who goes first when memory is out, -1000 to 1000" },                        \
		{ 0,        "oom-kill-disable",                                                         \
		  OPT_BOOL, RUN_AT(no_oom_kill),                                                        \
		  NULL,     "wait for memory instead of being killed (cgroup v1)" },                    \
		{ 0,       "cgroup-parent",                                                             \
		  OPT_STR, RUN_AT(cgroup_parent),                                                       \
		  "GROUP", "control group that its own is made in (default shale)" },                   \
		LIMIT_OPTS(RUN_AT(limits)),                                                             \
		{ 'h', "hostname", OPT_STR, RUN_AT(hostname), "NAME", "host name inside" },             \
		{ 0,       "cgroupns",                                                                  \
		  OPT_STR, RUN_AT(cgroup_ns),                                                           \
		  "MODE",  "private (default) or host: whose control groups it sees" },                 \
		{ 0,       "ipc",                                                                       \
		  OPT_STR, RUN_AT(ipc_ns),                                                              \
		  "MODE",  "private (default), shareable, host, none, container:NAME" },                \
		{ 0,       "pid",                                                                       \
		  OPT_STR, RUN_AT(pid_ns),                                                              \
		  "MODE",  "private (default), host, container:NAME: whose processes" },                \
		{ 0,       "userns",                                                                    \
		  OPT_STR, RUN_AT(user_ns),                                                             \
		  "MODE",  "host (default), private, auto, keep-id, container:NAME" },                  \
		{ 0,       "uts",                                                                       \
		  OPT_STR, RUN_AT(uts_ns),                                                              \
		  "MODE",  "private (default) or host: whose host name it has" },                       \
		{ 0, "init", OPT_BOOL, RUN_AT(init), NULL, "run a reaper as process 1" },               \
		{ 'i', "interactive", OPT_BOOL, RUN_AT(interactive), NULL, "keep stdin open" },         \
		{ 'l', "label", OPT_STRV, RUN_AT(labels), "KEY=VALUE", "set a label" },                 \
		{ 0,        "log-driver",                                                               \
		  OPT_STR,  RUN_AT(log_driver),                                                         \
		  "DRIVER", "json-file (default); there is no other" },                                 \
		{ 0,           "log-opt",                                                               \
		  OPT_STRV,    RUN_AT(log_opts),                                                        \
		  "KEY=VALUE", "max-size=BYTES, max-file=N of its log" },                               \
		{ 0,                                                                                    \
		  "mount",                                                                              \
		  OPT_STRV,                                                                             \
		  RUN_AT(mounts),                                                                       \
		  "type=T,target=PATH,...",                                                             \
		  "mount a bind, volume, tmpfs, image or cache" },                                      \
		{ 0, "name", OPT_STR, RUN_AT(name), "NAME", "name of the container" },                  \
		{ 0,         "network",                                                                 \
		  OPT_STRV,  RUN_AT(networks),                                                          \
		  "NETWORK", "NAME, bridge (else host), none, container:NAME, ns:PATH" },               \
		{ 0, "net", OPT_STRV, RUN_AT(networks), "NETWORK", NULL },                              \
		{ 0,        "network-alias",                                                            \
		  OPT_STRV, RUN_AT(aliases),                                                            \
		  "NAME",   "another name of it in its network" },                                      \
		{ 0, "ip", OPT_STR, RUN_AT(ip), "ADDRESS", "its address in its network" },              \
		{ 0, "ip6", OPT_STR, RUN_AT(ip6), "ADDRESS", "its IPv6 address there" },                \
		{ 0,           "mac-address", OPT_STR,                                                  \
		  RUN_AT(mac), "MAC",         "its hardware address in its network" },                  \
		{ 0, "expose", OPT_STRV, RUN_AT(expose), "PORT[/PROTOCOL]", "a port for -P" },          \
		{ 'p',                                                                                  \
		  "publish",                                                                            \
		  OPT_STRV,                                                                             \
		  RUN_AT(publish),                                                                      \
		  "[[ADDRESS:]PORT:]PORT",                                                              \
		  "make its port one of the host" },                                                    \
		{ 'P',      "publish-all",                                                              \
		  OPT_BOOL, RUN_AT(publish_all),                                                        \
		  NULL,     "make all exposed ports ones of the host" },                                \
		{ 0,        "no-healthcheck",                                                           \
		  OPT_BOOL, RUN_AT(no_healthcheck),                                                     \
		  NULL,     "no health check, whatever the image says" },                               \
		{ 0,        "pull",                                                                     \
		  OPT_STR,  RUN_AT(pull),                                                               \
		  "POLICY", "fetch the image: always, missing (default), never" },                      \
		{ 'q', "quiet", OPT_BOOL, RUN_AT(quiet), NULL, "say nothing of a pull" },               \
		{ 0, "disable-content-trust", OPT_TRUE, 0, NULL, NULL },                                \
		{ 0,                                                                                    \
		  "platform",                                                                           \
		  OPT_STR,                                                                              \
		  RUN_AT(platform),                                                                     \
		  "OS/ARCH[/VARIANT]",                                                                  \
		  "which image to fetch of several" },                                                  \
		{ 0,        "privileged",                                                               \
		  OPT_BOOL, RUN_AT(privileged),                                                         \
		  NULL,     "all capabilities and devices, no seccomp" },                               \
		{ 0, "read-only", OPT_BOOL, RUN_AT(read_only), NULL, "root file system read-only" },    \
		{ 0, "rm", OPT_BOOL, RUN_AT(rm), NULL, "remove the container when it ends" },           \
		{ 0,        "security-opt",                                                             \
		  OPT_STRV, RUN_AT(security),                                                           \
		  "OPTION", "no-new-privileges, seccomp=FILE or =unconfined" },                         \
		{ 0, "shm-size", OPT_BYTES, RUN_AT(shm), "BYTES", "size of /dev/shm" },                 \
		{ 0,        "stop-signal",                                                              \
		  OPT_STR,  RUN_AT(stop_signal),                                                        \
		  "SIGNAL", "signal that stops it (default SIGTERM)" },                                 \
		{ 0,           "stop-timeout",                                                          \
		  OPT_SECONDS, RUN_AT(stop_timeout_ms),                                                 \
		  "SECONDS",   "wait before killing (default 10)" },                                    \
		{ 0,           "storage-opt",                                                           \
		  OPT_STRV,    RUN_AT(storage),                                                         \
		  "KEY=VALUE", "size=BYTES, inodes=N: what its layer may hold" },                       \
		{ 0,                                                                                    \
		  "sysctl",                                                                             \
		  OPT_STRV,                                                                             \
		  RUN_AT(sysctls),                                                                      \
		  "NAME=VALUE",                                                                         \
		  "set a kernel parameter inside" },                                                    \
		{ 0, "tmpfs", OPT_STRV, RUN_AT(tmpfs), "PATH[:OPTIONS]", "mount a tmpfs" },             \
		{ 't', "tty", OPT_BOOL, RUN_AT(tty), NULL, "give it a terminal" },                      \
		{ 0, "ulimit", OPT_STRV, RUN_AT(ulimits), "NAME=SOFT[:HARD]", "set a resource limit" }, \
		{ 'u', "user", OPT_STR, RUN_AT(user), "USER[:GROUP]", "user to run as" },               \
		{ 'v',                                                                                  \
		  "volume",                                                                             \
		  OPT_STRV,                                                                             \
		  RUN_AT(volumes),                                                                      \
		  "[NAME|HOST:]PATH[:OPTIONS]",                                                         \
		  "mount a volume, or a path of the host (ro, nocopy, idmap)" },                        \
		{ 0,                                                                                    \
		  "volumes-from",                                                                       \
		  OPT_STRV,                                                                             \
		  RUN_AT(volumes_from),                                                                 \
		  "CONTAINER[:ro]",                                                                     \
		  "mount what another container has mounted" },                                         \
	{                                                                                               \
		'w', "workdir", OPT_STR, RUN_AT(workdir), "DIR", "working directory inside"             \
	}

/* argv: IMAGE [COMMAND [ARG...]]. */
int run_spec_make(const struct run_args *a, int argc, char **argv, struct container_spec *ret,
		  struct err *err);
/* For --userns auto: rt's range. */
int run_users_find(struct cli *c, const struct run_args *a, struct err *err);
/* Before anything is made: with --pull always the image is fetched. */
int run_pull_first(struct cli *c, const struct run_args *a, const char *image, struct err *err);
/* After -ENOENT: 1 when it was for the image, which is here now; else rc and err stay. */
int run_pull_missing(struct cli *c, const struct run_args *a, const char *image, struct err *err);
/* --replace: whoever has the name goes, when the new one could be made. */
int run_replace(struct cli *c, const struct run_args *a, const struct container_spec *s,
		struct err *err);
/* --cidfile: -EEXIST when the file is there already; called before anything is made. */
int run_cidfile_check(const struct run_args *a, struct err *err);
int run_cidfile_write(const struct run_args *a, const char *id, struct err *err);
/* Words of an --env-file, as Docker reads them, added to env. */
int run_env_file(const char *path, struct strv *env, struct err *err);

#endif
