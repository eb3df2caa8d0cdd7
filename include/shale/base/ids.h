/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids: a user namespace whose users are a range of the host's that nobody else has, and mounts that
 * show files by it: what root owns on disk is root's inside, and the other way round.
 */
#ifndef SHALE_BASE_IDS_H
#define SHALE_BASE_IDS_H

#include <stdint.h>
#include <sys/types.h>

#include <shale/base/err.h>

/* The range: beyond those that systemd-nspawn gives out, below systemd's foreign ones and what
 * 32-bit programs take for negative. */
enum { IDS_ROOT = 0x70000000, IDS_COUNT = 0x0ffe0000 };
/* Behind it and behind systemd's foreign ones (0x7ffe0000 to 0x7ffeffff): who programs of the host
 * that meet what is foreign are (build/tool.h). */
enum { IDS_TOOL = 0x7fff0000 };

/* The count of one in which everybody is who he is here (root 0), with no rights here. */
#define IDS_ALL UINT32_MAX

struct ids_range {
	int fd;         /* the namespace */
	uint32_t root;  /* what its 0 is here */
	uint32_t count; /* of users, and of groups; 0: there is no namespace */
};
#define IDS_INIT                                                                                   \
	{                                                                                          \
		-1, 0, 0                                                                           \
	}
/* A new one; ret->count 0: with the range above, else with that of ret. */
int ids_open(struct ids_range *ret, struct err *err);
/* Any maps, as the kernel reads them: lines of "INSIDE OUTSIDE COUNT"; NULL: none is written. */
struct ids_maps {
	const char *uids, *gids;
};
/* A user namespace with these maps: an fd. */
int ids_open_maps(const struct ids_maps *m, struct err *err);
/* To the new user namespace of pid. */
int ids_write_maps(pid_t pid, const struct ids_maps *m, struct err *err);
/* A network namespace that is i's: who has all rights in i has them there. An fd. */
int ids_open_net(const struct ids_range *i, struct err *err);
void ids_close(struct ids_range *i);

/* From here on what this thread makes in files is the namespace's root's, with all rights as
 * before; through a mount of ids_map it cannot make anything else. NULL or none: nothing happens.
 * 0 or -errno; system calls only. */
int ids_enter(const struct ids_range *i);
void ids_leave(const struct ids_range *i);
/* What id of the host's is in the namespace: 65534, as the kernel says, when it is nobody's there.
 */
uint32_t ids_inside(const struct ids_range *i, uint32_t id);
/* A detached mount that nobody has used yet. 0 or -errno; system calls only. */
int ids_map(const struct ids_range *i, int mount_fd);

#endif
