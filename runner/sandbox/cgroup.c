/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups beneath each hierarchy: v2, v1, or hybrid (v1 controllers and a v2 tree without,
 * which has cgroup.kill). Joining a v1 group costs milliseconds, so only the hierarchies that
 * something needs are used: memory and pids for their limits, the freezer where there is no v2 tree
 * to kill by.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum {
	CGROUP2_MAGIC = 0x63677270,
	TABLE_MAX = 4 << 20,
	PIDS_MAX = 16 << 20,
	REMOVE_TRIES = 200,
	REMOVE_WAIT_NS = 5 * 1000 * 1000,
	REMOVE_FIRST_NS = 100 * 1000,
	KILL_ROUNDS = 200,
	OPEN_TRIES = 3,
};

int sandbox_cgroup_check_name(const char *name, struct err *err)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+:@\\-/";
	size_t n = strlen(name);

	if (!n || n > 255 || name[strspn(name, ok)] || name[0] == '/' || name[0] == '.' ||
	    name[n - 1] == '/' || strstr(name, "//") || strstr(name, "/."))
		return err_set(err, EINVAL, "bad cgroup name %.255s", name);
	return 0;
}

void sandbox_cgroup_dirs_free(struct sandbox_cgroup_dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->v[i].controllers);
		free(d->v[i].mount);
	}
	d->n = 0;
}

static void add_dir(struct sandbox_cgroup_dirs *d, const char *mount, const char *controllers,
		    bool v2)
{
	if (d->n == SANDBOX_HIERARCHIES_MAX)
		return;
	d->v[d->n].mount = mem_str(mount);
	d->v[d->n].controllers = mem_fmt(",%s,", controllers);
	d->v[d->n++].v2 = v2;
}

/* One line of mountinfo: field 5 is the mount point, after " - " come type, source and the
 * superblock's options. */
static void scan_line(struct sandbox_cgroup_dirs *d, char *line)
{
	char *sep = strstr(line, " - "), *save = NULL, *type, *options, *field = line;

	if (!sep)
		return;
	*sep = 0;
	type = strtok_r(sep + 3, " ", &save);
	strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	if (!type || !options || strncmp(type, "cgroup", 6) != 0)
		return;
	for (int i = 0; i < 4 && field; i++) {
		field = strchr(field, ' ');
		field = field ? field + 1 : NULL;
	}
	if (!field)
		return;
	field[strcspn(field, " ")] = 0;
	if (strncmp(field, CGROUP_ROOT, sizeof(CGROUP_ROOT) - 1) != 0)
		return;
	add_dir(d, field, type[6] == '2' ? "" : options, type[6] == '2');
}

int sandbox_cgroup_scan(struct sandbox_cgroup_dirs *ret, struct err *err)
{
	auto_free char *table = NULL;
	struct statfs fs;
	char *next;
	int rc;

	*ret = (struct sandbox_cgroup_dirs){ 0 };
	if (statfs(CGROUP_ROOT, &fs) == 0 && fs.f_type == CGROUP2_MAGIC) {
		ret->pure_v2 = true;
		add_dir(ret, CGROUP_ROOT, "", true);
		return 0;
	}
	rc = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_MAX, &table, NULL, err);
	if (rc < 0)
		return rc;
	for (char *line = table; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		scan_line(ret, line);
	}
	return ret->n ? 0 : err_set(err, ENOTSUP, "no cgroup file system at " CGROUP_ROOT);
}

bool sandbox_group_has(const struct sandbox_cgroup_dirs *d, size_t i, const char *controller)
{
	auto_free char *with = mem_fmt(",%s,", controller);

	return strstr(d->v[i].controllers, with) != NULL;
}

int sandbox_cgroup_write(int dir_fd, const char *file, const char *value)
{
	auto_fd int fd = openat(dir_fd, file, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* Controllers for the children of dir_fd (v2). Those that are not there are left out: the limit's
 * file tells. One that is unknown spoils the whole line, then they are named one by one. */
static void enable(int dir_fd)
{
	static const char *const names[] = { "+memory", "+pids",    "+cpu",  "+io",
					     "+cpuset", "+hugetlb", "+rdma", "+misc" };

	if (sandbox_cgroup_write(dir_fd, "cgroup.subtree_control",
				 "+memory +pids +cpu +io +cpuset +hugetlb +rdma +misc") == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		sandbox_cgroup_write(dir_fd, "cgroup.subtree_control", names[i]);
}

/* The directory of name beneath a hierarchy's root, made when make. Returns an O_PATH-less
 * directory fd. */
int sandbox_cgroup_group(const char *mount, const char *name, bool v2, bool make)
{
	auto_fd int dir = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *copy = mem_str(name);
	char *save = NULL;

	for (char *part = strtok_r(copy, "/", &save); part && dir >= 0;
	     part = strtok_r(NULL, "/", &save)) {
		int next;

		if (make && v2)
			enable(dir);
		if (make && mkdirat(dir, part, 0755) < 0 && errno != EEXIST)
			return -errno;
		next = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd_close(&dir);
		dir = next;
	}
	return dir < 0 ? -errno : fd_take(&dir);
}

/* What the container will see of this group at /sys/fs/cgroup: a bind, detached. */
int sandbox_group_view(struct sandbox_ctx *ctx, const char *mount, int dir_fd, uint64_t set,
		       struct err *err)
{
	struct mount_attr attr = { .attr_set = set | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					       MOUNT_ATTR_NOEXEC,
				   .propagation = 1 << 18 /* MS_PRIVATE */ };
	struct sandbox_cgroup_view *v = &ctx->views[ctx->n_views];

	v->fd = sys_open_tree(dir_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (v->fd < 0)
		return err_sys(err, "bind of the cgroup in %s", mount);
	snprintf(v->name, sizeof(v->name), "%s", strrchr(mount, '/') + 1);
	ctx->n_views++;
	if (sys_mount_setattr(v->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "flags of the cgroup in %s", mount);
	return 0;
}

int sandbox_group_tasks(struct sandbox_ctx *ctx, int dir_fd, const char *mount, struct err *err)
{
	/* Not cgroup.procs: a thread that moves itself does not wait for an RCU grace period (12
	   ms), as cgroup_procs_write_start() of the kernel says; the child has no other thread. */
	int fd = openat(dir_fd, "tasks", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "tasks in %s", mount);
	ctx->cgroup_tasks[ctx->n_cgroup_tasks++] = fd;
	return 0;
}

int sandbox_cgroup_make(const struct sandbox_cgroup *c, struct sandbox_ctx *ctx, int *ret_v2_fd,
			struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_scan(&d, err);

	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = -1;

		if (!sandbox_cgroup_wants(c, &d, i))
			continue;
		dir = sandbox_cgroup_group(d.v[i].mount, c->name, d.pure_v2, true);
		if (dir < 0)
			return err_errno(err, -dir, "cgroup %s in %s", c->name, d.v[i].mount);
		rc = sandbox_cgroup_limit(c, &d, i, dir, err);
		if (rc == 0 && !d.pure_v2)
			rc = sandbox_group_view(ctx, d.v[i].mount, dir, MOUNT_ATTR_RDONLY, err);
		if (rc == 0 && !d.v[i].v2)
			rc = sandbox_group_tasks(ctx, dir, d.v[i].mount, err);
		if (d.v[i].v2)
			*ret_v2_fd = fd_take(&dir);
	}
	return rc < 0 ? rc : sandbox_cgroup_missing(c, &d, err);
}

/* The group of pid in the v2 tree, when it is beneath name: its path, else NULL. */
static char *path_beneath(const char *name, pid_t pid)
{
	auto_free char *table = NULL, *path = mem_fmt("/proc/%d/cgroup", (int)pid);
	auto_free char *begin = mem_fmt("0::/%s/", name);
	struct err ignored;
	char *line;

	if (fd_read_file(AT_FDCWD, path, TABLE_MAX, &table, NULL, &ignored) < 0)
		return NULL;
	line = strstr(table, begin);
	if (!line || (line > table && line[-1] != '\n'))
		return NULL;
	line += strlen("0::/");
	line[strcspn(line, "\n")] = 0;
	return strstr(line, "/..") ? NULL : mem_str(line);
}

/* A v2 group whose controllers are handed on takes no process itself (a container that runs systemd
 * divides its own so): then it is the group of pid, which is beneath, and may be taken apart
 * between reading and opening. Its fd, or -errno. */
static int group_of(const char *mount, const char *name, pid_t pid, int dir_fd)
{
	auto_free char *handed = NULL;
	auto_fd int dir = dir_fd;
	struct err ignored;
	int fd = -ENOENT;

	if (fd_read_file(dir, "cgroup.subtree_control", TABLE_MAX, &handed, NULL, &ignored) < 0 ||
	    strlen(handed) <= 1)
		return fd_take(&dir);
	for (int i = 0; i < OPEN_TRIES && fd == -ENOENT; i++) {
		auto_free char *path = path_beneath(name, pid);

		if (!path)
			return fd_take(&dir);
		fd = sandbox_cgroup_group(mount, path, true, false);
	}
	return fd;
}

int sandbox_cgroup_open(const char *name, pid_t pid, struct sandbox_ctx *ctx, int *ret_v2_fd,
			struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_scan(&d, err);

	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);

		if (dir == -ENOENT)
			continue; /* this hierarchy was not needed */
		if (dir >= 0 && d.v[i].v2)
			dir = group_of(d.v[i].mount, name, pid, fd_take(&dir));
		/* Without it the process would run in our own group, and without the limits. */
		if (dir < 0)
			return err_errno(err, -dir, "cgroup %s in %s", name, d.v[i].mount);
		if (d.v[i].v2)
			*ret_v2_fd = fd_take(&dir);
		else
			rc = sandbox_group_tasks(ctx, dir, d.v[i].mount, err);
	}
	return rc;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = REMOVE_WAIT_NS }, NULL);
}

/* SIGKILL to each process of the group: how many there were. */
static int kill_each(int dir_fd)
{
	auto_free char *pids = NULL;
	struct err ignored;
	char *save = NULL;
	int n = 0;

	if (fd_read_file(dir_fd, "cgroup.procs", PIDS_MAX, &pids, NULL, &ignored) < 0)
		return 0;
	for (char *p = strtok_r(pids, "\n", &save); p; p = strtok_r(NULL, "\n", &save), n++) {
		pid_t pid = (pid_t)strtol(p, NULL, 10);

		if (pid > 1)
			kill(pid, SIGKILL);
	}
	return n;
}

/* Frozen, so that none forks away between the reading and the killing; a thawed group then dies. */
static void kill_frozen(int dir_fd)
{
	for (int i = 0; i < KILL_ROUNDS; i++) {
		int n;

		sandbox_cgroup_write(dir_fd, "freezer.state", "FROZEN");
		n = kill_each(dir_fd);
		sandbox_cgroup_write(dir_fd, "freezer.state", "THAWED");
		if (!n)
			return;
		nap();
	}
}

int sandbox_cgroup_kill(const char *name, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_check_name(name, err);

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);

		/* cgroup.kill is of 5.14; where it is not, and on v1, one by one. */
		if (dir >= 0 && !(d.v[i].v2 && sandbox_cgroup_write(dir, "cgroup.kill", "1") == 0))
			kill_frozen(dir);
	}
	return rc;
}

/* Zombies leave their group a moment after they were reaped. */
static int remove_group(const char *path)
{
	long wait_ns = REMOVE_FIRST_NS;

	for (int i = 0; i < REMOVE_TRIES; i++) {
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY)
			break;
		/* Mostly it is a matter of microseconds, and somebody waits for it. */
		nanosleep(&(struct timespec){ .tv_nsec = wait_ns }, NULL);
		wait_ns = wait_ns * 2 > REMOVE_WAIT_NS ? REMOVE_WAIT_NS : wait_ns * 2;
	}
	return -errno;
}

int sandbox_cgroup_remove(const char *name, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_check_name(name, err), worst = 0;

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < d.n; i++) {
		auto_free char *path = mem_fmt("%s/%s", d.v[i].mount, name);

		rc = remove_group(path);
		if (rc < 0)
			worst = err_errno(err, -rc, "remove cgroup %s", path);
		else if (str_starts(name, "shale/")) {
			/* "shale" itself, when this was the last one in it; others' stay. */
			*strrchr(path, '/') = 0;
			rmdir(path);
		}
	}
	return worst;
}
