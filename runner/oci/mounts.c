/* SPDX-License-Identifier: Apache-2.0 */
/* mounts: the options' table, sources opened. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <linux/mount.h>

#include <shale/base/path.h>

#include "priv.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

/* attr: set or cleared on the mount; with an r in front of the name on all beneath it as well. */
static const struct attr_word {
	const char *name;
	uint64_t set, clear;
} attr_words[] = {
	{ "ro", MOUNT_ATTR_RDONLY, 0 },
	{ "rw", 0, MOUNT_ATTR_RDONLY },
	{ "nosuid", MOUNT_ATTR_NOSUID, 0 },
	{ "suid", 0, MOUNT_ATTR_NOSUID },
	{ "nodev", MOUNT_ATTR_NODEV, 0 },
	{ "dev", 0, MOUNT_ATTR_NODEV },
	{ "noexec", MOUNT_ATTR_NOEXEC, 0 },
	{ "exec", 0, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", MOUNT_ATTR_NODIRATIME, 0 },
	{ "diratime", 0, MOUNT_ATTR_NODIRATIME },
	{ "noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
	{ "atime", 0, MOUNT_ATTR__ATIME },
	{ "relatime", 0, MOUNT_ATTR__ATIME },
	{ "norelatime", 0, MOUNT_ATTR__ATIME },
	{ "strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "nostrictatime", 0, MOUNT_ATTR__ATIME },
	{ "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW },
};

static const struct {
	const char *name;
	uint64_t value;
} spread_words[] = {
	{ "shared", MS_SHARED },
	{ "slave", MS_SLAVE },
	{ "private", MS_PRIVATE },
	{ "unbindable", MS_UNBINDABLE },
};

/* Of the superblock: the file system is told; a bind has none of its own. */
static const char *const super_words[] = { "sync", "dirsync", "mand", "lazytime", NULL };
/* A tmpfs's, "=" and a value after them: of a bind they say nothing, and others leave them out. */
static const char *const data_words[] = { "mode",      "size", "uid",  "gid", "nr_blocks",
					  "nr_inodes", "mpol", "huge", NULL };
/* What is so without being asked for. */
static const char *const no_words[] = { "defaults",   "async",  "nomand", "nolazytime",
					"loud",       "silent", "bind",   "rbind",
					"remount",    "idmap",  "ridmap", "tmpcopyup",
					"noiversion", NULL };

json_t *oci_mount_words(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(attr_words); i++) {
		auto_free char *deep = mem_fmt("r%s", attr_words[i].name);

		json_array_append_new(list, json_string(attr_words[i].name));
		json_array_append_new(list, json_string(deep));
	}
	for (size_t i = 0; i < ARRAY_LEN(spread_words); i++) {
		auto_free char *deep = mem_fmt("r%s", spread_words[i].name);

		json_array_append_new(list, json_string(spread_words[i].name));
		json_array_append_new(list, json_string(deep));
	}
	for (size_t i = 0; super_words[i]; i++)
		json_array_append_new(list, json_string(super_words[i]));
	for (size_t i = 0; no_words[i]; i++)
		json_array_append_new(list, json_string(no_words[i]));
	return list;
}

/* The kernel labels what is in them itself. */
static const char *const unlabelled[] = { "proc", "sysfs", "mqueue", NULL };

static bool has(const json_t *options, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(options, i, one) if (str_eq(json_string_value(one), name)) return true;
	return false;
}

static bool is_in(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static bool take_attr(struct sandbox_part *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(attr_words); i++) {
		const struct attr_word *w = &attr_words[i];

		if (strcmp(w->name, name) == 0) {
			p->set = (p->set & ~w->clear) | w->set;
			p->clear = (p->clear & ~(w->set & ~(uint64_t)MOUNT_ATTR__ATIME)) | w->clear;
			return true;
		}
		if (*name == 'r' && strcmp(w->name, name + 1) == 0) {
			p->set_below = (p->set_below & ~w->clear) | w->set;
			p->clear_below |= w->clear;
			return true;
		}
	}
	return false;
}

static bool take_spread(struct sandbox_part *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(spread_words); i++) {
		bool deep = *name == 'r' && strcmp(spread_words[i].name, name + 1) == 0;

		if (!deep && strcmp(spread_words[i].name, name) != 0)
			continue;
		p->propagation = spread_words[i].value;
		p->propagation_below = deep;
		return true;
	}
	return false;
}

uint64_t oci_propagation(const char *name, bool *ret_below)
{
	struct sandbox_part p = { 0 };

	take_spread(&p, name);
	*ret_below = p.propagation_below;
	return p.propagation;
}

static void add_option(struct oci_config *c, struct sandbox_part *p, struct sandbox_pair *to,
		       const char *option)
{
	const char *eq = strchr(option, '=');

	to[p->n_options++] = (struct sandbox_pair){
		.key = eq ? oci_keep(c, mem_strn(option, (size_t)(eq - option))) : option,
		.value = eq ? eq + 1 : NULL,
	};
}

static int odd_option(struct oci_config *c, const struct sandbox_part *p, size_t at, const char *o,
		      struct err *err)
{
	const char *eq = strchr(o, '=');
	auto_free char *name = eq ? mem_strn(o, (size_t)(eq - o)) : NULL;

	if (p->kind == SANDBOX_PART_CGROUP || is_in(super_words, o))
		return 0;
	if (p->kind != SANDBOX_PART_BIND || !name || !is_in(data_words, name))
		return err_set(err, EINVAL, "mounts[%zu].options: unknown option %.64s", at, o);
	oci_warn(c, "mounts[%zu].options: %.64s is not of a bind, left out", at, o);
	return 0;
}

static int take_options(struct oci_config *c, json_t *m, size_t at, struct sandbox_part *p,
			struct err *err)
{
	json_t *options = json_object_get(m, "options"), *one;
	struct sandbox_pair *pairs = oci_block(c, json_array_size(options) + 3, sizeof(*pairs));
	int rc = 0;
	size_t i;

	if (p->kind == SANDBOX_PART_FS)
		pairs[p->n_options++] =
			(struct sandbox_pair){ "source", json_get_str(m, "source") &&
									 *json_get_str(m, "source")
								 ? json_get_str(m, "source")
								 : p->fs };
	json_array_foreach(options, i, one)
	{
		const char *o = json_string_value(one);

		if (take_attr(p, o) || take_spread(p, o) || is_in(no_words, o))
			continue;
		if (p->kind == SANDBOX_PART_FS)
			add_option(c, p, pairs, o);
		else
			rc = odd_option(c, p, at, o, err);
		if (rc < 0)
			return rc;
	}
	if (c->mount_label && p->kind == SANDBOX_PART_FS && !is_in(unlabelled, p->fs))
		pairs[p->n_options++] = (struct sandbox_pair){ "context", c->mount_label };
	p->options = pairs;
	p->copy_up = has(options, "tmpcopyup");
	if (p->copy_up && !str_eq(p->fs, "tmpfs"))
		return err_set(err, EINVAL, "mounts[%zu].options: tmpcopyup is of a tmpfs", at);
	return 0;
}

static int open_source(struct oci_config *c, json_t *m, size_t at, struct sandbox_part *p,
		       struct err *err)
{
	const char *source = json_get_str(m, "source");
	auto_free char *path = NULL;
	int fd;

	if (!source || !*source)
		return err_set(err, EINVAL, "mounts[%zu].source is missing", at);
	if (c->n_fds >= OCI_FDS_MAX)
		return err_set(err, EMFILE, "more than %d files are held", OCI_FDS_MAX);
	path = path_join(c->bundle, source);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "mounts[%zu].source %s", at, path);
	p->source_fd = oci_keep_fd(c, fd);
	return 0;
}

/* Maps of its own, else the container's. */
static int make_idmap(struct oci_config *c, json_t *m, size_t at, struct sandbox_part *p,
		      struct err *err)
{
	json_t *options = json_object_get(m, "options");
	json_t *uids = json_object_get(m, "uidMappings"), *gids = json_object_get(m, "gidMappings");
	auto_free char *what = mem_fmt("mounts[%zu]", at);
	struct ids_maps maps = c->layout.maps;
	int rc = 0, fd;

	p->idmap_below = has(options, "ridmap");
	if (!uids && !gids && !p->idmap_below && !has(options, "idmap"))
		return 0;
	if (p->kind != SANDBOX_PART_BIND)
		return err_set(err, ENOTSUP, "%s: only a bind has an idmap", what);
	if (uids || gids)
		rc = oci_maps_parse(c, uids, gids, what, &maps, err);
	if (rc < 0)
		return rc;
	if (!maps.uids || !maps.gids)
		return err_set(err, EINVAL, "%s: an idmap needs uidMappings and gidMappings", what);
	fd = ids_open_maps(&maps, err);
	if (fd < 0)
		return err_ctx(err, "%s", what);
	p->idmap_fd = oci_keep_fd(c, fd);
	return 0;
}

static enum sandbox_part_kind kind_of(const char *type, const json_t *options)
{
	if (has(options, "remount"))
		return SANDBOX_PART_REMOUNT;
	if (has(options, "bind") || has(options, "rbind") || str_eq(type, "bind") ||
	    str_eq(type, "rbind"))
		return SANDBOX_PART_BIND;
	if (str_eq(type, "cgroup") || str_eq(type, "cgroup2"))
		return SANDBOX_PART_CGROUP;
	return SANDBOX_PART_FS;
}

static int make_one(struct oci_config *c, json_t *m, size_t at, struct sandbox_part *p,
		    struct err *err)
{
	const char *target = json_get_str(m, "destination"), *type = json_get_str(m, "type");
	json_t *options = json_object_get(m, "options");
	auto_free char *clean = NULL;
	int rc;

	if (!target || !*target)
		return err_set(err, EINVAL, "mounts[%zu].destination is missing", at);
	clean = path_join("/", target);
	if (str_eq(clean, "/"))
		return err_set(err, EINVAL, "mounts[%zu].destination is the root", at);
	*p = (struct sandbox_part){ .kind = kind_of(type, options),
				    .source_fd = -1,
				    .idmap_fd = -1 };
	p->target = oci_keep(c, take(clean));
	if (p->kind == SANDBOX_PART_FS) {
		if (!type || !*type || str_eq(type, "none"))
			return err_set(err, EINVAL, "mounts[%zu].type is missing", at);
		p->fs = type;
	}
	p->recursive = has(options, "rbind") || str_eq(type, "rbind");
	rc = take_options(c, m, at, p, err);
	if (rc == 0 && p->kind == SANDBOX_PART_BIND)
		rc = open_source(c, m, at, p, err);
	if (rc == 0)
		rc = make_idmap(c, m, at, p, err);
	if (p->kind == SANDBOX_PART_BIND && str_eq(p->target, "/dev"))
		c->dev_is_bound = true;
	return rc;
}

int oci_mounts_make(struct oci_config *c, struct err *err)
{
	json_t *list = oci_at(c, "mounts", NULL), *one;
	size_t i;
	int rc;

	c->parts = oci_block(c, json_array_size(list), sizeof(*c->parts));
	json_array_foreach(list, i, one)
	{
		rc = make_one(c, one, i, &c->parts[i], err);
		if (rc < 0)
			return rc;
	}
	c->layout.parts = c->parts;
	c->layout.n_parts = i;
	if (c->dev_is_bound)
		c->layout.n_nodes = 0;
	return 0;
}
