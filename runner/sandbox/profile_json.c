/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seccomp profile as Docker and Podman keep it in files: rules, some for certain capabilities,
 * architectures or kernels only, become those that hold for one box.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <linux/seccomp.h>

#include <shale/base/json.h>

#include "priv.h"

enum { ARGS_MAX = 6, ERRNO_MAX = 4095 };

#if defined(__x86_64__)
static const char own_arch[] = "SCMP_ARCH_X86_64", own_name[] = "amd64";
#else
static const char own_arch[] = "SCMP_ARCH_AARCH64", own_name[] = "arm64";
#endif

/* --- words
 * ------------------------------------------------------------------------------------------------
 */

int sandbox_action_find(const char *name, uint32_t *ret, bool *ret_takes_errno)
{
	static const struct {
		const char *name;
		uint32_t value;
		bool takes_errno;
	} actions[] = {
		{ "SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false },
		{ "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false },
		{ "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false },
		{ "SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false },
		{ "SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true },
		{ "SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true },
		{ "SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false },
		{ "SCMP_ACT_LOG", SECCOMP_RET_LOG, false },
		{ "SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (str_eq(actions[i].name, name)) {
			*ret = actions[i].value;
			*ret_takes_errno = actions[i].takes_errno;
			return 0;
		}
	return -EINVAL;
}

int sandbox_compare_find(const char *name)
{
	static const char *const names[] = { [SANDBOX_NE] = "SCMP_CMP_NE",
					     [SANDBOX_LT] = "SCMP_CMP_LT",
					     [SANDBOX_LE] = "SCMP_CMP_LE",
					     [SANDBOX_EQ] = "SCMP_CMP_EQ",
					     [SANDBOX_GE] = "SCMP_CMP_GE",
					     [SANDBOX_GT] = "SCMP_CMP_GT",
					     [SANDBOX_MASKED_EQ] = "SCMP_CMP_MASKED_EQ" };

	for (size_t i = SANDBOX_NE; i < ARRAY_LEN(names); i++)
		if (str_eq(names[i], name))
			return (int)i;
	return -EINVAL;
}

char *sandbox_arch_name(const char *text)
{
	char *name = str_starts(text, "SCMP_ARCH_") ? mem_str(text + strlen("SCMP_ARCH_")) : NULL;

	for (char *p = name; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return name;
}

/* --- the profile
 * ------------------------------------------------------------------------------------------------
 */

/* What a struct sandbox_profile points to. */
struct parsed {
	struct sandbox_profile p;
	struct sandbox_call_rule *rules;
	struct strv archs;
};

static void parsed_free(struct parsed *x)
{
	for (size_t i = 0; i < x->p.n_rules; i++) {
		free((void *)(uintptr_t)x->rules[i].names);
		free((void *)(uintptr_t)x->rules[i].args);
	}
	free(x->rules);
	strv_free(&x->archs);
}
#define auto_parsed cleanup(parsed_free)

static int action_of(const json_t *o, const char *key, const char *errno_key, uint32_t *ret,
		     struct err *err)
{
	const char *name = json_get_str(o, key);
	int64_t number = json_get_int(o, errno_key, EPERM);
	bool takes_errno = false;

	if (sandbox_action_find(name, ret, &takes_errno) < 0)
		return err_set(err, EINVAL, "%s: unknown %.40s", key, name ? name : "");
	if (*ret == SECCOMP_RET_USER_NOTIF)
		return err_set(err, ENOTSUP, "%s: nobody listens to %s", key, name);
	if (number < 0 || number > ERRNO_MAX)
		return err_set(err, EINVAL, "%s is no errno", errno_key);
	*ret |= takes_errno ? (uint32_t)number : 0;
	return 0;
}

static int make_args(const json_t *list, struct sandbox_call_rule *r, struct err *err)
{
	struct sandbox_call_arg *args = mem_array(json_array_size(list) + 1, sizeof(*args));
	json_t *one;
	size_t i;

	r->args = args;
	if (json_array_size(list) > ARGS_MAX)
		return err_set(err, EINVAL, "args: more than %d", ARGS_MAX);
	json_array_foreach(list, i, one)
	{
		int op = sandbox_compare_find(json_get_str(one, "op"));
		int64_t index = json_get_int(one, "index", 0);

		if (op < 0 || index < 0 || index >= ARGS_MAX)
			return err_set(err, EINVAL, "args[%zu]: unknown op, or an index above 5",
				       i);
		args[r->n_args++] =
			(struct sandbox_call_arg){ (unsigned)index, (enum sandbox_compare)op,
						   (uint64_t)json_get_int(one, "value", 0),
						   (uint64_t)json_get_int(one, "valueTwo", 0) };
	}
	return 0;
}

/* "4.8", and what may follow. */
static unsigned long version_of(const char *text)
{
	char *end;
	unsigned long major = strtoul(text, &end, 10);

	return major << 16 | (*end == '.' ? strtoul(end + 1, NULL, 10) & 0xffff : 0);
}

static bool is_kernel(const char *least)
{
	struct utsname u;

	return uname(&u) == 0 && version_of(u.release) >= version_of(least);
}

static size_t held(const json_t *names, uint64_t caps)
{
	json_t *name;
	size_t i, n = 0;

	json_array_foreach(names, i, name)
	{
		const char *text = json_string_value(name);
		int cap = text ? sandbox_cap_find(text) : -1;

		n += cap >= 0 && (caps & 1ull << cap);
	}
	return n;
}

static bool has_word(const json_t *list, const char *word)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (str_eq(json_string_value(one), word)) return true;
	return false;
}

/* All that is included must be so, nothing that is excluded. */
static bool applies(const json_t *rule, uint64_t caps)
{
	const json_t *in = json_object_get(rule, "includes"),
		     *out = json_object_get(rule, "excludes");
	const json_t *in_caps = json_object_get(in, "caps"),
		     *arches = json_object_get(in, "arches");
	const char *least = json_get_str(in, "minKernel"), *most = json_get_str(out, "minKernel");

	return held(in_caps, caps) == json_array_size(in_caps) &&
	       (!json_array_size(arches) || has_word(arches, own_name)) &&
	       (!least || is_kernel(least)) && !held(json_object_get(out, "caps"), caps) &&
	       !has_word(json_object_get(out, "arches"), own_name) && !(most && is_kernel(most));
}

static int make_rule(const json_t *one, struct sandbox_call_rule *r, struct err *err)
{
	const json_t *names = json_object_get(one, "names");
	const char *name = json_get_str(one, "name");
	const char **v = mem_array(json_array_size(names) + 2, sizeof(*v));
	json_t *word;
	size_t i, n = 0;

	r->names = v;
	json_array_foreach(names, i, word) if (json_is_string(word)) v[n++] =
		json_string_value(word);
	if (name && *name)
		v[n++] = name;
	if (!n)
		return err_set(err, EINVAL, "no names");
	if (action_of(one, "action", "errnoRet", &r->action, err) < 0)
		return -err->code;
	return make_args(json_object_get(one, "args"), r, err);
}

static int make_rules(const json_t *list, uint64_t caps, struct parsed *x, struct err *err)
{
	json_t *one;
	size_t i;

	x->rules = mem_array(json_array_size(list) + 1, sizeof(*x->rules));
	x->p.rules = x->rules;
	json_array_foreach(list, i, one)
	{
		if (!applies(one, caps))
			continue;
		if (make_rule(one, &x->rules[x->p.n_rules++], err) < 0)
			return err_ctx(err, "syscalls[%zu]", i);
	}
	return 0;
}

static int add_archs(const json_t *list, struct strv *to, struct err *err)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *text = json_string_value(one);
		char *name = text ? sandbox_arch_name(text) : NULL;

		if (!name)
			return err_set(err, EINVAL, "architectures: unknown %.40s",
				       text ? text : "");
		strv_add_take(to, name);
	}
	return 0;
}

static int make_archs(const json_t *profile, struct parsed *x, struct err *err)
{
	const json_t *map = json_object_get(profile, "archMap");
	int rc = add_archs(json_object_get(profile, "architectures"), &x->archs, err);
	json_t *one;
	size_t i;

	json_array_foreach(map, i,
			   one) if (rc >= 0 && str_eq(json_get_str(one, "architecture"), own_arch))
		rc = add_archs(json_object_get(one, "subArchitectures"), &x->archs, err);
	x->p.archs = (const char *const *)strv_args(&x->archs);
	return rc;
}

static int parse(const json_t *profile, uint64_t caps, struct parsed *x, struct err *err)
{
	const json_t *flags = json_object_get(profile, "flags");
	json_t *flag;
	size_t i;
	int rc = action_of(profile, "defaultAction", "defaultErrnoRet", &x->p.action, err);

	/* There is one thread when it is loaded. */
	json_array_foreach(flags, i, flag) if (rc >= 0 && !str_eq(json_string_value(flag),
								  "SECCOMP_FILTER_FLAG_TSYNC")) rc =
		err_set(err, ENOTSUP, "flags: %.64s", json_string_value(flag));
	if (rc >= 0)
		rc = make_archs(profile, x, err);
	return rc < 0 ? rc : make_rules(json_object_get(profile, "syscalls"), caps, x, err);
}

int sandbox_profile_check(const char *text, struct err *err)
{
	auto_parsed struct parsed x = { 0 };
	auto_json json_t *profile = NULL;
	int rc = json_parse(text, strlen(text), &profile, err);

	if (rc >= 0)
		rc = parse(profile, UINT64_MAX, &x, err);
	return rc < 0 ? err_ctx(err, "seccomp profile") : 0;
}

int sandbox_profile_make(const char *text, uint64_t caps, const char *cache_dir,
			 struct sock_filter **ret, size_t *ret_n, struct err *err)
{
	auto_free char *key = mem_fmt("%llx %s", (unsigned long long)caps, text);
	auto_parsed struct parsed x = { .p = { .cache_dir = cache_dir, .key = key } };
	auto_json json_t *profile = NULL;
	int rc = json_parse(text, strlen(text), &profile, err);

	if (rc >= 0)
		rc = parse(profile, caps, &x, err);
	if (rc >= 0)
		rc = sandbox_profile_compile(&x.p, ret, ret_n, err);
	return rc < 0 ? err_ctx(err, "seccomp profile") : 0;
}
