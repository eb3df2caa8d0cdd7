/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of a layout: one in every hierarchy, at a place that others chose. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "priv.h"

enum {
	FILE_MAX = 4 << 20,
	TRIES = 400,
	MAKE_TRIES = 32,
	WAIT_NS = 5 * 1000 * 1000,
	DEPTH_MAX = 32,
};

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = WAIT_NS }, NULL);
}

/* A v1 group of cpuset takes no process before it has CPUs and memory nodes: those of its parent,
 * level by level. */
void sandbox_group_inherit(const char *mount, const char *name)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	auto_free char *path = mem_str(name);
	char *slash = path;

	for (bool more = true; more;) {
		auto_fd int from = -1, to = -1;
		auto_free char *parent = NULL;

		slash = strchrnul(slash, '/');
		more = *slash;
		*slash = 0;
		to = sandbox_cgroup_group(mount, path, false, false);
		parent = mem_strn(path,
				  strrchr(path, '/') ? (size_t)(strrchr(path, '/') - path) : 0);
		from = sandbox_cgroup_group(mount, parent, false, false);
		for (size_t i = 0; i < ARRAY_LEN(files) && from >= 0 && to >= 0; i++) {
			auto_free char *own = NULL, *theirs = NULL;
			struct err ignored;

			if (fd_read_file(to, files[i], FILE_MAX, &own, NULL, &ignored) == 0 &&
			    strlen(own) <= 1 &&
			    fd_read_file(from, files[i], FILE_MAX, &theirs, NULL, &ignored) == 0)
				sandbox_cgroup_write(to, files[i], theirs);
		}
		if (more)
			*slash++ = '/';
	}
}

static int apply(const struct sandbox_cgroup_dirs *d, size_t i, int dir_fd,
		 const struct sandbox_cgroup_write *w, struct err *err)
{
	int rc;

	if (w->v2 != d->v[i].v2 || (w->v2 && !d->pure_v2) ||
	    (!w->v2 && !sandbox_group_has(d, i, w->controller)))
		return 0;
	rc = sandbox_cgroup_write(dir_fd, w->file, w->value);
	if (rc == -ENOENT && w->may_miss)
		return 1;
	return rc < 0 ? err_errno(err, -rc, "cgroup: %s = %s", w->file, w->value) : 1;
}

/* A limit whose controller the host has not is no limit. */
static int check_applied(const struct sandbox_cgroup_dirs *d, const struct sandbox_cgroup_write *w,
			 struct err *err)
{
	if (w->v2 != d->pure_v2 || w->v2)
		return 0;
	for (size_t i = 0; i < d->n; i++)
		if (sandbox_group_has(d, i, w->controller))
			return 0;
	return err_set(err, ENOTSUP, "cgroup: %s: this host has no %s controller", w->file,
		       w->controller);
}

static int apply_all(const struct sandbox_cgroup_dirs *d, size_t i, int dir_fd,
		     const struct sandbox_cgroup_write *w, size_t n, struct err *err)
{
	int rc = 0;

	for (size_t k = 0; k < n && rc >= 0; k++)
		rc = apply(d, i, dir_fd, &w[k], err);
	return rc < 0 ? rc : 0;
}

/* cgroups(7), "Cgroups delegation": limits are in none of these files. */
static int give(int dir_fd, uint32_t uid, struct err *err)
{
	static const char fallback[] = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
	auto_free char *list = NULL;
	struct err ignored;
	char *save = NULL;

	if (fd_read_file(AT_FDCWD, "/sys/kernel/cgroup/delegate", FILE_MAX, &list, NULL, &ignored) <
	    0)
		list = mem_str(fallback);
	if (fchown(dir_fd, uid, (gid_t)-1) < 0)
		return err_sys(err, "owner of the cgroup");
	for (char *file = strtok_r(list, "\n", &save); file; file = strtok_r(NULL, "\n", &save))
		if (!strchr(file, '/') && fchownat(dir_fd, file, uid, (gid_t)-1, 0) < 0 &&
		    errno != ENOENT)
			return err_sys(err, "owner of the cgroup's %s", file);
	return 0;
}

/* Whoever removes the last group of a parent takes that one along, perhaps while we make ours. */
static int make_group(const struct sandbox_cgroup_dirs *d, size_t i, const char *name)
{
	int fd = -ENOENT;

	for (int tries = 0; tries < MAKE_TRIES && fd == -ENOENT; tries++)
		fd = sandbox_cgroup_group(d->v[i].mount, name, d->pure_v2, true);
	return fd;
}

int sandbox_cgroup_make_all(const struct sandbox_plan *p, struct sandbox_ctx *ctx, int *ret_v2_fd,
			    struct err *err)
{
	const struct sandbox_layout *l = p->layout;
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_scan(&d, err);

	for (size_t i = 0; i < l->n_writes && rc == 0; i++)
		rc = check_applied(&d, &l->writes[i], err);
	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = make_group(&d, i, p->cgroup_name);

		if (dir < 0)
			return err_errno(err, -dir, "cgroup %s in %s", p->cgroup_name,
					 d.v[i].mount);
		if (sandbox_group_has(&d, i, "cpuset"))
			sandbox_group_inherit(d.v[i].mount, p->cgroup_name);
		rc = apply_all(&d, i, dir, l->writes, l->n_writes, err);
		if (rc == 0 && d.pure_v2 && l->n_device_rules)
			rc = sandbox_devices_attach(dir, l->device_rules, l->n_device_rules, err);
		if (rc == 0 && d.pure_v2 && l->cgroup_uid)
			rc = give(dir, l->cgroup_uid, err);
		if (rc == 0 && !d.pure_v2)
			rc = sandbox_group_view(ctx, d.v[i].mount, dir, 0, err);
		if (rc == 0 && !d.v[i].v2)
			rc = sandbox_group_tasks(ctx, dir, d.v[i].mount, err);
		if (d.v[i].v2)
			*ret_v2_fd = fd_take(&dir);
	}
	return rc;
}

/* Memory and memory with swap bound each other, so which goes first depends on what they were: what
 * fails is tried again after the others. */
static int apply_twice(const struct sandbox_cgroup_dirs *d, size_t i, int dir_fd,
		       const struct sandbox_cgroup_write *w, size_t n, struct err *err)
{
	auto_free bool *again = mem_array(n + 1, sizeof(*again));
	struct err first;
	int rc = 0;

	for (size_t k = 0; k < n; k++)
		again[k] = apply(d, i, dir_fd, &w[k], &first) < 0;
	for (size_t k = 0; k < n && rc >= 0; k++)
		if (again[k])
			rc = apply(d, i, dir_fd, &w[k], err);
	return rc < 0 ? rc : 0;
}

int sandbox_cgroup_apply(const char *name, const struct sandbox_cgroup_write *w, size_t n,
			 struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_scan(&d, err);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = check_applied(&d, &w[i], err);
	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = sandbox_cgroup_group(d.v[i].mount, name, d.v[i].v2, false);

		if (dir >= 0)
			rc = apply_twice(&d, i, dir, w, n, err);
	}
	return rc;
}

int sandbox_cgroup_devices(const char *name, const struct sandbox_device_rule *r, size_t n,
			   struct err *err)
{
	auto_fd int dir = sandbox_cgroup_group(CGROUP_ROOT, name, true, false);

	return dir < 0 ? err_errno(err, -dir, "cgroup %s", name)
		       : sandbox_devices_attach(dir, r, n, err);
}

static int remove_below(int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (fd >= 0 && !dir)
		close(fd);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (depth && (e = readdir(dir)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			remove_below(dirfd(dir), e->d_name, depth - 1);
	closedir(dir);
	for (int i = 0; i < TRIES; i++) {
		if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY)
			break;
		nap();
	}
	return -errno;
}

int sandbox_cgroup_delete(const char *name, struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_check_name(name, err);

	if (rc == 0)
		rc = sandbox_cgroup_scan(&d, err);
	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_free char *path = mem_fmt("%s/%s", d.v[i].mount, name);
		int gone = remove_below(AT_FDCWD, path, DEPTH_MAX);

		if (gone < 0)
			rc = err_errno(err, -gone, "remove cgroup %s", path);
	}
	return rc;
}

int sandbox_cgroup_read(const char *name, const char *controller, const char *file, char **ret,
			struct err *err)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	int rc = sandbox_cgroup_scan(&d, err);

	for (size_t i = 0; i < d.n && rc == 0; i++) {
		auto_fd int dir = -1;

		if (controller ? !sandbox_group_has(&d, i, controller) : !d.v[i].v2)
			continue;
		dir = sandbox_cgroup_group(d.v[i].mount, name, false, false);
		return dir < 0 ? err_errno(err, -dir, "cgroup %s", name)
			       : fd_read_file(dir, file, FILE_MAX, ret, NULL, err);
	}
	return rc < 0 ? rc
		      : err_set(err, ENOENT, "no %s controller", controller ? controller : "v2");
}

bool sandbox_cgroup_is_v2(void)
{
	auto_cgroup_dirs struct sandbox_cgroup_dirs d = { 0 };
	struct err ignored;

	return sandbox_cgroup_scan(&d, &ignored) == 0 && d.pure_v2;
}
