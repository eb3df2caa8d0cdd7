/* SPDX-License-Identifier: Apache-2.0 */
/* shale-scope: one question to systemd, for the runtime, which starts it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

static void on_alarm(int sig)
{
	static const char text[] = "systemd does not answer\n";

	(void)sig;
	_exit(write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 1);
}

int main(void)
{
	auto_json json_t *plan = NULL, *answer = json_object();
	auto_free char *text = NULL, *out = NULL;
	struct err err = { 0 }, ignored;
	size_t len = 0;
	int rc;

	/* What nobody waits for is not begun: a scope that is made later would stay. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGALRM, on_alarm);
	alarm(SCOPE_WAIT_S);
	rc = fd_read_all(STDIN_FILENO, SCOPE_PLAN_MAX, &text, &len, &err);
	if (rc == 0)
		rc = json_parse(text, len, &plan, &err);
	if (rc == 0 && json_get_int(plan, "caller", 0) != getppid())
		rc = err_set(&err, ESRCH, "who asked has ended");
	if (rc == 0)
		rc = scope_run(plan, answer, &err);
	if (rc < 0) {
		json_object_set_new(answer, "code", json_integer(err.code));
		json_set_str(answer, "msg", err.msg);
	}
	out = json_text(answer);
	return fd_write_str(STDOUT_FILENO, out, &ignored) < 0 || rc < 0;
}
