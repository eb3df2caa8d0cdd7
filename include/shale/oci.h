/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci: the OCI runtime, as containerd, CRI-O, Podman and Docker call it (runtime-spec 1.2).
 *
 * A container is a directory ROOT/ID with state.json, a copy of its config.json and, until it is
 * started, the two fifos of a layout. Nothing runs on: the process is its caller's or its
 * subreaper's. What the directory says of pid counts only while a process of that pid and start
 * time lives. Killed anywhere: before state.json names the pid its process dies with us; delete
 * --force takes away what is left.
 *
 * config.json is read by a table of all its fields (fields.c): what is there is obeyed or refused
 * by name; what the specification does not know is told of in the log and passed over, as it
 * demands.
 */
#ifndef SHALE_OCI_H
#define SHALE_OCI_H

#include <stdbool.h>
#include <sys/types.h>

#include <shale/base/err.h>
#include <shale/base/json.h>
#include <shale/base/str.h>

#define OCI_VERSION "1.2.1"

struct oci_runtime {
	const char *root; /* directory of states */
	bool systemd_cgroup;
	/* What is worth a line and no failure; may be NULL. */
	void (*warn)(const char *text);
};

struct oci_io {
	const char *bundle; /* NULL: "." */
	const char *pid_file, *console_socket, *pidfd_socket;
	unsigned preserve_fds;
	bool no_new_keyring;
	bool detach;
	const char *cache_dir; /* of compiled filters, or NULL */
};

/* What exec runs: a process of the specification, or what the words say over the container's own.
 */
struct oci_exec {
	const char *process_file; /* or NULL, then: */
	char *const *argv;
	const char *cwd, *user, *apparmor, *label;
	const struct strv *env, *caps;
	bool terminal, no_new_privs, no_new_privs_set, ignore_paused;
	struct strv groups;
};

/* -EEXIST: the id is taken. */
int oci_create(const struct oci_runtime *r, const char *id, const struct oci_io *io,
	       struct err *err);
int oci_start(const struct oci_runtime *r, const char *id, struct err *err);
/* *ret_code: the exit code, 0 when detached. */
int oci_run(const struct oci_runtime *r, const char *id, const struct oci_io *io, int *ret_code,
	    struct err *err);
int oci_exec(const struct oci_runtime *r, const char *id, const struct oci_exec *e,
	     const struct oci_io *io, int *ret_code, struct err *err);
/* The state as the specification has it, and more with all; -ENOENT. Caller owns *ret. */
int oci_state(const struct oci_runtime *r, const char *id, json_t **ret, struct err *err);
int oci_list(const struct oci_runtime *r, json_t **ret, struct err *err);
int oci_kill(const struct oci_runtime *r, const char *id, int sig, bool all, struct err *err);
int oci_delete(const struct oci_runtime *r, const char *id, bool force, struct err *err);
int oci_pids(const struct oci_runtime *r, const char *id, pid_t **ret, size_t *ret_n,
	     struct err *err);
int oci_pause(const struct oci_runtime *r, const char *id, bool paused, struct err *err);
/* resources: linux.resources of the specification. */
int oci_update(const struct oci_runtime *r, const char *id, const json_t *resources,
	       struct err *err);
int oci_stats(const struct oci_runtime *r, const char *id, json_t **ret, struct err *err);
json_t *oci_features(void);
json_t *oci_spec(void); /* a config.json to begin with */

#endif
