/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings: what an administrator may set, each with its value and where that comes from. In order
 * of weight: an option of the command line, the environment, the file (SHALE_CONF, else
 * /etc/shale/shale.conf; INI, read with inih), what is built in. An unknown name or a value that
 * does not fit is an error with its line: a misspelt limit would be no limit.
 */
#ifndef SHALE_CLI_SETTINGS_H
#define SHALE_CLI_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

enum setting {
	SETTING_ROOT,
	SETTING_DRIVER,
	SETTING_SYNC,
	SETTING_MAX_LAYER,
	SETTING_USERS,
	SETTING_NETWORK_DEFAULT,
	SETTING_NETWORK_DNS,
	SETTING_GC_KEEP,
	SETTING_GC_RESERVED,
	SETTING_GC_MAX_USED,
	SETTING_GC_MIN_FREE,
	SETTING_GC_BUILDS,
	SETTING_GC_FAILED,
	SETTING_TRASH_KEEP,
	SETTING_TRASH_MAX,
	SETTING_REGISTRY_INSECURE,
	SETTING_REGISTRY_MIRRORS,
	SETTING_REGISTRY_SUDO,
	SETTING_REGISTRY_PULL,
	SETTING_TRUST_DEFAULT,
	SETTING_TRUST_ACCEPT,
	SETTING_TRUST_REJECT,
	SETTING_TRUST_SIGNED,
	SETTING_TRUST_PIN,
	SETTING_COUNT
};

struct settings {
	struct {
		char *value;
		char *source; /* "default", "SHALE_ROOT", "/etc/shale/shale.conf:3", "--root" */
	} v[SETTING_COUNT];
};

#define auto_settings cleanup(settings_free)
void settings_free(struct settings *s);
int settings_load(struct settings *s, struct err *err);
/* From the command line. */
void settings_set(struct settings *s, enum setting key, const char *value, const char *source);
/* "gc.keep-duration" */
const char *setting_name(enum setting key);
const char *setting_help(enum setting key);
const char *setting_env(enum setting key); /* or NULL */

bool settings_bool(const struct settings *s, enum setting key);
/* A whole number. */
uint64_t settings_count(const struct settings *s, enum setting key);
int64_t settings_seconds(const struct settings *s, enum setting key);
/* "10GB", or "10%" of the file system that root_fd is on. */
uint64_t settings_space(const struct settings *s, enum setting key, int root_fd);
/* The same of a text that an option brought; -EINVAL. */
int settings_parse_space(const char *text, int root_fd, uint64_t *ret, struct err *err);
/* "START:COUNT" of users of the host, none of them its root; -EINVAL. */
int settings_parse_users(const char *text, uint32_t *ret_first, uint32_t *ret_count);
/* Or "none", which is 0; -EINVAL. */
int settings_parse_limit(const char *text, int root_fd, uint64_t *ret, struct err *err);

#endif
