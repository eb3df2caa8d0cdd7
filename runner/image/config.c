/* SPDX-License-Identifier: Apache-2.0 */
/* The draft of an image config, and how it is written (OCI image-spec config.md, with Docker's
 * additions). */
#include <shale/image.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "priv.h"

/* uname's words in Go's, which image configs use. */
static const struct {
	const char *machine, *architecture, *variant;
} machines[] = {
	{ "x86_64", "amd64", NULL },    { "aarch64", "arm64", NULL },
	{ "armv7l", "arm", "v7" },      { "armv6l", "arm", "v6" },
	{ "i686", "386", NULL },        { "i586", "386", NULL },
	{ "ppc64le", "ppc64le", NULL }, { "s390x", "s390x", NULL },
	{ "riscv64", "riscv64", NULL }, { "loongarch64", "loong64", NULL },
};

struct image_config *image_config_new(void)
{
	struct image_config *c = mem_alloc(sizeof(*c));
	struct utsname u;

	uname(&u);
	for (size_t i = 0; i < ARRAY_LEN(machines); i++)
		if (!strcmp(machines[i].machine, u.machine)) {
			c->architecture = mem_str(machines[i].architecture);
			c->variant = mem_str(machines[i].variant);
		}
	if (!c->architecture)
		c->architecture = mem_str(u.machine);
	c->os = mem_str("linux");
	return c;
}

/* The plain members, so that copying and freeing cannot forget one. */
static const size_t texts[] = {
	offsetof(struct image_config, architecture), offsetof(struct image_config, os),
	offsetof(struct image_config, variant),      offsetof(struct image_config, author),
	offsetof(struct image_config, user),         offsetof(struct image_config, workdir),
	offsetof(struct image_config, stop_signal),  offsetof(struct image_config, cache),
};
static const size_t lists[] = {
	offsetof(struct image_config, env),      offsetof(struct image_config, entrypoint),
	offsetof(struct image_config, cmd),      offsetof(struct image_config, volumes),
	offsetof(struct image_config, exposed),  offsetof(struct image_config, onbuild),
	offsetof(struct image_config, shell),    offsetof(struct image_config, labels),
	offsetof(struct image_config, diff_ids), offsetof(struct image_config, health.test),
};

static void *member(struct image_config *c, size_t offset)
{
	return (char *)c + offset;
}

struct image_config *image_config_copy(const struct image_config *c)
{
	struct image_config *copy = mem_dup(c, sizeof(*c));

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char **s = member(copy, texts[i]);

		*s = mem_str(*s);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct strv *l = member(copy, lists[i]), old = *l;

		*l = (struct strv){ 0 };
		strv_copy(l, &old);
	}
	copy->history = NULL;
	copy->n_history = copy->cap_history = 0;
	for (size_t i = 0; i < c->n_history; i++) {
		const struct image_history *o = &c->history[i];
		struct image_history *h =
			image_config_add_history(copy, o->created_s, o->created_by, o->empty_layer);

		h->comment = mem_str(o->comment);
		h->author = mem_str(o->author);
		h->step_id = mem_str(o->step_id);
	}
	return copy;
}

void image_config_free(struct image_config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(*(char **)member(c, texts[i]));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		strv_free(member(c, lists[i]));
	for (size_t i = 0; i < c->n_history; i++) {
		free(c->history[i].created_by);
		free(c->history[i].comment);
		free(c->history[i].author);
		free(c->history[i].step_id);
	}
	free(c->history);
	free(c);
}

void image_config_cleanup(struct image_config **c)
{
	image_config_free(*c);
	*c = NULL;
}

struct image_history *image_config_add_history(struct image_config *c, int64_t created_s,
					       const char *created_by, bool empty_layer)
{
	struct image_history *h;

	mem_room(c->history, c->n_history, c->cap_history);
	h = &c->history[c->n_history++];
	*h = (struct image_history){ .created_s = created_s,
				     .created_by = mem_str(created_by),
				     .empty_layer = empty_layer };
	return h;
}

void image_time_set(json_t *obj, const char *key, int64_t seconds)
{
	char buf[64];
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_set_str(obj, key, buf);
}

/* A key that comes from an instruction, made UTF-8 as the values are. */
static void set_member(json_t *obj, const char *key, json_t *value)
{
	auto_json json_t *name = json_from_str(key);

	json_object_set_new(obj, json_string_value(name), value);
}

/* {"80/tcp":{}}: sorted, as Go writes its maps, so that the order of the instructions is no part of
 * the ID. */
static void set_keys(json_t *obj, const char *key, const struct strv *l)
{
	auto_strv struct strv sorted = { 0 };
	json_t *o;

	if (!l->n)
		return;
	strv_copy(&sorted, l);
	strv_sort(&sorted);
	o = json_object();
	for (size_t i = 0; i < sorted.n; i++)
		set_member(o, sorted.v[i], json_object());
	json_object_set_new(obj, key, o);
}

static void set_labels(json_t *obj, const char *key, const struct strv *l)
{
	auto_strv struct strv sorted = { 0 };
	json_t *o;

	if (!l->n)
		return;
	strv_copy(&sorted, l);
	strv_sort(&sorted);
	o = json_object();
	for (size_t i = 0; i < sorted.n; i++) {
		const char *eq = strchr(sorted.v[i], '=');
		auto_free char *name = mem_strn(sorted.v[i], eq ? (size_t)(eq - sorted.v[i])
								: strlen(sorted.v[i]));

		set_member(o, name, json_from_str(eq ? eq + 1 : ""));
	}
	json_object_set_new(obj, key, o);
}

static void set_command(json_t *obj, const char *key, const struct strv *l, bool is_set)
{
	if (l->n)
		json_set_strv(obj, key, l);
	else if (is_set)
		json_object_set_new(obj, key, json_array());
}

static void set_int(json_t *obj, const char *key, int64_t v)
{
	if (v)
		json_object_set_new(obj, key, json_integer(v));
}

static void set_health(json_t *obj, const struct image_health *h)
{
	json_t *o;

	if (!h->set)
		return;
	o = json_object();
	json_set_strv(o, "Test", &h->test);
	set_int(o, "Interval", h->interval_ns);
	set_int(o, "Timeout", h->timeout_ns);
	set_int(o, "StartPeriod", h->start_period_ns);
	set_int(o, "StartInterval", h->start_interval_ns);
	set_int(o, "Retries", h->retries);
	json_object_set_new(obj, "Healthcheck", o);
}

static json_t *execution(const struct image_config *c)
{
	json_t *o = json_object();

	json_set_str(o, "User", c->user);
	set_keys(o, "ExposedPorts", &c->exposed);
	json_set_strv(o, "Env", &c->env);
	set_command(o, "Entrypoint", &c->entrypoint, c->entrypoint_set);
	set_command(o, "Cmd", &c->cmd, c->cmd_set);
	set_health(o, &c->health);
	set_keys(o, "Volumes", &c->volumes);
	json_set_str(o, "WorkingDir", c->workdir);
	json_set_strv(o, "OnBuild", &c->onbuild);
	set_labels(o, "Labels", &c->labels);
	json_set_str(o, "StopSignal", c->stop_signal);
	json_set_strv(o, "Shell", &c->shell);
	return o;
}

static json_t *rootfs(const struct image_config *c)
{
	json_t *o = json_object(), *ids = json_array();

	json_object_set_new(o, "type", json_string("layers"));
	for (size_t i = 0; i < c->diff_ids.n; i++)
		json_array_append_new(ids, json_from_str(c->diff_ids.v[i]));
	json_object_set_new(o, "diff_ids", ids);
	return o;
}

static json_t *history(const struct image_config *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->n_history; i++) {
		const struct image_history *h = &c->history[i];
		json_t *o = json_object();

		image_time_set(o, "created", h->created_s);
		json_set_str(o, "created_by", h->created_by);
		json_set_str(o, "author", h->author);
		json_set_str(o, "comment", h->comment);
		if (h->empty_layer)
			json_object_set_new(o, "empty_layer", json_true());
		json_array_append_new(a, o);
	}
	return a;
}

char *image_config_text(const struct image_config *c)
{
	auto_json json_t *o = json_object();

	image_time_set(o, "created", c->created_s);
	json_set_str(o, "author", c->author);
	json_set_str(o, "architecture", c->architecture);
	json_set_str(o, "variant", c->variant);
	json_set_str(o, "os", c->os);
	json_object_set_new(o, "config", execution(c));
	json_object_set_new(o, "rootfs", rootfs(c));
	if (c->n_history)
		json_object_set_new(o, "history", history(c));
	if (c->cache)
		json_object_set_new(o, IMAGE_DEPOT_FIELD, json_loads(c->cache, 0, NULL));
	return json_text(o);
}
