/* SPDX-License-Identifier: Apache-2.0 */
/* The stub in a sealed memfd: what is executed between shale and the user's program. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

static const unsigned char stub[] = {
#include "stub.inc"
};

int sandbox_stub_open(struct err *err)
{
	auto_fd int fd = sys_memfd_create("shale-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	int rc;

	if (fd < 0 && errno == EINVAL) /* before 6.3 every memfd may be executed */
		fd = sys_memfd_create("shale-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(err, "memfd for the stub");
	rc = fd_write_all(fd, stub, sizeof(stub), err);
	if (rc < 0)
		return rc;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(err, "seal the stub");
	return fd_take(&fd);
}
