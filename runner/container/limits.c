/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a spec: checked, and as a control group has them. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/json.h>

#include "priv.h"

enum { PARENT_MAX = 128, WEIGHT_MIN = 10, WEIGHT_MAX = 1000 };

/* Options of the form DEVICE:VALUE. */
static const struct io_option {
	const char *flag, *shown, *value; /* the last two: as inspect has them */
	enum sandbox_io_kind kind;
	bool in_bytes;
	size_t offset;
} io_options[] = {
#define AT(field) offsetof(struct container_spec, field)
	{ "--blkio-weight-device", "BlkioWeightDevice", "Weight", SANDBOX_IO_WEIGHT, false,
	  AT(io_weights) },
	{ "--device-read-bps", "BlkioDeviceReadBps", "Rate", SANDBOX_IO_READ_BYTES, true,
	  AT(io_read_bps) },
	{ "--device-write-bps", "BlkioDeviceWriteBps", "Rate", SANDBOX_IO_WRITE_BYTES, true,
	  AT(io_write_bps) },
	{ "--device-read-iops", "BlkioDeviceReadIOps", "Rate", SANDBOX_IO_READS, false,
	  AT(io_read_iops) },
	{ "--device-write-iops", "BlkioDeviceWriteIOps", "Rate", SANDBOX_IO_WRITES, false,
	  AT(io_write_iops) },
#undef AT
};

static const struct strv *io_list(const struct container_spec *s, const struct io_option *o)
{
	return (const struct strv *)((const char *)s + o->offset);
}

/* The last colon: a device's name may have some. */
static int io_parse(const struct io_option *o, const char *text, char **ret_path,
		    uint64_t *ret_value, struct err *err)
{
	const char *colon = strrchr(text, ':');
	uint64_t v = 0;
	bool ok = colon && *text == '/' && !str_starts(colon, ":/");

	if (ok)
		ok = (o->in_bytes ? str_to_bytes(colon + 1, &v)
				  : str_to_u64(colon + 1, 10, INT64_MAX, &v)) == 0;
	if (!ok)
		return err_set(err, EINVAL, "%s %s: want /dev/DISK:%s", o->flag, text,
			       o->in_bytes                    ? "BYTES a second, like 1mb"
			       : o->kind == SANDBOX_IO_WEIGHT ? "10 to 1000"
							      : "a number a second");
	if (o->kind == SANDBOX_IO_WEIGHT && (v < WEIGHT_MIN || v > WEIGHT_MAX))
		return err_set(err, EINVAL, "%s %s: want a weight of %d to %d", o->flag, text,
			       WEIGHT_MIN, WEIGHT_MAX);
	*ret_path = mem_strn(text, (size_t)(colon - text));
	*ret_value = v;
	return 0;
}

static int io_check(const struct container_spec *s, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(io_options); i++) {
		const struct strv *l = io_list(s, &io_options[i]);

		for (size_t k = 0; k < l->n; k++) {
			auto_free char *path = NULL;
			uint64_t v;

			if (io_parse(&io_options[i], l->v[k], &path, &v, err) < 0)
				return -err->code;
		}
	}
	return 0;
}

static int io_open(const struct io_option *o, const char *text, struct sandbox_io *ret,
		   struct err *err)
{
	auto_free char *path = NULL;
	struct stat st;
	int rc = io_parse(o, text, &path, &ret->value, err);

	if (rc < 0)
		return rc;
	if (stat(path, &st) < 0)
		return err_sys(err, "%s %s", o->flag, text);
	if (!S_ISBLK(st.st_mode))
		return err_set(err, ENOTBLK, "%s %s: no block device", o->flag, text);
	ret->kind = o->kind;
	ret->dev = st.st_rdev;
	return 0;
}

int container_io_open(const struct container_spec *s, struct sandbox_io **ret, size_t *ret_n,
		      struct err *err)
{
	auto_free struct sandbox_io *v = NULL;
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(io_options); i++) {
		const struct strv *l = io_list(s, &io_options[i]);

		for (size_t k = 0; k < l->n && rc >= 0; k++) {
			v = mem_grow(v, n + 1, sizeof(*v));
			rc = io_open(&io_options[i], l->v[k], &v[n++], err);
		}
	}
	if (rc < 0)
		return rc;
	*ret = take(v);
	*ret_n = n;
	return 0;
}

/* One that says something of the same disk goes. */
static void io_take(struct strv *to, const char *text)
{
	size_t n = (size_t)(strrchr(text, ':') - text) + 1;

	for (size_t i = to->n; i-- > 0;)
		if (strncmp(to->v[i], text, n) == 0 && !strchr(to->v[i] + n, ':'))
			strv_remove(to, i);
	strv_add(to, text);
}

int container_io_merge(struct container_spec *to, const struct container_spec *from,
		       struct err *err)
{
	int rc = io_check(from, err);

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(io_options); i++) {
		const struct strv *l = io_list(from, &io_options[i]);

		for (size_t k = 0; k < l->n; k++)
			io_take((struct strv *)((char *)to + io_options[i].offset), l->v[k]);
	}
	return rc;
}

void container_io_json(const struct container_spec *s, json_t *to)
{
	for (size_t i = 0; i < ARRAY_LEN(io_options); i++) {
		const struct strv *l = io_list(s, &io_options[i]);
		json_t *a = json_array();

		for (size_t k = 0; k < l->n; k++) {
			auto_free char *path = NULL;
			struct err ignored = { 0 };
			uint64_t v = 0;
			json_t *o;

			if (io_parse(&io_options[i], l->v[k], &path, &v, &ignored) < 0)
				continue;
			o = json_object();
			json_set_str(o, "Path", path);
			json_object_set_new(o, io_options[i].value, json_integer((json_int_t)v));
			json_array_append_new(a, o);
		}
		json_object_set_new(to, io_options[i].shown, a);
	}
}

/* --- where its group is --- */

/* systemd's slices lie in each other by their names: a-b.slice is in a.slice. */
static void slices(const char *text, struct str *to)
{
	size_t n = strlen(text) - strlen(".slice");

	for (size_t i = 1; i < n; i++)
		if (text[i] == '-')
			str_addf(to, "%.*s.slice/", (int)i, text);
	str_add(to, text);
}

static void add_parent(const char *text, struct str *to)
{
	text += strspn(text, "/");
	if (str_ends(text, ".slice") && !strchr(text, '/'))
		slices(text, to);
	else
		str_add(to, text);
}

char *container_cgroup_below(const char *parent, const char *name)
{
	struct str s = { 0 };

	add_parent(parent ? parent : "shale", &s);
	str_addf(&s, "/%s", name);
	return str_take(&s);
}

void container_cgroup_name(const struct container *c, char buf[CONTAINER_GROUP_MAX])
{
	auto_free char *name = container_cgroup_below(c->spec.cgroup_parent, c->id);

	snprintf(buf, CONTAINER_GROUP_MAX, "%s", name);
}

static int check_parent(const char *text, struct err *err)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+:@-/";
	const char *name = text + strspn(text, "/");
	auto_str struct str whole = { 0 };
	size_t n = strlen(name);

	if (n && n <= PARENT_MAX)
		add_parent(text, &whole);
	if (!whole.len || whole.len > PARENT_MAX || name[strspn(name, ok)] || name[0] == '.' ||
	    name[n - 1] == '/' || strstr(name, "//") || strstr(name, "/."))
		return err_set(err, EINVAL,
			       "--cgroup-parent %s: want a group like /ci/jobs or ci.slice, of "
			       "[a-zA-Z0-9_.+:@-] and not longer than %d",
			       text, PARENT_MAX);
	return 0;
}

/* --- all of them --- */

static bool is_cpu_list(const char *s)
{
	return !s || (*s && strspn(s, "0123456789,-") == strlen(s) && strlen(s) < 1024);
}

static int check_v1(const struct container_spec *s, struct err *err)
{
	uint64_t v;

	if (s->swappiness && str_to_u64(s->swappiness, 10, 100, &v) < 0)
		return err_set(err, EINVAL, "--memory-swappiness %s: want 0 to 100", s->swappiness);
	if ((s->swappiness || s->no_oom_kill) && sandbox_cgroup_is_v2())
		return err_set(err, ENOTSUP, "%s: this host has cgroup v2, which has no such thing",
			       s->swappiness ? "--memory-swappiness" : "--oom-kill-disable");
	return 0;
}

static int check_memory(const struct container_spec *s, struct err *err)
{
	if (s->memory_bytes && s->memory_bytes < 6 << 20)
		return err_set(err, EINVAL, "the memory limit must be 6MB at least");
	if (s->swap_bytes > 0 && !s->memory_bytes)
		return err_set(err, EINVAL, "--memory-swap needs --memory");
	if (s->swap_bytes > 0 && (uint64_t)s->swap_bytes < s->memory_bytes)
		return err_set(err, EINVAL,
			       "--memory-swap is memory and swap: not less than --memory");
	if (s->reserved_bytes && s->memory_bytes && s->reserved_bytes > s->memory_bytes)
		return err_set(err, EINVAL, "--memory-reservation is not more than --memory");
	return check_v1(s, err);
}

int container_limits_check(const struct container_spec *s, struct err *err)
{
	if (check_memory(s, err) < 0)
		return -err->code;
	if (s->cpu_shares && (s->cpu_shares < 2 || s->cpu_shares > 262144))
		return err_set(err, EINVAL, "--cpu-shares: want 2 to 262144");
	if (s->io_weight && (s->io_weight < WEIGHT_MIN || s->io_weight > WEIGHT_MAX))
		return err_set(err, EINVAL, "--blkio-weight: want %d to %d", WEIGHT_MIN,
			       WEIGHT_MAX);
	if (!is_cpu_list(s->cpus) || !is_cpu_list(s->mems))
		return err_set(err, EINVAL, "--cpuset-%s: want numbers and ranges, like 0-2,4",
			       is_cpu_list(s->cpus) ? "mems" : "cpus");
	if (s->oom_score_adj < -1000 || s->oom_score_adj > 1000)
		return err_set(err, EINVAL, "--oom-score-adj: want -1000 to 1000");
	if (s->cgroup_parent && check_parent(s->cgroup_parent, err) < 0)
		return -err->code;
	if (container_device_rules_check(s, err) < 0)
		return -err->code;
	return io_check(s, err);
}

void container_limits(const struct container_spec *spec, struct sandbox_cgroup *ret)
{
	ret->memory_bytes = spec->memory_bytes;
	ret->swap_bytes = spec->swap_bytes;
	ret->reserved_bytes = spec->reserved_bytes;
	ret->pids = spec->pids;
	ret->cpu_quota_us = spec->cpu_quota_us;
	ret->cpu_shares = spec->cpu_shares;
	ret->io_weight = spec->io_weight;
	ret->cpus = spec->cpus;
	ret->mems = spec->mems;
	ret->swappiness = spec->swappiness;
	ret->no_oom_kill = spec->no_oom_kill;
}

bool container_limits_any(const struct sandbox_cgroup *g)
{
	return g->memory_bytes || g->pids || g->cpu_quota_us || g->swap_bytes ||
	       g->reserved_bytes || g->cpu_shares || g->io_weight || g->cpus || g->mems ||
	       g->swappiness || g->no_oom_kill || g->n_io || g->n_device_rules;
}
