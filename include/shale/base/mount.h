/* SPDX-License-Identifier: Apache-2.0 */
/* mount: mounts as data (as containerd's types.Mount), and mount tables read by libmount. */
#ifndef SHALE_BASE_MOUNT_H
#define SHALE_BASE_MOUNT_H

#include <stdbool.h>
#include <stddef.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>

struct mount_entry {
	char *type, *source, *target;
	struct strv options;
};

struct mount_list {
	struct mount_entry *v;
	size_t n, cap;
};

#define auto_mount_list cleanup(mount_list_free)
void mount_list_free(struct mount_list *l);
struct mount_entry *mount_list_add(struct mount_list *l, const char *type, const char *source,
				   const char *target);

/* Takes the topmost mount at path away; lazy: also while it is in use. -EBUSY. */
int mount_remove(const char *path, bool lazy, struct err *err);

#endif
