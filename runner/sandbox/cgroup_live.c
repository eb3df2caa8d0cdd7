/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a control group while its processes run: frozen, counted. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { FREEZE_TRIES = 1000, FREEZE_WAIT_NS = 2 * 1000 * 1000, VALUE_MAX = 4096 };
enum { PIDS_BYTES_MAX = 16 << 20, GROUPS_MAX = 4096, DEPTH_MAX = 32 };

static bool has_freezer(const struct sandbox_cgroup_dirs *d, size_t i)
{
	return strstr(d->v[i].controllers, ",freezer,") != NULL;
}

/* The group that can be frozen: of the v2 tree, else of v1's freezer. Its fd, or -errno. */
static int open_freezer(const char *name, bool *ret_v2)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	struct err ignored;
	int fd = -ENOENT;

	if (sandbox_cgroup_check_name(name, &ignored) < 0 || sandbox_cgroup_scan(&d, &ignored) < 0)
		return -ENOENT;
	for (size_t i = 0; i < d.n && fd < 0; i++) {
		if (!d.v[i].v2 && !has_freezer(&d, i))
			continue;
		fd = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);
		*ret_v2 = d.v[i].v2;
	}
	return fd;
}

static bool says(int dir_fd, const char *file, const char *text)
{
	auto_free char *value = NULL;
	struct err ignored;

	return fd_read_file(dir_fd, file, VALUE_MAX, &value, NULL, &ignored) >= 0 &&
	       strstr(value, text) != NULL;
}

/* On v1 a group that forks while it freezes has to be told again. */
static bool is_settled(int fd, bool v2, bool frozen)
{
	if (v2)
		return says(fd, "cgroup.events", frozen ? "frozen 1" : "frozen 0");
	if (says(fd, "freezer.state", frozen ? "FROZEN" : "THAWED"))
		return true;
	sandbox_cgroup_write(fd, "freezer.state", frozen ? "FROZEN" : "THAWED");
	return false;
}

int sandbox_cgroup_freeze(const char *name, bool frozen, struct err *err)
{
	bool v2 = false;
	auto_fd int fd = open_freezer(name, &v2);
	int rc;

	if (fd < 0)
		return err_errno(err, -fd, "cgroup %s", name);
	rc = v2 ? sandbox_cgroup_write(fd, "cgroup.freeze", frozen ? "1" : "0")
		: sandbox_cgroup_write(fd, "freezer.state", frozen ? "FROZEN" : "THAWED");
	if (rc < 0)
		return err_errno(err, -rc, "freezer of cgroup %s", name);
	for (int i = 0; i < FREEZE_TRIES; i++) {
		if (is_settled(fd, v2, frozen))
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = FREEZE_WAIT_NS }, NULL);
	}
	return err_set(err, ETIMEDOUT, "cgroup %s does not %s", name, frozen ? "freeze" : "thaw");
}

bool sandbox_cgroup_is_frozen(const char *name)
{
	bool v2 = false;
	auto_fd int fd = open_freezer(name, &v2);

	return fd >= 0 && (v2 ? says(fd, "cgroup.freeze", "1") : says(fd, "freezer.state", "FR"));
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

static int write_pid(int dir_fd, pid_t pid)
{
	auto_free char *text = mem_fmt("%d", (int)pid);

	return sandbox_cgroup_write(dir_fd, "cgroup.procs", text);
}

/* The v2 tree first, as open_freezer finds it. */
static int make_freezer(const char *name, const struct sandbox_cgroup_dirs *d)
{
	int fd = -ENOENT;

	for (size_t pass = 0; pass < 2 && fd < 0; pass++)
		for (size_t i = 0; i < d->n && fd < 0; i++)
			if (pass ? has_freezer(d, i) : d->v[i].v2)
				fd = sandbox_cgroup_group(d->v[i].mount, name, d->v[i].v2, true);
	return fd;
}

/* The path in a line of /proc/PID/cgroup as far as the first name that is an id as long as the last
 * of name: those are containers, whatever their parents. */
static char *container_in(const char *line, const char *name)
{
	const char *slash = strrchr(name, '/'), *path = strchr(line, ':');
	size_t n = slash ? strlen(slash + 1) : 0;

	path = path ? strchr(path + 1, ':') : NULL;
	if (!n || !path || path[1] != '/')
		return NULL;
	for (const char *part = path + 2; *part; part += part[0] == '/') {
		size_t len = strcspn(part, "/");

		if (len == n && strspn(part, "0123456789abcdef") == n)
			return mem_fmt("%.*s", (int)(part + n - path - 2), path + 2);
		part += len;
	}
	return NULL;
}

static char *container_of(const char *name, pid_t pid)
{
	auto_free char *path = mem_fmt("/proc/%d/cgroup", (int)pid), *text = NULL;
	char *save = NULL, *found = NULL;
	struct err ignored;

	if (fd_read_file(AT_FDCWD, path, PIDS_BYTES_MAX, &text, NULL, &ignored) < 0)
		return NULL;
	for (char *l = strtok_r(text, "\n", &save); l && !found; l = strtok_r(NULL, "\n", &save))
		found = container_in(l, name);
	return found;
}

bool sandbox_cgroup_is_others(const char *name, pid_t first, pid_t pid)
{
	auto_free char *its = container_of(name, pid), *first_is_in = NULL;

	if (!its || str_eq(its, name))
		return false;
	/* Both may be what runs in a container without a group of their own. */
	first_is_in = container_of(name, first);
	return !first_is_in || !str_eq(its, first_is_in);
}

static bool is_of(pid_t pid, const struct stat *pid_ns)
{
	auto_free char *path = mem_fmt("/proc/%d/ns/pid", (int)pid);
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == pid_ns->st_dev && st.st_ino == pid_ns->st_ino;
}

int sandbox_cgroup_adopt(const char *name, int pid_ns_fd, const pid_t *pids, size_t n,
			 struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	auto_free pid_t *there = NULL;
	auto_fd int fd = -1;
	struct err ignored;
	struct stat pid_ns;
	size_t n_there = 0;
	int rc = sandbox_cgroup_check_name(name, err), moved = 0;

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	if (rc < 0)
		return rc;
	if (fstat(pid_ns_fd, &pid_ns) < 0)
		return err_sys(err, "pid namespace for cgroup %s", name);
	fd = make_freezer(name, &d);
	if (fd < 0)
		return err_errno(err, -fd, "make cgroup %s", name);
	if (sandbox_cgroup_pids(name, &there, &n_there, &ignored) < 0)
		n_there = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (n_there && bsearch(&pids[i], there, n_there, sizeof(*there), by_number))
			continue;
		/* A zombie is in no group, and moves nowhere. */
		if (!proc_is_alive(pids[i], proc_start_time(pids[i])))
			continue;
		/* Last: the number may be somebody else's by now. */
		if (!is_of(pids[i], &pid_ns))
			continue;
		rc = write_pid(fd, pids[i]);
		moved += rc == 0;
		if (rc == -ESRCH)
			rc = 0;
		if (rc < 0)
			err_errno(err, -rc, "process %d into cgroup %s", (int)pids[i], name);
	}
	return rc < 0 ? rc : moved;
}

/* --- processes --- */

struct pids {
	pid_t *v;
	size_t n, cap;
	int groups_left;
};

static void add_pids(struct pids *p, int dir_fd)
{
	auto_free char *text = NULL;
	struct err ignored;
	char *save = NULL;

	/* A threaded group has no list of processes (EOPNOTSUPP): its parent's names them. */
	if (fd_read_file(dir_fd, "cgroup.procs", PIDS_BYTES_MAX, &text, NULL, &ignored) < 0)
		return;
	for (char *t = strtok_r(text, "\n", &save); t; t = strtok_r(NULL, "\n", &save)) {
		mem_room(p->v, p->n, p->cap);
		p->v[p->n++] = (pid_t)strtol(t, NULL, 10);
	}
}

/* The container may have made groups of its own in its group. */
static void add_tree(struct pids *p, int dir_fd, int depth)
{
	DIR *d = fdopendir(dir_fd);
	struct dirent *e;

	if (!d) {
		close(dir_fd);
		return;
	}
	add_pids(p, dir_fd);
	while ((e = readdir(d)) && p->groups_left > 0 && depth < DEPTH_MAX) {
		int sub;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		p->groups_left--;
		if (sub >= 0)
			add_tree(p, sub, depth + 1);
	}
	closedir(d);
}

int sandbox_cgroup_pids(const char *name, pid_t **ret, size_t *ret_n, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	struct pids p = { .groups_left = GROUPS_MAX };
	int rc = sandbox_cgroup_check_name(name, err), fd = -ENOENT;

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	if (rc < 0)
		return rc;
	/* Those of v1 may be newer than the processes; the one that is made at the start has all.
	 */
	for (size_t pass = 0; pass < 2 && fd < 0; pass++)
		for (size_t i = 0; i < d.n && fd < 0; i++)
			if (pass || d.v[i].v2 || has_freezer(&d, i))
				fd = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);
	if (fd < 0)
		return err_errno(err, -fd, "cgroup %s", name);
	add_tree(&p, fd, 0);
	if (p.n)
		qsort(p.v, p.n, sizeof(*p.v), by_number);
	*ret = p.v;
	*ret_n = p.n;
	return 0;
}
