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
 * Devices: unless asked for there is no device cgroup. Unless privileged (or opens_devices), the
 * root, /dev and every volume are nodev and only the six standard nodes (bound one by one) and
 * devices given as mounts can be opened, so neither an image's nodes nor those made with CAP_MKNOD
 * lead to the host's disks.
 *
 * The process that execs the user's program is never shale's binary: a tiny static stub in a sealed
 * memfd is executed first, so that /proc/self/exe inside never names shale (CVE-2019-5736, TRAPS
 * T4).
 */
#ifndef SHALE_SANDBOX_H
#define SHALE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <shale/base/err.h>
#include <shale/base/ids.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

struct sandbox_layout;

struct sandbox_ns {
	int type; /* CLONE_NEW* */
	int fd;   /* of one that is there; -1: see where it is used */
};

/* /dev/shm: a new one, none, or a detached mount, which is used up. */
enum sandbox_shm { SANDBOX_SHM_NEW, SANDBOX_SHM_NONE, SANDBOX_SHM_FD };

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
	uint64_t propagation; /* bind: MS_SLAVE, MS_SHARED; 0: MS_PRIVATE */
	/* bind: source_fd lies in tree_fd, a detached mount, which is used up by this one mount. */
	bool in_tree;
	int tree_fd;
	/* file: one that exists in memory alone, with this content; always nosuid,nodev and, unless
	 * may_exec, noexec. The content stays the caller's and is shown by nothing. */
	const void *content;
	size_t content_len;
	uint32_t mode, uid, gid;
	bool may_exec;
	/* file: "DIRECTORY/NAME", as which mountinfo tells it: in the tmpfs of /dev, where neither
	 * is seen. NULL: a tmpfs of its own, which is never swapped. */
	const char *shown;
};

enum sandbox_cap_default { SANDBOX_CAPS_DOCKER, SANDBOX_CAPS_ALL, SANDBOX_CAPS_NONE };

struct sandbox_limit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

enum sandbox_io_kind {
	SANDBOX_IO_WEIGHT, /* 10 to 1000 */
	SANDBOX_IO_READ_BYTES,
	SANDBOX_IO_WRITE_BYTES, /* a second, 0: no limit; as the next */
	SANDBOX_IO_READS,
	SANDBOX_IO_WRITES
};
struct sandbox_io { /* of one disk */
	enum sandbox_io_kind kind;
	dev_t dev;
	uint64_t value;
};

/* Who may do what with which devices: the last rule that fits decides. */
struct sandbox_device_rule {
	bool allow;
	char type;            /* 'b', 'c'; 'a': both */
	int64_t major, minor; /* -1: any */
	unsigned access;      /* SANDBOX_MKNOD | _READ | _WRITE */
};
enum { SANDBOX_MKNOD = 1, SANDBOX_READ = 2, SANDBOX_WRITE = 4 };

struct sandbox_cgroup {
	const char *name;      /* "shale/<id>" beneath each hierarchy; NULL: none is made */
	uint64_t memory_bytes; /* 0 = no limit */
	int64_t pids;          /* 0 = no limit */
	uint64_t cpu_quota_us; /* of each 100 ms, all threads together; 0 = no limit */
	int64_t swap_bytes; /* memory and swap together; 0 = as the kernel has it, -1 = no limit */
	uint64_t reserved_bytes; /* memory that is kept for it when the host is short of it */
	uint64_t cpu_shares;     /* 2 to 262144, 1024 is everybody's; 0 = that */
	uint64_t io_weight;      /* 10 to 1000; 0 = everybody's */
	const char *cpus, *mems; /* "0-3,7"; NULL: all */
	/* Of v1 alone: "0" to "100", NULL: the parent's; and who waits instead of being killed. */
	const char *swappiness;
	bool no_oom_kill;
	const struct sandbox_io *io;
	size_t n_io;
	/* Given: there is a device group, in which no other devices can be used than these and
	 * mknod is free. */
	const struct sandbox_device_rule *device_rules;
	size_t n_device_rules;
	bool opens_devices; /* nodes that the image brought or that are made inside can be opened,
			       as far as the rules allow: nothing is nodev for their sake */
};

struct sandbox_spec {
	int root_fd; /* detached mount (or any directory fd, which is then bind-cloned) */
	/* root_fd is a detached mount that serves this one sandbox: it is attached itself, since
	 * the end of a clone waits for RCU. */
	bool root_is_spent;
	bool read_only;         /* root file system read-only */
	const char *domainname; /* NULL: as it is; not with the host's names */
	bool umask_set;         /* else 0022 */
	mode_t umask;
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
	const char *seccomp_profile; /* text, as sandbox_profile_check takes it; NULL: Docker's */
	bool keep_projects;          /* the filter keeps files in the project that a quota counts */
	bool tell_denied; /* what the filter refuses is remembered: sandbox_denied. Programs inside
			     cannot have a listener of their own */
	/* The program lives in this user namespace; the box itself (mounts, host name, a network
	 * unless it was made there) stays the host's, so no capability reaches it. root_fd shows
	 * files by it, NULL: none. Not with privileged. */
	const struct ids_range *ids;
	/* What is not new of the box's namespaces (pid, ipc, uts, cgroup): fd -1: the host's. Of
	 * the network, with SANDBOX_NET_NONE: one whose loopback is brought up. Without a pid
	 * namespace of its own a box has to have a cgroup: that ends what its first process has
	 * left. */
	const struct sandbox_ns *ns;
	size_t n_ns;
	enum sandbox_shm shm;
	int shm_fd;
	bool unmasked;   /* nothing in /proc and /sys is hidden or read-only for that */
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
	const struct strv *sysctls; /* "net.ipv4.ip_forward=1", of the box's namespaces; or NULL */
	/* Says what the box is instead of the above (below), or NULL. */
	const struct sandbox_layout *layout;
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
 * What takes the kernel about as long as all the rest of a box, done beside other work by a thread.
 * No box may be spawned while one runs. NULL is fine everywhere.
 */
struct sandbox_beside;
/* What SANDBOX_NET_NONE makes with the process, made before it, for SANDBOX_NET_FD. Taken, the fd
 * is the caller's; -1: it could not be made. */
struct sandbox_beside *sandbox_net_begin(void);
int sandbox_net_take(struct sandbox_beside *b);
/* The mounts of sb stay when its processes have ended, until they are left, which takes until
 * sandbox_beside_end. */
struct sandbox_beside *sandbox_mounts_hold(const struct sandbox *sb);
void sandbox_mounts_leave(struct sandbox_beside *b); /* the second time does nothing */
void sandbox_beside_end(struct sandbox_beside *b);   /* waits, and frees it */
void sandbox_beside_cleanup(struct sandbox_beside **b);
#define auto_sandbox_beside cleanup(sandbox_beside_cleanup)

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
/* New limits for a group whose processes run; those that are 0 stay as they are. -ENOENT: there is
 * no such group. */
int sandbox_cgroup_update(const struct sandbox_cgroup *c, struct err *err);
/* Stops all processes of the group, or lets them go on; returns when that is so. -ENOENT: there is
 * no such group. */
int sandbox_cgroup_freeze(const char *name, bool frozen, struct err *err);
bool sandbox_cgroup_is_frozen(const char *name);
/* A group that can be frozen, made when it is not there, takes these processes in: how many were
 * not there yet. Those that are gone, or not of this pid namespace, do not count. */
int sandbox_cgroup_adopt(const char *name, int pid_ns_fd, const pid_t *pids, size_t n,
			 struct err *err);
/* Is pid in the group of another container than that of name, whose first process this is? Groups
 * with the same parent and names as long are those of containers. */
bool sandbox_cgroup_is_others(const char *name, pid_t first, pid_t pid);
/* The processes of the group and of those beneath it, in the order of their numbers. -ENOENT.
 * Caller owns *ret. */
int sandbox_cgroup_pids(const char *name, pid_t **ret, size_t *ret_n, struct err *err);

/* What it has used: where has_… is not set, nothing counts that. -ENOENT: there is no such group.
 */
struct sandbox_usage {
	bool has_cpu, has_memory, has_pids, has_io;
	uint64_t cpu_ns, memory_bytes, pids, read_bytes, written_bytes;
};
int sandbox_cgroup_usage(const char *name, struct sandbox_usage *ret, struct err *err);

/*
 * A layout: a box laid out by its owner, where the above is Docker's.
 *
 * A struct sandbox_spec with a layout has the namespaces, mounts, devices, masks and attributes
 * that the layout says and no others. Its process outlives who spawned it: sandbox_hold leaves it
 * waiting on a fifo, and whoever writes to that one lets it exec. Of the spec itself argv, envp,
 * cwd, ids, groups, no_new_privs, limits, cgroup.name, terminal, stdio, hostname and root_fd count.
 *
 * All that a layout points to stays the caller's and outlives the plan. Paths of the container are
 * resolved beneath its root by openat2; nothing of an image leads out of it (TRAPS T1, T5 to T7).
 */
struct sock_filter;

struct sandbox_pair {
	const char *key, *value; /* value NULL: a flag */
};

enum sandbox_part_kind {
	SANDBOX_PART_BIND,    /* of source_fd */
	SANDBOX_PART_FS,      /* a new file system */
	SANDBOX_PART_CGROUP,  /* the container's own groups */
	SANDBOX_PART_REMOUNT, /* of what is mounted there: attributes only */
};

struct sandbox_part {
	enum sandbox_part_kind kind;
	const char *target;
	const char *fs;
	const struct sandbox_pair *options; /* fs: what fsconfig is told */
	size_t n_options;
	int source_fd;
	bool recursive;                  /* bind: with what is mounted beneath */
	uint64_t set, clear;             /* MOUNT_ATTR_* of the mount itself */
	uint64_t set_below, clear_below; /* and of all beneath it */
	uint64_t propagation;            /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE */
	bool propagation_below;
	bool copy_up; /* tmpfs: begins with what the root has there */
	int idmap_fd; /* user namespace whose mapping the mount has; -1: none */
	bool idmap_below;
};

struct sandbox_node {
	const char *path;
	mode_t mode; /* with S_IFCHR, S_IFBLK or S_IFIFO */
	dev_t dev;
	uint32_t uid, gid;
};

struct sandbox_hook {
	const char *path;
	char *const *argv, *const *envp;
	int timeout_ms; /* 0: none */
};

struct sandbox_sched {
	bool set;
	uint32_t policy;
	uint64_t flags, runtime_ns, deadline_ns, period_ns;
	int32_t nice;
	uint32_t priority;
};

enum sandbox_stage {
	SANDBOX_STAGE_RUNTIME, /* namespaces and mounts are there, the root is not yet "/" */
	SANDBOX_STAGE_LISTENER /* fd: the filter's listener, the callee's to close */
};

struct sandbox_cgroup_write {
	const char *controller; /* v1's; on v2 the file is in the one group */
	const char *file, *value;
	bool v2;
	bool may_miss; /* kernels that have no such file do without */
};

struct sandbox_layout {
	const struct sandbox_ns *ns; /* fd -1: a new one */
	size_t n_ns;
	struct ids_maps maps;      /* of a new user namespace */
	const char *root_path;     /* where the root is put until it is "/" */
	uint64_t root_propagation; /* 0: private */
	bool root_propagation_below, root_read_only;
	const char *domainname;
	const char *time_offsets; /* lines of timens_offsets, or NULL */
	const struct sandbox_part *parts;
	size_t n_parts;
	const struct sandbox_node *nodes;
	size_t n_nodes;
	const char *const *masked; /* NULL-terminated, as the next */
	const char *const *read_only;
	const struct sandbox_pair *sysctls; /* key "net/ipv4/ip_forward" */
	size_t n_sysctls;
	/* The process */
	uint64_t bounding, permitted, effective, inheritable, ambient; /* capabilities */
	bool umask_set, personality_set, ioprio_set, oom_set, new_keyring;
	mode_t umask;
	unsigned long personality;
	int ioprio;
	struct sandbox_sched sched;
	const char *cpu_initial, *cpu_final; /* cpu lists, of an exec */
	const char *apparmor, *selinux;
	int mempolicy_mode; /* -1: none */
	uint64_t mempolicy_flags, mempolicy_nodes;
	uint16_t window_rows, window_columns;
	/* The filter, compiled; NULL: none */
	const struct sock_filter *filter;
	size_t n_filter;
	unsigned filter_flags; /* SECCOMP_FILTER_FLAG_* */
	/* Groups: every hierarchy is joined; what is written before the process is in */
	const struct sandbox_cgroup_write *writes;
	size_t n_writes;
	/* Who may divide the v2 group: the owner of it and of what the kernel says is delegated */
	uint32_t cgroup_uid;
	/* On v2 the rules are a program of the kernel's; v1 has files for them */
	const struct sandbox_device_rule *device_rules;
	size_t n_device_rules;
	/* Hooks that the container's process runs, with state_fd's text (shared memory) on stdin */
	const struct sandbox_hook *create_hooks, *start_hooks;
	size_t n_create_hooks, n_start_hooks;
	int state_fd;
	int go_fd;         /* fifo that lets it exec; -1: sandbox_hold does */
	int status_fd;     /* fifo that takes why it could not */
	unsigned keep_fds; /* 3 … 3 + keep_fds - 1 stay open in the program */
	bool wants_runtime_stage;
	/* In the parent, while the child waits. */
	int (*stage)(void *arg, enum sandbox_stage stage, pid_t pid, int fd, struct err *err);
	void *arg;
};

/* Until the child has done all and waits: what failed in the setup, also that there is no such
 * program (-ENOENT, -EACCES). Serves the stages. */
int sandbox_await(struct sandbox *sb, const struct sandbox_layout *l, struct err *err);
/* Lets go of it: it waits for its fifo (or, joining and without one, execs), and neither
 * sandbox_free nor our end kills it. */
int sandbox_let_go(struct sandbox *sb, struct err *err);

/* A seccomp profile. Actions are SECCOMP_RET_* with their data, operators of enum sandbox_compare.
 * Names of calls and architectures that libseccomp does not know are passed over and an error. */
enum sandbox_compare {
	SANDBOX_NE = 1,
	SANDBOX_LT,
	SANDBOX_LE,
	SANDBOX_EQ,
	SANDBOX_GE,
	SANDBOX_GT,
	SANDBOX_MASKED_EQ, /* (argument & value) == other */
};
struct sandbox_call_arg {
	unsigned index;
	enum sandbox_compare op;
	uint64_t value, other;
};
struct sandbox_call_rule {
	const char *const *names; /* NULL-terminated */
	uint32_t action;
	const struct sandbox_call_arg *args; /* those of one index are alternatives */
	size_t n_args;
};
struct sandbox_profile {
	uint32_t action;
	const char *const *archs; /* "x86_64", NULL-terminated; the own one is always in it */
	const struct sandbox_call_rule *rules;
	size_t n_rules;
	const char *cache_dir; /* or NULL */
	const char *key;       /* text that tells this profile from others, for the cache */
};
int sandbox_profile_compile(const struct sandbox_profile *p, struct sock_filter **ret,
			    size_t *ret_n, struct err *err);

/* A profile as Docker's and Podman's files have it (JSON): -EINVAL, -ENOTSUP (a listener, flags).
 */
int sandbox_profile_check(const char *text, struct err *err);
/* Words of such profiles, which the OCI's have as well: "SCMP_ACT_ERRNO", "SCMP_CMP_EQ" (enum
 * sandbox_compare), "SCMP_ARCH_X86" ("x86", which the caller owns). -EINVAL, NULL. */
int sandbox_action_find(const char *name, uint32_t *ret, bool *ret_takes_errno);
int sandbox_compare_find(const char *name);
char *sandbox_arch_name(const char *text);

/* "CAP_NET_ADMIN": its number, or -1. What this process may give away, as bits. */
int sandbox_cap_find(const char *name);
uint64_t sandbox_caps_held(void);
char *sandbox_cap_name(int n); /* NULL: the kernel has none; the caller owns it */

/* Groups of a layout: name is beneath every hierarchy. Only the last part of the name is ever
 * removed, with what the container made in it. */
int sandbox_cgroup_apply(const char *name, const struct sandbox_cgroup_write *w, size_t n,
			 struct err *err);
/* On v2, where the rules are no files; instead of those of before. */
int sandbox_cgroup_devices(const char *name, const struct sandbox_device_rule *r, size_t n,
			   struct err *err);
int sandbox_cgroup_delete(const char *name, struct err *err);
/* A file of the group that has the controller (v1) or that is v2's. -ENOENT. Caller owns *ret. */
int sandbox_cgroup_read(const char *name, const char *controller, const char *file, char **ret,
			struct err *err);
bool sandbox_cgroup_is_v2(void); /* nothing but v2 */

/* Runs it with state_fd (read from its begin) on stdin: 0, -ENOENT (it could not be run), -ECHILD
 * (it failed: *ret_status), -ETIMEDOUT. */
int sandbox_hook_run(const struct sandbox_hook *h, int state_fd, int *ret_status);

/* What the process writes to its status fifo when it cannot be executed after all. 1 and *ret, or 0
 * at the end: it was executed (or killed). */
struct sandbox_failure {
	int error;
	bool step; /* in a step of the setup; else it is the program that could not be executed */
	char text[256];
};
int sandbox_failure_read(int fd, struct sandbox_failure *ret, struct err *err);

#endif
