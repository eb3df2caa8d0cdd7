/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container: create, start, stop, exec, rm, logs, the monitor, the records.
 *
 * A container is a row (with the resolved spec in it) and an active snapshot, its writable layer,
 * which lives until the container is removed. containers/<id>/ holds the log, the exit status and
 * the files bound over /etc/hosts and its kin. The process that started a container is its keeper:
 * the command itself in the foreground, else a monitor. Row and keeper may be killed at any time:
 * whoever finds a container as next kills what is left of it and records the end (container_find
 * and container_walk do).
 *
 * One thread, the main one. A struct container is a copy of the row with a borrowed runtime;
 * nothing is shared by two of them.
 */
#ifndef SHALE_CONTAINER_H
#define SHALE_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/runtime.h>

struct container;

enum container_state { /* stored: numbers stay */
		       CONTAINER_CREATED = 1,
		       CONTAINER_RUNNING = 2,
		       CONTAINER_EXITED = 3,
		       CONTAINER_REMOVING = 4,
};
const char *container_state_name(enum container_state state); /* "created" */
/* The same, and "paused". */
const char *container_state_text(const struct container *c);
/* The state of that name, or -EINVAL. */
int container_state_find(const char *name);
bool container_may_become(enum container_state from, enum container_state to);

enum { CONTAINER_ID_LEN = 64, CONTAINER_SHORT_LEN = 12, CONTAINER_STOP_S = 10 };

enum { CONTAINER_LOG_FILES_MAX = 100 };

/* What to run, as the user says it; all-zero means default. container_create checks and resolves it
 * against the image. */
struct container_spec {
	char *image; /* name, id or build step */
	char *name;  /* NULL: one is made up */
	struct strv command, entrypoint;
	bool entrypoint_set;   /* --entrypoint was given, also empty: the image's command does not
				  count then */
	struct strv env;       /* "K=V", or "K" for the value that K has here */
	struct strv labels;    /* "k=v" */
	struct strv unset_env; /* names of the image's that are left out; "*": all */
	char *user, *workdir, *hostname, *domainname;
	char *umask;   /* octal, NULL: 0022 */
	char *network; /* "host" (default), "none", "container:NAME", "ns:/PATH", or a network's
			  name; "bridge" is the default when ports or networks are named */
	struct strv networks; /* bridges it has a place in, as network_join_parse reads them */
	struct strv links;    /* "CONTAINER[:ALIAS]": lines of /etc/hosts, as it is at the start */
	struct strv publish;  /* as network_port_parse reads them */
	struct strv expose;   /* "80/tcp", those of the image as well */
	bool publish_all;     /* what is exposed */
	struct strv
		volumes; /* "[NAME|/HOST:]/PATH[:OPTIONS]"; resolved: binds of the host's only */
	struct strv volumes_from; /* "CONTAINER[:ro]" */
	struct strv storage;      /* "size=BYTES", "inodes=N": of the writable layer */
	struct strv tmpfs;        /* "/path[:options]" */
	/*
	 * Other mounts, of container_mount_parse and of build steps that failed
	 * (container_adopt), as JSON:
	 * {"type":…,"target":"/path","read_only":true} and, for a tree, "snapshot" (the container's
	 * from then on) and "source" in it; for a cache, "id", "seed", "sharing", "source", "mode",
	 * "uid" and "gid"; for a tmpfs, "data"; for a file, "content" and "mode"; a device,
	 * "source" (the target when it is not there).
	 */
	struct strv mounts;
	struct strv add_hosts; /* "name:address" */
	struct strv cap_add, cap_drop;
	struct strv security; /* "no-new-privileges[=true|false]", "seccomp=unconfined" */
	struct strv ulimits;  /* "nofile=1024[:2048]" */
	uint64_t log_bytes;   /* a file of the log is not longer; 0: no limit */
	int64_t log_files;    /* so many are kept */
	char *restart;        /* "no", "on-failure[:N]", "always", "unless-stopped"; NULL: "no" */
	struct strv health;   /* "CMD", … or "CMD-SHELL", TEXT; "NONE"; empty: the image's */
	int64_t health_start_interval_ns;
	int64_t health_interval_ns, health_timeout_ns, health_start_ns; /* 0: the image's, or */
	int64_t health_retries;                                         /* Docker's */
	/* NULL: of its own, but the host's users. "host"; "private"; ipc: "shareable", "none"; pid,
	 * ipc and user: "container:NAME"; user: "auto[:size=N]" */
	char *pid_ns, *ipc_ns, *uts_ns, *cgroup_ns, *user_ns;
	int64_t ids_root, ids_count; /* what "auto" has got; not the user's to say */
	char *stop_signal;
	int64_t stop_timeout_s; /* 0: CONTAINER_STOP_S */
	int64_t pids;           /* 0: no limit */
	uint64_t memory_bytes;  /* 0: no limit */
	uint64_t cpu_quota_us;  /* of each 100 ms; 0: no limit */
	int64_t swap_bytes;     /* memory and swap; -1: no limit */
	uint64_t reserved_bytes, cpu_shares, io_weight;
	char *cpus, *mems;
	char *swappiness; /* "0" to "100", NULL: the host's; of cgroup v1, as the next */
	bool no_oom_kill;
	struct strv io_weights, io_read_bps, io_write_bps, io_read_iops,
		io_write_iops;    /* "/dev/x:N" */
	struct strv cdi;          /* names whose edits are in mounts, env and groups already */
	struct strv device_rules; /* "c 42:* rmw" */
	char *cgroup_parent;      /* "/ci/jobs", "ci.slice"; NULL: shale's */
	struct strv groups;       /* more of the user's, by name or number */
	struct strv dns, dns_search, dns_options;
	struct strv sysctls;     /* "name=value" */
	struct strv annotations; /* "k=v": only told */
	int64_t oom_score_adj;
	uint64_t shm_bytes;
	bool read_only, privileged, init;
	bool interactive, tty;
	bool auto_remove;
};
/* Everything that can be wrong in it before an image is looked at. */
int container_spec_check(const struct container_spec *s, struct err *err);
void container_spec_free(struct container_spec *s);
/* Where volumes and mounts go inside. */
void container_spec_targets(const struct container_spec *s, struct strv *ret);
#define auto_container_spec cleanup(container_spec_free)

struct container {
	struct runtime *rt; /* borrowed */
	char id[CONTAINER_ID_LEN + 1];
	char *name, *image_name, *command;
	char *image_id; /* NULL when it was made from a build step */
	char *error;    /* why it could not start, or was lost */
	char *boot;
	int64_t snapshot;
	enum container_state state;
	pid_t pid, keeper; /* 0 while unknown */
	uint64_t start_time, keeper_start;
	int exit_code;
	int64_t created_ns, started_ns, finished_ns; /* 0: not yet */
	bool auto_remove;
	bool is_brief;              /* its spec was not read: CONTAINER_LIST_BRIEF */
	bool drop_volumes;          /* its removal takes its anonymous volumes along */
	struct sandbox_beside *net; /* its network, begun before the rest of it; or NULL */
	struct container_spec spec; /* resolved */
};
void container_free(struct container *c);
void container_cleanup(struct container **c);
#define auto_container cleanup(container_cleanup)

/* By name, id or unique prefix of one. -ENOENT, -EINVAL (several). */
int container_find(struct runtime *rt, const char *name, struct container **ret, struct err *err);
/* Newest first. fn may change or remove containers; a negative result ends the walk and is
 * returned. */
typedef int container_fn(struct container *c, void *arg, struct err *err);
int container_walk(struct runtime *rt, container_fn *fn, void *arg, struct err *err);
/* The same in one query, for those that only look. */
enum container_list_flag {
	CONTAINER_LIST_RUNNING = 1, /* only these */
	CONTAINER_LIST_BRIEF = 2,   /* the spec of others is left empty */
};
int container_list(struct runtime *rt, unsigned flags, container_fn *fn, void *arg,
		   struct err *err);
/* Reads the row again: -ENOENT when it is gone. */
int container_reload(struct container *c, struct err *err);

/* -ENOENT (image), -EEXIST (name taken), -EINVAL, -ENOTSUP. */
int container_create(struct runtime *rt, const struct container_spec *s, struct container **ret,
		     struct err *err);

/* A build step that failed: an active snapshot that is nobody's becomes the writable layer of a new
 * container. s is as it shall be: nothing is taken from an image; name and image (what ps shows)
 * are set. -EEXIST. */
int container_adopt(struct runtime *rt, const struct container_spec *s, int64_t snapshot,
		    struct container **ret, struct err *err);
/* The container goes, its writable layer is the caller's. -EBUSY. */
int container_give_up(struct container *c, int64_t *ret_snapshot, struct err *err);

/* Exit statuses that are shale's, as Docker has them. */
enum {
	CONTAINER_EXIT_SHALE = 125,
	CONTAINER_EXIT_CANNOT_RUN = 126,
	CONTAINER_EXIT_NOT_FOUND = 127,
	CONTAINER_EXIT_LOST = 255
};

/* Starts it under a monitor and returns when the program runs. ret_exit (may be NULL) is one of the
 * above on failure. -EBUSY: runs already. */
int container_start(struct container *c, int *ret_exit, struct err *err);
/* In the foreground, on this process's stdin, stdout and stderr; signals are passed on. *ret_exit
 * is the program's status, also set on failure. stdin: hand it over although the container was not
 * made interactive. */
int container_start_here(struct container *c, bool with_stdin, int *ret_exit, struct err *err);
/* This process's terminal, or its stdin, stdout and stderr, at one that a monitor keeps. The same
 * result. detach_keys NULL: ctrl-p,ctrl-q; they leave it running, with a terminal only: 1, and
 * *ret_exit is 0. -EBUSY: not running, or paused; -ENOTSUP: it has no monitor; -EINTR: a signal
 * that was not passed on. */
struct container_attach {
	bool with_stdin, sig_proxy, redraw;
	const char *detach_keys;
};
int container_attach(struct container *c, const struct container_attach *a, int *ret_exit,
		     struct err *err);
/* container_start, and attached from its first byte on. */
int container_start_attached(struct container *c, const struct container_attach *a, int *ret_exit,
			     struct err *err);
/* container_create and container_start_here in as few steps as can be. */
int container_run(struct runtime *rt, const struct container_spec *s, int *ret_exit,
		  struct err *err);
/* Those that run on after a reboot by their restart policy are started: what failed goes to fn. */
typedef void container_started_fn(const struct container *c, const struct err *failed, void *arg);
int container_start_all(struct runtime *rt, container_started_fn *fn, void *arg, struct err *err);
/* One round of a container's health check, for the process that its monitor starts for that. */
int container_health_check(struct runtime *rt, const char *id, struct err *err);
/* "healthy", "unhealthy", "starting", or NULL: it has no check, or does not run. Caller owns it. */
char *container_health_status(const struct container *c);
/* It has ended and waits to be started again by its monitor. */
bool container_is_restarting(const struct container *c);
/* -EINVAL. */
int container_restart_parse(const char *text, int64_t *ret_max, struct err *err);
/* The monitor process: keeps container id until its end. status_fd gets one struct
 * container_started, or nothing. */
int container_monitor(struct runtime *rt, const char *id, int status_fd, struct err *err);
/* Tells through status_fd why the monitor did not come so far. */
void container_monitor_failed(int status_fd, const struct err *err);
struct container_started {
	struct err err; /* code 0: it runs */
	int exit_code;
};

/* Stops all its processes where they are, and lets them go on. -EBUSY: not running, or paused (not
 * paused) already; -ENOTSUP: it has no control group. */
int container_pause(struct container *c, struct err *err);
int container_unpause(struct container *c, struct err *err);
bool container_is_paused(const struct container *c);
/* Stopped, if it runs, and started under a monitor. signal (NULL: its own) and timeout_ms as
 * container_stop. */
int container_restart(struct container *c, const char *signal, int timeout_ms, struct err *err);
/* A place in one network more or less; at once when it runs. join as network_join_parse reads it.
 * -EEXIST, -ENOENT; -EINVAL: its network is no bridge. */
int container_connect(struct container *c, const char *join, struct err *err);
int container_disconnect(struct container *c, const char *network, struct err *err);
/* -EEXIST, -EINVAL. */
int container_rename(struct container *c, const char *name, struct err *err);

/* What it uses by now. -EBUSY: it does not run. */
struct container_stats {
	uint64_t cpu_ns, memory_bytes, limit_bytes, pids;
	uint64_t net_in_bytes, net_out_bytes, read_bytes, written_bytes;
	bool has_no_group; /* all is summed over its processes */
};
int container_stats(struct container *c, struct container_stats *ret, struct err *err);

/*
 * What happens, as docker events has it: from since_ns (0: now) to until_ns (0: for ever). fn
 * borrows the object; a negative result ends it and is returned.
 */
struct container_events {
	int64_t since_ns, until_ns;
};
typedef int container_event_fn(const json_t *event, void *arg, struct err *err);
int container_events(struct runtime *rt, const struct container_events *o, container_event_fn *fn,
		     void *arg, struct err *err);

/* For what modules beneath this one do: a network that is made or goes, has one container more or
 * less (else NULL); a prune of a type, "image" and so on. */
struct network;
void container_network_event(struct runtime *rt, const struct network *n, const char *action,
			     const struct container *c);
void container_prune_event(struct runtime *rt, const char *type, uint64_t bytes);

/* Its processes as the host sees them. -EBUSY: not running. Caller owns *ret. */
int container_pids(struct container *c, pid_t **ret, size_t *ret_n, struct err *err);

/* Other limits, and another restart policy, for one that may run; what is 0 or NULL in s stays. */
int container_update(struct container *c, const struct container_spec *s, struct err *err);
/* The signal (NULL: its own), after timeout_ms (-1: its own) SIGKILL; returns when the end is
 * recorded. Not running is fine. */
int container_stop(struct container *c, const char *signal, int timeout_ms, struct err *err);
/* -EBUSY: not running (as Docker's conflict). */
int container_kill(struct container *c, int sig, struct err *err);
/* Until it is not running; its status. */
int container_wait(struct container *c, int *ret_exit, struct err *err);
/* -EBUSY while it runs, unless force. The disk is freed after the return. */
int container_remove(struct container *c, bool force, struct err *err);
/* Its file system where the host sees it, nosuid and nodev, until it is unmounted or removed; else
 * as image_mount and its kin. */
int container_mount(struct runtime *rt, const char *name, const char *dir, char **ret_dir,
		    struct err *err);
int container_unmount(struct runtime *rt, const char *which, bool lazy, struct strv *ret_dirs,
		      struct err *err);
typedef int container_mounts_fn(const char *id, const char *dir, void *arg, struct err *err);
int container_mounts(struct runtime *rt, container_mounts_fn *fn, void *arg, struct err *err);

struct container_prune_opts {
	int64_t before_s; /* only what was created earlier; 0 = any time */
	bool dry_run;
};
/* Those that do not run: fn hears of each that went, or would go, and what that frees. */
typedef void container_prune_fn(const struct container *c, uint64_t bytes, void *arg);
int container_prune(struct runtime *rt, const struct container_prune_opts *o,
		    container_prune_fn *fn, void *arg, struct err *err);

/*
 * Volumes: directories that outlive containers. create: one that is there stays as it is; name
 * NULL: one is made up, and it is anonymous. -EBUSY: used by a container.
 */
struct container_volume_info {
	char *name;
	struct strv labels;
	int64_t created_ns;
	bool anonymous, is_used;
};
void container_volume_info_free(struct container_volume_info *v);
#define auto_volume_info cleanup(container_volume_info_free)
int container_volume_create(struct runtime *rt, const char *name, const struct strv *labels,
			    char **ret_name, struct err *err);
int container_volume_find(struct runtime *rt, const char *name, struct container_volume_info *ret,
			  struct err *err);
/* By name. fn may remove the one that it is shown. */
typedef int container_volume_fn(const struct container_volume_info *v, void *arg, struct err *err);
int container_volume_walk(struct runtime *rt, container_volume_fn *fn, void *arg, struct err *err);
int container_volume_remove(struct runtime *rt, const char *name, struct err *err);
int container_volume_usage(struct runtime *rt, const char *name, uint64_t *ret_bytes,
			   struct err *err);
char *container_volume_path(struct runtime *rt, const char *name); /* caller owns it */
/* "type=bind,source=/x,target=/y,readonly": what spec.mounts holds. Caller owns it. */
int container_mount_parse(const char *text, char **ret, struct err *err);
/* What is mounted into it and where: names of volumes, paths of the host, targets. */
void container_spec_mounted(const struct container_spec *s, struct strv *ret);
/* --device, a path or a CDI name, and --gpus: what that needs is added. -ENOENT, -EINVAL, -ENOTSUP
 * (a hook). */
int container_device_add(struct container_spec *to, const char *text, struct err *err);
int container_gpus_add(struct container_spec *to, const char *text, struct err *err);

/* Shortens the database's log when it has become long. For the process that container_remove leaves
 * behind. */
int container_tidy(struct runtime *rt, struct err *err);
/* That, after the prompt. */
void container_tidy_later(const struct runtime *rt);

/*
 * For a database that was lost, and into a new one that has snapshots and images (image_recover):
 * the rows of containers, none of which runs, from what each has kept of its row. Snapshots that
 * are nobody's lose their rows. ret_lost: lines about those that cannot be brought back.
 */
int container_recover(struct runtime *rt, size_t *ret_n, struct strv *ret_lost, struct err *err);
/* What container_recover reads, for a store of an earlier release. */
int container_record_all(struct runtime *rt, struct err *err);

/* One line or part of a line of the log; time is RFC 3339. */
struct container_log_line {
	const char *text;
	size_t len;
	bool is_stderr;
	const char *time;
};
typedef int container_log_fn(const struct container_log_line *line, void *arg, struct err *err);
struct container_log_opts {
	bool follow;                /* until the container ends */
	int64_t tail;               /* the last so many lines; negative: all */
	int64_t since_ns, until_ns; /* 0: no bound */
};
int container_logs(struct container *c, const struct container_log_opts *o, container_log_fn *fn,
		   void *arg, struct err *err);

struct container_exec {
	struct strv command;
	struct strv env;
	char *user, *workdir;
	const char *detach_keys; /* as container_attach */
	bool interactive, tty, detach, privileged;
};
/* *ret_exit as container_start_here. -EBUSY: not running. */
int container_exec(struct container *c, const struct container_exec *x, int *ret_exit,
		   struct err *err);

/* 'A', 'C', 'D' and a path, as docker diff. name may be a container, or an image or build step:
 * then its topmost layer against those beneath. */
typedef int container_diff_fn(char what, const char *path, void *arg, struct err *err);
int container_diff(struct runtime *rt, const char *name, container_diff_fn *fn, void *arg,
		   struct err *err);

/* Its whole file system as a tar stream, without what is mounted into it; it may run. */
struct sink;
int container_export(struct runtime *rt, const char *name, struct sink *to, struct err *err);

/*
 * An image of the container as it is now, its layer a copy. The draft of its config is the image's
 * with what the container was given; the caller may change it before. pause: its processes stand
 * still meanwhile. Needs libcrypto.
 */
struct image_config;
struct container_commit {
	struct image_config *config;
	const char *tag; /* normalised, or NULL */
	const char *message, *author;
	bool pause;
};
int container_commit_config(struct container *c, struct image_config **ret, struct err *err);
int container_commit(struct container *c, const struct container_commit *o,
		     char ret_id[DIGEST_STR_MAX], struct err *err);

/*
 * docker cp. from_name, to_name: the container, NULL for the host. from NULL: a tar (compressed or
 * not) comes from tar_fd, to NULL: one goes there. What is made belongs to uid and gid, with
 * archive to whom it did. Devices, sockets and setuid bits of a container do not get to the host
 * (setuid does with archive). -ENOENT, -ENOTDIR, -EISDIR.
 */
struct container_cp {
	const char *from_name, *from, *to_name, *to;
	int tar_fd;
	bool archive, follow;
	uint32_t uid, gid;
};
struct container_cp_done {
	uint64_t bytes;
	size_t skipped;
};
int container_cp(struct runtime *rt, const struct container_cp *o, struct container_cp_done *ret,
		 struct err *err);

/* As docker inspect prints one. Caller owns it. */
json_t *container_inspect(struct container *c);
/* SizeRw, of its layer, and SizeRootFs, with its image. */
int container_inspect_sizes(struct container *c, json_t *to, struct err *err);
/* Writable layer on disk. */
int container_usage(struct container *c, uint64_t *ret_bytes, struct err *err);

/* "Up 5 minutes", "Exited (0) 2 hours ago". Caller owns it. */
char *container_status_text(const struct container *c, int64_t now_ns);
/* "5 minutes", "About an hour", as Docker prints a duration. Caller owns it. */
char *container_age_text(int64_t ns);

/* Values of options that builds have too: "nofile=1024:2048", and "name:address" or "name=address",
 * a line of a hosts file that the caller owns. -EINVAL. */
struct sandbox_limit;
/* "1.5" cores: microseconds of each 100 ms. -EINVAL. */
int container_cpus_parse(const char *text, uint64_t *ret_quota_us, struct err *err);
/* The limits of a spec: checked, and as a control group has them (borrowed). */
struct sandbox_cgroup;
int container_limits_check(const struct container_spec *s, struct err *err);
void container_limits(const struct container_spec *spec, struct sandbox_cgroup *ret);
/* Is there any? */
/* The group of that name in the one that --cgroup-parent says, which was checked; NULL: shale's.
 * The caller owns it. */
char *container_cgroup_below(const char *parent, const char *name);
bool container_limits_any(const struct sandbox_cgroup *g);
int container_ulimit_parse(const char *text, struct sandbox_limit *ret, struct err *err);
int container_host_parse(const char *text, char **ret_line, struct err *err);

#endif
