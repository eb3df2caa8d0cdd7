/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories by ssh. The server has to prove with a host key that is known already who it is:
 * asking it for the key, as BuildKit does, proves nothing. Keys of ours are used through a relay
 * (ssh.h) in git's own directory; ssh reads no configuration, and nothing of the caller's
 * environment.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "context.h"
#include "git.h"

enum { KNOWN_BYTES_MAX = 4 << 20 };

/* A constant, since git hands it to a shell. */
#define SSH_COMMAND                                                                                \
	"ssh -F none -a -x -o BatchMode=yes -o StrictHostKeyChecking=yes "                         \
	"-o UserKnownHostsFile=/tmp/known_hosts -o GlobalKnownHostsFile=/dev/null "                \
	"-o UpdateHostKeys=no -o IdentityFile=none -o PreferredAuthentications=publickey "         \
	"-o ClearAllForwardings=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 "               \
	"-o ServerAliveCountMax=4 -o LogLevel=ERROR"

/* Those files that are there, one after the other, where only git's own ssh sees them. */
static int write_known(const struct git *g, struct err *err)
{
	const struct strv *files = &g->t.b->o->known_hosts;
	auto_fd int to = -1;
	int rc = 0;

	if (unlinkat(g->t.dir_fd, "known_hosts", 0) < 0 && errno != ENOENT)
		return err_sys(err, "known_hosts");
	to = openat(g->t.dir_fd, "known_hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0 || fchmod(to, 0444) < 0)
		return err_sys(err, "known_hosts");
	for (size_t i = 0; i < files->n && rc >= 0; i++) {
		auto_fd int from = open(files->v[i], O_PATH | O_CLOEXEC);
		auto_free char *text = NULL;
		size_t len = 0;

		if (from < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
		rc = from < 0 ? err_sys(err, "open")
			      : context_read_fd(from, KNOWN_BYTES_MAX, &text, &len, err);
		if (rc >= 0)
			rc = fd_write_all(to, text, len, err);
		if (rc >= 0)
			rc = fd_write_all(to, "\n", 1, err);
		if (rc < 0)
			err_ctx(err, "%s", files->v[i]);
	}
	return rc;
}

int git_ssh_begin(struct git *g, struct err *err)
{
	const char *agent = NULL;
	int rc;

	if (!g->r->u.is_ssh) {
		strv_add(&g->t.env, "GIT_ALLOW_PROTOCOL=http:https:git");
		return 0;
	}
	rc = tool_check("ssh", "openssh-client", err);
	if (rc >= 0)
		rc = ssh_agent_find(g->t.b, "default", &agent, err);
	if (rc == 0)
		return err_set(err, EINVAL,
			       "a repository by ssh needs a key: give --ssh default, for the agent "
			       "of SSH_AUTH_SOCK, or --ssh default=FILE");
	if (rc > 0)
		rc = write_known(g, err);
	if (rc >= 0)
		rc = ssh_relay_open(agent,
				    &(struct ssh_relay_at){ g->t.dir_fd, "agent", tool_uid(g->t.b),
							    tool_uid(g->t.b), 0600 },
				    &g->relay, err);
	if (rc < 0)
		return rc;
	strv_add(&g->t.env, "GIT_ALLOW_PROTOCOL=http:https:git:ssh");
	strv_add(&g->t.env, "GIT_SSH_COMMAND=" SSH_COMMAND);
	strv_add(&g->t.env, "GIT_SSH_VARIANT=ssh");
	strv_add(&g->t.env, "SSH_AUTH_SOCK=/tmp/agent");
	return 0;
}

int git_ssh_failed(struct git *g, const char *name, int code, struct err *err)
{
	const char *said = str_get(&g->t.said);

	if (g->relay && strstr(said, "HOST IDENTIFICATION HAS CHANGED"))
		return err_set(
			err, EACCES,
			"%s: the server's host key is not the one that is known: someone may "
			"stand in between",
			name);
	if (g->relay && strstr(said, "Host key verification failed"))
		return err_set(err, EACCES,
			       "%s: the server's host key is not known: have it in the caller's "
			       "~/.ssh/known_hosts or in a file that --ssh-known-hosts names",
			       name);
	tool_failed(&g->t, name, code, err);
	if (g->relay && strstr(said, "Permission denied")) {
		err->code = EACCES;
		err_hint(err, "no key of --ssh default is accepted there");
	}
	return -err->code;
}
