/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/mount.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmount/libmount.h>

int mount_remove(const char *path, bool lazy, struct err *err)
{
	struct libmnt_context *cx = mnt_new_context();
	int rc;

	if (!cx)
		return err_set(err, ENOMEM, "unmount %s", path);
	mnt_context_enable_lazy(cx, lazy);
	mnt_context_disable_helpers(cx, true);
	rc = mnt_context_set_target(cx, path);
	if (rc == 0)
		rc = mnt_context_umount(cx);
	if (rc > 0)
		rc = -mnt_context_get_syscall_errno(cx);
	mnt_free_context(cx);
	if (rc == 0)
		return 0;
	err_errno(err, -rc, "unmount %s", path);
	return rc == -EBUSY
		       ? err_hint(err, "files in it are open: force takes it away all the same")
		       : -err->code;
}
