/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox: a process in a box.
 *
 * sandbox_plan is pure: spec in, a list of steps with every string, fd and BPF program ready out.
 * sandbox_spawn makes the child (clone3), which walks the list and then holds before exec;
 * sandbox_release lets it exec. The child allocates nothing, takes no lock and parses nothing.
 * Parent and child talk over one socketpair; its EOF kills the child, backing pdeathsig. spawn must
 * be called from a thread that outlives the process (the main thread). All fds of the spec stay the
 * caller's.
 *
 * Devices: there is no device cgroup. Unless privileged, the root, /dev and every volume are nodev
 * and only the six standard nodes (bound one by one) and devices given as mounts can be opened, so
 * neither an image's nodes nor those made with CAP_MKNOD lead to the host's disks.
 *
 * The process that execs the user's program is never shale's binary: a tiny static stub in a sealed
 * memfd is executed first, so that /proc/self/exe inside never names shale (CVE-2019-5736, TRAPS
 * T4).
 */
#ifndef SHALE_SANDBOX_H
#define SHALE_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <shale/base/err.h>
#include <shale/base/ids.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

enum sandbox_net { SANDBOX_NET_NONE, SANDBOX_NET_HOST, SANDBOX_NET_FD };

enum sandbox_mount_kind { SANDBOX_BIND, SANDBOX_TMPFS, SANDBOX_FILE };

struct sandbox_mount {
	enum sandbox_mount_kind kind;
	int source_fd;      /* bind: O_PATH fd of a file or directory */
	const char *target; /* path inside, resolved in the root by openat2; made if it is missing;
			       not in /proc */
	const char *data;   /* tmpfs options ("size=64m,mode=1777"), or NULL; a tmpfs is always
			       nosuid,nodev */
	bool read_only;     /* recursive */
	bool nosuid, nodev, noexec;
	bool recursive; /* rbind */
	bool is_mapped; /* bind: owners are those of the spec's user namespace, if it has one */
	/* bind: source_fd lies in tree_fd, a detached mount, which is used up by this one mount. */
	bool in_tree;
	int tree_fd;
	/* file: one that exists in memory alone, with this content; always nosuid,nodev and, unless
	 * may_exec, noexec. The content stays the caller's and is shown by nothing. */
	const void *content;
	size_t content_len;
	uint32_t mode, uid, gid;
	bool may_exec;
};

enum sandbox_cap_default { SANDBOX_CAPS_DOCKER, SANDBOX_CAPS_ALL, SANDBOX_CAPS_NONE };

struct sandbox_limit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

struct sandbox_cgroup {
	const char *name;      /* "shale/<id>" beneath each hierarchy; NULL: none is made */
	uint64_t memory_bytes; /* 0 = no limit */
	int64_t pids;          /* 0 = no limit */
	uint64_t cpu_quota_us; /* of each 100 ms, all threads together; 0 = no limit */
};

struct sandbox_spec {
	int root_fd;          /* detached mount (or any directory fd, which is then bind-cloned) */
	bool read_only;       /* root file system read-only */
	const char *hostname; /* NULL: the host's (with net host) or left */
	char *const *argv;    /* argv[0] is looked up in envp's PATH inside the root, as execvp */
	char *const *envp;    /* the whole environment */
	const char *cwd;      /* absolute; made inside the root (root:root 0755) if missing, by fd;
				 refused if it is a magic link */
	uint32_t uid, gid;
	const uint32_t *groups; /* supplementary; the primary gid is added (TRAPS T12) */
	size_t n_groups;
	enum sandbox_net net;
	int net_fd; /* SANDBOX_NET_FD: a network namespace */
	const struct sandbox_mount *mounts;
	size_t n_mounts;
	enum sandbox_cap_default caps;
	const struct strv *cap_add,
		*cap_drop; /* "NET_ADMIN", "CAP_NET_ADMIN", "ALL"; may be NULL */
	bool no_new_privs;
	bool seccomp_unconfined;
	bool tell_denied; /* what the filter refuses is remembered: sandbox_denied. Programs inside
			     cannot have a listener of their own */
	/* The program lives in this user namespace; the box itself (mounts, network, host name)
	 * stays the host's, so no capability reaches it. root_fd shows files by it, NULL: none. Not
	 * with privileged, and not for sandbox_join. */
	const struct ids_range *ids;
	bool privileged; /* all caps, all devices, no masks, no seccomp */
	bool init;       /* pid 1 is a reaper that forwards signals, the program is its child */
	const struct sandbox_limit *limits;
	size_t n_limits;
	struct sandbox_cgroup cgroup;
	uint64_t shm_bytes; /* 0 = 64 MiB */
	bool terminal;      /* a pty from the container's devpts; the master is given by
			       sandbox_terminal_fd */
	int stdio[3];       /* -1: /dev/null */
	const char
		*cache_dir; /* directory for compiled seccomp filters (root-owned 0700), or NULL */
	int oom_score_adj;
};

struct sandbox_plan;
struct sandbox;

int sandbox_plan(const struct sandbox_spec *spec, struct sandbox_plan **ret, struct err *err);
void sandbox_plan_free(struct sandbox_plan *p);
void sandbox_plan_cleanup(struct sandbox_plan **p);
#define auto_sandbox_plan cleanup(sandbox_plan_cleanup)
/* The plan as text, a line per step: what tests compare. Caller owns it. */
char *sandbox_plan_text(const struct sandbox_plan *p);

/* A user or group of an image: "name", "uid", "name:group", "uid:gid" read from etc/passwd and
 * etc/group inside root_fd as data: at most 1 MiB, regular files only, never NSS (TRAPS T2, T15,
 * T29). Caller owns groups and home. -EINVAL, -ENOENT. */
struct sandbox_user {
	uint32_t uid, gid;
	uint32_t *groups;
	size_t n_groups;
	char *home;
};
int sandbox_user_find(int root_fd, const char *user, struct sandbox_user *ret, struct err *err);
void sandbox_user_free(struct sandbox_user *u);

/*
 * Held before exec. The child may still be setting up when this returns (with a terminal the master
 * is there); what fails in the setup is told by sandbox_release.
 */
int sandbox_spawn(const struct sandbox_plan *p, struct sandbox **ret, struct err *err);
/* Lets it exec; returns when the exec has succeeded. -ENOENT: no such program (127), -EACCES,
 * -ENOEXEC: cannot be run (126). */
int sandbox_release(struct sandbox *sb, struct err *err);
pid_t sandbox_pid(const struct sandbox *sb);
int sandbox_pidfd(const struct sandbox *sb);
int sandbox_terminal_fd(const struct sandbox *sb); /* -1 without terminal; owned by sb */
/* timeout_ms -1: forever. 1 and *ret_status (a wait status) when it ended, 0 on time-out. */
int sandbox_wait(struct sandbox *sb, int timeout_ms, int *ret_status, struct err *err);
int sandbox_signal(struct sandbox *sb, int sig, struct err *err);
/* Kills everything inside, by cgroup where there is one, else by pid 1 of the pid namespace, and
 * waits. */
int sandbox_kill(struct sandbox *sb, struct err *err);
/* Names of the system calls that were refused to it by the filter, once each and at most 8, when it
 * has ended. */
void sandbox_denied(struct sandbox *sb, struct strv *ret);
/* Removes the cgroup (if any) and frees; kills first when it still runs. NULL is fine. */
void sandbox_free(struct sandbox *sb);
void sandbox_cleanup(struct sandbox **sb);
#define auto_sandbox cleanup(sandbox_cleanup)

/* Another process in the box of pid (its pid 1), with its own argv, env, user and capabilities;
 * joins the namespaces by pidfd. root_fd and mounts of the spec are not used. */
int sandbox_join(const struct sandbox_plan *p, pid_t pid, struct sandbox **ret, struct err *err);

/* cgroup beneath each hierarchy (v1, v2, hybrid). kill: cgroup.kill, else freeze, kill, thaw until
 * empty. */
int sandbox_cgroup_kill(const char *name, struct err *err);
int sandbox_cgroup_remove(const char *name, struct err *err);
/* Stops all processes of the group, or lets them go on; returns when that is so. -ENOENT: there is
 * no such group. */
int sandbox_cgroup_freeze(const char *name, bool frozen, struct err *err);
bool sandbox_cgroup_is_frozen(const char *name);
/* The processes of the group and of those beneath it, in the order of their numbers. -ENOENT.
 * Caller owns *ret. */
int sandbox_cgroup_pids(const char *name, pid_t **ret, size_t *ret_n, struct err *err);

#endif
