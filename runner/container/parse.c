/* SPDX-License-Identifier: Apache-2.0 */
/* The small languages of options: volumes, tmpfs, limits, hosts, security. */
#include <shale/container.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <shale/base/path.h>

#include "priv.h"

void container_volume_free(struct container_volume *v)
{
	free(v->source);
	free(v->target);
	*v = (struct container_volume){ 0 };
}

int container_propagation_find(const char *word, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t flag;
	} kinds[] = {
		{ "private", 0 },       { "rprivate", 0 },       { "slave", MS_SLAVE },
		{ "rslave", MS_SLAVE }, { "shared", MS_SHARED }, { "rshared", MS_SHARED },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_eq(kinds[i].name, word)) {
			*ret = kinds[i].flag;
			return 0;
		}
	return -EINVAL;
}

static int volume_mode(const char *mode, struct container_volume *v, const char *text,
		       struct err *err)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, mode, ',');
	for (size_t i = 0; i < words.n; i++) {
		const char *w = words.v[i];

		/* Read-only is recursive in any case. */
		if (str_eq(w, "ro") || str_eq(w, "rro") || str_eq(w, "readonly"))
			v->read_only = true;
		else if (str_eq(w, "nocopy"))
			v->no_copy = true;
		else if (str_eq(w, "idmap"))
			v->is_mapped = true;
		else if (str_eq(w, "U"))
			v->is_given = true;
		/* Labels of SELinux: nothing to do. */
		else if (!str_eq(w, "rw") && !str_eq(w, "z") && !str_eq(w, "Z") &&
			 container_propagation_find(w, &v->propagation) < 0)
			return err_set(err, EINVAL,
				       "volume %s: mode '%s' is none of ro, rw, nocopy, idmap, U, "
				       "z, Z, [r]private, [r]slave, [r]shared",
				       text, w);
	}
	return 0;
}

static int volume_source(const char *source, struct container_volume *v, const char *text,
			 struct err *err)
{
	v->is_named = *source != '/' && *source != '.';
	v->source = mem_str(source);
	if (v->is_named && !container_name_valid(source))
		return err_set(err, EINVAL,
			       "volume %s: '%s' is neither a host's path with a leading / or ./ "
			       "nor a name of [a-zA-Z0-9][a-zA-Z0-9_.-]",
			       text, source);
	return 0;
}

int container_volume_parse(const char *text, struct container_volume *ret, struct err *err)
{
	auto_container_volume struct container_volume v = { 0 };
	auto_strv struct strv parts = { 0 };
	const char *target;
	int rc = 0;

	strv_split(&parts, text, ':');
	if (!parts.n || parts.n > 3 || !*parts.v[0] || (parts.n > 1 && !*parts.v[1]))
		return err_set(err, EINVAL, "volume '%s' is not [NAME|HOST:]PATH[:OPTIONS]", text);
	target = parts.v[parts.n > 1];
	if (*target != '/')
		return err_set(err, EINVAL, "volume %s: '%s' is not absolute", text, target);
	v.target = path_clean(target);
	if (str_eq(v.target, "/"))
		return err_set(err, EINVAL, "volume %s: the container's root cannot be replaced",
			       text);
	v.is_named = parts.n == 1;
	if (parts.n > 1)
		rc = volume_source(parts.v[0], &v, text, err);
	if (rc >= 0 && parts.n == 3)
		rc = volume_mode(parts.v[2], &v, text, err);
	if (rc < 0)
		return rc;
	*ret = v;
	v = (struct container_volume){ 0 };
	return 0;
}

int container_tmpfs_parse(const char *text, char **ret_target, char **ret_data, struct err *err)
{
	const char *colon = strchr(text, ':');
	auto_free char *path = mem_strn(text, colon ? (size_t)(colon - text) : strlen(text));

	if (path[0] != '/' || !path[1])
		return err_set(err, EINVAL, "tmpfs '%s' is not /PATH[:OPTIONS]", text);
	*ret_target = path_clean(path);
	*ret_data = colon && colon[1] ? mem_str(colon + 1) : NULL;
	return 0;
}

int container_storage_parse(const struct strv *opts, struct snap_limit *ret, struct err *err)
{
	enum { SIZE_MIN = 1 << 20, INODES_MIN = 16 };
	struct snap_limit l = { 0 };

	for (size_t i = 0; i < opts->n; i++) {
		const char *o = opts->v[i];

		if (str_starts(o, "size=")) {
			if (str_to_bytes(o + strlen("size="), &l.bytes) < 0 || l.bytes < SIZE_MIN)
				return err_set(err, EINVAL,
					       "--storage-opt %s: want a size of 1m at least", o);
		} else if (str_starts(o, "inodes=")) {
			if (str_to_u64(o + strlen("inodes="), 10, INT64_MAX, &l.inodes) < 0 ||
			    l.inodes < INODES_MIN)
				return err_set(err, EINVAL,
					       "--storage-opt %s: want a number of files, %d at "
					       "least",
					       o, INODES_MIN);
		} else {
			return err_set(err, EINVAL, "--storage-opt %s: want size=BYTES or inodes=N",
				       o);
		}
	}
	*ret = l;
	return 0;
}

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{ "as", RLIMIT_AS },
	{ "core", RLIMIT_CORE },
	{ "cpu", RLIMIT_CPU },
	{ "data", RLIMIT_DATA },
	{ "fsize", RLIMIT_FSIZE },
	{ "locks", RLIMIT_LOCKS },
	{ "memlock", RLIMIT_MEMLOCK },
	{ "msgqueue", RLIMIT_MSGQUEUE },
	{ "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE },
	{ "nproc", RLIMIT_NPROC },
	{ "rss", RLIMIT_RSS },
	{ "rtprio", RLIMIT_RTPRIO },
	{ "rttime", RLIMIT_RTTIME },
	{ "sigpending", RLIMIT_SIGPENDING },
	{ "stack", RLIMIT_STACK },
};

static int limit_value(const char *s, uint64_t *ret)
{
	if (str_eq(s, "-1") || str_eq(s, "unlimited")) {
		*ret = RLIM_INFINITY;
		return 0;
	}
	return str_to_u64(s, 10, INT64_MAX, ret);
}

int container_ulimit_parse(const char *text, struct sandbox_limit *ret, struct err *err)
{
	const char *eq = strchr(text, '='), *colon = eq ? strchr(eq, ':') : NULL;
	auto_free char *name = mem_strn(text, eq ? (size_t)(eq - text) : strlen(text));
	auto_free char *soft = NULL;
	struct sandbox_limit l = { .resource = -1 };

	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		if (str_eq(limits[i].name, name))
			l.resource = limits[i].resource;
	if (l.resource < 0)
		return err_set(err, EINVAL, "ulimit '%s': no limit of this name", text);
	soft = mem_strn(eq ? eq + 1 : "",
			eq ? (colon ? (size_t)(colon - eq - 1) : strlen(eq + 1)) : 0);
	if (limit_value(soft, &l.soft) < 0 || limit_value(colon ? colon + 1 : soft, &l.hard) < 0 ||
	    l.soft > l.hard)
		return err_set(err, EINVAL, "ulimit '%s' is not NAME=SOFT[:HARD]", text);
	*ret = l;
	return 0;
}

int container_cpus_parse(const char *text, uint64_t *ret_quota_us, struct err *err)
{
	enum { WHOLE_MAX = 4096, CORE_US = 100000, QUOTA_MIN_US = 1000, DIGITS = 5 };
	const char *dot = strchr(text, '.');
	auto_free char *whole = mem_strn(text, dot ? (size_t)(dot - text) : strlen(text));
	char digits[DIGITS + 1] = "00000";
	uint64_t cores = 0, part = 0;
	size_t n = dot ? strlen(dot + 1) : 0;
	int rc = str_to_u64(whole, 10, WHOLE_MAX, &cores);

	memcpy(digits, dot ? dot + 1 : "", n < DIGITS ? n : DIGITS);
	if (rc == 0)
		rc = dot && !n ? -EINVAL : str_to_u64(digits, 10, CORE_US, &part);
	if (rc < 0 || n > DIGITS || cores * CORE_US + part < QUOTA_MIN_US)
		return err_set(err, EINVAL, "--cpus %.40s: want a number of cores, 0.01 at least",
			       text);
	*ret_quota_us = cores * CORE_US + part;
	return 0;
}

int container_host_parse(const char *text, char **ret_line, struct err *err)
{
	size_t n = strcspn(text, ":=");
	auto_free char *name = mem_strn(text, n);
	auto_free char *address = mem_str(text[n] ? text + n + 1 : "");
	size_t len = strlen(address);
	unsigned char raw[16];

	if (address[0] == '[' && address[len - 1] == ']') {
		address[len - 1] = 0;
		memmove(address, address + 1, len - 1);
	}
	/* A name with a blank or a newline would add lines of its own. */
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '#')
			n = 0;
	if (n == 0 ||
	    (!str_eq(address, NETWORK_HOST_GATEWAY) && inet_pton(AF_INET, address, raw) != 1 &&
	     inet_pton(AF_INET6, address, raw) != 1))
		return err_set(err, EINVAL,
			       "host '%s' is not NAME:ADDRESS or NAME:" NETWORK_HOST_GATEWAY, text);
	*ret_line = mem_fmt("%s\t%s\n", address, name);
	return 0;
}

int container_security_parse(const struct strv *opts, struct container_security *ret,
			     struct err *err)
{
	struct container_security s = { 0 };

	for (size_t i = 0; i < opts->n; i++) {
		const char *o = opts->v[i];

		if (str_eq(o, "no-new-privileges") || str_eq(o, "no-new-privileges=true") ||
		    str_eq(o, "no-new-privileges:true"))
			s.no_new_privs = true;
		else if (str_eq(o, "no-new-privileges=false") ||
			 str_eq(o, "no-new-privileges:false"))
			s.no_new_privs = false;
		else if (str_eq(o, "seccomp=unconfined") || str_eq(o, "seccomp:unconfined"))
			s.seccomp_unconfined = true;
		else if (str_starts(o, "seccomp={")) {
			s.profile = o + strlen("seccomp=");
			if (sandbox_profile_check(s.profile, err) < 0)
				return -err->code;
		} else if (str_eq(o, "systempaths=unconfined") ||
			   str_eq(o, "systempaths:unconfined") || str_eq(o, "unmask=ALL") ||
			   str_eq(o, "unmask=all"))
			s.unmasked = true;
		/* No security module is asked to do anything, so there is nothing to turn off. */
		else if (!str_eq(o, "label=disable") && !str_eq(o, "label:disable") &&
			 !str_eq(o, "apparmor=unconfined") && !str_eq(o, "apparmor:unconfined"))
			return err_set(err, ENOTSUP,
				       "security option '%s' is not supported: no-new-privileges, "
				       "seccomp=unconfined, systempaths=unconfined, label=disable, "
				       "apparmor=unconfined",
				       o);
	}
	*ret = s;
	return 0;
}
