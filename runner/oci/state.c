/* SPDX-License-Identifier: Apache-2.0 */
/* ROOT/ID: what is known of a container between two calls. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { STATE_MAX = 4 << 20 };

void oci_state_cleanup(struct oci_state *s)
{
	int saved = errno;

	free(s->id);
	free(s->bundle);
	free(s->cgroup);
	free(s->unit);
	free(s->created);
	free(s->root_path);
	json_decref(s->annotations);
	fd_close(&s->dir_fd);
	*s = (struct oci_state){ .dir_fd = -1 };
	errno = saved;
}

/* It becomes the name of a directory and of a group. */
int oci_check_id(const char *id, struct err *err)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
	size_t n = strlen(id);

	if (!n || n > OCI_ID_MAX || id[strspn(id, ok)] || *id == '.')
		return err_set(
			err, EINVAL,
			"container id \"%.64s\": letters, digits, _ + - and ., no . first, at "
			"most %d",
			id, OCI_ID_MAX);
	return 0;
}

static int open_root(const struct oci_runtime *r, bool make, struct err *err)
{
	int fd, rc = make ? fs_mkdirs(r->root, 0700, err) : 0;

	if (rc < 0)
		return rc;
	fd = open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "%s", r->root) : fd;
}

int oci_state_new(const struct oci_runtime *r, const char *id, int *ret_dir_fd, struct err *err)
{
	int rc = oci_check_id(id, err);
	auto_fd int root = rc < 0 ? -1 : open_root(r, true, err);
	int fd;

	if (root < 0)
		return -err->code;
	if (mkdirat(root, id, 0700) < 0)
		return errno == EEXIST
			       ? err_set(err, EEXIST, "container with id %s exists already", id)
			       : err_sys(err, "%s/%s", r->root, id);
	fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "%s/%s", r->root, id);
	*ret_dir_fd = fd;
	return 0;
}

int oci_state_remove(const struct oci_runtime *r, const char *id, struct err *err)
{
	auto_fd int root = open_root(r, false, err);

	return root < 0 ? root : fs_remove_tree(root, id, err);
}

int oci_state_write(const struct oci_state *s, struct err *err)
{
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;

	json_set_str(j, "ociVersion", OCI_VERSION);
	json_set_str(j, "id", s->id);
	json_object_set_new(j, "pid", json_integer(s->pid));
	json_object_set_new(j, "startTime", json_integer((json_int_t)s->start_time));
	json_set_str(j, "boot", proc_boot_id());
	json_set_str(j, "bundle", s->bundle);
	json_set_str(j, "rootfs", s->root_path);
	json_set_str(j, "cgroup", s->cgroup);
	json_set_str(j, "unit", s->unit);
	json_set_str(j, "created", s->created);
	if (s->annotations)
		json_object_set(j, "annotations", s->annotations);
	text = json_text(j);
	return fs_write_atomic(s->dir_fd, "state.json", text, strlen(text), false, err);
}

static int read_json(struct oci_state *s, struct err *err)
{
	auto_free char *text = NULL;
	auto_json json_t *j = NULL;
	size_t len;
	int rc = fd_read_file(s->dir_fd, "state.json", STATE_MAX, &text, &len, err);

	if (rc == -ENOENT) {
		/* Another process is making it, or died doing so. */
		err_clear(err);
		return 0;
	}
	if (rc == 0)
		rc = json_parse(text, len, &j, err);
	if (rc < 0)
		return err_ctx(err, "state of %s", s->id);
	s->pid = (pid_t)json_get_int(j, "pid", 0);
	s->start_time = (uint64_t)json_get_int(j, "startTime", 0);
	s->bundle = mem_str(json_get_str(j, "bundle"));
	s->root_path = mem_str(json_get_str(j, "rootfs"));
	s->cgroup = mem_str(json_get_str(j, "cgroup"));
	s->unit = mem_str(json_get_str(j, "unit"));
	s->created = mem_str(json_get_str(j, "created"));
	s->other_boot = !str_eq(json_get_str(j, "boot"), proc_boot_id());
	s->annotations = json_incref(json_object_get(j, "annotations"));
	return 0;
}

int oci_state_read(const struct oci_runtime *r, const char *id, struct oci_state *ret,
		   struct err *err)
{
	int rc = oci_check_id(id, err);
	auto_fd int root = -1;

	ret->dir_fd = -1;
	if (rc < 0)
		return rc;
	root = open_root(r, false, err);
	if (root >= 0)
		ret->dir_fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	else if (err->code != ENOENT)
		return -err->code;
	if (ret->dir_fd < 0)
		return root < 0 || errno == ENOENT
			       ? err_set(err, ENOENT, "container %s does not exist", id)
			       : err_sys(err, "%s/%s", r->root, id);
	ret->id = mem_str(id);
	return read_json(ret, err);
}

const char *oci_state_status(const struct oci_state *s)
{
	if (!s->created)
		return "creating";
	if (s->other_boot || !s->pid || !proc_is_alive(s->pid, s->start_time))
		return "stopped";
	if (s->cgroup && sandbox_cgroup_is_frozen(s->cgroup))
		return "paused";
	return faccessat(s->dir_fd, OCI_GO, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? "created" : "running";
}

json_t *oci_state_json(const struct oci_state *s, const char *status)
{
	json_t *j = json_object();

	json_set_str(j, "ociVersion", OCI_VERSION);
	json_set_str(j, "id", s->id);
	json_object_set_new(j, "pid", json_integer(str_eq(status, "stopped") ? 0 : s->pid));
	json_set_str(j, "status", status);
	json_set_str(j, "bundle", s->bundle);
	json_set_str(j, "rootfs", s->root_path);
	json_set_str(j, "created", s->created);
	if (s->annotations)
		json_object_set(j, "annotations", s->annotations);
	return j;
}

int oci_state_config(const struct oci_state *s, const struct oci_runtime *r, struct oci_config *ret,
		     struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int rc = fd_read_file(s->dir_fd, "config.json", OCI_CONFIG_MAX, &text, &len, err);

	if (rc == 0)
		rc = oci_config_parse(r, text, len, ret, err);
	if (rc < 0)
		return err_ctx(err, "config of %s", s->id);
	ret->bundle = mem_str(s->bundle);
	ret->spec.root_fd = -1;
	return 0;
}
