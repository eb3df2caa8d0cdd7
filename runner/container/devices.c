/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use which devices: --device-cgroup-rule, and --device with less than rw. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "priv.h"

enum { RULES_MAX = 128, NUMBER_MAX = 1 << 20, ALL = SANDBOX_MKNOD | SANDBOX_READ | SANDBOX_WRITE };

/* Docker's, and the terminal's. */
static const struct sandbox_device_rule always[] = {
	{ false, 'a', -1, -1, ALL },
	{ true, 'c', -1, -1, SANDBOX_MKNOD },
	{ true, 'b', -1, -1, SANDBOX_MKNOD },
	{ true, 'c', 1, 3, ALL },
	{ true, 'c', 1, 5, ALL },
	{ true, 'c', 1, 7, ALL },
	{ true, 'c', 1, 8, ALL },
	{ true, 'c', 1, 9, ALL },
	{ true, 'c', 5, 0, ALL },
	{ true, 'c', 5, 1, ALL },
	{ true, 'c', 5, 2, ALL },
	{ true, 'c', 136, -1, ALL },
};

bool container_access_parse(const char *text, unsigned *ret)
{
	unsigned bits = 0;
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		bits |= text[i] == 'r'   ? SANDBOX_READ
			: text[i] == 'w' ? SANDBOX_WRITE
			: text[i] == 'm' ? SANDBOX_MKNOD
					 : 0;
	*ret = bits;
	return n && n <= 3 && strspn(text, "rwm") == n;
}

static bool number(const char *text, int64_t *ret)
{
	uint64_t v = 0;

	if (str_eq(text, "*")) {
		*ret = -1;
		return true;
	}
	if (str_to_u64(text, 10, NUMBER_MAX, &v) < 0)
		return false;
	*ret = (int64_t)v;
	return true;
}

/* "c 42:* rmw" */
static int rule_parse(const char *text, struct sandbox_device_rule *ret, struct err *err)
{
	struct sandbox_device_rule r = { .allow = true };
	auto_strv struct strv words = { 0 }, numbers = { 0 };
	bool ok;

	strv_split(&words, text, ' ');
	strv_split(&numbers, words.n == 3 ? words.v[1] : "", ':');
	ok = numbers.n == 2 && strlen(words.v[0]) == 1 && strchr("abc", words.v[0][0]) &&
	     number(numbers.v[0], &r.major) && number(numbers.v[1], &r.minor) &&
	     container_access_parse(words.v[2], &r.access);
	/* A v1 group takes "a" for everything, whatever else is said. */
	if (ok && words.v[0][0] == 'a')
		ok = r.major < 0 && r.minor < 0 && r.access == ALL;
	if (!ok)
		return err_set(err, EINVAL,
			       "--device-cgroup-rule '%s': want 'c 42:* rwm', 'b MAJOR:MINOR r' or "
			       "'a *:* rwm'",
			       text);
	r.type = words.v[0][0];
	*ret = r;
	return 0;
}

int container_device_rules_check(const struct container_spec *s, struct err *err)
{
	struct sandbox_device_rule r;

	if (s->device_rules.n > RULES_MAX)
		return err_set(err, EINVAL, "--device-cgroup-rule: more than %d", RULES_MAX);
	for (size_t i = 0; i < s->device_rules.n; i++)
		if (rule_parse(s->device_rules.v[i], &r, err) < 0)
			return -err->code;
	return 0;
}

static bool is_any_less(const struct container_device *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].access)
			return true;
	return false;
}

static void add_device(const struct container_device *d, struct sandbox_device_rule *to, size_t *n)
{
	unsigned access = ALL;
	struct stat st;

	if (fstat(d->fd, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
		return;
	if (d->access)
		container_access_parse(d->access, &access);
	to[(*n)++] = (struct sandbox_device_rule){ .allow = true,
						   .type = S_ISBLK(st.st_mode) ? 'b' : 'c',
						   .major = major(st.st_rdev),
						   .minor = minor(st.st_rdev),
						   .access = access };
}

void container_device_rules(const struct container_spec *s, const struct container_device *v,
			    size_t n, struct sandbox_cgroup *ret,
			    struct sandbox_device_rule **ret_rules)
{
	struct sandbox_device_rule *r;
	size_t count = ARRAY_LEN(always);
	struct err ignored;

	if (s->privileged || (!s->device_rules.n && !is_any_less(v, n)))
		return;
	r = mem_array(count + n + s->device_rules.n, sizeof(*r));
	memcpy(r, always, sizeof(always));
	for (size_t i = 0; i < n; i++)
		add_device(&v[i], r, &count);
	for (size_t i = 0; i < s->device_rules.n; i++)
		if (rule_parse(s->device_rules.v[i], &r[count], &ignored) >= 0)
			count++;
	ret->device_rules = *ret_rules = r;
	ret->n_device_rules = count;
	ret->opens_devices = s->device_rules.n > 0;
}
