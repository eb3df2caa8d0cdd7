/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities by libcap's names, in the parent only. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <sys/capability.h>

#include "priv.h"

enum { CAP_NAME_MAX = 40 };

/* Docker's fourteen (moby daemon/pkg/oci/caps). */
static const cap_value_t docker_caps[] = {
	CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,           CAP_FOWNER,
	CAP_MKNOD,   CAP_NET_RAW,      CAP_SETGID,           CAP_SETUID,
	CAP_SETFCAP, CAP_SETPCAP,      CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT,
	CAP_KILL,    CAP_AUDIT_WRITE,
};

static uint64_t bit(int cap)
{
	return 1ull << cap;
}

/* What this process may give away at all. */
uint64_t sandbox_caps_held(void)
{
	cap_t mine = cap_get_proc();
	uint64_t set = 0;

	for (int c = 0; mine && c < cap_max_bits() && c < 64; c++) {
		cap_flag_value_t on = CAP_CLEAR;

		if (cap_get_flag(mine, c, CAP_PERMITTED, &on) == 0 && on == CAP_SET)
			set |= bit(c);
	}
	if (mine)
		cap_free(mine);
	return set;
}

/* "net_admin", "CAP_NET_ADMIN"; ALL gives every bit. */
static int parse(const char *name, uint64_t *ret, struct err *err)
{
	char full[CAP_NAME_MAX + 8];
	bool prefixed = !strncasecmp(name, "cap_", 4);
	cap_value_t value;

	if (!strcasecmp(name, "all")) {
		*ret = ~0ull;
		return 0;
	}
	if (!*name || strlen(name) > CAP_NAME_MAX)
		return err_set(err, EINVAL, "unknown capability %.40s", name);
	snprintf(full, sizeof(full), "%s%s", prefixed ? "" : "cap_", name);
	for (char *p = full; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	/* libcap reads plain numbers too; a name is what is asked for here. */
	if (isdigit((unsigned char)full[4]) || cap_from_name(full, &value) < 0 || value < 0 ||
	    value > 63)
		return err_set(err, EINVAL, "unknown capability %s", name);
	*ret = bit(value);
	return 0;
}

int sandbox_cap_find(const char *name)
{
	struct err ignored;
	uint64_t one;

	if (!name || strncmp(name, "CAP_", 4) != 0 || parse(name, &one, &ignored) < 0)
		return -1;
	return __builtin_ctzll(one);
}

char *sandbox_cap_name(int n)
{
	char *name = n <= cap_max_bits() - 1 ? cap_to_name(n) : NULL;
	char *ret = name ? mem_str(name) : NULL;

	for (char *p = ret; p && *p; p++)
		*p = (char)toupper((unsigned char)*p);
	cap_free(name);
	return ret;
}

/* Docker's rule: ALL added, then drops, then single adds; a drop of ALL leaves the single adds. */
static int apply(const struct sandbox_spec *spec, uint64_t *set, uint64_t mine, struct err *err)
{
	uint64_t added = 0, dropped = 0, one = 0;

	for (size_t i = 0; spec->cap_add && i < spec->cap_add->n; i++) {
		if (parse(spec->cap_add->v[i], &one, err) < 0)
			return -err->code;
		if (one == ~0ull)
			*set = mine;
		else
			added |= one;
	}
	for (size_t i = 0; spec->cap_drop && i < spec->cap_drop->n; i++) {
		if (parse(spec->cap_drop->v[i], &one, err) < 0)
			return -err->code;
		dropped |= one;
	}
	if (added & ~mine) {
		auto_str struct str names = { 0 };

		sandbox_caps_text(added & ~mine, &names);
		return err_set(err, EPERM, "shale itself does not hold%s", str_get(&names));
	}
	*set &= ~dropped;
	*set |= added;
	return 0;
}

int sandbox_caps_find(const struct sandbox_spec *spec, uint64_t *ret, struct err *err)
{
	uint64_t mine = sandbox_caps_held(), set = 0;
	int rc;

	if (spec->privileged || spec->caps == SANDBOX_CAPS_ALL)
		set = mine;
	else if (spec->caps == SANDBOX_CAPS_DOCKER)
		for (size_t i = 0; i < ARRAY_LEN(docker_caps); i++)
			set |= bit(docker_caps[i]) & mine;
	rc = apply(spec, &set, mine, err);
	if (rc < 0)
		return rc;
	*ret = set;
	return 0;
}

void sandbox_caps_text(uint64_t caps, struct str *out)
{
	for (int c = 0; c < 64; c++) {
		char *name = caps & bit(c) ? cap_to_name(c) : NULL;

		if (name)
			str_addf(out, " %s", name);
		cap_free(name);
	}
}
