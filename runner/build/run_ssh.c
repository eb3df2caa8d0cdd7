/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount=type=ssh: a socket for the step, which leads to an agent. */
#include <errno.h>
#include <fcntl.h>

#include <shale/base/fd.h>

#include "run.h"
#include "ssh.h"

int ssh_source_open(struct run *r, struct run_source *s, struct err *err)
{
	auto_free char *name = mem_fmt("agent.%zu", (size_t)(s - r->sources));
	const char *agent = NULL;
	int dir, rc = ssh_agent_find(r->b, s->m.id, &agent, err);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return s->m.required
			       ? err_set(err, ENOENT, "no ssh agent %s: give it with --ssh %s",
					 s->m.id, s->m.id)
			       : 0;
	dir = run_own_dir(r, err);
	if (dir < 0)
		return dir;
	rc = ssh_relay_open(agent,
			    &(struct ssh_relay_at){ dir, name, s->m.uid, s->m.gid, s->m.mode },
			    &s->relay, err);
	if (rc < 0)
		return rc;
	s->fd = openat(dir, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return err_sys(err, "open %s", name);
	if (!strv_env_get(&r->secret_env, "SSH_AUTH_SOCK"))
		strv_addf(&r->secret_env, "SSH_AUTH_SOCK=%s", s->m.target);
	return 1;
}
