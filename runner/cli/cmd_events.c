/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_events;

enum { ID_SHORTEST = 6 };

struct events_args {
	const char *since, *until, *format;
	struct strv filters;
};

static const struct opt events_opts[] = {
	{ 'f', "filter", OPT_STRV, offsetof(struct events_args, filters), "KEY=VALUE",
	  "only those of this container, event, image, label, network, type, volume" },
	{ 0, "format", OPT_STR, offsetof(struct events_args, format), "FORMAT",
	  "json or a Go template" },
	{ 0, "since", OPT_STR, offsetof(struct events_args, since), "TIME",
	  "from that time on (2026-01-02T15:04:05, 10m)" },
	{ 0, "until", OPT_STR, offsetof(struct events_args, until), "TIME", "up to that time" },
	{ 0 },
};

static const json_t *attributes_of(const json_t *e)
{
	return json_object_get(json_object_get(e, "Actor"), "Attributes");
}

static const char *id_of(const json_t *e)
{
	const char *id = json_get_str(json_object_get(e, "Actor"), "ID");

	return id ? id : "";
}

/* --- filters: several values of one key are alternatives -----------------------------------------
 */

static bool match_container(const json_t *e, const char *v)
{
	return str_eq(json_get_str(e, "Type"), "container")
		       ? str_starts(id_of(e), v) ||
				 str_eq(json_get_str(attributes_of(e), "name"), v)
		       : str_eq(json_get_str(attributes_of(e), "container"), v);
}

/* "health_status: healthy" is a health_status, too. */
static bool match_event(const json_t *e, const char *v)
{
	const char *action = json_get_str(e, "Action");
	size_t n = strlen(v);

	return str_eq(action, v) || (action && str_starts(action, v) && action[n] == ':');
}

/* A name is meant with and without its tag. */
static bool same_image(const char *name, const char *v)
{
	const char *colon = name ? strrchr(name, ':') : NULL;

	return str_eq(name, v) || (colon && !strchr(colon, '/') && !strchr(v, ':') &&
				   str_starts(name, v) && name + strlen(v) == colon);
}

static bool match_image(const json_t *e, const char *v)
{
	const json_t *a = attributes_of(e);

	if (same_image(json_get_str(a, "image"), v))
		return true;
	return str_eq(json_get_str(e, "Type"), "image") &&
	       (same_image(json_get_str(a, "name"), v) || same_image(id_of(e), v) ||
		(str_starts(id_of(e), "sha256:") && strlen(v) >= ID_SHORTEST &&
		 str_starts(id_of(e) + strlen("sha256:"), v)));
}

static bool match_network(const json_t *e, const char *v)
{
	return str_eq(json_get_str(e, "Type"), "network") &&
	       (str_starts(id_of(e), v) || str_eq(json_get_str(attributes_of(e), "name"), v));
}

static bool match_scope(const json_t *e, const char *v)
{
	return str_eq(json_get_str(e, "scope"), v);
}

static bool match_type(const json_t *e, const char *v)
{
	return str_eq(json_get_str(e, "Type"), v);
}

static bool match_volume(const json_t *e, const char *v)
{
	return str_eq(json_get_str(e, "Type"), "volume") && str_eq(id_of(e), v);
}

static bool match_label(const json_t *e, const char *v)
{
	auto_free char *key = mem_strn(v, strcspn(v, "="));
	const char *is = json_get_str(attributes_of(e), key), *eq = strchr(v, '=');

	return is && (!eq || str_eq(is, eq + 1));
}

static const struct {
	const char *key;
	bool (*match)(const json_t *e, const char *v);
} filters[] = {
	{ "container", match_container }, { "event", match_event }, { "image", match_image },
	{ "label", match_label },         { "type", match_type },   { "volume", match_volume },
	{ "network", match_network },     { "scope", match_scope },
};

static const char *value_of(const char *filter, const char *key)
{
	size_t n = strlen(key);

	return strncmp(filter, key, n) == 0 && filter[n] == '=' ? filter + n + 1 : NULL;
}

static int check_filters(const struct strv *l, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		bool known = false;

		for (size_t k = 0; k < ARRAY_LEN(filters); k++)
			known |= value_of(l->v[i], filters[k].key) != NULL;
		if (!known)
			return err_set(err, EINVAL, "invalid filter '%s'", l->v[i]);
	}
	return 0;
}

static bool passes(const json_t *e, const struct strv *l)
{
	for (size_t k = 0; k < ARRAY_LEN(filters); k++) {
		bool any = false, hit = false;

		for (size_t i = 0; i < l->n; i++) {
			const char *v = value_of(l->v[i], filters[k].key);

			any |= v != NULL;
			hit |= v && filters[k].match(e, v);
		}
		if (any && !hit)
			return false;
	}
	return true;
}

/* --- output --- */

static void print_line(const json_t *e)
{
	int64_t ns = json_get_int(e, "timeNano", 0);
	auto_free char *when = out_time(ns / 1000000000);
	auto_str struct str line = { 0 };
	const char *key;
	json_t *v;

	str_addf(&line, "%.19s.%09dZ %s %s %s (", when, (int)(ns % 1000000000),
		 json_get_str(e, "Type"), json_get_str(e, "Action"), id_of(e));
	json_object_foreach((json_t *)(uintptr_t)attributes_of(e), key, v)
		str_addf(&line, "%s%s=%s", line.s[line.len - 1] == '(' ? "" : ", ", key,
			 json_string_value(v));
	str_addc(&line, ')');
	out_clean(stdout, line.s, true);
	putchar('\n');
}

static int show(const json_t *e, void *arg, struct err *err)
{
	const struct events_args *a = arg;
	int rc = 0;

	if (!passes(e, &a->filters))
		return 0;
	if (a->format)
		rc = out_value(a->format, e, err);
	else
		print_line(e);
	/* Who reads a pipe of ours waits for this one. */
	if (rc >= 0 && fflush(stdout) != 0)
		return err_sys(err, "standard output");
	return rc;
}

static int events_main(struct cli *c, void *args, int argc, char **argv)
{
	struct events_args *a = args;
	struct container_events o = { 0 };
	struct err err = { 0 };
	int rc = check_filters(&a->filters, &err);

	(void)argc, (void)argv;
	if (rc >= 0 && a->since)
		rc = cli_when(a->since, &o.since_ns, &err);
	if (rc >= 0 && a->until)
		rc = cli_when(a->until, &o.until_ns, &err);
	if (rc < 0)
		return cli_usage(c, &err);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_events(&c->rt, &o, show, a, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_events = {
	.name = "events",
	.args = "",
	.summary = "Show what happens to containers, images, networks and volumes",
	.opts = events_opts,
	.args_size = sizeof(struct events_args),
	.main = events_main,
};
