/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox, shared inside the module: the plan's steps, the child's walk and the messages between
 * the two processes. */
#ifndef SHALE_SANDBOX_PRIV_H
#define SHALE_SANDBOX_PRIV_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/filter.h>

#include <shale/base/err.h>
#include <shale/base/str.h>
#include <shale/sandbox.h>

enum {
	SANDBOX_ARGS_MAX = 1 << 20, /* strings of argv or envp; the kernel has limits of its own */
	SANDBOX_MOUNTS_MAX = 1024,
	SANDBOX_GROUPS_MAX = 65536,
	SANDBOX_CANDIDATES_MAX = 256, /* directories of PATH that are tried */
	SANDBOX_HIERARCHIES_MAX = 24,
	SANDBOX_TEXT_MAX = 256,
	TTY_GROUP = 5,
};

/* One thing the child does. The order in which plan.c emits them, and why, is told there. */
enum sandbox_op {
	OP_DUMPABLE,
	OP_SESSION,
	OP_CGROUP_ENTER,
	OP_CGROUP_NS,
	OP_NET_FD,
	OP_LOOPBACK,
	OP_HOSTNAME,
	OP_PRIVATE,
	OP_FS_IDS,
	OP_ROOT,
	OP_PROC,
	OP_SYS,
	OP_CGROUP_FS,
	OP_DEV,
	OP_NODE,
	OP_NODE_BIND,
	OP_LINK,
	OP_DIR,
	OP_DEVPTS,
	OP_SHM,
	OP_MQUEUE,
	OP_MOUNT,
	OP_DEV_SEAL,
	OP_READ_ONLY,
	OP_MASK,
	OP_ROOT_READ_ONLY,
	OP_JOIN,
	OP_TERMINAL,
	OP_STDIO,
	OP_LIMIT,
	OP_KEYRING,
	OP_CWD,
	OP_USER_NS,
	OP_CLOSE,
	OP_BOUNDING,
	OP_GROUPS,
	OP_SECCOMP,
	OP_NO_NEW_PRIVS,
	OP_USER,
	OP_CAPS,
	OP_HOLD,
	/* A layout's (sandbox.h). */
	OP_MAPPED,
	OP_NS,
	OP_DOMAINNAME,
	OP_ROOT_AT,
	OP_PART,
	OP_PROC_VIEW,
	OP_DEVICE,
	OP_DEV_LINK,
	OP_CONSOLE,
	OP_SYSCTL,
	OP_STAGE,
	OP_HOOKS,
	OP_PIVOT,
	OP_MASK_PATH,
	OP_READ_ONLY_PATH,
	OP_ROOT_ATTR,
	OP_LABEL,
	OP_UMASK,
	OP_SCHEDULER,
	OP_IOPRIO,
	OP_PERSONALITY,
	OP_MEMPOLICY,
	OP_AFFINITY,
	OP_LAYOUT_CAPS,
	OP_FIND,
	OP_HELD,
	OP_N
};

struct sandbox_step {
	enum sandbox_op op;
	const char *name;  /* path, host name, name of a limit */
	const char *value; /* target of a link, options of a tmpfs */
	uint64_t a, b;     /* what the op says: device and mode, soft and hard limit … */
	const struct sandbox_mount *mount;
	const void *of; /* the part, node, hooks … of a layout */
};

struct sandbox_plan {
	struct sandbox_spec spec;            /* deep copy; fds are the caller's numbers */
	const struct sandbox_layout *layout; /* or NULL */
	char *hostname, *cwd, *cgroup_name;
	struct strv argv, envp;
	char **stub_argv; /* what the stub is executed with */
	char *stub_flags;
	struct strv candidates;
	uint32_t *groups;
	size_t n_groups;
	struct sandbox_ns *ns; /* of the spec */
	struct sandbox_mount *mounts;
	struct sandbox_limit *limits;
	struct sandbox_io *io;
	struct sandbox_device_rule *rules;
	struct sandbox_step *steps, *join_steps;
	size_t n_steps, cap_steps, n_join_steps, cap_join_steps;
	struct strv strings; /* what steps point into */
	uint64_t caps;
	struct sock_filter *filter;
	size_t n_filter;
};

/* What spawn opens for the child to use; all close with it. */
struct sandbox_ctx {
	const struct sandbox_plan *plan;
	char text[SANDBOX_TEXT_MAX]; /* the kernel's own words on it */
	int sock;                    /* the child's end */
	int parent_sock;             /* the parent's end, closed first thing */
	int stub_fd;
	int join_pidfd, join_types;
	int pid_fd;  /* a pid namespace, or a process in it; borrowed */
	int root_fd; /* detached clone, or the spec's */
	int null_fd;
	int *mount_fds; /* detached clones of bind sources, one a mount */
	int cgroup_tasks[SANDBOX_HIERARCHIES_MAX]; /* v1: tasks, to write "0" to */
	size_t n_cgroup_tasks;
	bool cgroup_v2; /* /sys/fs/cgroup is cgroup2 */
	struct sandbox_cgroup_view {
		char name[64];
		int fd; /* detached read-only bind */
	} views[SANDBOX_HIERARCHIES_MAX];
	size_t n_views;
	/* Of a layout: clones of binds, one a part; of the host's /dev/null; and, with a user
	 * namespace, of the nodes. */
	int *part_fds, *node_fds;
	int user_fd; /* of a layout: the user namespace that it is born in; the layout's */
	int mask_null_fd;
	/* Made by the child's own steps. */
	int proc_fd, sys_fd, dev_fd, pts_fd, mask_dir_fd;
	bool mask_null_attached;
	int exec_fd; /* who is told why the program could not be executed */
};

/* Child to parent: one struct a message. No message but EOF: the exec succeeded. Parent to child:
 * one byte, go. */
enum sandbox_msg_kind {
	SANDBOX_MSG_READY =
		1, /* all steps done, holding; carries the pty's master when there is a terminal */
	SANDBOX_MSG_FAILED,   /* a step failed */
	SANDBOX_MSG_NO_EXEC,  /* from the stub: the program could not be executed */
	SANDBOX_MSG_LISTENER, /* carries the filter's listener */
	SANDBOX_MSG_MAP,      /* waits for the maps of its user namespace */
	SANDBOX_MSG_STAGE,    /* waits while the owner of the layout acts */
	SANDBOX_MSG_HELD,     /* all done */
};
_Static_assert(SANDBOX_MSG_NO_EXEC == 3, "stub.c says it, too");
struct sandbox_msg {
	uint32_t kind;
	int32_t error;
	uint32_t step; /* index into the steps */
	char text[SANDBOX_TEXT_MAX];
};

/* plan.c, mounts.c */
struct sandbox_step *sandbox_step_add(struct sandbox_plan *p, enum sandbox_op op);
const char *sandbox_keep(struct sandbox_plan *p, const char *s);
void sandbox_plan_mounts(struct sandbox_plan *p);
/* layout.c: both lists of steps of a plan with a layout. */
int sandbox_check_layout(const struct sandbox_spec *spec, struct err *err);
void sandbox_plan_layout(struct sandbox_plan *p);
struct sandbox_step *sandbox_join_add(struct sandbox_plan *p, enum sandbox_op op);
typedef struct sandbox_step *sandbox_more_fn(struct sandbox_plan *p, enum sandbox_op op);
void sandbox_plan_limits(struct sandbox_plan *p, sandbox_more_fn *more);
/* The spec's word on one of Docker's box: NULL: a new one. */
const struct sandbox_ns *sandbox_plan_ns(const struct sandbox_plan *p, int type);
bool sandbox_is_proc_allowed(const char *target);
int sandbox_check_mounts(const struct sandbox_spec *spec, struct err *err);
void sandbox_step_text(const struct sandbox_plan *p, const struct sandbox_step *s, struct str *out);

/* caps.c */
int sandbox_caps_find(const struct sandbox_spec *spec, uint64_t *ret, struct err *err);
void sandbox_caps_text(uint64_t caps, struct str *out);

/* seccomp.c, seccomp_table.c */
int sandbox_filter_make(uint64_t caps, const char *cache_dir, struct sock_filter **ret,
			size_t *ret_n, struct err *err);
/* shrink.c: the same of libseccomp's in fewer instructions, in its place. */
void sandbox_filter_shrink(struct sock_filter *f, size_t *n);
void sandbox_filter_keep_projects(struct sock_filter **f, size_t *n);
struct sandbox_rule {
	const char *names; /* blank-separated */
	uint64_t caps;     /* one of these is needed; 0: none */
};
extern const struct sandbox_rule sandbox_rules[];
extern const size_t sandbox_n_rules;
/* profile_json.c: the filter of spec.seccomp_profile for a box with these capabilities. */
int sandbox_profile_make(const char *text, uint64_t caps, const char *cache_dir,
			 struct sock_filter **ret, size_t *ret_n, struct err *err);
/* Numbers that libseccomp may be too old to know; they are the same on every architecture. */
struct sandbox_new_call {
	uint16_t first, last;
	uint64_t caps;
};
extern const struct sandbox_new_call sandbox_new_calls[];
extern const size_t sandbox_n_new_calls;
enum { SANDBOX_RULES_REVISION = 2, SANDBOX_NEW_FIRST = 451 };

/* listener.c */
struct sandbox_listener;
void sandbox_filter_listen(struct sock_filter *f, size_t n);   /* EPERM becomes a question */
void sandbox_filter_unlisten(struct sock_filter *f, size_t n); /* and EPERM again */
int sandbox_listener_new(int fd, struct sandbox_listener **ret, struct err *err); /* takes fd */
void sandbox_listener_free(struct sandbox_listener *l);
void sandbox_listener_names(struct sandbox_listener *l, struct strv *ret); /* and ends it */

/* exec.c */
int sandbox_stub_open(struct err *err);

/* cgroup.c */
#define CGROUP_ROOT "/sys/fs/cgroup"
struct sandbox_cgroup_dirs {
	struct {
		char *controllers; /* ",memory," between commas; "" for v2 */
		char *mount;       /* mount point */
		bool v2;
	} v[SANDBOX_HIERARCHIES_MAX];
	size_t n;
	bool pure_v2;
};
#define auto_cgroup_dirs cleanup(sandbox_cgroup_dirs_free)
int sandbox_cgroup_scan(struct sandbox_cgroup_dirs *ret, struct err *err);
void sandbox_cgroup_dirs_free(struct sandbox_cgroup_dirs *d);
int sandbox_cgroup_check_name(const char *name, struct err *err);
/* The directory of name beneath a hierarchy's root: its fd or -errno. */
int sandbox_cgroup_group(const char *mount, const char *name, bool v2, bool make);
/* Is the hierarchy needed for what is asked; the limits of its kind; what no hierarchy has. */
bool sandbox_cgroup_wants(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			  size_t i);
int sandbox_cgroup_limit(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			 size_t i, int dir_fd, struct err *err);
int sandbox_cgroup_missing(const struct sandbox_cgroup *c, const struct sandbox_cgroup_dirs *d,
			   struct err *err);
/* 0 or -errno. */
int sandbox_cgroup_write(int dir_fd, const char *file, const char *value);
/* Makes the groups; fills cgroup_tasks and views; *ret_v2_fd (-1: none) is for CLONE_INTO_CGROUP.
 */
int sandbox_cgroup_make(const struct sandbox_cgroup *c, struct sandbox_ctx *ctx, int *ret_v2_fd,
			struct err *err);
/* devices.c: the rules, attached to a v2 group instead of those that are there. */
int sandbox_devices_attach(int group_fd, const struct sandbox_device_rule *r, size_t n,
			   struct err *err);
/* cgroup_layout.c: the groups of a layout. */
int sandbox_cgroup_make_all(const struct sandbox_plan *p, struct sandbox_ctx *ctx, int *ret_v2_fd,
			    struct err *err);
/* CPUs and memory nodes of a v1 group that has none yet. */
void sandbox_group_inherit(const char *mount, const char *name);
bool sandbox_group_has(const struct sandbox_cgroup_dirs *d, size_t i, const char *controller);
int sandbox_group_view(struct sandbox_ctx *ctx, const char *mount, int dir_fd, uint64_t set,
		       struct err *err);
int sandbox_group_tasks(struct sandbox_ctx *ctx, int dir_fd, const char *mount, struct err *err);
/* For a process that joins pid: the same groups, which must exist. */
int sandbox_cgroup_open(const char *name, pid_t pid, struct sandbox_ctx *ctx, int *ret_v2_fd,
			struct err *err);

/* init.c and its parts: in the child. Each returns 0 or -errno and fills nothing but ctx. */
void sandbox_child(struct sandbox_ctx *ctx, const struct sandbox_step *steps, size_t n)
	__attribute__((noreturn));
/* beside.c: of the caller's network namespace; -errno. */
int sandbox_loopback_up(void);
int sandbox_in_net_fd(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_loopback(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_private(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_root(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_proc(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_sys(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_cgroup_fs(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_dev(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_node(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_node_bind(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_link(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_dir(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_devpts(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_shm(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_mqueue(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_mount(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_dev_seal(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_read_only(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_mask(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_root_read_only(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_terminal(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_stdio(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_cwd(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_bounding(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_groups(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_seccomp(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_user(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_caps(struct sandbox_ctx *ctx, const struct sandbox_step *s);
/* A new file system, detached: the mount's fd. options is a list of key, value (NULL: a flag), …,
 * NULL. */
int sandbox_new_mount(struct sandbox_ctx *ctx, const char *fs, const char *const *options,
		      unsigned attr);
int sandbox_set_attr(int fd, uint64_t set);
int sandbox_attach_at(int mount_fd, int dir_fd, const char *name);
/* in_source.c: what is not a bind of the host's, as a detached mount. */
int sandbox_source_make(struct sandbox_ctx *ctx, const struct sandbox_mount *m);
int sandbox_source_attached(struct sandbox_ctx *ctx, const struct sandbox_mount *m);
/* in_path.c: opens path beneath root, making what is missing (O_PATH); symlinks as a process
 * chrooted there sees them. */
int sandbox_make_path(int root_fd, const char *path, bool is_dir);

/* in_layout.c, in_nodes.c, in_attr.c: the steps of a layout. */
int sandbox_in_mapped(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_ns(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_root_at(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_part(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_proc_view(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_device(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_dev_link(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_console(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_sysctl(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_stage(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_hooks(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_pivot(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_mask_path(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_read_only_path(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_root_attr(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_label(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_scheduler(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_ioprio(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_personality(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_mempolicy(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_affinity(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_layout_caps(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_find(struct sandbox_ctx *ctx, const struct sandbox_step *s);
int sandbox_in_held(struct sandbox_ctx *ctx, const struct sandbox_step *s);
/* in_mount.c */
int sandbox_attach(int mount_fd, int target_fd);
int sandbox_leave_chroot(void);
/* in_process.c */
int sandbox_open_master(struct sandbox_ctx *ctx); /* -errno */
int sandbox_send_fd(int sock, enum sandbox_msg_kind kind, int fd);
/* layout_spawn.c: what the child of a layout uses. */
int sandbox_layout_open(struct sandbox_ctx *ctx, struct err *err);
void sandbox_layout_close(struct sandbox_ctx *ctx);
uint64_t sandbox_layout_flags(const struct sandbox_layout *l);
/* Of namespaces that are there: is the child in it from its birth, or does it enter? */
bool sandbox_layout_is_born_in(const struct sandbox_layout *l, int type);
struct clone_args;
/* As clone3: 0 in the child. */
pid_t sandbox_clone_in_user(int user_fd, struct clone_args *args, int *ret_pidfd);
int sandbox_layout_start(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t flags,
			 int cgroup_fd, struct sandbox **ret, struct err *err);
int sandbox_new_fs(struct sandbox_ctx *ctx, const struct sandbox_part *part);
/* copy_up.c: a tmpfs with what the root has at its target. */
int sandbox_copy_up(struct sandbox_ctx *ctx, const struct sandbox_part *part, int *ret_fd,
		    struct err *err);
int sandbox_private_clone(int fd, bool recursive, uint64_t propagation);

/* spawn.c, join.c */
struct sandbox {
	pid_t pid;
	int pidfd, sock, terminal_fd;
	bool joined; /* not pid 1 of its own pid namespace */
	bool released, ended;
	bool let_go;      /* it outlives us */
	bool shares_pids; /* its end takes nobody along but by its cgroup */
	int status;
	char *cgroup_name;
	struct sandbox_listener *listener;
	struct strv step_texts; /* for messages: the plan may be gone */
	char *program;
};
int sandbox_start(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t clone_flags,
		  int cgroup_fd, struct sandbox **ret, struct err *err);
/* join.c: the same in the pid namespace of ctx's pid_fd. */
int sandbox_start_inside(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t flags,
			 int cgroup_fd, struct sandbox **ret, struct err *err);
void sandbox_ctx_close(struct sandbox_ctx *ctx);
void sandbox_ctx_init(struct sandbox_ctx *ctx, const struct sandbox_plan *p);
/* One message: 1 and *ret, or 0 at the end of the socket. *ret_fd: what comes with it, or -1. */
int sandbox_receive(struct sandbox *sb, struct sandbox_msg *ret, int *ret_fd, struct err *err);
/* What went wrong, from a message; 0 for one that tells of nothing wrong. */
int sandbox_msg_error(const struct sandbox *sb, const struct sandbox_msg *m, struct err *err);
int sandbox_died_early(struct sandbox *sb, struct err *err);
int sandbox_above_stdio(int *fd);

#endif
