/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and groups of an image: its passwd and group files read as data, never by NSS, whose
 * libraries would be the image's (CVE-2019-14271, TRAPS T2). The rules of names and numbers are
 * Docker's (moby/sys/user GetExecUser).
 */
#include <shale/sandbox.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "priv.h"

enum { FILE_MAX = 1 << 20, NAME_LENGTH_MAX = 256, FIELDS_MAX = 7 };
#define ID_MAX (UINT32_MAX - 1)

/* A regular file of at most 1 MiB; "" when it is missing. A fifo, a symlink or a sparse giant is
 * refused (TRAPS T29). So is a device before it is opened, which might do something already: the
 * host's root is not in the container's device group. */
static int read_data(int root_fd, const char *path, char **ret, struct err *err)
{
	auto_fd int at = path_try_in(root_fd, path, O_PATH | O_NOFOLLOW, 0), fd = -1;
	char by_fd[FD_PATH_MAX];
	struct stat st;

	if (at < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		*ret = mem_str("");
		return 0;
	}
	if (at < 0 || fstat(at, &st) < 0)
		return err_sys(err, "/%s of the image", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "/%s of the image is no regular file", path);
	if (st.st_size > FILE_MAX)
		return err_set(err, EINVAL, "/%s of the image is larger than %d bytes", path,
			       FILE_MAX);
	fd = open(fd_path(at, by_fd), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "/%s of the image", path);
	return fd_read_all(fd, FILE_MAX, ret, NULL, err);
}

/* The next line cut at ':' into fields (missing ones ""); false at the end. */
static bool next_record(char **text, char *fields[FIELDS_MAX])
{
	static char none[1];
	char *line = *text, *end;

	if (!line || !*line)
		return false;
	end = strchr(line, '\n');
	*text = end ? end + 1 : NULL;
	if (end)
		*end = 0;
	for (int i = 0; i < FIELDS_MAX; i++) {
		fields[i] = line ? line : none;
		line = line ? strchr(line, ':') : NULL;
		if (line)
			*line++ = 0;
	}
	return true;
}

static bool is_number(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

/* 1 a number, 0 a name, -EINVAL. */
static int read_id(const char *s, const char *what, uint32_t *ret, struct err *err)
{
	uint64_t v;

	if (!is_number(s)) {
		if (!*s || strlen(s) > NAME_LENGTH_MAX || strchr("+-", *s))
			return err_set(err, EINVAL, "%s \"%.64s\" is neither a name nor a number",
				       what, s);
		for (const char *p = s; *p; p++)
			if ((unsigned char)*p <= ' ' || *p == 127 || *p == '/' || *p == ',')
				return err_set(err, EINVAL, "%s name with a forbidden character",
					       what);
		return 0;
	}
	if (str_to_u64(s, 10, ID_MAX, &v) < 0)
		return err_set(err, EINVAL, "%s id %.64s is out of range", what, s);
	*ret = (uint32_t)v;
	return 1;
}

static bool same_id(const char *field, bool is_id, uint32_t id, uint32_t *ret)
{
	uint64_t v;

	if (!is_number(field) || str_to_u64(field, 10, ID_MAX, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return is_id && v == id;
}

/* Fills uid, gid, home and *ret_name, the name that groups list. */
static int find_user(char *passwd, const char *want, struct sandbox_user *u, char **ret_name,
		     struct err *err)
{
	char *f[FIELDS_MAX];
	uint32_t id = 0, uid, gid;
	int kind = read_id(want, "user", &id, err);

	if (kind < 0)
		return kind;
	while (next_record(&passwd, f)) {
		bool match;

		uid = UINT32_MAX;
		gid = UINT32_MAX;
		match = same_id(f[2], kind == 1, id, &uid) || !strcmp(f[0], want);
		same_id(f[3], false, 0, &gid);
		if (!match || uid == UINT32_MAX || gid == UINT32_MAX)
			continue;
		u->uid = uid;
		u->gid = gid;
		u->home = mem_str(*f[5] == '/' ? f[5] : "/");
		*ret_name = mem_str(f[0]);
		return 0;
	}
	if (kind == 0)
		return err_set(err, ENOENT, "no user %s in /etc/passwd of the image", want);
	u->uid = id;
	u->gid = 0;
	u->home = mem_str("/");
	return 0;
}

static int find_group(char *groups, const char *want, struct sandbox_user *u, struct err *err)
{
	char *f[FIELDS_MAX];
	uint32_t id = 0, gid;
	int kind = read_id(want, "group", &id, err);

	if (kind < 0)
		return kind;
	while (next_record(&groups, f)) {
		bool match;

		gid = UINT32_MAX;
		match = same_id(f[2], kind == 1, id, &gid) || !strcmp(f[0], want);
		if (!match || gid == UINT32_MAX)
			continue;
		u->gid = gid;
		return 0;
	}
	if (kind == 0)
		return err_set(err, ENOENT, "no group %s in /etc/group of the image", want);
	u->gid = id;
	return 0;
}

static bool lists(const char *members, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = members; *p;) {
		size_t len = strcspn(p, ",");

		if (len == n && !memcmp(p, name, n))
			return true;
		p += len;
		p += *p == ',';
	}
	return false;
}

static void find_memberships(char *groups, const char *name, struct sandbox_user *u)
{
	char *f[FIELDS_MAX];
	size_t cap = 0;
	uint32_t gid;

	while (next_record(&groups, f) && u->n_groups < SANDBOX_GROUPS_MAX - 1) {
		gid = UINT32_MAX;
		same_id(f[2], false, 0, &gid);
		if (gid == UINT32_MAX || !lists(f[3], name))
			continue;
		mem_room(u->groups, u->n_groups, cap);
		u->groups[u->n_groups++] = gid;
	}
}

/* Numbers are what they are: of a file that cannot be read, nothing more is known. */
static int read_if(int root_fd, const char *path, bool needed, char **ret, struct err *err)
{
	int rc = read_data(root_fd, path, ret, err);

	if (rc >= 0 || needed)
		return rc;
	err_clear(err);
	*ret = mem_str("");
	return 0;
}

static int find(int root_fd, const char *user, const char *group, struct sandbox_user *u,
		struct err *err)
{
	auto_free char *passwd = NULL, *groups = NULL, *name = NULL;
	bool by_number = is_number(user);
	int rc = read_if(root_fd, "etc/passwd", !by_number, &passwd, err);

	if (rc == 0)
		rc = find_user(passwd, user, u, &name, err);
	by_number &= !group || is_number(group);
	if (rc == 0 && (group || name))
		rc = read_if(root_fd, "etc/group", !by_number, &groups, err);
	if (rc < 0)
		return rc;
	if (group)
		return find_group(groups, group, u, err);
	if (name)
		find_memberships(groups, name, u);
	return 0;
}

int sandbox_user_find(int root_fd, const char *user, struct sandbox_user *ret, struct err *err)
{
	auto_free char *copy = mem_str(user && *user ? user : "0");
	char *group = strchr(copy, ':');
	struct sandbox_user u = { 0 };
	int rc;

	if (group)
		*group++ = 0;
	if (group && (!*group || strchr(group, ':')))
		return err_set(err, EINVAL, "user \"%.64s\": the group is missing or malformed",
			       user);
	rc = find(root_fd, copy, group, &u, err);
	if (rc < 0) {
		sandbox_user_free(&u);
		return rc;
	}
	*ret = u;
	return 0;
}

void sandbox_user_free(struct sandbox_user *u)
{
	if (!u)
		return;
	free(u->groups);
	free(u->home);
	*u = (struct sandbox_user){ 0 };
}
