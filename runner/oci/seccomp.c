/* SPDX-License-Identifier: Apache-2.0 */
/* linux.seccomp as a profile of the sandbox. */
#include <errno.h>
#include <string.h>

#include <linux/seccomp.h>

#include "priv.h"

enum { ARGS_MAX = 6, ERRNO_MAX = 4095 };

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

struct word {
	const char *name;
	uint32_t value;
};

static const struct word flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* there is one thread */
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};

static const struct word *find(const struct word *w, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(w[i].name, name))
			return &w[i];
	return NULL;
}

/* EPERM is what an errno is that is not named. */
static int action_of(const json_t *obj, const char *key, const char *errno_key, const char *where,
		     uint32_t *ret, struct err *err)
{
	const char *name = json_get_str(obj, key);
	bool takes_errno = false;
	uint32_t value = 0;
	json_t *number = json_object_get(obj, errno_key);
	json_int_t n = number ? json_integer_value(number) : EPERM;

	if (sandbox_action_find(name, &value, &takes_errno) < 0)
		return err_set(err, EINVAL, "linux.seccomp%s.%s: unknown %.40s", where, key,
			       name ? name : "");
	if (number && !takes_errno)
		return err_set(err, EINVAL, "linux.seccomp%s.%s: %s takes none", where, errno_key,
			       name);
	if (n < 0 || n > ERRNO_MAX)
		return err_set(err, EINVAL, "linux.seccomp%s.%s is no errno", where, errno_key);
	*ret = value | (takes_errno ? (uint32_t)n : 0);
	return 0;
}

static int make_args(struct oci_config *c, json_t *list, const char *where,
		     struct sandbox_call_rule *r, struct err *err)
{
	struct sandbox_call_arg *args = oci_block(c, json_array_size(list), sizeof(*args));
	json_t *one;
	size_t i;

	if (json_array_size(list) > ARGS_MAX)
		return err_set(err, EINVAL, "linux.seccomp%s.args: more than %d", where, ARGS_MAX);
	json_array_foreach(list, i, one)
	{
		const char *op = json_get_str(one, "op");
		int compare = sandbox_compare_find(op);
		uint64_t index = oci_u64(one, "index", 0);

		if (compare < 0 || index >= ARGS_MAX)
			return err_set(err, EINVAL,
				       "linux.seccomp%s.args[%zu]: unknown op %.32s, or an "
				       "index above 5",
				       where, i, op ? op : "");
		args[i] = (struct sandbox_call_arg){ .index = (unsigned)index,
						     .op = (enum sandbox_compare)compare,
						     .value = oci_u64(one, "value", 0),
						     .other = oci_u64(one, "valueTwo", 0) };
	}
	r->args = args;
	r->n_args = i;
	return 0;
}

static int make_rules(struct oci_config *c, json_t *list, struct sandbox_profile *p,
		      bool *ret_notify, struct err *err)
{
	struct sandbox_call_rule *rules = oci_block(c, json_array_size(list), sizeof(*rules));
	json_t *one, *name;
	size_t i, k;
	int rc = 0;

	json_array_foreach(list, i, one)
	{
		auto_free char *where = mem_fmt(".syscalls[%zu]", i);
		json_t *names = json_object_get(one, "names");
		const char **v = oci_block(c, json_array_size(names), sizeof(*v));

		if (!json_array_size(names))
			return err_set(err, EINVAL, "linux.seccomp%s.names is missing", where);
		json_array_foreach(names, k, name) v[k] = json_string_value(name);
		rules[i].names = v;
		rc = action_of(one, "action", "errnoRet", where, &rules[i].action, err);
		if (rc == 0)
			rc = make_args(c, json_object_get(one, "args"), where, &rules[i], err);
		if (rc < 0)
			return rc;
		*ret_notify |= rules[i].action == SECCOMP_RET_USER_NOTIF;
	}
	p->rules = rules;
	p->n_rules = i;
	return 0;
}

static int make_archs(struct oci_config *c, json_t *list, struct sandbox_profile *p,
		      struct err *err)
{
	const char **v = oci_block(c, json_array_size(list), sizeof(*v));
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(one);
		char *lower = name ? sandbox_arch_name(name) : NULL;

		if (!lower)
			return err_set(err, EINVAL, "linux.seccomp.architectures: unknown %.40s",
				       name ? name : "");
		v[i] = oci_keep(c, lower);
	}
	p->archs = v;
	return 0;
}

static int make_flags(struct oci_config *c, json_t *seccomp, bool notify, struct err *err)
{
	const char *listener = json_get_str(seccomp, "listenerPath");
	const char *data = json_get_str(seccomp, "listenerMetadata");
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(seccomp, "flags"), i, one)
	{
		const struct word *w = find(flags, ARRAY_LEN(flags), json_string_value(one));

		if (!w)
			return err_set(err, EINVAL, "linux.seccomp.flags: unknown %.64s",
				       json_string_value(one));
		c->layout.filter_flags |= w->value;
	}
	if (notify && (!listener || !*listener))
		return err_set(err, EINVAL, "linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath");
	if (data && *data && (!listener || !*listener))
		return err_set(err, EINVAL, "linux.seccomp.listenerMetadata needs a listenerPath");
	if (notify)
		c->layout.filter_flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return 0;
}

int oci_seccomp_make(struct oci_config *c, const char *cache_dir, struct err *err)
{
	json_t *seccomp = oci_at(c, "linux", "seccomp");
	struct sandbox_profile p = { .cache_dir = cache_dir };
	auto_free char *key = NULL;
	bool notify = false;
	int rc;

	if (!seccomp)
		return 0;
	rc = action_of(seccomp, "defaultAction", "defaultErrnoRet", "", &p.action, err);
	if (rc == 0 && p.action == SECCOMP_RET_USER_NOTIF)
		rc = err_set(err, EINVAL,
			     "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would wait "
			     "for itself");
	if (rc == 0)
		rc = make_archs(c, json_object_get(seccomp, "architectures"), &p, err);
	if (rc == 0)
		rc = make_rules(c, json_object_get(seccomp, "syscalls"), &p, &notify, err);
	if (rc == 0)
		rc = make_flags(c, seccomp, notify, err);
	if (rc < 0)
		return rc;
	key = json_text(seccomp);
	p.key = key;
	rc = sandbox_profile_compile(&p, &c->filter, &c->layout.n_filter, err);
	c->layout.filter = c->filter;
	return rc < 0 ? err_ctx(err, "linux.seccomp") : 0;
}
