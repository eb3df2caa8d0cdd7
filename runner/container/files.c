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
	ETC_HOSTS,
	ETC_HOSTNAME,
	ETC_RESOLV,
	DIR_NAME_MAX = CONTAINER_ID_LEN + 16,
	HOST_FILE_MAX = 1 << 20
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

char *container_path(const struct container *c, const char *name)
{
	return mem_fmt("%s/containers/%s/%s", c->rt->root, c->id, name);
}

static void hosts_default(struct str *to)
{
	str_add(to, "127.0.0.1\tlocalhost\n"
		    "::1\tlocalhost ip6-localhost ip6-loopback\n"
		    "fe00::\tip6-localnet\n"
		    "ff00::\tip6-mcastprefix\n"
		    "ff02::1\tip6-allnodes\n"
		    "ff02::2\tip6-allrouters\n");
}

static void host_file(const char *path, struct str *to)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	size_t len = 0;

	if (fd_read_file(AT_FDCWD, path, HOST_FILE_MAX, &text, &len, &ignored) >= 0)
		str_addn(to, text, len);
}

static void drop_lines(struct str *text, const char *word)
{
	auto_strv struct strv lines = { 0 };

	strv_split(&lines, str_get(text), '\n');
	str_reset(text);
	for (size_t i = 0; i < lines.n; i++)
		if (*lines.v[i] && !str_starts(lines.v[i], word))
			str_addf(text, "%s\n", lines.v[i]);
}

/* What was asked for takes the place of the host's lines of that kind. */
static void resolv_words(const struct container_spec *s, struct str *to)
{
	if (s->dns.n)
		drop_lines(to, "nameserver");
	for (size_t i = 0; i < s->dns.n; i++)
		str_addf(to, "nameserver %s\n", s->dns.v[i]);
	if (s->dns_search.n) {
		drop_lines(to, "search");
		drop_lines(to, "domain");
	}
	for (size_t i = 0; i < s->dns_search.n; i++)
		if (!str_eq(s->dns_search.v[i], "."))
			str_addf(to, "%s%s", i ? " " : "search ", s->dns_search.v[i]);
	if (s->dns_search.n && !str_eq(s->dns_search.v[0], "."))
		str_addc(to, '\n');
	if (s->dns_options.n)
		drop_lines(to, "options");
	for (size_t i = 0; i < s->dns_options.n; i++)
		str_addf(to, "%s%s", i ? " " : "options ", s->dns_options.v[i]);
	if (s->dns_options.n)
		str_addc(to, '\n');
}

static int fill(const struct container *c, int which, struct str *to, struct err *err)
{
	bool host = !str_eq(c->spec.network, "none");
	int rc = 0;

	if (which == ETC_HOSTNAME) {
		str_addf(to, "%s\n", c->spec.hostname);
	} else if (which == ETC_RESOLV) {
		if (host)
			host_file("/etc/resolv.conf", to);
		resolv_words(&c->spec, to);
	} else {
		if (host)
			host_file("/etc/hosts", to);
		if (!to->len)
			hosts_default(to);
		if (str_get(to)[to->len - 1] != '\n')
			str_addc(to, '\n');
		for (size_t i = 0; rc >= 0 && i < c->spec.add_hosts.n; i++) {
			auto_free char *line = NULL;

			rc = container_host_parse(c->spec.add_hosts.v[i], &line, err);
			if (rc >= 0)
				str_add(to, line);
		}
	}
	return rc;
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

		/* Without a network nobody is asked. */
		if (i == ETC_RESOLV && str_eq(c->spec.network, "none"))
			continue;
		rc = fill(c, i, &text, err);
		if (rc >= 0)
			rc = write_file(dir_fd, container_etc[i], &text, &ret_fds[i], err);
	}
	return rc;
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
