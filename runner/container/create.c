/* SPDX-License-Identifier: Apache-2.0 */
/* A spec and an image become a container: resolve (pure), then directory, snapshot and row. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/image.h>

#include "priv.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void name_of_env(const char *entry, char **ret_name)
{
	*ret_name = mem_strn(entry, strcspn(entry, "="));
}

static void env_remove(struct strv *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = env->n; i-- > 0;)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			strv_remove(env, i);
}

/* "K=V" sets; "K" alone takes what K is here, and nothing when it is nothing (T30: nothing else of
 * ours gets in). */
void container_env_apply(struct strv *env, const struct strv *from)
{
	for (size_t i = 0; i < from->n; i++) {
		auto_free char *name = NULL;
		const char *eq = strchr(from->v[i], '='), *value;

		name_of_env(from->v[i], &name);
		value = eq ? eq + 1 : getenv(name);
		if (value)
			strv_env_set(env, name, value);
		else
			env_remove(env, name);
	}
}

static void resolve_env(struct container_spec *r, const struct image_config *img)
{
	struct strv env = { 0 };

	strv_env_set(&env, "PATH", DEFAULT_PATH);
	strv_env_set(&env, "HOSTNAME", r->hostname);
	if (r->tty)
		strv_env_set(&env, "TERM", "xterm");
	if (!strv_has(&r->unset_env, "*"))
		container_env_apply(&env, &img->env);
	for (size_t i = 0; i < r->unset_env.n; i++)
		env_remove(&env, r->unset_env.v[i]);
	container_env_apply(&env, &r->env);
	strv_free(&r->env);
	r->env = env;
}

/* Docker's rule: --entrypoint drops the image's command as well. */
static int resolve_argv(struct container_spec *r, const struct image_config *img, struct err *err)
{
	if (!r->entrypoint_set)
		strv_copy(&r->entrypoint, &img->entrypoint);
	if (!r->entrypoint_set && r->command.n == 0)
		strv_copy(&r->command, &img->cmd);
	if (r->entrypoint.n + r->command.n == 0)
		return err_set(err, EINVAL, "no command specified");
	return 0;
}

static void resolve_labels(struct container_spec *r, const struct image_config *img)
{
	struct strv labels = { 0 };

	strv_copy(&labels, &img->labels);
	for (size_t i = 0; i < r->labels.n; i++) {
		auto_free char *key = NULL;
		const char *eq = strchr(r->labels.v[i], '=');

		name_of_env(r->labels.v[i], &key);
		strv_env_set(&labels, key, eq ? eq + 1 : "");
	}
	strv_free(&r->labels);
	r->labels = labels;
}

static void resolve_hostname(struct container_spec *r, const char *id)
{
	char host[65] = "";

	if (r->hostname)
		return;
	if ((container_net_kind(r) == CONTAINER_NET_HOST || str_eq(r->uts_ns, "host")) &&
	    gethostname(host, sizeof(host) - 1) == 0 && *host)
		r->hostname = mem_str(host);
	else
		r->hostname = mem_strn(id, CONTAINER_SHORT_LEN);
}

static void replace(char **to, char *value)
{
	free(*to);
	*to = value;
}

/* The host's directory of a relative volume is meant from where the user stands now. */
static void resolve_relative(char **text)
{
	auto_free char *here = getcwd(NULL, 0);
	char *colon = strchr(*text, ':');
	auto_free char *source = mem_strn(*text, colon ? (size_t)(colon - *text) : strlen(*text));
	auto_free char *full = path_join(here ? here : "/", source);

	replace(text, mem_fmt("%s%s", full, colon ? colon : ""));
}

/* What has a name, or none, is a volume and no bind. */
static int resolve_volumes(struct container_spec *r, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < r->volumes.n;) {
		auto_container_volume struct container_volume v = { 0 };

		rc = container_volume_parse(r->volumes.v[i], &v, err);
		if (rc >= 0 && v.is_named) {
			strv_add_take(&r->mounts, container_volume_mount(&v));
			strv_remove(&r->volumes, i);
			continue;
		}
		if (*r->volumes.v[i] == '.')
			resolve_relative(&r->volumes.v[i]);
		i++;
	}
	return rc;
}

/* An image's VOLUMEs, where nothing else is mounted. */
static void resolve_image_volumes(struct container_spec *r, const struct image_config *img)
{
	auto_strv struct strv targets = { 0 };

	container_spec_targets(r, &targets);
	for (size_t i = 0; i < img->volumes.n; i++) {
		struct container_volume v = { .is_named = true };
		auto_free char *target = path_join("/", img->volumes.v[i]);

		if (strv_has(&targets, target) || str_eq(target, "/"))
			continue;
		v.target = target;
		strv_add_take(&r->mounts, container_volume_mount(&v));
	}
}

int container_resolve(struct container_spec *r, const struct image_config *img, const char *id,
		      struct err *err)
{
	int rc = resolve_argv(r, img, err);

	if (rc < 0)
		return rc;
	resolve_hostname(r, id);
	resolve_env(r, img);
	resolve_labels(r, img);
	rc = resolve_volumes(r, err);
	if (rc < 0)
		return rc;
	resolve_image_volumes(r, img);
	if (!r->user && img->user && *img->user)
		r->user = mem_str(img->user);
	replace(&r->workdir, path_join("/", r->workdir     ? r->workdir
					    : img->workdir ? img->workdir
							   : "/"));
	container_health_resolve(r, img);
	if (!r->stop_signal && img->stop_signal)
		r->stop_signal = mem_str(img->stop_signal);
	return 0;
}

char *container_command_text(const struct container_spec *r)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < r->entrypoint.n; i++)
		str_addf(&b, "%s%s", b.len ? " " : "", r->entrypoint.v[i]);
	for (size_t i = 0; i < r->command.n; i++)
		str_addf(&b, "%s%s", b.len ? " " : "", r->command.v[i]);
	return str_take(&b);
}

/* Inside the transaction that inserts the row, so that nobody takes the name meanwhile. */
static int settle_name(struct container *c, struct err *err)
{
	for (int tries = 0;; tries++) {
		auto_free char *owner = NULL;
		int rc;

		if (c->spec.name)
			c->name = mem_str(c->spec.name);
		else if (tries < 8)
			c->name = container_name_random();
		else
			c->name = mem_fmt("container_%.*s", CONTAINER_SHORT_LEN, c->id);
		rc = db_get_str(c->rt->db, "SELECT id FROM containers WHERE name=?1",
				DB_ARGS(DB_T(c->name)), &owner, err);
		if (rc <= 0)
			return rc;
		if (c->spec.name)
			return err_set(
				err, EEXIST,
				"the container name '%s' is already in use by container %.12s",
				c->name, owner);
		free(take(c->name));
	}
}

/* Directory entries are not durable by themselves, and the row is about to be. */
static int sync_layer(const struct container *c, struct err *err)
{
	char name[48];
	auto_fd int fd = -1;

	snprintf(name, sizeof(name), "snap/%" PRId64, c->snapshot);
	fd = openat(c->rt->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, "sync %s", name);
	return 0;
}

/* An image that is mounted: a view of it, which keeps it from going. */
static int make_view(struct container *c, size_t i, json_t *j, struct err *err)
{
	auto_free char *key = mem_fmt("container-%s.%zu", c->id, i);
	struct snap_new n = { .key = key, .kind = SNAP_VIEW };
	auto_image struct image *img = NULL;
	struct snap_info info;
	const char *name = json_get_str(j, "image");
	int rc = image_find(c->rt, name ? name : "", &img, err);

	if (rc < 0)
		return err_ctx(err, "mount of an image");
	n.parent = img->snapshot;
	rc = snap_prepare(c->rt->snap, &n, &info, err);
	if (rc < 0)
		return rc;
	json_set_str(j, "type", "tree");
	json_object_set_new(j, "snapshot", json_integer(info.id));
	json_object_set_new(j, "read_only", json_true());
	replace(&c->spec.mounts.v[i], json_text(j));
	return 0;
}

static int make_views(struct container *c, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < c->spec.mounts.n; i++) {
		auto_json json_t *j = NULL;

		rc = json_parse(c->spec.mounts.v[i], strlen(c->spec.mounts.v[i]), &j, err);
		if (rc >= 0 && str_eq(json_get_str(j, "type"), "image"))
			rc = make_view(c, i, j, err);
	}
	return rc;
}

/* "CONTAINER[:ro]": what it has mounted, where nothing else is. */
static int volumes_from(struct runtime *rt, struct container_spec *r, const char *text,
			struct err *err)
{
	const char *colon = strrchr(text, ':');
	bool read_only = str_eq(colon, ":ro");
	auto_free char *name = read_only || str_eq(colon, ":rw")
				       ? mem_strn(text, (size_t)(colon - text))
				       : mem_str(text);
	auto_container struct container *from = NULL;
	auto_strv struct strv targets = { 0 };
	int rc = container_find(rt, name, &from, err);

	if (rc < 0)
		return err_ctx(err, "--volumes-from");
	container_spec_targets(r, &targets);
	return container_mounts_take(&from->spec, &targets, read_only, r, err);
}

static int store(struct container *c, int64_t parent, struct err *err)
{
	auto_free char *key = mem_fmt("container-%s", c->id);
	struct snap_new n = { .key = key, .parent = parent, .kind = SNAP_ACTIVE };
	auto_db_tx struct db *tx = NULL;
	struct snap_info info;
	int rc;

	if (c->spec.storage.n && snap_limit_check(c->rt->snap, err) < 0)
		return err_ctx(err, "--storage-opt");
	rc = db_tx_begin(c->rt->db, c->auto_remove ? DB_LAZY : DB_FULL, &tx, err);
	if (rc >= 0)
		rc = settle_name(c, err);
	if (rc >= 0)
		rc = snap_prepare(c->rt->snap, &n, &info, err);
	if (rc < 0)
		return rc;
	c->snapshot = info.id;
	/* Inside, since a directory without a row is garbage for container_tidy. */
	if (!c->auto_remove)
		rc = container_dir_make(c, err);
	fault_point("container.create.directory");
	if (rc >= 0 && !c->auto_remove)
		rc = sync_layer(c, err);
	if (rc >= 0 && c->spec.mounts.n)
		rc = container_volumes_make(c, err);
	if (rc >= 0 && c->spec.mounts.n)
		rc = make_views(c, err);
	if (rc >= 0)
		rc = container_storage_apply(c, err);
	if (rc >= 0)
		rc = container_users_allot(c, err);
	if (rc >= 0)
		rc = container_insert(c, err);
	if (rc >= 0 && !c->auto_remove)
		container_record(c);
	fault_point("container.create.rows");
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int container_create_as(struct runtime *rt, const struct container_spec *s, bool claim,
			struct container **ret, struct err *err)
{
	auto_image_config struct image_config *cfg = NULL;
	auto_container struct container *c = mem_alloc(sizeof(*c));
	auto_image struct image *img = NULL;
	int rc;

	rc = container_spec_check(s, err);
	if (rc >= 0)
		rc = image_find(rt, s->image, &img, err);
	if (rc >= 0)
		rc = image_config_parse(img->config, strlen(img->config), &cfg, err);
	if (rc < 0)
		return rc;
	c->rt = rt;
	proc_random_hex(c->id, CONTAINER_ID_LEN);
	container_spec_copy(&c->spec, s);
	for (size_t i = 0; rc >= 0 && i < s->volumes_from.n; i++)
		rc = volumes_from(rt, &c->spec, s->volumes_from.v[i], err);
	if (rc >= 0)
		rc = container_net_resolve(rt, &c->spec, &cfg->exposed, err);
	if (rc >= 0)
		rc = container_namespaces_resolve(rt, &c->spec, err);
	if (rc >= 0)
		rc = container_resolve(&c->spec, cfg, c->id, err);
	if (rc < 0)
		return rc;
	c->image_id = img->id[0] ? mem_str(img->id) : NULL;
	c->image_name = mem_str(s->image);
	c->command = container_command_text(&c->spec);
	c->auto_remove = s->auto_remove;
	c->state = claim ? CONTAINER_RUNNING : CONTAINER_CREATED;
	c->keeper = claim ? getpid() : 0;
	c->keeper_start = claim ? proc_start_time(c->keeper) : 0;
	c->boot = mem_str(proc_boot_id());
	c->created_ns = proc_now_ns();
	c->started_ns = claim ? c->created_ns : 0;
	rc = store(c, img->snapshot, err);
	if (rc < 0)
		return rc;
	*ret = take(c);
	return 0;
}

int container_create(struct runtime *rt, const struct container_spec *s, struct container **ret,
		     struct err *err)
{
	int rc = container_create_as(rt, s, false, ret, err);

	if (rc < 0)
		return rc;
	container_event(*ret, "create", NULL, NULL);
	/* Many in a row would make every later command read a long log first. */
	if (db_is_log_long(rt->db))
		container_tidy_later(rt);
	return 0;
}
