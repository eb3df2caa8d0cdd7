/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/scratch.h>
#include <shale/network.h>

#include "run.h"

struct sandbox_mount *run_mount_add(struct run *r, const char *target)
{
	mem_room(r->mounts, r->n_mounts, r->cap_mounts);
	strv_add(&r->targets, target);
	r->mounts[r->n_mounts] = (struct sandbox_mount){ .source_fd = -1 };
	return &r->mounts[r->n_mounts++];
}

/* The list of targets moved while it grew. */
void run_mounts_point(struct run *r)
{
	for (size_t n = 0; n < r->n_mounts; n++)
		r->mounts[n].target = r->targets.v[n];
}

static void add_bind(struct run *r, int fd, const char *target, bool read_only)
{
	struct sandbox_mount *m = run_mount_add(r, target);

	m->source_fd = fd;
	m->read_only = read_only;
	m->recursive = true;
}

/* "HOST:CTR[:ro|rw]", read-only unless rw. */
static int add_volume(struct run *r, const char *text, struct err *err)
{
	auto_strv struct strv part = { 0 };
	bool rw;
	int fd;

	strv_split(&part, text, ':');
	rw = part.n == 3 && !strcmp(part.v[2], "rw");
	if (part.n < 2 || part.n > 3 || (part.n == 3 && !rw && strcmp(part.v[2], "ro") != 0) ||
	    *part.v[1] != '/')
		return err_set(err, EINVAL, "-v %s: want HOST:/PATH[:ro|rw]", text);
	fd = open(part.v[0], O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "-v %s: %s", text, part.v[0]);
	add_bind(r, fd, part.v[1], !rw);
	return 0;
}

static size_t add_file(struct run *r, const char *target)
{
	struct sandbox_mount *m = run_mount_add(r, target);

	m->kind = SANDBOX_FILE;
	m->mode = 0644;
	m->read_only = true;
	return r->n_mounts - 1;
}

void run_mount_fill(struct run *r, size_t mount, const char *text)
{
	r->mounts[mount].content = text;
	r->mounts[mount].content_len = strlen(text);
}

/* --add-host: lines behind the host's own names, or behind those that need no network. */
static void add_hosts(struct run *r)
{
	bool is_host = r->net == SANDBOX_NET_HOST;
	auto_str struct str text = { 0 };
	size_t at = add_file(r, "/etc/hosts");

	if (is_host)
		network_host_file("/etc/hosts", &text);
	if (!text.len)
		str_add(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	network_hosts_add(&text, r->b->o->hosts, is_host ? "127.0.0.1" : NULL);
	r->hosts = str_take(&text);
	run_mount_fill(r, at, r->hosts);
}

/* The host's resolver and names, where the step has its network; run_net_open fills those of a
 * bridge network. */
static void add_etc(struct run *r)
{
	static const char *const files[] = { "/etc/resolv.conf", "/etc/hosts" };

	if (r->net == SANDBOX_NET_FD) {
		r->resolv_mount = add_file(r, files[0]);
		r->hosts_mount = add_file(r, files[1]);
		return;
	}
	if (r->b->o->hosts)
		add_hosts(r);
	if (r->net == SANDBOX_NET_NONE)
		return;
	for (size_t i = 0; i < ARRAY_LEN(files) - (r->b->o->hosts != NULL); i++) {
		int fd = open(files[i], O_PATH | O_CLOEXEC);

		if (fd >= 0)
			add_bind(r, fd, files[i], true);
	}
}

static int add_script(struct run *r, const struct df_inst *i, struct err *err)
{
	auto_free char *target = mem_fmt(RUN_SCRIPT_DIR "/%s", i->heredocs[0].name);
	int dir = run_own_dir(r, err), rc;
	auto_fd int fd = -1;

	if (dir < 0)
		return dir;
	fd = openat(dir, "script", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0)
		return err_sys(err, "create the script");
	rc = fd_write_str(fd, r->script, err);
	if (rc < 0)
		return rc;
	if (fchmod(fd, 0755) < 0)
		return err_sys(err, "attributes of the script");
	/* A bind needs a linked file, and exec one that nobody has open for writing. */
	fd_close(&fd);
	fd = openat(dir, "script", O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open the script");
	add_bind(r, fd_take(&fd), target, true);
	return 0;
}

int run_mounts(struct run *r, const struct df_inst *i, struct err *err)
{
	int rc = 0;

	add_etc(r);
	for (size_t n = 0; n < r->b->o->volumes.n && rc >= 0; n++)
		rc = add_volume(r, r->b->o->volumes.v[n], err);
	if (rc >= 0 && r->script)
		rc = add_script(r, i, err);
	return rc < 0 ? rc : run_sources(r, i, err);
}
