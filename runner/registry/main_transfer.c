/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shale-transfer: registries, for shale-build, which starts it. It parses what the network sends,
 * so it has no rights: not root, no core that would hold credentials, no ptrace by its own uid.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "priv.h"

static int harden(struct err *err)
{
	struct rlimit none = { 0 };

	if (geteuid() == 0 || getuid() == 0 || getegid() == 0 || getgid() == 0)
		return err_set(err, EPERM, "must not run as root");
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "prctl");
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_sys(err, "setrlimit");
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int check_socket(int fd, struct err *err)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
		return err_set(err, EINVAL, "is started by shale-build, not by hand");
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

int main(void)
{
	struct err err = { 0 };
	int rc = harden(&err);

	if (rc == 0)
		rc = check_socket(REGISTRY_FD, &err);
	if (rc == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		rc = err_set(&err, ENOMEM, "libcurl does not start");
	if (rc == 0)
		rc = transfer_run(REGISTRY_FD, &err);
	if (rc < 0)
		fprintf(stderr, "shale-transfer: %s\n", err.msg);
	return rc < 0;
}
