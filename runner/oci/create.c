/* SPDX-License-Identifier: Apache-2.0 */
/* create, start, run: a container from its bundle. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>

#include "priv.h"

struct making {
	const struct oci_runtime *runtime;
	const struct oci_io *io;
	struct oci_config *config;
	struct oci_state *state;
	pid_t holder; /* of the scope, until the container's process is in it */
	bool has_scope;
};

static char *now_text(void)
{
	struct timespec t;
	struct tm tm;
	char day[32];

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	return mem_fmt("%s.%09ldZ", day, t.tv_nsec);
}

static int load(struct making *m, struct err *err)
{
	struct oci_config *c = m->config;
	auto_fd int dir = -1;
	auto_free char *text = NULL;
	size_t len;
	int rc;

	c->bundle = realpath(m->io->bundle ? m->io->bundle : ".", NULL);
	if (!c->bundle)
		return err_sys(err, "bundle %s", m->io->bundle);
	dir = open(c->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "bundle %s", c->bundle);
	rc = fd_read_file(dir, "config.json", OCI_CONFIG_MAX, &text, &len, err);
	if (rc == 0)
		rc = oci_config_parse(m->runtime, text, len, c, err);
	if (rc < 0)
		return err_ctx(err, "bundle %s", c->bundle);
	/* The container is run by what it was created from, whatever becomes of the bundle. */
	return fd_write_file(m->state->dir_fd, "config.json", text, len, 0600, err);
}

/* Held read and write, so that none of them ever ends: whoever opens one end finds the other. */
static int make_fifo(struct making *m, const char *name, int *ret, struct err *err)
{
	int fd;

	if (mkfifoat(m->state->dir_fd, name, 0600) < 0)
		return err_sys(err, "%s", name);
	fd = openat(m->state->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "%s", name);
	*ret = oci_keep_fd(m->config, fd);
	return 0;
}

static int make_state_fd(struct making *m, struct err *err)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "memfd");
	m->config->layout.state_fd = oci_keep_fd(m->config, fd);
	return 0;
}

/* What the hooks that the container's process runs are told. */
static int tell_state(struct making *m, const char *status, struct err *err)
{
	auto_json json_t *j = oci_state_json(m->state, status);
	auto_free char *text = json_text(j);
	int fd = m->config->layout.state_fd;

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		return err_sys(err, "state for hooks");
	return 0;
}

static int send_listener(struct making *m, int fd, struct err *err)
{
	auto_fd int listener = fd;
	json_t *seccomp = oci_at(m->config, "linux", "seccomp");
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;

	json_set_str(j, "ociVersion", OCI_VERSION);
	json_object_set_new(j, "fds", json_pack("[s]", "seccompFd"));
	json_object_set_new(j, "pid", json_integer(m->state->pid));
	json_set_str(j, "metadata", json_get_str(seccomp, "listenerMetadata"));
	json_object_set_new(j, "state", oci_state_json(m->state, "creating"));
	text = json_text(j);
	return oci_send_fd(json_get_str(seccomp, "listenerPath"), listener, text, err);
}

static int at_stage(void *arg, enum sandbox_stage stage, pid_t pid, int fd, struct err *err)
{
	struct making *m = arg;
	auto_json json_t *j = NULL;
	int rc;

	m->state->pid = pid;
	if (stage == SANDBOX_STAGE_LISTENER)
		return send_listener(m, fd, err);
	/* By the specification's words these belong to start; so their state, as crun has it. */
	j = oci_state_json(m->state, "created");
	rc = oci_hooks_run(m->config, "prestart", j, err);
	json_set_str(j, "status", "creating");
	if (rc == 0)
		rc = oci_hooks_run(m->config, "createRuntime", j, err);
	return rc == 0 ? tell_state(m, "creating", err) : rc;
}

int oci_write_pid(const char *path, pid_t pid, struct err *err)
{
	auto_free char *text = mem_fmt("%d", (int)pid);
	auto_free char *dir = mem_str(path);
	auto_fd int dir_fd = -1;
	char *slash;

	if (!path)
		return 0;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	dir_fd = open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_sys(err, "pid file %s", path);
	return fs_write_atomic(dir_fd, strrchr(path, '/') ? strrchr(path, '/') + 1 : path, text,
			       strlen(text), false, err);
}

int oci_hand_out(const struct oci_io *io, struct sandbox *sb, struct err *err)
{
	int rc = oci_write_pid(io->pid_file, sandbox_pid(sb), err);

	if (rc == 0 && io->console_socket && sandbox_terminal_fd(sb) >= 0)
		rc = oci_send_fd(io->console_socket, sandbox_terminal_fd(sb), "/dev/ptmx", err);
	if (rc == 0 && io->pidfd_socket)
		rc = oci_send_fd(io->pidfd_socket, sandbox_pidfd(sb), "pidfd", err);
	return rc;
}

static int check_io(const struct making *m, bool attached, struct err *err)
{
	bool terminal = m->config->spec.terminal;

	if (terminal && !attached && !m->io->console_socket)
		return err_set(err, EINVAL,
			       "process.terminal: --console-socket says where the terminal goes");
	if (!terminal && m->io->console_socket)
		return err_set(err, EINVAL, "--console-socket: process.terminal is not set");
	return 0;
}

/* Two of one group would be limited, frozen and killed together: as runc has it. A scope's is
 * systemd's to give. */
static int check_group(const struct oci_config *c, struct err *err)
{
	auto_free pid_t *pids = NULL;
	struct err ignored = { 0 };
	size_t n = 0;

	if (!c->cgroup || c->unit || sandbox_cgroup_pids(c->cgroup, &pids, &n, &ignored) < 0)
		return 0;
	if (n)
		return err_set(
			err, EBUSY,
			"cgroup %s is not empty: %zu process%s, like %d, of another container? "
			"linux.cgroupsPath gives this one another",
			c->cgroup, n, n > 1 ? "es" : "", (int)pids[0]);
	return sandbox_cgroup_is_frozen(c->cgroup)
		       ? err_set(err, EBUSY, "cgroup %s is frozen", c->cgroup)
		       : 0;
}

static int prepare(struct making *m, bool attached, struct err *err)
{
	struct oci_config *c = m->config;
	int rc = load(m, err);

	if (rc == 0)
		rc = oci_config_make(c, m->state->id, m->io, err);
	if (rc == 0)
		rc = check_io(m, attached, err);
	if (rc == 0)
		rc = make_fifo(m, OCI_GO, &c->layout.go_fd, err);
	if (rc == 0)
		rc = make_fifo(m, OCI_STATUS, &c->layout.status_fd, err);
	if (rc == 0)
		rc = make_state_fd(m, err);
	if (rc < 0)
		return rc;
	c->layout.stage = at_stage;
	c->layout.arg = m;
	/* Before the state names it: a failure would take the other's processes along. */
	rc = check_group(c, err);
	if (rc < 0)
		return rc;
	m->state->bundle = mem_str(c->bundle);
	m->state->root_path = mem_str(c->root_path);
	m->state->cgroup = mem_str(c->cgroup);
	m->state->unit = mem_str(c->unit);
	m->state->annotations = json_incref(oci_at(c, "annotations", NULL));
	/* As "creating": whoever removes what a kill left finds the group. */
	rc = oci_state_write(m->state, err);
	if (rc < 0 || !c->unit)
		return rc;
	rc = oci_scope_start(c, m->state->dir_fd, &m->holder, err);
	if (rc < 0)
		return rc;
	m->has_scope = true;
	m->state->cgroup = mem_str(c->cgroup);
	return oci_state_write(m->state, err);
}

/* State first, then what others wait for: whoever reads the pid file may call us at once. */
static int make_process(struct making *m, struct sandbox **ret, struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *p = NULL;
	auto_sandbox struct sandbox *sb = NULL;
	int rc = sandbox_plan(&m->config->spec, &p, err);

	if (rc == 0)
		rc = sandbox_spawn(p, &sb, err);
	if (rc < 0)
		return rc;
	m->state->pid = sandbox_pid(sb);
	rc = sandbox_await(sb, &m->config->layout, err);
	if (rc < 0)
		return rc;
	m->state->start_time = proc_start_time(m->state->pid);
	m->state->created = now_text();
	rc = tell_state(m, "created", err);
	if (rc == 0)
		rc = oci_state_write(m->state, err);
	if (rc == 0)
		rc = oci_hand_out(m->io, sb, err);
	if (rc == 0)
		rc = sandbox_let_go(sb, err);
	if (rc < 0)
		return rc;
	*ret = take(sb);
	return 0;
}

/* In the words that callers look for to tell 127 and 126 from 125. */
int oci_exec_words(const struct oci_config *c, struct err *err)
{
	const char *program = c->spec.argv && c->spec.argv[0] ? c->spec.argv[0] : "";
	int code = err->code;

	if (!str_starts(err->msg, "exec "))
		return -code;
	if (code == ENOENT && !strchr(program, '/'))
		return err_set(err, code, "exec: \"%s\": executable file not found in $PATH",
			       program);
	if (code == ENOENT)
		return err_set(err, code, "exec: \"%s\": no such file or directory", program);
	if (code == EACCES)
		return err_set(err, code, "exec: \"%s\": permission denied", program);
	return -code;
}

static int create(const struct oci_runtime *r, const char *id, const struct oci_io *io,
		  bool attached, struct sandbox **ret, struct err *err)
{
	struct oci_state state = { .dir_fd = -1 };
	auto_oci_config struct oci_config config = { 0 };
	struct making m = { r, io, &config, &state, 0, false };
	struct err ignored;
	int rc = oci_state_new(r, id, &state.dir_fd, err);

	if (rc < 0)
		return rc;
	state.id = mem_str(id);
	rc = prepare(&m, attached, err);
	if (rc == 0)
		rc = make_process(&m, ret, err);
	oci_scope_leave(m.holder);
	if (rc < 0) {
		oci_exec_words(&config, err);
		if (state.cgroup)
			sandbox_cgroup_delete(state.cgroup, &ignored);
		/* Else that name is another's, or what is empty goes by itself. */
		if (m.has_scope)
			oci_scope_stop(state.unit, state.dir_fd, &ignored);
		oci_state_remove(r, id, &ignored);
	}
	oci_state_cleanup(&state);
	return rc;
}

int oci_create(const struct oci_runtime *r, const char *id, const struct oci_io *io,
	       struct err *err)
{
	auto_sandbox struct sandbox *sb = NULL;

	return create(r, id, io, false, &sb, err);
}

static int exec_failed(const struct oci_config *c, const struct sandbox_failure *f, struct err *err)
{
	if (f->step)
		return err_errno(err, f->error, "hooks.startContainer: %s", f->text);
	err_errno(err, f->error, "exec %s", c->spec.argv ? c->spec.argv[0] : "");
	return oci_exec_words(c, err);
}

/* Both ends of both fifos are the container's process's: opening does not wait, and the end of the
 * second one is its exec. */
static int let_exec(const struct oci_state *s, const struct oci_config *c, struct err *err)
{
	auto_fd int status = openat(s->dir_fd, OCI_STATUS, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	auto_fd int go = openat(s->dir_fd, OCI_GO, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	struct sandbox_failure f = { 0 };
	int rc;

	if (status < 0 || go < 0)
		return err_set(err, ESRCH, "container %s has ended", s->id);
	fcntl(status, F_SETFL, 0);
	/* From here on it is no longer "created", whoever asks. */
	if (unlinkat(s->dir_fd, OCI_GO, 0) < 0)
		return err_set(err, EINVAL, "container %s is started already", s->id);
	if (write(go, "g", 1) != 1)
		return err_sys(err, "start of %s", s->id);
	fd_close(&go);
	rc = sandbox_failure_read(status, &f, err);
	unlinkat(s->dir_fd, OCI_STATUS, 0);
	return rc <= 0 ? rc : exec_failed(c, &f, err);
}

int oci_start(const struct oci_runtime *r, const char *id, struct err *err)
{
	auto_oci_state struct oci_state s = { .dir_fd = -1 };
	auto_oci_config struct oci_config c = { 0 };
	auto_json json_t *state = NULL;
	const char *status;
	struct err ignored;
	int rc = oci_state_read(r, id, &s, err);

	if (rc < 0)
		return rc;
	status = oci_state_status(&s);
	if (!str_eq(status, "created"))
		return err_set(err, EINVAL, "container %s is %s, not created", id, status);
	rc = oci_state_config(&s, &(struct oci_runtime){ .root = r->root }, &c, err);
	if (rc == 0) {
		json_t *args = json_object_get(oci_at(&c, "process", NULL), "args");
		char **argv = oci_block(&c, 1, sizeof(*argv));

		argv[0] = (char *)(uintptr_t)json_string_value(json_array_get(args, 0));
		c.spec.argv = argv;
		rc = let_exec(&s, &c, err);
	}
	if (rc < 0)
		return rc;
	state = oci_state_json(&s, "running");
	rc = oci_hooks_run(&c, "poststart", state, err);
	/* It runs, and is stopped: so the specification since 1.2.1, and runc. */
	if (rc < 0)
		oci_kill(r, id, SIGKILL, s.cgroup != NULL, &ignored);
	return rc;
}

/* In the foreground: our stdio is its, our signals go to it, its end is ours. */
static int attend(const struct oci_runtime *r, const char *id, struct sandbox *sb, int *ret_code,
		  struct err *err)
{
	struct err ignored;
	int status = 0, rc = oci_attend(sandbox_terminal_fd(sb), sandbox_pidfd(sb), err);

	if (rc == 0)
		rc = sandbox_wait(sb, -1, &status, err);
	*ret_code = proc_exit_code(status);
	oci_delete(r, id, true, &ignored);
	return rc < 0 ? rc : 0;
}

int oci_run(const struct oci_runtime *r, const char *id, const struct oci_io *io, int *ret_code,
	    struct err *err)
{
	auto_sandbox struct sandbox *sb = NULL;
	bool attached = !io->detach && !io->console_socket;
	struct err ignored;
	int rc = create(r, id, io, attached, &sb, err);

	if (rc < 0)
		return rc;
	rc = oci_start(r, id, err);
	if (rc < 0) {
		oci_delete(r, id, true, &ignored);
		return rc;
	}
	*ret_code = 0;
	return io->detach ? 0 : attend(r, id, sb, ret_code, err);
}
