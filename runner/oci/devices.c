/* SPDX-License-Identifier: Apache-2.0 */
/* linux.resources.devices for v2, where the rules are a program. */
#include <errno.h>
#include <string.h>

#include "priv.h"

static unsigned access_of(const char *s)
{
	unsigned bits = 0;

	if (!s || !*s)
		s = "rwm";
	bits |= strchr(s, 'm') ? SANDBOX_MKNOD : 0;
	bits |= strchr(s, 'r') ? SANDBOX_READ : 0;
	bits |= strchr(s, 'w') ? SANDBOX_WRITE : 0;
	return bits;
}

static char type_of(const char *s)
{
	if (!s || !*s)
		return 'a';
	if (s[0] == 'u')
		return 'c';
	return s[0];
}

/* The runtime's own devices, as v1's list in resources.c. */
static const struct sandbox_device_rule always[] = {
	{ true, 'c', 1, 3, 7 }, { true, 'c', 1, 5, 7 },    { true, 'c', 1, 7, 7 },
	{ true, 'c', 1, 8, 7 }, { true, 'c', 1, 9, 7 },    { true, 'c', 5, 0, 7 },
	{ true, 'c', 5, 2, 7 }, { true, 'c', 136, -1, 7 }, { true, 'a', -1, -1, SANDBOX_MKNOD },
};

void oci_devices_v2(struct oci_config *c, const json_t *rules)
{
	size_t n = json_array_size(rules), i;
	struct sandbox_device_rule *r = oci_block(c, n + ARRAY_LEN(always), sizeof(*r));
	const json_t *one;

	json_array_foreach(rules, i, one)
	{
		const char *type = json_get_str(one, "type");

		r[i] = (struct sandbox_device_rule){
			.allow = json_get_bool(one, "allow"),
			.type = type_of(type),
			.major = json_get_int(one, "major", -1),
			.minor = json_get_int(one, "minor", -1),
			.access = access_of(json_get_str(one, "access")),
		};
	}
	memcpy(r + n, always, sizeof(always));
	c->layout.device_rules = r;
	c->layout.n_device_rules = n + ARRAY_LEN(always);
}
