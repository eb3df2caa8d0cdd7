/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which agent an --ssh means: the one that is named, or for key files an ssh-agent of the build's
 * own, started when a step or git first wants it. ssh-add gets the key as its standard input: it
 * stands in no file of ours, argument or variable.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "ssh.h"
#include "tool.h"

enum { POLL_MS = 5 };

struct ssh_agent {
	struct scratch dir;
	pid_t pid;
	char path[FD_PATH_MAX + 8];
	bool is_ready;
};

void ssh_agent_free(struct ssh_agent *a)
{
	if (!a)
		return;
	if (a->pid > 0)
		tool_stop(a->pid);
	scratch_close(&a->dir);
	free(a);
}

static bool listens(const struct ssh_agent *a)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(to.sun_path, a->path, strlen(a->path) + 1);
	return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static int start(struct tool *t, struct ssh_agent *a, struct err *err)
{
	auto_strv struct strv args = { 0 };
	char dir[FD_PATH_MAX];
	int rc;

	snprintf(a->path, sizeof(a->path), "%s/agent", fd_path(a->dir.fd, dir));
	strv_add(&args, "ssh-agent");
	strv_add(&args, "-D");
	strv_add(&args, "-a");
	strv_add(&args, "/tmp/agent");
	rc = tool_start(t, &args, &a->pid, err);
	while (rc >= 0 && !listens(a)) {
		siginfo_t gone = { 0 };

		if (build_is_interrupted(t->b))
			rc = err_set(err, EINTR, "interrupted");
		else if (waitid(P_PID, (id_t)a->pid, &gone, WEXITED | WNOHANG | WNOWAIT) < 0 ||
			 gone.si_pid)
			rc = err_set(err, EPROTO, "ssh-agent does not start");
		else
			poll(NULL, 0, POLL_MS);
	}
	return rc;
}

static int add_key(struct tool *t, const char *file, struct err *err)
{
	auto_strv struct strv args = { 0 };
	auto_fd int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "%s", file);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is no file", file);
	strv_add(&args, "ssh-add");
	strv_add(&args, "-q");
	strv_add(&args, "-");
	rc = tool_run(t, &args, fd, err);
	if (rc <= 0)
		return rc;
	tool_failed(t, "ssh-add", rc, err);
	err_hint(err, "a key with a passphrase has to be in an agent: ssh-add it, and give "
		      "--ssh ID=SOCKET");
	return err_ctx(err, "key %s", file);
}

static int open_agent(struct build *b, const struct given *g, struct ssh_agent *a, struct err *err)
{
	auto_tool struct tool t = { .b = b };
	int rc = tool_check("ssh-agent", "openssh-client", err);

	if (rc >= 0)
		rc = tool_dir(b, &a->dir, err);
	if (rc < 0)
		return rc;
	t.dir_fd = a->dir.fd;
	tool_env(&t);
	strv_add(&t.env, "SSH_AUTH_SOCK=/tmp/agent");
	rc = start(&t, a, err);
	for (size_t i = 0; i < g->keys.n && rc >= 0; i++)
		rc = add_key(&t, g->keys.v[i], err);
	return rc;
}

static int of_keys(struct build *b, struct given *g, const char **ret_path, struct err *err)
{
	struct ssh_agent *a;
	int rc;

	/* While one starts it, others come by. */
	while (g->agent && !g->agent->is_ready) {
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	if (!g->agent) {
		g->agent = a = mem_alloc(sizeof(*a));
		a->dir = (struct scratch)SCRATCH_INIT;
		rc = open_agent(b, g, a, err);
		if (rc < 0) {
			g->agent = NULL;
			ssh_agent_free(a);
			return err_ctx(err, "--ssh %s", g->id);
		}
		a->is_ready = true;
	}
	*ret_path = g->agent->path;
	return 1;
}

int ssh_agent_find(struct build *b, const char *id, const char **ret_path, struct err *err)
{
	for (size_t i = 0; i < b->ssh.n; i++) {
		struct given *g = &b->ssh.v[i];

		if (strcmp(g->id, id) != 0)
			continue;
		if (g->keys.n)
			return of_keys(b, g, ret_path, err);
		*ret_path = g->path;
		return 1;
	}
	return 0;
}
