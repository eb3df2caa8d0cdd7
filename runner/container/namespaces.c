/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces that a container shares with the host or with another one, and its users: --pid,
 * --ipc,
 * --uts, --cgroupns, --userns. The network's are net.c's.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/runtime.h>

#include "priv.h"

#define AUTO      "auto"
#define AUTO_SIZE "auto:size="
#define KEEP      "keep-id"

enum { AUTO_COUNT = 65536, AUTO_MIN = 1024, TMPFS_MAGIC_NUMBER = 0x01021994 };

/* --- words
 * -----------------------------------------------------------------------------------------------
 */

static const struct kind {
	const char *option, *words; /* blank-separated */
	size_t offset;
	bool of_containers;
} kinds[] = {
	{ "--pid", "private host", offsetof(struct container_spec, pid_ns), true },
	{ "--ipc", "private host shareable none", offsetof(struct container_spec, ipc_ns), true },
	{ "--uts", "private host", offsetof(struct container_spec, uts_ns), false },
	{ "--cgroupns", "private host", offsetof(struct container_spec, cgroup_ns), false },
	{ "--userns", "host private auto", offsetof(struct container_spec, user_ns), true },
};

static const char *word_of(const struct container_spec *s, const struct kind *k)
{
	return *(char *const *)((uintptr_t)s + k->offset);
}

static bool is_of_container(const char *word)
{
	return word && str_starts(word, OF_CONTAINER) && word[strlen(OF_CONTAINER)];
}

/* "auto:size=N": 0 for another word. */
static int64_t auto_size(const char *word)
{
	uint64_t n;

	if (str_eq(word, AUTO))
		return AUTO_COUNT;
	if (!word || !str_starts(word, AUTO_SIZE) ||
	    str_to_u64(word + strlen(AUTO_SIZE), 10, UINT32_MAX, &n) < 0 || n < AUTO_MIN)
		return 0;
	return (int64_t)n;
}

static bool keep_word(const char *word, uint64_t *uid, uint64_t *gid)
{
	uint64_t *id = str_starts(word, "uid=") ? uid : str_starts(word, "gid=") ? gid : NULL;

	return id && str_to_u64(word + strlen("uid="), 10, UINT32_MAX - 1, id) >= 0;
}

/* "keep-id[:uid=N,gid=N]" */
static bool is_keep(const char *word, uint64_t *uid, uint64_t *gid)
{
	const char *options = word && str_starts(word, KEEP) ? word + strlen(KEEP) : NULL;
	auto_strv struct strv words = { 0 };
	bool ok = options && (!*options || (*options == ':' && options[1]));

	*uid = *gid = 0;
	if (ok && *options)
		strv_split(&words, options + 1, ',');
	for (size_t i = 0; ok && i < words.n; i++)
		ok = keep_word(words.v[i], uid, gid);
	return ok;
}

static bool is_users_word(const char *word)
{
	uint64_t uid, gid;

	return auto_size(word) || is_keep(word, &uid, &gid);
}

static int check_word(const struct kind *k, const char *word, struct err *err)
{
	auto_strv struct strv words = { 0 };
	auto_str struct str all = { 0 };

	strv_split(&words, k->words, ' ');
	if (!word || !*word || strv_has(&words, word) ||
	    (k->of_containers && is_of_container(word)) ||
	    (k->offset == offsetof(struct container_spec, user_ns) && is_users_word(word)))
		return 0;
	for (size_t i = 0; i < words.n; i++)
		str_addf(&all, "%s%s", i ? ", " : "", words.v[i]);
	return err_set(err, EINVAL, "%s %.80s: want %s%s%s", k->option, word, all.s,
		       k->of_containers ? ", container:NAME" : "",
		       str_eq(k->option, "--userns") ? ", auto:size=N, keep-id[:uid=N,gid=N]" : "");
}

bool container_has_users(const struct container_spec *s)
{
	return s->user_ns && *s->user_ns && !str_eq(s->user_ns, "host");
}

int container_namespaces_check(const struct container_spec *s, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (check_word(&kinds[i], word_of(s, &kinds[i]), err) < 0)
			return -err->code;
	if (s->privileged && container_has_users(s))
		return err_set(err, EINVAL,
			       "--privileged and --userns %s exclude each other: in a user "
			       "namespace nobody has all rights",
			       s->user_ns);
	return 0;
}

/* Its row keeps the range from others, too: who gave it may be removed before. */
static void share_users(struct container_spec *r, const struct container_spec *of)
{
	r->ids_root = of->ids_root;
	r->ids_count = of->ids_count;
}

/* As Podman: root's mapping is kept, which is everybody's, and who it runs as is not the image's to
 * say. */
static void keep_users(struct container_spec *r)
{
	uint64_t uid, gid;

	if (!is_keep(r->user_ns, &uid, &gid))
		return;
	r->ids_count = IDS_ALL;
	if (!r->user)
		r->user = mem_fmt("%" PRIu64 ":%" PRIu64, uid, gid);
}

/* Names are what they mean now. */
int container_namespaces_resolve(struct runtime *rt, struct container_spec *r, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		auto_container struct container *other = NULL;
		char **word = (char **)((uintptr_t)r + kinds[i].offset);

		if (!is_of_container(*word))
			continue;
		if (container_find(rt, *word + strlen(OF_CONTAINER), &other, err) < 0)
			return err_set(err, EINVAL, "%s %.80s: no such container", kinds[i].option,
				       *word);
		free(*word);
		*word = mem_fmt(OF_CONTAINER "%s", other->id);
		if (word == &r->user_ns)
			share_users(r, &other->spec);
	}
	keep_users(r);
	return 0;
}

/* --- users of a range of its own
 * ------------------------------------------------------------------------------------------------
 */

struct given {
	int64_t root, count;
};

static int read_given(struct db *db, struct given **ret, size_t *ret_n, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	size_t n = 0, cap = 0;
	int rc = db_query(db,
			  "SELECT json_extract(spec,'$.ids_root'),json_extract(spec,'$.ids_count')"
			  " FROM containers WHERE instr(spec,'\"ids_root\"')>0 ORDER BY 1",
			  NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		mem_room(*ret, n, cap);
		(*ret)[n++] = (struct given){ db_col_int(st, 0), db_col_int(st, 1) };
	}
	*ret_n = n;
	return rc;
}

/* The lowest that nobody has; inside the transaction that inserts the row, and with that it goes.
 */
int container_users_allot(struct container *c, struct err *err)
{
	int64_t count = auto_size(c->spec.user_ns), at = c->rt->ids_first,
		end = (int64_t)c->rt->ids_first + c->rt->ids_count;
	auto_free struct given *given = NULL;
	size_t n = 0;
	int rc;

	if (!count)
		return 0;
	rc = read_given(c->rt->db, &given, &n, err);
	for (size_t i = 0; rc >= 0 && i < n && given[i].root < at + count; i++)
		if (given[i].root + given[i].count > at)
			at = given[i].root + given[i].count;
	if (rc >= 0 && at + count > end)
		return err_set(
			err, ENOSPC,
			"--userns %s: the %u users from %u on (/etc/subuid, or containers.users "
			"in shale.conf) are all given to containers",
			c->spec.user_ns, c->rt->ids_count, c->rt->ids_first);
	c->spec.ids_root = at;
	c->spec.ids_count = count;
	return rc < 0 ? rc : 0;
}

int container_find_running(struct runtime *rt, const char *name, struct container **ret,
			   struct err *err)
{
	auto_container struct container *other = NULL;
	int rc = container_find(rt, name, &other, err);

	if (rc >= 0)
		rc = container_pid_wait(other, err);
	if (rc >= 0 && other->state != CONTAINER_RUNNING)
		rc = err_set(err, EBUSY, "container %s is not running", other->name);
	if (rc < 0)
		return rc;
	*ret = take(other);
	return 0;
}

/* "container:ID" */
static int find_other(const struct container *c, const char *word, struct container **ret,
		      struct err *err)
{
	return container_find_running(c->rt, word + strlen(OF_CONTAINER), ret, err);
}

int container_ns_fd(const struct container *c, const char *kind, struct err *err)
{
	auto_free char *path = mem_fmt("/proc/%d/ns/%s", (int)c->pid, kind);
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* The pid was this container's after the open. */
	if (fd < 0 || c->pid <= 0 || !proc_is_alive(c->pid, c->start_time))
		return err_set(err, EBUSY, "container %s is not running", c->name);
	return fd_take(&fd);
}

/* "         0 1879048192  268304384" */
static int read_map(const struct container *c, struct ids_range *ret, struct err *err)
{
	auto_free char *path = mem_fmt("/proc/%d/uid_map", (int)c->pid), *text = NULL;
	unsigned inside, root, count;
	int rc = fd_read_file(AT_FDCWD, path, PATH_MAX, &text, NULL, err);

	if (rc < 0)
		return rc;
	if (sscanf(text, "%u %u %u", &inside, &root, &count) != 3 || inside) // NOLINT(cert-err34-c)
		return err_set(err, EPROTO, "%s is odd", path);
	ret->root = root;
	ret->count = count;
	return 0;
}

int container_users_of(const struct container *c, struct ids_range *ret, struct err *err)
{
	auto_fd int fd = -1;
	int rc;

	if (!container_has_users(&c->spec))
		return 0;
	rc = read_map(c, ret, err);
	if (rc >= 0)
		rc = fd = container_ns_fd(c, "user", err);
	if (rc < 0)
		return rc;
	ret->fd = fd_take(&fd);
	return 0;
}

int container_users_at_rest(const struct container *c, struct ids_range *ret, struct err *err)
{
	auto_container struct container *other = NULL;
	int rc;

	if (!container_has_users(&c->spec))
		return 0;
	if (c->spec.ids_count || !is_of_container(c->spec.user_ns)) {
		ret->root = (uint32_t)c->spec.ids_root;
		ret->count = (uint32_t)c->spec.ids_count;
		return ids_open(ret, err);
	}
	rc = container_find(c->rt, c->spec.user_ns + strlen(OF_CONTAINER), &other, err);
	return rc < 0 ? err_ctx(err, "users of another container")
		      : container_users_at_rest(other, ret, err);
}

int container_users_open(const struct container *c, struct ids_range *ret, struct err *err)
{
	auto_container struct container *other = NULL;
	int rc;

	if (!is_of_container(c->spec.user_ns))
		return container_users_at_rest(c, ret, err);
	rc = find_other(c, c->spec.user_ns, &other, err);
	if (rc >= 0 && !container_has_users(&other->spec))
		return 0; /* that one's are the host's */
	return rc < 0 ? err_ctx(err, "users of another container")
		      : container_users_of(other, ret, err);
}

/* --- the others
 * -----------------------------------------------------------------------------------------------
 */

static void add(struct container_namespaces *n, int type, int fd)
{
	n->v[n->n++] = (struct sandbox_ns){ type, fd };
}

static int add_pid(const struct container *c, struct container_namespaces *n, struct err *err)
{
	auto_container struct container *other = NULL;
	const char *word = c->spec.pid_ns;
	int fd;

	if (str_eq(word, "host"))
		add(n, CLONE_NEWPID, -1);
	if (!is_of_container(word))
		return 0;
	if (find_other(c, word, &other, err) < 0 || (fd = container_ns_fd(other, "pid", err)) < 0)
		return err_ctx(err, "processes of another container");
	add(n, CLONE_NEWPID, fd);
	return 0;
}

/* In a child, by system calls only: a mount can be cloned where it is mounted. */
struct clone_of {
	int mnt_fd;
	const char *path;
};

static void send_clone(int sock, const void *arg)
{
	const struct clone_of *of = arg;
	char c = 0;
	int fd = -1;

	if (setns(of->mnt_fd, CLONE_NEWNS) == 0)
		fd = sys_open_tree(AT_FDCWD, of->path,
				   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	fd_send(sock, &c, 1, fd);
}

int container_clone_mount(const struct container *c, const char *path, struct err *err)
{
	auto_fd int mnt = container_ns_fd(c, "mnt", err), ours = -1, fd = -1;
	struct clone_of of = { mnt, path };
	struct err ignored;
	int code;
	ssize_t n;
	pid_t pid;
	char ok;

	if (mnt < 0)
		return mnt;
	pid = proc_fork_helper(send_clone, &of, &ours, err);
	if (pid < 0)
		return (int)pid;
	n = fd_receive(ours, &ok, 1, &fd);
	proc_wait(pid, &code, &ignored);
	if (n != 1 || fd < 0)
		return err_set(err, ENOENT, "container %s has nothing at %s", c->name, path);
	return fd_take(&fd);
}

/* Another's memory, not whatever that one has put in its place. */
static int take_shm(struct container_namespaces *n, int fd, struct err *err)
{
	struct mount_attr attr = { .attr_set =
					   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
				   .propagation = MS_PRIVATE };
	struct statfs fs;

	n->shm = SANDBOX_SHM_FD;
	n->shm_fd = fd;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC_NUMBER)
		return err_set(err, EINVAL, "the other /dev/shm is no tmpfs");
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "/dev/shm");
	return 0;
}

static int share_ipc(const struct container *c, struct container_namespaces *n, struct err *err)
{
	auto_container struct container *other = NULL;
	int fd, rc = find_other(c, c->spec.ipc_ns, &other, err);
	const char *theirs;

	if (rc < 0)
		return rc;
	theirs = other->spec.ipc_ns;
	if (!str_eq(theirs, "shareable") && !str_eq(theirs, "host") && !is_of_container(theirs))
		return err_set(err, EINVAL, "container %s was not made with --ipc shareable",
			       other->name);
	fd = container_ns_fd(other, "ipc", err);
	if (fd < 0)
		return fd;
	add(n, CLONE_NEWIPC, fd);
	fd = container_clone_mount(other, "/dev/shm", err);
	return fd < 0 ? fd : take_shm(n, fd, err);
}

static int add_ipc(const struct container *c, struct container_namespaces *n, struct err *err)
{
	const char *word = c->spec.ipc_ns;
	int fd;

	if (str_eq(word, "none"))
		n->shm = SANDBOX_SHM_NONE;
	if (is_of_container(word))
		return share_ipc(c, n, err) < 0 ? err_ctx(err, "memory of another container") : 0;
	if (!str_eq(word, "host"))
		return 0;
	add(n, CLONE_NEWIPC, -1);
	fd = sys_open_tree(AT_FDCWD, "/dev/shm",
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	return fd < 0 ? err_sys(err, "/dev/shm of the host") : take_shm(n, fd, err);
}

int container_namespaces_open(const struct container *c, struct container_namespaces *ret,
			      struct err *err)
{
	int fd, rc = container_users_open(c, &ret->ids, err);

	if (rc >= 0)
		rc = add_pid(c, ret, err);
	if (rc >= 0)
		rc = add_ipc(c, ret, err);
	if (rc < 0)
		return rc;
	if (str_eq(c->spec.uts_ns, "host"))
		add(ret, CLONE_NEWUTS, -1);
	if (str_eq(c->spec.cgroup_ns, "host"))
		add(ret, CLONE_NEWCGROUP, -1);
	/* Its own users have to have rights in it. */
	if (!ret->ids.count || container_net_kind(&c->spec) != CONTAINER_NET_NONE)
		return 0;
	fd = ids_open_net(&ret->ids, err);
	if (fd >= 0)
		add(ret, CLONE_NEWNET, fd);
	return fd < 0 ? fd : 0;
}

void container_namespaces_close(struct container_namespaces *n)
{
	for (size_t i = 0; i < n->n; i++)
		fd_close(&n->v[i].fd);
	n->n = 0;
	fd_close(&n->shm_fd);
	ids_close(&n->ids);
}
