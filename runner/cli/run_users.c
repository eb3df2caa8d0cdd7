/* SPDX-License-Identifier: Apache-2.0 */
/* Which users of the host --userns auto gives parts of. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/str.h>

#include "run_spec.h"

/* What nobody else gives out: beyond systemd's ranges and those of build --userns. */
#define BUILT_IN "2147483648:1073741824"
#define OWNER    "containers:"

enum { SUBID_BYTES_MAX = 1 << 20 };

/* The first line of "containers", as Podman reads it; NULL: there is none. */
static char *subid_of(const char *path)
{
	auto_free char *text = NULL;
	auto_strv struct strv lines = { 0 };
	struct err ignored;

	if (fd_read_file(AT_FDCWD, path, SUBID_BYTES_MAX, &text, NULL, &ignored) < 0)
		return NULL;
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++)
		if (str_starts(lines.v[i], OWNER))
			return mem_str(lines.v[i] + strlen(OWNER));
	return NULL;
}

static int use(struct runtime *rt, const char *range, const char *where, struct err *err)
{
	return settings_parse_users(range, &rt->ids_first, &rt->ids_count) < 0
		       ? err_set(err, EINVAL, "%s: '%.80s' is no START:COUNT of users", where,
				 range)
		       : 0;
}

int run_users_find(struct cli *c, const struct run_args *a, struct err *err)
{
	const char *set = c->settings.v[SETTING_USERS].value;
	auto_free char *uids = NULL, *gids = NULL;

	if (!a->user_ns || !str_starts(a->user_ns, "auto"))
		return 0;
	if (!str_eq(set, "auto"))
		return use(&c->rt, set, "containers.users", err);
	uids = subid_of("/etc/subuid");
	gids = subid_of("/etc/subgid");
	if (uids && !str_eq(uids, gids))
		return err_set(err, ENOTSUP,
			       "/etc/subuid and /etc/subgid do not give the same numbers to "
			       "containers: set users = START:COUNT in [containers] of shale.conf");
	return use(&c->rt, uids ? uids : BUILT_IN, uids ? "/etc/subuid" : "built in", err);
}
