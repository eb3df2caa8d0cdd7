/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who needs a step that another one is making waits for it: two builds at once, or two stages of
 * one. A lock on one byte of tmp/steps.lock, chosen by the key, which ends with its holder; two
 * keys on one byte cost a wait at worst.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>

#include "priv.h"

static int try_lock(int fd, const struct key *k)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	uint64_t at;

	memcpy(&at, k->digest.b, sizeof(at));
	l.l_start = (off_t)(at >> 2);
	return fcntl(fd, F_OFD_SETLK, &l);
}

int step_claim(struct build *b, const struct key *k, int *ret_fd, struct err *err)
{
	static const char waiting[] = "the same step is under way elsewhere: waiting for it\n";
	struct build_event e = { .kind = BUILD_OUTPUT, .text = waiting, .len = strlen(waiting) };
	auto_fd int fd = openat(b->rt->root_fd, "tmp/steps.lock",
				O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int waited = 0;

	if (fd < 0)
		return err_sys(err, "open tmp/steps.lock");
	while (try_lock(fd, k) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return err_sys(err, "lock the step");
		if (!waited)
			build_emit(b, &e);
		waited = 1;
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	*ret_fd = fd_take(&fd);
	return waited;
}
