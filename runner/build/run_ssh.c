/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount=type=ssh: a socket for the step, which leads to an agent. */
#include <errno.h>
#include <fcntl.h>

#include <shale/base/fd.h>
#include <shale/base/scratch.h>

#include "run.h"
#include "ssh.h"

int ssh_source_open(struct run *r, struct run_source *s, struct err *err)
{
	int root_fd = r->b->rt->root_fd;
	auto_free char *name = NULL;
	char own[SCRATCH_NAME_MAX];
	const char *agent = NULL;
	int rc = ssh_agent_find(r->b, s->m.id, &agent, err);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return s->m.required
			       ? err_set(err, ENOENT, "no ssh agent %s: give it with --ssh %s",
					 s->m.id, s->m.id)
			       : 0;
	scratch_name(own);
	name = mem_fmt("tmp/%s", own);
	rc = ssh_relay_open(agent,
			    &(struct ssh_relay_at){ root_fd, name, s->m.uid, s->m.gid, s->m.mode },
			    &s->relay, err);
	if (rc < 0)
		return rc;
	s->fd = openat(root_fd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return err_sys(err, "open %s", name);
	if (!strv_env_get(&r->secret_env, "SSH_AUTH_SOCK"))
		strv_addf(&r->secret_env, "SSH_AUTH_SOCK=%s", s->m.target);
	return 1;
}
