/* SPDX-License-Identifier: Apache-2.0 */
/* oci, shared inside the module: config.json as what the sandbox takes, and the state on disk. */
#ifndef SHALE_OCI_PRIV_H
#define SHALE_OCI_PRIV_H

#include <stdint.h>

#include <shale/oci.h>
#include <shale/sandbox.h>

enum {
	OCI_ID_MAX = 255,
	OCI_CONFIG_MAX = JSON_BYTES_MAX,
	OCI_MAPS_MAX = 340, /* the kernel's */
	OCI_LIMITS_MAX = 64,
	OCI_FDS_MAX = 4096,
};

/* fields.c */
enum oci_type {
	OCI_ANY,
	OCI_BOOL,
	OCI_STR,
	OCI_INT,
	OCI_UINT,
	OCI_UINT32,
	OCI_STRS,
	OCI_UINTS,
	OCI_OBJECT,
	OCI_ARRAY, /* of objects */
	OCI_MAP,   /* of strings, or of objects with the fields below */
};
struct oci_field {
	const char *name;
	enum oci_type type;
	const struct oci_field *below;
	const char *refused; /* why */
};
extern const struct oci_field oci_config_fields[], oci_process_fields[], oci_resource_fields[];
int oci_check_fields(const struct oci_field *fields, json_t *v, const char *path,
		     const struct oci_runtime *r, struct err *err);

/* config.c: config.json and what was made of it. All that spec and layout point to lives in it. */
struct oci_config {
	const struct oci_runtime *runtime;
	json_t *json;
	char *bundle;    /* absolute */
	char *root_path; /* absolute, without symlinks */
	struct sandbox_spec spec;
	struct sandbox_layout layout;
	struct sandbox_ns *ns;
	struct sandbox_part *parts;
	struct sandbox_node *nodes;
	struct sandbox_pair *sysctls;
	struct sandbox_limit *limits;
	struct sandbox_cgroup_write *writes;
	size_t cap_writes;
	struct sandbox_hook *create_hooks, *start_hooks;
	uint32_t *groups;
	struct strv env, masked, read_only;
	struct strv strings; /* made here, pointed to by the above */
	void **blocks;
	size_t n_blocks, cap_blocks;
	int *fds; /* closed with it */
	size_t n_fds, cap_fds;
	char *cgroup;
	char *slice, *unit; /* of systemd's; NULL: the group is made in the file system */
	struct sock_filter *filter;
	bool dev_is_bound;
	const char *mount_label; /* or NULL */
};
#define auto_oci_config cleanup(oci_config_cleanup)
void oci_config_cleanup(struct oci_config *c);
/* The text of a config.json; checked, nothing opened yet. */
int oci_config_parse(const struct oci_runtime *r, const char *text, size_t len,
		     struct oci_config *ret, struct err *err);
/* Opens the root and all namespaces and sources; spec and layout are ready but for hooks' state and
 * fifos. */
int oci_config_make(struct oci_config *c, const char *id, const struct oci_io *io, struct err *err);
const char *oci_keep(struct oci_config *c, char *owned);
void *oci_block(struct oci_config *c, size_t n, size_t size);
int oci_keep_fd(struct oci_config *c, int fd);
json_t *oci_at(const struct oci_config *c, const char *a, const char *b);
uint64_t oci_u64(const json_t *obj, const char *key, uint64_t fallback);
void oci_warn(const struct oci_config *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* process.c: process, of the config or of an exec, into spec and layout. */
int oci_process_make(struct oci_config *c, json_t *process, struct err *err);
bool oci_has_selinux(void);
/* mounts.c */
int oci_mounts_make(struct oci_config *c, struct err *err);
json_t *oci_mount_words(void);                               /* every option that is known */
uint64_t oci_propagation(const char *name, bool *ret_below); /* 0: no such word */
/* linux.c: namespaces, devices, sysctl, propagation, paths … */
int oci_linux_make(struct oci_config *c, struct err *err);
int oci_maps_parse(struct oci_config *c, json_t *uids, json_t *gids, const char *what,
		   struct ids_maps *ret, struct err *err);
/* resources.c: appended to the writes. v2: of a host with nothing but that. */
int oci_resources_make(struct oci_config *c, json_t *resources, bool v2, struct err *err);
void oci_write_add(struct oci_config *c, const char *controller, const char *file, char *owned,
		   bool v2);
/* seccomp.c */
int oci_seccomp_make(struct oci_config *c, const char *cache_dir, struct err *err);
/* hooks.c: kind is "prestart" …; *ret_n of them. */
int oci_hooks_make(struct oci_config *c, const char *kind, const struct sandbox_hook **ret,
		   size_t *ret_n, struct err *err);
/* Runs them with state on their stdin; the first that fails ends it. */
int oci_hooks_run(struct oci_config *c, const char *kind, const json_t *state, struct err *err);
/* All of them; those that fail are told of, and the container is gone all the same: so the
 * specification. */
void oci_hooks_poststop(struct oci_config *c, const json_t *state, const struct oci_runtime *r);
bool oci_hooks_has(const struct oci_config *c, const char *kind);

/* state.c */
struct oci_state {
	char *id, *bundle, *cgroup, *unit, *created, *root_path;
	pid_t pid;
	uint64_t start_time;
	bool other_boot;
	json_t *annotations;
	int dir_fd; /* ROOT/ID */
};
#define auto_oci_state cleanup(oci_state_cleanup)
void oci_state_cleanup(struct oci_state *s);
int oci_check_id(const char *id, struct err *err);
/* The directory ROOT/ID, made; -EEXIST. */
int oci_state_new(const struct oci_runtime *r, const char *id, int *ret_dir_fd, struct err *err);
int oci_state_write(const struct oci_state *s, struct err *err);
int oci_state_read(const struct oci_runtime *r, const char *id, struct oci_state *ret,
		   struct err *err);
int oci_state_remove(const struct oci_runtime *r, const char *id, struct err *err);
/* "creating", "created", "running", "paused", "stopped" */
const char *oci_state_status(const struct oci_state *s);
json_t *oci_state_json(const struct oci_state *s, const char *status);
int oci_state_config(const struct oci_state *s, const struct oci_runtime *r, struct oci_config *ret,
		     struct err *err);

/* scope.c: the container's group as a unit of systemd's. */
/* cgroupsPath "slice:prefix:name", or NULL: the names of slice and unit. */
int oci_scope_name(struct oci_config *c, const char *path, const char *id, struct err *err);
/* The group's name is known then. *ret_holder keeps the unit until the container's process is in
 * it, and dies with us. dir_fd: the container's state. */
int oci_scope_start(struct oci_config *c, int dir_fd, pid_t *ret_holder, struct err *err);
void oci_scope_leave(pid_t holder);
/* What systemd is told, as shale/scope.h has it: appended to the array. */
int oci_scope_properties(const struct oci_config *c, int dir_fd, pid_t pid, json_t *to,
			 struct err *err);
void oci_scope_limits(json_t *to, const struct sandbox_cgroup_write *w, size_t n);
int oci_scope_update(const char *unit, const struct sandbox_cgroup_write *w, size_t n,
		     struct err *err);
/* Whatever of it there is; nothing happens to another container's. */
int oci_scope_stop(const char *unit, int dir_fd, struct err *err);

#define OCI_GO     "exec.fifo"
#define OCI_STATUS "status.fifo"

/* create.c */
int oci_exec_words(const struct oci_config *c, struct err *err);
int oci_write_pid(const char *path, pid_t pid, struct err *err);
/* Pid file, console and pidfd to who wants them. */
int oci_hand_out(const struct oci_io *io, struct sandbox *sb, struct err *err);
/* devices.c: the rules as a program of a v2 group. */
void oci_devices_v2(struct oci_config *c, const json_t *rules);

/* terminal.c */
int oci_connect(const char *path, struct err *err); /* an fd */
/* Sends fd over the unix socket at path. */
int oci_send_fd(const char *path, int fd, const char *text, struct err *err);
/* Between our terminal and master until the process ends, or only waits (master -1). */
int oci_attend(int master, int pidfd, struct err *err);

#endif
