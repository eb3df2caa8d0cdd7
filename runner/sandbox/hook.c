/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: programs that the owner of a layout has run, by the runtime or by the child. No
 * allocation. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { NOT_RUN = 127 };

static void be_hook(const struct sandbox_hook *h, int state_fd)
{
	static char *none[] = { NULL };
	sigset_t empty;

	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	if (lseek(state_fd, 0, SEEK_SET) < 0 || dup2(state_fd, 0) < 0)
		_exit(NOT_RUN);
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execve(h->path, h->argv, h->envp ? h->envp : none);
	_exit(NOT_RUN);
}

static int wait_for(pid_t pid, int timeout_ms, int *ret_status)
{
	auto_fd int pidfd = timeout_ms > 0 ? sys_pidfd_open(pid, 0) : -1;
	struct pollfd p = { pidfd, POLLIN, 0 };
	bool late = pidfd >= 0 && poll(&p, 1, timeout_ms) == 0;

	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, ret_status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return late ? -ETIMEDOUT : 0;
}

int sandbox_hook_run(const struct sandbox_hook *h, int state_fd, int *ret_status)
{
	pid_t pid = sys_fork();
	int rc;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		be_hook(h, state_fd);
	rc = wait_for(pid, h->timeout_ms, ret_status);
	if (rc < 0)
		return rc;
	if (WIFEXITED(*ret_status) && WEXITSTATUS(*ret_status) == 0)
		return 0;
	return WIFEXITED(*ret_status) && WEXITSTATUS(*ret_status) == NOT_RUN ? -ENOENT : -ECHILD;
}
