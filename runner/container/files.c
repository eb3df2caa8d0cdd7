/* SPDX-License-Identifier: Apache-2.0 */
/* containers/<id>/: the files that are bound over names in /etc, the log, the exit status. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum {
	DIR_NAME_MAX = CONTAINER_ID_LEN + 16,
};

const char *const container_etc[CONTAINER_ETC_N] = { "hosts", "hostname", "resolv.conf" };

static const char *dir_name(const struct container *c, char buf[DIR_NAME_MAX])
{
	snprintf(buf, DIR_NAME_MAX, "containers/%s", c->id);
	return buf;
}

int container_dir(const struct container *c, int *ret_fd, struct err *err)
{
	int fd = fs_open_dir(c->rt->root_fd, dir_name(c, (char[DIR_NAME_MAX]){ 0 }), err);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int container_dir_make(const struct container *c, struct err *err)
{
	char name[DIR_NAME_MAX];

	dir_name(c, name);
	if (mkdirat(c->rt->root_fd, name, 0700) == 0)
		return 0;
	if (errno == ENOENT && fs_mkdir(c->rt->root_fd, "containers", 0700, err) < 0)
		return -err->code;
	return fs_mkdir(c->rt->root_fd, name, 0700, err);
}

int container_dir_need(const struct container *c, int *ret_fd, struct err *err)
{
	int rc = container_dir_make(c, err);

	return rc < 0 ? rc : container_dir(c, ret_fd, err);
}

char *container_path(const struct container *c, const char *name)
{
	return mem_fmt("%s/containers/%s/%s", c->rt->root, c->id, name);
}

int container_etc_text(const struct container *c, int which, struct str *to, struct err *err)
{
	auto_free char *gateway = NULL;
	int rc = 0;

	if (which == CONTAINER_ETC_HOSTNAME) {
		str_addf(to, "%s\n", c->spec.hostname);
		return 1;
	}
	if (which == CONTAINER_ETC_RESOLV)
		return container_resolv_text(c, to);
	container_hosts_text(c, to);
	if (c->spec.links.n)
		rc = container_link_names(c, to, err);
	gateway = c->spec.add_hosts.n ? container_gateway(c) : NULL;
	for (size_t i = 0; rc >= 0 && i < c->spec.add_hosts.n; i++) {
		auto_free char *line = NULL;

		rc = container_host_parse(c->spec.add_hosts.v[i], &line, err);
		if (rc >= 0)
			network_hosts_add(to, line, gateway);
	}
	return rc < 0 ? rc : 1;
}

bool container_etc_is_brief(const struct container *c)
{
	enum container_net kind = container_net_kind(&c->spec);

	return c->auto_remove && (kind == CONTAINER_NET_NONE || kind == CONTAINER_NET_HOST);
}

/* The container can write to the file but not reach its directory, so the name is still ours; it
 * may have changed the mode. */
static int write_file(int dir_fd, const char *name, const struct str *text, int *ret_fd,
		      struct err *err)
{
	auto_fd int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || fchmod(fd, 0644) < 0)
		return err_sys(err, "make %s", name);
	if (text->len && fd_write_all(fd, text->s, text->len, err) < 0)
		return err_ctx(err, "%s", name);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* Anew at each start, as Docker does: the host's own may have changed. */
int container_etc_write(const struct container *c, int dir_fd, int ret_fds[CONTAINER_ETC_N],
			struct err *err)
{
	int rc = 0;

	for (int i = 0; rc >= 0 && i < CONTAINER_ETC_N; i++) {
		auto_str struct str text = { 0 };

		rc = container_etc_text(c, i, &text, err);
		/* Without a network nobody is asked. */
		if (rc > 0)
			rc = write_file(dir_fd, container_etc[i], &text, &ret_fds[i], err);
	}
	return rc < 0 ? rc : 0;
}

/*
 * Made empty when the container starts, and filled by one write when it ends. So who waits can open
 * it before, and read it even when the container has been removed meanwhile; and who finds the
 * keeper gone knows how far it came.
 */
int container_exit_write(int exit_fd, int code, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", code);

	return fd_write_all(exit_fd, text, (size_t)n, err);
}

int container_exit_read(int exit_fd, int *ret_code)
{
	char text[16] = { 0 };
	uint64_t v;
	ssize_t n = pread(exit_fd, text, sizeof(text) - 1, 0);

	if (n < 2 || text[n - 1] != '\n')
		return 0;
	text[n - 1] = 0;
	if (str_to_u64(text, 10, 255, &v) < 0)
		return 0;
	*ret_code = (int)v;
	return 1;
}
