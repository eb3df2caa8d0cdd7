/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: a directory each, volumes/<name>/, that appears and goes whole, by a rename inside a
 * write transaction. It says itself what it is, so that a database that was lost takes none along.
 * Who uses it stands in the specs of the containers.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { META_BYTES_MAX = 1 << 20, PATH_BYTES = 320, ANONYMOUS_LEN = 64 };

#define DATA    "_data"
#define META    "meta"
#define FILLED  "filled"
#define FILLING "filling"

static const char *dir_of(const char *name, char buf[PATH_BYTES])
{
	snprintf(buf, PATH_BYTES, "volumes/%s", name);
	return buf;
}

char *container_volume_path(struct runtime *rt, const char *name)
{
	return mem_fmt("%s/volumes/%s/" DATA, rt->root, name);
}

void container_volume_info_free(struct container_volume_info *v)
{
	free(v->name);
	strv_free(&v->labels);
	*v = (struct container_volume_info){ 0 };
}

/* --- mounts of a spec --- */

char *container_volume_of(const char *mount, bool *ret_anonymous)
{
	auto_json json_t *j = NULL;
	struct err ignored;
	const char *name;

	if (json_parse(mount, strlen(mount), &j, &ignored) < 0 ||
	    !str_eq(json_get_str(j, "type"), "volume"))
		return NULL;
	name = json_get_str(j, "name");
	*ret_anonymous = json_get_bool(j, "anonymous");
	return name && container_name_valid(name) ? mem_str(name) : NULL;
}

char *container_volume_mount(const struct container_volume *v)
{
	auto_json json_t *j = json_object();
	char name[ANONYMOUS_LEN + 1];

	proc_random_hex(name, ANONYMOUS_LEN);
	json_set_str(j, "type", "volume");
	json_set_str(j, "name", v->source ? v->source : name);
	json_set_str(j, "target", v->target);
	if (!v->source)
		json_object_set_new(j, "anonymous", json_true());
	if (v->read_only)
		json_object_set_new(j, "read_only", json_true());
	if (v->no_copy)
		json_object_set_new(j, "no_copy", json_true());
	if (v->is_given)
		json_object_set_new(j, "chown", json_true());
	return json_text(j);
}

/* --- making --- */

/* Whole under a name of its own first. */
static int make_new(struct runtime *rt, const char *name, const struct strv *labels, bool anonymous,
		    struct err *err)
{
	auto_json json_t *meta = json_object();
	auto_free char *text = NULL;
	char tmp[PATH_BYTES], to[PATH_BYTES], suffix[17];
	auto_fd int dir = -1;
	int rc;

	json_object_set_new(meta, "created_ns", json_integer(proc_now_ns()));
	json_set_strv(meta, "labels", labels);
	if (anonymous)
		json_object_set_new(meta, "anonymous", json_true());
	text = json_text(meta);
	proc_random_hex(suffix, 16);
	snprintf(tmp, sizeof(tmp), "tmp/volume.%s", suffix);
	rc = fs_mkdir(rt->root_fd, "volumes", 0700, err);
	if (rc >= 0)
		rc = fs_mkdir(rt->root_fd, tmp, 0700, err);
	if (rc < 0)
		return rc;
	dir = openat(rt->root_fd, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", tmp);
	rc = fs_mkdir(dir, DATA, 0755, err);
	if (rc >= 0 && fchmodat(dir, DATA, 0755, 0) < 0)
		rc = err_sys(err, "mode of volume %s", name);
	if (rc >= 0)
		rc = fs_write_atomic(dir, META, text, strlen(text), !anonymous, err);
	fault_point("container.volume.made");
	if (rc >= 0 && renameat(rt->root_fd, tmp, rt->root_fd, dir_of(name, to)) < 0 &&
	    errno != EEXIST && errno != ENOTEMPTY)
		rc = err_sys(err, "make volume %s", name);
	fault_point("container.volume.named");
	fs_remove_tree(rt->root_fd, tmp, &(struct err){ 0 });
	return rc;
}

static int sync_volumes(struct runtime *rt, struct err *err)
{
	auto_fd int fd = openat(rt->root_fd, "volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(err, "sync volumes") : 0;
}

static bool is_there(struct runtime *rt, const char *name)
{
	char path[PATH_BYTES];

	return faccessat(rt->root_fd, dir_of(name, path), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int container_volume_create(struct runtime *rt, const char *name, const struct strv *labels,
			    char **ret_name, struct err *err)
{
	char made_up[ANONYMOUS_LEN + 1];
	auto_db_tx struct db *tx = NULL;
	int rc;

	proc_random_hex(made_up, ANONYMOUS_LEN);
	if (name && !container_name_valid(name))
		return err_set(
			err, EINVAL,
			"invalid volume name '%s': only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
			name);
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0 && !(name && is_there(rt, name)))
		rc = make_new(rt, name ? name : made_up, labels, !name, err);
	if (rc >= 0)
		rc = sync_volumes(rt, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	*ret_name = mem_str(name ? name : made_up);
	container_volume_event(rt, *ret_name, "create");
	return 0;
}

int container_volumes_make(struct container *c, struct err *err)
{
	int rc = 0, made = 0;

	for (size_t i = 0; rc >= 0 && i < c->spec.mounts.n; i++) {
		bool anonymous = false;
		auto_free char *name = container_volume_of(c->spec.mounts.v[i], &anonymous);

		if (!name || is_there(c->rt, name))
			continue;
		rc = make_new(c->rt, name, &(struct strv){ 0 }, anonymous, err);
		made++;
	}
	return rc < 0 || !made || c->auto_remove ? rc : sync_volumes(c->rt, err);
}

/* --- the first content --- */

struct filling {
	int volume, from;
	const char *target;
	const struct ids_range *ids; /* who sees from */
};

static bool is_empty(int dir, const char *name)
{
	auto_strv struct strv names = { 0 };
	struct err ignored;

	return fs_list(dir, name, &names, &ignored) >= 0 && !names.n;
}

/* Beside it, then in its place: half of the content is never taken for all of it. */
static int copy_up(const struct filling *f, struct err *err)
{
	struct container_copy how = {
		.from = f->ids, .archive = true, .keep_special = true, .with_devices = true
	};
	int rc = fs_remove_tree(f->volume, FILLING, err);

	if (rc >= 0)
		rc = container_copy_entry(&how, f->from, f->volume, FILLING, err);
	fault_point("container.volume.copied");
	if (rc >= 0 && renameat(f->volume, FILLING, f->volume, DATA) < 0)
		rc = err_sys(err, "rename");
	return rc;
}

static int mark_filled(int volume, struct err *err)
{
	return fd_write_file(volume, FILLED, "", 0, 0600, err);
}

/* As long as it is empty the next one may fill it; a container that is at it already would not see
 * what takes the place of its directory. */
static int fill(const struct filling *f, struct err *err)
{
	auto_fd int lock = openat(f->volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_sys(err, "lock");
	if (faccessat(f->volume, FILLED, F_OK, 0) == 0)
		return 0;
	if (is_empty(f->volume, DATA)) {
		if (is_empty(f->from, "."))
			return 0;
		rc = copy_up(f, err);
	}
	return rc < 0 ? rc : mark_filled(f->volume, err);
}

int container_volume_open(const struct container *c, const char *name, const char *target,
			  const struct container_kept *k, struct err *err)
{
	char path[PATH_BYTES];
	auto_fd int volume = -1, from = -1;
	int rc = 0, fd;

	/* A machine that went down may have brought the container back, but not the volume. */
	if (!is_there(c->rt, name))
		rc = make_new(c->rt, name, &(struct strv){ 0 }, false, err);
	if (rc >= 0)
		rc = volume = fs_open_dir(c->rt->root_fd, dir_of(name, path), err);
	if (rc < 0)
		return err_ctx(err, "volume %s", name);
	if (k && faccessat(volume, FILLED, F_OK, 0) < 0)
		from = path_try_in(k->root_fd, target, O_PATH | O_DIRECTORY, 0);
	if (from >= 0)
		rc = fill(&(struct filling){ volume, from, target, k->ids }, err);
	if (rc < 0)
		return err_ctx(err, "content of volume %s", name);
	fd = openat(volume, DATA, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open volume %s", name) : fd;
}

/* --- who uses it --- */

struct users {
	const char *name;
	struct strv *ret; /* "name of a container" */
};

static void add_user(const struct users *u, const char *container, const char *spec)
{
	auto_container_spec struct container_spec s = { 0 };
	struct err ignored;

	if (container_spec_parse(spec, &s, &ignored) < 0)
		return;
	for (size_t i = 0; i < s.mounts.n; i++) {
		bool anonymous;
		auto_free char *name = container_volume_of(s.mounts.v[i], &anonymous);

		if (name && (!u->name || str_eq(name, u->name)))
			strv_add(u->ret, u->name ? container : name);
	}
}

/* name: the containers that use it. NULL: all volumes that are used. */
static int find_users(struct runtime *rt, const char *name, struct strv *ret, struct err *err)
{
	struct users u = { name, ret };
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db,
			  "SELECT name,spec FROM containers WHERE instr(spec,'\"mounts\"')>0"
			  " AND (?1 IS NULL OR instr(spec,?1)>0)",
			  DB_ARGS(DB_T(name)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		add_user(&u, db_col_str(st, 0), db_col_str(st, 1));
	return rc;
}

static int read_info(struct runtime *rt, const char *name, struct container_volume_info *ret,
		     struct err *err)
{
	auto_free char *path = mem_fmt("volumes/%s/" META, name), *text = NULL;
	auto_json json_t *j = NULL;
	size_t len = 0;
	int rc = fd_read_file(rt->root_fd, path, META_BYTES_MAX, &text, &len, err);

	if (rc >= 0)
		rc = json_parse(text, len, &j, err);
	if (rc == -ENOENT)
		return err_set(err, ENOENT, "no such volume: %s", name);
	if (rc < 0)
		return err_ctx(err, "volume %s", name);
	ret->name = mem_str(name);
	ret->created_ns = json_get_int(j, "created_ns", 0);
	ret->anonymous = json_get_bool(j, "anonymous");
	json_get_strv(j, "labels", &ret->labels);
	return 0;
}

int container_volume_find(struct runtime *rt, const char *name, struct container_volume_info *ret,
			  struct err *err)
{
	auto_strv struct strv users = { 0 };
	int rc = container_name_valid(name) ? read_info(rt, name, ret, err)
					    : err_set(err, ENOENT, "no such volume: %s", name);

	if (rc >= 0)
		rc = find_users(rt, name, &users, err);
	ret->is_used = users.n > 0;
	return rc;
}

int container_volume_walk(struct runtime *rt, container_volume_fn *fn, void *arg, struct err *err)
{
	auto_strv struct strv names = { 0 }, used = { 0 };
	int rc = fs_list(rt->root_fd, "volumes", &names, err);

	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = find_users(rt, NULL, &used, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_volume_info struct container_volume_info v = { 0 };

		rc = read_info(rt, names.v[i], &v, err);
		if (rc == -ENOENT) { /* gone meanwhile */
			err_clear(err);
			rc = 0;
			continue;
		}
		v.is_used = strv_has(&used, names.v[i]);
		if (rc >= 0)
			rc = fn(&v, arg, err);
	}
	return rc;
}

int container_volume_usage(struct runtime *rt, const char *name, uint64_t *ret_bytes,
			   struct err *err)
{
	char path[PATH_BYTES];
	uint64_t inodes;

	return fs_usage(rt->root_fd, dir_of(name, path), ret_bytes, &inodes, err);
}

/* --- removal --- */

static int to_trash(struct runtime *rt, const char *name, struct err *err)
{
	char from[PATH_BYTES], to[PATH_BYTES], suffix[17];

	proc_random_hex(suffix, 16);
	snprintf(to, sizeof(to), "trash/volume-%s", suffix);
	if (renameat(rt->root_fd, dir_of(name, from), rt->root_fd, to) < 0)
		return errno == ENOENT ? err_set(err, ENOENT, "no such volume: %s", name)
				       : err_sys(err, "remove volume %s", name);
	fault_point("container.volume.trashed");
	container_volume_event(rt, name, "destroy");
	return 0;
}

int container_volume_remove(struct runtime *rt, const char *name, struct err *err)
{
	auto_strv struct strv users = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc;

	if (!container_name_valid(name))
		return err_set(err, ENOENT, "no such volume: %s", name);
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = find_users(rt, name, &users, err);
	if (rc >= 0 && users.n)
		rc = err_set(err, EBUSY, "volume %s is used by container %s", name, users.v[0]);
	if (rc >= 0)
		rc = to_trash(rt, name, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int container_volumes_drop(struct container *c, struct err *err)
{
	int n = 0;

	for (size_t i = 0; i < c->spec.mounts.n; i++) {
		auto_strv struct strv users = { 0 };
		bool anonymous = false;
		auto_free char *name = container_volume_of(c->spec.mounts.v[i], &anonymous);
		struct err ignored;

		if (!name || !anonymous)
			continue;
		if (find_users(c->rt, name, &users, err) < 0)
			return -err->code;
		if (!users.n && to_trash(c->rt, name, &ignored) >= 0)
			n++;
	}
	return n;
}
