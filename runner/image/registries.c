/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host says of a registry: shale.conf, the containers tools' registries.conf (its
 * [[registry]] and [[registry.mirror]] tables, prefix, location, insecure, blocked; of TOML just
 * the strings and booleans these need), Docker's daemon.json. Short names are Docker's: docker.io.
 */
#include "remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum { FILE_MAX = 1 << 20 };

void image_registry_rules_free(struct image_registry_rules *r)
{
	strv_free(&r->mirrors);
}

static char *host_part(const char *registry)
{
	const char *colon = strrchr(registry, ':');

	if (*registry == '[')
		return mem_strn(registry + 1, strcspn(registry + 1, "]"));
	return mem_strn(registry, colon ? (size_t)(colon - registry) : strlen(registry));
}

static bool is_loopback(const char *registry)
{
	auto_free char *host = host_part(registry);
	struct in_addr v4;

	if (str_eq(host, "localhost") || str_eq(host, "::1"))
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* "10.0.0.0/8", as Docker's insecure-registries may have it. */
static bool is_in_net(const char *registry, const char *net)
{
	auto_free char *host = host_part(registry);
	const char *slash = strchr(net, '/');
	auto_free char *base = slash ? mem_strn(net, (size_t)(slash - net)) : NULL;
	struct in_addr a, b;
	uint64_t bits;

	if (!base || str_to_u64(slash + 1, 10, 32, &bits) < 0 ||
	    inet_pton(AF_INET, base, &b) != 1 || inet_pton(AF_INET, host, &a) != 1)
		return false;
	return !bits || (ntohl(a.s_addr) ^ ntohl(b.s_addr)) >> (32 - bits) == 0;
}

static void apply_insecure(const char *registry, const char *entry,
			   struct image_registry_rules *ret)
{
	bool is_http = str_starts(entry, "http://");
	const char *name = strstr(entry, "://") ? strstr(entry, "://") + 3 : entry;

	if (!str_eq(name, registry) && !is_in_net(registry, name))
		return;
	ret->insecure = true;
	ret->plain_http |= is_http;
}

/* --- daemon.json --- */

static int read_daemon(const char *registry, struct image_registry_rules *ret, struct err *err)
{
	auto_json json_t *j = NULL;
	const json_t *v;
	size_t i;
	int rc = image_auth_read("/etc/docker/daemon.json", &j, err);

	if (rc < 0 || !j)
		return rc;
	json_array_foreach(json_object_get(j, "insecure-registries"), i, v) if (json_is_string(v))
		apply_insecure(registry, json_string_value(v), ret);
	json_array_foreach(json_object_get(j, "registry-mirrors"), i,
			   v) if (json_is_string(v) && str_eq(registry, "docker.io"))
		strv_add(&ret->mirrors, json_string_value(v));
	return 0;
}

/* --- registries.conf --- */

struct conf {
	const char *registry;
	struct image_registry_rules *ret;
	enum { CONF_OTHER, CONF_REGISTRY, CONF_MIRROR } table;
	char *prefix, *location;
	bool insecure, blocked, is_ours, is_blocked;
};

static void conf_free(struct conf *c)
{
	free(c->prefix);
	free(c->location);
}

/* A table ends where the next begins. */
static void end_table(struct conf *c)
{
	if (c->table == CONF_REGISTRY) {
		const char *name = c->prefix ? c->prefix : c->location;

		c->is_ours = str_eq(name, c->registry);
		c->is_blocked |= c->is_ours && c->blocked;
		c->ret->insecure |= c->is_ours && c->insecure;
		/* The registry itself is elsewhere: asked first. */
		if (c->is_ours && c->location && !str_eq(c->location, c->registry))
			strv_addf(&c->ret->mirrors, "%s", c->location);
	} else if (c->table == CONF_MIRROR && c->is_ours && c->location) {
		strv_add(&c->ret->mirrors, c->location);
	}
	conf_free(c);
	c->prefix = c->location = NULL;
	c->insecure = c->blocked = false;
	c->table = CONF_OTHER;
}

static char *unquote(char *v)
{
	size_t n = *v ? strcspn(v + 1, "\"'") : 0;

	if ((*v != '"' && *v != '\'') || !v[n + 1])
		return NULL;
	return mem_strn(v + 1, n);
}

static void take_line(struct conf *c, char *line)
{
	char *eq = strchr(line, '='), *key, *value;

	if (*line == '[') {
		end_table(c);
		if (str_starts(line, "[[registry]]"))
			c->table = CONF_REGISTRY;
		else if (str_starts(line, "[[registry.mirror]]"))
			c->table = CONF_MIRROR;
		return;
	}
	if (!eq || *line == '#')
		return;
	*eq = 0;
	key = str_trim(line);
	value = str_trim(eq + 1);
	if (str_eq(key, "prefix") && !c->prefix)
		c->prefix = unquote(value);
	else if (str_eq(key, "location") && !c->location)
		c->location = unquote(value);
	else if (str_eq(key, "insecure"))
		c->insecure = str_starts(value, "true");
	else if (str_eq(key, "blocked"))
		c->blocked = str_starts(value, "true");
}

static int read_conf(const char *path, const char *registry, struct image_registry_rules *ret,
		     struct err *err)
{
	cleanup(conf_free) struct conf c = { .registry = registry, .ret = ret };
	auto_free char *text = NULL;
	auto_strv struct strv lines = { 0 };
	size_t len = 0;
	int rc = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, err);

	if (rc == -ENOENT || rc == -ENOTDIR) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return err_ctx(err, "%s", path);
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++)
		take_line(&c, str_trim(lines.v[i]));
	end_table(&c);
	return c.is_blocked ? err_set(err, EPERM, "%s is blocked by %s", registry, path) : 0;
}

static int read_confs(const char *registry, struct image_registry_rules *ret, struct err *err)
{
	static const char dir[] = "/etc/containers/registries.conf.d";
	const char *only = getenv("CONTAINERS_REGISTRIES_CONF");
	auto_strv struct strv names = { 0 };
	struct err ignored;
	int rc;

	rc = read_conf(only && *only ? only : "/etc/containers/registries.conf", registry, ret,
		       err);
	if (rc >= 0 && !(only && *only))
		fs_list(AT_FDCWD, dir, &names, &ignored);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_free char *path = mem_fmt("%s/%s", dir, names.v[i]);

		if (str_ends(path, ".conf"))
			rc = read_conf(path, registry, ret, err);
	}
	return rc;
}

int image_registry_rules(const struct image_access *a, const char *registry,
			 struct image_registry_rules *ret, struct err *err)
{
	int rc;

	for (size_t i = 0; a->mirrors && i < a->mirrors->n; i++) {
		const char *eq = strchr(a->mirrors->v[i], '=');

		if (eq && strlen(registry) == (size_t)(eq - a->mirrors->v[i]) &&
		    str_starts(a->mirrors->v[i], registry))
			strv_add(&ret->mirrors, eq + 1);
	}
	rc = read_confs(registry, ret, err);
	if (rc >= 0)
		rc = read_daemon(registry, ret, err);
	for (size_t i = 0; a->insecure && i < a->insecure->n; i++)
		apply_insecure(registry, a->insecure->v[i], ret);
	/* Plain http only to this very machine, or when asked. */
	if (is_loopback(registry))
		ret->plain_http = true;
	ret->insecure |= a->skip_verify;
	return rc;
}
