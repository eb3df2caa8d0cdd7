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
	const char *cgroup_parent;
	bool no_healthcheck, no_oom_kill;
	struct strv links, env, env_files, labels, volumes, tmpfs, storage, add_hosts, cap_add,
		cap_drop, security, ulimits;
	int stop_timeout_ms;
	uint64_t shm;
};

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
		  "HOST[:PATH]",                                                                        \
		  "give it a device of the host" },                                                     \
		{ 0, "dns", OPT_STRV, RUN_AT(dns), "ADDRESS", "name server to ask" },                   \
		{ 0, "dns-option", OPT_STRV, RUN_AT(dns_options), "OPTION", "option of the resolver" }, \
		{ 0, "dns-opt", OPT_STRV, RUN_AT(dns_options), "OPTION", NULL },                        \
		{ 0,        "dns-search",                                                               \
		  OPT_STRV, RUN_AT(dns_search),                                                         \
		  "DOMAIN", "domain to look names up in" },                                             \
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
/* --cidfile: -EEXIST when the file is there already; called before anything is made. */
int run_cidfile_check(const struct run_args *a, struct err *err);
int run_cidfile_write(const struct run_args *a, const char *id, struct err *err);
/* Words of an --env-file, as Docker reads them, added to env. */
int run_env_file(const char *path, struct strv *env, struct err *err);

#endif
