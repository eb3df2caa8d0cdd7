/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/hosts and /etc/resolv.conf of a container that runs, when its networks change. The files are
 * bound into it: they are written in place, and what it wrote there itself stays. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { ETC_MAX = 1 << 20 };

void container_etc_note(const struct container *c, struct container_etc_state *ret)
{
	container_own_names(c, &ret->names);
	if (!container_resolv_text(c, &ret->resolv))
		str_add(&ret->resolv, "");
}

void container_etc_free(struct container_etc_state *s)
{
	str_free(&s->names);
	str_free(&s->resolv);
}

/* The new text before the old one's end is cut: never empty for who reads it meanwhile. */
static void write_over(int dir_fd, const char *name, const char *text)
{
	auto_fd int fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err ignored = { 0 };

	if (fd < 0 || fd_write_str(fd, text, &ignored) < 0)
		return;
	if (ftruncate(fd, (off_t)strlen(text)) < 0)
		return;
}

static void edit_hosts(int dir_fd, const char *before, const char *now)
{
	auto_strv struct strv old = { 0 }, fresh = { 0 }, lines = { 0 };
	auto_free char *text = NULL;
	auto_str struct str to = { 0 };
	struct err ignored = { 0 };
	size_t len;

	if (fd_read_file(dir_fd, "hosts", ETC_MAX, &text, &len, &ignored) < 0)
		return;
	strv_split(&old, before, '\n');
	strv_split(&fresh, now, '\n');
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++)
		if ((*lines.v[i] || i + 1 < lines.n) &&
		    (!*lines.v[i] || !strv_has(&old, lines.v[i]) || strv_has(&fresh, lines.v[i])))
			str_addf(&to, "%s\n", lines.v[i]);
	for (size_t i = 0; i < fresh.n; i++)
		if (*fresh.v[i] && !strv_has(&lines, fresh.v[i]))
			str_addf(&to, "%s\n", fresh.v[i]);
	if (!str_eq(str_get(&to), text))
		write_over(dir_fd, "hosts", str_get(&to));
}

/* As Docker: only as long as nobody has changed it. */
static void edit_resolv(int dir_fd, const char *before, const char *now)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	size_t len;

	if (fd_read_file(dir_fd, "resolv.conf", ETC_MAX, &text, &len, &ignored) >= 0 &&
	    str_eq(text, before) && !str_eq(text, now))
		write_over(dir_fd, "resolv.conf", now);
}

void container_etc_edit(const struct container *c, const struct container_etc_state *before)
{
	cleanup(container_etc_free) struct container_etc_state now = { 0 };
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) < 0)
		return;
	container_etc_note(c, &now);
	edit_hosts(dir, str_get(&before->names), str_get(&now.names));
	edit_resolv(dir, str_get(&before->resolv), str_get(&now.resolv));
}
