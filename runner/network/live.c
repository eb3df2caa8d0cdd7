/* SPDX-License-Identifier: Apache-2.0 */
/* /run/shale/networks: who has which addresses, in this boot and on this host. */
#include <shale/network.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>

#include "priv.h"

#define LIVE_DIR "/run/shale/networks"
enum { USER_BYTES_MAX = 1 << 20 };

void network_live_close(struct network_live *l)
{
	fd_close(&l->lock_fd);
	fd_close(&l->dir_fd);
	json_decref(take(l->users));
}

static int read_user(struct network_live *l, const char *id, json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int rc = fd_read_file(l->dir_fd, id, USER_BYTES_MAX, &text, &len, err);

	return rc < 0 ? rc : json_parse(text, len, ret, err);
}

/* The lock, netavark's own files and unfinished writes have other names. */
static bool is_id(const char *name)
{
	const char *hex = str_starts(name, NETWORK_BUILD) ? name + strlen(NETWORK_BUILD) : name;

	return strlen(name) == NETWORK_ID_LEN && strspn(hex, "0123456789abcdef") == strlen(hex);
}

static int read_all(struct network_live *l, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(l->dir_fd, ".", &names, err);

	l->users = json_object();
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		json_t *user = NULL;

		/* Who was killed in fs_write_atomic. */
		if (str_starts(names.v[i], ".tmp-"))
			unlinkat(l->dir_fd, names.v[i], 0);
		if (!is_id(names.v[i]))
			continue;
		rc = read_user(l, names.v[i], &user, err);
		if (rc >= 0)
			json_object_set_new(l->users, names.v[i], user);
		else
			err_ctx(err, "%s/%s", LIVE_DIR, names.v[i]);
	}
	return rc < 0 ? rc : 0;
}

static int read_locked(struct network_live *l, bool wait, struct err *err)
{
	int rc;

	l->dir_fd = open(LIVE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->dir_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", LIVE_DIR);
	if (l->lock_fd < 0)
		l->lock_fd = fs_lock(l->dir_fd, "lock", wait, err);
	if (l->lock_fd < 0)
		return l->lock_fd;
	rc = read_all(l, err);
	return rc < 0 ? rc : 1;
}

int network_live_peek(struct network_live *l, struct err *err)
{
	return read_locked(l, true, err);
}

int network_live_inherit(struct network_live *l, int lock_fd, struct err *err)
{
	l->lock_fd = lock_fd;
	return read_locked(l, true, err);
}

static bool is_lost(const json_t *user)
{
	return !proc_is_alive((pid_t)json_get_int(user, "keeper", 0),
			      (uint64_t)json_get_int(user, "keeper_start", 0));
}

static void take_back_lost(struct network_live *l)
{
	const char *id;
	json_t *user;
	void *next;

	json_object_foreach_safe(l->users, next, id, user)
	{
		struct err ignored = { 0 };

		if (!is_lost(user))
			continue;
		if (network_undo(l, id, -1, &ignored) != -EINTR)
			network_live_drop(l, id);
	}
}

int network_live_open(struct network_live *l, struct err *err)
{
	int rc = fs_mkdirs(LIVE_DIR, 0700, err);

	if (rc >= 0)
		rc = network_live_peek(l, err);
	if (rc < 0)
		return rc;
	take_back_lost(l);
	return 0;
}

/* A container that was lost has a row, which is looked at; of a build nothing else is left. Without
 * the lock, which others hold for as long as netavark takes. */
static bool is_lost_build(int dir_fd, const char *name)
{
	struct network_live l = { .dir_fd = dir_fd };
	auto_json json_t *user = NULL;
	struct err ignored = { 0 };

	return is_id(name) && str_starts(name, NETWORK_BUILD) &&
	       read_user(&l, name, &user, &ignored) >= 0 && is_lost(user);
}

void network_tidy(void)
{
	auto_network_live struct network_live l = NETWORK_LIVE_INIT;
	auto_fd int dir = open(LIVE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };
	bool found = false;

	if (dir < 0 || fs_list(dir, ".", &names, &ignored) < 0)
		return;
	for (size_t i = 0; i < names.n && !found; i++)
		found = is_lost_build(dir, names.v[i]);
	/* Somebody is at it: he sees it, too. */
	if (found && read_locked(&l, false, &ignored) > 0)
		take_back_lost(&l);
}

int network_live_put(struct network_live *l, const char *id, const json_t *user, struct err *err)
{
	auto_free char *text = json_text(user);
	int rc = fs_write_atomic(l->dir_fd, id, text, strlen(text), false, err);

	if (rc < 0)
		return err_ctx(err, "%s", LIVE_DIR);
	fault_point("network.live.put");
	json_object_set_new(l->users, id, json_deep_copy(user));
	return 0;
}

void network_live_drop(struct network_live *l, const char *id)
{
	/* id may be the key of what goes. */
	unlinkat(l->dir_fd, id, 0);
	fault_point("network.live.dropped");
	json_object_del(l->users, id);
}

static bool range_is_used(const json_t *info, const struct network_range *range)
{
	json_t *all = json_object_get(info, "subnets"), *subnet;
	struct network_range r;
	size_t i;

	json_array_foreach(all, i, subnet)
	{
		const char *text = json_get_str(subnet, "subnet");

		if (text && network_range_parse(text, &r) == 0 && network_range_overlaps(&r, range))
			return true;
	}
	return false;
}

bool network_live_uses(const struct network_live *l, const char *network_id,
		       const struct network_range *range)
{
	const char *id, *name;
	json_t *user, *info;

	json_object_foreach(l->users, id, user)
	{
		json_t *all = json_object_get(json_object_get(user, "setup"), "network_info");

		json_object_foreach(all, name, info)
		{
			bool same = str_eq(json_get_str(info, "id"), network_id);

			if (range ? !same && range_is_used(info, range) : same)
				return true;
		}
	}
	return false;
}
