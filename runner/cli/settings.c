/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <ini.h>

#include <shale/base/str.h>

#define CONF_DEFAULT "/etc/shale/shale.conf"
#define DAY          "24h"

enum setting_type {
	TYPE_TEXT,
	TYPE_PATH,
	TYPE_BOOL,
	TYPE_DURATION,
	TYPE_SPACE,
	TYPE_LIMIT,
	TYPE_COUNT,
	TYPE_NETWORK,
	TYPE_ADDRESSES,
	TYPE_WORDS,
	TYPE_USERS
};

static const struct {
	const char *section, *name, *env, *fallback;
	enum setting_type type;
	const char *help;
} defs[SETTING_COUNT] = {
	[SETTING_ROOT] = { "store", "root", "SHALE_ROOT", "/var/lib/shale", TYPE_PATH,
			   "where the store is" },
	[SETTING_DRIVER] = { "store", "driver", "SHALE_DRIVER", "overlay", TYPE_TEXT,
			     "overlay, fuse-overlayfs or copy" },
	[SETTING_SYNC] = { "store", "sync", NULL, "no", TYPE_BOOL,
			   "build, import, load and pull wait until all is on the disk" },
	[SETTING_MAX_LAYER] = { "store", "max-layer-size", NULL, "none", TYPE_LIMIT,
				"what unpacks to more is not pulled, loaded, imported, added" },
	[SETTING_USERS] = { "containers", "users", NULL, "auto", TYPE_USERS,
			    "START:COUNT that --userns auto gives parts of, else /etc/subuid" },
	[SETTING_NETWORK_DEFAULT] = { "network", "default", "SHALE_NETWORK", "auto", TYPE_NETWORK,
				      "of run and RUN that name none: bridge, host, none; auto: "
				      "bridge where netavark is, else host" },
	[SETTING_NETWORK_DNS] = { "network", "dns", NULL, "", TYPE_ADDRESSES,
				  "servers of names in networks other than the host's; none: the "
				  "host's" },
	/* BuildKit's defaults, but for the duration: layers here cost what they change. */
	[SETTING_GC_KEEP] = { "gc", "keep-duration", NULL, "1440h", TYPE_DURATION,
			      "build cache not used for so long goes" },
	[SETTING_GC_RESERVED] = { "gc", "reserved-space", NULL, "10%", TYPE_SPACE,
				  "so much of the build cache stays in any case" },
	[SETTING_GC_MAX_USED] = { "gc", "max-used-space", NULL, "60%", TYPE_SPACE,
				  "build cache above this goes" },
	[SETTING_GC_MIN_FREE] = { "gc", "min-free-space", NULL, "20%", TYPE_SPACE,
				  "build cache goes while the file system has less than this" },
	[SETTING_GC_BUILDS] = { "gc", "builds", NULL, "200", TYPE_COUNT,
				"so many records of builds stay, with their logs" },
	[SETTING_GC_FAILED] = { "gc", "failed-builds", NULL, "5", TYPE_COUNT,
				"so many containers of failed builds stay" },
	[SETTING_TRASH_KEEP] = { "trash", "keep-duration", NULL, DAY, TYPE_DURATION,
				 "how long a removed image can be brought back" },
	[SETTING_TRASH_MAX] = { "trash", "max-used-space", NULL, "10%", TYPE_SPACE,
				"the oldest goes when the trash holds more" },
	[SETTING_REGISTRY_INSECURE] = { "registry", "insecure", NULL, "", TYPE_WORDS,
					"registries whose certificate is not checked" },
	[SETTING_REGISTRY_MIRRORS] = { "registry", "mirrors", NULL, "", TYPE_WORDS,
				       "REGISTRY=HOST[/PREFIX], asked before it" },
	[SETTING_REGISTRY_SUDO] = { "registry", "sudo-home", NULL, "no", TYPE_BOOL,
				    "under sudo the credentials of who called it" },
	[SETTING_REGISTRY_PULL] = { "registry", "pull", "SHALE_PULL", "missing", TYPE_TEXT,
				    "whether build, run and create pull: always, missing, never" },
	[SETTING_TRUST_DEFAULT] = { "trust", "default", NULL, "accept", TYPE_TEXT,
				    "what is pulled where no rule fits: accept or reject" },
	[SETTING_TRUST_ACCEPT] = { "trust", "accept", NULL, "", TYPE_WORDS,
				   "REGISTRY[/PREFIX] from which all is pulled" },
	[SETTING_TRUST_REJECT] = { "trust", "reject", NULL, "", TYPE_WORDS,
				   "REGISTRY[/PREFIX] from which nothing is pulled" },
	[SETTING_TRUST_SIGNED] = { "trust", "signed-by", NULL, "", TYPE_WORDS,
				   "REGISTRY[/PREFIX]=KEYFILE: only what that key signed" },
	[SETTING_TRUST_PIN] = { "trust", "pin", NULL, "", TYPE_WORDS,
				"NAME[:TAG]=DIGEST: what pull and FROM must find there" },
};

const char *setting_help(enum setting key)
{
	return defs[key].help;
}

const char *setting_env(enum setting key)
{
	return defs[key].env;
}

const char *setting_name(enum setting key)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s.%s", defs[key].section, defs[key].name);
	return text;
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		free(s->v[i].value);
		free(s->v[i].source);
	}
	*s = (struct settings){ 0 };
}

void settings_set(struct settings *s, enum setting key, const char *value, const char *source)
{
	free(s->v[key].value);
	free(s->v[key].source);
	s->v[key].value = mem_str(value);
	s->v[key].source = mem_str(source);
}

/* --- values --- */

static int parse_percent(const char *text, uint64_t *ret)
{
	size_t len = strlen(text);
	auto_free char *number = NULL;

	if (len < 2 || text[len - 1] != '%')
		return -EINVAL;
	number = mem_strn(text, len - 1);
	return str_to_u64(number, 10, 100, ret);
}

int settings_parse_space(const char *text, int root_fd, uint64_t *ret, struct err *err)
{
	struct statvfs vfs;
	uint64_t percent;

	if (parse_percent(text, &percent) == 0) {
		if (fstatvfs(root_fd, &vfs) < 0)
			return err_sys(err, "file system of the store");
		*ret = (uint64_t)vfs.f_blocks * vfs.f_frsize / 100 * percent;
		return 0;
	}
	if (str_to_bytes(text, ret) == 0)
		return 0;
	return err_set(err, EINVAL, "\"%s\" is neither bytes (10GB) nor a share (10%%)", text);
}

int settings_parse_limit(const char *text, int root_fd, uint64_t *ret, struct err *err)
{
	if (!str_eq(text, "none"))
		return settings_parse_space(text, root_fd, ret, err);
	*ret = 0;
	return 0;
}

int settings_parse_users(const char *text, uint32_t *ret_first, uint32_t *ret_count)
{
	const char *colon = strchr(text, ':');
	auto_free char *start = mem_strn(text, strcspn(text, ":"));
	uint64_t first, count;

	if (!colon || str_to_u64(start, 10, UINT32_MAX - 1, &first) < 0 ||
	    str_to_u64(colon + 1, 10, UINT32_MAX - 1, &count) < 0 || !first || !count ||
	    first + count > UINT32_MAX)
		return -EINVAL;
	*ret_first = (uint32_t)first;
	*ret_count = (uint32_t)count;
	return 0;
}

static bool to_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "false", "true" }, { "0", "1" }, { "off", "on" }
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		for (int v = 0; v < 2; v++)
			if (str_eq(text, words[i][v])) {
				*ret = v;
				return true;
			}
	return false;
}

static bool is_network(const char *text)
{
	static const char *const words[] = { "auto", "bridge", "host", "none" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(text, words[i]))
			return true;
	return false;
}

static bool are_addresses(const char *text)
{
	auto_strv struct strv words = { 0 };
	unsigned char raw[sizeof(struct in6_addr)];
	bool all = true;

	strv_split(&words, text, ' ');
	for (size_t i = 0; i < words.n; i++)
		all = all && (!*words.v[i] || inet_pton(AF_INET, words.v[i], raw) == 1 ||
			      inet_pton(AF_INET6, words.v[i], raw) == 1);
	return all;
}

static bool fits(enum setting_type type, const char *value)
{
	uint32_t first, count;
	uint64_t number;
	int64_t ns;
	bool yes;

	switch (type) {
	case TYPE_TEXT:
		return *value;
	case TYPE_WORDS:
		return true;
	case TYPE_USERS:
		return str_eq(value, "auto") || settings_parse_users(value, &first, &count) == 0;
	case TYPE_NETWORK:
		return is_network(value);
	case TYPE_ADDRESSES:
		return are_addresses(value);
	case TYPE_PATH:
		return value[0] == '/';
	case TYPE_BOOL:
		return to_bool(value, &yes);
	case TYPE_DURATION:
		return str_to_duration(value, &ns) == 0 && ns >= 0;
	case TYPE_COUNT:
		return str_to_u64(value, 10, UINT32_MAX, &number) == 0;
	case TYPE_LIMIT:
		return str_eq(value, "none") || fits(TYPE_SPACE, value);
	case TYPE_SPACE:
		return parse_percent(value, &number) == 0 || str_to_bytes(value, &number) == 0;
	}
	return false;
}

bool settings_bool(const struct settings *s, enum setting key)
{
	bool yes = false;

	to_bool(s->v[key].value, &yes);
	return yes;
}

uint64_t settings_count(const struct settings *s, enum setting key)
{
	uint64_t n = 0;

	str_to_u64(s->v[key].value, 10, UINT32_MAX, &n);
	return n;
}

int64_t settings_seconds(const struct settings *s, enum setting key)
{
	int64_t ns = 0;

	str_to_duration(s->v[key].value, &ns);
	return ns / 1000000000;
}

uint64_t settings_space(const struct settings *s, enum setting key, int root_fd)
{
	struct err ignored;
	uint64_t bytes = 0;

	settings_parse_space(s->v[key].value, root_fd, &bytes, &ignored);
	return bytes;
}

/* --- the file --- */

struct reading {
	struct settings *s;
	const char *path;
	struct err *err;
	bool bad; /* inih goes on all the same */
	FILE *file;
	int line;
};

static int refuse(struct reading *r, const char *what, const char *name)
{
	const char *names[SETTING_COUNT + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < SETTING_COUNT; i++)
		names[i] = defs[i].name;
	near = str_nearest(name, names);
	err_set(r->err, EINVAL, "%s:%d: %s%s", r->path, r->line, what, name);
	if (near && !str_eq(near, name))
		err_hint(r->err, "did you mean %s?", near);
	r->bad = true;
	return 0;
}

/* A second line of words adds to the first: it must not silently undo a rule. */
static void take_value(struct settings *s, enum setting key, const char *value, const char *source)
{
	bool adds = (defs[key].type == TYPE_WORDS || defs[key].type == TYPE_ADDRESSES) &&
		    !str_eq(s->v[key].source, "default");
	auto_free char *both = adds ? mem_fmt("%s %s", s->v[key].value, value) : NULL;

	settings_set(s, key, both ? both : value, source);
}

static int take_line(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;
	auto_free char *source = mem_fmt("%s:%d", r->path, r->line);

	if (r->bad)
		return 0;
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		if (!str_eq(defs[i].section, section) || !str_eq(defs[i].name, name))
			continue;
		if (!value || !fits(defs[i].type, value))
			return refuse(r, "no value that fits: ", name);
		take_value(r->s, (enum setting)i, value, source);
		return 1;
	}
	return refuse(r, "unknown setting: ", name);
}

/* Debian's inih does not tell the handler its line. */
static char *next_line(char *buf, int size, void *stream)
{
	struct reading *r = stream;

	r->line++;
	return fgets(buf, size, r->file);
}

static int read_file(struct settings *s, const char *path, bool must_be, struct err *err)
{
	struct reading r = { .s = s, .path = path, .err = err };
	int rc;

	r.file = fopen(path, "re");
	if (!r.file)
		return errno == ENOENT && !must_be ? 0 : err_sys(err, "open %s", path);
	rc = ini_parse_stream(next_line, &r, take_line, &r);
	fclose(r.file);
	if (r.bad)
		return -EINVAL;
	if (rc > 0)
		return err_set(err, EINVAL, "%s:%d: neither [section] nor name = value", path, rc);
	return 0;
}

int settings_load(struct settings *s, struct err *err)
{
	const char *path = secure_getenv("SHALE_CONF");
	bool named = path && *path;
	int rc;

	for (size_t i = 0; i < SETTING_COUNT; i++)
		settings_set(s, (enum setting)i, defs[i].fallback, "default");
	rc = read_file(s, named ? path : CONF_DEFAULT, named, err);
	for (size_t i = 0; rc >= 0 && i < SETTING_COUNT; i++) {
		const char *value = defs[i].env ? secure_getenv(defs[i].env) : NULL;

		if (!value || !*value)
			continue;
		if (defs[i].type == TYPE_NETWORK && !is_network(value))
			return err_set(err, EINVAL, "%s=%.40s: want bridge, host, none or auto",
				       defs[i].env, value);
		settings_set(s, (enum setting)i, value, defs[i].env);
	}
	return rc;
}
