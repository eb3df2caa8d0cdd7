/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from mount.c, so that who only lists mounts does not load libmount. */
#include <shale/base/mount.h>

void mount_list_free(struct mount_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		mem_cleanup(&l->v[i].type);
		mem_cleanup(&l->v[i].source);
		mem_cleanup(&l->v[i].target);
		strv_free(&l->v[i].options);
	}
	mem_cleanup(&l->v);
	*l = (struct mount_list){ 0 };
}

struct mount_entry *mount_list_add(struct mount_list *l, const char *type, const char *source,
				   const char *target)
{
	mem_room(l->v, l->n, l->cap);
	l->v[l->n] = (struct mount_entry){ mem_str(type), mem_str(source), mem_str(target), { 0 } };
	return &l->v[l->n++];
}
