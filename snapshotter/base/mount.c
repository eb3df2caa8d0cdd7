/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/mount.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmount/libmount.h>

static int table_open(struct libmnt_table **ret, struct err *err)
{
	struct libmnt_table *tb = mnt_new_table();
	int rc = tb ? mnt_table_parse_mtab(tb, NULL) : -ENOMEM;

	if (rc != 0) {
		mnt_unref_table(tb);
		return err_errno(err, rc < 0 ? -rc : EIO, "read the mount table");
	}
	*ret = tb;
	return 0;
}

static void table_cleanup(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

int mount_find(const char *path, char **ret_type, char **ret_target, struct err *err)
{
	cleanup(table_cleanup) struct libmnt_table *tb = NULL;
	struct libmnt_fs *fs = NULL;
	auto_free char *real = realpath(path, NULL);
	int rc;

	if (!real)
		return err_sys(err, "%s", path);
	rc = table_open(&tb, err);
	if (rc < 0)
		return rc;
	fs = mnt_table_find_mountpoint(tb, real, MNT_ITER_BACKWARD);
	if (!fs)
		return err_set(err, ENOENT, "no mount holds %s", path);
	*ret_type = mem_str(mnt_fs_get_fstype(fs));
	*ret_target = mem_str(mnt_fs_get_target(fs));
	return 0;
}

int mount_count_beneath(const char *path, struct err *err)
{
	cleanup(table_cleanup) struct libmnt_table *tb = NULL;
	struct libmnt_fs *fs = NULL;
	struct libmnt_iter *it;
	size_t len = strlen(path);
	int n = 0, rc = table_open(&tb, err);

	if (rc < 0)
		return rc;
	it = mnt_new_iter(MNT_ITER_FORWARD);
	while (it && mnt_table_next_fs(tb, it, &fs) == 0) {
		const char *t = mnt_fs_get_target(fs);

		n += t && !strncmp(t, path, len) && (!t[len] || t[len] == '/');
	}
	mnt_free_iter(it);
	return n;
}

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
