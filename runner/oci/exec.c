/* SPDX-License-Identifier: Apache-2.0 */
/* exec: another process in a running container. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

static int read_process(const char *path, json_t **ret, const struct oci_runtime *r,
			struct err *err)
{
	auto_oci_config struct oci_config whole = { 0 };
	auto_free char *text = NULL, *config = NULL;
	size_t len;
	int rc = fd_read_file(AT_FDCWD, path, OCI_CONFIG_MAX, &text, &len, err);

	/* As part of a config, so that one reader checks both. */
	if (rc == 0) {
		config = mem_fmt("{\"ociVersion\":\"" OCI_VERSION "\",\"process\":%s}", text);
		rc = oci_config_parse(r, config, strlen(config), &whole, err);
	}
	if (rc < 0)
		return err_ctx(err, "%s", path);
	*ret = json_incref(oci_at(&whole, "process", NULL));
	return 0;
}

/* "uid", "uid:gid": numbers alone, whole ones (CVE-2026-30892, TRAPS T15). */
static int set_user(json_t *process, const char *user, struct err *err)
{
	auto_free char *copy = mem_str(user);
	char *gid = strchr(copy, ':');
	json_t *to = json_object();
	uint64_t n = 0;

	json_object_set_new(process, "user", to);
	if (gid)
		*gid++ = 0;
	if (str_to_u64(copy, 10, UINT32_MAX - 1, &n) < 0)
		return err_set(err, EINVAL, "--user %s is not UID or UID:GID", user);
	json_object_set_new(to, "uid", json_integer((json_int_t)n));
	n = 0;
	if (gid && str_to_u64(gid, 10, UINT32_MAX - 1, &n) < 0)
		return err_set(err, EINVAL, "--user %s is not UID or UID:GID", user);
	json_object_set_new(to, "gid", json_integer((json_int_t)n));
	return 0;
}

static void set_words(json_t *process, const struct oci_exec *e)
{
	json_t *args = json_array();

	for (char *const *a = e->argv; a && *a; a++)
		json_array_append_new(args, json_from_str(*a));
	json_object_set_new(process, "args", args);
	json_set_str(process, "cwd", e->cwd);
	json_set_str(process, "apparmorProfile", e->apparmor);
	json_set_str(process, "selinuxLabel", e->label);
	json_object_set_new(process, "terminal", json_boolean(e->terminal));
	if (e->no_new_privs_set)
		json_object_set_new(process, "noNewPrivileges", json_boolean(e->no_new_privs));
}

static int set_groups(json_t *process, const struct strv *groups, struct err *err)
{
	json_t *list = json_array();

	json_object_set_new(json_object_get(process, "user"), "additionalGids", list);
	for (size_t i = 0; i < groups->n; i++) {
		uint64_t n;

		if (str_to_u64(groups->v[i], 10, UINT32_MAX - 1, &n) < 0)
			return err_set(err, EINVAL, "--additional-gids %s is no gid", groups->v[i]);
		json_array_append_new(list, json_integer((json_int_t)n));
	}
	return 0;
}

/* The container's own process with what the words change. */
static int word_process(struct oci_config *c, const struct oci_exec *e, json_t **ret,
			struct err *err)
{
	static const char *const sets[] = { "bounding", "permitted", "effective" };
	auto_json json_t *p = json_deep_copy(oci_at(c, "process", NULL));
	json_t *env;
	int rc = 0;

	if (!p)
		p = json_object();
	set_words(p, e);
	json_object_del(p, "consoleSize");
	env = json_object_get(p, "env");
	if (!env) {
		env = json_array();
		json_object_set_new(p, "env", env);
	}
	for (size_t i = 0; e->env && i < e->env->n; i++)
		json_array_append_new(env, json_from_str(e->env->v[i]));
	if (e->user)
		rc = set_user(p, e->user, err);
	if (rc == 0 && e->groups.n)
		rc = set_groups(p, &e->groups, err);
	for (size_t k = 0; e->caps && k < ARRAY_LEN(sets); k++)
		for (size_t i = 0; i < e->caps->n; i++)
			json_array_append_new(
				json_object_get(json_object_get(p, "capabilities"), sets[k]),
				json_from_str(e->caps->v[i]));
	if (rc == 0)
		*ret = take(p);
	return rc;
}

static int make_config(const struct oci_state *s, const struct oci_exec *e, const struct oci_io *io,
		       struct oci_config *c, struct err *err)
{
	auto_json json_t *process = NULL;
	auto_free char *root = mem_fmt("/proc/%d/root", (int)s->pid);
	int rc, fd;

	rc = e->process_file ? read_process(e->process_file, &process, c->runtime, err)
			     : word_process(c, e, &process, err);
	if (rc < 0)
		return rc;
	json_object_set(c->json, "process", process);
	fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "root of %s", s->id);
	c->spec.root_fd = oci_keep_fd(c, fd);
	c->spec.layout = &c->layout;
	c->spec.net_fd = -1;
	for (int i = 0; i < 3; i++)
		c->spec.stdio[i] = i;
	c->layout.go_fd = c->layout.status_fd = c->layout.state_fd = -1;
	c->layout.mempolicy_mode = -1;
	c->layout.new_keyring = false;
	c->layout.keep_fds = io->preserve_fds;
	c->spec.cgroup.name = s->cgroup;
	rc = oci_process_make(c, oci_at(c, "process", NULL), err);
	return rc == 0 ? oci_seccomp_make(c, io->cache_dir, err) : rc;
}

struct listening {
	const struct oci_state *state;
	struct oci_config *config;
};

static int at_stage(void *arg, enum sandbox_stage stage, pid_t pid, int fd, struct err *err)
{
	struct listening *l = arg;
	auto_fd int listener = fd;
	json_t *seccomp = oci_at(l->config, "linux", "seccomp");
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;

	(void)stage;
	json_set_str(j, "ociVersion", OCI_VERSION);
	json_object_set_new(j, "fds", json_pack("[s]", "seccompFd"));
	json_object_set_new(j, "pid", json_integer(pid));
	json_set_str(j, "metadata", json_get_str(seccomp, "listenerMetadata"));
	json_object_set_new(j, "state", oci_state_json(l->state, "running"));
	text = json_text(j);
	return oci_send_fd(json_get_str(seccomp, "listenerPath"), listener, text, err);
}

static int join(const struct oci_state *s, struct oci_config *c, const struct oci_io *io,
		struct sandbox **ret, struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *p = NULL;
	auto_sandbox struct sandbox *sb = NULL;
	struct listening l = { s, c };
	int rc;

	c->layout.stage = at_stage;
	c->layout.arg = &l;
	rc = sandbox_plan(&c->spec, &p, err);
	if (rc == 0)
		rc = sandbox_join(p, s->pid, &sb, err);
	if (rc == 0)
		rc = sandbox_await(sb, &c->layout, err);
	if (rc == 0)
		rc = oci_hand_out(io, sb, err);
	if (rc == 0)
		rc = sandbox_let_go(sb, err);
	c->layout.arg = NULL;
	if (rc == 0)
		*ret = take(sb);
	return rc;
}

int oci_exec(const struct oci_runtime *r, const char *id, const struct oci_exec *e,
	     const struct oci_io *io, int *ret_code, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	auto_oci_config struct oci_config c = { 0 };
	auto_sandbox struct sandbox *sb = NULL;
	int rc = oci_state_read(r, id, &s, err), code = 0;
	const char *status;

	if (rc < 0)
		return rc;
	status = oci_state_status(&s);
	if (str_eq(status, "paused") && !e->ignore_paused)
		return err_set(err, EBUSY, "container %s is paused", id);
	if (str_eq(status, "stopped") || str_eq(status, "creating"))
		return err_set(err, ESRCH, "container %s is not running (%s)", id, status);
	rc = oci_state_config(&s, r, &c, err);
	if (rc == 0)
		rc = make_config(&s, e, io, &c, err);
	if (rc == 0)
		rc = join(&s, &c, io, &sb, err);
	if (rc < 0)
		return oci_exec_words(&c, err);
	*ret_code = 0;
	if (io->detach)
		return 0;
	rc = oci_attend(io->console_socket ? -1 : sandbox_terminal_fd(sb), sandbox_pidfd(sb), err);
	if (rc == 0)
		rc = sandbox_wait(sb, -1, &code, err);
	*ret_code = proc_exit_code(code);
	return rc < 0 ? rc : 0;
}
