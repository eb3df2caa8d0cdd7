/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that a command writes for the user. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

void output_cleanup(struct output *o)
{
	fd_close(&o->fd);
	if (o->tmp)
		unlink(o->tmp);
	free(o->tmp);
	free(o->target);
}

int output_open(struct output *o, struct err *err)
{
	char random[17];
	struct stat st;
	int rc;

	/* A symlink's target is replaced, not the symlink. */
	o->target = realpath(o->path, NULL);
	if (!o->target)
		o->target = mem_str(o->path);
	if (stat(o->target, &st) == 0 && !S_ISREG(st.st_mode)) {
		if (S_ISDIR(st.st_mode))
			return err_set(err, EISDIR, "%s is a directory", o->path);
		o->fd = open(o->target, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return o->fd < 0 ? err_sys(err, "open %s", o->path) : 0;
	}
	proc_random_hex(random, 16);
	o->tmp = mem_fmt("%s.%s.tmp", o->target, random);
	o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (o->fd < 0) {
		rc = err_sys(err, "create %s", o->path);
		free(take(o->tmp));
		return rc;
	}
	return out_give_to_user(o->fd, err);
}

int output_commit(struct output *o, struct err *err)
{
	if (!o->tmp)
		return 0;
	fault_point("cli.output.written");
	if (rename(o->tmp, o->target) < 0)
		return err_sys(err, "rename to %s", o->path);
	free(take(o->tmp));
	return 0;
}
