/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of container share: parsed words, rows, the box, the relay, the log. */
#ifndef SHALE_CONTAINER_PRIV_H
#define SHALE_CONTAINER_PRIV_H

#include <shale/base/err.h>
#include <shale/base/ids.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/container.h>
#include <shale/network.h>
#include <shale/sandbox.h>
#include <shale/snap.h>
#include <shale/store.h>

struct image_config;

/* --- words (parse.c, name.c, spec.c): pure
 * ------------------------------------------------------------------- */

/* -v: what of it is no bind of the host's becomes a mount (container_spec.mounts). */
struct container_volume {
	char *source, *target; /* source NULL: a volume without a name */
	bool read_only, is_named, no_copy, is_mapped, is_given;
	uint64_t propagation; /* MS_*, 0: private */
};
void container_volume_free(struct container_volume *v);
#define auto_container_volume cleanup(container_volume_free)
int container_volume_parse(const char *text, struct container_volume *ret, struct err *err);
/* "rslave" -> MS_SLAVE: 0, or -EINVAL. */
int container_propagation_find(const char *word, uint64_t *ret);
/* "/path:options" -> target and options (NULL without); caller owns both. */
int container_tmpfs_parse(const char *text, char **ret_target, char **ret_data, struct err *err);

/* --storage-opt: "size=10g", "inodes=N". */
int container_storage_parse(const struct strv *opts, struct snap_limit *ret, struct err *err);

struct container_security {
	bool no_new_privs, seccomp_unconfined, unmasked;
	const char *profile; /* of seccomp, in opts; NULL: the built-in one */
};
int container_security_parse(const struct strv *opts, struct container_security *ret,
			     struct err *err);

bool container_name_valid(const char *name);
char *container_name_random(void); /* "brave_otter" */

char *container_spec_text(const struct container_spec *s); /* JSON */
int container_spec_parse(const char *text, struct container_spec *ret, struct err *err);
void container_spec_copy(struct container_spec *to, const struct container_spec *from);

/* --- rows (record.c, state.c)
 * -------------------------------------------------------------------------------- */

int container_load(struct runtime *rt, const char *id, struct container **ret, struct err *err);
int container_insert(const struct container *c, struct err *err);
/* What is kept of the row in containers/<id>. */
void container_record(const struct container *c);
/* This process becomes the keeper of a created or exited container. -EBUSY when it runs. */
int container_claim(struct container *c, struct err *err);
/* The keeper's own container runs once more; or has ended and will. */
int container_claim_again(struct container *c, struct err *err);
/* Somebody may have renamed it. */
int container_name_again(struct container *c, struct err *err);
int container_record_restarting(struct container *c, int exit_code, struct err *err);
int container_record_pid(struct container *c, struct err *err);
int container_record_exit(struct container *c, int exit_code, const char *error, struct err *err);
/* Back to what it was before the claim. */
int container_record_failure(struct container *c, enum container_state before, int exit_code,
			     const char *error, struct err *err);
/* Row and snapshot row in one transaction, then the files. */
int container_delete(struct container *c, struct err *err);
void container_delete_ready(struct container *c); /* it will be deleted soon */
/* For one that is running: until its pid is known. It may not be running any more then. */
int container_pid_wait(struct container *c, struct err *err);
/* A pause has made a group for one that had none: with its end that goes. */
void container_group_leave(const struct container *c);
/* Frozen processes go on; without a group there are none. */
int container_thaw(struct container *c, struct err *err);
/* SIGKILL, until the end is recorded. */
int container_kill_wait(struct container *c, struct err *err);
/* A pidfd of this very process; -ESRCH when it is gone. */
int container_process_open(pid_t pid, uint64_t start_time, int *ret_fd, struct err *err);
/* Notices that a keeper is gone. -ENOENT: so is the container now. */
int container_reconcile(struct container *c, struct err *err);

/* The spec of its row, and of what is kept of that, becomes the present one. */
int container_store_spec(struct container *c, struct err *err);
int container_create_as(struct runtime *rt, const struct container_spec *s, bool claim,
			struct container **ret, struct err *err);
/* Pure but for "K" in env, the host's name and the directory we stand in. */
int container_resolve(struct container_spec *r, const struct image_config *img, const char *id,
		      struct err *err);
void container_env_apply(struct strv *env, const struct strv *from);

/* --- volumes (volume.c): volumes/<name>/ with _data, meta and, when it has got its first content,
 * filled
 * ------- */

struct container_kept;
/* Of a mount of type volume in spec.mounts, else NULL. */
char *container_volume_of(const char *mount, bool *ret_anonymous);
char *container_volume_mount(const struct container_volume *v); /* such a mount; caller owns it */
/* Volumes and binds of another container's, where targets has nothing. */
int container_mounts_take(const struct container_spec *from, const struct strv *targets,
			  bool read_only, struct container_spec *to, struct err *err);
/* Those of c are there; inside the transaction that inserts its row. */
int container_volumes_make(struct container *c, struct err *err);
/* Those of c without a name that nobody else uses go to trash/; inside the one that deletes it: how
 * many. */
int container_volumes_drop(struct container *c, struct err *err);
/* Its directory, O_PATH; a new one gets what is at target beneath root_fd (-1: nothing). */
int container_volume_open(const struct container *c, const char *name, const char *target,
			  const struct container_kept *k, struct err *err);

/* --- trees (copy_tree.c)
 * -------------------------------------------------------------------------------------- */

struct container_copy {
	const struct ids_range *from, *to; /* who sees the two sides; NULL: the host */
	bool archive;                      /* owners and attributes as they are */
	bool keep_special;                 /* setuid and setgid */
	bool with_devices;
	uid_t uid;
	gid_t gid;
	uint64_t bytes;
	size_t skipped;
	dev_t dev; /* of the directory that is copied, 0 at first */
	int depth;
};
/* from (O_PATH) as name in dir. A directory that is there stays and gets more. */
int container_copy_entry(struct container_copy *c, int from, int dir, const char *name,
			 struct err *err);
/* What is in the directory from. */
int container_copy_into(struct container_copy *c, int from, int to, struct err *err);
/* Of a file system in which the kernel shows itself. */
bool container_is_kernels(int fd);
/* chown.c: what is at fd (O_PATH), and in it, becomes theirs, but for other mounts. */
int container_chown(int fd, uid_t uid, gid_t gid, struct err *err);
/* -EPERM: what the host needs as it is. path is for the message. */
int container_chown_check(const struct runtime *rt, int fd, const char *path, struct err *err);
/* The root of a running one as its processes see it, O_PATH. -EBUSY. */
int container_root(const struct container *c, struct err *err);

/* --- events (event.c)
 * ----------------------------------------------------------------------------------------- */

/* actions: blank-separated; key: of one more attribute, or NULL. */
void container_event(const struct container *c, const char *actions, const char *key,
		     const char *value);
void container_event_number(const struct container *c, const char *actions, const char *key,
			    int64_t value);
void container_event_health(const struct container *c, const char *status);
void container_volume_event(struct runtime *rt, const char *name, const char *action);

/* --- files (files.c)
 * ----------------------------------------------------------------------------------------- */

/* O_PATH fd of containers/<id>. */
int container_dir(const struct container *c, int *ret_fd, struct err *err);
/* "/bin/sh -c true": entrypoint and command, for ps. Caller owns it. */
char *container_command_text(const struct container_spec *r);
int container_dir_make(const struct container *c, struct err *err);
/* Both: one of run --rm in the foreground has none until something is to be kept. */
int container_dir_need(const struct container *c, int *ret_fd, struct err *err);
char *container_path(const struct container *c, const char *name);
/* Those that are bound over names in /etc. fds, -1: not bound. */
enum { CONTAINER_ETC_HOSTS, CONTAINER_ETC_HOSTNAME, CONTAINER_ETC_RESOLV, CONTAINER_ETC_N };
extern const char *const container_etc[CONTAINER_ETC_N]; /* "hosts", … */
int container_etc_write(const struct container *c, int dir_fd, int ret_fds[CONTAINER_ETC_N],
			struct err *err);
/* What goes into one: 1, or 0 when there is to be none. */
int container_etc_text(const struct container *c, int which, struct str *to, struct err *err);
/* They exist in memory alone: of one that goes with its end, and whose networks do not change. */
bool container_etc_is_brief(const struct container *c);
int container_exit_write(int exit_fd, int code, struct err *err);
/* 1 and the status, or 0. */
int container_exit_read(int exit_fd, int *ret_code);

/* --- the box (box.c)
 * ------------------------------------------------------------------------------------------ */

/* kept.c: a mount of the spec's, while the container runs. */
struct container_kept {
	json_t *j; /* what m points into */
	struct snap_mount tree;
	struct cache_held cache;
	int root_fd; /* the container's, borrowed, as its users see it */
	const struct ids_range *ids;
};
void container_kept_close(struct container_kept *k);
/* m's source_fd is the caller's. -EBUSY: a cache mount that another one has. */
/* k has root_fd and ids. */
int container_kept_open(const struct container *c, const char *text, struct container_kept *k,
			struct sandbox_mount *m, struct err *err);
/* The snapshots of the spec's mounts: called after the container; no more. */
int container_kept_take(const struct container *c, struct err *err);
int container_kept_forget(const struct container *c, struct err *err);

/* The limits of its writable layer are in force, if it has any. */
int container_storage_apply(const struct container *c, struct err *err);

/* --- namespaces (namespaces.c)
 * ----------------------------------------------------------------------------------- */

enum { CONTAINER_NAMESPACES_MAX = 8 };
struct container_namespaces {
	struct sandbox_ns v[CONTAINER_NAMESPACES_MAX]; /* that are not its own */
	size_t n;
	enum sandbox_shm shm;
	int shm_fd;
	struct ids_range ids; /* count 0: the host's users */
};
#define CONTAINER_NAMESPACES_INIT                                                                  \
	{                                                                                          \
		.n = 0, .shm_fd = -1, .ids = IDS_INIT                                              \
	}
int container_namespaces_check(const struct container_spec *s, struct err *err); /* pure */
int container_namespaces_resolve(struct runtime *rt, struct container_spec *r, struct err *err);
int container_namespaces_open(const struct container *c, struct container_namespaces *ret,
			      struct err *err);
void container_namespaces_close(struct container_namespaces *n);
bool container_has_users(const struct container_spec *s); /* that are not the host's */
int container_users_allot(struct container *c, struct err *err);
/* For one that is to run: those of another one that runs are that one's; none are fine. */
int container_users_open(const struct container *c, struct ids_range *ret, struct err *err);
/* For its files: a namespace with the same range will do. */
int container_users_at_rest(const struct container *c, struct ids_range *ret, struct err *err);
/* A clone of what is mounted at path in one that runs, detached: an fd. */
int container_clone_mount(const struct container *c, const char *path, struct err *err);
/* shown.c: its root; where the host sees it already, that mount. */
int container_layer_mount(const struct container *c, unsigned flags, const struct ids_range *ids,
			  struct snap_mount *ret, struct err *err);
void container_unmount_all(const struct container *c); /* from where the host sees it */
/* Those of one that runs; none are fine. */
int container_users_of(const struct container *c, struct ids_range *ret, struct err *err);
#define OF_CONTAINER "container:" /* of --network, --pid and their kin */
/* -EBUSY: it does not run. */
int container_find_running(struct runtime *rt, const char *name, struct container **ret,
			   struct err *err);
/* Of one that runs: "net", "pid" … -EBUSY. */
int container_ns_fd(const struct container *c, const char *kind, struct err *err);

struct container_box {
	struct sandbox *sb;
	int net_fd;                          /* -1: none of its own */
	char net_user[CONTAINER_ID_LEN + 1]; /* whose network is to be taken back, or "" */
	bool net_later;                      /* nobody waits for that */
	struct network_held ports;
	int lock_fd; /* of the snapshot */
	struct container_kept *kept;
	size_t n_kept;
};
#define CONTAINER_BOX_INIT                                                                         \
	{                                                                                          \
		.net_fd = -1, .lock_fd = -1                                                        \
	}
void container_box_close(struct container_box *b);

/* --- its network (net.c, names.c)
 * ----------------------------------------------------------------------------------- */

enum container_net {
	CONTAINER_NET_HOST,
	CONTAINER_NET_NONE,
	CONTAINER_NET_CONTAINER,
	CONTAINER_NET_NS,
	CONTAINER_NET_BRIDGE,
};
enum container_net container_net_kind(const struct container_spec *s);
const char *container_net_of(const struct container_spec *s); /* the other container's id */
int container_net_check(const struct container_spec *s, struct err *err); /* pure */
/* That of "none", for struct container's net. NULL: another is asked for. */
struct sandbox_beside *container_net_begin(const struct runtime *rt,
					   const struct container_spec *s);
int container_net_resolve(struct runtime *rt, struct container_spec *r,
			  const struct strv *image_ports, struct err *err);
/* ids: whose it is, if it is new. */
int container_net_open(struct container *c, const struct ids_range *ids, struct container_box *b,
		       struct err *err);
void container_net_close(struct container_box *b);
/* Its keeper is gone. */
void container_net_lost(const struct container *c);
/* Its own lines of /etc/hosts in bridge networks. */
void container_own_names(const struct container *c, struct str *to);
/* What connect and disconnect change of these files while it runs (etc.c): noted before, edited
 * after. */
struct container_etc_state {
	struct str names, resolv;
};
void container_etc_note(const struct container *c, struct container_etc_state *ret);
void container_etc_edit(const struct container *c, const struct container_etc_state *before);
void container_etc_free(struct container_etc_state *s);
/* Lines for its --link. -EINVAL: one does not run. */
int container_link_names(const struct container *c, struct str *to, struct err *err);
/* Where the host is reached: NULL, it is not. Caller owns it. */
char *container_gateway(const struct container *c);
/* Texts of /etc/hosts and /etc/resolv.conf. false: it needs no such file. */
void container_hosts_text(const struct container *c, struct str *to);
bool container_resolv_text(const struct container *c, struct str *to);
/* What inspect shows. */
json_t *container_net_json(const struct container *c);

/* --- the box goes on
 * -------------------------------------------------------------------------------------------- */

#define auto_container_box cleanup(container_box_close)
/* stdio: what the program gets (-1: /dev/null), ignored with a terminal. Held before exec. */
int container_box_spawn(struct container *c, const int stdio[3], bool want_cgroup,
			struct container_box *ret, struct err *err);
/* What container and exec have in common. */
int container_security_apply(const struct container_spec *s, struct sandbox_spec *to,
			     struct err *err);
/* devices.c: "rwm" as SANDBOX_READ and so on. */
bool container_access_parse(const char *text, unsigned *ret);
int container_device_rules_check(const struct container_spec *s, struct err *err);
/* The rules of a device group, one allowed device more; none when there need not be one. */
struct container_device {
	int fd;
	const char *access; /* NULL: all */
};
void container_device_rules(const struct container_spec *s, const struct container_device *v,
			    size_t n, struct sandbox_cgroup *ret,
			    struct sandbox_device_rule **ret_rules);
/* --device HOST[:PATH[:rwm]] as spec.mounts holds it. */
int container_device_parse(const char *text, char **ret, struct err *err);
void container_umask(const struct container_spec *spec, struct sandbox_spec *to);
void container_env_home(struct strv *env, const struct sandbox_user *user);
char *container_cache_dir(struct runtime *rt); /* of compiled seccomp filters; caller owns it */
/* sandbox_release, and what a failure means. */
int container_box_release(struct container_box *b, int *ret_exit, struct err *err);
/* Its control group, beneath each hierarchy. */
enum { CONTAINER_GROUP_MAX = 256 };
void container_cgroup_name(const struct container *c, char buf[CONTAINER_GROUP_MAX]);

/* limits.c: those of its disks as they are numbered now, which the caller owns; others instead of
 * what to has of the same disk; as inspect shows them. */
int container_io_open(const struct container_spec *s, struct sandbox_io **ret, size_t *ret_n,
		      struct err *err);
int container_io_merge(struct container_spec *to, const struct container_spec *from,
		       struct err *err);
void container_io_json(const struct container_spec *s, json_t *to);

/* --- policies (policy.c, health.c)
 * ---------------------------------------------------------------------------- */

/* A user stopped it: no policy starts it again. */
void container_mark_stopped(const struct container *c, bool stopped);
bool container_was_stopped(const struct container *c);
/* Should its policy start it after this end, the n-th time? */
bool container_wants_restart(const struct container *c, int exit_code, int64_t n);
int64_t container_restart_count(const struct container *c);
void container_restart_count_write(const struct container *c, int64_t n);
/* As long as *ret_fd is open it stays when it ends, even if it was run with --rm. */
int container_restart_hold(const struct container *c, int *ret_fd, struct err *err);
bool container_goes_with_end(const struct container *c);

/* Its output (4 KiB of it at most) and status; -1: it took longer and was killed. */
struct container_exec;
int container_exec_captured(struct container *c, const struct container_exec *x, int64_t timeout_ns,
			    struct str *ret_output, int *ret_exit, struct err *err);

struct container_health {
	const struct container *c;
	int64_t next_ns; /* of CLOCK_MONOTONIC */
	pid_t checker;
};
bool container_has_health(const struct container *c);
void container_health_begin(struct container_health *h, const struct container *c);
void container_health_end(struct container_health *h);
/* Starts a check when it is due: milliseconds until it has to be called again. */
int container_health_tick(struct container_health *h);
json_t *container_health_json(const struct container *c); /* NULL: none */
void container_health_resolve(struct container_spec *r, const struct image_config *img);

/* --- the log (log.c)
 * ------------------------------------------------------------------------------------------ */

struct container_log {
	int fd;
	int dir_fd;           /* where it is rotated; -1: never */
	uint64_t size, limit; /* 0: none */
	int files;            /* log, log.1 … that are kept */
	struct str part[2];   /* of stdout, stderr: a line without its end yet */
	struct str out;
};
#define CONTAINER_LOG_INIT                                                                         \
	{                                                                                          \
		.fd = -1, .dir_fd = -1                                                             \
	}
void container_log_close(struct container_log *l);
#define auto_container_log cleanup(container_log_close)
int container_log_open(int dir_fd, const struct container_spec *s, struct container_log *ret,
		       struct err *err);
/* "log", "log.1" … */
enum { CONTAINER_LOG_NAME_MAX = 16 };
const char *container_log_name(int i, char buf[CONTAINER_LOG_NAME_MAX]);
int container_log_add(struct container_log *l, int stream, const char *p, size_t n,
		      struct err *err);
int container_log_end(struct container_log *l, struct err *err);
/* One line of the file: {"log":…,"stream":…,"time":…} and a newline, added to out. */
void container_log_format(struct str *out, const char *p, size_t n, int stream, int64_t time_ns);
char *container_time_text(int64_t ns); /* RFC 3339 with nanoseconds, UTC */

/* --- the relay (relay.c, stdio.c)
 * ------------------------------------------------------------------------------ */

/* What flows between the outside and the program. */
struct container_stdio {
	int child[3]; /* for the program; -1: /dev/null */
	int from[2];  /* our ends of its stdout and stderr; -1: it has ours */
	int to;       /* our end of its stdin; -1 */
	int outer[3]; /* our own: where from[] goes and to comes from; -1: nowhere (borrowed) */
	int sig_fd;   /* signals to pass on, -1 */
	bool tty, raw;
};
#define CONTAINER_STDIO_INIT                                                                       \
	{                                                                                          \
		{ -1, -1, -1 }, { -1, -1 }, -1, { -1, -1, -1 }, -1, false, false                   \
	}
void container_stdio_close(struct container_stdio *io);
#define auto_container_stdio cleanup(container_stdio_close)
/* want_log: what the program writes must pass through us. */
int container_stdio_foreground(bool tty, bool with_stdin, bool want_log,
			       struct container_stdio *ret, struct err *err);
int container_stdio_monitor(bool tty, bool with_stdin, struct container_stdio *ret,
			    struct err *err);
/* For the one that is attached: signals, and its terminal raw. */
int container_stdio_client(bool raw, struct container_stdio *ret, struct err *err);
void container_stdio_raw_again(struct container_stdio *io);
/* For the program: what our own parent had ignored. */
void container_signals_default(void);
/* After the spawn: the ends that are the program's are closed here. */
int container_stdio_spawned(struct container_stdio *io, struct err *err);

/* --- doors (doors.c, attach.c)
 * --------------------------------------------------------------------------------- */

enum { DOORS_MAX = 16, DOOR_INPUT_MAX = 4096, DOORS_POLL = DOORS_MAX + 1 };
enum door_message { /* the first byte */
		    DOOR_INPUT = 'i',
		    DOOR_SIZE = 'w', /* struct winsize */
		    DOOR_SIGNAL = 's',
		    DOOR_LEAVE = 'd', /* the end of this socket is meant */
		    DOOR_STDOUT = 'o',
		    DOOR_STDERR = 'e',
};
struct door_guest {
	int fd;
	bool has_left;
	struct str queue; /* messages, each with its length before it */
};
struct container_doors {
	int listen_fd;   /* -1: nobody else comes in */
	bool is_private; /* a guest that is lost takes the program along */
	struct door_guest guest[DOORS_MAX];
};
#define auto_container_doors cleanup(container_doors_close)
void container_doors_init(struct container_doors *d);
void container_doors_close(struct container_doors *d);
int container_doors_open(struct container_doors *d, int dir_fd, struct err *err);
int container_doors_connect(int dir_fd, struct err *err);   /* the other side: an fd */
int container_doors_add(struct container_doors *d, int fd); /* takes fd */
void container_doors_prepare(struct container_doors *d, struct sandbox *sb);
void container_doors_send(struct container_doors *d, int stream, const char *p, size_t n);
bool container_doors_are_full(const struct container_doors *d);
void container_doors_flush(struct container_doors *d);
struct pollfd;
size_t container_doors_poll(const struct container_doors *d, bool want_input, struct pollfd *fds);
void container_doors_run(struct container_doors *d, const struct pollfd *fds, struct sandbox *sb,
			 char buf[DOOR_INPUT_MAX], size_t *ret_n);
/* Before the program runs: it finds its terminal as large as ours. */
void container_client_tell_size(int sock);
int container_client_run(int sock, const struct container_attach *a, bool tty, struct err *err);
/* container_start; fd (-1: none) is the first guest. */
int container_start_at(struct container *c, int guest_fd, int *ret_exit, struct err *err);

struct container_relay {
	struct sandbox *sb;
	struct container_stdio *io;
	struct container_doors *doors;   /* or NULL */
	struct container_log *log;       /* or NULL */
	struct container_health *health; /* or NULL */
	/* Called once when the program has lived for settle_ms (0: never): short ones cost no
	 * transaction. */
	int settle_ms;
	int (*settled)(void *arg, struct err *err);
	void *arg;
};
/* Until the program has ended and all it wrote has gone out. */
int container_relay_run(struct container_relay *r, int *ret_exit, struct err *err);

/* --- from start to end (start.c)
 * ------------------------------------------------------------------------------- */

struct container_keep {
	struct container *c;
	bool is_foreground;
	bool is_brief; /* foreground and removed at its end */
	int exit_fd;
	struct container_stdio io;
	struct container_log log;
	struct container_doors doors; /* of a monitor */
	struct container_health *health;
	struct container_box box;
	struct sandbox_beside *mounts; /* held: is_brief */
};
#define CONTAINER_KEEP_INIT                                                                        \
	{                                                                                          \
		NULL, false, false, -1, CONTAINER_STDIO_INIT, CONTAINER_LOG_INIT,                  \
			{ .listen_fd = -1 }, NULL, CONTAINER_BOX_INIT, NULL                        \
	}
/* The directory of the group that monitors live in, of cgroup v2; -1: none. The caller's. */
int container_monitor_group(void);
/* The mounts of one that is_brief may end until container_keep_cleanup. */
void container_keep_close(struct container_keep *k);
void container_keep_cleanup(struct container_keep *k);
#define auto_container_keep cleanup(container_keep_cleanup)
int container_keep_open(struct container_keep *k, struct err *err);
/* Others may come in. */
int container_keep_doors(struct container_keep *k, struct err *err);
/* Until the program runs. */
int container_keep_spawn(struct container_keep *k, bool want_cgroup, int *ret_exit,
			 struct err *err);
/* Until it has ended. */
int container_keep_relay(struct container_keep *k, int *ret_exit, struct err *err);
int container_finish(struct container *c, int exit_code, struct err *err);
void container_finish_failed(struct container *c, enum container_state before, int exit_code,
			     const struct err *err);

#endif
